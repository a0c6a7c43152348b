"""One metric over steps: append-only columns with running statistics and a debiased moving average.

A value may be ``nan`` or infinite; such values are kept and counted but stay out of every bound and mean.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

SMOOTHING = 0.9
"""Weight of the past in the moving average, per row."""


class Series:
    """``steps`` and ``values`` are columns of equal length, steps ascending; one entry a logged value."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: array[float] = array("d")
        self.values: array[float] = array("d")
        self.smooth: array[float] = array("d")
        """Debiased exponential moving average (weight 0.9) up to each entry; ``nan`` before the first finite value."""
        self.nonfinite = 0
        self.min = math.nan
        self.min_step = math.nan
        self.max = math.nan
        self.max_step = math.nan
        self._ema = 0.0
        self._weight = 0.0
        self._before: tuple[float, float, float, float, int, float, float] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float | None:
        """The first value, ``None`` if there is none."""
        return self.values[0] if self.values else None

    @property
    def last(self) -> float | None:
        """The last value, ``None`` if there is none."""
        return self.values[-1] if self.values else None

    @property
    def last_step(self) -> float | None:
        """The step of the last value."""
        return self.steps[-1] if self.steps else None

    @property
    def smoothed(self) -> float | None:
        """The moving average after the last entry, ``None`` while no finite value was seen."""
        return self.smooth[-1] if self.smooth and not math.isnan(self.smooth[-1]) else None

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return len(self.values) - self.nonfinite

    def append(self, step: float, value: float) -> None:
        """Add a value behind the last one. ``step`` must not be below the last step."""
        self._before = (self.min, self.min_step, self.max, self.max_step, self.nonfinite, self._ema, self._weight)
        self.steps.append(step)
        self.values.append(value)
        if math.isfinite(value):
            # Comparisons with nan are false: the first finite value takes both bounds.
            if not value >= self.min:
                self.min, self.min_step = value, step
            if not value <= self.max:
                self.max, self.max_step = value, step
            self._ema = SMOOTHING * self._ema + (1 - SMOOTHING) * value
            self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        else:
            self.nonfinite += 1
        self.smooth.append(self._ema / self._weight if self._weight else math.nan)

    def replace_last(self, value: float) -> None:
        """Give the last entry another value."""
        if self._before is None:
            raise IndexError("an empty series has no last value")
        self.min, self.min_step, self.max, self.max_step, self.nonfinite, self._ema, self._weight = self._before
        step = self.steps.pop()
        self.values.pop()
        self.smooth.pop()
        self.append(step, value)

    def at(self, step: float) -> float | None:
        """The value logged at ``step``, the last one if there are several, ``None`` if there is none."""
        index = bisect_left(self.steps, step)
        found = None
        while index < len(self.steps) and self.steps[index] == step:
            found = self.values[index]
            index += 1
        return found

    def tail(self, count: int) -> list[float]:
        """The last ``count`` finite values, oldest first."""
        out: list[float] = []
        for value in reversed(self.values):
            if math.isfinite(value):
                out.append(value)
                if len(out) == count:
                    break
        out.reverse()
        return out
