"""A small page of text over the screen, closed by any of esc, q, enter or a click."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from lora_tui.tui.desk import Desk
from lora_tui.tui.lines import Line, box
from lora_tui.tui.pane import Pane


class TextPane(Pane):
    """A framed text that scrolls."""

    def __init__(self, desk: Desk, title: str, lines: list[Line]) -> None:
        super().__init__(desk, "text")
        self.heading = title
        self.lines = lines
        self.offset_y = 0

    def draw(self, width: int, height: int) -> list[Line]:
        room = height - 2
        self.offset_y = max(0, min(self.offset_y, len(self.lines) - room))
        note: Line = [("esc", "key"), (" " + self.desk.words.t("keys.close"), "faint")]
        rows = self.lines[self.offset_y : self.offset_y + room]
        return box(rows, width, height, [(self.heading, "title|bold")], note, "border-focus")

    def scroll_lines(self, lines: int) -> None:
        """Move the window over the text."""
        self.offset_y = max(0, self.offset_y + lines)
        self.renew()


class TextScreen(ModalScreen[None]):
    """Shows lines in the middle of the screen."""

    DEFAULT_CSS = """
    TextScreen { align: center middle; background: $lora-page 60%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, desk: Desk, title: str, lines: list[Line], width: int) -> None:
        super().__init__()
        self.pane = TextPane(desk, title, lines)
        self._width = width

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """As large as the text, as small as the terminal."""
        self.pane.styles.width = min(self._width, max(20, self.app.size.width - 4))
        self.pane.styles.height = min(len(self.pane.lines) + 2, max(3, self.app.size.height - 2))

    def action_scroll(self, lines: int) -> None:
        """Move the text."""
        self.pane.scroll_lines(lines)

    def on_click(self, event: events.Click) -> None:
        self.dismiss()
