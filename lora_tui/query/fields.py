"""The values of a run that an expression can use: metrics, progress, state and description, ratings, findings."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cached_property
from typing import get_args

from lora_tui.analysis import PLAIN, Context, Judgement, judge
from lora_tui.analysis.judgement import Level
from lora_tui.runs.run import Progress, Run, StateName, Status


class RunValues:
    """The values of a run at ``now`` (Unix time); those that are expensive are computed at first use."""

    def __init__(self, run: Run, now: float, context: Context = PLAIN) -> None:
        self.run, self.now, self.context = run, now, context

    @cached_property
    def status(self) -> Status:
        """State of the run."""
        return self.run.status(self.now)

    @cached_property
    def progress(self) -> Progress:
        """Progress of the run."""
        return self.run.progress(self.now)

    @cached_property
    def judgement(self) -> Judgement:
        """Ratings and findings of the run."""
        return judge(self.run, self.now, self.context)

    def value(self, name: str) -> float | None:
        """Return the last value of a metric, else that in the results of the run or of a job that loaded its adapter.

        Stale results do not count. Return None if there is no value.
        """
        series = self.run.series.get(name)
        if series is not None and series.last is not None:
            return series.last
        for run in (self.run, *self.run.linked):
            for result in run.results().values():
                if name in result.values and not result.stale:
                    return result.values[name]
        return None

    def statistic(self, function: str, name: str) -> float | None:
        """Return the statistic ``function`` (one of STATISTICS) of a metric, or None if there is no value.

        A metric that only results files contain counts as a series of one value.
        """
        series = self.run.series.get(name)
        if series is None or not len(series):
            only = self.value(name)
            counted = {"count": 1.0, "nonfinite": float(only is not None and not math.isfinite(only))}
            return only if only is None else counted.get(function, only)
        found = len(series) if function == "count" else getattr(series, function)
        # The minimum and the maximum of a series without a finite value are NaN.
        return None if found is None or (function in ("min", "max") and math.isnan(found)) else float(found)


Value = float | str | bool | None
Getter = Callable[[RunValues], Value]

FIELDS: dict[str, Callable[[RunValues], float | None]] = {
    name: operator.attrgetter(f"progress.{name}")
    for name in (
        "step", "total_steps", "epoch", "total_epochs", "fraction", "elapsed_s", "remaining_s", "steps_per_s",
        "tokens_per_s", "segments", "steps_at_risk",
    )
}  # fmt: skip
"""Getters of the numbers of ``progress`` in ``status --json``, by name."""
TEXTS: dict[str, Callable[[RunValues], str | None]] = {
    "state": lambda values: values.status.state,
    "phase": lambda values: values.status.phase,
    "name": lambda values: values.run.name,
    "path": lambda values: str(values.run.path),
    "stage": lambda values: values.run.stage,
    "method": lambda values: values.run.method,
    "model": lambda values: values.run.model,
    "producer": lambda values: values.run.producer,
}
"""Getters of the texts of a run, by name."""
STATISTICS = ("last", "first", "min", "max", "smoothed", "count", "nonfinite")
"""Functions of a metric that return a number."""
FUNCTIONS = (*STATISTICS, "rating", "has", "finding")
"""All functions of an expression."""
CHOICES: dict[str, tuple[str, ...]] = {"state": get_args(StateName), "rating": get_args(Level)}
"""Text with a fixed set of values -> these values."""
SYNONYMS = {
    "learning_rate": "lr", "ppl": "perplexity", "bleu": "predict_bleu-4", "bleu-4": "predict_bleu-4",
    "rouge-1": "predict_rouge-1", "rouge-2": "predict_rouge-2", "rouge-l": "predict_rouge-l", "steps": "step",
    "epochs": "epoch", "eta": "remaining_s", "status": "state",
}  # fmt: skip
"""Names that users type for values that have another name here; they are suggested in the error message."""


def has_finding(values: RunValues, name: str) -> bool:
    """Return whether the run has a finding of that code or severity that is not over."""
    return any(not found.over and name in (found.code, found.severity) for found in values.judgement.findings)


def rating_level(values: RunValues, name: str) -> str | None:
    """Return the level of a metric's rating, or None."""
    rating = values.judgement.ratings.get(name)
    return rating.level if rating is not None else None


def is_one_typo_away(typed: str, known: str) -> bool:
    """Return whether the names differ by one letter that is missing, added or wrong, or by two swapped ones.

    Always False for names of fewer than 4 letters and where a digit differs, since loss2 and predict_bleu-2 may exist.
    """
    if min(len(typed), len(known)) < 4 or typed == known:
        return False
    at = next((i for i, (a, b) in enumerate(zip(typed, known, strict=False)) if a != b), min(len(typed), len(known)))
    a, b = typed[at:], known[at:]
    if any(char.isdigit() for char in a[:1] + b[:1]):
        return False
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
