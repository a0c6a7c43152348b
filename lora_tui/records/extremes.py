"""An index over a growing column of numbers: least and greatest values of any part, means of stretches.

With it a chart need not look at every value.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

BLOCK = 256
"""Number of values in a block."""
LARGE = 32
"""Number of blocks in a large block."""


class Extremes:
    """Index of ``values``, a column that only grows and of which only the last value may change.

    A question costs time in proportion to the blocks of the part asked for, not to its values; an update costs time in
    proportion to the new values.
    """

    def __init__(self, values: array[float]) -> None:
        self._values = values
        self._lows, self._highs = array("q"), array("q")
        """Index of the least and of the greatest value of each full block, -1 where not all values are finite."""
        self._large_lows, self._large_highs = array("q"), array("q")
        self._means = array("d")

    def of(self, begin: int, end: int) -> tuple[int, int] | None:
        """Return the indexes of the least and the greatest of ``values[begin:end]``, the first of equal ones.

        None if one of the values is not finite.
        """
        self.update()
        values = self._values
        low = high = begin
        for one, other in self._parts(begin, end):
            if one < 0:
                return None
            if values[one] < values[low]:
                low = one
            if values[other] > values[high]:
                high = other
        return low, high

    def means(self, most: int) -> list[float]:
        """Return the means of at most ``most`` stretches of whole blocks, and of the values after them.

        nan for a stretch without a finite value.
        """
        self.update()
        each = max(1, -(-len(self._means) // most))
        means = [_mean(self._means[at : at + each]) for at in range(0, len(self._means), each)]
        return [*means, _mean(self._values[len(self._means) * BLOCK :])]

    def not_finite(self, most: int) -> list[int]:
        """Return the indexes of the first ``most`` values that are not finite."""
        self.update()
        found: list[int] = []
        for block, low in enumerate(self._lows):
            if low < 0 and len(found) < most:
                found += self._bad(block * BLOCK, (block + 1) * BLOCK)
        return [*found, *self._bad(len(self._lows) * BLOCK, len(self._values))][:most]

    def _bad(self, begin: int, end: int) -> list[int]:
        return [at for at in range(begin, end) if not math.isfinite(self._values[at])]

    def update(self) -> None:
        """Take in the values that are new. Every question does so first."""
        # The last value may still be replaced: a block is taken in once there is a value after it.
        while (len(self._lows) + 1) * BLOCK < len(self._values):
            begin = len(self._lows) * BLOCK
            part = self._values[begin : begin + BLOCK]
            low, high = _ends(part)
            self._lows.append(begin + low if low >= 0 else -1)
            self._highs.append(begin + high if low >= 0 else -1)
            self._means.append(_mean(part))
            if len(self._lows) % LARGE == 0:
                lows, highs = self._lows[-LARGE:], self._highs[-LARGE:]
                whole = min(lows) >= 0
                self._large_lows.append(min(lows, key=self._values.__getitem__) if whole else -1)
                self._large_highs.append(max(highs, key=self._values.__getitem__) if whole else -1)

    def _ends_of(self, begin: int, end: int) -> tuple[int, int]:
        low, high = _ends(self._values[begin:end])
        return (begin + low, begin + high) if low >= 0 else (-1, -1)

    def _parts(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the indexes of the least and the greatest value of stretches that make up the part, in their order."""
        at = begin
        while at < end:
            block = -(-at // BLOCK)
            if at % BLOCK == 0 and block < len(self._lows) and at + BLOCK <= end:
                large = block // LARGE
                if block % LARGE == 0 and large < len(self._large_lows) and at + BLOCK * LARGE <= end:
                    yield self._large_lows[large], self._large_highs[large]
                    at += BLOCK * LARGE
                else:
                    yield self._lows[block], self._highs[block]
                    at += BLOCK
            else:
                # Up to the next block in the index, or to the end.
                stop = min(end, block * BLOCK if at % BLOCK else end if block >= len(self._lows) else at + BLOCK)
                yield self._ends_of(at, stop)
                at = stop


def _ends(part: array[float]) -> tuple[int, int]:
    """Return the indexes of the least and the greatest value, -1 where not all values are finite."""
    # A sum of finite numbers may overflow.
    if not math.isfinite(sum(part)) and not all(map(math.isfinite, part)):
        return -1, -1
    return part.index(min(part)), part.index(max(part))


def _mean(values: array[float]) -> float:
    mean = sum(values) / len(values) if values else math.nan
    if math.isfinite(mean):
        return mean
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan
