"""Moving about: which run is selected, which page is open, which pane has the focus."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.tui.dashboard import Dashboard
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.state import AppState

RING = ("runs", "cards", "findings")
"""Panes that can be walked through, in the order of tab."""


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
        return len({zone.action for zone in self.dashboard.query_one("#cards", Pane).zones})

    def _findings(self) -> int:
        view = self.state.current()
        return len(view.judgement.findings) if view is not None else 0

    def focus(self, by: int) -> None:
        """The next pane that can be walked through; where the list is a drawer, open and close that."""
        state = self.state
        if state.page != "overview":
            return
        ring = [name for name in RING if name in state.places]
        if state.drawer:
            state.drawer, state.focus = False, "runs"
        elif "runs" not in ring and len(state.runs) > 1:
            state.drawer, state.focus = True, "runs"
        elif ring:
            place = ring.index(state.focus) if state.focus in ring else -1
            state.focus = ring[(place + by) % len(ring)]
        self.renew(False)

    def point(self, focus: str, index: int) -> bool:
        """Focus a card or a finding; true if it had the focus already."""
        state = self.state
        if state.focus == focus and index == (state.card if focus == "cards" else state.finding):
            return True
        state.focus = focus
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
            state.focus = "runs"
        else:
            state.page = "overview"
        self.renew(False)

    def page(self, page: str) -> None:
        """Show a page."""
        state = self.state
        if state.runs:
            state.page, state.drawer, state.focus = page, False, "runs"
            self.renew(False)
