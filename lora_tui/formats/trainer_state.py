"""``trainer_state.json`` of a run or a checkpoint.

Source: transformers ``TrainerState.save_to_json`` (4.41 to 5.8) and ``Trainer.log``, whose rows are ``log_history``;
the keys of the preference stages come from LLaMA-Factory's and trl's trainers. Written once per checkpoint and at the
end of training, not atomically.
"""

from __future__ import annotations

import math
import re
from types import MappingProxyType

from lora_tui.formats.json_lines import MAX_METRICS, as_count, as_number, as_text, load_json_object
from lora_tui.formats.metric_names import METRIC_NAMES, add_accuracy, row_kind
from lora_tui.records.documents import NO_VALUES, FormatError, LogRow, TrainerState

_NOT_METRICS = frozenset({"step", "epoch"})
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})[/\\]*$")


def parse_trainer_state(data: bytes) -> TrainerState:
    """Parse ``trainer_state.json``; ``NaN`` and ``Infinity`` literals are values.

    ``rows`` holds ``log_history`` in order, without the summary entry. The ``train_runtime`` of a train row becomes its
    ``elapsed_s`` (seconds since this process began to train); the summary keeps it as a value. Steps are as written;
    those of PPO are one less than in its trainer_log.jsonl. 0 counts as unknown where the producer writes 0 for unknown
    (max_steps, num_train_epochs, num_input_tokens_seen, the intervals).

    Raises :class:`TornError` if the file is empty or half-written, :class:`FormatError` if it is not a trainer state.
    """
    # Without a limit, since the file grows with the history.
    state = load_json_object(data, None)
    history = state.get("log_history")
    if not isinstance(history, list) and "global_step" not in state:
        raise FormatError("not a trainer state: neither global_step nor log_history")
    rows: list[LogRow] = []
    summary: dict[str, float] = {}
    for entry in history if isinstance(history, list) else ():
        if not isinstance(entry, dict) or len(entry) > MAX_METRICS:
            continue
        # train_runtime is no criterion: transformers since 4.49 logs it in every train row when tokens are counted.
        if entry.get("train_loss") is not None or entry.get("total_flos") is not None:
            summary = _metrics(entry)
        else:
            rows.append(_row(entry))
    best = state.get("best_model_checkpoint")
    best_checkpoint = as_text(best) if isinstance(best, str) and best else None
    return TrainerState(
        global_step=as_count(state.get("global_step")),
        max_steps=as_count(state.get("max_steps")) or None,
        epoch=_finite(state.get("epoch")),
        num_train_epochs=_finite(state.get("num_train_epochs")) or None,
        logging_steps=_finite(state.get("logging_steps")) or None,
        eval_steps=_finite(state.get("eval_steps")) or None,
        save_steps=_finite(state.get("save_steps")) or None,
        train_batch_size=as_count(state.get("train_batch_size")) or None,
        num_input_tokens_seen=as_count(state.get("num_input_tokens_seen")) or None,
        best_metric=as_number(state.get("best_metric")),
        best_step=as_count(state.get("best_global_step")) or _checkpoint_step(best_checkpoint),
        best_checkpoint=best_checkpoint,
        early_stopping=_stopped_early(state.get("stateful_callbacks")),
        rows=tuple(rows),
        summary=MappingProxyType(summary) if summary else NO_VALUES,
    )


def _metrics(entry: dict[str, object]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for key, item in entry.items():
        number = as_number(item)
        if number is not None and key not in _NOT_METRICS:
            name = as_text(key)
            metrics[METRIC_NAMES.get(name, name)] = number
    return metrics


def _row(entry: dict[str, object]) -> LogRow:
    metrics = _metrics(entry)
    elapsed = metrics.pop("train_runtime", None)
    if elapsed is not None and not 0 <= elapsed < math.inf:
        elapsed = None
    add_accuracy(metrics)
    # Every entry has an epoch. Before transformers 5.6 it may be None, which must not make it a progress row.
    kind = row_kind(metrics, has_epoch=True)
    epoch = _finite(entry.get("epoch"))
    return LogRow(kind, as_count(entry.get("step")), metrics or NO_VALUES, epoch=epoch, elapsed_s=elapsed)


def _finite(value: object) -> float | None:
    number = as_number(value)
    return number if number is not None and math.isfinite(number) else None


def _checkpoint_step(path: str | None) -> int | None:
    found = _CHECKPOINT.search(path) if path else None
    return int(found[1]) if found else None


def _stopped_early(callbacks: object) -> bool:
    """Return whether an ``EarlyStoppingCallback`` has counted as many evaluations as its patience."""
    saved = callbacks.get("EarlyStoppingCallback") if isinstance(callbacks, dict) else None
    for one in saved if isinstance(saved, list) else [saved]:
        if not isinstance(one, dict):
            continue
        args, attributes = one.get("args"), one.get("attributes")
        if isinstance(args, dict) and isinstance(attributes, dict):
            patience = as_count(args.get("early_stopping_patience"))
            counted = as_count(attributes.get("early_stopping_patience_counter"))
            if patience and counted is not None and counted >= patience:
                return True
    return False
