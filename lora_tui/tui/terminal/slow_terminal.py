"""What is written to a slow terminal: which cells wait while it is behind, and which of them are painted next.

What a frame changes while the terminal is behind is not painted but remembered as stretches of lines. Once the terminal
has caught up, each stretch is painted as it is then: the newest frame, and none of those between. Over a slow line that
is done in portions, short stretches first, so that numbers do not wait for curves.
:mod:`lora_tui.tui.terminal.backpressure` says whether a terminal is behind, and whether its line is slow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.geometry import Region

PORTION = 400
"""Cells painted at once over a slow line: about 1.6 kB."""
MOVE_CELLS = 6
"""Cells that moving the cursor and setting a style cost as much as."""
MAX_POSTPONED = 5
"""Times in a row that a frame may wait because it is too long for one portion; then it is painted all the same."""


class PendingCells:
    """The stretches of lines that wait for the terminal. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._stretches: dict[Region, None] = {}
        self._since = 0.0
        self._last_backlog_s = 0.0
        self._postponed = 0

    def __bool__(self) -> bool:
        return bool(self._stretches)

    def must_wait(self, stretches: Sequence[Region], slow: bool, behind: bool) -> bool:
        """Return whether a frame that changes these stretches is to wait.

        It waits while the terminal is ``behind``, and over a ``slow`` line where it is longer than two portions.
        """
        too_long = slow and self._postponed < MAX_POSTPONED and sum(each.width for each in stretches) > 2 * PORTION
        if too_long or behind:
            self._postponed += too_long
            return True
        self._postponed = 0
        return False

    def add(self, stretches: Sequence[Region], now: float) -> None:
        """Remember stretches that are not painted now."""
        if not self._stretches:
            self._since = now
        for stretch in stretches:
            self._stretches.setdefault(stretch)

    def take(self, screen: Region, slow: bool, now: float) -> list[Region]:
        """Return the stretches to paint now, cut to ``screen``: a portion over a slow line, else all of them."""
        room: float = PORTION if slow else math.inf
        portion: list[Region] = []
        for stretch in sorted(self._stretches, key=lambda stretch: stretch.width):
            room -= stretch.width + MOVE_CELLS
            if portion and room < 0:
                break
            portion.append(stretch.intersection(screen))
            del self._stretches[stretch]
        if not self._stretches:
            self._last_backlog_s = now - self._since
        return [stretch for stretch in portion if stretch]

    def backlog_s(self, now: float) -> float:
        """Return how many seconds it takes until nothing waits any more, by the longest that is known."""
        return max(self._last_backlog_s, now - self._since if self._stretches else 0.0)
