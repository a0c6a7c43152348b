"""Levels of a positive curve: medians of windows, with the bounds within which they are known.

One level is above another if the lower bound of the first is above the upper bound of the second. The bounds are
:func:`lora_tui.analysis.statistics.critical_z` standard errors away from the median.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from lora_tui.analysis.statistics import WINDOW_CAP, Spread, evenly, finite_before, lower_quartile, median, spread
from lora_tui.runs.series import Series

CLOSING_WIDTH = 0.8
"""Factor on the bounds of an open finding: it closes only when bounds that are 20 % closer are not met."""
BLOCK = 10
"""Number of rows of a block; medians of neighbouring blocks show how much a curve wanders."""
BLOCKS = 15
"""Minimum number of comparisons of blocks for an estimate."""
REFRESH = 20
"""The noise is estimated again each time the number of rows has grown by 1 / REFRESH."""


class NoiseEstimate:
    """Estimates the noise of a growing curve.

    The noise of medians is at least the one observed between medians of neighbouring blocks, which includes every other
    cause of a wandering curve.
    """

    def __init__(self) -> None:
        self.current = Spread(math.inf, math.inf)
        """The last estimate, infinite before the first one."""
        self._due = 0
        """Number of rows at which the next estimate is due."""
        self._steps: deque[float] = deque(maxlen=2 * BLOCKS)
        """First differences of the logarithms of the medians of blocks, divided by sqrt(2)."""
        self._bends: deque[float] = deque(maxlen=2 * BLOCKS)
        """Second differences of the logarithms of the medians of blocks, divided by sqrt(6)."""

    def update(self, rows: list[float], count: int) -> Spread:
        """Return the noise; ``rows`` are the last values (positive) of ``count`` rows in total."""
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
    """Index of the row after the window."""
    value: float
    """The median."""
    size: int
    """Number of rows of the window, 0 for a level that is known exactly."""
    upper: float
    """Upper bound of the logarithm of the level, by the noise that was known at that row."""
    settled: bool = True
    """Whether the window begins after the warm-up."""


@dataclass(frozen=True)
class RiseThresholds:
    """How far above a level rows must be to count as risen."""

    share: float
    """Share of the level by which the median must be above it."""
    nats: float
    """Absolute difference by which the median must be above it, in nats for a loss."""
    quartile: float
    """Multiple of the level that the first quartile must exceed."""

    def is_above(self, rows: list[float], level: Level, spread: Spread, z: float, width: float = 1.0) -> bool:
        """Return whether the rows are above the level by all thresholds and by ``z`` standard errors.

        A ``width`` below 1 brings every bound closer to the level.
        """
        now = median(rows)
        return (
            now > (1 + self.share * width) * level.value
            and now - level.value > self.nats * width
            and lower_quartile(rows) > (1 + (self.quartile - 1) * width) * level.value
            and math.log(now / level.value) > z * width * (spread.error(len(rows)) + spread.error(level.size))
        )


class LowestLevel:
    """The level with the lowest upper bound so far. Of two windows at the same level the longer one is lower."""

    def __init__(self) -> None:
        self._level: Level | None = None
        """Lowest of the levels before those in ``_late``."""
        self._settled: Level | None = None
        """Lowest of the levels before those in ``_late`` whose windows begin after the warm-up."""
        self._late: deque[Level] = deque()
        """Levels that end within the last WINDOW_CAP rows, which may overlap the current window."""

    def add(self, rows: list[float], end: int, sizes: list[int], spread: Spread, z: float, settled: int) -> None:
        """Add the windows of these sizes that end before row ``end``; the warm-up ended at row ``settled``."""
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
        """Return the lowest level whose window ends before ``row``, None without one.

        With ``settled`` only windows that begin after the warm-up count.
        """
        found = self._settled if settled else self._level
        for level in self._late:
            if level.end <= row and (level.settled or not settled):
                found = _lower(found, level)
        return found


def _lower(a: Level | None, b: Level) -> Level:
    """Return the level with the lower upper bound."""
    return b if a is None or b.upper < a.upper else a


MIN_CHANGE_ROWS = 30
"""Minimum number of rows of a segment for a comparison of its parts."""
GROWTH = 1.1
"""Factor by which the number of rows must grow before parts are compared again."""
SAMPLE = 200
"""Maximum number of evenly spaced rows that represent a part."""
HEADS = (3, 5, 10, 20)
"""Numbers of first rows with which the last third is compared besides the first third, since a loss may fall fast."""
CLEAR_ERRORS = 2.5
"""Minimum size of a fall in standard errors."""


@dataclass(frozen=True)
class LevelChange:
    """How far a curve fell from one part of it to another."""

    fall: float
    """Difference of the logarithms of the two medians, positive if the later one is lower."""
    error: float
    """Standard error of ``fall``."""
    step: float
    """Step at which the earlier part begins."""
    level: float
    """Median of the later part."""


class LevelChanges:
    """The newest and the previous comparison of parts of a curve; a rule must hold at both."""

    def __init__(self) -> None:
        self.whole: LevelChange | None = None
        """Change from the first to the last third of all rows, or from the first few rows if these are higher."""
        self.whole_before: LevelChange | None = None
        """The previous value of ``whole``."""
        self.late: LevelChange | None = None
        """Change from the last but one to the last fifth of the segment's rows."""
        self.late_before: LevelChange | None = None
        """The previous value of ``late``."""
        self.longer: LevelChange | None = None
        """Change to the last three tenths of the segment's rows from the three tenths before, which has less noise."""
        self.longer_before: LevelChange | None = None
        """The previous value of ``longer``."""
        self._due = MIN_CHANGE_ROWS
        """Number of rows at which the next comparison is due."""

    def compare(self, series: Series, begin: int, end: int, spread: Spread) -> None:
        """Compare parts of the rows before row ``end`` if a comparison is due; the segment begins at row ``begin``."""
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
    """Return the change to the last ``rows`` rows before row ``end`` from as many rows before those."""
    before, after = (evenly(series.values, end - k * rows, end - (k - 1) * rows, SAMPLE) for k in (2, 1))
    return _steepest([before], after, series.steps[end - 2 * rows], spread)


def _steepest(heads: list[list[float]], ending: list[float], step: float, spread: Spread) -> LevelChange | None:
    """Return the change to ``ending`` from the last of the ``heads``, or from the one with the largest clear fall.

    A fall is clear if it exceeds CLEAR_ERRORS standard errors. None if a part has fewer than 3 positive values.
    """
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
