"""The argument of the functions that rate metrics: a run at one moment and its ratings so far."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from lora_tui.analysis import run_facts
from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.judgement import Confidence, Level, Param, Rating
from lora_tui.analysis.rating_rules import Rule, find_rule
from lora_tui.runs.run import Progress, Run, Status


class RatingCollector:
    """One run at one moment (``now``, Unix time), the codes of its findings, and its ratings so far."""

    def __init__(self, run: Run, now: float, findings: Collection[str], context: Context = PLAIN) -> None:
        self.run = run
        self.now = now
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.finding_codes = findings
        self.context = context
        self.stage, self.assumed = run_facts.stage(run)
        """Training stage, and whether it is assumed."""
        self.ratings: dict[str, Rating] = {}
        """Ratings so far by metric name."""

    def rule(self, name: str, code: str | None = None) -> Rule | None:
        """Return the rule for a metric of this run, with this ``code`` if one is given; None if there is none."""
        return find_rule(name, self.stage, self.run.producer, code, self.context.rules)

    def add(
        self,
        rule: Rule,
        metric: str,
        value: float,
        level: Level | None,
        words: str,
        params: Mapping[str, Param] | None = None,
        *,
        confidence: Confidence | None = None,
        reservations: tuple[str, ...] = (),
    ) -> None:
        """Add one rating, unless its value is not finite.

        With an assumed stage, the confidence of a rule that depends on the stage is at most "orientation".
        """
        if not math.isfinite(value):
            return
        trust = rule.confidence if confidence is None else confidence
        if self.assumed and rule.stages is not None and trust == "firm":
            trust = "orientation"
        self.ratings[metric] = Rating(
            metric, value, level, rule.basis, trust, rule.code, words, params or {},
            reservations, rule.own,
        )  # fmt: skip

    def present(self, *codes: str) -> tuple[str, ...]:
        """Return those of these codes that are findings of the run."""
        return tuple(code for code in codes if code in self.finding_codes)

    def progressed(self, share: float) -> bool:
        """Return whether at least this share of the planned steps is done, or the run has ended."""
        return run_facts.final(self.status) or (self.progress.fraction or 0.0) >= share


def batch_size(run: Run) -> float | None:
    """Return the samples per optimizer step, None if unknown.

    It is what the console log states, else batch size per device times gradient accumulation, for one device.
    """
    known = run_facts.number(run, "total_train_batch_size")
    if known is not None:
        return known
    device = run_facts.number(run, "per_device_train_batch_size")
    steps = run_facts.number(run, "gradient_accumulation_steps")
    return device * steps if device is not None and steps is not None else None


def eval_samples(run: Run) -> int | None:
    """Return the number of samples of an evaluation, None if unknown.

    It is runtime x samples/s of the last evaluation, else what a console log states. The console log comes last because
    a later job that predicts into the same directory has another number of samples.
    """
    runtime, rate = run.series.get("eval_runtime"), run.series.get("eval_samples_per_second")
    if runtime is not None and rate is not None and runtime.finite and rate.finite:
        return max(1, round(runtime.tail(1)[0] * rate.tail(1)[0]))
    results = run.results().get("eval")
    counted = run_facts.samples(results, "eval", run) if results is not None else None
    if counted is not None:
        return counted
    known = run_facts.number(run, "eval_examples")
    return None if known is None else int(known)


def slope(values: Sequence[float]) -> tuple[float, float]:
    """Return the least-squares slope per row of ``values`` (at least 3), and its standard error."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((x - middle) ** 2 for x in range(count))
    found = sum((x - middle) * (y - mean) for x, y in enumerate(values)) / spread
    rest = sum((y - mean - found * (x - middle)) ** 2 for x, y in enumerate(values))
    return found, math.sqrt(rest / max(1, count - 2) / spread)
