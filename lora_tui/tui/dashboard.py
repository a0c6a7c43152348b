"""The container of all panes, laid out by :func:`lora_tui.tui.layout.place_panes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from rich.style import Style
from textual.app import ComposeResult
from textual.errors import NoWidget
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from lora_tui.settings.fault_log import record_fault
from lora_tui.tui.layout import Content, Rect, place_panes
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.bars import FooterPane, LinePane, TopPane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.cards import CardsPane, cards_of
from lora_tui.tui.panes.charts import LearningRatePane, LossPane, StageMetricPane, small_chart_count, stage_metric
from lora_tui.tui.panes.empty_state import LogExcerptPane, failure_excerpt
from lora_tui.tui.panes.findings import FAULT_LINES, SHOWN_PROBLEMS, FindingsPane, not_logged_lines
from lora_tui.tui.panes.header import HeaderPane
from lora_tui.tui.panes.results import ResultsPane, summary_height
from lora_tui.tui.panes.run_list import RunListPane
from lora_tui.tui.state import AppState


class _PlacedPanes(Layout):
    name = "panes"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        places = parent.places(size) if isinstance(parent, Dashboard) else {}
        out: ArrangeResult = []
        for child in children:
            rect = places.get(child.id or "")
            if rect is None:
                continue
            over = 1 if child.id == "runs" else 0
            out.append(WidgetPlacement(Region(*rect), NULL_OFFSET, NULL_SPACING, child, over))
        return out


CHARTS = ("loss", "lr", "own")


class MainScreen(Screen[None]):
    """The screen of all panes."""

    AUTO_FOCUS = "#runs"
    focused: reactive[Widget | None] = reactive(None, repaint=False, init=False)
    """The widget that has the focus. Textual's own repaints the whole screen when it changes."""

    def __init__(self) -> None:
        super().__init__(id="_default")

    def get_style_at(self, x: int, y: int) -> Style:
        """Return the style of a cell, with the action of a click on it.

        The action is not part of the segments that are painted: where it begins and ends they would be cut into more of
        them, which costs 7 % of the bytes of a whole screen (3.4 of 48 kB at 200 x 50).
        """
        style = super().get_style_at(x, y)
        with suppress(NoWidget):
            widget, region = self.get_widget_at(x, y)
            if isinstance(widget, Pane) and (click := widget.click_style(x - region.x, y - region.y)) is not None:
                return style + click
        return style


class Dashboard(Widget):
    """All panes; which of them are seen, and where, depends on the size and on what there is to show."""

    DEFAULT_CSS = "Dashboard { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, state: AppState) -> None:
        super().__init__(id="dashboard")
        self.state = state
        self._layout = _PlacedPanes()
        self._content: Content | None = None

    @property
    def layout(self) -> Layout:
        return self._layout

    def compose(self) -> ComposeResult:
        state = self.state
        yield LossPane(state, "loss")
        yield HeaderPane(state, "head")
        yield CardsPane(state, "cards")
        yield FindingsPane(state, "findings")
        yield LearningRatePane(state, "lr")
        yield StageMetricPane(state, "own")
        yield ResultsPane(state, "results")
        yield LogExcerptPane(state, "excerpt")
        yield PagePane(state, "page")
        yield TopPane(state, "top")
        yield FooterPane(state, "footer")
        yield LinePane(state, "line")
        yield RunListPane(state, "runs")

    @property
    def panes(self) -> Iterator[Pane]:
        """The panes that have a place now."""
        places = self.places(self.size)
        for child in self.children:
            if isinstance(child, Pane) and child.id in places:
                yield child

    def places(self, size: Size) -> dict[str, Rect]:
        """Where every pane goes at this size."""
        if self._content is None:
            self._content = self.content()
        places = place_panes(size.width, size.height, self._content)
        self.state.places = frozenset(places)
        return places

    def renew(self, charts: bool) -> None:
        """Bring the panes up to date; ``charts`` says whether curves are drawn anew too."""
        content = self.content()
        if content != self._content:
            self._content = content
            # A child's wish makes the toolkit forget its parent's arrangement; the parent's own does not.
            # A theme is told before the first child is mounted; the first arrangement then knows the wish anyway.
            for child in self.children[:1]:
                child.refresh(repaint=False, layout=True)
        if charts:
            self.state.chart_stamp += 1
        places = self.places(self.size)
        for pane in self.children:
            if isinstance(pane, Pane):
                pane.renew() if pane.id in places else pane.forget()

    def content(self) -> Content:
        """What there is to show now."""
        state = self.state
        view = state.current()
        if view is None:
            return Content(page=state.page)
        run = view.run
        return Content(
            runs=len(state.runs),
            page=state.page,
            drawer=state.drawer,
            cards=_size("cards", lambda: len(state.once(cards_of, view))),
            findings=_size(
                "findings",
                lambda: (
                    len(view.judgement.findings)
                    + len(state.once(not_logged_lines, view))
                    + min(len(run.problems), SHOWN_PROBLEMS)
                    + (FAULT_LINES if view.fault is not None else 0)
                ),
            ),
            results=_size("results", lambda: summary_height(state, view)),
            charts=_size("own", lambda: small_chart_count(run) if stage_metric(run) or "lr" in run.series else 0),
            excerpt=_size("excerpt", lambda: len(failure_excerpt(view))),
        )


def _size(pane: str, count: Callable[[], int]) -> int:
    """Return how much a pane has to show; where that raises, enough for the pane to be seen, which then says so."""
    try:
        return count()
    except Exception as error:  # recorded; drawing the pane meets the same error and shows it
        record_fault("pane", pane, error)
        return FAULT_LINES
