"""Levels of a positive curve: medians of windows with the bounds within which they are known.

One level is above another where the lower bound of the first lies above the upper bound of the second. How many
standard errors wide they are is :func:`lora_tui.analysis.statistics.certainty`'s matter.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from lora_tui.analysis.statistics import WINDOW_CAP, Spread, lower_quartile, median, spread

WIDER = 0.8
"""A finding that is open closes by bounds that are this much closer: 20 % of hysteresis."""


BLOCK, BLOCKS = 10, 15
"""Rows of the blocks whose medians are compared, and how many such comparisons say something."""
REFRESH = 20
"""Noise is worked out anew when a twentieth more rows are there."""


class Scatter:
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


class Lowest:
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
