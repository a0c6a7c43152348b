"""Checks of a growing column at places that are fixed by its length alone, and what they add up to.

A finding about a level must not come and go with every row, yet a judgement has no memory of when it was asked before.
So each rule is checked at a grid of row counts, every check sees only the rows before it, and a fold of the checks
says what holds and what is over: the same answer whenever one looks, on a live run and on a cold one. The fold of a
column is kept as long as the column itself, so a live run pays for its new rows only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from lora_tui.analysis.model import Param
from lora_tui.analysis.statistics import window
from lora_tui.runs.series import Series

FIRST_CHECK = 8
"""No rule says anything about fewer rows."""
LONG = 100
"""A long column is checked every 1 / LONG of its length: a hundredth more rows cannot tell much more."""


KEPT_PAST = 3
"""Of what is over the last ones are told."""


@dataclass
class Episode:
    """Something that held from one step to another; ``end`` is ``None`` while it does."""

    begin: float
    evidence: Mapping[str, Param]
    """As of the last check at which it held."""
    end: float | None = None


class Hysteresis:
    """Hysteresis: opens when true at ``opens`` checks in a row, closes when false, by a wider band, at ``closes``."""

    def __init__(self, opens: int = 2, closes: int = 2) -> None:
        self.opens, self.closes = opens, closes
        self.now: Episode | None = None
        self.past: list[Episode] = []
        self._hits: list[float] = []
        self._misses: list[float] = []

    def feed(self, step: float, *, fires: bool, holds: bool, begin: float, evidence: Mapping[str, Param]) -> None:
        """One check at ``step``: whether the rule is true, whether it is by the wider band, since when, in numbers."""
        if self.now is None:
            self._hits = [*self._hits, begin] if fires else []
            if len(self._hits) >= self.opens:
                self.now = Episode(self._hits[0], evidence)
                self._hits, self._misses = [], []
        elif fires or holds:
            self.now.evidence = evidence
            self._misses = []
        else:
            self._misses.append(step)
            if len(self._misses) >= self.closes:
                self.cut(self._misses[0])

    def miss(self) -> None:
        """A check at which nothing was true while nothing held."""
        self._hits = []

    def cut(self, step: float) -> None:
        """Whatever held is over at ``step``."""
        if self.now is not None:
            self.now.end = step
            self.past = [*self.past[1 - KEPT_PAST :], self.now]
        self.now = None
        self._hits, self._misses = [], []


T = TypeVar("T")


class IncrementalCheck(ABC, Generic[T]):
    """Checks along one column. A subclass says in ``check`` what it looks at; it never sees a row twice."""

    def __init__(self) -> None:
        self.done = 0
        """Rows before the last check."""
        self._last = math.nan

    def follow(self, column: T) -> bool:
        """Make every check that is due. False: an entry that was looked at has changed, start over with a new one."""
        size = self.size(column)
        if self.done and not (self.done <= size and _same(self.entry(column, self.done - 1), self._last)):
            return False
        while (end := self.next_check(self.done)) <= size:
            self.check(column, end)
            self.done = end
        if self.done:
            self._last = self.entry(column, self.done - 1)
        return True

    def next_check(self, done: int) -> int:
        """The row count of the check after the one at ``done`` rows: half a window later."""
        return FIRST_CHECK if done < FIRST_CHECK else done + max(1, window(done) // 2, done // LONG)

    @abstractmethod
    def size(self, column: T) -> int:
        """Rows that the column has now."""

    @abstractmethod
    def entry(self, column: T, row: int) -> float:
        """What would be another number if that row were replaced."""

    @abstractmethod
    def check(self, column: T, end: int) -> None:
        """Look at the rows before ``end``."""


class SeriesCheck(IncrementalCheck[Series]):
    """Checks along a series."""

    def size(self, column: Series) -> int:
        """Values, finite or not."""
        return len(column)

    def entry(self, column: Series, row: int) -> float:
        """The value."""
        return column.values[row]


C = TypeVar("C", bound=IncrementalCheck[Any])
_KEPT: WeakKeyDictionary[object, dict[type[Any], tuple[Hashable, Any]]] = WeakKeyDictionary()


def updated_check(column: object, kind: type[C], terms: Hashable, make: Callable[[], C]) -> C:
    """The course of this kind along a column, up to its last row. It is kept while the column lives and the terms under
    which it was made are the same; ``make`` must not let it hold the column."""
    slots = _KEPT.setdefault(column, {})
    found = slots.get(kind)
    if found is not None and found[0] == terms and isinstance(found[1], kind) and found[1].follow(column):
        return found[1]
    fresh = make()
    fresh.follow(column)
    slots[kind] = (terms, fresh)
    return fresh


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
