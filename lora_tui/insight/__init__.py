"""What the numbers of a run mean: ratings and findings, in codes and numbers (the words are in the catalogues)."""

from __future__ import annotations

from lora_tui.insight.findings import find
from lora_tui.insight.glossary import METRICS, Metric, metric
from lora_tui.insight.model import Finding, Judgement, Rating
from lora_tui.insight.ratings import rate
from lora_tui.run import Run

__all__ = ["METRICS", "Finding", "Judgement", "Metric", "Rating", "find", "judge", "metric", "rate"]


def judge(run: Run, now: float) -> Judgement:
    """Findings and ratings of a run at a moment (Unix time). Costs a window of rows, not the run."""
    findings = find(run, now)
    return Judgement(rate(run, now, {finding.code for finding in findings}), findings)
