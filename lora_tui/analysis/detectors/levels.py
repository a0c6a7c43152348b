"""Levels of a positive curve: medians of windows, and the bounds within which they are known.

One level is above another where the lower bound of the first lies above the upper bound of the second.
:func:`lora_tui.analysis.statistics.critical_z` says how many standard errors wide the bounds are.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from lora_tui.analysis.statistics import WINDOW_CAP, Spread, evenly, finite_before, lower_quartile, median, spread
from lora_tui.runs.series import Series

CLOSING_WIDTH = 0.8
"""Factor on the bounds by which an open finding closes: 20 % of hysteresis."""
BLOCK = 10
"""Rows of a block; medians of neighbouring blocks show how much a curve wanders."""
BLOCKS = 15
"""Comparisons of blocks that are needed before they say something."""
REFRESH = 20
"""The noise is estimated again each time the rows have grown by 1 / REFRESH."""


class NoiseEstimate:
    """The noise of a curve as it grows.

    The noise of medians is at least what medians of neighbouring blocks have shown, which includes whatever else makes
    the curve wander.
    """

    def __init__(self) -> None:
        self.current = Spread(math.inf, math.inf)
        self._due = 0
        self._steps: deque[float] = deque(maxlen=2 * BLOCKS)
        self._bends: deque[float] = deque(maxlen=2 * BLOCKS)
        """First and second differences of the logarithms of three blocks, divided by sqrt(2) and sqrt(6)."""

    def update(self, rows: list[float], count: int) -> Spread:
        """Return the noise by the last rows (positive values) of ``count`` rows in all."""
        if len(rows) >= 3 * BLOCK:
            a, b, c = (math.log(median(rows[-k * BLOCK : len(rows) - (k - 1) * BLOCK])) for k in (3, 2, 1))
            self._steps.append(abs(c - b) / math.sqrt(2))
            self._bends.append(abs(a - 2 * b + c) / math.sqrt(6))
        if count >= self._due:
            self._due = count + max(1, count // REFRESH)
            self.current = spread(rows)
            if len(self._steps) >= BLOCKS:
                wander = 1.4826 * min(median(self._steps), median(self._bends)) * math.sqrt(BLOCK)
                self.current = Spread(self.current.one, max(self.current.unit, wander))
        return self.current


@dataclass(frozen=True)
class Level:
    """The median of a window."""

    end: int
    """Row before which the window ends."""
    value: float
    size: int
    """Rows of the window; 0 for a level that is known exactly."""
    upper: float
    """Upper bound of the logarithm of the level, by the noise that was known then."""
    settled: bool = True
    """Whether the window begins after the warm-up."""


@dataclass(frozen=True)
class RiseThresholds:
    """How far above a level rows must lie to count as risen."""

    share: float
    """Share of the level by which the median must be above it."""
    nats: float
    """Absolute difference by which the median must be above it, in nats for a loss."""
    quartile: float
    """Factor of the level that the first quartile must exceed."""

    def is_above(self, rows: list[float], level: Level, spread: Spread, z: float, width: float = 1.0) -> bool:
        """Return whether the rows have risen above the level, by ``z`` standard errors as well.

        A ``width`` below 1 brings every bound closer.
        """
        now = median(rows)
        return (
            now > (1 + self.share * width) * level.value
            and now - level.value > self.nats * width
            and lower_quartile(rows) > (1 + (self.quartile - 1) * width) * level.value
            and math.log(now / level.value) > z * width * (spread.error(len(rows)) + spread.error(level.size))
        )


class LowestLevel:
    """The lowest level so far, by upper bounds: of a short and a long window at one level the long one counts."""

    def __init__(self) -> None:
        self._level: Level | None = None
        self._settled: Level | None = None
        self._late: deque[Level] = deque()
        """Levels of the last WINDOW_CAP rows, which may overlap the present window; the others are merged above."""

    def add(self, rows: list[float], end: int, sizes: list[int], spread: Spread, z: float, settled: int) -> None:
        """Add the windows of these sizes that end before row ``end``; the warm-up was over at row ``settled``."""
        for size in sizes:
            value = median(rows[-size:])
            bound = math.log(value) + z * spread.error(size)
            self._late.append(Level(end, value, size, bound, end - size >= settled))
        while self._late[0].end <= end - WINDOW_CAP:
            level = self._late.popleft()
            self._level = _lower(self._level, level)
            if level.settled:
                self._settled = _lower(self._settled, level)

    def before(self, row: int, *, settled: bool = False) -> Level | None:
        """Return the lowest level that ends before a row; ``settled``: only of those that begin after the warm-up."""
        found = self._settled if settled else self._level
        for level in self._late:
            if level.end <= row and (level.settled or not settled):
                found = _lower(found, level)
        return found


def _lower(a: Level | None, b: Level) -> Level:
    return b if a is None or b.upper < a.upper else a


MIN_CHANGE_ROWS = 30
"""Rows of a segment before parts of it are compared."""
GROWTH = 1.1
"""Parts are compared again when the rows have grown by this factor."""
SAMPLE = 200
"""Rows, spread evenly, that stand for a longer part."""
HEADS = (3, 5, 10, 20)
"""Numbers of first rows that the end is compared with, beside the first third: a fast learner has learned in them."""
CLEAR_ERRORS = 2.5
"""Standard errors by which a fall must be known to count."""


@dataclass(frozen=True)
class LevelChange:
    """How far a curve fell from one part of it to another."""

    fall: float
    """Difference of the logarithms of the two medians, positive where the later one is lower."""
    error: float
    """Standard error of ``fall``."""
    step: float
    """Step at which the earlier part begins."""
    level: float
    """Median of the later part."""


class LevelChanges:
    """Comparisons of parts of a curve, the newest and the one before: what is said of a run must hold at both."""

    def __init__(self) -> None:
        self.whole: LevelChange | None = None
        """First against last third of all rows, or the first rows where these lie higher."""
        self.whole_before: LevelChange | None = None
        self.late: LevelChange | None = None
        """The last fifth of the segment's rows against the fifth before."""
        self.late_before: LevelChange | None = None
        self.longer: LevelChange | None = None
        """The last three tenths of the segment's rows against the three before: less noise on a long level curve."""
        self.longer_before: LevelChange | None = None
        self._due = MIN_CHANGE_ROWS

    def compare(self, series: Series, begin: int, end: int, spread: Spread) -> None:
        """Compare the parts of the rows before row ``end`` if that is due; the segment begins at row ``begin``."""
        if end - begin < MIN_CHANGE_ROWS or end < self._due:
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
    """Compare the last ``rows`` rows before row ``end`` with as many before them."""
    before, after = (evenly(series.values, end - k * rows, end - (k - 1) * rows, SAMPLE) for k in (2, 1))
    return _steepest([before], after, series.steps[end - 2 * rows], spread)


def _steepest(heads: list[list[float]], ending: list[float], step: float, spread: Spread) -> LevelChange | None:
    """Return how far ``ending`` lies below the last of the heads, or below the one that it is clearly furthest
    below."""
    usable = [[value for value in head if value > 0] for head in (*heads, ending)]
    if any(len(part) < 3 for part in usable):
        return None
    low = median(usable[-1])
    found: LevelChange | None = None
    for head in reversed(usable[:-1]):
        error = math.hypot(spread.error(len(head)), spread.error(len(usable[-1])))
        flat = LevelChange(math.log(median(head) / low), error, step, low)
        if found is None or (flat.fall > CLEAR_ERRORS * error and flat.fall > found.fall):
            found = flat
    return found
