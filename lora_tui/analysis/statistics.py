"""Robust statistics of columns of numbers: medians, noise from differences, windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW_CAP = 50
"""Rows of a window at most: more do not make its median steadier, and the cap bounds the cost."""
CURVES = 10.0
"""Curves of pure noise of which one exceeds :func:`critical_z`."""
TYPICAL_CORRELATION = 0.1
"""Correlation of neighbouring rows in most runs."""
MEDIAN_ERROR = 1.25
"""Standard error of a median of n normal values, in s / sqrt(n)."""


def median(values: Sequence[float]) -> float:
    """Return the median of at least one value."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def lower_quartile(values: Sequence[float]) -> float:
    """Return the first quartile (nearest rank) of at least one value."""
    return sorted(values)[(len(values) - 1) // 4]


def noise(values: Sequence[float]) -> float:
    """Return the noise of one value (a standard deviation), from differences, so that a trend does not count."""
    if len(values) < 3:
        return 0.0
    return 1.4826 * median([abs(b - a) for a, b in pairwise(values)]) / math.sqrt(2)


@dataclass(frozen=True)
class Spread:
    """How much the values of a positive column scatter around its trend, as a share of the value."""

    one: float
    """Noise of one value."""
    unit: float
    """Standard error of a median of n values times sqrt(n), with the correlation of neighbouring rows counted in."""

    def error(self, count: int) -> float:
        """Return the standard error of the logarithm of a median of ``count`` values; 0 for none: a level that is
        known."""
        if count <= 1:
            return self.one if count else 0.0
        return self.unit / math.sqrt(count)


def spread(values: Sequence[float]) -> Spread:
    """Return upper estimates from positive values in their order; infinite from fewer than 6.

    From differences, first or second, whichever are smaller, so that a trend does not count. Where a value resembles
    the one before (correlation r), those of neighbours have the variance 2 s^2 (1 - r) and those over two rows
    2 s^2 (1 - r^2), so their ratio tells r; it is known badly from few rows (the variance of the estimate is about
    6 / n), so it is drawn to 0.1, what most runs have. Medians are less certain by sqrt((1 + r) / (1 - r)). A median of
    m differences has a relative error of about 1.2 / sqrt(m); one and a half of that is added, so that a short column
    that happens to be quiet does not make everything after it significant.
    """
    if len(values) < 6:
        return Spread(math.inf, math.inf)
    logs = [math.log(value) for value in values]
    near = median([abs(b - a) for a, b in pairwise(logs)])
    if near == 0:
        return Spread(0.0, 0.0)
    far = median([abs(b - a) for a, b in zip(logs, logs[2:], strict=False)])
    count = len(values)
    known = count / (count + 200)
    correlation = min(0.6, max(0.0, TYPICAL_CORRELATION + ((far / near) ** 2 - 1 - TYPICAL_CORRELATION) * known))
    bend = median([abs(a - 2 * b + c) for a, b, c in zip(logs, logs[1:], logs[2:], strict=False)])
    quiet = min(near / math.sqrt(2), bend / math.sqrt(6))
    one = 1.4826 * quiet / math.sqrt(1 - correlation) * (1 + 1.8 / math.sqrt(count))
    return Spread(one, MEDIAN_ERROR * one * math.sqrt((1 + correlation) / (1 - correlation)))


def window(count: int) -> int:
    """Return the size of a window over ``count`` rows: max(5, count / 20), at most half of them and at most 50."""
    return max(1, min(max(5, count // 20), count // 2, WINDOW_CAP))


def finite_before(values: Sequence[float], end: int, count: int, begin: int = 0) -> list[float]:
    """Return the last ``count`` finite values of ``values[begin:end]``, oldest first."""
    span = count
    while True:
        first = max(begin, end - span)
        part = values[first:end]
        # One NaN or Infinity makes the sum one.
        found = list(part) if math.isfinite(sum(part)) else [value for value in part if math.isfinite(value)]
        if len(found) >= count or first == begin:
            return found[-count:]
        span *= 4


def critical_z(count: int) -> float:
    """Return how many standard errors each of two levels must be away from a common bound to count as different.

    A rule compares the windows of a curve of ``count`` rows again and again; noise alone exceeds this value in one of
    CURVES curves. Rules ask for more: a difference of a size that matters, at two checks.

    Windows of five rows that overlap by half are two for each five rows up to 100; beyond, windows grow with the rows
    up to 50, and there are about 15 more for each doubling, then 20 for each thousand. Each is compared with all before
    it. Two levels of equal error that are each z away from a bound are sqrt(2) z apart.
    """
    looks = min(max(count, 20), 100) / 2.5 + 15 * math.log2(max(count, 100) / 100) + max(0, count - 1000) / 50
    # The normal quantile of 1 - 1 / (CURVES x pairs), Abramowitz and Stegun 26.2.23.
    t = math.sqrt(2 * math.log(CURVES * looks * looks / 2))
    z = t - (2.515517 + 0.802853 * t + 0.010328 * t**2) / (1 + 1.432788 * t + 0.189269 * t**2 + 0.001308 * t**3)
    return z / math.sqrt(2)


def evenly(values: Sequence[float], begin: int, end: int, count: int) -> list[float]:
    """Return at most ``count`` finite values of ``values[begin:end]``, spread evenly."""
    stride = max(1, -(-(end - begin) // count))
    return [value for value in values[begin:end:stride] if math.isfinite(value)]


def rounded(value: float, digits: int = 4) -> float:
    """Round to significant digits, for evidence that people read."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value
