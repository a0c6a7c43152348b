"""Levels of a positive curve: medians of windows with the bounds within which they are known.

One level is above another where the lower bound of the first lies above the upper bound of the second. How many
standard errors wide they are is :func:`lora_tui.analysis.statistics.critical_z`'s matter.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from lora_tui.analysis.statistics import WINDOW_CAP, Spread, evenly, finite_before, lower_quartile, median, spread
from lora_tui.runs.series import Series

WIDER = 0.8
"""A finding that is open closes by bounds that are this much closer: 20 % of hysteresis."""


BLOCK, BLOCKS = 10, 15
"""Rows of the blocks whose medians are compared, and how many such comparisons say something."""
REFRESH = 20
"""Noise is worked out anew when a twentieth more rows are there."""


class NoiseEstimate:
    """The noise of a curve as it grows; of its medians at least what medians of neighbouring blocks have shown, which
    counts whatever else makes a curve wander."""

    def __init__(self) -> None:
        self.now = Spread(math.inf, math.inf)
        self._due = 0
        self._steps: deque[float] = deque(maxlen=2 * BLOCKS)
        self._bends: deque[float] = deque(maxlen=2 * BLOCKS)
        """First and second differences of the logarithms of three blocks, over sqrt(2) and sqrt(6)."""

    def look(self, rows: list[float], count: int) -> Spread:
        """The last rows (positive) of ``count``."""
        if len(rows) >= 3 * BLOCK:
            a, b, c = (math.log(median(rows[-k * BLOCK : len(rows) - (k - 1) * BLOCK])) for k in (3, 2, 1))
            self._steps.append(abs(c - b) / math.sqrt(2))
            self._bends.append(abs(a - 2 * b + c) / math.sqrt(6))
        if count >= self._due:
            self._due = count + max(1, count // REFRESH)
            self.now = spread(rows)
            if len(self._steps) >= BLOCKS:
                wander = 1.4826 * min(median(self._steps), median(self._bends)) * math.sqrt(BLOCK)
                self.now = Spread(self.now.one, max(self.now.unit, wander))
        return self.now


@dataclass(frozen=True)
class Level:
    """Median of a window of ``size`` rows that ends before row ``end``; ``upper`` bounded its logarithm by what was
    known of the noise then. Size 0: known exactly."""

    end: int
    value: float
    size: int
    upper: float
    settled: bool = True
    """It begins after the warm-up."""


@dataclass(frozen=True)
class Rise:
    """How far above a level is far: a share of it, nats, and a factor that three quarters of the rows exceed."""

    share: float
    nats: float
    quartile: float

    def above(self, rows: list[float], level: Level, spread: Spread, sure: float, width: float = 1.0) -> bool:
        """These rows lie that far above, by ``sure`` standard errors; a ``width`` below 1 brings every bound closer."""
        now = median(rows)
        return (
            now > (1 + self.share * width) * level.value
            and now - level.value > self.nats * width
            and lower_quartile(rows) > (1 + (self.quartile - 1) * width) * level.value
            and math.log(now / level.value) > sure * width * (spread.error(len(rows)) + spread.error(level.size))
        )


class LowestLevel:
    """The lowest levels so far, by upper bounds: of a short and of a long window at one level the long one counts."""

    def __init__(self) -> None:
        self._level: Level | None = None
        self._settled: Level | None = None
        self._late: deque[Level] = deque()
        """Levels of the last WINDOW_CAP rows, which may overlap the present window; the best of the others is above."""

    def note(self, rows: list[float], end: int, sizes: list[int], spread: Spread, sure: float, settled: int) -> None:
        """The windows of these sizes that end before row ``end``; the warm-up was over at row ``settled``."""
        for size in sizes:
            value = median(rows[-size:])
            bound = math.log(value) + sure * spread.error(size)
            self._late.append(Level(end, value, size, bound, end - size >= settled))
        while self._late[0].end <= end - WINDOW_CAP:
            level = self._late.popleft()
            self._level = _lower(self._level, level)
            if level.settled:
                self._settled = _lower(self._settled, level)

    def before(self, row: int, *, settled: bool = False) -> Level | None:
        """The lowest that ends before a row; ``settled``: of those that begin after the warm-up."""
        found = self._settled if settled else self._level
        for level in self._late:
            if level.end <= row and (level.settled or not settled):
                found = _lower(found, level)
        return found


def _lower(a: Level | None, b: Level) -> Level:
    return b if a is None or b.upper < a.upper else a


LEAST_ROWS = 30
GROWTH = 1.1
"""LevelChanges are compared again when the rows have grown by so much."""
SAMPLE = 200
"""Rows, spread evenly, that stand for a longer stretch."""
HEADS = (3, 5, 10, 20)
"""First rows that the end is compared with, beside the first third: a fast learner has done its work in them."""
CLEAR = 2.5
"""Standard errors of a fall that counts."""


@dataclass(frozen=True)
class LevelChange:
    """How much a stretch has moved: the fall of its logarithm and the standard error of that."""

    fall: float
    error: float
    step: float
    """Where the stretch begins."""
    level: float
    """Where it ends."""


class LevelChanges:
    """The last comparison and the one before it: what is said of a run must hold at both."""

    def __init__(self) -> None:
        self.whole: LevelChange | None = None
        """First against last third of all rows; against the first rows where these lie higher."""
        self.whole_before: LevelChange | None = None
        self.late: LevelChange | None = None
        """The last fifth of a segment's rows against the fifth before."""
        self.late_before: LevelChange | None = None
        self.longer: LevelChange | None = None
        """The last three tenths of a segment's rows against the three before: less noise where it is long level."""
        self.longer_before: LevelChange | None = None
        self._due = LEAST_ROWS

    def compare(self, series: Series, begin: int, end: int, spread: Spread) -> None:
        """Look at the rows before ``end`` if that is due; the present segment begins at row ``begin``."""
        if end - begin < LEAST_ROWS or end < self._due:
            return
        self._due = int(end * GROWTH) + 1
        self.whole_before, self.late_before, self.longer_before = self.whole, self.late, self.longer
        third = end // 3
        heads = [finite_before(series.values, head, head) for head in HEADS if head < third]
        heads.append(evenly(series.values, 0, third, SAMPLE))
        self.whole = _steepest(heads, evenly(series.values, end - third, end, SAMPLE), series.steps[0], spread)
        self.late = _halves(series, end, (end - begin) // 5, spread)
        self.longer = _halves(series, end, (end - begin) * 3 // 10, spread)


def _halves(series: Series, end: int, rows: int, spread: Spread) -> LevelChange | None:
    """The last ``rows`` before ``end`` against as many before them."""
    before, after = (evenly(series.values, end - k * rows, end - (k - 1) * rows, SAMPLE) for k in (2, 1))
    return _steepest([before], after, series.steps[end - 2 * rows], spread)


def _steepest(heads: list[list[float]], ending: list[float], step: float, spread: Spread) -> LevelChange | None:
    """How far ``ending`` lies below the last of the heads; or below the one that it is clearly furthest below."""
    usable = [[value for value in head if value > 0] for head in (*heads, ending)]
    if any(len(part) < 3 for part in usable):
        return None
    low = median(usable[-1])
    found: LevelChange | None = None
    for head in reversed(usable[:-1]):
        error = math.hypot(spread.error(len(head)), spread.error(len(usable[-1])))
        flat = LevelChange(math.log(median(head) / low), error, step, low)
        if found is None or (flat.fall > CLEAR * error and flat.fall > found.fall):
            found = flat
    return found
