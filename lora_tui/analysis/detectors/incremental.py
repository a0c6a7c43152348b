"""Checks of a growing column at fixed row counts, whose results do not depend on when they are requested.

A finding about a level must not come and go with every row, but a judgement does not remember earlier judgements. So a
rule is checked at row counts that depend on nothing but the column, each check sees only the rows before it, and
:class:`Hysteresis` combines the checks. The result is the same for a live run and for one that is opened later. The
state is kept as long as the column, so that only the new rows of a live run are read.
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
"""Number of rows at the first check; no rule applies to fewer."""
LONG = 100
"""A column of many rows is checked each time it has grown by 1 / LONG; fewer new rows cannot change much."""
KEPT_CLOSED = 3
"""Number of closed episodes that are kept, the newest ones."""


@dataclass
class Episode:
    """A range of steps in which a condition held."""

    begin: float
    """Step at which it began."""
    evidence: Mapping[str, Param]
    """Numbers of the last check at which the condition held."""
    end: float | None = None
    """Step at which it ended, None while it lasts."""


class Hysteresis:
    """A condition that changes only after several equal checks, so that it does not flicker.

    It opens when the rule is true at ``opens`` checks in a row. It closes when the rule is false at ``closes`` checks
    in a row, even with bounds that are 20 % easier to meet (see CLOSING_WIDTH).
    """

    def __init__(self, opens: int = 2, closes: int = 2) -> None:
        self.opens, self.closes = opens, closes
        self.current: Episode | None = None
        """The episode that lasts, None if there is none."""
        self.closed: list[Episode] = []
        """The newest episodes that have ended, oldest first."""
        self._hits: list[float] = []
        self._misses: list[float] = []

    @property
    def episodes(self) -> list[Episode]:
        """The closed episodes, oldest first, then the current one if there is one."""
        return [*self.closed, self.current] if self.current is not None else self.closed

    def feed(self, step: float, *, fires: bool, holds: bool, begin: float, evidence: Mapping[str, Param]) -> None:
        """Add the check at ``step``.

        ``fires`` says whether the rule is true, ``holds`` whether it is true with the easier bounds, and ``begin`` is
        the step at which it became true.
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
        """Add a check at which the rule is false while no episode lasts."""
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
    """Checks of one growing column; a subclass implements ``check``, which never reads a row twice."""

    def __init__(self) -> None:
        self.done = 0
        """Number of rows at the last check."""
        self._last = math.nan
        """Entry of the last checked row."""

    def update(self, column: T) -> bool:
        """Run every check that is due; return False if the last checked row has changed.

        The caller must then start again with a new object.
        """
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
        """Return the row count of the check after the one at ``done`` rows: about half a window later."""
        return FIRST_CHECK if done < FIRST_CHECK else done + max(1, window(done) // 2, done // LONG)

    @abstractmethod
    def size(self, column: T) -> int:
        """Return the current number of rows of the column."""

    @abstractmethod
    def entry(self, column: T, row: int) -> float:
        """Return a number that changes if the row is replaced."""

    @abstractmethod
    def check(self, column: T, end: int) -> None:
        """Check the rows before row ``end``."""


class SeriesCheck(IncrementalCheck[Series]):
    """Checks of a growing series."""

    def size(self, column: Series) -> int:
        """Return the number of values, finite or not."""
        return len(column)

    def entry(self, column: Series, row: int) -> float:
        """Return the value of a row."""
        return column.values[row]


C = TypeVar("C", bound=IncrementalCheck[Any])
_KEPT: WeakKeyDictionary[object, dict[type[Any], tuple[Hashable, Any]]] = WeakKeyDictionary()
"""Checks by column and class, each with its other inputs."""


def updated_check(column: object, kind: type[C], inputs: Hashable, make: Callable[[], C]) -> C:
    """Return the check of class ``kind`` of a column, updated to its last row.

    It is kept as long as the column exists and ``inputs``, everything else that it depends on, are equal; otherwise
    ``make`` creates a new one. The check must not keep a reference to the column.
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
    """Return whether two numbers are equal or both nan."""
    return a == b or (math.isnan(a) and math.isnan(b))
