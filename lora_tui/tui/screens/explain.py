"""What a card or a finding means, and why it is rated so."""

from __future__ import annotations

from lora_tui.tui.desk import Desk
from lora_tui.tui.lines import Line, wrap
from lora_tui.tui.screens.modal import TextScreen
from lora_tui.tui.widgets.cards import cards_of
from lora_tui.tui.widgets.marks import finding_span, rating_span, shown

WIDTH = 66


def explain(desk: Desk) -> TextScreen | None:
    """A screen for the card or finding in focus."""
    view = desk.current()
    if view is None:
        return None
    if desk.focus == "findings":
        findings = view.judgement.findings
        if desk.finding >= len(findings):
            return None
        finding = findings[desk.finding]
        mark, role = finding_span(finding)
        lines: list[Line] = [[], [(mark + " ", role), (desk.words.finding_name(finding), "text|bold")], []]
        lines += _paragraph(desk.words.finding(finding)[0], "text")
        lines += [[], *_paragraph(desk.words.finding(finding)[1], "muted"), []]
        return TextScreen(desk, desk.words.t("pane.findings"), lines, WIDTH)
    cards = cards_of(desk, view)
    if desk.card >= len(cards):
        return None
    card = cards[desk.card]
    lines = [[], [(" " + card.value, "value")], [], *_paragraph(desk.words.meaning(card.metric), "text"), []]
    if card.rating is not None:
        mark, role = rating_span(card.rating)
        lines += [[(" " + mark + " ", role), (desk.words.rating(card.rating), "text|bold")]]
        lines += [*_paragraph(desk.words.explanation(card.rating), "muted"), []]
    series = card.series
    if series is not None and series.finite:
        facts = (("chart.min", series.min), ("chart.max", series.max), ("chart.last", series.last))
        line: Line = []
        for key, value in facts:
            line += [(f" {desk.words.t(key)} ", "muted"), (shown(card.metric, value) + "  ", "text")]
        lines += [line, []]
    return TextScreen(desk, card.title, lines, WIDTH)


def _paragraph(text: str, role: str) -> list[Line]:
    return [[(" " + part, role)] for part in wrap(text, WIDTH - 6)] if text else []
