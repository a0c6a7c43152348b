"""The base of all panes: it keeps the lines that a pane draws, and repaints only the cells that differ.

An error stays inside its pane: what :meth:`Pane.draw` raises is shown there, and the rest of the app goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from lora_tui.settings.fault_log import Fault, fault_text, record_fault
from lora_tui.text.cells import cell_width, wrap
from lora_tui.tui.styled_lines import CLICK, Line, box, changed, cut, look_of, width_of
from lora_tui.tui.terminal.capabilities import OneCell

if TYPE_CHECKING:
    from lora_tui.i18n import Words
    from lora_tui.tui.state import AppState

ASCII = str.maketrans(
    {
        **dict.fromkeys("╭╮╰╯├┤┬┴┼", "+"), **dict.fromkeys("─–·", "-"), **dict.fromkeys("│┊▏", "|"),
        **dict.fromkeys("█▉▊▋▌", "#"), **dict.fromkeys("▍▎░", "."), "●": "*", "○": "o", "◐": "%", "◌": "?",
        "✓": "v", "✗": "x", "◇": "<", "■": "#", "━": "=", "╸": "=",
        "★": "*", "☆": "*", "▲": "^", "△": "^", "×": "x", "◆": "o",
        "▸": ">", "▶": ">", "›": ">", "…": "~", "↑": "^", "↓": "v", "→": ">", "←": "<", "±": "~",
        "≥": ">", "▼": "v", "┷": "+", "┃": "#",
        "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "=", "▆": "+", "▇": "*",
    }
)  # fmt: skip
"""Symbol -> its ASCII form. Both take one cell, so that a pane can be drawn with symbols and translated afterwards."""
ONE_CELL = OneCell(ASCII)


def fault_lines(words: Words, fault: Fault, width: int, height: int) -> list[Line]:
    """Return the text of a fault, wrapped to ``width`` cells and cut to ``height`` lines."""
    if height == 1:
        text: list[Line] = [[("! ", "rating-fair"), (fault_text(fault, words, short=True), "text")]]
    else:
        first, *rest = wrap(fault_text(fault, words), max(1, width - 2))
        text = [[("! ", "rating-fair"), (first, "text")], *([("  ", "text"), (part, "text")] for part in rest)]
    return [cut(line, width) for line in text[:height]]


class Pane(Widget):
    """A widget made of lines, which a subclass returns from :meth:`draw`; :meth:`renew` draws them again."""

    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False
    FOCUS_ON_CLICK = False
    """Off, since the actions of the clicked cells move the focus themselves."""

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(id=name)
        # Textual would repaint the pane whenever the pointer moves on to another action.
        self.set_reactive(Widget.auto_links, False)
        self.state = state
        self._rows: list[Line] = []
        self._strips: dict[int, Strip] = {}
        self._drawn: tuple[object, ...] = ()
        self.fault: Fault | None = None
        """The error of the last drawing, or None."""
        self._failed_with: tuple[object, ...] = ()
        """The value of :meth:`inputs` at the drawing that failed."""

    def draw(self, width: int, height: int) -> list[Line]:
        """Return the lines of the pane, at most ``height`` lines of at most ``width`` cells."""
        raise NotImplementedError

    def inputs(self) -> tuple[object, ...]:
        """Return all that a drawing depends on; a drawing that failed is not tried again before this changes."""
        return self.state.inputs()

    def renew(self) -> None:
        """Draw the pane again and repaint the cells that differ."""
        width, height = self.size
        if not width or not height:
            return
        if self._drawn != self._look():
            self._draw()
            self.refresh()
            return
        old = self._rows
        self._draw()
        for y in range(max(len(old), len(self._rows))):
            before = old[y] if y < len(old) else []
            after = self._rows[y] if y < len(self._rows) else []
            regions = [Region(x, y, cells, 1) for x, cells in changed(before, after)]
            if regions:
                self.refresh(*regions)

    def on_focus(self, event: events.Focus) -> None:
        """Take the focus without repainting the whole pane: the app repaints the cells that differ."""
        event.prevent_default()
        self.has_focus = True

    def on_blur(self, event: events.Blur) -> None:
        """Lose the focus without repainting the whole pane, like :meth:`on_focus`."""
        event.prevent_default()
        self.has_focus = False

    def on_hide(self, event: events.Hide) -> None:
        """Keep the focus while the layout has no place for the pane, so that a larger terminal restores it."""
        event.prevent_default()

    def click_style(self, x: int, y: int) -> Style | None:
        """Return the style that runs the action of the cell at (x, y) of the pane when clicked, or None without one."""
        for text, role in self._rows[y] if y < len(self._rows) else ():
            x -= cell_width(text)
            if x < 0:
                action = role.partition(CLICK)[2]
                return Style.from_meta({"@click": action}) if action else None
        return None

    def forget(self) -> None:
        """Drop what was drawn. Call it when the layout has no place for the pane, which may get one again later."""
        if self._drawn:
            self._drawn = ()
            # Textual keeps the lines of a widget that it does not show.
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line, from the cache where it did not change."""
        if self._drawn != self._look():
            self._draw()
        strip = self._strips.get(y)
        if strip is None:
            try:
                strip = self._strip(y)
            except Exception as error:  # an error stays inside its pane, see above
                self._fail(error)
                strip = self._strip(y)
            self._strips[y] = strip
        return strip

    def _look(self) -> tuple[object, ...]:
        """Return what a drawing depends on besides the data: the size of the pane, and the theme and the like."""
        return (self.size, self.state.look)

    def _draw(self) -> None:
        old = self._rows
        same = self._drawn == self._look()
        if same and self.fault is not None and self._failed_with == self.inputs():
            return
        try:
            self._rows = self.draw(*self.size)
            self.fault = None
        except Exception as error:  # an error stays inside its pane, see above
            self._fail(error)
        self._drawn = self._look()
        if same:
            for y in [y for y in self._strips if y >= len(self._rows) or y >= len(old) or old[y] != self._rows[y]]:
                del self._strips[y]
        else:
            self._strips.clear()

    def _fail(self, error: Exception) -> None:
        """Record an error, and show it in place of the lines that could not be drawn."""
        width, height = self.size
        self.fault = record_fault("pane", self.id or "", error)
        self._failed_with = self.inputs()
        if height >= 3 and width >= 6:
            lines = fault_lines(self.state.words, self.fault, width - 4, height - 2)
            self._rows = box(lines, width, height, [], [])
        else:
            self._rows = fault_lines(self.state.words, self.fault, width, height)

    def _strip(self, y: int) -> Strip:
        palette = self.state.palette
        width = self.size.width
        line = self._rows[y] if y < len(self._rows) else []
        if self.state.ascii:
            table = ONE_CELL if self.state.wide else ASCII
            line = [(text.translate(table), role) for text, role in line]
        segments = []
        for look, spans in groupby(line, key=look_of):
            text = "".join(span[0] for span in spans)
            if text:
                segments.append(Segment(text, palette[look]))
        used = width_of(line)
        if used < width:
            segments.append(Segment(" " * (width - used), palette["text"]))
        strip = Strip(segments, max(used, width))
        return strip if used <= width else strip.crop(0, width)


class ScrollingPane(Pane):
    """A pane that shows a part of its lines, moved by keys and the mouse wheel."""

    WHEEL_LINES = 3
    """Number of lines that one step of the mouse wheel scrolls."""

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(state, name)
        self.offset_y = 0
        """Number of lines above the part that is shown."""

    def inputs(self) -> tuple[object, ...]:
        return (*super().inputs(), self.offset_y)

    def shown_lines(self, lines: Sequence[Line], height: int) -> list[Line]:
        """Bring the offset into the text, and return the lines from there on, at most ``height``."""
        self.offset_y = max(0, min(self.offset_y, len(lines) - height))
        return list(lines[self.offset_y : self.offset_y + height])

    def scroll_lines(self, lines: int) -> None:
        """Scroll down by a number of lines; a negative number scrolls up."""
        self.offset_y = max(0, self.offset_y + lines)
        self.renew()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(self.WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(-self.WHEEL_LINES)
