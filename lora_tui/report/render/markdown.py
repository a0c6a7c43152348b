"""Render a report as Markdown: each metric with its meaning and its analysis, the results, charts as text, the rest.

The dialect is GitHub's (tables, fenced code). Text from files cannot create markup: no heading, list, emphasis, link or
address to follow, image or HTML, and no end of a table cell or of a code fence. All text passes one of three functions:
:func:`escape` for texts of the catalogues and for harmless values, :func:`data` for text from files (as a code span if
a part of it could be read as markup), :func:`prose` for sentences of the catalogues, whose backticks mark code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from lora_tui.i18n import Words
from lora_tui.report.document import (
    Fact,
    FindingEntry,
    LogSample,
    MetricEntry,
    Option,
    Remark,
    Report,
    ResultsSection,
    StepTable,
)
from lora_tui.report.render.text_chart import draw, legend
from lora_tui.text.sanitize import clean, escape_markdown
from lora_tui.wording.values import append_sentence, join_sentences, may_be_markup

_INSIDE_WORD = re.compile(r"(?<=[A-Za-z0-9])\\_(?=[A-Za-z0-9])")
_NO_PICTURE = re.compile(r"\\!(?!\\\[)")
_BULLET = re.compile(r"^(?=[-+](?:\s|$)|[-=]+$)")
_NUMBER = re.compile(r"^(\d+)(?=[.)](?:\s|$))")
_BARS = re.compile(r"(\\*)\|")
_TICKS = re.compile(r"`+")
_ROUGE = re.compile(r"(predict|eval)_rouge-[12l]")


# -- escaping ---------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Escape a text of one line so that it is shown as it is, also at the start of a line."""
    escaped = escape_markdown(clean(text, None).strip())
    # Undo needless escapes: an underscore between letters (option names) and a ! without a [ are no markup.
    escaped = _NO_PICTURE.sub("!", _INSIDE_WORD.sub("_", escaped))
    return _NUMBER.sub(r"\1\\", _BULLET.sub(r"\\", escaped))


def code(text: str) -> str:
    """Return a text as a code span, in which nothing is interpreted."""
    text = clean(text, None).strip() or " "
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def data(text: str) -> str:
    """Return a text from a file: escaped if it is harmless, else as a code span."""
    return code(text) if may_be_markup(text) else escape(text)


def prose(text: str) -> str:
    """Return a sentence of the catalogues: text in backticks becomes code, the rest is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return "".join(code(piece) if at % 2 else _middle(piece) for at, piece in enumerate(pieces))


def _middle(piece: str) -> str:
    """Escape a part of a line and keep its spaces at both ends."""
    left, right = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
    return left + escape(piece) + (right if piece.strip() else "")


def fence(text: str, language: str = "") -> list[str]:
    """Return lines as a block of code, fenced by more backticks than any of the lines has."""
    ticks = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    return [ticks + language, *(clean(line, None) for line in text.split("\n")), ticks, ""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Return a table of escaped cells; ``right`` are the columns to align right."""
    rule = ["---:" if at in right else "---" for at in range(len(head))]
    return [f"| {' | '.join(map(_cell, cells))} |" for cells in (head, rule, *rows)] + [""]


def _cell(text: str) -> str:
    """Escape bars: a bar ends a cell even inside code, unless an odd number of backslashes stands before it."""
    return _BARS.sub(lambda found: found[0] if len(found[1]) % 2 else found[1] + "\\|", text)


# -- the report -------------------------------------------------------------------------------------------------------


def render(report: Report, words: Words, *, ascii_only: bool = False) -> str:
    """Return the whole file."""
    return _Writer(report, words, ascii_only).text()


class _Writer:
    def __init__(self, report: Report, words: Words, ascii_only: bool) -> None:
        self.report = report
        self.words = words
        self.ascii_only = ascii_only

    def text(self) -> str:
        parts = [
            *self._top(), *self._findings(), *self._sections("forecast", "checkpoint"), *self._metrics(),
            *self._results(), *self._steps(), *self._charts(),
            *self._sections("training", "metrics", "config", "outcome"), *self._options(), *self._problems(),
        ]  # fmt: skip
        return "\n".join(parts).rstrip() + "\n"

    def t(self, key: str, **params: object) -> str:
        return self.words.t(f"report.{key}", **params)

    def labelled(self, label: str, value: str) -> str:
        return self.t("labelled", label=label, value=value).rstrip()

    def bold(self, key: str, value: str) -> str:
        return self.labelled(f"**{escape(self.t(key))}**", value)

    def h2(self, text: str) -> list[str]:
        return [f"## {escape(text)}", ""]

    def _top(self) -> list[str]:
        report = self.report
        out = [f"# {data(report.heading)}", ""]
        if report.progress_text:
            out += [f"> {escape(report.progress_text)}", ""]
        out += [f"**{escape(report.conclusion)}**", "", data(report.about), ""]
        if report.assessment and report.assessment[0].kind != "none":
            out += [*(_remark(remark) for remark in report.assessment if remark.kind == "rating"), ""]
        if report.samples:
            out += [self.labelled(escape(self.t("section.log")), ""), ""]
            out += fence("\n".join(_row(sample) for sample in report.samples), "json")
        return out

    def _findings(self) -> list[str]:
        if not self.report.findings_explained:
            return []
        return [*self.h2(self.t("section.findings")), *map(self._finding, self.report.findings_explained), ""]

    def _finding(self, entry: FindingEntry) -> str:
        over = f" ({escape(self.t('over'))})" if entry.over else ""
        head = f"**{escape(entry.mark)} {escape(entry.severity_text)} · {escape(entry.name)}**{over}"
        return f"- {self.labelled(head, prose(append_sentence(self.words, entry.text, entry.advice)))}"

    def _metrics(self) -> list[str]:
        report = self.report
        if not report.metrics_explained:
            return []
        out = self.h2(self.t("section.explained"))
        for at, entry in enumerate(report.metrics_explained, 1):
            out += self._entry(at, entry)
        out += ["---", "", *self.h2(self.t("section.summary"))]
        return [*out, *(f"- {prose(line)}" for line in report.metrics_summary), ""]

    def _entry(self, at: int, entry: MetricEntry) -> list[str]:
        named = data(entry.label)
        if entry.label != entry.name:
            named = self.t("with_note", text=named, note=data(entry.name))
        out = [f"### {at}. {named}", ""]
        if entry.meaning:
            out.append(f"- {self.bold('meaning', prose(entry.meaning))}")
        return [*out, f"- {self.bold('analysis', _analysis(entry))}", ""]

    def _results(self) -> list[str]:
        out = []
        for section in self.report.results_explained:
            out += ["---", "", *self.h2(section.title), *self._result_file(section)]
            for at, group in enumerate(_grouped(section.metrics), 1):
                out += self._entry(at, group[0]) if len(group) == 1 else self._rouge(at, group)
            if section.summary:
                out += [f"### {escape(self.t('section.results_summary'))}", ""]
                out += [*(f"- {prose(line)}" for line in section.summary), ""]
        return out

    def _result_file(self, section: ResultsSection) -> list[str]:
        own = self.report.results.get(section.split, {}) if section.run is None else {}
        values = {key: value for key, value in own.items() if key != "stale"}
        values = values or {entry.name: entry.value for entry in section.metrics if not entry.derived}
        origin = data(section.file)
        if section.run is not None:
            origin = self.t("with_note", text=origin, note=self.t("results.by", name=data(section.run)))
        shown = json.dumps(values, indent=4, sort_keys=True, ensure_ascii=False)
        notes = join_sentences(self.words, *(prose(note) for note in section.notes))
        return [self.labelled(origin, notes), "", *fence(shown, "json")]

    def _rouge(self, at: int, group: Sequence[MetricEntry]) -> list[str]:
        names = " / ".join(entry.label for entry in group)
        out = [f"### {at}. {escape(names)}", "", f"- {self.bold('meaning', '')}"]
        out += [f"  - {self.labelled(f'**{escape(entry.label)}**', prose(entry.meaning))}" for entry in group]
        out.append(f"- {self.bold('analysis', '')}")
        out += [f"  - {self.labelled(f'**{escape(entry.label)}**', _analysis(entry))}" for entry in group]
        return [*out, ""]

    def _steps(self) -> list[str]:
        steps = self.report.step_table
        if steps is None:
            return []
        return ["---", "", *self.h2(steps.title), *_step_table(steps), *([prose(steps.note), ""] if steps.note else [])]

    def _charts(self) -> list[str]:
        out = []
        for chart in self.report.charts:
            drawn = draw(chart, ascii_only=self.ascii_only)
            if drawn:
                unit = f" ({chart.unit})" if chart.unit else ""
                out += [f"### {escape(chart.title + unit)}", "", *fence(drawn)]
                out += [data(legend(chart, self.words, ascii_only=self.ascii_only)), ""]
                marks = [mark.label for mark in chart.marks if mark.kind in ("resume", "nan")]
                if marks:
                    out += [data(self.words.t("list.separator").join(marks[:10])), ""]
        return [*self.h2(self.t("section.charts")), *out] if out else []

    def _sections(self, *codes: str) -> list[str]:
        out = []
        for section in [section for code in codes if (section := self.report.section(code)) is not None]:
            noted = any(fact.note for fact in section.facts)
            sourced = any(fact.source for fact in section.facts)
            head = [self.t("md.item"), self.t("md.value")]
            head += [self.t("md.note")] * noted + [self.t("md.source")] * sourced
            rows = [_fact(fact, noted, sourced) for fact in section.facts]
            out += [*self.h2(section.title), *table([escape(name) for name in head], rows)]
        return out

    def _options(self) -> list[str]:
        """List the options that matter most; the others, mostly defaults, are in the HTML and JSON forms."""
        options = [option for option in self.report.options if option.major]
        if not options:
            return []
        head = [escape(self.t(f"md.{name}")) for name in ("option", "value", "source")]
        rest = len(self.report.options) - len(options)
        out = [*self.h2(self.t("section.options")), *table(head, [_option(option) for option in options])]
        return [*out, prose(self.words.n("report.md.rest", rest)), ""] if rest else out

    def _problems(self) -> list[str]:
        problems = self.report.problems
        if not problems:
            return []
        lines = []
        for problem in problems:
            where = problem.file + (f":{problem.line}" if problem.line else "")
            lines.append(f"- {self.labelled(code(where), data(self.words.reason(problem.reason)))}")
        return [*self.h2(self.t("section.problems")), *lines, ""]


def _remark(remark: Remark) -> str:
    return f"- {escape(remark.mark)} **{data(remark.head)}** {prose(remark.text)}"


def _row(sample: LogSample) -> str:
    row = {"step": sample.step, "epoch": sample.epoch, **sample.values}
    return json.dumps({key: value for key, value in row.items() if value is not None}, ensure_ascii=False)


def _analysis(entry: MetricEntry) -> str:
    mark = f"{escape(entry.mark)} " if entry.level is not None else ""
    return mark + prose(entry.analysis)


def _grouped(metrics: Sequence[MetricEntry]) -> list[list[MetricEntry]]:
    """Group the three ROUGE scores; every other metric is a group of its own."""
    out: list[list[MetricEntry]] = []
    for entry in metrics:
        if out and _ROUGE.fullmatch(entry.name) and _ROUGE.fullmatch(out[-1][0].name):
            out[-1].append(entry)
        else:
            out.append([entry])
    return out


def _step_table(steps: StepTable) -> list[str]:
    head = [steps.step_label, steps.label, *([steps.eval_label] if steps.eval_label else [])]
    rows = [
        [str(cell.step), escape(cell.shown), *([escape(cell.eval_shown or "")] if steps.eval_label else [])]
        for cell in steps.cells
    ]
    return table([escape(name) for name in head], rows, frozenset({0, 1, 2}))


def _fact(fact: Fact, noted: bool, sourced: bool) -> list[str]:
    cells = [escape(fact.label), data(fact.value)]
    if noted:
        cells.append(prose(fact.note) if fact.note else "")
    if sourced:
        cells.append(data(fact.source) if fact.source else "")
    return cells


def _option(option: Option) -> list[str]:
    return [code(option.name), code(option.value), data(option.source)]
