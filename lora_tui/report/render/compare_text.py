"""Render a comparison for the terminal: a column for each run, or a row where there are many runs or little room."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lora_tui.i18n import Words
from lora_tui.report.comparison import ComparisonReport, MeasureEntry, RunEntry, ValueEntry
from lora_tui.text.cells import cell_width, clip, fit, wrap

MAX_COLUMNS = 6
"""The most runs that get a column each; with more runs, each gets a row."""
BEST, SHARED, STALE = "*", "=", "!"
"""Marks behind a value: the best, one of several that share the first place, of an earlier attempt."""
GAP = "  "
MAX_OPTION_WIDTH = 26
"""The most cells that the value of an option takes, where runs are rows."""
MAIN_MEASURES = (
    "eval_at", "eval_best", "perplexity", "bleu", "rougel", "eval_accuracies", "eval_accuracy", "accuracies", "reward",
    "loss_at", "loss_end", "samples_per_s", "tokens_per_s", "duration",
)  # fmt: skip
"""Codes of the measures that are shown where runs are rows."""


def render(report: ComparisonReport, words: Words, width: int) -> str:
    """Return the whole text in lines of at most about ``width`` cells. Names are cut, but never to nothing."""
    width = max(width, 40)
    lines = [*_runs(report, width), ""]
    for sentence in report.verdict:
        lines += wrap(sentence, width, 0)
    lines.append("")
    columns = _as_columns(report, words, width)
    lines += columns if columns is not None else _as_rows(report, words, width)
    legend = words.t("compare.legend", mark=BEST, same=SHARED, stale=STALE)
    lines += ["", *wrap(legend, width, 2), ""]
    if not report.notes:
        lines += wrap(words.t("compare.fair"), width, 0)
    for note in report.notes:
        lines += wrap(f"{'!' if note.unfair else '·'} {note.text}", width, 2)
    lines += ["", *wrap(report.caution, width, 0)]
    return "\n".join(line.rstrip() for line in lines)


def progress(run: RunEntry) -> str:
    """Return the step of a run, with its total steps if known."""
    if run.step is None:
        return "–"
    return f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step)


def job_kind(run: RunEntry) -> str:
    """Return stage, method and model of a run."""
    parts = ((run.stage or "").upper(), run.method, (run.model or "").rstrip("/").rsplit("/", 1)[-1])
    return " · ".join(part for part in parts if part)


def _runs(report: ComparisonReport, width: int) -> Iterator[str]:
    rows = [
        [
            run.letter,
            clip(run.short, max(12, width // 3)),
            run.state_text,
            progress(run),
            job_kind(run),
            run.data or "",
            "".join(f"! {text}  " for text in findings_of(run)),
        ]
        for run in report.runs
    ]
    sizes = [max(cell_width(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(fit(cell, size) for cell, size in zip(row, sizes, strict=True) if size)
        yield line if cell_width(line.rstrip()) <= width else clip(line.rstrip(), width)


def _mark(measure: MeasureEntry, run: RunEntry, value: ValueEntry | None) -> str:
    if value is None:
        return ""
    if value.stale:
        return STALE
    if run.name in measure.best:
        return BEST if measure.outcome == "best" else SHARED
    return ""


def shown_measures(report: ComparisonReport) -> list[MeasureEntry]:
    """Return the measures to show: the last evaluation only if it differs from the best one in some run."""
    found = {measure.code: measure for measure in report.measures}
    best, last = found.get("eval_best"), found.get("eval_last")
    same = best is not None and last is not None and _numbers(best) == _numbers(last)
    return [measure for measure in report.measures if not (same and measure.code == "eval_last")]


def _numbers(measure: MeasureEntry) -> list[object]:
    return [value.value if value is not None else None for value in measure.values]


def label(measure: MeasureEntry, words: Words) -> str:
    """Return the name of a measure with its unit."""
    if measure.unit is None:
        return measure.label
    return words.t("compare.with_unit", label=measure.label, unit=measure.unit)


def findings_of(run: RunEntry) -> list[str]:
    """Return the names of the run's findings, without one that equals the name of its state (failed, interrupted)."""
    return [text for text in run.findings_text if text != run.state_text]


def _as_columns(report: ComparisonReport, words: Words, width: int) -> list[str] | None:
    """Return two tables with a column for each run, or ``None`` if they do not fit."""
    if len(report.runs) > MAX_COLUMNS:
        return None
    heads = [f"{run.letter} {run.short}" for run in report.runs]
    measures = shown_measures(report)
    cells = [
        [
            (value.shown if value is not None else "–", _mark(measure, run, value))
            for run, value in zip(report.runs, measure.values, strict=True)
        ]
        for measure in measures
    ]
    numbers = [
        max([*(cell_width(row[at][0]) + 2 for row in cells), min(cell_width(heads[at]), 14)])
        for at in range(len(heads))
    ]
    first = max(cell_width(label(measure, words)) for measure in measures) if measures else 0
    last = max([cell_width(measure.outcome_text) for measure in measures], default=0)
    if first + sum(numbers) + 2 * len(numbers) + 2 + last > width:
        return None
    spare = width - (first + sum(numbers) + 2 * len(numbers) + 2 + last)
    numbers = [
        min(max(size, cell_width(head)), size + spare // len(heads)) for size, head in zip(numbers, heads, strict=True)
    ]
    out = [_line("", [(clip(head, size), "") for head, size in zip(heads, numbers, strict=True)], first, numbers)]
    for measure, row in zip(measures, cells, strict=True):
        line = _line(label(measure, words), row, first, numbers)
        out.append(f"{line}  {measure.outcome_text}")
    return out + _settings_as_columns(report, words, width, heads)


def _line(name: str, cells: Sequence[tuple[str, str]], first: int, sizes: Sequence[int]) -> str:
    """Return a row: the name, then the values, aligned right with room for a mark behind each."""
    parts = [fit(name, first)]
    for (text, mark), size in zip(cells, sizes, strict=True):
        room = size - 2
        if not mark and cell_width(text) > room:
            parts.append(" " * (size - cell_width(text)) + text)
        else:
            parts.append(" " * (room - cell_width(text)) + text + (f" {mark}" if mark else "  "))
    return GAP.join(parts)


def _settings_as_columns(report: ComparisonReport, words: Words, width: int, heads: Sequence[str]) -> list[str]:
    groups = (("compare.head.settings", ("matters", "seed")), ("compare.head.idle", ("idle",)))
    out: list[str] = []
    for key, kinds in groups:
        items = [item for item in report.settings if item.kind in kinds]
        if not items:
            if "matters" in kinds:
                out += ["", words.t(key), *wrap("  " + words.t("compare.no_settings"), width, 2)]
            continue
        names = [f"{item.option} ({words.t('compare.seed')})" if item.kind == "seed" else item.option for item in items]
        first = max(cell_width(name) for name in names)
        room = max(6, (width - first - 2 * len(heads) - 2) // len(heads))
        sizes = [
            min(room, max([cell_width(item.shown[at]) for item in items] + [min(cell_width(heads[at]), 14)]))
            for at in range(len(heads))
        ]
        out += ["", words.t(key)]
        head = [clip(head, size) for head, size in zip(heads, sizes, strict=True)]
        for name, row in zip(["", *names], [head, *(item.shown for item in items)], strict=True):
            cells = [fit(text, size) for text, size in zip(row, sizes, strict=True)]
            out.append(GAP.join(["  " + fit(name, first), *cells]))
    return out + _partly(report, words, width)


def _partly(report: ComparisonReport, words: Words, width: int) -> list[str]:
    if not report.partly_known:
        return []
    options = words.t("list.separator").join(report.partly_known)
    return wrap("  " + words.t("compare.partly", options=options), width, 2)


@dataclass(frozen=True)
class _Column:
    """One column of a table whose rows are runs."""

    head: str
    cells: tuple[str, ...]
    right: bool = True


def _as_rows(report: ComparisonReport, words: Words, width: int) -> list[str]:
    """Return a row for each run, the best evaluation first; columns that do not fit form further tables below."""
    order = {name: at for at, name in enumerate(report.order)}
    places = sorted(range(len(report.runs)), key=lambda at: order[report.runs[at].name])
    runs = [report.runs[at] for at in places]
    columns: list[_Column] = []
    for measure in shown_measures(report):
        if measure.code not in MAIN_MEASURES:
            continue
        values = [measure.values[at] for at in places]
        cells = tuple(
            (value.shown if value is not None else "–") + " " + (_mark(measure, run, value) or " ")
            for run, value in zip(runs, values, strict=True)
        )
        columns.append(_Column(label(measure, words), cells))
    for item in report.settings:
        if item.kind == "matters":
            columns.append(_Column(item.option, tuple(clip(item.shown[at], MAX_OPTION_WIDTH) for at in places), False))
    names = [clip(f"{run.letter} {run.short}", max(14, width // 3)) for run in runs]
    first = max(cell_width(name) for name in names)
    out: list[str] = []
    block: list[_Column] = []
    used = first
    for column in [*columns, None]:
        size = 0 if column is None else _size(column)
        if block and (column is None or used + 2 + size > width):
            out += [*([""] if out else []), *_block(names, first, block)]
            block, used = [], first
        if column is not None:
            block.append(column)
            used += 2 + size
    return out + _partly(report, words, width)


def _size(column: _Column) -> int:
    values = max(cell_width(cell) for cell in column.cells)
    # A head may be wrapped between words and behind the underscores of an option, but not inside a word.
    return max(values, *(cell_width(piece) for piece in _pieces(column.head)))


def _pieces(head: str) -> list[str]:
    return [piece.strip() for piece in re.split(r"(?<=_)|(?<= )", head) if piece.strip()]


def _head(column: _Column, size: int) -> list[str]:
    """Return the head of a column in lines of at most ``size`` cells."""
    lines = [""]
    for piece in re.split(r"(?<=_)|(?<= )", column.head):
        if lines[-1] and cell_width(lines[-1] + piece.rstrip()) > size:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def _block(names: Sequence[str], first: int, columns: Sequence[_Column]) -> list[str]:
    sizes = [_size(column) for column in columns]
    heads = [_head(column, size) for column, size in zip(columns, sizes, strict=True)]
    height = max(len(head) for head in heads)
    out: list[str] = []
    for row in range(height):
        texts = [head[row - height + len(head)] if row >= height - len(head) else "" for head in heads]
        out.append(_row("", texts, first, sizes, columns))
    for at, name in enumerate(names):
        out.append(_row(name, [column.cells[at] for column in columns], first, sizes, columns))
    return out


def _row(name: str, texts: Sequence[str], first: int, sizes: Sequence[int], columns: Sequence[_Column]) -> str:
    cells = [
        " " * (size - cell_width(text)) + text if column.right else fit(text, size)
        for text, size, column in zip(texts, sizes, columns, strict=True)
    ]
    return GAP.join([fit(name, first), *cells])
