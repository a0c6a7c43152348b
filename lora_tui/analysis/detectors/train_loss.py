"""Detect divergence, spikes, memorised data and flat parts of a loss curve."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from lora_tui.analysis.detectors.incremental import Hysteresis, SeriesCheck
from lora_tui.analysis.detectors.levels import (
    CLOSING_WIDTH,
    Level,
    LevelChanges,
    LowestLevel,
    NoiseEstimate,
    RiseThresholds,
)
from lora_tui.analysis.detectors.spikes import HISTORY, LEVEL_ROWS, SpikeDetector
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.statistics import WINDOW_CAP, Spread, critical_z, finite_before, median, rounded, window
from lora_tui.runs.series import Series

DIVERGING_RISE = RiseThresholds(0.25, 0.3, 1.1)
"""Rise above the best level that counts as a divergence."""
WORSE_RISE = RiseThresholds(0.3, 0.3, 1.15)
"""Rise above the first loss from which on a model is worse than the untouched one."""
WORSE_RISE_EARLY = RiseThresholds(0.6, 0.5, 1.3)
"""The same rise while a bump of the loss after the warm-up may last."""
WORSE_RISE_REFERENCE = RiseThresholds(0.15, 0.1, 1.05)
"""The same rise where the loss of the untouched model is known exactly (ln 2 in dpo)."""
DIVERGING_MIN_ROWS = 16
"""Minimum number of rows of a segment for a divergence."""
WORSE_MIN_ROWS = 16
"""Minimum number of rows of a run that can be worse than at its start."""
WARMUP_MIN_ROWS = 10
"""Minimum length of a warm-up in rows."""
WARM_SHARE = 0.05
"""Minimum length of a warm-up as a share of the planned steps."""
DECAYED = 0.7
"""Share of its peak below which a learning rate has left its warm-up."""
BUMP_WARMUPS = 2.5
"""Number of lengths of the warm-up after which a bump of the loss is over; only then do levels within it count."""
ONSET_ROWS = 2000
"""Number of last rows in which the beginning of a rise is searched for."""
MEMORISED_LOSS = 0.05
"""Train loss in nats per token below which the data is memorised."""
LIKELY_MEMORISED_LOSS = 0.2
"""Train loss in nats per token below which the data may be memorised (Unsloth's guide: probably overfitting)."""
Pairs = list[tuple[int, Level | None]]
"""Sizes of windows in rows, each with the level with which its median is compared."""


@dataclass(frozen=True)
class LossInputs:
    """Inputs of :class:`LossCheck` besides the loss values."""

    starts: tuple[float, ...] = ()
    """First steps of the segments after the first."""
    total: float | None = None
    """Planned steps."""
    start: float | None = None
    """Loss of the untouched model in theory, None where it is not known."""


class Warmup:
    """Finds the first peak of a learning rate, which ends its warm-up."""

    def __init__(self, lr: Series | None) -> None:
        self._lr = lr
        self._rows = 0
        self._peak, self._step, self._low = -math.inf, -math.inf, math.inf

    def peak_step(self, step: float) -> float:
        """Return the step up to ``step`` at which the rate was highest, minus infinity if no rate is known.

        While the rate rises, that is the step of its last row. A rise after a fall below DECAYED of the peak is a
        restart of the schedule and does not count.
        """
        lr = self._lr
        if lr is None or not len(lr) or self._low < DECAYED * self._peak:
            return self._step
        upto = bisect_right(lr.steps, step, self._rows)
        fresh = [0.0 if math.isnan(value) else value for value in lr.values[self._rows : upto]]
        at = fresh.index(max(fresh)) if fresh else 0
        self._low = min([self._low, *fresh[:at]])
        if fresh and fresh[at] > self._peak * 1.0001 and not self._low < DECAYED * self._peak:
            self._peak, self._step, self._low = fresh[at], lr.steps[self._rows + at], math.inf
        self._low = min([self._low, *fresh[at:]])
        self._rows = upto
        return self._step


@dataclass
class _Segment:
    """The rows of one process; a resume begins another segment."""

    begin: int = 0
    """Index of its first row."""
    risen: int = 0
    """Index of the row at which the learning rate stopped rising."""
    settled: int | None = None
    """Index of the row at which the warm-up was over, None while it lasts."""
    lowest: LowestLevel = field(default_factory=LowestLevel)
    noise: NoiseEstimate = field(default_factory=NoiseEstimate)


class LossCheck(SeriesCheck):
    """Checks one loss curve for divergence, spikes, memorised data and flat parts.

    ``lr`` has the learning rates of the same run, None without any.
    """

    def __init__(self, inputs: LossInputs, lr: Series | None) -> None:
        super().__init__()
        self.diverging = Hysteresis()
        """Whether the loss is above its best level (DIVERGING_RISE)."""
        self.worse = Hysteresis()
        """Whether the loss is above that of the untouched model (WORSE_RISE)."""
        self.memorised, self.likely_memorised = Hysteresis(), Hysteresis()
        """Whether the median of the last rows is below MEMORISED_LOSS, and below LIKELY_MEMORISED_LOSS."""
        self.spikes = SpikeDetector()
        self.changes = LevelChanges()
        self.inputs = inputs
        self._warmup = Warmup(lr)
        self._segment = _Segment()
        self._crossed = 0
        """Number of resumes so far."""
        self._start: Level | None = None
        """Level of the untouched model, None before it is needed."""
        self.spread = Spread(math.inf, math.inf)
        """Noise of the last rows."""
        self._z = math.inf
        """Standard errors by which levels must differ."""
        self._level: float | None = None
        """Median of the last rows at the previous check, None at the start of a segment."""

    def check(self, column: Series, end: int) -> None:
        """Check the rows before row ``end``."""
        series = column
        self._cross(series, end)
        segment = self._segment
        rows = finite_before(series.values, end, 100, segment.begin)
        if rows and min(rows) <= 0:
            rows = [value for value in rows if value > 0]
        if self._level is not None:
            known = segment.settled is not None and end - segment.begin >= HISTORY
            self.spikes.add_rows(series, range(self.done, end), self._level, self.spread.one, known=known)
        size = window(end - segment.begin)
        if len(rows) < max(size, 6):
            return
        self.spread = segment.noise.update(rows, end - segment.begin)
        self._z = critical_z(self._planned(series, end))
        self._check_low(series, median(rows[-low_rows(len(rows)) :]), end)
        self._level = median(rows[-max(size, LEVEL_ROWS) :])
        self._settle(series, end)
        sizes = self._sizes(rows, end, size)
        whole = min(len(rows), end - segment.begin, WINDOW_CAP)
        windows = [*sizes, whole] if whole > sizes[-1] else sizes
        segment.lowest.add(rows, end, windows, self.spread, self._z, segment.risen)
        if segment.settled is None:
            return
        if end - segment.begin >= DIVERGING_MIN_ROWS:
            self._check_diverging(series, rows, end, sizes)
        if end >= WORSE_MIN_ROWS:
            self._check_worse(series, rows, end, sizes)
        self.spikes.update_recovery(median(rows[-2 * size :]), end, size, self.spread)
        self.changes.compare(series, segment.begin, end, self.spread)

    # -- segments and warm-up ------------------------------------------------------------------------------------

    def _cross(self, series: Series, end: int) -> None:
        """Start a new segment where the run was resumed."""
        reached = bisect_right(self.inputs.starts, series.steps[end - 1])
        if reached == self._crossed:
            return
        self._crossed = reached
        start = self.inputs.starts[reached - 1]
        self.diverging.close(start)
        self.worse.close(start)
        self._segment = _Segment(bisect_left(series.steps, start))
        self._level = None
        self.changes = LevelChanges()

    def _settle(self, series: Series, end: int) -> None:
        """Record whether the warm-up is over: enough rows and steps, and a learning rate that no longer rises."""
        segment, total, step = self._segment, self.inputs.total, series.steps[end - 1]
        peak = self._warmup.peak_step(step)
        if segment.settled is not None:
            return
        segment.risen = max(segment.begin, bisect_right(series.steps, peak))
        if segment.risen >= end or end - segment.begin < WARMUP_MIN_ROWS:
            return
        if segment.begin or total is None or step >= WARM_SHARE * total:
            segment.settled = end

    def _planned(self, series: Series, end: int) -> int:
        """Return the number of rows of the whole run, extrapolated from the planned steps if these are known.

        A longer run is checked more often, so each check needs more certainty.
        """
        total, step = self.inputs.total, series.steps[end - 1]
        return max(end, int(end * total / step)) if total is not None and step > 0 else end

    def _bump_over(self, end: int) -> bool:
        """Return whether a bump of the loss after the warm-up is over."""
        segment = self._segment
        return end - segment.begin > BUMP_WARMUPS * (segment.risen - segment.begin)

    def _sizes(self, rows: Sequence[float], end: int, size: int) -> list[int]:
        """Return the sizes of the windows in rows, ascending.

        A short window shows a large change early, a long one shows a small change with certainty.
        """
        count, most = end - self._segment.begin, min(len(rows), WINDOW_CAP)
        return sorted({min(most, max(size, wanted)) for wanted in (count // 10, count // 5, count // 3, count // 2)})

    # -- levels --------------------------------------------------------------------------------------------------

    def _check_diverging(self, series: Series, rows: list[float], end: int, sizes: list[int]) -> None:
        """Check whether the last rows are above the best level of the segment."""
        lowest, bump_over = self._segment.lowest, self._bump_over(end)
        pairs: Pairs = [(size, lowest.before(end - size, settled=not bump_over)) for size in sizes]
        self._feed(self.diverging, DIVERGING_RISE, pairs, series, rows, end, "best")

    def _check_worse(self, series: Series, rows: list[float], end: int, sizes: list[int]) -> None:
        """Check whether the last rows are above the loss of the untouched model."""
        if self._start is None:
            self._start = self._first_level(series)
        rise = WORSE_RISE if self._bump_over(end) else WORSE_RISE_EARLY
        if self.inputs.start is not None:
            rise = WORSE_RISE_REFERENCE
        most = min(len(rows), max(end - self._segment.begin, end) // 2)
        pairs: Pairs = [(min(most, 2 * size), self._start) for size in sizes]
        self._feed(self.worse, rise, pairs, series, rows, end, "first")

    def _check_low(self, series: Series, now: float, end: int) -> None:
        """Check whether the current level ``now`` is so low that the data is memorised."""
        step = series.steps[end - 1]
        for hysteresis, bound in ((self.memorised, MEMORISED_LOSS), (self.likely_memorised, LIKELY_MEMORISED_LOSS)):
            hysteresis.feed(step, fires=now < bound, holds=now < bound * (2 - CLOSING_WIDTH), begin=step, evidence={})

    def _feed(
        self,
        hysteresis: Hysteresis,
        rise: RiseThresholds,
        pairs: Pairs,
        series: Series,
        rows: list[float],
        end: int,
        name: str,
    ) -> None:
        """Add a check to ``hysteresis``: whether the rows of any window are above the level that is paired with it.

        ``name`` is the key of that level in the evidence.
        """
        known = [(rows[-size:], level) for size, level in pairs if level is not None]
        above = [level for part, level in known if rise.is_above(part, level, self.spread, self._z)]
        fires = bool(above)
        if not fires:
            above = [level for part, level in known if rise.is_above(part, level, self.spread, self._z, CLOSING_WIDTH)]
        if not above and hysteresis.current is None:
            hysteresis.reset()
            return
        step = series.steps[end - 1]
        if not above:
            hysteresis.feed(step, fires=False, holds=False, begin=step, evidence={})
            return
        level, now = above[0], median(rows[-pairs[0][0] :])
        evidence: dict[str, Param] = {
            name: rounded(level.value), f"{name}_step": int(series.steps[max(0, level.end - 1)]), "now": rounded(now),
            "rise": rounded((now / level.value - 1) * 100, 3),
        }  # fmt: skip
        begin = _departure(series, level, now, end) if fires and hysteresis.current is None else step
        hysteresis.feed(step, fires=fires, holds=True, begin=begin, evidence=evidence)

    def _first_level(self, series: Series) -> Level | None:
        """Return the loss of the untouched model: by theory, else the median of the first 1, 3 or 5 rows.

        Of these medians it is the one with the lowest upper bound, since the later rows may already diverge. None if
        none of the rows is positive.
        """
        if self.inputs.start is not None:
            return Level(0, self.inputs.start, 0, math.log(self.inputs.start))
        rows = [value for value in finite_before(series.values, 5, 5) if value > 0]
        found: Level | None = None
        for part in (rows[:1], rows[:3], rows):
            if part:
                bound = math.log(median(part)) + self._z * self.spread.error(len(part))
                level = Level(len(part), median(part), len(part), bound)
                found = level if found is None or level.upper < found.upper else found
        return found


def low_rows(count: int) -> int:
    """Return the number of last rows, of ``count``, whose median shows whether the data is memorised."""
    return min(20, max(6, count // 3))


def _departure(series: Series, level: Level, now: float, end: int) -> float:
    """Return the step at which the loss left a level: after the last three rows whose median was near it."""
    bound = level.value + 0.3 * (now - level.value)
    values = series.values
    for row in range(end - 1, max(level.end, end - ONSET_ROWS, 2) - 1, -1):
        if sorted(values[row - 2 : row + 1])[1] <= bound:
            return series.steps[min(row + 1, end - 1)]
    return series.steps[min(level.end, end - 1)]
