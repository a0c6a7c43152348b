"""Moving about: which run is selected, which page is open, which pane has the focus."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.tui.dashboard import Dashboard
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.cards import CardsPane
from lora_tui.tui.state import AppState


class Navigator:
    """Changes the state and has what changed drawn by ``renew(charts)``."""

    def __init__(self, state: AppState, dashboard: Dashboard, renew: Callable[[bool], None]) -> None:
        self.state = state
        self.dashboard = dashboard
        self.renew = renew

    def select(self, index: int) -> None:
        """Select the run at a place of the list."""
        state, runs = self.state, self.state.runs
        if not runs:
            return
        run = runs[max(0, min(index, len(runs) - 1))]
        changed = run is not state.selected
        if changed:
            state.selected = run
            state.card = state.finding = 0
        self.renew(changed)

    def move(self, by: int) -> None:
        """Down or up in what has the focus."""
        state = self.state
        if state.page != "overview":
            self.dashboard.query_one("#page", PagePane).scroll_lines(by)
            return
        if state.focus == "cards":
            state.card = max(0, min(state.card + by, self._cards() - 1))
        elif state.focus == "findings":
            state.finding = max(0, min(state.finding + by, self._findings() - 1))
        else:
            self.select(state.index + by)
            return
        self.renew(False)

    def leap(self, by: int) -> None:
        """Half a screen down or up."""
        lines = 2 if self.state.page != "overview" else 6
        self.move(by * max(1, self.dashboard.size.height // lines))

    def _cards(self) -> int:
        return self.dashboard.query_one("#cards", CardsPane).count

    def _findings(self) -> int:
        view = self.state.current()
        return len(view.judgement.findings) if view is not None else 0

    def move_focus(self, by: int) -> None:
        """Focus the next widget, or the previous one; where the list is a drawer, open or close that instead."""
        state, screen = self.state, self.dashboard.screen
        if state.page != "overview":
            return
        if state.drawer or ("runs" not in state.places and len(state.runs) > 1):
            state.drawer = not state.drawer
            self.focus("runs")
        else:
            for _ in screen.focus_chain:
                focused = screen.focus_next() if by > 0 else screen.focus_previous()
                if not isinstance(focused, Pane) or focused.id in state.places:
                    break
        self.renew(False)

    def focus(self, pane: str) -> None:
        """Give Textual's focus to the pane of this name."""
        self.dashboard.screen.set_focus(self.dashboard.query_one(f"#{pane}"), scroll_visible=False)

    def point(self, focus: str, index: int) -> bool:
        """Focus a card or a finding; true if it had the focus already."""
        state = self.state
        if state.focus == focus and index == (state.card if focus == "cards" else state.finding):
            return True
        self.focus(focus)
        if focus == "cards":
            state.card = index
        else:
            state.finding = index
        self.renew(False)
        return False

    def back(self) -> None:
        """One layer back; never quits."""
        state = self.state
        if state.drawer:
            state.drawer = False
        elif state.focus != "runs":
            self.focus("runs")
        else:
            state.page = "overview"
        self.renew(False)

    def page(self, page: str) -> None:
        """Show a page."""
        state = self.state
        if state.runs:
            state.page, state.drawer = page, False
            self.focus("runs")
            self.renew(False)
