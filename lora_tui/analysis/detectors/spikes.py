"""Detect spikes: rows of a loss curve that stand out from everything that the run has done before."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from lora_tui.analysis.detectors.levels import CLOSING_WIDTH
from lora_tui.analysis.statistics import Spread
from lora_tui.runs.series import Series

RATIO = 1.3
"""Factor by which a spike exceeds the level before it."""
NATS = 0.25
"""Nats by which a spike exceeds the level before it."""
NOISES = 5.0
"""Multiple of the noise of a row by which a spike exceeds the level before it, as a logarithm."""
RECORD_RATIO = 2.0
"""Multiple of every earlier residual of the run that a spike exceeds."""
HISTORY = 20
"""Earlier residuals that must be known before a row can be a spike."""
LEVEL_ROWS = 10
"""Rows, at least, whose median is the level before a spike."""
LASTING_ERRORS = 3.0
"""Standard errors by which the level after a spike must be higher to count as lasting."""
GAP_CHANCE = 1e-3
"""Probability in usual noise below which a gap sets the highest residuals apart, see :func:`outlying_peaks`."""
TAIL_EXPONENT = 3.0
"""Exponent of the heaviest power-law tail that is taken for usual noise (Student's t with 3 degrees of freedom)."""
KEPT_PEAKS = 12
"""Number of the highest residuals that are kept."""
RECOVERED = math.log(1.05)
"""A loss whose logarithm is less than this above the level before a spike has come back."""


@dataclass
class Spike:
    """One row, or several beside each other, far above the level before."""

    row: int
    step: float
    last_row: int
    height: float
    """Highest value divided by the level before."""
    level: float
    lasting: float | None = None
    """Level at which the loss has stayed instead of coming back, or None."""


@dataclass(frozen=True)
class Peak:
    """A row and its residual: the logarithm of its value divided by the level before it."""

    residual: float
    step: float
    row: int


def outlying_peaks(highest: Sequence[Peak], least: float) -> list[Peak]:
    """Return those of the highest residuals (largest first) that stand apart from the rest, if there are 3 or more.

    In a sample with power-law tails of exponent a the ratio of the k-th and the next highest value exceeds c with the
    probability c^(-k a) (Renyi). Student's t with 3 degrees of freedom, a = 3, is the heaviest noise that is taken for
    usual. A gap behind the k highest that such noise has with a probability below GAP_CHANCE sets them apart.
    """
    for count in range(len(highest) - 1, 2, -1):
        last, following = highest[count - 1].residual, highest[count].residual
        if last >= least and last >= following * GAP_CHANCE ** (-1 / (count * TAIL_EXPONENT)):
            return list(highest[:count])
    return []


class SpikeDetector:
    """Spikes of one curve, found row by row."""

    def __init__(self) -> None:
        self.found: list[Spike] = []
        self.highest: list[Peak] = []
        """The highest residuals, largest first; rows beside each other count once."""
        self.least = math.inf
        """Residual from which on a row counts at all."""
        self._record = 0.0

    def add_rows(self, series: Series, rows: range, level: float, noise: float, *, known: bool) -> None:
        """Add rows. ``level`` and ``noise`` (of one row, relative) are those of the rows before them.

        ``known``: enough rows came before for one of these to be called a spike.
        """
        fresh = series.values[rows.start : rows.stop]
        if not fresh or not math.isfinite(noise):
            return
        self.least = max(math.log(RATIO), NOISES * noise)
        bound = level * (math.exp(self.highest[-1].residual) if len(self.highest) == KEPT_PEAKS else 1.0)
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
        elif known and residual > max(self.least, RECORD_RATIO * self._record) and value - level > NATS:
            self.found.append(Spike(row, peak.step, row, value / level, level))
        else:
            self._record = max(self._record, residual)
        beside = next((one for one in self.highest if abs(one.row - row) <= 2), None)
        if beside is not None:
            if beside.residual >= residual:
                return
            self.highest.remove(beside)
        insort(self.highest, peak, key=lambda one: -one.residual)
        del self.highest[KEPT_PEAKS:]

    def update_recovery(self, level: float, end: int, size: int, spread: Spread) -> None:
        """Note whether the loss has come back two windows after the last spike, and later on.

        ``level``: median of the two windows of ``size`` rows before row ``end``.
        """
        if not self.found:
            return
        spike = self.found[-1]
        if end < spike.row + 2 * size + 1:
            return
        gone = math.log(level / spike.level)
        if spike.lasting is None:
            chance = LASTING_ERRORS * math.hypot(spread.error(2 * size), spread.error(LEVEL_ROWS))
            if end <= spike.row + 5 * size and gone > max(RECOVERED, chance):
                spike.lasting = level
        elif gone < RECOVERED * CLOSING_WIDTH:
            spike.lasting = None
