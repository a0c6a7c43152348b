"""Detect spikes: rows of a loss curve that are far above all residuals of the run so far."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from lora_tui.analysis.detectors.levels import CLOSING_WIDTH
from lora_tui.analysis.statistics import Spread
from lora_tui.runs.series import Series

RATIO = 1.3
"""Multiple of the level before it that a spike exceeds."""
NATS = 0.25
"""Nats by which a spike exceeds the level before it."""
NOISES = 5.0
"""Multiple of the noise of a row that the logarithm of a spike over the level before it exceeds."""
RECORD_RATIO = 2.0
"""Multiple of every earlier residual of the run that a spike exceeds."""
HISTORY = 20
"""Number of rows of a segment that must come before a spike."""
LEVEL_ROWS = 10
"""Minimum number of rows whose median is the level before a spike."""
LASTING_ERRORS = 3.0
"""Standard errors by which the level after a spike must be higher than before it to count as lasting."""
GAP_CHANCE = 1e-3
"""Probability of a gap in usual noise below which it sets the highest residuals apart, see :func:`outlying_peaks`."""
TAIL_EXPONENT = 3.0
"""Exponent of the heaviest power-law tail of noise that counts as usual (Student's t with 3 degrees of freedom)."""
KEPT_PEAKS = 12
"""Number of the highest residuals that are kept."""
RECOVERED = math.log(1.05)
"""Logarithm of the loss over the level before a spike below which the loss has recovered."""


@dataclass
class Spike:
    """One row, or several neighbouring rows, far above the level before."""

    row: int
    """Index of its first row."""
    step: float
    """Step of its first row."""
    last_row: int
    """Index of its last row."""
    height: float
    """Highest value divided by the level before."""
    level: float
    """Median of the rows before it."""
    lasting: float | None = None
    """Level at which the loss has stayed since, None if it has recovered or that is not known yet."""


@dataclass(frozen=True)
class Peak:
    """A row and its residual: the logarithm of its value divided by the level before it."""

    residual: float
    step: float
    row: int
    """Index of the row."""


def outlying_peaks(highest: Sequence[Peak], least: float) -> list[Peak]:
    """Return those of the highest residuals (largest first) that are apart from the rest, if there are 3 or more.

    In a sample with power-law tails of exponent a, the ratio of the k-th to the next highest value exceeds c with
    probability c^(-k a) (Renyi). Student's t with 3 degrees of freedom (a = 3) is the heaviest noise that counts as
    usual. The k highest are apart if such noise has a gap of this size after them with a probability below GAP_CHANCE,
    and if all of them are at least ``least``.
    """
    for count in range(len(highest) - 1, 2, -1):
        last, following = highest[count - 1].residual, highest[count].residual
        if last >= least and last >= following * GAP_CHANCE ** (-1 / (count * TAIL_EXPONENT)):
            return list(highest[:count])
    return []


class SpikeDetector:
    """Finds the spikes of one curve row by row."""

    def __init__(self) -> None:
        self.found: list[Spike] = []
        """All spikes so far, oldest first."""
        self.highest: list[Peak] = []
        """The highest residuals, largest first; neighbouring rows count once."""
        self.least = math.inf
        """Least residual of a spike by the noise at the last check."""
        self._record = 0.0
        """Highest residual so far outside of spikes."""

    def add_rows(self, series: Series, rows: range, level: float, noise: float, *, known: bool) -> None:
        """Add rows; ``level`` and ``noise`` (of one row, relative) are those of the rows before them.

        ``known`` says whether enough rows came before for one of these to count as a spike.
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
        """Record a row above the level as a new spike, as a part of the last one, or as a residual only."""
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
        """Record whether the loss has recovered, from two windows after the last spike on.

        ``level`` is the median of the two windows of ``size`` rows before row ``end``.
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
