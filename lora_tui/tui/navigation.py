"""Moving about: which run is selected, which page is open, which pane has the focus."""

from __future__ import annotations

from lora_tui.tui.dashboard import Dashboard
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.cards import CardsPane
from lora_tui.tui.panes.run_list import RUN_LINES, RunListPane
from lora_tui.tui.state import AppState


class Navigator:
    """Reads the state and changes the dashboard, which has what changed painted."""

    def __init__(self, state: AppState, dashboard: Dashboard) -> None:
        self.state = state
        self.dashboard = dashboard

    def select(self, index: int) -> None:
        """Select the run at an index of the list, or the nearest one there is."""
        if runs := self.state.runs:
            self.dashboard.selected = runs[max(0, min(index, len(runs) - 1))]

    def move(self, by: int) -> None:
        """Go down or up, by lines of a page or by runs, cards or findings, whichever has the focus."""
        state, dashboard = self.state, self.dashboard
        if state.page != "overview":
            dashboard.query_one("#page", PagePane).scroll_lines(by)
        elif state.focus == "cards":
            dashboard.card = max(0, min(state.card + by, self._cards() - 1))
        elif state.focus == "findings":
            dashboard.finding = max(0, min(state.finding + by, self._findings() - 1))
        else:
            self.select(state.index + by)

    def leap(self, by: int) -> None:
        """Go down or up by half a page: half the lines of a page of text, or half the runs that fit on the screen."""
        dashboard = self.dashboard
        if self.state.page != "overview":
            fit = dashboard.query_one("#page", PagePane).size.height - 2
        elif "runs" in self.state.places:
            fit = dashboard.query_one("#runs", RunListPane).capacity
        else:
            fit = dashboard.size.height // RUN_LINES
        self.move(by * max(1, fit // 2))

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
            self.dashboard.drawer = not state.drawer
            self.focus("runs")
            return
        for _ in screen.focus_chain:
            focused = screen.focus_next() if by > 0 else screen.focus_previous()
            if not isinstance(focused, Pane) or focused.id in state.places:
                break

    def focus(self, pane: str) -> None:
        """Give Textual's focus to the pane of this name."""
        self.dashboard.screen.set_focus(self.dashboard.query_one(f"#{pane}"), scroll_visible=False)

    def point(self, pane: str, index: int) -> bool:
        """Focus a card or a finding; return whether it had the focus already."""
        state, dashboard = self.state, self.dashboard
        if state.focus == pane and index == (state.card if pane == "cards" else state.finding):
            return True
        self.focus(pane)
        if pane == "cards":
            dashboard.card = index
        else:
            dashboard.finding = index
        return False

    def back(self) -> None:
        """Go one layer back: close the drawer, then give the focus to the list, then close the page. Never quits."""
        if self.state.drawer:
            self.dashboard.drawer = False
        elif self.state.focus != "runs":
            self.focus("runs")
        else:
            self.dashboard.page = "overview"

    def page(self, page: str) -> None:
        """Open a page; nothing where there is no run."""
        if self.state.runs:
            self.dashboard.page, self.dashboard.drawer = page, False
            self.focus("runs")
