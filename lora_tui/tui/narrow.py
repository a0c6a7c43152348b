"""Sends only the changed cells of a line. All use of Textual's private parts is in this file (Textual 8.2.8).

Textual's own partial update begins every line at the left edge of the widget (``ChopsUpdate.render_segments`` crops at
the right alone), which over ssh is five times the bytes.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.screen import Screen


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

    def __init__(self) -> None:
        super().__init__(id="_default")
        self._compositor = NarrowCompositor()
