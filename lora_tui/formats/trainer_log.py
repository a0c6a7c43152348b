"""``trainer_log.jsonl`` of every LLaMA-Factory version, its v1 trainer's rows, and ms-swift's ``logging.jsonl``.

Sources: LLaMA-Factory ``LogCallback`` (``src/llamafactory/train/callbacks.py``, v0.0.9 to v0.9.6), its v1
``LoggingCallback``, and ms-swift's ``ProgressCallbackNew``. One JSON object a line, appended; ``NaN`` and ``Infinity``
are written as Python's ``json`` does. What differs between the versions: absent values were ``null`` up to v0.7.0;
``throughput`` was a string in v0.8 ("0.00" if tokens are not counted); ``learning_rate`` became ``lr`` in v0.9.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from lora_tui.formats.json_lines import (
    MAX_METRICS,
    LineSplitter,
    Problems,
    as_number,
    as_text,
    load_json,
    load_json_fast,
)
from lora_tui.formats.trainer_log_columns import (
    METRIC_NAMES,
    NOT_METRICS,
    Shape,
    block_of,
    classify,
    parse_elapsed,
    position,
    read_as,
    shape_of,
)
from lora_tui.records.documents import NOTHING, LogRow, Problem
from lora_tui.records.rows import FEW, Block, Rows

_BATCH = 512
"""Lines decoded in one call, up to twice as many: one call for many lines costs half of one call for each."""
_MOST_SHAPES = 256
_LONG = 4096
"""Lines of a log from which on it is long, and the fast reader of JSON pays its import."""


class TrainerLogParser:
    """Incremental parser of ``trainer_log.jsonl`` (a ``StreamParser``); whole memory is one unfinished line.

    Problems: "not JSON", "not an object", "no step", more than 1000 values, and a line of more than 4 MiB; such a line
    is skipped. Blank lines and the closing summary object of ms-swift are skipped in silence.
    """

    def __init__(self) -> None:
        self.producer: str | None = None
        """"llamafactory", "llamafactory-v1" or "ms-swift", as the keys of the latest row say; ``None`` before one."""
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._shapes: dict[tuple[str, ...], Shape | None] = {}

    def feed(self, data: bytes) -> Sequence[LogRow]:
        """Return the rows of the lines that ``data`` completes, in file order. Never raises on content."""
        lines = self._lines.feed(data)
        rows = Rows()
        # Batches of about one size: a few lines at the end would be rows one by one, which cost many times as much.
        batches = max(1, len(lines) // _BATCH)
        for number in range(batches if lines else 0):
            batch = lines[len(lines) * number // batches : len(lines) * (number + 1) // batches]
            objects = _decode_together(batch, fast=batch[0][0] > _LONG)
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

    def _read_all(self, batch: list[tuple[int, bytes]], objects: list[object], rows: Rows) -> None:
        block = self._block(objects) if len(objects) >= FEW else None
        if block is not None:
            rows.add(block)
            return
        for (number, _), value in zip(batch, objects, strict=True):
            self._read(number, value, rows)

    def _block(self, objects: list[object]) -> Block | None:
        """All rows at once where each is plain, as those of a healthy log are."""
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
        groups: dict[Shape, Sequence[int]] = {}
        for key, group in places.items():
            shape = self._shape(key, values[group[0]])
            if shape is None or shape in groups:
                return None
            groups[shape] = group
        block = block_of(values, groups)
        last = self._shapes.get(keys[-1])
        if block is not None and last is not None:
            self.producer = last.producer
        return block

    def _shape(self, keys: tuple[str, ...], value: dict[str, object]) -> Shape | None:
        if len(keys) > MAX_METRICS:
            return None
        try:
            return self._shapes[keys]
        except KeyError:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            shape = self._shapes[keys] = shape_of(value)
            return shape

    def _read_each(self, batch: list[tuple[int, bytes]], rows: Rows) -> None:
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
        if not isinstance(value, dict):
            self._problems.add(number, "not an object")
            return
        if len(value) > MAX_METRICS:
            self._problems.add(number, f"more than {MAX_METRICS} values")
            return
        shape = self._shape(tuple(value), value)
        row = read_as(shape, value) if shape is not None else None
        if row is not None and shape is not None:
            self.producer = shape.producer
            rows.append(row)
        else:
            self._read_slowly(number, value, rows)

    def _read_slowly(self, number: int, value: dict[str, object], rows: Rows) -> None:
        """Read a row of any version: nulls, strings for numbers, values that are no numbers at all."""
        if "log_history" in value or "last_model_checkpoint" in value:
            return
        step, total, producer = position(value)
        if step is None:
            self._problems.add(number, "no step")
            return
        self.producer = producer
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
        if "rewards/accuracies" in metrics:
            metrics.setdefault("accuracy", metrics["rewards/accuracies"])
        has_epoch = value.get("epoch") is not None
        kind = classify(metrics, has_epoch)
        epoch = as_number(value.get("epoch"))
        if epoch is not None and not math.isfinite(epoch):
            epoch = None
        elapsed = parse_elapsed(value.get("elapsed_time"))
        rows.append(LogRow(kind, step, metrics or NOTHING, total or None, epoch, elapsed))


def _decode_together(batch: list[tuple[int, bytes]], fast: bool) -> list[object] | None:
    """Decode lines as one JSON array; ``None`` if any of them is not exactly one flat object, or not plain."""
    text = b",\n".join([line for _, line in batch])
    # No value goes on from line to line: not a string, which holds no line break, not an object, in which no "{" may
    # follow a comma, and there are no arrays. So where there are as many values as lines, each line is one.
    if b"[" in text or text[:1] != b"{" or text.count(b",\n{") != len(batch) - 1:
        return None
    try:
        objects = load_json_fast(b"[%b]" % text) if fast else json.loads((b"[%b]" % text).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return objects if isinstance(objects, list) and len(objects) == len(batch) else None
