"""How far a curve has moved from one stretch of it to another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lora_tui.analysis.statistics import Spread, evenly, finite_before, median
from lora_tui.runs.series import Series

LEAST_ROWS = 30
GROWTH = 1.1
"""Stretches are compared again when the rows have grown by so much."""
SAMPLE = 200
"""Rows, spread evenly, that stand for a longer stretch."""
HEADS = (3, 5, 10, 20)
"""First rows that the end is compared with, beside the first third: a fast learner has done its work in them."""
CLEAR = 2.5
"""Standard errors of a fall that counts."""


@dataclass(frozen=True)
class Flat:
    """How much a stretch has moved: the fall of its logarithm and the standard error of that."""

    fall: float
    error: float
    step: float
    """Where the stretch begins."""
    level: float
    """Where it ends."""


class Stretches:
    """The last comparison and the one before it: what is said of a run must hold at both."""

    def __init__(self) -> None:
        self.whole: Flat | None = None
        """First against last third of all rows; against the first rows where these lie higher."""
        self.whole_before: Flat | None = None
        self.late: Flat | None = None
        """The last fifth of a segment's rows against the fifth before."""
        self.late_before: Flat | None = None
        self.longer: Flat | None = None
        """The last three tenths of a segment's rows against the three before: less noise where it is long level."""
        self.longer_before: Flat | None = None
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


def _halves(series: Series, end: int, rows: int, spread: Spread) -> Flat | None:
    """The last ``rows`` before ``end`` against as many before them."""
    before, after = (evenly(series.values, end - k * rows, end - (k - 1) * rows, SAMPLE) for k in (2, 1))
    return _steepest([before], after, series.steps[end - 2 * rows], spread)


def _steepest(heads: list[list[float]], ending: list[float], step: float, spread: Spread) -> Flat | None:
    """How far ``ending`` lies below the last of the heads; or below the one that it is clearly furthest below."""
    usable = [[value for value in head if value > 0] for head in (*heads, ending)]
    if any(len(part) < 3 for part in usable):
        return None
    low = median(usable[-1])
    found: Flat | None = None
    for head in reversed(usable[:-1]):
        error = math.hypot(spread.error(len(head)), spread.error(len(usable[-1])))
        flat = Flat(math.log(median(head) / low), error, step, low)
        if found is None or (flat.fall > CLEAR * error and flat.fall > found.fall):
            found = flat
    return found
