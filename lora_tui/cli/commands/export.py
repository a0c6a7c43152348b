"""``export``: print all series of a run as a table, one row per step.

Columns: ``step`` (``row`` where the producer writes no steps), ``epoch``, ``time`` (UTC, ISO 8601), ``elapsed_s`` (over
all segments), then the metrics: known ones in the order of METRICS, all others by name. Steps that a resume discarded
are left out. Numbers have all their digits, so that reading them gives the same numbers. A metric that was not logged
at a step is empty (csv) or absent (jsonl).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from lora_tui.analysis import METRICS
from lora_tui.cli.common import (
    find_run,
    print_error,
    read_runs,
    search_root,
    settings_of,
    to_json,
    words_of,
    write_output,
)
from lora_tui.runs.run import Run
from lora_tui.text.sanitize import clean

CHUNK = 4096
"""Number of rows that are built at a time, column by column, so that memory stays bounded."""
FIXED = ("epoch", "time", "elapsed_s")
"""Columns that every run has after the step."""
Cell = int | float | str | None


def main(args: argparse.Namespace) -> int:
    """Print the table or write it to a file; return the exit code.

    Raises CommandError for a path or name without a run, and for a file that cannot be written.
    """
    words = words_of(args.lang, False, settings_of(args))
    follower, workspace = read_runs([search_root(args.run)], words, args.log)
    follower.close()
    run = find_run(args.run, follower, workspace, words)
    form: str = args.format or _by_ending(args.output)
    table = Table(run)
    text = _jsonl(table) if form == "jsonl" else _csv(table)
    if args.output is not None:
        write_output(args.output, text, words)
    else:
        for chunk in text:
            sys.stdout.write(chunk)
    if not table.steps:
        print_error(words.t("cli.export.empty", name=clean(run.name)))
    return 0


def _by_ending(path: Path | None) -> str:
    return "jsonl" if path is not None and path.suffix.lower() in (".jsonl", ".ndjson", ".json") else "csv"


class Table:
    """The rows of a run, built column by column."""

    def __init__(self, run: Run) -> None:
        self._run = run
        order = {name: place for place, name in enumerate(METRICS)}
        names = sorted((name for name in run.series if name != "epoch"), key=lambda name: (order.get(name, 999), name))
        self.names = names
        """Names of the metric columns."""
        self.key = "row" if run.counted_rows else "step"
        """Name of the first column."""
        self.steps = _union([run.series[name].steps for name in names])
        """Every step at which something was logged, ascending."""

    def chunks(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Yield the rows in chunks; each is the step, the FIXED columns and the metrics."""
        clocks, series = _RowTimes(self._run), self._run.series
        iso = _IsoTimes()
        for begin in range(0, len(self.steps), CHUNK):
            steps = self.steps[begin : begin + CHUNK]
            times = map(iso.text, _values_at(steps, clocks.steps, clocks.times))
            columns: list[Iterable[Cell]] = [map(int, steps), self._column("epoch", steps), times]
            columns.append(map(_none_for_nan, _values_at(steps, clocks.steps, clocks.elapsed)))
            for name in self.names:
                found = self._column(name, steps)
                columns.append(map(_printable_number, found) if series[name].nonfinite else found)
            yield list(zip(*columns, strict=True))

    def _column(self, name: str, steps: array[float]) -> Iterable[float | None]:
        series = self._run.series.get(name)
        return _values_at(steps, series.steps, series.values) if series is not None else [None] * len(steps)


def _values_at(steps: array[float], own: array[float], values: array[float]) -> Iterable[float | None]:
    """Return the values of a series at ``steps``; both ascend. Of two values at one step the later one is returned."""
    part = slice(bisect_left(own, steps[0]), bisect_right(own, steps[-1]))
    if own[part] == steps:
        return values[part]
    return map(dict(zip(own[part], values[part], strict=True)).get, steps)


def _union(columns: Sequence[array[float]]) -> array[float]:
    """Return every step once, ascending."""
    if len(columns) == 1 or all(column == columns[0] for column in columns[1:]):
        columns = columns[:1]
    return array("d", sorted(set().union(*columns)))


def _printable_number(value: float | None) -> Cell:
    """Return a number, or the name of one that is not finite."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _none_for_nan(value: float | None) -> float | None:
    return value if value == value else None


class _RowTimes:
    """Times at which the steps were logged: Unix times, and seconds of training over all segments; NaN if unknown.

    Rows of the last segment whose time is unknown are dated back from the last row by the producer's own clock.
    """

    def __init__(self, run: Run) -> None:
        self.steps, self.times, self.elapsed = array("d"), array("d"), array("d")
        timeline, counted = run.timeline, run.counted_rows
        final = timeline.last.elapsed_s if timeline.last is not None else None
        end = run.last_row_time
        # Unix time at which the clock of the last segment was 0.
        zero = end - final if end is not None and final is not None else math.nan
        ends = [*timeline.starts[1:], len(timeline.rows)]
        before, reached = 0.0, -math.inf
        for segment, first, stop in zip(timeline.segments, timeline.starts, ends, strict=False):
            shift = zero if stop == len(timeline.rows) else math.nan
            for index in range(first, stop):
                row, time = timeline.rows[index], timeline.times[index]
                step = index + 1 if counted else row.step
                if step is None or step <= reached:
                    # An evaluation has the step of the training row before it, whose time is the time of the step.
                    continue
                clock = row.elapsed_s if row.elapsed_s is not None else math.nan
                self.steps.append(step)
                self.times.append(time if time is not None else shift + clock)
                self.elapsed.append(before + clock)
                reached = step
            before += segment.duration or 0.0


class _IsoTimes:
    """Formatter of UTC times in whole seconds, which computes the date once for all rows of a minute."""

    def __init__(self) -> None:
        self._minute = math.nan
        self._prefix = ""

    def text(self, unix: float | None) -> str | None:
        """Return a Unix time as ``2026-01-31T18:00:00Z``, or None for NaN, None and times out of range."""
        if unix is None or unix != unix:
            return None
        minute, second = divmod(unix, 60.0)
        if minute != self._minute:
            try:
                moment = datetime.fromtimestamp(60.0 * minute, timezone.utc)
            except (OverflowError, OSError, ValueError):
                return None
            self._minute, self._prefix = minute, f"{moment:%Y-%m-%dT%H:%M:}"
        return f"{self._prefix}{int(second):02}Z"


def _unique(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the names, with a number after each that is ``taken`` or equals an earlier one."""
    seen = set(taken)
    out: list[str] = []
    for name in names:
        own, number = name, 2
        while own in seen:
            own, number = f"{name} ({number})", number + 1
        seen.add(own)
        out.append(own)
    return out


def _csv(table: Table) -> Iterator[str]:
    # Spreadsheets read text that begins with one of these as a formula, and metric names come from files.
    names = [f"'{name}" if name[:1] in tuple("=+-@") else name for name in (clean(name, 200) for name in table.names)]
    head = (table.key, *FIXED)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*head, *_unique(names, head)])
    for rows in table.chunks():
        writer.writerows(rows)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _jsonl(table: Table) -> Iterator[str]:
    head = (table.key, *FIXED)
    keys = [to_json(name, None) for name in (*head, *_unique(table.names, head))]
    for rows in table.chunks():
        lines = (
            ", ".join([f"{key}: {_json(cell)}" for key, cell in zip(keys, row, strict=True) if cell is not None])
            for row in rows
        )
        yield "".join([f"{{{line}}}\n" for line in lines])


def _json(cell: Cell) -> str:
    """Return the strict JSON of a finite number, a time, or the name of a number that is not finite."""
    return json.dumps(cell) if isinstance(cell, str) else repr(cell)
