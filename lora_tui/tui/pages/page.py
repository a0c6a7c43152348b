"""The pane that shows a page in place of the overview: results, config or checkpoints, each opened by a number key."""

from __future__ import annotations

from lora_tui.tui.pages.checkpoints import checkpoint_lines
from lora_tui.tui.pages.config import config_lines
from lora_tui.tui.pages.results import results_lines
from lora_tui.tui.panes.base import ScrollingPane
from lora_tui.tui.state import AppState
from lora_tui.tui.styled_lines import Line, box


class PagePane(ScrollingPane):
    """The lines of the current page in a frame, scrolled by keys and the mouse wheel."""

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(state, name)
        self._shown: tuple[object, ...] = ()
        """The page and the run that were drawn last; another page or run is shown from its top."""

    def draw(self, width: int, height: int) -> list[Line]:
        state = self.state
        view = state.current()
        if view is None:
            return []
        if self._shown != (state.page, view.run.path):
            self._shown = (state.page, view.run.path)
            self.offset_y = 0
        page = PAGE_LINES.get(state.page)
        if page is None:
            # The overview: the pane is drawn once more before the layout removes it.
            return []
        lines = page(state, view, width - 4)
        room = height - 2
        seen = self.shown_lines(lines, room)
        note: Line = []
        if len(lines) > room:
            last = min(len(lines), self.offset_y + room)
            note = [(f"{self.offset_y + 1}–{last}/{len(lines)}", "muted")]
        title: Line = [(state.words.t(f"page.{state.page}"), "title")]
        return box(seen, width, height, title, note)


PAGE_LINES = {"results": results_lines, "config": config_lines, "checkpoints": checkpoint_lines}
"""Page -> the function that returns its lines for a run at a width in cells."""
