"""What a loss curve has done, row by row: levels that it has left, spikes, stretches in which nothing moved."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from lora_tui.analysis.detectors.incremental import Hysteresis, SeriesCheck
from lora_tui.analysis.detectors.levels import WIDER, Level, LevelChanges, LowestLevel, NoiseEstimate, Rise
from lora_tui.analysis.detectors.spikes import HISTORY, LEVEL_ROWS, SpikeDetector
from lora_tui.analysis.model import Param
from lora_tui.analysis.statistics import WINDOW_CAP, Spread, critical_z, finite_before, median, rounded, window
from lora_tui.runs.series import Series

LEAVES = Rise(0.25, 0.3, 1.1)
WORSE = Rise(0.3, 0.3, 1.15)
WORSE_EARLY = Rise(0.6, 0.5, 1.3)
"""While a bump of the warm-up may last."""
WORSE_THAN_REFERENCE = Rise(0.15, 0.1, 1.05)
"""Where the loss of an untouched model is known exactly (ln 2 in dpo)."""
LEAVES_ROWS, WORSE_ROWS = 16, 16
LEAST_ROWS = 10
"""A warm-up lasts at least so many rows,"""
WARM_SHARE = 0.05
"""and this share of the planned steps."""
FELL = 0.7
"""A learning rate that has fallen below this share of its peak is past its warm-up."""
SETTLED = 2.5
"""A bump of the warm-up is over after so many warm-ups: only then do levels from before its end count."""
FAR_BACK = 2000
"""Rows in which the beginning of a rise is looked for."""
LOW, LOWISH = 0.05, 0.2
"""Losses of data that is known by heart, and of data that may be (Unsloth's guide: below 0.2 probably overfitting)."""
Pairs = list[tuple[int, Level | None]]
"""Sizes of windows, each with the level that its rows are compared with."""


@dataclass(frozen=True)
class LossInputs:
    """What a course needs beside the loss itself."""

    starts: tuple[float, ...] = ()
    """First steps of the segments after the first."""
    total: float | None = None
    """Planned steps."""
    start: float | None = None
    """Loss of the untouched model where theory tells it."""


class Warmup:
    """Follows the learning rate to its first peak."""

    def __init__(self, lr: Series | None) -> None:
        self._lr = lr
        self._rows = 0
        self._peak, self._step, self._low = -math.inf, -math.inf, math.inf

    def peak_step(self, step: float) -> float:
        """Where it was highest first, of all up to ``step``: that is ``step`` itself while it rises. Minus infinity
        where it is not known. What comes after a fall by FELL is a restart, no warm-up."""
        lr = self._lr
        if lr is None or not len(lr) or self._low < FELL * self._peak:
            return self._step
        upto = bisect_right(lr.steps, step, self._rows)
        fresh = [0.0 if math.isnan(value) else value for value in lr.values[self._rows : upto]]
        at = fresh.index(max(fresh)) if fresh else 0
        self._low = min([self._low, *fresh[:at]])
        if fresh and fresh[at] > self._peak * 1.0001 and not self._low < FELL * self._peak:
            self._peak, self._step, self._low = fresh[at], lr.steps[self._rows + at], math.inf
        self._low = min([self._low, *fresh[at:]])
        self._rows = upto
        return self._step


@dataclass
class _Segment:
    """What is known of the rows of one process."""

    begin: int = 0
    risen: int = 0
    """Row at which the learning rate rose no more,"""
    settled: int | None = None
    """and at which the warm-up was over."""
    lowest: LowestLevel = field(default_factory=LowestLevel)
    scatter: NoiseEstimate = field(default_factory=NoiseEstimate)


class LossCheck(SeriesCheck):
    """Folds and events of one loss curve; ``lr`` are the learning rates of the same rows."""

    def __init__(self, terms: LossInputs, lr: Series | None) -> None:
        super().__init__()
        self.diverging = Hysteresis()
        self.worse = Hysteresis()
        self.low, self.lowish = Hysteresis(), Hysteresis()
        """The median of the last rows is below LOW, or LOWISH."""
        self.spikes = SpikeDetector()
        self.stretches = LevelChanges()
        self.terms = terms
        self._warmup = Warmup(lr)
        self._segment = _Segment()
        self._crossed = 0
        self._start: Level | None = None
        self.spread = Spread(math.inf, math.inf)
        """The noise of the last rows."""
        self._sure = math.inf
        self._level: float | None = None

    def check(self, column: Series, end: int) -> None:
        """Look at the rows before ``end``."""
        series = column
        self._cross(series, end)
        segment = self._segment
        rows = finite_before(series.values, end, 100, segment.begin)
        if rows and min(rows) <= 0:
            rows = [value for value in rows if value > 0]
        if self._level is not None:
            known = segment.settled is not None and end - segment.begin >= HISTORY
            self.spikes.look(series, range(self.done, end), self._level, self.spread.one, known=known)
        size = window(end - segment.begin)
        if len(rows) < max(size, 6):
            return
        self.spread = segment.scatter.look(rows, end - segment.begin)
        self._sure = critical_z(self._planned(series, end))
        self._check_low(series, median(rows[-low_rows(len(rows)) :]), end)
        self._level = median(rows[-max(size, LEVEL_ROWS) :])
        self._settle(series, end)
        sizes = self._sizes(rows, end, size)
        whole = min(len(rows), end - segment.begin, WINDOW_CAP)
        windows = [*sizes, whole] if whole > sizes[-1] else sizes
        segment.lowest.note(rows, end, windows, self.spread, self._sure, segment.risen)
        if segment.settled is None:
            return
        if end - segment.begin >= LEAVES_ROWS:
            self._check_diverging(series, rows, end, sizes)
        if end >= WORSE_ROWS:
            self._check_worse(series, rows, end, sizes)
        self.spikes.watch(median(rows[-2 * size :]), end, size, self.spread)
        self.stretches.compare(series, segment.begin, end, self.spread)

    # -- where the run is ----------------------------------------------------------------------------------------

    def _cross(self, series: Series, end: int) -> None:
        """A resume starts a new window."""
        reached = bisect_right(self.terms.starts, series.steps[end - 1])
        if reached == self._crossed:
            return
        self._crossed = reached
        start = self.terms.starts[reached - 1]
        self.diverging.cut(start)
        self.worse.cut(start)
        self._segment = _Segment(bisect_left(series.steps, start))
        self._level = None
        self.stretches = LevelChanges()

    def _settle(self, series: Series, end: int) -> None:
        """The warm-up is over: enough rows and steps, and the learning rate rises no more."""
        segment, total, step = self._segment, self.terms.total, series.steps[end - 1]
        peak = self._warmup.peak_step(step)
        if segment.settled is not None:
            return
        segment.risen = max(segment.begin, bisect_right(series.steps, peak))
        if segment.risen >= end or end - segment.begin < LEAST_ROWS:
            return
        if segment.begin or total is None or step >= WARM_SHARE * total:
            segment.settled = end

    def _planned(self, series: Series, end: int) -> int:
        """Rows that the whole run will have, if it is known: a long run is looked at more often, and can wait."""
        total, step = self.terms.total, series.steps[end - 1]
        return max(end, int(end * total / step)) if total is not None and step > 0 else end

    def _calm(self, end: int) -> bool:
        """A bump of the warm-up is over."""
        segment = self._segment
        return end - segment.begin > SETTLED * (segment.risen - segment.begin)

    def _sizes(self, rows: Sequence[float], end: int, size: int) -> list[int]:
        """Rows of windows: a short one sees a large change early, a long one a small change surely."""
        count, most = end - self._segment.begin, min(len(rows), WINDOW_CAP)
        return sorted({min(most, max(size, wanted)) for wanted in (count // 10, count // 5, count // 3, count // 2)})

    # -- levels --------------------------------------------------------------------------------------------------

    def _check_diverging(self, series: Series, rows: list[float], end: int, sizes: list[int]) -> None:
        lowest, calm = self._segment.lowest, self._calm(end)
        pairs: Pairs = [(size, lowest.before(end - size, settled=not calm)) for size in sizes]
        self._feed(self.diverging, LEAVES, pairs, series, rows, end, "best")

    def _check_worse(self, series: Series, rows: list[float], end: int, sizes: list[int]) -> None:
        if self._start is None:
            self._start = self._first_level(series)
        rise = WORSE if self._calm(end) else WORSE_EARLY
        if self.terms.start is not None:
            rise = WORSE_THAN_REFERENCE
        most = min(len(rows), max(end - self._segment.begin, end) // 2)
        pairs: Pairs = [(min(most, 2 * size), self._start) for size in sizes]
        self._feed(self.worse, rise, pairs, series, rows, end, "first")

    def _check_low(self, series: Series, now: float, end: int) -> None:
        step = series.steps[end - 1]
        for fold, bound in ((self.low, LOW), (self.lowish, LOWISH)):
            fold.feed(step, fires=now < bound, holds=now < bound * (2 - WIDER), begin=step, evidence={})

    def _feed(
        self, fold: Hysteresis, rise: Rise, pairs: Pairs, series: Series, rows: list[float], end: int, name: str
    ) -> None:
        """One check of a fold: whether the rows of any of the windows lie above the level that goes with it."""
        known = [(rows[-size:], level) for size, level in pairs if level is not None]
        above = [level for part, level in known if rise.above(part, level, self.spread, self._sure)]
        fires = bool(above)
        if not fires:
            above = [level for part, level in known if rise.above(part, level, self.spread, self._sure, WIDER)]
        if not above and fold.now is None:
            fold.miss()
            return
        step = series.steps[end - 1]
        if not above:
            fold.feed(step, fires=False, holds=False, begin=step, evidence={})
            return
        level, now = above[0], median(rows[-pairs[0][0] :])
        evidence: dict[str, Param] = {
            name: rounded(level.value), f"{name}_step": int(series.steps[max(0, level.end - 1)]), "now": rounded(now),
            "rise": rounded((now / level.value - 1) * 100, 3),
        }  # fmt: skip
        begin = _left(series, level, now, end) if fires and fold.now is None else step
        fold.feed(step, fires=fires, holds=True, begin=begin, evidence=evidence)

    def _first_level(self, series: Series) -> Level | None:
        """The untouched model's loss: as theory says, else the first row or the first few, whichever is known to be
        lower; these may be of a model that is leaving already."""
        if self.terms.start is not None:
            return Level(0, self.terms.start, 0, math.log(self.terms.start))
        rows = [value for value in finite_before(series.values, 5, 5) if value > 0]
        found: Level | None = None
        for part in (rows[:1], rows[:3], rows):
            if part:
                bound = math.log(median(part)) + self._sure * self.spread.error(len(part))
                level = Level(len(part), median(part), len(part), bound)
                found = level if found is None or level.upper < found.upper else found
        return found


def low_rows(count: int) -> int:
    """Rows whose median tells whether the data is known by heart."""
    return min(20, max(6, count // 3))


def _left(series: Series, level: Level, now: float, end: int) -> float:
    """Step at which the loss left a level: after the last three rows of which the median was near it."""
    bound = level.value + 0.3 * (now - level.value)
    values = series.values
    for row in range(end - 1, max(level.end, end - FAR_BACK, 2) - 1, -1):
        if sorted(values[row - 2 : row + 1])[1] <= bound:
            return series.steps[min(row + 1, end - 1)]
    return series.steps[min(level.end, end - 1)]
