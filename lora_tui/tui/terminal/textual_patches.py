"""An app whose frames wait for a terminal that is behind. Uses private parts of Textual (Textual 8.2.8)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from textual._compositor import ChopsUpdate
from textual.app import App
from textual.geometry import Region, Size

from lora_tui.tui.terminal.driver import TerminalDriver

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.timer import Timer

LOOK_S = 0.5
"""How often it is looked whether an answer that is waited for is lost."""
PORTION = 400
"""Cells painted at once over a slow line: about 1.6 kB."""
MOVING = 6
"""What it costs to move the cursor and set a style, in cells."""
PUT_OFF = 5
"""How often in a row a portion may have become too long by what changed meanwhile; then it is painted all the same."""


class PacedApp(App[int]):
    """What is not painted because the terminal is behind is remembered, and painted as it is when it has caught up.

    Over a slow line that is done in portions, short stretches first: numbers do not wait for curves.
    """

    asks_width = False
    """Whether to ask the terminal for the width of glyphs that may have one cell or two."""

    def __init__(self, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self._pending: dict[Region, None] = {}
        self._pending_since = 0.0
        self._backlog_s = 0.0
        self._put_off = 0
        self._looking: Timer | None = None

    @property
    def backlog_s(self) -> float:
        """How long it takes until nothing is owed any more; 0 where the line is not slow."""
        driver = self._driver
        if not isinstance(driver, TerminalDriver) or not driver.slow:
            return 0.0
        return max(self._backlog_s, time.monotonic() - self._pending_since if self._pending else 0.0)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        driver = self._driver
        if renderable is None or self._batch_count or not isinstance(driver, TerminalDriver):
            super()._display(screen, renderable)
            return
        stretches = _stretches(renderable, screen.size)
        long = driver.slow and self._put_off < PUT_OFF and sum(each.width for each in stretches) > 2 * PORTION
        if long or driver.behind():
            self._put_off += long
            self._owe(stretches)
            # Not before this update is over: at its end the toolkit forgets every wish to be painted.
            self.call_next(self.catch_up)
        else:
            self._put_off = 0
            with driver.frame():
                super()._display(screen, renderable)

    def _owe(self, stretches: list[Region]) -> None:
        if not self._pending:
            self._pending_since = time.monotonic()
        for stretch in stretches:
            self._pending.setdefault(stretch)
        if self._looking is None:
            self._looking = self.set_interval(LOOK_S, self.catch_up)

    def catch_up(self) -> None:
        """Paint what is owed or a portion of it, unless the terminal is still behind."""
        driver = self._driver
        if not (self._pending and self.screen_stack) or not isinstance(driver, TerminalDriver) or driver.behind():
            return  # without a screen the app has ended
        # What is laid out now: after a change of the window's size that is not yet all of it, or more.
        whole = self.screen._compositor.size.region
        room = PORTION if driver.slow else whole.area
        portion: list[Region] = []
        for stretch in sorted(self._pending, key=lambda stretch: stretch.width):
            room -= stretch.width + MOVING
            if portion and room < 0:
                break
            portion.append(stretch.intersection(whole))
            del self._pending[stretch]
        if not self._pending and self._looking is not None:
            self._looking.stop()
            self._looking = None
            self._backlog_s = time.monotonic() - self._pending_since
        if portion := [stretch for stretch in portion if stretch]:
            # Not Screen.refresh, which takes what it is given for everything and forgets the panes that wait.
            screen = self.screen
            screen._compositor._dirty_regions.update(portion)
            screen._compositor.update_widgets(screen._dirty_widgets)
            screen._compositor_refresh()

    def come_back(self) -> None:
        """The terminal is ours again, and nothing of what it shows is known."""
        if self.screen_stack:
            self.screen.refresh(self.screen.size.region)

    def wide_glyphs(self) -> None:
        """The terminal draws in two cells what counts as one here."""


def _stretches(renderable: Any, size: Size) -> list[Region]:
    """The parts of lines that an update paints."""
    if isinstance(renderable, ChopsUpdate):
        return [Region(x1, y, x2 - x1, 1) for y, x1, x2 in renderable.spans]
    return [Region(0, y, size.width, 1) for y in range(size.height)]
