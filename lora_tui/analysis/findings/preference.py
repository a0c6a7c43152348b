"""Findings about preference and reinforcement learning. The docstring of each function states its rule."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from lora_tui.analysis import run_facts
from lora_tui.analysis.detectors.incremental import Hysteresis, SeriesCheck, updated_check
from lora_tui.analysis.detectors.levels import CLOSING_WIDTH
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.shared_measures import reference_loss
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.stages import PREFERENCE_STAGES, REINFORCEMENT_STAGES
from lora_tui.analysis.statistics import MEDIAN_ERROR, critical_z, finite_before, median, noise, rounded, window
from lora_tui.runs.series import Series

START_LOW = 0.60
"""Lowest first loss of a dpo run whose policy starts at its reference (ln 2 = 0.693)."""
START_HIGH = 0.78
"""Highest first loss of a dpo run whose policy starts at its reference (ln 2 = 0.693)."""
EARLY = 0.05
"""Share of the planned steps after which the first row says nothing about the start."""
SATURATED_PAIRS = 100
"""Number of pairs over which the accuracy of a saturated run is averaged."""
SATURATED_ACCURACY = 0.98
"""Minimum accuracy of a saturated run."""
SATURATED_GRADIENT = 0.1
"""Share of the first gradient norms below which those of a saturated run are."""
KL_GROWTH = 10.0
"""Multiple of the KL divergence in the middle of the run above which it is out of control."""
KL_LARGE = 1.0
"""KL divergence below which its growth does not matter."""
NO_SIGNAL = 0.6
"""Share of groups with equal rewards above which there is nothing to learn from."""
MIN_ROWS = 20
"""Minimum number of rows for a statement about a level."""


class LevelCheck(SeriesCheck):
    """Checks the level of a series of any sign: below its start, below 0, far above its past, or above a bound.

    Levels are medians and noise is additive. ``starts`` are the first steps of the segments after the first.
    """

    def __init__(self, starts: tuple[float, ...]) -> None:
        super().__init__()
        self.fallen, self.negative, self.grown, self.high = Hysteresis(), Hysteresis(), Hysteresis(), Hysteresis()
        """Whether it is below its first level, below 0, above KL_GROWTH times its middle level, above NO_SIGNAL."""
        self._starts = starts
        self._crossed = self._begin = 0
        """Number of resumes so far, and index of the first row since the last one."""

    def check(self, column: Series, end: int) -> None:
        """Check the rows before row ``end``."""
        reached = bisect_right(self._starts, column.steps[end - 1])
        if reached > self._crossed:
            self._crossed = reached
            self._begin = bisect_left(column.steps, self._starts[reached - 1])
            for hysteresis in (self.fallen, self.negative, self.grown, self.high):
                hysteresis.close(self._starts[reached - 1])
        count = end - self._begin
        rows = finite_before(column.values, end, 50, self._begin)
        if count < MIN_ROWS or len(rows) < MIN_ROWS // 2:
            return
        size = min(len(rows), max(window(count), count // 5, 10))
        error = critical_z(end) * MEDIAN_ERROR * noise(rows) * (1 + 1.8 / math.sqrt(len(rows))) / math.sqrt(size)
        now = median(rows[-size:])
        first = median(finite_before(column.values, self._begin + size, size, self._begin))
        middle = median(finite_before(column.values, self._begin + count // 2, size, self._begin))
        step = column.steps[end - 1]

        def feed(hysteresis: Hysteresis, above: float, bound: float, evidence: dict[str, Param]) -> None:
            """Add a check: whether ``above`` exceeds ``bound``."""
            hysteresis.feed(
                step, fires=above > bound, holds=above > CLOSING_WIDTH * bound, begin=step, evidence=evidence
            )

        changed = {"first": rounded(first), "now": rounded(now)}
        feed(self.fallen, first - now, 2 * error + 1e-9, dict(changed))
        feed(self.negative, -now, error + 1e-9, {"now": rounded(now)})
        grown = now / middle if middle > 0 and now > KL_LARGE else 0.0
        feed(self.grown, grown, KL_GROWTH, {"before": rounded(middle), "now": rounded(now)})
        feed(self.high, now - error, NO_SIGNAL, {"share": rounded(now * 100, 3)})


def _level_check(collector: FindingCollector, *names: str) -> LevelCheck | None:
    """Return the check of the first of these series that the run has, None without any."""
    starts = collector.resume_steps
    for name in names:
        series = collector.run.series.get(name)
        if series is not None and series.finite:
            return updated_check(series, LevelCheck, starts, lambda: LevelCheck(starts))
    return None


def _add(collector: FindingCollector, code: str, hysteresis: Hysteresis, variant: str = "") -> None:
    """Add a finding for each episode; one without a ``variant`` gets "over" when it has ended."""
    for episode in hysteresis.episodes:
        default = "over" if episode.end is not None else ""
        collector.add_episode(code, episode, episode.evidence, variant=variant or default)


@finding("dpo_wrong_start", "warning", rank=150)
def dpo_wrong_start(collector: FindingCollector) -> None:
    """Find ``dpo_wrong_start``: the first loss of a dpo run shows a wrong reference model or wrong data.

    A policy that equals its reference has a sigmoid loss of ln 2 = 0.693, so a first loss outside 0.60 to 0.78 is
    wrong. It is not found if the first row comes after 5 % of the steps, nor for other losses.
    """
    loss, total = collector.loss, collector.progress.total_steps
    if collector.stage != "dpo" or loss is None or not loss.finite or reference_loss(collector) is None:
        return
    first = run_facts.head(loss, 1)[0]
    early = total is None or loss.steps[0] <= EARLY * total
    if collector.has("dead_run", "nan_loss") or not (early or loss.steps[0] <= 10):
        return
    # A short run may have learned something before its first row.
    if first > START_HIGH or (first < START_LOW and early):
        collector.add("dpo_wrong_start", {"first": rounded(first)}, step=loss.steps[0])


@finding("saturated", "info", rank=380)
def saturated(collector: FindingCollector) -> None:
    """Find ``saturated`` (info, preference stages and rm): the run no longer learns.

    The accuracy over the last 100 pairs (20 rows if the batch size is not known) is at least 0.98, and the gradient
    norm is below a tenth of that of the first rows.
    """
    if collector.stage not in PREFERENCE_STAGES | {"rm"} or collector.has("dead_run", "nan_loss"):
        return
    norms = collector.run.series.get("grad_norm")
    sure = next((s for n in ("rewards/accuracies", "accuracy") if (s := collector.run.series.get(n)) is not None), None)
    if sure is None or norms is None or norms.finite < MIN_ROWS or sure.finite < MIN_ROWS:
        return
    pairs = run_facts.number(collector.run, "total_train_batch_size")
    every = run_facts.number(collector.run, "logging_steps") or 1.0
    rows = max(5, math.ceil(SATURATED_PAIRS / (pairs * every))) if pairs else 20
    accuracy = sure.tail(rows)
    first, now = median(run_facts.head(norms, 5)), median(norms.tail(max(5, window(norms.finite))))
    if sum(accuracy) / len(accuracy) >= SATURATED_ACCURACY and now < SATURATED_GRADIENT * first:
        evidence: dict[str, Param | None] = {
            "accuracy": rounded(sum(accuracy) / len(accuracy) * 100, 3), "first": rounded(first, 3),
            "now": rounded(now, 3),
        }  # fmt: skip
        collector.add("saturated", evidence, step=sure.steps[-min(rows, len(sure))])


@finding("reward_falling", "warning", rank=160)
@finding("kl_off", "warning", rank=170)
@finding("no_signal", "warning", rank=180)
def rewards(collector: FindingCollector) -> None:
    """Find ``reward_falling``, ``kl_off`` and ``no_signal`` (ppo and grpo), each at two checks of at least 20 rows.

    ``reward_falling``: the median reward of the last rows is below that of the first rows beyond the noise of both.
    ``kl_off``: the divergence from the reference is negative beyond noise, which a true divergence cannot be, or it
    exceeds ten times that in the middle of the run and 1. ``no_signal``: in 60 % of the groups all answers have the
    same reward, so that nothing is learned from them.
    """
    if collector.stage not in REINFORCEMENT_STAGES or collector.has("dead_run", "nan_loss"):
        return
    reward = _level_check(collector, "reward", "objective/scores", "env/reward_mean", "objective/rlhf_reward")
    if reward is not None:
        _add(collector, "reward_falling", reward.fallen)
    divergence = _level_check(collector, "objective/kl", "kl")
    if divergence is not None:
        _add(collector, "kl_off", divergence.negative, "negative")
        if not collector.has("kl_off"):
            _add(collector, "kl_off", divergence.grown)
    same = _level_check(collector, "frac_reward_zero_std")
    if same is not None:
        _add(collector, "no_signal", same.high)
