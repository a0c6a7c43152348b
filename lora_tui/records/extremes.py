"""An index of a growing column of numbers that finds the least and the greatest value of any part, and means of parts.

It saves charts from reading every value.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

BLOCK = 256
"""Number of values in a block."""
LARGE_BLOCK = 32
"""Number of blocks in a large block."""


class Extremes:
    """Index of ``values``, a column that only grows and of which only the last value may change.

    A query takes time in proportion to the number of blocks in the part, not of its values; an update takes time in
    proportion to the number of new values.
    """

    def __init__(self, values: array[float]) -> None:
        self._values = values
        self._lows, self._highs = array("q"), array("q")
        """Index of the least and of the greatest value of each full block, -1 where not all values are finite."""
        self._large_lows, self._large_highs = array("q"), array("q")
        """The same for each full large block."""
        self._means = array("d")
        """Mean of the finite values of each full block, nan without any."""

    def of(self, begin: int, end: int) -> tuple[int, int] | None:
        """Return the indexes of the least and the greatest of ``values[begin:end]``, the first of equal ones.

        None if one of the values is not finite.
        """
        self.update()
        values = self._values
        low = high = begin
        for part_low, part_high in self._parts(begin, end):
            if part_low < 0:
                return None
            if values[part_low] < values[low]:
                low = part_low
            if values[part_high] > values[high]:
                high = part_high
        return low, high

    def means(self, limit: int) -> list[float]:
        """Return the means of at most ``limit`` groups of equally many blocks, and of the values after the last block.

        A mean is nan where no value is finite.
        """
        self.update()
        blocks = max(1, -(-len(self._means) // limit))
        means = [_mean(self._means[at : at + blocks]) for at in range(0, len(self._means), blocks)]
        return [*means, _mean(self._values[len(self._means) * BLOCK :])]

    def not_finite(self, limit: int) -> list[int]:
        """Return the indexes of the first ``limit`` values that are not finite."""
        self.update()
        found: list[int] = []
        for block, low in enumerate(self._lows):
            if low < 0 and len(found) < limit:
                found += self._not_finite_in(block * BLOCK, (block + 1) * BLOCK)
        return [*found, *self._not_finite_in(len(self._lows) * BLOCK, len(self._values))][:limit]

    def _not_finite_in(self, begin: int, end: int) -> list[int]:
        """Return the indexes of the values in [begin, end) that are not finite."""
        return [at for at in range(begin, end) if not math.isfinite(self._values[at])]

    def update(self) -> None:
        """Add new values to the index. Every query does so first."""
        # The last value may still be replaced, so a block is indexed only when there is a value after it.
        while (len(self._lows) + 1) * BLOCK < len(self._values):
            begin = len(self._lows) * BLOCK
            part = self._values[begin : begin + BLOCK]
            low, high = _min_max(part)
            self._lows.append(begin + low if low >= 0 else -1)
            self._highs.append(begin + high if low >= 0 else -1)
            self._means.append(_mean(part))
            if len(self._lows) % LARGE_BLOCK == 0:
                lows, highs = self._lows[-LARGE_BLOCK:], self._highs[-LARGE_BLOCK:]
                whole = min(lows) >= 0
                self._large_lows.append(min(lows, key=self._values.__getitem__) if whole else -1)
                self._large_highs.append(max(highs, key=self._values.__getitem__) if whole else -1)

    def _min_max_in(self, begin: int, end: int) -> tuple[int, int]:
        """Return the indexes of the least and the greatest of ``values[begin:end]`` by reading all of them."""
        low, high = _min_max(self._values[begin:end])
        return (begin + low, begin + high) if low >= 0 else (-1, -1)

    def _parts(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the indexes of the least and the greatest value of consecutive pieces of ``values[begin:end]``."""
        at = begin
        while at < end:
            block = -(-at // BLOCK)
            if at % BLOCK == 0 and block < len(self._lows) and at + BLOCK <= end:
                large = block // LARGE_BLOCK
                if block % LARGE_BLOCK == 0 and large < len(self._large_lows) and at + BLOCK * LARGE_BLOCK <= end:
                    yield self._large_lows[large], self._large_highs[large]
                    at += BLOCK * LARGE_BLOCK
                else:
                    yield self._lows[block], self._highs[block]
                    at += BLOCK
            else:
                # Up to the next block in the index, or to the end.
                stop = min(end, block * BLOCK if at % BLOCK else end if block >= len(self._lows) else at + BLOCK)
                yield self._min_max_in(at, stop)
                at = stop


def _min_max(part: array[float]) -> tuple[int, int]:
    """Return the indexes of the least and the greatest value, (-1, -1) where not all values are finite."""
    # The sum of finite numbers may overflow, so it alone does not prove a non-finite one.
    if not math.isfinite(sum(part)) and not all(map(math.isfinite, part)):
        return -1, -1
    return part.index(min(part)), part.index(max(part))


def _mean(values: array[float]) -> float:
    """Return the mean of the finite values, nan without any."""
    mean = sum(values) / len(values) if values else math.nan
    if math.isfinite(mean):
        return mean
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan
