"""Robust statistics of columns of numbers: medians, noise estimated from differences, sizes of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW_CAP = 50
"""Maximum number of rows in a window: more do not make its median steadier but take longer."""
CURVES = 10.0
"""Number of curves of pure noise of which one exceeds :func:`critical_z`."""
TYPICAL_CORRELATION = 0.1
"""Correlation of neighbouring rows in most runs."""
MEDIAN_ERROR = 1.25
"""Standard error of the median of n normal values with standard deviation s, in units of s / sqrt(n)."""


def median(values: Sequence[float]) -> float:
    """Return the median of ``values``, which must not be empty."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def lower_quartile(values: Sequence[float]) -> float:
    """Return the first quartile (nearest rank) of ``values``, which must not be empty."""
    return sorted(values)[(len(values) - 1) // 4]


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of one value, from differences of neighbours so that a trend does not count."""
    if len(values) < 3:
        return 0.0
    return 1.4826 * median([abs(b - a) for a, b in pairwise(values)]) / math.sqrt(2)


@dataclass(frozen=True)
class Spread:
    """How much the values of a positive column scatter around their trend, as a share of the value."""

    one: float
    """Noise of one value."""
    unit: float
    """Standard error of the median of n values times sqrt(n), including the correlation of neighbouring rows."""

    def error(self, count: int) -> float:
        """Return the standard error of the logarithm of the median of ``count`` values.

        It is 0 for a ``count`` of 0, which stands for a level that is known exactly.
        """
        if count <= 1:
            return self.one if count else 0.0
        return self.unit / math.sqrt(count)


def spread(values: Sequence[float]) -> Spread:
    """Return upper estimates of the spread of positive values in their order; infinite for fewer than 6 values.

    The noise is estimated from first or second differences of the logarithms, whichever are smaller, so that a trend
    does not count. If neighbouring values have the correlation r, differences of neighbours have the variance
    2 s^2 (1 - r) and differences over two rows 2 s^2 (1 - r^2), so their ratio gives r. From few rows r is uncertain
    (the variance of the estimate is about 6 / n), so it is shrunk towards 0.1, which most runs have. The standard error
    of medians is larger by sqrt((1 + r) / (1 - r)). A median of m differences has a relative error of about
    1.2 / sqrt(m); one and a half times that is added, so that a short column that happens to be quiet does not make
    everything after it significant.
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
        # The sum is not finite if one of the values is not.
        found = list(part) if math.isfinite(sum(part)) else [value for value in part if math.isfinite(value)]
        if len(found) >= count or first == begin:
            return found[-count:]
        span *= 4


def critical_z(count: int) -> float:
    """Return how many standard errors each of two levels must be away from a common bound to count as different.

    A rule compares the windows of a curve of ``count`` rows many times. Noise alone exceeds this value in one of CURVES
    curves. Rules also require a difference of a size that matters, at two checks.

    Up to 100 rows there are two windows (of five rows, overlapping by half) for each five rows. Beyond, windows grow
    with the rows up to 50, so that there are about 15 more for each doubling, and from 1,000 rows on 20 for each
    thousand. Each window is compared with all before it. Two levels of equal error that are each z standard errors away
    from a bound are sqrt(2) z apart.
    """
    windows = min(max(count, 20), 100) / 2.5 + 15 * math.log2(max(count, 100) / 100) + max(0, count - 1000) / 50
    # The normal quantile of 1 - 1 / (CURVES x pairs), Abramowitz and Stegun 26.2.23.
    t = math.sqrt(2 * math.log(CURVES * windows * windows / 2))
    z = t - (2.515517 + 0.802853 * t + 0.010328 * t**2) / (1 + 1.432788 * t + 0.189269 * t**2 + 0.001308 * t**3)
    return z / math.sqrt(2)


def evenly(values: Sequence[float], begin: int, end: int, count: int) -> list[float]:
    """Return the finite ones of at most ``count`` evenly spaced values of ``values[begin:end]``."""
    stride = max(1, -(-(end - begin) // count))
    return [value for value in values[begin:end:stride] if math.isfinite(value)]


def rounded(value: float, digits: int = 4) -> float:
    """Return a number rounded to significant digits, for evidence that is shown; non-finite values unchanged."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value
