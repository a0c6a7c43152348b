"""Names of metrics in rows, and the kind of row that they make, for all producers."""

from __future__ import annotations

from collections.abc import Iterable

from lora_tui.records.documents import RowKind

METRIC_NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}
"""Name in a :class:`LogRow` of each metric that transformers writes under another name."""
_TRAIN_NAMES = frozenset({"loss", "lr", "reward"})


def row_kind(names: Iterable[str], has_epoch: bool) -> RowKind:
    """Return the kind of a row by the names of its metrics (as in :class:`LogRow`) and whether it has an epoch."""
    found = set(names)
    if not _TRAIN_NAMES.isdisjoint(found):
        return "train"
    # Checked before the epoch, since transformers < 5.6 logs the final values of an eval-only job without one.
    if any(name.startswith("eval_") for name in found):
        return "eval"
    return "mark" if has_epoch else "progress"


def add_accuracy(values: dict[str, float]) -> None:
    """Add "accuracy" to the values of a row that only has it under the name of trl, "rewards/accuracies"."""
    if "rewards/accuracies" in values:
        values.setdefault("accuracy", values["rewards/accuracies"])
