"""Findings about the gradient norm, which is logged before clipping. The docstring of each function states its rule."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from lora_tui.analysis.detectors.incremental import Hysteresis, SeriesCheck, updated_check
from lora_tui.analysis.detectors.levels import CLOSING_WIDTH, LowestLevel, NoiseEstimate, RiseThresholds
from lora_tui.analysis.detectors.train_loss import WARM_SHARE, WARMUP_MIN_ROWS
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.shared_measures import lower_lr
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.statistics import Spread, critical_z, finite_before, median, rounded, window
from lora_tui.runs.series import Series

JUMP = 10.0
"""Multiple of the median of the rows before that a jump exceeds."""
LARGE = 10.0
"""Gradient norm that a jump exceeds."""
NOISES = 4.0
"""Multiple of the noise of a row that the logarithm of a jump over the median exceeds."""
RECENT = 20
"""Number of last rows in which jumps are counted."""
MANY = 3
"""Number of jumps among RECENT rows that count as an explosion."""
LIFTED = RiseThresholds(9.0, 9.0, 3.0)
"""Rise of the whole level to ten times its lowest value."""


class GradNormCheck(SeriesCheck):
    """Checks the gradient norm for jumps and for a rise of its level.

    ``starts`` are the first steps of the segments after the first, ``total`` is the number of planned steps.
    """

    def __init__(self, starts: tuple[float, ...], total: float | None) -> None:
        super().__init__()
        self.exploding = Hysteresis(opens=1)
        self._starts, self._total = starts, total
        self._crossed = self._begin = 0
        """Number of resumes so far, and index of the first row since the last one."""
        self._jumps: list[int] = []
        """Indexes of the last jumps."""
        self._spread = Spread(math.inf, math.inf)
        """Noise of the norms, not updated during an explosion."""
        self._usual: float | None = None
        """Median of the last 100 norms, not updated during an explosion; None before there is one."""
        self._lowest, self._noise = LowestLevel(), NoiseEstimate()

    def check(self, column: Series, end: int) -> None:
        """Check the norms before row ``end``."""
        self._cross(column, end)
        self._find_jumps(column, end)
        rows = [value for value in finite_before(column.values, end, 100, self._begin) if value > 0]
        size = window(end - self._begin)
        if len(rows) < max(size, 6):
            return
        # Norms of an explosion must not become the usual ones.
        if self.exploding.current is None or self._usual is None:
            self._usual = median(rows)
            self._spread = self._noise.update(rows, end - self._begin)
        recent = [row for row in self._jumps if row >= end - RECENT]
        lowest, z = self._lowest, critical_z(end)
        lowest.add(rows, end, [size], self._spread, z, self._begin)
        level = lowest.before(end - size)
        last = rows[-size:]
        lifted = level is not None and median(last) > LARGE and LIFTED.is_above(last, level, self._spread, z)
        still = level is not None and LIFTED.is_above(last, level, self._spread, z, CLOSING_WIDTH)
        fires = len(recent) >= MANY or lifted
        holds = len(recent) >= MANY - 1 or still
        if not (fires or holds) and self.exploding.current is None:
            self.exploding.reset()
            return
        begin = column.steps[recent[0]] if recent else column.steps[end - 1]
        high = max((v for row in recent if math.isfinite(v := column.values[row])), default=max(last))
        evidence: dict[str, Param] = {
            "usual": rounded(self._usual), "highest": rounded(high), "times": rounded(high / self._usual, 3),
            "count": len(recent),
        }  # fmt: skip
        self.exploding.feed(column.steps[end - 1], fires=fires, holds=holds, begin=begin, evidence=evidence)

    def _cross(self, column: Series, end: int) -> None:
        """Start again where the run was resumed."""
        reached = bisect_right(self._starts, column.steps[end - 1])
        if reached > self._crossed:
            self._crossed = reached
            self._begin = bisect_left(column.steps, self._starts[reached - 1])
            self.exploding.close(self._starts[reached - 1])
            self._jumps, self._usual = [], None
            self._lowest, self._noise = LowestLevel(), NoiseEstimate()

    def _find_jumps(self, column: Series, end: int) -> None:
        """Record the jumps among the rows since the last check."""
        usual = self._usual
        if usual is None or not math.isfinite(self._spread.one):
            return
        bound = max(LARGE, usual * max(JUMP, math.exp(min(20.0, NOISES * self._spread.one))))
        first = max(self.done, self._begin + WARMUP_MIN_ROWS)
        for row, value in enumerate(column.values[first:end], first):
            if not value <= bound and (self._total is None or column.steps[row] >= WARM_SHARE * self._total):
                self._jumps.append(row)
        del self._jumps[: -2 * RECENT]


@finding("grad_explosion", "warning", rank=120)
def grad_explosion(collector: FindingCollector) -> None:
    """Find ``grad_explosion``: the gradient norm has jumped repeatedly, or its level has risen tenfold.

    At least 3 of the last 20 norms exceed 10, ten times the median of the 100 rows before, and four times their noise
    (NaN counts as well); or the median of a window has risen tenfold. The first 5 % of the steps and the first 10 rows
    do not count. It closes when at two checks fewer than 2 norms do so and the level is back.
    """
    norms = collector.run.series.get("grad_norm")
    if norms is None or collector.has("dead_run", "nan_loss", "diverging", "worse_than_start"):
        return
    starts, total = collector.resume_steps, collector.progress.total_steps
    check = updated_check(norms, GradNormCheck, (starts, total), lambda: GradNormCheck(starts, total))
    lower = lower_lr(collector)
    for episode in check.exploding.episodes:
        few = int(episode.evidence["count"]) < MANY
        variant = "over" if episode.end is not None else "plain" if lower is None else "level" if few else ""
        collector.add_episode("grad_explosion", episode, {**episode.evidence, "lr": lower}, variant=variant)
