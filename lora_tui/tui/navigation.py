"""Moving about: which run is selected, which page is open, which pane has the focus."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.tui.dashboard import Cockpit
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.state import Desk

RING = ("runs", "cards", "findings")
"""Panes that can be walked through, in the order of tab."""


class Navigator:
    """Changes the desk and has what changed drawn by ``renew(charts)``."""

    def __init__(self, desk: Desk, cockpit: Cockpit, renew: Callable[[bool], None]) -> None:
        self.desk = desk
        self.cockpit = cockpit
        self.renew = renew

    def select(self, index: int) -> None:
        """Select the run at a place of the list."""
        desk, runs = self.desk, self.desk.runs
        if not runs:
            return
        run = runs[max(0, min(index, len(runs) - 1))]
        changed = run is not desk.selected
        if changed:
            desk.selected = run
            desk.card = desk.finding = 0
        self.renew(changed)

    def move(self, by: int) -> None:
        """Down or up in what has the focus."""
        desk = self.desk
        if desk.page != "overview":
            self.cockpit.query_one("#page", PagePane).scroll_lines(by)
            return
        if desk.focus == "cards":
            desk.card = max(0, min(desk.card + by, self._cards() - 1))
        elif desk.focus == "findings":
            desk.finding = max(0, min(desk.finding + by, self._findings() - 1))
        else:
            self.select(desk.index + by)
            return
        self.renew(False)

    def leap(self, by: int) -> None:
        """Half a screen down or up."""
        lines = 2 if self.desk.page != "overview" else 6
        self.move(by * max(1, self.cockpit.size.height // lines))

    def _cards(self) -> int:
        return len({zone.action for zone in self.cockpit.query_one("#cards", Pane).zones})

    def _findings(self) -> int:
        view = self.desk.current()
        return len(view.judgement.findings) if view is not None else 0

    def focus(self, by: int) -> None:
        """The next pane that can be walked through; where the list is a drawer, open and close that."""
        desk = self.desk
        if desk.page != "overview":
            return
        ring = [name for name in RING if name in desk.places]
        if desk.drawer:
            desk.drawer, desk.focus = False, "runs"
        elif "runs" not in ring and len(desk.runs) > 1:
            desk.drawer, desk.focus = True, "runs"
        elif ring:
            place = ring.index(desk.focus) if desk.focus in ring else -1
            desk.focus = ring[(place + by) % len(ring)]
        self.renew(False)

    def point(self, focus: str, index: int) -> bool:
        """Focus a card or a finding; true if it had the focus already."""
        desk = self.desk
        if desk.focus == focus and index == (desk.card if focus == "cards" else desk.finding):
            return True
        desk.focus = focus
        if focus == "cards":
            desk.card = index
        else:
            desk.finding = index
        self.renew(False)
        return False

    def back(self) -> None:
        """One layer back; never quits."""
        desk = self.desk
        if desk.drawer:
            desk.drawer = False
        elif desk.focus != "runs":
            desk.focus = "runs"
        else:
            desk.page = "overview"
        self.renew(False)

    def page(self, page: str) -> None:
        """Show a page."""
        desk = self.desk
        if desk.runs:
            desk.page, desk.drawer, desk.focus = page, False, "runs"
            self.renew(False)
