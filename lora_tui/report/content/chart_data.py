"""The charts of a report and its table of the loss by steps: thinned series, marks, intervals."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from lora_tui.analysis.run_facts import main_metric
from lora_tui.analysis.statistics import median
from lora_tui.i18n import Words
from lora_tui.report.document import Chart, ChartMark, Line, StepTable, TableCell
from lora_tui.report.status_json import json_number
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import append_sentence, capitalize, format_metric, unit_name

MAX_POINTS = 600
"""The most points of a thinned curve."""
MIN_VALUES = 3
"""The fewest finite values for which a chart is drawn: a line through two points shows no trend."""
MAX_MARKS = 60
"""The most marks of one kind in a chart: more would cover each other."""
TARGET_COLUMNS = 12
"""Approximate number of columns of the table by steps."""
_ROUND_DIGITS = (1, 2, 2.5, 5)

_Points = tuple[list[float], list[float | None]]


def thin(steps: Sequence[float], values: Sequence[float]) -> _Points:
    """Thin a series to at most :data:`MAX_POINTS` points.

    The first and the last row are kept, and of each bucket of rows between them the lowest and the highest value, so
    that no spike is lost. A bucket without a finite value becomes one gap (``None``).
    """
    count = len(values)
    if count <= MAX_POINTS:
        return list(steps), [value if math.isfinite(value) else None for value in values]
    xs: list[float] = []
    ys: list[float | None] = []
    # The two points of one bucket are reserved for the first and the last row.
    buckets = MAX_POINTS // 2 - 1
    xs.append(steps[0])
    ys.append(values[0] if math.isfinite(values[0]) else None)
    for bucket in range(buckets):
        begin, end = 1 + bucket * (count - 2) // buckets, 1 + (bucket + 1) * (count - 2) // buckets
        part = list(values[begin:end])
        finite = part if math.isfinite(math.fsum(part)) else [value for value in part if math.isfinite(value)]
        if not finite:
            xs.append(steps[begin])
            ys.append(None)
            continue
        low, high = part.index(min(finite)), part.index(max(finite))
        for at in sorted({low, high}):
            xs.append(steps[begin + at])
            ys.append(part[at])
    xs.append(steps[-1])
    ys.append(values[-1] if math.isfinite(values[-1]) else None)
    return xs, ys


def charts(run: Run, words: Words, *, live: bool) -> list[Chart]:
    """Return the charts for which the run has enough values, that of the main metric first."""
    out = []
    main = main_metric(run)
    for code, others in _CHARTS:
        names = [name for name in (code, *others) if (found := run.series.get(name)) is not None and found.finite]
        if not any(run.series[name].finite >= MIN_VALUES for name in names):
            continue
        out.append(_chart(run, words, code, names, live=live, smooth=names[0] == code))
    out.sort(key=lambda chart: chart.code != main)
    return out


_CHARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loss", ("eval_loss",)),
    ("reward", ()),
    ("accuracy", ("rewards/accuracies", "eval_rewards/accuracies", "eval_accuracy")),
    ("rewards/margins", ("eval_rewards/margins",)),
    ("kl", ()),
    ("lr", ()),
    ("grad_norm", ()),
)
"""The main metric of each chart and the metrics that are drawn with it."""
_SMOOTHED = frozenset({"loss", "reward", "accuracy", "rewards/margins", "grad_norm", "kl"})


def _chart(run: Run, words: Words, code: str, names: list[str], *, live: bool, smooth: bool) -> Chart:
    if "rewards/accuracies" in names and "accuracy" in names:
        # LLaMA-Factory logs the same number under both names.
        names.remove("accuracy")
    lines: list[Line] = []
    for name in names:
        series = run.series[name]
        evaluated = name.startswith("eval_")
        smoothed = smooth and not evaluated and name in (code, "rewards/accuracies") and code in _SMOOTHED
        style: Literal["raw", "line", "points"] = (
            "points" if evaluated else "raw" if smoothed and len(series) >= 10 else "line"
        )
        steps, values = thin(series.steps, series.values)
        lines.append(Line(code=name, label=words.metric(name), style=style, steps=steps, values=values))
        if style == "raw":
            steps, values = thin(series.steps, series.smooth)
            label = words.t("report.chart.smoothed", metric=words.metric(name))
            lines.append(Line(code="smoothed", label=label, style="line", steps=steps, values=values))
    last = max((line.steps[-1] for line in lines), default=0.0)
    planned = run.total_steps
    x_max = float(planned) if live and planned is not None and planned > last and not run.counted_rows else last
    title = words.t(f"report.chart.{code}") if len(names) > 1 else words.metric(code if code in names else names[0])
    return Chart(
        code=code, title=capitalize(words, title), unit=unit_name(words, code), x_label=step_label(run, words),
        x_max=x_max, lines=lines, marks=sorted(_marks(run, words, names), key=lambda mark: mark.step),
    )  # fmt: skip


def step_label(run: Run, words: Words) -> str:
    """Return what the x-axis counts: steps, or rows where the producer writes no steps."""
    return words.t("report.row" if run.counted_rows else "report.step")


def _marks(run: Run, words: Words, names: Sequence[str]) -> Iterator[ChartMark]:
    if not run.counted_rows:
        for step, epoch in _epochs(run):
            yield ChartMark(kind="epoch", step=step, label=words.t("head.epoch", epoch=epoch))
        for step in list(run.resumed_at)[-MAX_MARKS:]:
            yield ChartMark(kind="resume", step=step, label=words.t("report.mark.resume", step=step))
        last = run.timeline.last
        for item in [item for item in run.checkpoints() if item.complete][-MAX_MARKS:]:
            if last is not None and last.step is not None and item.step > last.step:
                continue
            label = words.t("report.mark.best" if item.best else "report.mark.checkpoint", path=clean(item.path))
            yield ChartMark(kind="best" if item.best else "checkpoint", step=item.step, label=label)
    for name in names:
        series = run.series[name]
        if series.nonfinite:
            yield from _nonfinite_marks(series, words)


def _epochs(run: Run) -> list[tuple[int, int]]:
    """Return (step, epoch) for the end of each whole epoch; of many epochs only every second (fifth, …), at most 20."""
    last = run.rows[-1] if len(run.rows) else None
    if last is None or not last.epoch or not last.step:
        return []
    whole, per = math.floor(last.epoch + 1e-9), last.step / last.epoch
    stride = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if whole / size <= 20)
    return [(round(epoch * per), epoch) for epoch in range(stride, whole + 1, stride)]


def _nonfinite_marks(series: Series, words: Words) -> Iterator[ChartMark]:
    """Yield a mark at the first value of each unbroken stretch of NaN and Infinity."""
    before, count = False, 0
    for step, value in zip(series.steps, series.values, strict=True):
        bad = not math.isfinite(value)
        if bad and not before and count < MAX_MARKS:
            count += 1
            yield ChartMark(kind="nan", step=step, label=words.t("report.mark.nan", step=int(step)))
        before = bad


# -- the table by steps ---------------------------------------------------------------------------------------------


def step_table(run: Run, words: Words) -> StepTable | None:
    """Return the main metric in about :data:`TARGET_COLUMNS` columns, or ``None`` if it was never logged."""
    name = main_metric(run)
    series = run.series.get(name)
    if series is None or not len(series):
        return None
    evals = run.series.get("eval_loss") if name == "loss" else None
    interval = _interval(series)
    cells = list(_cells(words, name, series, evals, interval))
    bad = any(not isinstance(cell.value, (int, float)) for cell in cells)
    mean = words.t("report.table.mean", n=interval) if interval else None
    left_out = words.t("report.table.nan") if bad else None
    return StepTable(
        metric=name,
        title=capitalize(words, words.t("report.section.steps", metric=words.metric(name))),
        label=words.metric(name),
        eval_label=words.metric("eval_loss") if any(cell.eval_shown for cell in cells) else None,
        step_label=step_label(run, words),
        interval=interval,
        note=append_sentence(words, mean, left_out) if mean else left_out,
        cells=cells,
    )


def _interval(series: Series) -> int | None:
    """Return the steps between two columns: a round number that gives about :data:`TARGET_COLUMNS` columns.

    Return ``None`` where the rows are so few that each can be a column.
    """
    last, count = series.steps[-1], len(series)
    if count <= TARGET_COLUMNS + 3:
        return None
    apart = median([b - a for a, b in pairwise(series.steps[: min(count, 200)])])
    sizes = [int(digit * 10**power) for power in range(12) for digit in _ROUND_DIGITS if digit * 10**power % 1 == 0]
    # Where rows lie 10 steps apart, columns of 25 would hold two and three rows in turn.
    even = [size for size in sizes if apart and size % apart == 0]
    return min(even or sizes, key=lambda size: abs(last / size - TARGET_COLUMNS))


def _cells(words: Words, name: str, series: Series, evals: Series | None, interval: int | None) -> Iterator[TableCell]:
    ends = list(series.steps) if interval is None else _ends(series, interval)
    start, before = 0, -math.inf
    for step in ends:
        stop = bisect_right(series.steps, step)
        part = series.values[start:stop]
        if stop <= start:
            # There is no row, or the step goes back, in a log in which only some rows have a step.
            continue
        finite = [value for value in part if math.isfinite(value)]
        value = math.fsum(finite) / len(finite) if finite else part[-1]
        found = _last_eval(evals, before, step)
        yield TableCell(
            step=int(step), value=json_number(value), shown=format_metric(words, name, value),
            eval_value=json_number(found) if found is not None else None,
            eval_shown=format_metric(words, "eval_loss", found) if found is not None else None,
        )  # fmt: skip
        start, before = stop, step


def _ends(series: Series, interval: int) -> list[float]:
    last = series.steps[-1]
    whole = [float(step) for step in range(interval, int(last) + 1, interval)]
    return whole if whole and whole[-1] == last else [*whole, last]


def _last_eval(evals: Series | None, after: float, until: float) -> float | None:
    if evals is None:
        return None
    stop = bisect_right(evals.steps, until)
    return evals.values[stop - 1] if stop > bisect_left(evals.steps, after + 1e-9) else None
