"""Where the least and the greatest values of a growing column lie, and the mean of its stretches, so that a chart need
not look at all of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

SIZE = 256
"""Values of a block."""
MANY = 32
"""Blocks of a large one."""


class Extremes:
    """Finds least and greatest in any part of ``values``, of which only the last may change and which only grows.

    What it costs to ask depends on the number of blocks in the part, not of values; what it costs to keep up, on what
    is new. Where a value of the part is not finite there is no answer.
    """

    def __init__(self, values: array[float]) -> None:
        self._values = values
        self._lows, self._highs = array("q"), array("q")
        """Index of the least and of the greatest value of each full block, -1 where not all are finite."""
        self._large_lows, self._large_highs = array("q"), array("q")
        self._means = array("d")

    def of(self, begin: int, end: int) -> tuple[int, int] | None:
        """The indexes of the least and of the greatest of the values from ``begin`` to before ``end``, the first of
        several; ``None`` if one of them is not finite."""
        self.keep_up()
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
        """The means of stretches of whole blocks, at most so many, and of what is behind them; ``nan`` for one without
        a finite value."""
        self.keep_up()
        each = max(1, -(-len(self._means) // most))
        means = [_mean(self._means[at : at + each]) for at in range(0, len(self._means), each)]
        return [*means, _mean(self._values[len(self._means) * SIZE :])]

    def not_finite(self, most: int) -> list[int]:
        """The indexes of the first values that are not finite, at most so many."""
        self.keep_up()
        found: list[int] = []
        for block, low in enumerate(self._lows):
            if low < 0 and len(found) < most:
                found += self._bad(block * SIZE, (block + 1) * SIZE)
        return [*found, *self._bad(len(self._lows) * SIZE, len(self._values))][:most]

    def _bad(self, begin: int, end: int) -> list[int]:
        return [at for at in range(begin, end) if not math.isfinite(self._values[at])]

    def keep_up(self) -> None:
        """Take in what came since the last question, each of which does so itself."""
        # The last value may be replaced yet: a block is taken in once there is one behind it.
        while (len(self._lows) + 1) * SIZE < len(self._values):
            begin = len(self._lows) * SIZE
            part = self._values[begin : begin + SIZE]
            low, high = _ends(part)
            self._lows.append(begin + low if low >= 0 else -1)
            self._highs.append(begin + high if low >= 0 else -1)
            self._means.append(_mean(part))
            if len(self._lows) % MANY == 0:
                lows, highs = self._lows[-MANY:], self._highs[-MANY:]
                whole = min(lows) >= 0
                self._large_lows.append(min(lows, key=self._values.__getitem__) if whole else -1)
                self._large_highs.append(max(highs, key=self._values.__getitem__) if whole else -1)

    def _look(self, begin: int, end: int) -> tuple[int, int]:
        low, high = _ends(self._values[begin:end])
        return (begin + low, begin + high) if low >= 0 else (-1, -1)

    def _parts(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Least and greatest of stretches that together are the part, in their order."""
        at = begin
        while at < end:
            block = -(-at // SIZE)
            if at % SIZE == 0 and block < len(self._lows) and at + SIZE <= end:
                large = block // MANY
                if block % MANY == 0 and large < len(self._large_lows) and at + SIZE * MANY <= end:
                    yield self._large_lows[large], self._large_highs[large]
                    at += SIZE * MANY
                else:
                    yield self._lows[block], self._highs[block]
                    at += SIZE
            else:
                # Up to the next block that is known, or to the end.
                stop = min(end, block * SIZE if at % SIZE else end if block >= len(self._lows) else at + SIZE)
                yield self._look(at, stop)
                at = stop


def _ends(part: array[float]) -> tuple[int, int]:
    """Where the least and the greatest are, -1 where not all are finite."""
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
