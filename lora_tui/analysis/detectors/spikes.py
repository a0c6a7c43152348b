"""Rows of a loss curve that stand out from all that the run has done before."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from lora_tui.analysis.detectors.levels import WIDER
from lora_tui.analysis.statistics import Spread
from lora_tui.runs.series import Series

RATIO, NATS = 1.3, 0.25
"""A spike is so much above the level before it,"""
NOISES = 5.0
"""so many times the noise of a row,"""
RECORD = 2.0
"""and this many times every residual of the run before it, of which there are at least"""
HISTORY = 20
LEVEL_ROWS = 10
"""Rows, at least, whose median is the level before it."""
SURE = 3.0
"""Standard errors by which a level after it is higher."""
CHANCE, TAIL = 1e-3, 3.0
"""When several rows far from all others are no chance: see :func:`repeated`."""
TOP = 12
"""Highest residuals that are kept."""
STAYED = math.log(1.05)
"""A loss that is less than this above its level before a spike has come back."""


@dataclass
class Spike:
    """A row, or some in a row, far above the level before."""

    row: int
    step: float
    last_row: int
    height: float
    """Highest value over the level before."""
    level: float
    lasting: float | None = None
    """Level that the loss has stayed at instead of coming back."""


@dataclass(frozen=True)
class Peak:
    """A row and how far it lies above the level before it, as a logarithm."""

    residual: float
    step: float
    row: int


def repeated(highest: Sequence[Peak], least: float) -> list[Peak]:
    """Those of the highest residuals (largest first) that do not belong to the rest, if there are 3 or more.

    In a sample with power-law tails of exponent a the ratio of the k-th and the next highest value exceeds c with the
    probability c^(-k a) (Renyi). Student's t with 3 degrees of freedom, a = 3, is the heaviest noise that is taken for
    usual; a gap behind the k highest that such noise has with a chance below CHANCE sets them apart.
    """
    for count in range(len(highest) - 1, 2, -1):
        last, following = highest[count - 1].residual, highest[count].residual
        if last >= least and last >= following * CHANCE ** (-1 / (count * TAIL)):
            return list(highest[:count])
    return []


class SpikeDetector:
    """Collects them, row by row."""

    def __init__(self) -> None:
        self.found: list[Spike] = []
        self.highest: list[Peak] = []
        """The highest residuals, largest first; rows beside each other count once."""
        self.least = math.inf
        """From what residual on a row counts at all."""
        self._record = 0.0

    def look(self, series: Series, rows: range, level: float, noise: float, *, known: bool) -> None:
        """Rows after those that ``level`` and ``noise`` (of one row, relative) are about. ``known``: enough is known of
        the run to call one a spike."""
        fresh = series.values[rows.start : rows.stop]
        if not fresh or not math.isfinite(noise):
            return
        self.least = max(math.log(RATIO), NOISES * noise)
        bound = level * (math.exp(self.highest[-1].residual) if len(self.highest) == TOP else 1.0)
        if max(fresh) <= bound:
            return
        for row, value in zip(rows, fresh, strict=True):
            if bound < value < math.inf:
                self._take(Peak(math.log(value / level), series.steps[row], row), value, level, known=known)

    def _take(self, peak: Peak, value: float, level: float, *, known: bool) -> None:
        residual, row = peak.residual, peak.row
        last = self.found[-1] if self.found else None
        if last is not None and row - last.last_row <= 2 and residual > self._record:
            last.last_row, last.height = row, max(last.height, value / last.level)
        elif known and residual > max(self.least, RECORD * self._record) and value - level > NATS:
            self.found.append(Spike(row, peak.step, row, value / level, level))
        else:
            self._record = max(self._record, residual)
        beside = next((one for one in self.highest if abs(one.row - row) <= 2), None)
        if beside is not None:
            if beside.residual >= residual:
                return
            self.highest.remove(beside)
        insort(self.highest, peak, key=lambda one: -one.residual)
        del self.highest[TOP:]

    def watch(self, level: float, end: int, size: int, spread: Spread) -> None:
        """Whether the loss has come back two windows after the last spike, and later on. ``level``: median of the two
        windows of ``size`` rows before row ``end``."""
        if not self.found:
            return
        spike = self.found[-1]
        if end < spike.row + 2 * size + 1:
            return
        gone = math.log(level / spike.level)
        if spike.lasting is None:
            chance = SURE * math.hypot(spread.error(2 * size), spread.error(LEVEL_ROWS))
            if end <= spike.row + 5 * size and gone > max(STAYED, chance):
                spike.lasting = level
        elif gone < STAYED * WIDER:
            spike.lasting = None
