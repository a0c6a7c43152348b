"""What the functions that look for findings share: the run at a moment, and what was found so far."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.model import Finding, Param, Severity
from lora_tui.runs.run import Progress, Run, Status
from lora_tui.runs.series import Series


class Finder:
    """The findings of one run at one moment; ``out`` collects them."""

    def __init__(self, run: Run, now: float, context: Context = PLAIN) -> None:
        self.run = run
        self.now = now
        self.context = context
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.stage, _ = facts.stage(run)
        self.step = self.progress.step if self.progress.unit == "steps" else None
        self.loss: Series | None = run.series.get("loss")
        self.out: list[Finding] = []

    def add(
        self, code: str, severity: Severity, evidence: Mapping[str, Param | None], *,
        step: float | None = None, end_step: int | None = None, variant: str = "",
        over: bool = False,
    ) -> None:  # fmt: skip
        """What is not known is left out of the evidence."""
        known = {key: value for key, value in evidence.items() if value is not None}
        at = None if step is None or not math.isfinite(step) else int(step)
        self.out.append(Finding(code, severity, at, end_step, known, variant, over))

    def has(self, *codes: str) -> bool:
        """One of these has been found already and is not over."""
        return any(finding.code in codes and not finding.over for finding in self.out)

    def resume(self) -> dict[str, Param | None]:
        """Where this attempt can go on, and what that costs."""
        lost = self.progress.steps_at_risk
        if lost is None or self.step is None:
            return {}
        point = facts.resume_point(self.run, self.step)
        if lost >= self.step or point is None:
            return {"lost": lost}
        return {"checkpoint": point[1], "lost": lost}
