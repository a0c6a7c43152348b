"""One metric over steps: columns that only grow, with running statistics and a debiased moving average.

Metrics that are logged together have the same steps and share one column of them. A value may be ``nan`` or infinite;
such values are stored and counted, but bounds and averages leave them out.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import isfinite, nan

from lora_tui.records.extremes import Extremes

SMOOTHING = 0.9
"""Weight of the past in the moving average, per row."""
AVERAGE_WINDOW = 400
"""Number of last finite values that the moving average needs; all earlier ones together weigh less than 1e-18."""
CHUNK = 512
"""Number of values that are smoothed in one pass."""


class Series:
    """One metric: ``steps`` and ``values`` are columns of equal length, one entry per logged value, steps ascending.

    A ``steps`` column passed to the constructor is shared with other series. It is only ever appended to; a series
    whose next step differs from the shared one goes on with a copy.
    """

    def __init__(self, name: str, steps: array[float] | None = None) -> None:
        self.name = name
        self._steps: array[float] = array("d") if steps is None else steps
        """Column of steps; where it is shared, longer than ``values`` while another series has more of them."""
        self.values: array[float] = array("d")
        """Column of values."""
        self.nonfinite = 0
        """Number of values that are nan or infinite."""
        self.min = math.nan
        """Least finite value, nan without one."""
        self.min_step = math.nan
        """Step of the first value equal to ``min``."""
        self.max = math.nan
        """Greatest finite value, nan without one."""
        self.max_step = math.nan
        """Step of the first value equal to ``max``."""
        self._before: tuple[float, float, float, float, int] | None = None
        """``min``, ``min_step``, ``max``, ``max_step`` and ``nonfinite`` without the last value."""
        self._smooth: array[float] = array("d")
        """The part of ``smooth`` that has been computed."""
        self._average = (0.0, 0.0)
        """Weighted sum of values and sum of weights up to the end of ``_smooth``."""
        self._average_before = (0.0, 0.0)
        """``_average`` without the last value."""
        self._extremes: Extremes | None = None
        self._smooth_extremes: Extremes | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> array[float]:
        """The step of each value."""
        if len(self._steps) > len(self.values):
            self._steps = self._steps[: len(self.values)]
        return self._steps

    @property
    def first(self) -> float | None:
        """The first value, None if there is none."""
        return self.values[0] if self.values else None

    @property
    def last(self) -> float | None:
        """The last value, None if there is none."""
        return self.values[-1] if self.values else None

    @property
    def last_step(self) -> float | None:
        """The step of the last value, None if there is none."""
        return self._steps[len(self.values) - 1] if self.values else None

    @property
    def smooth(self) -> array[float]:
        """Debiased exponential moving average (weight 0.9) up to each entry; nan before the first finite value.

        Computed on demand, since few metrics are drawn smoothed.
        """
        end = len(self.values)
        while (done := len(self._smooth)) < end:
            stop = min(end, done + CHUNK)
            # Only _smooth_few keeps the average before the last value, which replace_last needs.
            if stop - done < CHUNK or stop == end or not self._smooth_many(done, stop):
                self._smooth_few(done, stop)
        return self._smooth

    @property
    def extremes(self) -> Extremes:
        """Index that finds the least and greatest of ``values``."""
        if self._extremes is None:
            self._extremes = Extremes(self.values)
        return self._extremes

    @property
    def smooth_extremes(self) -> Extremes:
        """Index that finds the least and greatest of ``smooth``."""
        smooth = self.smooth
        if self._smooth_extremes is None:
            self._smooth_extremes = Extremes(smooth)
        return self._smooth_extremes

    @property
    def smoothed(self) -> float | None:
        """The moving average after the last entry, None while there is no finite value."""
        smooth = self.smooth
        return smooth[-1] if smooth and not math.isnan(smooth[-1]) else None

    def _smooth_few(self, begin: int, end: int) -> None:
        """Smooth ``values[begin:end]`` one by one."""
        average, weight = self._average
        for value in self.values[begin:end]:
            self._average_before = average, weight
            if isfinite(value):
                average = SMOOTHING * average + (1 - SMOOTHING) * value
                weight = SMOOTHING * weight + (1 - SMOOTHING)
            self._smooth.append(average / weight if weight else nan)
        self._average = average, weight

    def _smooth_many(self, begin: int, end: int) -> bool:
        """Smooth ``values[begin:end]`` in one pass; return False and do nothing where that is not possible.

        It is possible where all values are finite and the sum of weights no longer changes.
        """
        average, weight = self._average
        values = self.values[begin:end]
        if SMOOTHING * weight + (1 - SMOOTHING) != weight or not isfinite(sum(values)):
            return False
        averages = list(accumulate(values, _average, initial=average))
        self._smooth.extend([average / weight for average in averages[1:]])
        self._average = averages[-1], weight
        return True

    def update_extremes(self) -> None:
        """Bring the indexes that a chart has used up to date, so that drawing the next chart takes less time."""
        if self._extremes is not None:
            self._extremes.update()
        if self._smooth_extremes is not None:
            self.smooth_extremes.update()

    def smooth_at(self, index: int) -> float:
        """Return ``smooth[index]`` to within 1e-15 of the values near it, without computing the whole column."""
        if index < len(self._smooth):
            return self._smooth[index]
        finite: list[float] = []
        begin = index + 1
        while begin > 0 and len(finite) < AVERAGE_WINDOW:
            end, begin = begin, max(0, begin - AVERAGE_WINDOW)
            finite = [*filter(isfinite, self.values[begin:end]), *finite]
        average = weight = 0.0
        for value in finite:
            average = SMOOTHING * average + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        return average / weight if weight else nan

    @property
    def finite(self) -> int:
        """Number of finite values."""
        return len(self.values) - self.nonfinite

    def append(self, step: float, value: float) -> None:
        """Append a value. ``step`` must not be below the last step."""
        self._before = (self.min, self.min_step, self.max, self.max_step, self.nonfinite)
        at = len(self.values)
        if at == len(self._steps) or self._steps[at] != step:
            self.steps.append(step)
        self.values.append(value)
        if math.isfinite(value):
            # Comparisons with nan are false, so the first finite value becomes both bounds.
            if not value >= self.min:
                self.min, self.min_step = value, step
            if not value <= self.max:
                self.max, self.max_step = value, step
        else:
            self.nonfinite += 1

    def extend(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Append many values at ascending ``steps``, with the same result as appending them one by one."""
        if len(values) < 2 or not math.isfinite(sum(values)):
            for step, value in zip(steps, values, strict=True):
                self.append(step, value)
            return
        but_last = values[:-1]
        low, high = min(but_last), max(but_last)
        if not low >= self.min:
            self.min, self.min_step = low, steps[but_last.index(low)]
        if not high <= self.max:
            self.max, self.max_step = high, steps[but_last.index(high)]
        begin, end = len(self.values), len(self.values) + len(but_last)
        if len(self._steps) < end or self._steps[begin:end] != array("d", steps[:-1]):
            self.steps.extend(steps[:-1])
        self.values.extend(but_last)
        self.append(steps[-1], values[-1])

    def replace_last(self, value: float) -> None:
        """Replace the last value. Raises IndexError on an empty series."""
        if self._before is None:
            raise IndexError("an empty series has no last value")
        self.min, self.min_step, self.max, self.max_step, self.nonfinite = self._before
        step = self._steps[len(self.values) - 1]
        if len(self._smooth) == len(self.values):
            self._smooth.pop()
            self._average = self._average_before
        self.values.pop()
        self.append(step, value)

    def at(self, step: float) -> float | None:
        """Return the value logged at ``step``, the last one if there are several, None if there is none."""
        index = bisect_left(self.steps, step)
        found = None
        while index < len(self.steps) and self.steps[index] == step:
            found = self.values[index]
            index += 1
        return found

    def tail(self, count: int) -> list[float]:
        """Return the last ``count`` finite values, oldest first."""
        out: list[float] = []
        for value in reversed(self.values):
            if math.isfinite(value):
                out.append(value)
                if len(out) == count:
                    break
        out.reverse()
        return out


def _average(average: float, value: float) -> float:
    """Return the weighted sum after one more value."""
    return SMOOTHING * average + (1 - SMOOTHING) * value
