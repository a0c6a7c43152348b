"""Judge what the numbers of a run mean: ratings, findings, a forecast, and which checkpoint to take. Codes and numbers
only: the words are in the catalogues."""

from __future__ import annotations

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.judgement import CheckpointChoice, Finding, Forecast, Interval, Judgement, Rating
from lora_tui.analysis.metrics import METRICS, Metric, metric
from lora_tui.runs.run import Run

__all__ = [
    "METRICS",
    "PLAIN",
    "CheckpointChoice",
    "Context",
    "Finding",
    "Forecast",
    "Interval",
    "Judgement",
    "Metric",
    "Rating",
    "judge",
    "metric",
]


def judge(run: Run, now: float, context: Context = PLAIN) -> Judgement:
    """Return the judgement of a run at a moment (Unix time). Its cost depends on a window of rows, not on the length of
    the run."""
    # Loaded with the first judgement: the app draws its first frame without one.
    from lora_tui.analysis.checkpoint_choice import choose
    from lora_tui.analysis.findings.find import find
    from lora_tui.analysis.forecast import forecast
    from lora_tui.analysis.ratings.rate import rate

    findings = find(run, now, context)
    codes = {finding.code for finding in findings if not finding.over}
    shown = tuple(finding for finding in findings if finding.code not in context.off)
    return Judgement(rate(run, now, codes, context), shown, forecast(run, now), choose(run, now, findings))
