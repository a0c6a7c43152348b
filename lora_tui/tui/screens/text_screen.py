"""Screens of text over the dashboard, closed by esc, q, enter, ? or a click: the base class, and the help."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from lora_tui.settings.fault_log import Fault, record_fault
from lora_tui.text.cells import wrap
from lora_tui.tui.keys import TEXT_SCREEN_KEYS, commands_of, screen_bindings
from lora_tui.tui.panes.base import ScrollingPane, fault_lines
from lora_tui.tui.state import AppState
from lora_tui.tui.styled_lines import Line, box, fill


class TextPane(ScrollingPane):
    """A text in a frame, scrolled by keys and the mouse wheel."""

    def __init__(self, state: AppState, title: str, lines: list[Line]) -> None:
        super().__init__(state, "text")
        self.heading = title
        self.lines = lines

    def draw(self, width: int, height: int) -> list[Line]:
        room = height - 2
        rows = self.shown_lines(self.lines, room)
        note: Line = [("esc", "key"), (" " + self.state.words.t("keys.close"), "faint")]
        if len(self.lines) > room:
            note = [("j/k", "key"), (" " + self.state.words.t("keys.scroll") + "  ", "faint"), *note]
        out = box(rows, width, height, [(self.heading, "title|bold")], note, "border-focus")
        for y in self._thumb(room):
            out[y + 1] = [*out[y + 1][:-1], (" ", "text"), ("┃", "border-focus")]
        return out

    def _thumb(self, room: int) -> range:
        """Return the rows of the right border that are the thumb of a scroll bar; none if all lines are visible."""
        whole = len(self.lines)
        if whole <= room:
            return range(0)
        size = max(1, room * room // whole)
        begin = round((room - size) * self.offset_y / (whole - room))
        return range(begin, begin + size)


FAULT_WIDTH = 64
"""Width in cells of the screen that replaces one that could not be built."""
FAULT_ROWS = 12
"""The most lines of the text of an error."""


class TextScreen(ModalScreen[None]):
    """A screen with a pane of text in its middle."""

    DEFAULT_CSS = """
    TextScreen { align: center middle; background: $lora-page 60%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings(TEXT_SCREEN_KEYS)

    def __init__(self, state: AppState, title: str, lines: list[Line], width: int) -> None:
        super().__init__()
        self.pane = TextPane(state, title, lines)
        self._width = width

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Give the pane the size of its text, at most that of the terminal."""
        self.pane.styles.width = min(self._width, max(20, self.app.size.width - 4))
        self.pane.styles.height = min(len(self.pane.lines) + 2, max(3, self.app.size.height - 2))

    def action_scroll(self, lines: int) -> None:
        """Scroll by a number of lines."""
        self.pane.scroll_lines(lines)

    def action_leap(self, pages: int) -> None:
        """Scroll by a number of pages, each one line less than the visible part."""
        self.pane.scroll_lines(pages * max(1, self.pane.size.height - 3))

    def on_click(self, event: events.Click) -> None:
        self.dismiss()


HELP_WIDTH = 64
"""Width of the help in cells, frame included."""


class HelpScreen(TextScreen):
    """The keys of a page, what the symbols mean and what the program does, from the table of all commands."""

    def __init__(self, state: AppState) -> None:
        words = state.words
        lines: list[Line] = [[]]
        for command in commands_of(state.page):
            text = words.t(f"keys.{command.code}")
            lines.append([(" ", "text"), *fill([(command.shown, "key|bold")], 12), (text, "text")])
        lines.append([])
        for key in (
            "help.mark.levels",
            "help.mark.hollow",
            "help.mark.reservation",
            "help.first_run",
            "help.read_only",
        ):
            lines += [[(" " + part, "muted")] for part in wrap(words.t(key), HELP_WIDTH - 6)]
        lines.append([])
        super().__init__(state, words.t("help.title"), lines, HELP_WIDTH)


def screen_or_fault(state: AppState, name: str, build: Callable[[], TextScreen | None]) -> TextScreen | None:
    """Return the screen that ``build`` returns; if that raises, a screen with the error."""
    try:
        return build()
    except Exception as error:  # an error in one screen must not end the app
        fault = record_fault("screen", name, error)
        return TextScreen(state, "lora-tui", fault_page(state, fault, FAULT_WIDTH - 6), FAULT_WIDTH)


def fault_page(state: AppState, fault: Fault, width: int) -> list[Line]:
    """Return the lines of a screen that could not be built."""
    return [[(" ", "text"), *line] for line in ([], *fault_lines(state.words, fault, width, FAULT_ROWS), [])]
