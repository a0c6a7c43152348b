"""Explain metrics and findings: what they mean, how they are computed and rated, what usually helps.

The app and ``lora-tui explain`` show these pages. A page is a list of lines of styled text (see
:mod:`lora_tui.text.spans`). Widths are terminal cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from lora_tui.analysis import METRICS, Context, Finding, Judgement, Rating
from lora_tui.analysis.findings.find import CODES
from lora_tui.analysis.metrics import Metric, metric
from lora_tui.analysis.rating_rules import Rule
from lora_tui.analysis.ratings.scale import Scale, scale_of
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series
from lora_tui.text.cells import cell_width, clip, fit, wrap
from lora_tui.text.spans import Line
from lora_tui.wording.values import (
    LEVEL_SYMBOLS,
    SEVERITY_SYMBOLS,
    append_unit,
    badge,
    format_metric,
    format_share,
    format_with_unit,
)

SPLIT_PREFIXES = ("predict_", "eval_", "train_")
ALIASES = {
    "learning_rate": "lr", "ppl": "perplexity", "tokens": "total_tokens", "bleu": "bleu-4", "bleu4": "bleu-4",
    "rouge1": "rouge-1", "rouge2": "rouge-2", "rougel": "rouge-l", "rouge": "rouge-l", "tokens_per_s": "throughput",
    "margins": "rewards/margins", "accuracies": "rewards/accuracies", "preparation": "model_preparation_time",
}  # fmt: skip
"""Other names that users type -> the names used here."""


class MetricInRun(NamedTuple):
    """One metric of one run."""

    run: Run
    rating: Rating | None
    series: Series | None
    value: float | None
    """The last logged value, else the value that was rated."""


# -- topics ------------------------------------------------------------------------------------------------------------


def metric_topics() -> dict[str, str]:
    """Return topic -> one metric of that topic.

    Metrics that differ only in their split (eval, predict, train) share a topic.
    """
    out: dict[str, str] = {}
    for name, one in METRICS.items():
        out.setdefault(one.topic or name, name)
    return out


def find_topic(name: str) -> str | None:
    """Return the metric, topic or finding code that a typed name means, or ``None``."""
    plain = name.strip().lower().replace(" ", "_")
    topics = metric_topics()
    for wanted in (name.strip(), plain, ALIASES.get(plain, ""), plain.replace("_", "-")):
        if wanted in CODES or wanted in METRICS or wanted in topics:
            return wanted
    return None


def closest_topic(name: str) -> str | None:
    """Return the known name that is most similar to an unknown one, or ``None`` if none is similar."""
    known = [*metric_topics(), *METRICS, *CODES, *ALIASES]
    found = get_close_matches(name.strip().lower().replace(" ", "_"), known, 1, 0.6)
    return found[0] if found else None


def metric_in_run(topic: str, run: Run, judgement: Judgement) -> MetricInRun | None:
    """Return the metric of a topic in a run, or ``None`` if the run has none."""
    for name in (topic, *(split + topic for split in SPLIT_PREFIXES)):
        series, rating = run.series.get(name), judgement.ratings.get(name)
        if series is not None or rating is not None:
            value = series.last if series is not None else None
            return MetricInRun(run, rating, series, value if value is not None or rating is None else rating.value)
    return None


# -- pages -------------------------------------------------------------------------------------------------------------


def explain_metric(
    name: str, words: Words, context: Context, width: int, case: MetricInRun | None = None
) -> list[Line]:
    """Return the page of a metric; with ``case``, it also says why the metric is rated so in that run."""
    if case is not None and case.rating is not None:
        name = case.rating.metric
    topics = metric_topics()
    one = metric(name if name in METRICS else topics.get(name, name))
    out = _head(one, name, words)
    if one.known:
        out += _section(words, "what", words.t(one.meaning), width)
    if case is not None:
        out += _in_run(one, case, words, context, width)
    out += _section(words, "how", _about(one, "how", words), width)
    if case is None or case.rating is None:
        out += _rules(one, words, context, width)
    out += _section(words, "helps", _about(one, "helps", words), width)
    return out[:-1]


def explain_finding(code: str, words: Words, width: int, finding: Finding | None = None) -> list[Line]:
    """Return the page of a finding code; with ``finding``, it also says what was found in a run."""
    name = words.finding_name(finding) if finding is not None else words.t(f"finding.{code}.name")
    mark: Line = []
    if finding is not None:
        role = finding.severity
        mark = [
            (SEVERITY_SYMBOLS[finding.severity] + " ", role),
            (words.t(f"severity.{finding.severity}") + "  ", role),
        ]
    out: list[Line] = [[*mark, (name, "text|bold"), ("  " + code, "faint")], []]
    if finding is not None:
        sentence, advice = words.finding(finding)
        out += _paragraph(sentence, width, "text")
        out += _paragraph(advice, width, "text")
        if finding.over and finding.step is not None and finding.end_step is not None:
            out += _paragraph(words.t("explain.over", step=finding.step, end=finding.end_step), width, "muted")
        out.append([])
    for part in ("what", "how", "helps"):
        heading = part if part != "how" else "found"
        out += _section(words, heading, words.t(f"explain.{code}.{part}"), width)
    return out[:-1]


def overview(words: Words, width: int) -> list[Line]:
    """Return the page that lists every topic with its name."""
    out: list[Line] = _paragraph(words.t("explain.overview"), width, "muted")
    topics = metric_topics()
    groups: dict[str, list[tuple[str, str]]] = {}
    for topic, name in topics.items():
        groups.setdefault(METRICS[name].group, []).append((topic, words.metric(name)))
    groups["findings"] = [(code, words.t(f"finding.{code}.name")) for code in CODES]
    column = max(cell_width(key) for rows in groups.values() for key, _ in rows) + 2
    for group, rows in groups.items():
        out += [[], [(words.t(f"explain.group.{group}"), "title|bold")]]
        out += [
            [("  " + key + " " * (column - cell_width(key)), "key"), (clip(label, width - column - 2), "text")]
            for key, label in rows
        ]
    return out


def text(lines: Iterable[Line]) -> str:
    """Return the text of a page without roles."""
    return "\n".join("".join(part for part, _ in line).rstrip() for line in lines)


# -- parts -------------------------------------------------------------------------------------------------------------


def _head(one: Metric, name: str, words: Words) -> list[Line]:
    label = words.t(one.label) if one.known else words.metric(name)
    notes = [name] if name != label else []
    if one.unit:
        notes.append(words.t(f"unit.{one.unit}"))
    if one.direction != "none":
        notes.append(words.t(f"explain.{one.direction}"))
    return [[(label, "text|bold"), ("  " + " · ".join(notes), "faint")], []]


def _section(words: Words, heading: str, body: str, width: int) -> list[Line]:
    if not body:
        return []
    return [[(words.t(f"explain.heading.{heading}"), "title|bold")], *_paragraph(body, width, "text"), []]


def _paragraph(body: str, width: int, role: str, indent: int = 0) -> list[Line]:
    return [[(" " * indent + part, role)] for part in wrap(body, width - indent)] if body else []


def _gap(words: Words) -> str:
    """Return the space after a punctuation mark inside a sentence; Chinese has none."""
    return " " if words.lang == "en" else ""


def _about(one: Metric, part: str, words: Words) -> str:
    """Return the text on a metric's topic, or that of the base metric (without ``eval_`` or ``/chosen``)."""
    topic = one.topic or one.name
    bare = topic.removeprefix("eval_")
    for name in (topic, bare, bare.partition("/")[0]):
        key = f"explain.{name}.{part}"
        if words.has(key):
            return words.t(key)
    return ""


def _in_run(one: Metric, case: MetricInRun, words: Words, context: Context, width: int) -> list[Line]:
    out: list[Line] = [[(words.t("explain.heading.run"), "title|bold")]]
    rating = case.rating
    if rating is None:
        if case.value is not None:
            out.append(
                [(format_with_unit(words, one.name, case.value) + "  ", "value"), (words.t("explain.unrated"), "muted")]
            )
    else:
        role = f"rating-{rating.level or 'none'}"
        out.append(
            [
                (format_with_unit(words, rating.metric, rating.value) + "  ", "value"),
                (badge(rating) + " " + words.level(rating), role),
                (words.t("explain.colon") + _gap(words) + words.rating(rating), "text"),
            ]
        )
        rule = context.rule(rating.rule)
        if rule is not None:
            scale = scale_of(rule, rating.metric, rating)
            if scale is not None:
                out += [[], *draw_scale(scale, rating.metric, words, width), []]
        bare = replace(rating, reservations=(), confidence="firm", own=False)
        out += _paragraph(words.explanation(bare), width, "text")
        grounds = [words.t(f"basis.{rating.basis}"), words.t(f"confidence.{rating.confidence}")]
        out += _paragraph(" · ".join(grounds), width, "muted")
        if rule is not None and (rating.own or rating.basis != "orientation" or rule.sources != ("convention",)):
            out += _sources(rule, rating.own, words, width)
        for code in rating.reservations:
            lines = _paragraph(words.reservation(code), width - 2, "text", 2)
            lines[0] = [("! ", "rating-fair"), (lines[0][0][0].lstrip(), "text")]
            out += lines
        if rule is not None and scale_of(rule, rating.metric, rating) is None:
            out += _by_size(rating, case.run, words, context, width)
    out += _series_line(case.series, one.name, words)
    return [*out, []]


def _by_size(rating: Rating, run: Run, words: Words, context: Context, width: int) -> list[Line]:
    """Return the scale of the value itself, for a metric that is rated by its trend or against other runs.

    Return an empty list if no rule has thresholds for the metric.
    """
    splits = [split for split in SPLIT_PREFIXES[::2] if rating.metric.startswith(split)]
    topic = rating.metric.removeprefix(splits[0]) if splits else ""
    names = {rating.metric, topic, rating.metric.removeprefix("eval_")}
    with_thresholds = (
        rule for rule in context.rules
        if rule.thresholds is not None and names & set(rule.metrics) and rule.applies(run.stage or "sft", run.producer)
        and rule.basis in ("rule", "orientation")
    )  # fmt: skip
    rule = next(with_thresholds, None)
    scale = scale_of(rule, rating.metric, replace(rating, rule=rule.code)) if rule is not None else None
    if scale is None:
        return []
    return [
        [],
        *_paragraph(words.t("explain.by_size"), width, "muted"),
        *draw_scale(scale, rating.metric, words, width),
    ]


def _series_line(series: Series | None, name: str, words: Words) -> list[Line]:
    if series is None or series.finite < 2:
        return []
    line: Line = []
    values = (
        ("explain.series.first", next(value for value in series.values if math.isfinite(value))),
        ("chart.min", series.min), ("chart.max", series.max), ("chart.last", series.tail(1)[0]),
    )  # fmt: skip
    for key, value in values:
        line += [(words.t(key) + " ", "muted"), (format_metric(words, name, value) + "   ", "text")]
    return [line]


def _sources(rule: Rule, own: bool, words: Words, width: int) -> list[Line]:
    codes = ("yours",) if own else rule.sources
    names = (words.t("explain.and") + _gap(words)).join(words.t(f"source.{code}") for code in codes)
    return _paragraph(words.t("explain.source", names=names), width, "muted")


def _rules(one: Metric, words: Words, context: Context, width: int) -> list[Line]:
    """Return every rule that can rate the metric."""
    topic = one.topic or one.name
    names = {one.name, topic, one.name.removeprefix("eval_"), topic.removeprefix("eval_")}
    rules = [rule for rule in context.rules if names & set(rule.metrics)]
    # A rule that only says why there is no level is shown only if there is no other rule.
    rules = [rule for rule in rules if set(rule.words) != {"none"}] or rules[:1]
    out: list[Line] = []
    for rule in rules:
        if len(rules) > 1:
            stages = words.t("list.separator").join(sorted(rule.stages)) if rule.stages is not None else ""
            out.append([(stages or words.t("explain.any_stage"), "muted|bold")])
        scale = scale_of(rule, topic)
        if scale is not None:
            out += draw_scale(scale, topic, words, width)
        out += _paragraph(words.t(f"rule.{rule.code}"), width, "text")
        if rule.code == "lr_peak":
            out += _ranges(words, context)
        own = rule.own or (rule.code == "lr_peak" and bool(context.own_lr))
        out += [*_sources(rule, own, words, width), []]
    return [[(words.t("explain.heading.rated"), "title|bold")], *out] if out else []


def _ranges(words: Words, context: Context) -> Iterator[Line]:
    """Yield the usual peak learning rates."""
    column = max(cell_width(words.t(f"explain.lr.{side}")) for side in ("adapter", "full"))
    for family, sides in context.lr_ranges.items():
        yield [("  " + words.t(f"explain.lr.{family}"), "muted")]
        for side, (low, high) in sides.items():
            bounds = f"{words.number(low, 'lr')} – {words.number(high, 'lr')}"
            yield [("    " + fit(words.t(f"explain.lr.{side}"), column) + "  ", "muted"), (bounds, "text")]


# -- scale -------------------------------------------------------------------------------------------------------------


def draw_scale(scale: Scale, name: str, words: Words, width: int) -> list[Line]:
    """Draw a scale: a mark for the value above a bar with a zone for each level, then the bounds and the levels."""
    count = len(scale.zones)
    cells = max(6, min(width, 72) // count)
    roles = [f"rating-{level or 'none'}" for level in scale.zones]
    bar: Line = [
        ("━" * (cells if place == count - 1 else cells - 1) + ("" if place == count - 1 else "┷"), role)
        for place, role in enumerate(roles)
    ]
    bounds = [_bound(bound, scale, name, words) for bound in scale.bounds]
    out: list[Line] = []
    if scale.at is not None and scale.value is not None:
        # The mark never stands on the tick between two zones.
        zone = min(int(scale.at), count - 1)
        at = zone * cells + min(int((scale.at - zone) * cells), cells - 2)
        value = _bound(scale.value, scale, name, words)
        room = count * cells - at - 2
        if cell_width(value) <= room:
            out.append([(" " * at, "text"), ("▼ ", "value"), (value, "value")])
        else:
            out.append([(" " * max(0, at - cell_width(value) - 1) + value + " ▼", "value")])
    out += [bar, _placed([((place + 1) * cells - 1, bound) for place, bound in enumerate(bounds)], "muted")]
    names: Line = []
    for level, role in zip(scale.zones, roles, strict=True):
        label = f"{LEVEL_SYMBOLS[level]} {words.t(f'level.{level}')}" if level is not None else ""
        label = label if cell_width(label) < cells else label[:1]
        left = max(0, (cells - cell_width(label)) // 2)
        names.append((" " * left + label + " " * max(0, cells - left - cell_width(label)), role))
    out.append(names)
    if scale.unit:
        out.append([(words.t(f"explain.scale.{scale.unit}"), "faint")])
    return out


def _bound(value: float, scale: Scale, name: str, words: Words) -> str:
    if scale.unit in ("share", "groups"):
        return format_share(words, value)
    if scale.unit == "percent":
        return append_unit(words, f"{value:.4g}", "%")
    return words.number(value, "lr" if name == "lr" else "num")


def _placed(texts: list[tuple[int, str]], role: str) -> Line:
    """Return texts in one line, each centred at its cell, moved to the right where two would touch."""
    out = ""
    for middle, body in texts:
        begin = max(middle - cell_width(body) // 2, cell_width(out) + (1 if out else 0))
        out += " " * (begin - cell_width(out)) + body
    return [(out, role)]
