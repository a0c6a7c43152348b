"""Merge several files that describe the same training into one set of series.

The timeline comes from trainer_log.jsonl, else from the best other source. The trainer_state.json of checkpoints,
TensorBoard events and console logs add what it does not have (grad_norm, preference metrics, exact times). A value that
is found in two files becomes one point, with the more precise number. A row of another attempt in the same directory is
recognised by its loss and left out.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import compress
from operator import and_, lt
from typing import Literal

from lora_tui.records.documents import LogRow
from lora_tui.records.rows import Block, Rows
from lora_tui.records.timestamps import Times
from lora_tui.runs.series import Series
from lora_tui.runs.timeline import Timeline

SourceKind = Literal["log", "state", "events", "console"]
RANK: Mapping[str, int] = {"log": 4, "state": 3, "events": 2, "console": 1}
"""Rank of each source by precision: full floats in log and state (up to its checkpoint), float32, 4 digits."""
REL_TOLERANCE = 6e-4
"""Relative difference allowed between two values of one event: console logs round to 4 significant digits."""
ABS_TOLERANCE = 6e-5
"""Absolute difference allowed between two values of one event: transformers 4 rounds to 4 decimals."""

MAX_SERIES = 1000
"""Maximum number of metrics of one run; a log with more names is damaged."""

Key = tuple[int, str]
"""Step and group ("train" or "eval") of a row."""


@dataclass
class Table:
    """Rows of one file as they were read."""

    kind: SourceKind
    file: str
    rows: Rows = field(default_factory=Rows)
    times: Times = field(default_factory=Times)
    """Unix time of each row, None where it is not known."""
    mtime: float = 0.0
    """Modification time of the file, Unix seconds."""
    tail_rows: int | None = None
    """Number of rows at the end without a gap between them, where only a sample was read; None where all rows were."""

    def clear(self) -> None:
        """Remove all rows."""
        self.rows.cut(0)
        self.times.cut(0)


def group(row: LogRow) -> str:
    """Return "train" for a training row, else "eval"; a ``mark`` may be an evaluation without metrics."""
    return "train" if row.kind == "train" else "eval"


def _same(a: float, b: float) -> bool:
    """Return whether two values are equal within the tolerances; values that are not finite count as equal."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return not math.isfinite(a) and not math.isfinite(b)
    return abs(a - b) <= max(REL_TOLERANCE * abs(a), ABS_TOLERANCE)


def agrees(ours: LogRow, theirs: LogRow) -> bool | None:
    """Return whether two rows of one step and group log the same event, None if they have no metric to compare."""
    for name in ("loss", "eval_loss", "reward"):
        a, b = ours.values.get(name), theirs.values.get(name)
        if a is not None and b is not None:
            return _same(a, b)
    return None


class MergedSeries:
    """The series of a run: the rows of the primary source's timeline, enriched from other tables."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        """Rows of the primary source."""
        self.series: dict[str, Series] = {}
        """Series by metric name."""
        self.ordinal = False
        """Whether the steps of the series are row numbers because the producer writes no steps."""
        self._rank = RANK["log"]
        """Rank of the primary source."""
        self._extras: dict[Key, dict[str, tuple[int, float]]] = {}
        """Values of other sources by the row that they belong to and by metric, each with the rank of its source."""
        self._extra_times: dict[Key, float] = {}
        """Unix times of rows, taken from other sources."""
        self._early: dict[Key, list[tuple[SourceKind, LogRow, float | None]]] = {}
        """Rows of other sources that the primary source does not have yet, each with its source and Unix time."""
        self._count = 0
        """Number of training rows without a step."""
        self._steps: array[float] = array("d")
        """Column of steps that all metrics of the same rows share."""

    # -- building ------------------------------------------------------------------------------------------------

    @classmethod
    def build(cls, timeline: Timeline, rank: int, others: Sequence[Table]) -> MergedSeries:
        """Return the series of a primary source with this ``timeline`` and ``rank``, enriched from ``others``."""
        merged = cls()
        merged._rank = rank
        index = _index(
            timeline.rows, {row.step + n for table in others for row in table.rows if row.step for n in (0, 1)}
        )
        reached = next((row.step for row in reversed(timeline.rows) if row.step is not None), 0)
        for table in others:
            merged._enrich(table, index, reached)
        merged._set_timeline(timeline)
        return merged

    def _set_timeline(self, timeline: Timeline) -> None:
        """Set the timeline and make its series; fill in the times that only other sources have."""
        self.timeline = timeline
        if self._extras or self._extra_times:
            for position, row in enumerate(timeline.rows):
                if timeline.times[position] is None and row.step is not None:
                    timeline.times[position] = self._extra_times.get((row.step, row.kind))
                self._extend(row)
        else:
            for part in timeline.rows.parts():
                if isinstance(part, Block):
                    self._extend_block(part)
                else:
                    for row in part:
                        self._extend(row)
        for segment, start in zip(timeline.segments, timeline.starts, strict=True):
            if segment.first_time is None and start < len(timeline.times):
                segment.first_time = timeline.times[start]
        if timeline.segments and timeline.segments[-1].last_time is None:
            timeline.segments[-1].last_time = timeline.last_time

    def _enrich(self, table: Table, index: Mapping[Key, LogRow], reached: int) -> None:
        """Store the values and times of a table whose rows agree with those of the primary source in ``index``.

        A row that cannot be compared counts if at least as many rows of the table agree as disagree. ``reached`` is
        the last step of the primary source; rows beyond it wait in ``_early``.
        """
        offset = _step_offset(table, index)
        matches: list[tuple[LogRow, int, float | None, bool | None]] = []
        for position, row in enumerate(table.rows):
            if row.step is None:
                continue
            ours = index.get((row.step + offset, group(row)))
            time = table.times[position] if position < len(table.times) else None
            if ours is None and row.step + offset >= reached:
                self._early.setdefault((row.step + offset, group(row)), []).append((table.kind, row, time))
            elif ours is not None:
                matches.append((row, row.step + offset, time, agrees(ours, row)))
        right = sum(1 for match in matches if match[3])
        wrong = sum(1 for match in matches if match[3] is False)
        # The event file of an evaluation after the training has its own times, not that of the last training row.
        timed = any(row.kind == "train" for row in table.rows)
        for row, step, time, agreement in matches:
            if agreement or (agreement is None and right >= wrong):
                self._store_extras(table.kind, step, row, time if timed else None)

    def _store_extras(self, kind: str, step: int, row: LogRow, time: float | None) -> None:
        """Store the values of a row of another source, unless a more precise source has them, and its Unix time."""
        key = (step, group(row))
        slot = self._extras.setdefault(key, {})
        rank = RANK[kind]
        for name, value in row.values.items():
            if name not in slot or slot[name][0] <= rank:
                slot[name] = (rank, value)
        if time is not None:
            self._extra_times[key] = time

    # -- appending -----------------------------------------------------------------------------------------------

    def append(self, row: LogRow, time: float | None) -> bool:
        """Add the next row of the primary source, written at the Unix time ``time`` if known.

        Returns False where earlier rows were dropped: the series must then be rebuilt.
        """
        if row.step is not None:
            for kind, theirs, time_there in self._early.pop((row.step, group(row)), ()):
                if agrees(row, theirs) is not False:
                    self._store_extras(kind, row.step, theirs, time_there)
        if time is None and row.step is not None:
            time = self._extra_times.get((row.step, row.kind))
        if not self.timeline.add(row, time):
            return False
        self._extend(row)
        return True

    def append_block(self, block: Block, time: float | None = None) -> bool:
        """Add the next rows of the primary source, of which at most the last one's ``time`` is known.

        Returns False as :meth:`append` does.
        """
        if self._early or self._extras or self._extra_times or not self.timeline.add_block(block, time):
            last = block.count - 1
            return all(self.append(block.row(at), time if at == last else None) for at in range(block.count))
        self._extend_block(block)
        return True

    def enrich_tail(self, kind: SourceKind, rows: Iterable[tuple[LogRow, float | None]]) -> bool:
        """Add rows of another source, which follow all its earlier rows, each with its Unix time if known.

        Returns False where they would change values that are already in the series: the series must then be rebuilt.
        """
        for row, time in rows:
            if row.step is None:
                continue
            ours = self._at(row.step, group(row))
            if ours is None:
                self._early.setdefault((row.step, group(row)), []).append((kind, row, time))
                continue
            if agrees(ours, row) is False:
                continue
            self._store_extras(kind, row.step, row, time)
            for name, value in row.values.items():
                mine = ours.values.get(name)
                if mine is not None:
                    if RANK[kind] > self._rank and mine != value:
                        return False
                    continue
                series = self._get_series(name)
                if series is None:
                    continue
                if series.last_step is not None and series.last_step >= row.step:
                    if series.at(row.step) == value:
                        continue
                    return False
                self._put(series, row.step, value)
        return True

    def _at(self, step: int, kind: str) -> LogRow | None:
        """Return the first row of the timeline at ``step`` in the group ``kind``, None if there is none."""
        rows = self.timeline.rows
        index = bisect_left(rows, step, key=lambda row: row.step or 0)
        while index < len(rows) and rows[index].step == step:
            if group(rows[index]) == kind:
                return rows[index]
            index += 1
        return None

    # -- series --------------------------------------------------------------------------------------------------

    def _get_series(self, name: str) -> Series | None:
        """Return the series of a metric, created if it does not exist; None if it would be one more than MAX_SERIES."""
        series = self.series.get(name)
        if series is None and len(self.series) < MAX_SERIES:
            series = self.series[name] = Series(name, self._steps)
        return series

    def _extend(self, row: LogRow) -> None:
        """Add the values of a row, merged with those of other sources at its step, to the series."""
        if row.step is None:
            self.ordinal = True
            self._count += row.kind == "train"
            x = float(max(1, self._count))
        else:
            x = float(row.step)
        values: Mapping[str, float] = row.values
        if row.step is not None and (slot := self._extras.get((row.step, group(row)))) is not None:
            merged = {name: value for name, (_, value) in slot.items()}
            merged.update({name: v for name, v in values.items() if name not in slot or slot[name][0] < self._rank})
            values = merged
        for name, value in values.items():
            series = self._get_series(name)
            # Metrics that an evaluation has logged itself are not replaced by the summary row after it.
            if series is not None and not (row.kind == "mark" and series.last_step == x):
                self._put(series, x, value)
        if row.epoch is not None and row.kind == "train":
            series = self.series.get("epoch")
            if series is None:
                series = self.series["epoch"] = Series("epoch", self._steps)
            self._put(series, x, row.epoch)

    def _extend_block(self, block: Block) -> None:
        """Add the values of a block to the series, with the same result as row by row."""
        marks = block.mask("mark")
        if self.ordinal or 1 in marks:
            for at in range(block.count):
                self._extend(block.row(at))
            return
        steps = array("d", block.steps)
        for column in block.columns:
            self._put_column(column.name, steps, column.values, column.present)
        if block.epochs is not None:
            known = (epoch == epoch for epoch in block.epochs)
            present = bytes(map(and_, block.mask("train"), known))
            self._put_column("epoch", steps, block.epochs, present if 0 in present else None)

    def _put_column(self, name: str, steps: array[float], values: array[float], present: bytes | None) -> None:
        """Add a column of values of one metric; ``present`` has a 0 for each row without a value, None if all have."""
        if present is not None:
            steps, values = array("d", compress(steps, present)), array("d", compress(values, present))
        if not steps:
            return
        series = self._get_series(name)
        if series is None:
            return
        last = series.last_step
        rising = (last is None or last < steps[0]) and all(map(lt, steps, steps[1:]))
        if rising and name != "eval_loss":
            series.extend(steps, values)
            return
        for step, value in zip(steps, values, strict=True):
            self._put(series, step, value)

    def _put(self, series: Series, x: float, value: float) -> None:
        """Add one value at step ``x``; eval_loss also adds its perplexity."""
        if series.last_step == x:
            # Of an event logged twice (summary after an evaluation, partial rows, two writers) the last row counts.
            series.replace_last(value)
        else:
            series.append(x, value)
        if series.name == "eval_loss":
            derived = self.series.get("perplexity")
            if derived is None:
                derived = self.series["perplexity"] = Series("perplexity")
            self._put(derived, x, perplexity(value))


def _index(rows: Rows, wanted: Set[int]) -> dict[Key, LogRow]:
    """Return the rows at the ``wanted`` steps by step and group; of several rows with the same key the last."""
    found: dict[Key, LogRow] = {}
    if not wanted:
        return found
    for part in rows.parts():
        if isinstance(part, Block):
            picked = [part.row(at) for at, step in enumerate(part.steps) if step in wanted]
        else:
            picked = [row for row in part if row.step in wanted]
        found.update(((row.step, group(row)), row) for row in picked if row.step is not None)
    return found


def perplexity(eval_loss: float) -> float:
    """Return exp(eval_loss), infinite where that overflows (as LLaMA-Factory's pt workflow does)."""
    try:
        return math.exp(eval_loss)
    except OverflowError:
        return math.inf


def _step_offset(table: Table, index: Mapping[Key, LogRow]) -> int:
    """Return 1 where the steps of a table are one below those of the log, else 0.

    PPO's trainer_state.json counts steps from 0, its log from 1.
    """
    if table.kind != "state" or not any("reward" in row.values for row in table.rows[:3]):
        return 0

    def matches(offset: int) -> int:
        """Return the number of rows that agree with the index at this offset."""
        pairs = ((index.get(((row.step or 0) + offset, group(row))), row) for row in table.rows)
        return sum(1 for ours, row in pairs if ours is not None and agrees(ours, row))

    return 1 if matches(1) > matches(0) else 0
