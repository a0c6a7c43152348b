"""Checks that run along a growing column at row counts which the length of the column alone decides.

A finding about a level must not come and go with every row, but a judgement does not remember earlier judgements. So a
rule is checked at fixed row counts, each check sees only the rows before it, and :class:`Hysteresis` adds the checks
up. The answer is the same whenever it is asked for, on a live run and on one that is opened later. The state is kept as
long as the column, so that a live run costs its new rows only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from lora_tui.analysis.judgement import Param
from lora_tui.analysis.statistics import window
from lora_tui.runs.series import Series

FIRST_CHECK = 8
"""Rows before the first check: no rule says anything about fewer."""
LONG = 100
"""A long column is checked each time it has grown by 1 / LONG: fewer new rows cannot change much."""
KEPT_CLOSED = 3
"""Closed episodes that are kept, the newest."""


@dataclass
class Episode:
    """Something that held from one step to another."""

    begin: float
    """Step at which it began."""
    evidence: Mapping[str, Param]
    """Numbers of the last check at which it held."""
    end: float | None = None
    """Step at which it ended, or None while it lasts."""


class Hysteresis:
    """A condition that opens and closes slowly, so that it does not flicker.

    It opens when the rule is true at ``opens`` checks in a row. It closes when the rule is false at ``closes`` checks
    in a row, even by bounds that are wider by 20 % (see CLOSING_WIDTH).
    """

    def __init__(self, opens: int = 2, closes: int = 2) -> None:
        self.opens, self.closes = opens, closes
        self.current: Episode | None = None
        """Episode that lasts, or None."""
        self.closed: list[Episode] = []
        """The newest episodes that are over, oldest first."""
        self._hits: list[float] = []
        self._misses: list[float] = []

    @property
    def episodes(self) -> list[Episode]:
        """The closed episodes, oldest first, then the current one if there is one."""
        return [*self.closed, self.current] if self.current is not None else self.closed

    def feed(self, step: float, *, fires: bool, holds: bool, begin: float, evidence: Mapping[str, Param]) -> None:
        """Add the check at ``step``.

        ``fires``: the rule is true; ``holds``: it is true by the wider bounds; ``begin``: step since which it is.
        """
        if self.current is None:
            self._hits = [*self._hits, begin] if fires else []
            if len(self._hits) >= self.opens:
                self.current = Episode(self._hits[0], evidence)
                self._hits, self._misses = [], []
        elif fires or holds:
            self.current.evidence = evidence
            self._misses = []
        else:
            self._misses.append(step)
            if len(self._misses) >= self.closes:
                self.close(self._misses[0])

    def reset(self) -> None:
        """Add a check at which the rule is false while nothing is open."""
        self._hits = []

    def close(self, step: float) -> None:
        """End the current episode, if there is one, at ``step``."""
        if self.current is not None:
            self.current.end = step
            self.closed = [*self.closed[1 - KEPT_CLOSED :], self.current]
        self.current = None
        self._hits, self._misses = [], []


T = TypeVar("T")


class IncrementalCheck(ABC, Generic[T]):
    """Checks along one column. A subclass implements ``check`` and never sees a row twice."""

    def __init__(self) -> None:
        self.done = 0
        """Rows before the last check."""
        self._last = math.nan

    def update(self, column: T) -> bool:
        """Run every check that is due; return False if a row that was checked has changed, so that a new one must
        start."""
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
        """Return the row count of the check after the one at ``done`` rows: half a window later."""
        return FIRST_CHECK if done < FIRST_CHECK else done + max(1, window(done) // 2, done // LONG)

    @abstractmethod
    def size(self, column: T) -> int:
        """Return the number of rows that the column has now."""

    @abstractmethod
    def entry(self, column: T, row: int) -> float:
        """Return a number that changes if the row is replaced."""

    @abstractmethod
    def check(self, column: T, end: int) -> None:
        """Check the rows before row ``end``."""


class SeriesCheck(IncrementalCheck[Series]):
    """Checks along a series."""

    def size(self, column: Series) -> int:
        """Return the number of values, finite or not."""
        return len(column)

    def entry(self, column: Series, row: int) -> float:
        """Return the value of a row."""
        return column.values[row]


C = TypeVar("C", bound=IncrementalCheck[Any])
_KEPT: WeakKeyDictionary[object, dict[type[Any], tuple[Hashable, Any]]] = WeakKeyDictionary()


def updated_check(column: object, kind: type[C], inputs: Hashable, make: Callable[[], C]) -> C:
    """Return the check of class ``kind`` along a column, brought up to its last row.

    It is kept while the column lives and ``inputs``, all that it depends on beside the column, are equal; else ``make``
    creates a new one. ``make`` must not let the check hold the column.
    """
    slots = _KEPT.setdefault(column, {})
    found = slots.get(kind)
    if found is not None and found[0] == inputs and isinstance(found[1], kind) and found[1].update(column):
        return found[1]
    fresh = make()
    fresh.update(column)
    slots[kind] = (inputs, fresh)
    return fresh


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
