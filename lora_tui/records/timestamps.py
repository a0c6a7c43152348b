"""A column of the times at which rows were written; unknown times at its start take no memory."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class Times(Sequence["float | None"]):
    """Unix times (s), one for each row, None where it is not known.

    Rows that a log already had when it was first read usually have unknown times.
    """

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __init__(self, times: Iterable[float | None] = ()) -> None:
        self._unknown = 0
        """Number of unknown times at the start."""
        self._rest: array[float] = array("d")
        """The times after those, nan where unknown."""
        self.extend(times)

    def __len__(self) -> int:
        return self._unknown + len(self._rest)

    @overload
    def __getitem__(self, index: int) -> float | None: ...

    @overload
    def __getitem__(self, index: slice) -> list[float | None]: ...

    def __getitem__(self, index: int | slice) -> float | list[float | None] | None:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError("time index out of range")
        return None if at < self._unknown else _none_if_nan(self._rest[at - self._unknown])

    def __setitem__(self, index: int, time: float | None) -> None:
        at = index + len(self) if index < 0 else index
        if at < self._unknown and time is not None:
            self._rest[:0] = array("d", [math.nan]) * (self._unknown - at)
            self._unknown = at
        if at >= self._unknown:
            self._rest[at - self._unknown] = math.nan if time is None else time

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"Times({list(self)!r})"

    def append(self, time: float | None) -> None:
        """Append the time of one more row."""
        if time is None and not self._rest:
            self._unknown += 1
        else:
            self._rest.append(math.nan if time is None else time)

    def extend(self, times: Iterable[float | None]) -> None:
        """Append times."""
        if isinstance(times, Times):
            self.add_unknown(times._unknown)
            self._rest.extend(times._rest)
            return
        for time in times:
            self.append(time)

    def add_unknown(self, count: int) -> None:
        """Append ``count`` unknown times."""
        if self._rest:
            self._rest.extend(array("d", [math.nan]) * count)
        else:
            self._unknown += count

    def cut(self, count: int) -> None:
        """Keep the first ``count`` times."""
        del self._rest[max(0, count - self._unknown) :]
        self._unknown = min(self._unknown, count)

    def known_in(self, begin: int, end: int) -> bool:
        """Return whether one of the times in [begin, end) is known."""
        part = self._rest[max(0, begin - self._unknown) : max(0, end - self._unknown)]
        return any(time == time for time in part)

    @property
    def earliest(self) -> float | None:
        """The earliest known time, None if all are unknown."""
        return min((time for time in self._rest if time == time), default=None)


def _none_if_nan(time: float) -> float | None:
    """Return ``time``, None if it is nan."""
    return time if time == time else None
