"""Compare the results of a run with those of the previous run of the same model, data and stage."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lora_tui.analysis.comparison.measures import (
    Side,
    eval_last,
    same_predictions,
    score,
    share,
    side_of,
    significant_difference,
    spec_of,
)
from lora_tui.analysis.metrics import metric
from lora_tui.analysis.similarity import same_eval_set, training_data
from lora_tui.runs.run import ResultSet, Run

MAX_BACK = 20
"""Maximum number of earlier runs that are searched for one with the same measures."""
_READ = {
    "bleu-4": ("bleu", score("bleu-4")), "rouge-1": ("rouge1", score("rouge-1")),
    "rouge-2": ("rouge2", score("rouge-2")), "rouge-l": ("rougel", score("rouge-l")), "loss": ("eval_last", eval_last),
    "rewards/accuracies": ("eval_accuracies", share("eval_rewards/accuracies")),
    "accuracy": ("eval_accuracy", share("eval_accuracy")),
}  # fmt: skip
"""Code and reader of the measure that has the noise of a result, by the name of the result without its split."""


@dataclass(frozen=True)
class Change:
    """One result compared with the same one of the previous run."""

    difference: float
    """Value of this run minus that of the previous run."""
    outcome: Literal["better", "worse", "same", "changed"]
    """``same`` means within noise; ``changed`` that neither direction is better or that the noise is not known."""


@dataclass(frozen=True)
class Since:
    """The comparison of a run with the previous one."""

    run: Run
    """The previous run."""
    changes: Mapping[str, Change]
    """Changes by the key of the results file (``predict_bleu-4``, ``eval_loss``)."""
    results: Mapping[str, ResultSet]
    """The run's own results that were compared, by split."""
    sure: bool
    """Whether both were measured on the same samples; False if that is not known."""


def since_previous(run: Run, siblings: Collection[Run], now: float) -> Since | None:
    """Compare a run with the newest sibling that ended before it and has results in common with it.

    Return None if there is none.
    """
    own = side_of(run, now, ())
    keys = [
        (split, key) for split in ("predict", "eval") if split in own.results and not own.results[split][0].stale
        for key in own.results[split][0].values if key.startswith(f"{split}_")
    ]  # fmt: skip
    if not keys:
        return None
    for other in earlier(run, siblings, now):
        found = _against(own, side_of(other, now, ()), keys)
        if found is not None:
            return found
    return None


def earlier(run: Run, siblings: Collection[Run], now: float) -> Iterator[Run]:
    """Yield the siblings that have ended and were trained before the run, the newest first.

    Those whose data is known to be the same come before those whose data is not known.
    """
    moment = trained_at(run)
    if moment is None:
        return
    data = training_data(run)
    older = [(at, other) for other in siblings if (at := trained_at(other)) is not None and at < moment]
    older.sort(key=lambda item: -item[0])
    recent = [other for _, other in older[:MAX_BACK] if not other.status(now).live]
    yield from sorted(recent, key=lambda other: data.agrees(training_data(other)) is None)


def trained_at(run: Run) -> float | None:
    """Return the Unix time of the end of a training, or of its last row so far; None if it is not known.

    Later jobs in the same directory do not count.
    """
    seen = run.last_row_time
    if seen is not None:
        return seen
    if run.files.root_state is not None:
        return run.files.root_state[1]
    train = run.results().get("train")
    return train.mtime if train is not None else run.activity


def _against(own: Side, before: Side, keys: Sequence[tuple[str, str]]) -> Since | None:
    """Return the comparison of the results ``keys`` (split and key) with those of ``before``, None if it has none."""
    changes: dict[str, Change] = {}
    alike = {"eval": same_eval_set(own.setup, before.setup), "predict": same_predictions(own, before)}
    for split, key in keys:
        theirs = before.results.get(split)
        if alike[split] is False or theirs is None or theirs[0].stale:
            continue
        change = _change(own, before, split, key, alike[split] is True)
        if change is not None:
            changes[key] = change
    used = {split: own.results[split][0] for split, key in keys if key in changes}
    return Since(before.run, changes, used, all(alike[split] for split in used)) if changes else None


def _change(own: Side, before: Side, split: str, key: str, paired: bool) -> Change | None:
    """Return the change of one result, None if it is missing, unknown or about speed or options."""
    name = key.removeprefix(f"{split}_")
    about = metric(key)
    value, old = own.results[split][0].values[key], before.results[split][0].values.get(key)
    if old is None or not math.isfinite(value - old) or about.group in ("speed", "setting") or not about.known:
        return None
    difference = value - old
    if about.direction == "none" or name not in _READ:
        return Change(difference, "changed")
    code, read = _READ[name]
    mine, theirs = read(own), read(before)
    least = significant_difference(spec_of(code), mine, theirs, paired) if mine and theirs else None
    if least is None:
        return Change(difference, "changed")
    if abs(difference) <= least:
        return Change(difference, "same")
    return Change(difference, "better" if (difference > 0) == (about.direction == "higher") else "worse")
