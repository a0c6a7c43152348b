"""Render a report as one HTML file: it makes no request, is light and dark and printable; charts show their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import Literal

from lora_tui.i18n import Words
from lora_tui.report.document import (
    Chart,
    Fact,
    FindingEntry,
    Line,
    MetricEntry,
    Remark,
    Report,
    ResultsSection,
    StepTable,
)
from lora_tui.report.render.html_page import Html, esc, join, page, table, tag
from lora_tui.report.render.svg import Curve, Mark, figure

_CARD_CLASS = {"critical": "critical", "warning": "warning", "info": "info", "good": "well"}
_BADGE_CLASS = {"critical": "poor", "warning": "fair", "info": "none", "good": "good"}
_LINE_MARKS = frozenset({"epoch", "resume", "best"})
"""Kinds of marks that are drawn as a line. A line for each checkpoint would hatch the chart."""
_MAX_EPOCH_MARKS = 24
"""With more epochs than this, none of them is marked."""


def render(report: Report, words: Words) -> str:
    """Return the whole file."""
    parts = [*_top(report), *_findings(report, words), *_charts(report, words), *_sections(report)]
    parts += _results(report, words)
    if report.metrics_explained:
        parts += [_heading(words.t("report.section.explained")), _metrics(report.metrics_explained, words)]
        parts += [_sentences(report.metrics_summary)]
    if report.step_table is not None:
        parts += _steps(report.step_table)
    parts += _options(report, words)
    footer = words.t("html.made", time=report.generated_text)
    return page(report.heading, [part for part in parts if part], report.language, footer)


def rich(text: str) -> Html:
    """Return a sentence as markup, in which backticks mark options and commands."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        # Without pairs, the backticks are ordinary characters.
        return esc(text)
    return join(tag("code", esc(piece, None)) if at % 2 else esc(piece, None) for at, piece in enumerate(pieces))


def _heading(text: str) -> Html:
    return tag("h2", esc(text))


def _sentences(texts: Iterable[str]) -> Html:
    items = [tag("li", rich(text)) for text in texts]
    return tag("ul", join(items)) if items else Html("")


def _badge(mark: str, level: str | None, text: str) -> Html:
    return tag("span", esc(f"{mark} {text}".strip()), level or "none")


# -- the top -----------------------------------------------------------------------------------------------------


def _top(report: Report) -> list[Html]:
    run = report.run
    what = " · ".join(part for part in ((run.stage or "").upper(), run.method, run.model) if part)
    parts = [tag("h1", esc(report.heading)), tag("p", esc(what), "muted") if what else Html("")]
    parts.append(tag("p", esc(report.about), "faint"))
    if report.progress_text:
        parts.append(tag("div", rich(report.progress_text), "card info"))
    parts.append(tag("p", rich(report.conclusion), "lead"))
    tiles = [_tile(remark) for remark in report.assessment if remark.kind == "rating"]
    if tiles:
        parts.append(tag("div", join(tiles), "tiles"))
    return parts


def _tile(remark: Remark) -> Html:
    head = tag("div", esc(remark.head), "head")
    return tag(
        "div", join([head, tag("div", join([_badge(remark.mark, remark.level, ""), rich(remark.text)], " "))]), "card"
    )


def _findings(report: Report, words: Words) -> list[Html]:
    if not report.findings_explained:
        return []
    return [_heading(words.t("report.section.findings")), *(_finding(entry) for entry in report.findings_explained)]


def _finding(entry: FindingEntry) -> Html:
    head = join(
        [
            _badge(entry.mark, _BADGE_CLASS[entry.severity], ""),
            tag("b", esc(entry.name)),
            tag("span", esc(entry.severity_text), "muted"),
        ],
        " ",
    )
    body = [tag("div", head), tag("div", rich(entry.text))]
    if entry.advice:
        body.append(tag("div", rich(entry.advice), "muted"))
    css = "card" if entry.over else f"card {_CARD_CLASS[entry.severity]}"
    return tag("div", join(body), css)


# -- charts ------------------------------------------------------------------------------------------------------


def _charts(report: Report, words: Words) -> list[Html]:
    figures = [drawn for chart in report.charts if (drawn := _chart(chart))]
    return [_heading(words.t("report.section.charts")), *figures] if figures else []


def _chart(chart: Chart) -> Html:
    curves = [_curve(line, color) for color, line in enumerate(_ordered(chart.lines), 1)]
    epochs = [mark for mark in chart.marks if mark.kind == "epoch"]
    marks = [
        Mark(mark.step, mark.label)
        for mark in chart.marks
        if mark.kind in _LINE_MARKS and (mark.kind != "epoch" or len(epochs) <= _MAX_EPOCH_MARKS)
    ]
    title = f"{chart.title} ({chart.unit})" if chart.unit else chart.title
    return figure(title, curves, chart.x_label, marks=marks, x_max=chart.x_max)


def _ordered(lines: Sequence[Line]) -> list[Line]:
    """Put the smoothed curve before the raw one, so that it gets the first colour."""
    return sorted(lines, key=lambda line: line.style == "raw")


def _curve(line: Line, color: int) -> Curve:
    style: Literal["raw", "dots", "line"] = (
        "raw" if line.style == "raw" else "dots" if line.style == "points" else "line"
    )
    values = [nan if value is None else value for value in line.values]
    return Curve(line.label, line.steps, values, 1 if line.style == "raw" else color, style)


# -- facts -------------------------------------------------------------------------------------------------------


def _sections(report: Report) -> list[Html]:
    cards = [
        tag("div", join([tag("h3", esc(section.title)), table((), [_fact(fact) for fact in section.facts])]), "card")
        for section in report.sections
    ]
    return [tag("div", join(cards), "columns")] if cards else []


def _fact(fact: Fact) -> list[Html]:
    value = [tag("span", esc(fact.value), "num")]
    if fact.note:
        value.append(tag("div", rich(fact.note), "faint"))
    return [tag("span", esc(fact.label), "muted"), join(value)]


def _results(report: Report, words: Words) -> list[Html]:
    parts: list[Html] = []
    for section in report.results_explained:
        parts += [_heading(section.title), tag("p", esc(_origin(section)), "faint"), _sentences(section.notes)]
        parts += [_metrics(section.metrics, words), _sentences(section.summary)]
    return parts


def _origin(section: ResultsSection) -> str:
    return f"{section.run} · {section.file}" if section.run else section.file


def _metrics(entries: Sequence[MetricEntry], words: Words) -> Html:
    """Return a table with a row for each metric: name and meaning, value, verdict and its reason."""
    head = [esc(words.t(f"html.{name}")) for name in ("metric", "value", "verdict")]
    return table(head, [_metric(entry) for entry in entries], numbers={1})


def _metric(entry: MetricEntry) -> list[Html]:
    name = [tag("b", esc(entry.label))]
    if entry.label != entry.name:
        name.append(tag("span", esc(entry.name), "faint"))
    meaning = tag("div", rich(entry.meaning), "muted") if entry.meaning else Html("")
    value = esc(f"{entry.shown} {entry.unit}" if entry.unit else entry.shown)
    verdict = tag("div", join([_badge(entry.mark, entry.level, entry.level_text or ""), rich(entry.verdict)], " "))
    analysis = tag("div", rich(entry.analysis), "muted") if entry.analysis else Html("")
    return [join([tag("div", join(name, " ")), meaning]), value, join([verdict, analysis])]


def _steps(steps: StepTable) -> list[Html]:
    with_eval = steps.eval_label is not None
    head = [esc(steps.step_label), esc(steps.label), *([esc(steps.eval_label)] if steps.eval_label is not None else [])]
    rows = [
        [esc(str(cell.step)), esc(cell.shown), *([esc(cell.eval_shown or "")] if with_eval else [])]
        for cell in steps.cells
    ]
    note = tag("p", rich(steps.note), "faint") if steps.note else Html("")
    return [_heading(steps.title), tag("div", table(head, rows, numbers={0, 1, 2}), "narrow"), note]


def _options(report: Report, words: Words) -> list[Html]:
    if not report.options:
        return []
    head = [esc(words.t(f"html.{name}")) for name in ("option", "value", "source")]
    rows = [
        [tag("code", esc(option.name)), esc(option.value), tag("span", esc(option.source), "faint")]
        for option in report.options
    ]
    return [_heading(words.t("report.section.options")), table(head, rows)]
