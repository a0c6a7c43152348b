"""The screen that explains a card or a finding: what it means, and why it is rated so."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.settings.fault_log import record_fault
from lora_tui.tui.panes.cards import cards_of
from lora_tui.tui.screens.text_screen import TextScreen, fault_page
from lora_tui.tui.state import AppState
from lora_tui.tui.styled_lines import Line
from lora_tui.wording.explain import MetricInRun, explain_finding, explain_metric

WIDTH = 80
"""Width of the screen in cells where the terminal is wide enough."""
FRAME_CELLS = 6
"""Cells of the frame and of the space inside it, left and right added."""


class ExplainScreen(TextScreen):
    """A text that is wrapped again when the terminal changes its size."""

    def __init__(self, state: AppState, title: str, make: Callable[[int], list[Line]]) -> None:
        super().__init__(state, title, [], WIDTH)
        self.explanation = make
        """Function that returns the lines of the page at a width in cells."""

    def fit(self) -> None:
        width = max(20, min(WIDTH, self.app.size.width - 4) - FRAME_CELLS)
        try:
            self.pane.lines = [[(" ", "text"), *line] for line in ([], *self.explanation(width), [])]
        except Exception as error:  # an error in one screen must not end the app
            self.pane.lines = fault_page(self.pane.state, record_fault("screen", "explain", error), width)
        super().fit()


def explain(state: AppState) -> TextScreen | None:
    """Return the screen that explains the focused finding or the chosen card, or None if there is none."""
    view = state.current()
    if view is None:
        return None
    words, context = state.words, state.context(view.run)
    if state.focus == "findings":
        findings = view.judgement.findings
        if state.finding >= len(findings):
            return None
        finding = findings[state.finding]
        return ExplainScreen(
            state, words.t("pane.findings"), lambda width: explain_finding(finding.code, words, width, finding)
        )
    cards = cards_of(state, view)
    if state.card >= len(cards):
        return None
    card = cards[state.card]
    rating = card.rating if card.rating is not None else view.judgement.ratings.get(card.metric)
    series = card.series if card.series is not None else view.run.series.get(card.metric)
    value = series.last if series is not None and series.last is not None else rating.value if rating else None
    case = MetricInRun(view.run, rating, series, value)
    return ExplainScreen(state, card.title, lambda width: explain_metric(card.metric, words, context, width, case))
