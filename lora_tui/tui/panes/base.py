"""The base of every pane: draws plain lines, keeps them, and repaints only the cells that differ.

A pane is the edge of an error: what :meth:`Pane.draw` raises is shown in the pane, and the rest of the app goes on.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from lora_tui.settings.fault_log import Fault, fault_text, record_fault
from lora_tui.tui.styled_lines import Line, box, changed, cut, width_of, wrap
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
"""Every mark has one cell in both sets, so that a pane is drawn in the first and translated on its way out."""
ONE_CELL = OneCell(ASCII)


class Zone(NamedTuple):
    """Cells of a pane that do something when clicked."""

    y: int
    x: int
    width: int
    action: str
    """A Textual action, with the app as its name space."""


def fault_lines(words: Words, fault: Fault, width: int, height: int) -> list[Line]:
    """Return what is said of a fault, wrapped to ``width`` cells and cut to ``height`` lines."""
    text: list[Line] = [[("! ", "rating-fair"), (fault_text(fault, words), "text")]]
    if height > 1:
        first, *rest = wrap(fault_text(fault, words), max(1, width - 2))
        text = [[("! ", "rating-fair"), (first, "text")], *([("  ", "text"), (part, "text")] for part in rest)]
    return [cut(line, width) for line in text[:height]]


class Pane(Widget):
    """A widget made of lines. A subclass says in :meth:`draw` what they are; :meth:`renew` brings them up to date."""

    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(id=name)
        self.state = state
        self.zones: list[Zone] = []
        self._rows: list[Line] = []
        self._strips: dict[int, Strip] = {}
        self._drawn: tuple[object, ...] = ()
        self.fault: Fault | None = None
        """What the last drawing raised, or None."""
        self._failed_with: tuple[object, ...] = ()
        """The :meth:`inputs` of the drawing that failed."""

    def draw(self, width: int, height: int) -> list[Line]:
        """The pane's lines. May set ``self.zones``."""
        raise NotImplementedError

    def inputs(self) -> tuple[object, ...]:
        """Return what a drawing depends on; a drawing that failed is not tried again before this changes."""
        return self.state.inputs()

    def renew(self) -> None:
        """Draw again; what differs from before goes to the terminal."""
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

    def forget(self) -> None:
        """The pane has no place now; when it gets one again nothing of what it showed before must come back."""
        if self._drawn:
            self._drawn = ()
            # The toolkit keeps the lines of a widget that it does not show.
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line, from the cache where it did not change."""
        if self._drawn != self._look():
            self._draw()
        strip = self._strips.get(y)
        if strip is None:
            try:
                strip = self._strip(y)
            except Exception as error:  # the edge of an error in one pane, see above
                self._fail(error)
                strip = self._strip(y)
            self._strips[y] = strip
        return strip

    def _look(self) -> tuple[object, ...]:
        """What a drawing depends on apart from the data."""
        return (self.size, self.state.look)

    def _draw(self) -> None:
        old = self._rows
        same = self._drawn == self._look()
        if same and self.fault is not None and self._failed_with == self.inputs():
            return
        self.zones = []
        try:
            self._rows = self.draw(*self.size)
            self.fault = None
        except Exception as error:  # the edge of an error in one pane, see above
            self._fail(error)
        self._drawn = self._look()
        if same:
            for y in [y for y in self._strips if y >= len(self._rows) or y >= len(old) or old[y] != self._rows[y]]:
                del self._strips[y]
        else:
            self._strips.clear()

    def _fail(self, error: Exception) -> None:
        """Show an error in place of what could not be drawn."""
        width, height = self.size
        self.fault = record_fault("pane", self.id or "", error)
        self._failed_with = self.inputs()
        self.zones = []
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
        for role, spans in groupby(line, key=itemgetter(1)):
            text = "".join(span[0] for span in spans)
            if text:
                segments.append(Segment(text, palette[role]))
        used = width_of(line)
        if used < width:
            segments.append(Segment(" " * (width - used), palette["text"]))
        strip = Strip(segments, max(used, width))
        return strip if used <= width else strip.crop(0, width)

    async def on_click(self, event: events.Click) -> None:
        """Do what the clicked cells stand for."""
        for zone in self.zones:
            if event.y == zone.y and zone.x <= event.x < zone.x + zone.width:
                event.stop()
                await self.run_action(zone.action)
                return
