"""Rate each number of a run by its rule in :mod:`lora_tui.analysis.rating_rules`."""

from __future__ import annotations

from collections.abc import Collection

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.findings.find import find
from lora_tui.analysis.judgement import Rating
from lora_tui.analysis.ratings.collector import RatingCollector
from lora_tui.analysis.ratings.evaluation import rate_evaluation, rate_results
from lora_tui.analysis.ratings.stages import rate_stages
from lora_tui.analysis.ratings.training import rate_training
from lora_tui.runs.run import Run


def rate(run: Run, now: float, findings: Collection[str] | None = None, context: Context = PLAIN) -> dict[str, Rating]:
    """Return the ratings at the Unix time ``now`` by metric name.

    A metric without a fair comparison is absent, or has no level and words that say why. ``findings`` are the codes of
    the run's findings, which may undermine a number; they are searched for if None.
    """
    known = {finding.code for finding in find(run, now, context)} if findings is None else findings
    collector = RatingCollector(run, now, known, context)
    rate_training(collector)
    rate_evaluation(collector)
    rate_stages(collector)
    rate_results(collector)
    if context.siblings:
        # Imported here because the app draws its first frame before siblings are known.
        from lora_tui.analysis.ratings.siblings import rate_siblings

        rate_siblings(collector)
    return collector.ratings
