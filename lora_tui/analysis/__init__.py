"""Judge the numbers of a run: ratings, findings, a forecast, and which checkpoint to take.

A judgement holds codes and numbers only. Its words are in the catalogues of :mod:`lora_tui.i18n`.
"""

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
    """Return the judgement of a run at the Unix time ``now``.

    Findings that the context turns off are left out, but still count as reservations of ratings. The time this takes
    depends on windows of rows, not on the length of the run.
    """
    # Imported here because the app draws its first frame without a judgement.
    from lora_tui.analysis.checkpoint_choice import choose
    from lora_tui.analysis.findings.find import find
    from lora_tui.analysis.forecast import forecast
    from lora_tui.analysis.ratings.rate import rate

    findings = find(run, now, context)
    codes = {finding.code for finding in findings if not finding.over}
    shown = tuple(finding for finding in findings if finding.code not in context.off)
    return Judgement(rate(run, now, codes, context), shown, forecast(run, now), choose(run, now, findings))
