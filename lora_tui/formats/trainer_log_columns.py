"""What the rows of ``trainer_log.jsonl`` with one sequence of keys have in common, so that many are read at once.

A row whose values are not the plain numbers that its shape promises is read by :mod:`lora_tui.formats.trainer_log`, one
by one and with more care. The keys' history is told there.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lora_tui.formats.json_lines import as_count, as_number
from lora_tui.records.documents import NOTHING, LogRow, RowKind
from lora_tui.records.rows import KINDS, LIMIT, Block, Column, is_dense

METRIC_NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}
NOT_METRICS = frozenset({
    "current_steps", "step", "global_step/max_steps", "iteration", "total_steps", "max_steps", "epoch", "percentage",
    "elapsed_time", "remaining_time",
})  # fmt: skip
_TRAIN_KEYS = frozenset({"loss", "lr", "reward"})
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Shape(NamedTuple):
    """How to read the rows that have one sequence of keys, none of them null."""

    kind: RowKind
    step: str
    total: str | None
    clocked: bool
    epoch: bool
    metrics: tuple[tuple[str, str], ...]
    """Pairs of name in the row, name in the record."""
    producer: str | None


def classify(metrics: Iterable[str], has_epoch: bool) -> RowKind:
    """Tell the kind of a row from the names of its metrics (as in :class:`LogRow`) and whether it has an epoch."""
    names = set(metrics)
    if not _TRAIN_KEYS.isdisjoint(names):
        return "train"
    # Before the epoch: transformers < 5.6 logs the final values of an eval-only job without one.
    if any(name.startswith("eval_") for name in names):
        return "eval"
    return "mark" if has_epoch else "progress"


def parse_elapsed(value: object) -> float | None:
    """Convert a duration to seconds.

    Reads ``str(timedelta)`` ("0:09:01", "1 day, 0:08:23", "3 days, 17:51:32"), ms-swift's "13h 35m 55s" and numbers;
    ``None`` for anything else, and for what is negative or not finite.
    """
    seconds = _seconds(value) if isinstance(value, str) else as_number(value)
    return seconds if seconds is not None and 0 <= seconds < math.inf else None


def _seconds(text: str) -> float | None:
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


def position(value: dict[str, object]) -> tuple[int | None, int | None, str | None]:
    """Return step, total steps and producer of a row by the aliases of all versions."""
    if value.get("current_steps") is not None:
        return as_count(value["current_steps"]), as_count(value.get("total_steps")), "llamafactory"
    for key in ("global_step/max_steps", "iteration"):
        text = value.get(key)
        if isinstance(text, str):
            done, _, total = text.partition("/")
            return as_count(done), as_count(total), "ms-swift"
    total_steps = value.get("total_steps")
    if total_steps is None:
        total_steps = value.get("max_steps")
    producer = "llamafactory-v1" if "total_steps" in value else None
    return as_count(value.get("step")), as_count(total_steps), producer


def shape_of(value: dict[str, object]) -> Shape | None:
    """Make the shape of a row whose keys hold plain numbers, ``None`` for a row that needs more care."""
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
    return Shape(
        kind=classify([name for _, name in metrics], has_epoch),
        step=step,
        total="total_steps" if "total_steps" in value else None,
        clocked="elapsed_time" in value,
        epoch=has_epoch,
        metrics=tuple(metrics),
        producer=position(value)[2],
    )


def read_as(shape: Shape, value: dict[str, object]) -> LogRow | None:
    """Read a row by its shape; ``None`` if a value is not the plain number that the shape promises."""
    kind, step_key, total_key, clocked, has_epoch, pairs, _ = shape
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
        # "H:MM:SS", the usual one, without a call.
        if type(clock) is str and len(clock) == 7 and clock[1] == clock[4] == ":" and clock.isascii():
            try:
                elapsed = int(clock[0]) * 3600.0 + int(clock[2:4]) * 60 + int(clock[5:])
            except ValueError:
                elapsed = None
            if elapsed is None or elapsed < 0:
                elapsed = parse_elapsed(clock)
        else:
            elapsed = parse_elapsed(clock)
    return LogRow(kind, step, metrics if metrics else NOTHING, total, epoch, elapsed)


def block_of(rows: Sequence[Mapping[str, Any]], groups: Mapping[Shape, Sequence[int]]) -> Block | None:
    """The rows in columns; ``None`` where a value is not the plain number that its row's shape promises.

    ``groups``: the places of the rows of each shape, together every place once.
    """
    count = len(rows)
    names = {name for shape in groups for _, name in shape.metrics}
    if not is_dense(len(names), count, sum(len(shape.metrics) * len(group) for shape, group in groups.items())):
        return None
    kinds = bytearray(count)
    steps, totals = array("q", bytes(8 * count)), array("q", bytes(8 * count))
    blank = array("d", [math.nan]) * count
    epochs, clocks = blank[:], blank[:]
    columns: dict[str, tuple[array[float], bytearray]] = {}
    seconds = all(shape.clocked for shape in groups)
    """All clocks are whole seconds, as the producer writes them."""
    for shape, group in groups.items():
        picked = rows if len(groups) == 1 else [rows[place] for place in group]
        for key, into in ((shape.step, steps), (shape.total, totals)):
            whole = _whole(picked, key)
            if whole is None:
                return None
            _put(into, group, whole)
        if shape.epoch:
            at = _numbers(picked, "epoch", 1e15)
            if at is None:
                return None
            _put(epochs, group, at)
        if shape.clocked:
            told = list(map(_clock, [row["elapsed_time"] for row in picked]))
            seconds = seconds and set(map(type, told)) == {int} and max(told) < 2**31
            _put(clocks, group, array("d", told))
        for key, name in shape.metrics:
            numbers = _numbers(picked, key)
            if numbers is None:
                return None
            values, seen = columns.setdefault(name, (blank[:], bytearray(count)))
            _put(values, group, numbers)
            _put(seen, group, b"\1" * len(picked))
        _put(kinds, group, bytes([KINDS.index(shape.kind)]) * len(picked))
    return Block(
        bytes(kinds) if len({shape.kind for shape in groups}) > 1 else KINDS[kinds[0]],
        steps,
        totals if totals.count(totals[0]) < count else totals[0] if totals[0] != -1 else None,
        epochs if any(shape.epoch for shape in groups) else None,
        array("i", map(int, clocks)) if seconds else clocks if any(shape.clocked for shape in groups) else None,
        None,
        [Column(name, values, bytes(seen) if 0 in seen else None) for name, (values, seen) in columns.items()],
    )


def _put(into: Any, group: Sequence[int], values: Sequence[float]) -> None:
    if len(group) == len(into):
        into[:] = values
        return
    for place, value in zip(group, values, strict=True):
        into[place] = value


def _whole(rows: Sequence[Mapping[str, Any]], key: str | None) -> array[int] | None:
    """Counts; -1 for a total of 0, which is none, or where there is none at all."""
    if key is None:
        return array("q", [-1]) * len(rows)
    values = [row[key] for row in rows]
    if set(map(type, values)) != {int} or min(values) < 0 or max(values) >= LIMIT:
        return None
    return array("q", [value or -1 for value in values] if key == "total_steps" else values)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str, bound: float | None = None) -> array[float] | None:
    values = [row[key] for row in rows]
    types = set(map(type, values))
    if not types <= {int, float}:
        return None
    if int in types and not all(-LIMIT < value < LIMIT for value in values if type(value) is int):
        return None
    if bound is not None and not all(-bound < value < bound for value in values):
        return None
    return array("d", values)


_SECONDS: Mapping[str, int] = {f"{n:02}": n for n in range(60)}
_LONGEST = 24
"""Characters of a clock that is remembered: "106751 days, 23:59:59" has 21."""
_MINUTES: dict[str, int] = {}
"""Seconds of an ``H:MM:``, of those seen last."""


def _clock(text: object) -> float:
    """As :func:`parse_elapsed`, ``nan`` for what is none. Its usual form costs two looks into a table."""
    if type(text) is str and (seconds := _SECONDS.get(text[-2:])) is not None and text[-3:-2] == ":":
        known = _MINUTES.get(text[:-2])
        if known is not None:
            return known + seconds
        found = parse_elapsed(text)
        if found is not None and found == int(found) and len(text) <= _LONGEST:
            if len(_MINUTES) >= 4096:
                _MINUTES.clear()
            _MINUTES[text[:-2]] = int(found) - seconds
            return int(found)
    else:
        found = parse_elapsed(text)
    return math.nan if found is None else found
