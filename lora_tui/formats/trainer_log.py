"""``trainer_log.jsonl`` of every LLaMA-Factory version, its v1 trainer's rows, and ms-swift's ``logging.jsonl``.

Sources: LLaMA-Factory ``LogCallback`` (``src/llamafactory/train/callbacks.py``, v0.0.9 to v0.9.6), its v1
``LoggingCallback``, and ms-swift's ``ProgressCallbackNew``. One JSON object a line, appended; ``NaN`` and ``Infinity``
are written as Python's ``json`` does. What differs between the versions: absent values were ``null`` up to v0.7.0;
``throughput`` was a string in v0.8 ("0.00" if tokens are not counted); ``learning_rate`` became ``lr`` in v0.9.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import NamedTuple

from lora_tui.formats.lines import LineSplitter, Problems, as_count, as_number, as_text, load_json
from lora_tui.formats.records import NOTHING, LogRow, Problem, RowKind

_BATCH = 256
"""Lines decoded in one call: one call for many lines costs half of one call for each."""

_METRIC_NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}
_NOT_METRICS = frozenset({
    "current_steps", "step", "global_step/max_steps", "iteration", "total_steps", "max_steps", "epoch", "percentage",
    "elapsed_time", "remaining_time",
})  # fmt: skip
_TRAIN_KEYS = frozenset({"loss", "lr", "reward"})
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class _Shape(NamedTuple):
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


class TrainerLogParser:
    """Incremental parser of ``trainer_log.jsonl`` (a ``StreamParser``); whole memory is one unfinished line.

    Problems: "not JSON", "not an object", "no step", and a line of more than 4 MiB; such a line is skipped. Blank lines
    and the closing summary object of ms-swift are skipped in silence.
    """

    def __init__(self) -> None:
        self.producer: str | None = None
        """"llamafactory", "llamafactory-v1" or "ms-swift", as the keys of the latest row say; ``None`` before one."""
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def feed(self, data: bytes) -> list[LogRow]:
        """Return the rows of the lines that ``data`` completes, in file order. Never raises on content."""
        lines = self._lines.feed(data)
        rows: list[LogRow] = []
        for start in range(0, len(lines), _BATCH):
            batch = lines[start : start + _BATCH]
            objects = _decode_together(batch)
            if objects is None:
                self._read_each(batch, rows)
            else:
                self._read_all(batch, objects, rows)
        return rows

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call, at most 20 and one that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> object | None:
        """Return ``None``: rows are all there is."""
        return None

    def _read_all(self, batch: list[tuple[int, bytes]], objects: list[object], rows: list[LogRow]) -> None:
        for (number, _), value in zip(batch, objects, strict=True):
            self._read(number, value, rows)

    def _read_each(self, batch: list[tuple[int, bytes]], rows: list[LogRow]) -> None:
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

    def _read(self, number: int, value: object, rows: list[LogRow]) -> None:
        if not isinstance(value, dict):
            self._problems.add(number, "not an object")
            return
        keys = tuple(value)
        try:
            shape = self._shapes[keys]
        except KeyError:
            if len(self._shapes) >= 256:
                self._shapes.clear()
            shape = self._shapes[keys] = _shape_of(value)
        row = _read_as(shape, value) if shape is not None else None
        if row is not None and shape is not None:
            self.producer = shape.producer
            rows.append(row)
        else:
            self._read_slowly(number, value, rows)

    def _read_slowly(self, number: int, value: dict[str, object], rows: list[LogRow]) -> None:
        """Read a row of any version: nulls, strings for numbers, values that are no numbers at all."""
        if "log_history" in value or "last_model_checkpoint" in value:
            return
        step, total, producer = _position(value)
        if step is None:
            self._problems.add(number, "no step")
            return
        self.producer = producer
        metrics: dict[str, float] = {}
        uncounted = False
        for key, item in value.items():
            if key in _NOT_METRICS:
                continue
            metric = as_number(item)
            if metric is None:
                continue
            if key == "throughput" and metric == 0 and isinstance(item, str):
                uncounted = True
                continue
            name = as_text(key)
            metrics[_METRIC_NAMES.get(name, name)] = metric
        if uncounted and metrics.get("total_tokens") == 0:
            del metrics["total_tokens"]
        if "rewards/accuracies" in metrics:
            metrics.setdefault("accuracy", metrics["rewards/accuracies"])
        has_epoch = value.get("epoch") is not None
        kind = classify(metrics, has_epoch)
        epoch = as_number(value.get("epoch"))
        if epoch is not None and not math.isfinite(epoch):
            epoch = None
        elapsed = parse_elapsed(value.get("elapsed_time"))
        rows.append(LogRow(kind, step, metrics or NOTHING, total or None, epoch, elapsed))


def _decode_together(batch: list[tuple[int, bytes]]) -> list[object] | None:
    """Decode lines as one JSON array; ``None`` if any of them is not exactly one value."""
    try:
        text = b"[%b]" % b",".join([line for _, line in batch])
        objects: list[object] = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    # As many values as lines: two values in one line cannot pass, unless another line is the half of one.
    return objects if len(objects) == len(batch) else None


def _position(value: dict[str, object]) -> tuple[int | None, int | None, str | None]:
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


def _shape_of(value: dict[str, object]) -> _Shape | None:
    """Make the shape of a row whose keys hold plain numbers, ``None`` for a row that needs more care."""
    if "max_steps" in value or "global_step/max_steps" in value or "iteration" in value:
        return None
    step = "current_steps" if "current_steps" in value else "step"
    names = [key for key in value if key not in _NOT_METRICS]
    plain = all(type(value[key]) in (int, float) for key in names) and type(value.get(step)) is int
    if not plain or not all(map(str.isascii, value)):
        return None
    metrics = [(key, _METRIC_NAMES.get(key, key)) for key in names]
    if "rewards/accuracies" in names and "accuracy" not in names:
        metrics.append(("rewards/accuracies", "accuracy"))
    has_epoch = value.get("epoch") is not None
    return _Shape(
        kind=classify([name for _, name in metrics], has_epoch),
        step=step,
        total="total_steps" if "total_steps" in value else None,
        clocked="elapsed_time" in value,
        epoch=has_epoch,
        metrics=tuple(metrics),
        producer=_position(value)[2],
    )


def _read_as(shape: _Shape, value: dict[str, object]) -> LogRow | None:
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
        if type(clock) is str and len(clock) == 7 and clock[1] == ":" and clock.isascii():
            try:
                elapsed = int(clock[0]) * 3600.0 + int(clock[2:4]) * 60 + int(clock[5:])
            except ValueError:
                elapsed = None
        else:
            elapsed = parse_elapsed(clock)
    return LogRow(kind, step, metrics if metrics else NOTHING, total, epoch, elapsed)
