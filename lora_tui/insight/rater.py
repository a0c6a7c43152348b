"""What the rating functions share: the run at a moment, its stage, and the ratings found so far."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from lora_tui.insight import facts
from lora_tui.insight.bands import Rule, find_rule
from lora_tui.insight.context import PLAIN, Context
from lora_tui.insight.model import Confidence, Level, Param, Rating
from lora_tui.run import Progress, Run, Status


class Rater:
    """The ratings of one run at one moment; ``out`` collects them."""

    def __init__(self, run: Run, now: float, findings: Collection[str], context: Context = PLAIN) -> None:
        self.run = run
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.findings = findings
        self.context = context
        self.stage, self.assumed = facts.stage(run)
        self.out: dict[str, Rating] = {}

    def rule(self, name: str, code: str | None = None) -> Rule | None:
        """The rule for a metric of this run."""
        return find_rule(name, self.stage, self.run.producer, code)

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
        """One rating. What rests on an assumed stage is never more than orientation."""
        if not math.isfinite(value):
            return
        trust = rule.confidence if confidence is None else confidence
        if self.assumed and rule.stages is not None and trust == "firm":
            trust = "orientation"
        self.out[metric] = Rating(
            metric, value, level, rule.basis, trust, rule.code, words, params or {},
            reservations,
        )  # fmt: skip

    def known(self, *codes: str) -> tuple[str, ...]:
        """Those of these findings that the run has."""
        return tuple(code for code in codes if code in self.findings)

    def far(self, share: float) -> bool:
        """At least this share of the run is done, or it is over."""
        return facts.final(self.status) or (self.progress.fraction or 0.0) >= share
