"""``trainer_log.jsonl`` of every LLaMA-Factory version, its v1 trainer's rows, and ms-swift's ``logging.jsonl``.

Sources: LLaMA-Factory ``LogCallback`` (``src/llamafactory/train/callbacks.py``, v0.0.9 to v0.9.6), its v1
``LoggingCallback``, and ms-swift's ``ProgressCallbackNew``. One JSON object a line, appended; ``NaN`` and ``Infinity``
are written as Python's ``json`` does. What differs between the versions: absent values were ``null`` up to v0.7.0;
``throughput`` was a string in v0.8 ("0.00" if tokens are not counted); ``learning_rate`` became ``lr`` in v0.9.1.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lora_tui.formats.json_lines import (
    MAX_METRICS,
    LineSplitter,
    Problems,
    as_count,
    as_number,
    as_text,
    load_json,
    load_json_fast,
)
from lora_tui.formats.metric_names import METRIC_NAMES, add_accuracy, row_kind
from lora_tui.records.documents import NO_VALUES, LogRow, Problem, RowKind
from lora_tui.records.rows import EXACT_LIMIT, KINDS, MIN_BLOCK_ROWS, Block, Column, Rows, is_dense

_BATCH_LINES = 512
"""Number of lines (up to twice as many) decoded in one call, which takes half the time of one call per line."""
_MAX_SHAPES = 256
"""Number of row shapes at which the cache of shapes is cleared."""
_FAST_FROM_LINE = 4096
"""Line number from which on a log is long enough for the fast JSON parser to be worth its import."""

NOT_METRICS = frozenset({
    "current_steps", "step", "global_step/max_steps", "iteration", "total_steps", "max_steps", "epoch", "percentage",
    "elapsed_time", "remaining_time",
})  # fmt: skip
"""Keys of a row that are no metrics."""
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
"""Seconds by the suffix of a part of ms-swift's durations."""


class RowShape(NamedTuple):
    """How to read the rows that have the same sequence of keys and hold plain numbers.

    Most logs have two or three shapes, so that many rows are read at once, column by column. A row whose values are not
    the plain numbers that its shape requires is read on its own by a slower method.
    """

    kind: RowKind
    step: str
    """Key of the step."""
    total: str | None
    """Key of the total steps, None if there is none."""
    clocked: bool
    """Whether the rows have an ``elapsed_time``."""
    epoch: bool
    """Whether the rows have an epoch."""
    metrics: tuple[tuple[str, str], ...]
    """Pairs of the name in the row and the name in the record."""


class TrainerLogParser:
    """Incremental parser of ``trainer_log.jsonl`` (a ``StreamParser``); it holds one unfinished line in memory.

    Problems: "not JSON", "not an object", "no step", more than 1000 values, and a line of more than 4 MiB; such a line
    is skipped. Blank lines and the closing summary object of ms-swift are skipped without a problem.
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._shapes: dict[tuple[str, ...], RowShape | None] = {}
        """Cached shapes by the keys of a row, None for rows that have to be read on their own."""

    def feed(self, data: bytes) -> Sequence[LogRow]:
        """Return the rows of the lines that ``data`` completes, in file order. Never raises on content."""
        lines = self._lines.feed(data)
        rows = Rows()
        # Batches of about equal size: a small last one would be read row by row, which takes many times as long.
        batches = max(1, len(lines) // _BATCH_LINES)
        for number in range(batches if lines else 0):
            batch = lines[len(lines) * number // batches : len(lines) * (number + 1) // batches]
            objects = _decode_together(batch, fast=batch[0][0] > _FAST_FROM_LINE)
            if objects is None:
                self._read_each(batch, rows)
            else:
                self._read_batch(batch, objects, rows)
        return rows

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call: at most 20, and one more that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> object | None:
        """Return None: the file holds nothing but rows."""
        return None

    def _read_batch(self, batch: list[tuple[int, bytes]], objects: list[object], rows: Rows) -> None:
        """Append the rows of decoded lines, as a block of columns where possible."""
        block = self._block(objects) if len(objects) >= MIN_BLOCK_ROWS else None
        if block is not None:
            rows.add(block)
            return
        for (number, _), value in zip(batch, objects, strict=True):
            self._read(number, value, rows)

    def _block(self, objects: list[object]) -> Block | None:
        """Return all rows as one block of columns, or None where a row is not plain (in a sound log all are)."""
        values = [value for value in objects if type(value) is dict]
        if len(values) < len(objects):
            return None
        keys = list(map(tuple, values))
        places: dict[tuple[str, ...], Sequence[int]] = {keys[0]: range(len(keys))}
        if keys.count(keys[0]) < len(keys):
            apart: dict[tuple[str, ...], list[int]] = {}
            for place, key in enumerate(keys):
                apart.setdefault(key, []).append(place)
            places = dict(apart)
        groups: dict[RowShape, Sequence[int]] = {}
        for key, group in places.items():
            shape = self._shape(key, values[group[0]])
            if shape is None or shape in groups:
                return None
            groups[shape] = group
        return make_block(values, groups)

    def _shape(self, keys: tuple[str, ...], value: dict[str, object]) -> RowShape | None:
        """Return the shape of the rows with these keys, of which ``value`` is one; None if they have none."""
        if len(keys) > MAX_METRICS:
            return None
        try:
            return self._shapes[keys]
        except KeyError:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[keys] = row_shape(value)
            return shape

    def _read_each(self, batch: list[tuple[int, bytes]], rows: Rows) -> None:
        """Decode lines one by one and append their rows; what cannot be decoded becomes a problem."""
        for number, line in batch:
            text = line.decode("utf-8", "replace")
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not text.strip():
                continue
            try:
                value = load_json(text)
            except (ValueError, RecursionError):
                self._problems.add(number, "not JSON")
                continue
            self._read(number, value, rows)

    def _read(self, number: int, value: object, rows: Rows) -> None:
        """Append the row of a decoded line, ``number`` in the file."""
        if not isinstance(value, dict):
            self._problems.add(number, "not an object")
            return
        if len(value) > MAX_METRICS:
            self._problems.add(number, f"more than {MAX_METRICS} values")
            return
        shape = self._shape(tuple(value), value)
        row = read_plain_row(shape, value) if shape is not None else None
        if row is not None:
            rows.append(row)
        else:
            self._read_slowly(number, value, rows)

    def _read_slowly(self, number: int, value: dict[str, object], rows: Rows) -> None:
        """Append the row of a line of any version: with nulls, strings for numbers, or values that are no numbers."""
        if "log_history" in value or "last_model_checkpoint" in value:
            return
        step, total = read_position(value)
        if step is None:
            self._problems.add(number, "no step")
            return
        metrics: dict[str, float] = {}
        uncounted = False
        for key, item in value.items():
            if key in NOT_METRICS:
                continue
            metric = as_number(item)
            if metric is None:
                continue
            if key == "throughput" and metric == 0 and isinstance(item, str):
                uncounted = True
                continue
            name = as_text(key)
            metrics[METRIC_NAMES.get(name, name)] = metric
        if uncounted and metrics.get("total_tokens") == 0:
            del metrics["total_tokens"]
        add_accuracy(metrics)
        has_epoch = value.get("epoch") is not None
        kind = row_kind(metrics, has_epoch)
        epoch = as_number(value.get("epoch"))
        if epoch is not None and not math.isfinite(epoch):
            epoch = None
        elapsed = parse_elapsed(value.get("elapsed_time"))
        rows.append(LogRow(kind, step, metrics or NO_VALUES, total or None, epoch, elapsed))


def _decode_together(batch: list[tuple[int, bytes]], fast: bool) -> list[object] | None:
    """Decode lines as one JSON array; return None if a line is not exactly one flat object, or not plain JSON.

    ``fast`` selects the faster parser, whose import takes some 40 ms.
    """
    text = b",\n".join([line for _, line in batch])
    # No value spans two lines: a string holds no line break, in an object no "{" may follow a comma, and there are no
    # arrays. So where the array has as many values as there are lines, each line is one value.
    if b"[" in text or text[:1] != b"{" or text.count(b",\n{") != len(batch) - 1:
        return None
    try:
        objects = load_json_fast(b"[%b]" % text) if fast else json.loads((b"[%b]" % text).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return objects if isinstance(objects, list) and len(objects) == len(batch) else None


def parse_elapsed(value: object) -> float | None:
    """Return a duration in seconds, or None if it is none, negative or not finite.

    Reads ``str(timedelta)`` ("0:09:01", "1 day, 0:08:23", "3 days, 17:51:32"), ms-swift's "13h 35m 55s" and numbers.
    """
    seconds = _seconds(value) if isinstance(value, str) else as_number(value)
    return seconds if seconds is not None and 0 <= seconds < math.inf else None


def _seconds(text: str) -> float | None:
    """Return a printed duration in seconds, which may be negative, or None if it is none."""
    days, comma, clock = text.rpartition(",")
    parts = clock.split(":")
    try:
        if len(parts) == 3:
            seconds = int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2])
            return seconds + 86400 * int(days.split()[0]) if comma else seconds
        words = text.split()
        return float(sum(int(word[:-1]) * _UNITS[word[-1]] for word in words)) if words else None
    except (ValueError, LookupError, OverflowError):
        return None


def read_position(value: dict[str, object]) -> tuple[int | None, int | None]:
    """Return the step and the total steps of a row, by the key names of all versions; None if unknown."""
    if value.get("current_steps") is not None:
        return as_count(value["current_steps"]), as_count(value.get("total_steps"))
    for key in ("global_step/max_steps", "iteration"):
        text = value.get(key)
        if isinstance(text, str):
            done, _, total = text.partition("/")
            return as_count(done), as_count(total)
    total_steps = value.get("total_steps")
    if total_steps is None:
        total_steps = value.get("max_steps")
    return as_count(value.get("step")), as_count(total_steps)


def row_shape(value: dict[str, object]) -> RowShape | None:
    """Return the shape of a row whose keys hold plain numbers, or None for a row that must be read on its own."""
    if "max_steps" in value or "global_step/max_steps" in value or "iteration" in value:
        return None
    step = "current_steps" if "current_steps" in value else "step"
    names = [key for key in value if key not in NOT_METRICS]
    plain = all(type(value[key]) in (int, float) for key in names) and type(value.get(step)) is int
    if not plain or not all(map(str.isascii, value)):
        return None
    metrics = [(key, METRIC_NAMES.get(key, key)) for key in names]
    if "rewards/accuracies" in names and "accuracy" not in names:
        metrics.append(("rewards/accuracies", "accuracy"))
    has_epoch = value.get("epoch") is not None
    return RowShape(
        kind=row_kind([name for _, name in metrics], has_epoch),
        step=step,
        total="total_steps" if "total_steps" in value else None,
        clocked="elapsed_time" in value,
        epoch=has_epoch,
        metrics=tuple(metrics),
    )


def read_plain_row(shape: RowShape, value: dict[str, object]) -> LogRow | None:
    """Return a row read by its shape, None if a value is not the plain number that the shape requires."""
    kind, step_key, total_key, clocked, has_epoch, pairs = shape
    metrics: dict[str, float] = {}
    for key, name in pairs:
        item = value[key]
        if type(item) is float:
            metrics[name] = item
        elif type(item) is int and -(2**53) < item < 2**53:
            metrics[name] = float(item)
        else:
            return None
    step = value[step_key]
    if type(step) is not int or not 0 <= step < 2**53:
        return None
    total: int | None = None
    if total_key is not None:
        written = value[total_key]
        if type(written) is not int or not 0 <= written < 2**53:
            return None
        total = written or None
    epoch: float | None = None
    if has_epoch:
        at = value["epoch"]
        if (type(at) is not float and type(at) is not int) or not -1e15 < at < 1e15:
            return None
        epoch = float(at)
    elapsed: float | None = None
    if clocked:
        clock = value["elapsed_time"]
        # "H:MM:SS", the usual form, without a function call.
        if type(clock) is str and len(clock) == 7 and clock[1] == clock[4] == ":" and clock.isascii():
            try:
                elapsed = int(clock[0]) * 3600.0 + int(clock[2:4]) * 60 + int(clock[5:])
            except ValueError:
                elapsed = None
            if elapsed is None or elapsed < 0:
                elapsed = parse_elapsed(clock)
        else:
            elapsed = parse_elapsed(clock)
    return LogRow(kind, step, metrics if metrics else NO_VALUES, total, epoch, elapsed)


def make_block(rows: Sequence[Mapping[str, Any]], groups: Mapping[RowShape, Sequence[int]]) -> Block | None:
    """Return the rows as columns, or None where a value is not the plain number that its row's shape requires.

    ``groups`` maps each shape to the indices of its rows in ``rows``; together they hold every index once.
    """
    count = len(rows)
    names = {name for shape in groups for _, name in shape.metrics}
    if not is_dense(len(names), count, sum(len(shape.metrics) * len(group) for shape, group in groups.items())):
        return None
    kinds = bytearray(count)
    steps, totals = array("q", bytes(8 * count)), array("q", bytes(8 * count))
    unknown = array("d", [math.nan]) * count
    epochs, clocks = unknown[:], unknown[:]
    columns: dict[str, tuple[array[float], bytearray]] = {}
    # Whole seconds, as the producer writes them, are stored in half the memory.
    seconds = all(shape.clocked for shape in groups)
    for shape, group in groups.items():
        group_rows = rows if len(groups) == 1 else [rows[place] for place in group]
        for key, into in ((shape.step, steps), (shape.total, totals)):
            whole = _counts(group_rows, key)
            if whole is None:
                return None
            _assign(into, group, whole)
        if shape.epoch:
            at = _numbers(group_rows, "epoch", 1e15)
            if at is None:
                return None
            _assign(epochs, group, at)
        if shape.clocked:
            clock = list(map(_clock, [row["elapsed_time"] for row in group_rows]))
            seconds = seconds and set(map(type, clock)) == {int} and max(clock) < 2**31
            _assign(clocks, group, array("d", clock))
        for key, name in shape.metrics:
            numbers = _numbers(group_rows, key)
            if numbers is None:
                return None
            values, present = columns.setdefault(name, (unknown[:], bytearray(count)))
            _assign(values, group, numbers)
            _assign(present, group, b"\1" * len(group_rows))
        _assign(kinds, group, bytes([KINDS.index(shape.kind)]) * len(group_rows))
    return Block(
        bytes(kinds) if len({shape.kind for shape in groups}) > 1 else KINDS[kinds[0]],
        steps,
        totals if totals.count(totals[0]) < count else totals[0] if totals[0] != -1 else None,
        epochs if any(shape.epoch for shape in groups) else None,
        array("i", map(int, clocks)) if seconds else clocks if any(shape.clocked for shape in groups) else None,
        None,
        [Column(name, values, bytes(present) if 0 in present else None) for name, (values, present) in columns.items()],
    )


def _assign(into: Any, group: Sequence[int], values: Sequence[float]) -> None:
    """Set the places ``group`` of a column to ``values``."""
    if len(group) == len(into):
        into[:] = values
        return
    for place, value in zip(group, values, strict=True):
        into[place] = value


def _counts(rows: Sequence[Mapping[str, Any]], key: str | None) -> array[int] | None:
    """Return a column of counts, with -1 for no total and for a total of 0; None where a value is no count."""
    if key is None:
        return array("q", [-1]) * len(rows)
    values = [row[key] for row in rows]
    if set(map(type, values)) != {int} or min(values) < 0 or max(values) >= EXACT_LIMIT:
        return None
    return array("q", [value or -1 for value in values] if key == "total_steps" else values)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str, bound: float | None = None) -> array[float] | None:
    """Return a column of floats, None where a value is no exact number or not between -``bound`` and ``bound``."""
    values = [row[key] for row in rows]
    types = set(map(type, values))
    if not types <= {int, float}:
        return None
    if int in types and not all(-EXACT_LIMIT < value < EXACT_LIMIT for value in values if type(value) is int):
        return None
    if bound is not None and not all(-bound < value < bound for value in values):
        return None
    return array("d", values)


_TWO_DIGITS: Mapping[str, int] = {f"{n:02}": n for n in range(60)}
"""Number of seconds by its two digits."""
_MAX_CACHED = 24
"""Length in characters of the longest clock that is cached: "106751 days, 23:59:59" has 21."""
_HOURS_AND_MINUTES: dict[str, int] = {}
"""Cache of the seconds of recently read ``H:MM:`` prefixes."""


def _clock(text: object) -> float:
    """Return a clock in seconds as :func:`parse_elapsed` does, but nan for none; usually from a cache."""
    if type(text) is str and (seconds := _TWO_DIGITS.get(text[-2:])) is not None and text[-3:-2] == ":":
        known = _HOURS_AND_MINUTES.get(text[:-2])
        if known is not None:
            return known + seconds
        found = parse_elapsed(text)
        if found is not None and found == int(found) and len(text) <= _MAX_CACHED:
            if len(_HOURS_AND_MINUTES) >= 4096:
                _HOURS_AND_MINUTES.clear()
            _HOURS_AND_MINUTES[text[:-2]] = int(found) - seconds
            return int(found)
    else:
        found = parse_elapsed(text)
    return math.nan if found is None else found
