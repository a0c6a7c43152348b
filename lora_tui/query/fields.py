"""What an expression can ask of a run: its metrics, how far it is, what it is, what is thought of it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cached_property
from typing import get_args

from lora_tui.analysis import PLAIN, Context, Judgement, judge
from lora_tui.analysis.model import Level
from lora_tui.runs.run import Progress, Run, StateName, Status


class Facts:
    """A run at a moment (Unix time), as expressions see it; what costs something is worked out when asked for."""

    def __init__(self, run: Run, now: float, context: Context = PLAIN) -> None:
        self.run, self.now, self.context = run, now, context

    @cached_property
    def status(self) -> Status:
        """What the run is doing."""
        return self.run.status(self.now)

    @cached_property
    def progress(self) -> Progress:
        """How far it is."""
        return self.run.progress(self.now)

    @cached_property
    def judgement(self) -> Judgement:
        """What is thought of it."""
        return judge(self.run, self.now, self.context)

    def value(self, name: str) -> float | None:
        """The last value of a metric, or that of the results of this run or of a job that loaded its adapter."""
        series = self.run.series.get(name)
        if series is not None and series.last is not None:
            return series.last
        for run in (self.run, *self.run.linked):
            for result in run.results().values():
                if name in result.values and not result.stale:
                    return result.values[name]
        return None

    def statistic(self, function: str, name: str) -> float | None:
        """``min``, ``smoothed`` and so on of a metric; a result is a series of one."""
        series = self.run.series.get(name)
        if series is None or not len(series):
            only = self.value(name)
            counted = {"count": 1.0, "nonfinite": float(only is not None and not math.isfinite(only))}
            return only if only is None else counted.get(function, only)
        found = len(series) if function == "count" else getattr(series, function)
        # Without one finite value there is no least one.
        return None if found is None or (function in ("min", "max") and math.isnan(found)) else float(found)


Value = float | str | bool | None
Getter = Callable[[Facts], Value]

FIELDS: dict[str, Callable[[Facts], float | None]] = {
    name: operator.attrgetter(f"progress.{name}")
    for name in (
        "step", "total_steps", "epoch", "total_epochs", "fraction", "elapsed_s", "remaining_s", "steps_per_s",
        "tokens_per_s", "segments", "steps_at_risk",
    )
}  # fmt: skip
"""Numbers of the progress, as in ``status --json``."""
TEXTS: dict[str, Callable[[Facts], str | None]] = {
    "state": lambda facts: facts.status.state,
    "phase": lambda facts: facts.status.phase,
    "name": lambda facts: facts.run.name,
    "path": lambda facts: str(facts.run.path),
    "stage": lambda facts: facts.run.stage,
    "method": lambda facts: facts.run.method,
    "model": lambda facts: facts.run.model,
    "producer": lambda facts: facts.run.producer,
}
STATISTICS = ("last", "first", "min", "max", "smoothed", "count", "nonfinite")
FUNCTIONS = (*STATISTICS, "rating", "has", "finding")
CHOICES: dict[str, tuple[str, ...]] = {"state": get_args(StateName), "rating": get_args(Level)}
"""Words that a text can be, where that is known for certain."""
MEANT = {
    "learning_rate": "lr", "ppl": "perplexity", "bleu": "predict_bleu-4", "bleu-4": "predict_bleu-4",
    "rouge-1": "predict_rouge-1", "rouge-2": "predict_rouge-2", "rouge-l": "predict_rouge-l", "steps": "step",
    "epochs": "epoch", "eta": "remaining_s", "status": "state",
}  # fmt: skip
"""What people call things that have another name here."""


def has_finding(facts: Facts, name: str) -> bool:
    """A finding of that code or severity that lasts, unless the user has switched it off."""
    return any(not found.over and name in (found.code, found.severity) for found in facts.judgement.findings)


def level(facts: Facts, name: str) -> str | None:
    """The level of a metric's rating."""
    rating = facts.judgement.ratings.get(name)
    return rating.level if rating is not None else None


def one_slip(typed: str, known: str) -> bool:
    """One letter missing, too many, wrong, or two swapped. Not a digit: loss2 and predict_bleu-2 may well exist."""
    if min(len(typed), len(known)) < 4 or typed == known:
        return False
    at = next((i for i, (a, b) in enumerate(zip(typed, known, strict=False)) if a != b), min(len(typed), len(known)))
    a, b = typed[at:], known[at:]
    if any(char.isdigit() for char in a[:1] + b[:1]):
        return False
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
