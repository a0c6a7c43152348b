"""The container of all panes, laid out by :func:`lora_tui.tui.layout.place_panes`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rich.style import Style
from textual.app import ComposeResult
from textual.errors import NoWidget
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from lora_tui.i18n import Language, Words
from lora_tui.runs.run import Run
from lora_tui.settings.fault_log import record_fault
from lora_tui.settings.settings import GlyphSet
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
    """The layout of the dashboard: every pane where :func:`place_panes` puts it, the run list above the others."""

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
    """All panes; which of them are seen, and where, depends on the size and on what there is to show.

    What the user changes is reactive here and nowhere else: set it on the dashboard, and its watch method writes it
    into the :class:`AppState` that the panes read and requests a repaint. All changes of one key are one repaint.
    """

    DEFAULT_CSS = "Dashboard { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    selected: reactive[Run | None] = reactive(None, repaint=False, init=False)
    """The run that the panes show; None where there is none."""
    page: reactive[str] = reactive("overview", repaint=False, init=False)
    """The open page: ``overview``, ``results``, ``config`` or ``checkpoints``."""
    drawer: reactive[bool] = reactive(False, repaint=False, init=False)
    """Whether the run list lies over the other panes of a narrow terminal."""
    card: reactive[int] = reactive(0, repaint=False, init=False)
    """Index of the card that is chosen while the cards have the focus."""
    finding: reactive[int] = reactive(0, repaint=False, init=False)
    """Index of the finding that is chosen while the findings have the focus."""
    language: reactive[Language] = reactive("en", repaint=False, init=False)
    """The language of all words on the screen."""
    glyphs: reactive[GlyphSet] = reactive("unicode", repaint=False, init=False)
    """The characters that everything is drawn with."""
    note: reactive[str] = reactive("", repaint=False, init=False)
    """What just happened, said in the footer; empty for the keys."""

    def __init__(self, state: AppState) -> None:
        super().__init__(id="dashboard")
        self.state = state
        self.request_repaint: Callable[[bool], object] = bool
        """Called when something changed; the argument says whether curves are to be drawn anew too."""
        self.set_reactive(Dashboard.language, state.lang)
        self.set_reactive(Dashboard.glyphs, "ascii" if state.ascii else "unicode")
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

    # -- what the user changes -----------------------------------------------------------------------------------

    def start(self, run: Run | None) -> None:
        """Show a run on the first frame, without a repaint."""
        self.set_reactive(Dashboard.selected, run)
        self.state.selected = run

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._focus_moved, init=False)

    def _focus_moved(self, focused: Widget | None) -> None:
        """Draw the focus where Textual has it, but leave it where it was while the terminal's window has none."""
        if self.app.app_focus:
            self.state.focus = (focused.id or "") if focused is not None else "runs"
            self.request_repaint(False)

    def watch_selected(self, run: Run | None) -> None:
        self.state.selected = run
        self.card = self.finding = 0
        self.request_repaint(True)

    def watch_page(self, page: str) -> None:
        self.state.page = page
        self.request_repaint(False)

    def watch_drawer(self, drawer: bool) -> None:
        self.state.drawer = drawer
        self.request_repaint(False)

    def watch_card(self, card: int) -> None:
        self.state.card = card
        self.request_repaint(False)

    def watch_finding(self, finding: int) -> None:
        self.state.finding = finding
        self.request_repaint(False)

    def watch_language(self, language: Language) -> None:
        self.state.lang = language
        self.state.words = Words(language)
        self.request_repaint(True)

    def watch_glyphs(self, glyphs: GlyphSet) -> None:
        self.state.ascii = glyphs == "ascii"
        self.request_repaint(True)

    def watch_note(self, note: str) -> None:
        self.state.note = note
        self.request_repaint(False)

    # -- what is shown, and where --------------------------------------------------------------------------------

    def places(self, size: Size) -> dict[str, Rect]:
        """Return the place of every pane that is seen at this size."""
        if self._content is None:
            self._content = self.content()
        places = place_panes(size.width, size.height, self._content)
        self.state.places = frozenset(places)
        return places

    def renew(self, charts: bool) -> None:
        """Bring all panes up to date; ``charts`` says whether curves are drawn anew too."""
        content = self.content()
        if content != self._content:
            self._content = content
            # Textual forgets the arrangement when a child asks for a new layout, but not when its parent does.
            # A theme is announced before the first child is mounted; the first arrangement knows the content anyway.
            for child in self.children[:1]:
                child.refresh(repaint=False, layout=True)
        if charts:
            self.state.chart_stamp += 1
        places = self.places(self.size)
        for pane in self.children:
            if isinstance(pane, Pane):
                pane.renew() if pane.id in places else pane.forget()

    def content(self) -> Content:
        """Return what there is to show now, which decides the layout."""
        state = self.state
        view = state.current()
        if view is None:
            return Content(page=state.page)
        run = view.run
        return Content(
            runs=len(state.runs),
            page=state.page,
            drawer=state.drawer,
            cards=_size("cards", lambda: len(state.cached(cards_of, view))),
            findings=_size(
                "findings",
                lambda: (
                    len(view.judgement.findings)
                    + len(state.cached(not_logged_lines, view))
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
