"""Render a comparison as one HTML file: it makes no request, is light and dark and printable; curves share a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lora_tui.analysis.comparison.compare import Comparison, epoch_of
from lora_tui.i18n import Words
from lora_tui.report.comparison import ComparisonReport, MeasureEntry, NoteEntry, RunEntry, SettingEntry, ValueEntry
from lora_tui.report.render.compare_text import (
    MAIN_MEASURES,
    MAX_COLUMNS,
    findings_of,
    job_kind,
    label,
    progress,
    shown_measures,
)
from lora_tui.report.render.html_page import Html, esc, join, page, table, tag
from lora_tui.report.render.svg import Curve, figure

BEST, SHARED = "★", "="
"""Marks behind a value: the best, and one of several that share the first place."""


def render(report: ComparisonReport, found: Comparison, words: Words, now: float) -> str:
    """Return the whole file, made at the Unix time ``now``."""
    title = words.t("compare.title", n=len(report.runs))
    legend = tag("p", esc(words.t("compare.legend", mark=BEST, same=SHARED, stale="!")), "muted")
    body = [
        tag("h1", esc(title)),
        tag("p", esc(words.t("list.separator").join(run.short for run in report.runs)), "muted"),
        tag("div", join(tag("p", esc(sentence), "lead") for sentence in report.verdict), "card"),
        *_section(words, "runs", _runs(report.runs, words)),
        *_section(words, "measures", _measures(report, words), legend),
        *_section(words, "notes", *_notes(report.notes, words)),
        *_section(words, "charts", *_charts(report, found, words)),
        *_section(words, "settings", *_settings(report, words)),
        tag("p", esc(report.caution), "muted"),
    ]
    time = words.clock(now, 0.0)
    return page(title, body, report.language, words.t("compare.made", time=time))


def _section(words: Words, code: str, *parts: Html) -> Iterator[Html]:
    shown = [part for part in parts if part]
    if shown:
        yield tag("h2", esc(words.t(f"compare.head.{code}")))
        yield from shown


def _name(run: RunEntry) -> Html:
    long = len(run.short) > 40
    return tag("span", Html(f"{tag('b', esc(run.letter))} {esc(run.short)}"), "" if long else "keep")


def _runs(runs: Sequence[RunEntry], words: Words) -> Html:
    head = [esc(words.t(f"compare.column.{name}")) for name in ("run", "state", "step", "what", "data", "findings")]
    separator = words.t("list.separator")
    rows = [
        [_name(run), esc(run.state_text), esc(progress(run)), esc(job_kind(run)), esc(run.data or ""),
         tag("span", esc(separator.join(findings_of(run))), "fair")]
        for run in runs
    ]  # fmt: skip
    return table(head, rows, {2})


def _value(measure: MeasureEntry, run: RunEntry, value: ValueEntry | None) -> Html:
    if value is None:
        return esc("–")
    if value.stale:
        return tag("span", esc(f"{value.shown} !"), "faint")
    if run.name not in measure.best:
        return esc(value.shown)
    best = measure.outcome == "best"
    return tag("span", esc(f"{value.shown} {BEST if best else SHARED}"), "win good" if best else "")


def _measures(report: ComparisonReport, words: Words) -> Html:
    measures, runs = shown_measures(report), report.runs
    if len(runs) <= MAX_COLUMNS:
        head = [Html(""), *(_name(run) for run in runs), Html("")]
        rows = [
            [esc(label(measure, words)),
             *(_value(measure, run, value) for run, value in zip(runs, measure.values, strict=True)),
             tag("span", esc(measure.outcome_text), "muted")]
            for measure in measures
        ]  # fmt: skip
        return table(head, rows, range(1, len(runs) + 1))
    measures = [measure for measure in measures if measure.code in MAIN_MEASURES]
    order = {name: at for at, name in enumerate(report.order)}
    places = sorted(range(len(runs)), key=lambda at: order[runs[at].name])
    head = [esc(words.t("compare.column.run")), *(esc(label(measure, words)) for measure in measures)]
    rows = [
        [_name(runs[at]), *(_value(measure, runs[at], measure.values[at]) for measure in measures)] for at in places
    ]
    return table(head, rows, range(1, len(measures) + 1))


def _notes(notes: Sequence[NoteEntry], words: Words) -> Iterator[Html]:
    if not notes:
        yield tag("p", esc(words.t("compare.fair")))
    for note in notes:
        yield tag("div", _rich(note.text), "card warning" if note.unfair else "card info")


def _rich(text: str) -> Html:
    """Return a sentence as markup; one pair of backticks, which no text from a file adds to it, marks an option."""
    pieces = text.split("`")
    if len(pieces) != 3:
        return esc(text)
    return join((esc(pieces[0]), tag("code", esc(pieces[1])), esc(pieces[2])))


def _settings(report: ComparisonReport, words: Words) -> Iterator[Html]:
    weighty = [item for item in report.settings if item.kind != "idle"]
    idle = [item for item in report.settings if item.kind == "idle"]
    yield _options(report, words, weighty) if weighty else tag("p", esc(words.t("compare.no_settings")))
    if report.partly_known:
        options = words.t("list.separator").join(report.partly_known)
        yield tag("p", esc(words.t("compare.partly", options=options)), "muted")
    if idle:
        yield tag("h3", esc(words.t("compare.head.idle")))
        yield _options(report, words, idle)


def _options(report: ComparisonReport, words: Words, items: Sequence[SettingEntry]) -> Html:
    unknown = words.t("compare.unknown")
    if len(report.runs) <= MAX_COLUMNS:
        head = [esc(words.t("compare.column.option")), *(_name(run) for run in report.runs)]
        rows = [[_option(item, words), *(_setting(text, unknown) for text in item.shown)] for item in items]
        return table(head, rows)
    head = [esc(words.t("compare.column.run")), *(_option(item, words) for item in items)]
    rows = [[_name(run), *(_setting(item.shown[at], unknown) for item in items)] for at, run in enumerate(report.runs)]
    return table(head, rows)


def _option(item: SettingEntry, words: Words) -> Html:
    name = tag("code", esc(item.option))
    if item.kind != "seed":
        return name
    return Html(f"{name} {tag('span', esc(words.t('compare.seed')), 'muted')}")


def _setting(text: str, unknown: str) -> Html:
    return tag("span", esc(text), "faint") if text == unknown else esc(text, 200)


def _charts(report: ComparisonReport, found: Comparison, words: Words) -> Iterator[Html]:
    """Yield a chart each of loss and eval loss of all runs, by step, and by epoch where that looks different."""
    scales = [epoch_of(side) for side in found.sides]
    known = [scale for scale in scales if scale is not None]
    apart = len(known) == len(scales) and max(known) > 1.01 * min(known)
    for name in ("loss", "eval_loss"):
        for by in ("step", "epoch") if apart else ("step",):
            curves: list[Curve] = []
            for at, side in enumerate(found.sides):
                series = side.run.series.get(name)
                if series is None:
                    continue
                scale = (scales[at] or 1.0) if by == "epoch" else 1.0
                values = series.smooth if name == "loss" else series.values
                run = report.runs[at]
                xs = series.steps if scale == 1.0 else [step * scale for step in series.steps]
                curves.append(Curve(run.short, xs, values, at + 1, "line" if name == "loss" else "dots", run.letter))
            if curves:
                yield figure(words.t(f"compare.chart.{name}.{by}"), curves, words.t(f"compare.axis.{by}"))
