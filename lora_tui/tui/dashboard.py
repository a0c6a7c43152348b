"""The container of all panes, laid out by :func:`lora_tui.tui.layout.plan`."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from lora_tui.tui.layout import Rect, Wants, plan
from lora_tui.tui.pages.page import PagePane
from lora_tui.tui.panes.bars import FooterPane, LinePane, TopPane
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.cards import CardsPane, cards_of
from lora_tui.tui.panes.charts import LossPane, OwnPane, RatePane, own_metric, small_charts
from lora_tui.tui.panes.excerpt import ExcerptPane, excerpt_of
from lora_tui.tui.panes.findings import SHOWN_PROBLEMS, FindingsPane, quiet_lines
from lora_tui.tui.panes.header import HeadPane
from lora_tui.tui.panes.results import ResultsPane, wanted
from lora_tui.tui.panes.run_list import RunListPane
from lora_tui.tui.state import Desk


class _Planned(Layout):
    name = "planned"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        places = parent.places(size) if isinstance(parent, Cockpit) else {}
        out: ArrangeResult = []
        for child in children:
            rect = places.get(child.id or "")
            if rect is None:
                continue
            over = 1 if child.id == "runs" else 0
            out.append(WidgetPlacement(Region(*rect), NULL_OFFSET, NULL_SPACING, child, over))
        return out


CHARTS = ("loss", "lr", "own")


class Cockpit(Widget):
    """All panes; which of them are seen, and where, depends on the size and on what there is to show."""

    DEFAULT_CSS = "Cockpit { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(id="cockpit")
        self.desk = desk
        self._layout = _Planned()
        self._wants: Wants | None = None

    @property
    def layout(self) -> Layout:
        return self._layout

    def compose(self) -> ComposeResult:
        desk = self.desk
        yield LossPane(desk, "loss")
        yield HeadPane(desk, "head")
        yield CardsPane(desk, "cards")
        yield FindingsPane(desk, "findings")
        yield RatePane(desk, "lr")
        yield OwnPane(desk, "own")
        yield ResultsPane(desk, "results")
        yield ExcerptPane(desk, "excerpt")
        yield PagePane(desk, "page")
        yield TopPane(desk, "top")
        yield FooterPane(desk, "footer")
        yield LinePane(desk, "line")
        yield RunListPane(desk, "runs")

    @property
    def panes(self) -> Iterator[Pane]:
        """The panes that have a place now."""
        places = self.places(self.size)
        for child in self.children:
            if isinstance(child, Pane) and child.id in places:
                yield child

    def places(self, size: Size) -> dict[str, Rect]:
        """Where every pane goes at this size."""
        if self._wants is None:
            self._wants = self.wants()
        places = plan(size.width, size.height, self._wants)
        self.desk.places = frozenset(places)
        return places

    def renew(self, charts: bool) -> None:
        """Bring the panes up to date; ``charts`` says whether curves are drawn anew too."""
        wants = self.wants()
        if wants != self._wants:
            self._wants = wants
            # A child's wish makes the toolkit forget its parent's arrangement; the parent's own does not.
            # A theme is told before the first child is mounted; the first arrangement then knows the wish anyway.
            for child in self.children[:1]:
                child.refresh(repaint=False, layout=True)
        if charts:
            self.desk.chart_stamp += 1
        places = self.places(self.size)
        for pane in self.children:
            if isinstance(pane, Pane):
                pane.renew() if pane.id in places else pane.forget()

    def wants(self) -> Wants:
        """What there is to show now."""
        desk = self.desk
        view = desk.current()
        if view is None:
            return Wants(page=desk.page)
        run = view.run
        return Wants(
            runs=len(desk.runs),
            page=desk.page,
            drawer=desk.drawer,
            cards=len(desk.once(cards_of, view)),
            findings=len(view.judgement.findings)
            + len(desk.once(quiet_lines, view))
            + min(len(run.problems), SHOWN_PROBLEMS),
            results=wanted(desk, view),
            charts=small_charts(run) if own_metric(run) or "lr" in run.series else 0,
            excerpt=len(excerpt_of(view)),
        )
