"""Sends only the changed cells of a line, and keeps the traceback of a crash plain. All use of Textual's private parts
is in this file (Textual 8.2.8).

Textual's own partial update begins every line at the left edge of the widget (``ChopsUpdate.render_segments`` crops at
the right alone), which over ssh is five times the bytes.
"""

from __future__ import annotations

import traceback
from contextlib import suppress

from rich.console import Console
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App
from textual.errors import NoWidget
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import WorkerFailed

from lora_tui.tui.panes.base import Pane


class NarrowUpdate(ChopsUpdate):
    """A partial update cropped on both sides."""

    def render_segments(self, console: Console) -> str:
        out: list[str] = []
        move_to = Control.move_to
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                left, right = max(x, x1), min(end, x2)
                out.append(move_to(left, y).segment.text)
                out.append(strip.crop(left - x, right - x).render(console))
        return "".join(out)


class NarrowCompositor(Compositor):
    """A compositor whose partial updates are narrow."""

    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        if update is None:
            return None
        return NarrowUpdate(update.chops, update.spans, update.chop_ends)


class MainScreen(Screen[None]):
    """The screen of all panes."""

    AUTO_FOCUS = "#runs"
    focused: reactive[Widget | None] = reactive(None, repaint=False, init=False)
    """The widget that has the focus. Textual's own repaints the whole screen when it changes."""

    def get_style_at(self, x: int, y: int) -> Style:
        """Return the style of a cell, with the action of a click on it.

        The action is not part of the segments that are painted: where it begins and ends they would be cut into more of
        them, which costs 7 % of the bytes of a whole screen (3.4 of 48 kB at 200 x 50).
        """
        style = super().get_style_at(x, y)
        with suppress(NoWidget):
            widget, region = self.get_widget_at(x, y)
            if isinstance(widget, Pane) and (click := widget.click_style(x - region.x, y - region.y)) is not None:
                return style + click
        return style

    def __init__(self) -> None:
        super().__init__(id="_default")
        self._compositor = NarrowCompositor()


class PlainCrash(App[int]):
    """An app that keeps the traceback of an unhandled exception for whoever started it.

    Textual prints one with the local variables of every frame: thousands of lines of the run's own rows, in boxes.
    """

    crash = ""
    """Python's own traceback of the exception that ended the app; empty if none did."""

    def _fatal_error(self) -> None:
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None and not self.crash:
            self.crash = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._close_messages_no_wait()
