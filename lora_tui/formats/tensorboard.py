"""TensorBoard event files (``events.out.tfevents.*``): scalars with their wall time, and the training arguments.

Sources: TensorFlow ``record_writer`` (framing: length, masked CRC-32C of it, data, masked CRC-32C of it),
``event.proto``/``summary.proto``/``tensor.proto`` (protobuf wire format), transformers ``TensorBoardCallback`` (tags
``train/…`` and ``eval/…``, one event per scalar, texts ``args`` and ``model_config``), trl's PPO (tags of its own).

The parser needs neither tensorboard nor protobuf, which are large and need not be installed where runs are watched.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from types import MappingProxyType

from lora_tui.formats.json_lines import MAX_COUNT, MAX_METRICS, Problems, as_text, load_json
from lora_tui.formats.metric_names import METRIC_NAMES
from lora_tui.formats.secrets import mask_secrets
from lora_tui.records.documents import NO_VALUES, ConfigDoc, ConfigValue, LogRow, Problem, RowKind

MAX_RECORD = 64 * 1024 * 1024
"""Size in bytes of the longest record that is skipped; a longer one is taken for damage despite its valid checksum."""
_MAX_KEPT = 4 * 1024 * 1024
"""Size in bytes of the largest record that is parsed; a longer one (histogram, image) is skipped."""

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")

_SUMMARY = frozenset({"train/train_samples_per_second", "train/train_steps_per_second", "train/total_flos",
                      "train/train_loss"})  # fmt: skip
"""Tags of the summary at the end of training."""
_CLOCKS = frozenset({"train/train_runtime", "train/train_tokens_per_second"})
"""Tags of the run time and the speed, which are not kept as metrics."""
_EPOCH = frozenset({"train/epoch", "epoch"})
"""Tags of the epoch."""
_TRAIN_ONLY = frozenset({"train/loss", "train/learning_rate", "train/grad_norm", "train/reward", "train/train_runtime"})
"""Tags that never belong to the metrics of an evaluation."""
_LATEST = 1e11
"""Latest wall time that is accepted, in Unix seconds (the year 5138); a later one is damage."""
_MODEL_KEYS = ("vocab_size", "num_hidden_layers", "hidden_size", "model_type", "_name_or_path")
"""Keys of the model's configuration that are kept."""
# Codes of tensorflow.DataType.
_DT_FLOAT, _DT_DOUBLE, _DT_INT32, _DT_STRING, _DT_INT64 = 1, 2, 3, 7, 9

Field = tuple[int, int | bytes]
"""Number of a protobuf field, and its varint or its bytes (8 for fixed64, 4 for fixed32)."""


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of ``data``, rotated and shifted as TensorFlow stores it (32 bits)."""
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class EventFileParser:
    """Incremental parser of an event file (a ``StreamParser``).

    transformers writes the scalars of a logging event one by one. A row consists of consecutive scalars of one step and
    one kind, and is returned when another begins or the feed ends. So an event that is split over two feeds gives two
    rows of the same kind and step that complete each other; the second holds only what is new and may have no values
    but an epoch. ``time`` is that of the row's first scalar. Steps are global steps; values are float32, as stored, and
    named as in the other files (``train/learning_rate`` is ``lr``, ``eval/runtime`` is ``eval_runtime``; tags without
    such a prefix stay). The metrics of an evaluation that transformers tags ``train/…`` (epoch, tokens, kl of KTO)
    belong to its eval row. The closing summary becomes a ``mark``.

    A record with a wrong checksum is a problem, and nothing after it is read. An incomplete record waits for more data.
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._data = bytearray()
        self._skip = 0
        """Number of bytes of a large record that are still to be skipped."""
        self._broken = False
        """Whether the file is damaged, so that nothing more of it is read."""
        self._args: dict[str, ConfigValue] = {}
        self._kind: RowKind | None = None
        self._step = 0
        self._tags: set[str] = set()
        self._values: dict[str, float] = {}
        self._epoch: float | None = None
        self._time: float | None = None
        self._has_scalars = False
        """Whether the current row has a scalar."""

    def feed(self, data: bytes) -> list[LogRow]:
        """Return the rows in the next bytes, also a partial one at the end."""
        rows: list[LogRow] = []
        if self._broken:
            return rows
        self._data += data
        buffer = bytes(self._data)
        at = 0
        while (record := self._next_record(buffer, at)) is not None:
            payload, at = record
            if payload:
                try:
                    self._read_event(payload, rows)
                except ValueError as error:
                    self._problems.add(0, f"not an event: {error}")
        del self._data[:at]
        self._flush(rows)
        return rows

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call; their line is 0."""
        return self._problems.take()

    def snapshot(self) -> ConfigDoc | None:
        """Return the scalar training arguments and the size of the model with secrets masked, or None before them."""
        return ConfigDoc(MappingProxyType(dict(self._args))) if self._args else None

    # -- framing --------------------------------------------------------------------------------------------------

    def _next_record(self, buffer: bytes, at: int) -> tuple[bytes, int] | None:
        """Return the data of a record (empty if skipped) and the index after it, or None if it is incomplete."""
        if self._skip:
            step = min(self._skip, len(buffer) - at)
            self._skip -= step
            return (b"", at + step) if step else None
        if len(buffer) - at < 12:
            return None
        head = buffer[at : at + 8]
        length, crc = _HEADER.unpack_from(buffer, at)
        if masked_crc32c(head) != crc or length > MAX_RECORD:
            self._stop("record length with a wrong checksum")
            return None
        if length > _MAX_KEPT:
            self._skip = length + 4
            return b"", at + 12
        end = at + 12 + length
        if len(buffer) < end + 4:
            return None
        payload = buffer[at + 12 : end]
        if masked_crc32c(payload) != _CRC.unpack_from(buffer, end)[0]:
            self._stop("record with a wrong checksum")
            return None
        return payload, end + 4

    def _stop(self, reason: str) -> None:
        """Report damage after which nothing more of the file is read."""
        self._broken = True
        self._data.clear()
        self._problems.add(0, f"{reason}: the rest of the file is not read")

    # -- events ---------------------------------------------------------------------------------------------------

    def _read_event(self, payload: bytes, rows: list[LogRow]) -> None:
        """Parse an ``Event`` message; append the rows that it completes. Raises ValueError where it is damaged."""
        time: float | None = None
        step = 0
        summaries: list[bytes] = []
        for number, value in _fields(payload):
            if number == 1 and isinstance(value, bytes) and len(value) == 8:
                time = _DOUBLE.unpack(value)[0]
                if not 0 <= time < _LATEST:
                    time = None
            elif number == 2 and isinstance(value, int):
                step = value
            elif number == 5 and isinstance(value, bytes):
                summaries.append(value)
        for summary in summaries:
            for number, value in _fields(summary):
                if number == 1 and isinstance(value, bytes):
                    self._read_value(value, step, time, rows)

    def _read_value(self, data: bytes, step: int, time: float | None, rows: list[LogRow]) -> None:
        """Parse a ``Summary.Value`` message at a step and a Unix time. Raises ValueError where it is damaged."""
        tag = ""
        scalar: float | None = None
        tensor: bytes | None = None
        for number, value in _fields(data):
            if not isinstance(value, bytes):
                continue
            if number == 1:
                tag = as_text(value.decode("utf-8", "replace"))
            elif number == 2 and len(value) == 4:
                scalar = _FLOAT.unpack(value)[0]
            elif number == 8:
                tensor = value
        if tensor is not None:
            if tag in ("args/text_summary", "model_config/text_summary"):
                self._read_text(tag, tensor)
                return
            scalar = _tensor_scalar(tensor)
        if scalar is not None and tag and 0 <= step < MAX_COUNT:
            self._add_scalar(tag, scalar, step, time, rows)

    def _read_text(self, tag: str, tensor: bytes) -> None:
        """Read the training arguments or the model's configuration from a text."""
        texts = [value for number, value in _fields(tensor) if number == 8 and isinstance(value, bytes)]
        try:
            found = load_json(texts[0].decode("utf-8", "replace")) if texts else None
        except (json.JSONDecodeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._problems.add(0, f"{tag}: not a JSON object")
            return
        scalars: dict[str, ConfigValue] = {
            as_text(key): as_text(value) if isinstance(value, str) else value
            for key, value in found.items()
            if isinstance(value, (str, int, float))
        }
        if tag.startswith("model_config"):
            scalars = {key: scalars[key] for key in _MODEL_KEYS if key in scalars}
        if len(self._args.keys() | scalars.keys()) > MAX_METRICS:
            self._problems.add(0, f"{tag}: more than {MAX_METRICS} values")
            return
        self._args.update(mask_secrets(scalars))

    # -- rows -----------------------------------------------------------------------------------------------------

    def _add_scalar(self, tag: str, value: float, step: int, time: float | None, rows: list[LogRow]) -> None:
        """Add a scalar to the current row, or to a new one where it belongs to another step or kind."""
        kind = self._kind_of(tag, step)
        if kind != self._kind or step != self._step or tag in self._tags:
            self._flush(rows)
            if tag in self._tags and kind == "eval" and not tag.startswith("eval/"):
                kind = "train"
            self._kind = kind
            self._step = step
            self._tags = set()
        if len(self._tags) >= MAX_METRICS:
            return
        self._tags.add(tag)
        if not self._has_scalars:
            self._time = time
            self._has_scalars = True
        if tag in _EPOCH:
            self._epoch = value
        elif kind != "mark" and tag not in _CLOCKS:
            group, slash, name = tag.partition("/")
            if slash and group == "train":
                name = METRIC_NAMES.get(name, name)
            elif slash and group == "eval":
                name = f"eval_{name}"
            else:
                name = tag
            self._values[name] = value
            if name == "rewards/accuracies" and kind == "train":
                self._values.setdefault("accuracy", value)

    def _kind_of(self, tag: str, step: int) -> RowKind:
        """Return the kind of the row that a scalar belongs to, which may be the current row."""
        if tag.startswith("eval/"):
            return "eval"
        if tag in _SUMMARY:
            return "mark"
        current = self._kind
        if step != self._step or current is None or current == "train":
            return "train"
        if current == "eval":
            return "train" if tag in _TRAIN_ONLY else "eval"
        return "mark" if tag not in _TRAIN_ONLY or tag == "train/train_runtime" else "train"

    def _flush(self, rows: list[LogRow]) -> None:
        """Append the current row, unless it is empty, and begin another."""
        if not self._has_scalars or self._kind is None:
            return
        # The train_runtime of the summary, which comes first, would make an empty row.
        if self._values or self._epoch is not None or self._kind == "mark":
            rows.append(LogRow(self._kind, self._step, self._values or NO_VALUES, None, self._epoch, None, self._time))
        self._values = {}
        self._epoch = self._time = None
        self._has_scalars = False


def _fields(data: bytes) -> Iterator[Field]:
    """Yield the fields of a protobuf message. Raises ValueError where it is damaged."""
    at = 0
    end = len(data)
    while at < end:
        key = data[at]
        at += 1
        if key >= 0x80:
            key, at = _varint(data, at - 1)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 1:
            size = 8
        elif wire == 5:
            size = 4
        elif wire == 2:
            size, at = _varint(data, at)
        else:
            raise ValueError(f"wire type {wire}")
        # Varints are signed here, and a negative length would move backwards for ever.
        if not 0 <= size <= end - at:
            raise ValueError("field longer than its message")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint as a signed 64-bit number, and the index after it. Raises ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("cut in a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= 0xFFFFFFFFFFFFFFFF
            return (value - (1 << 64) if value >> 63 else value), at
    raise ValueError("number longer than 10 bytes")


def _tensor_scalar(tensor: bytes) -> float | None:
    """Return the number in a tensor that holds one (newer summary writers store scalars so), else None."""
    dtype = 0
    content = b""
    numbers: list[float] = []
    for number, value in _fields(tensor):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif isinstance(value, int):
            if number in (7, 10):
                numbers.append(float(value))
        elif number == 5 and len(value) % 4 == 0:
            numbers.extend(one for (one,) in _FLOAT.iter_unpack(value))
        elif number == 6 and len(value) % 8 == 0:
            numbers.extend(one for (one,) in _DOUBLE.iter_unpack(value))
        elif number in (7, 10):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                numbers.append(float(one))
    formats = {_DT_FLOAT: "<f", _DT_DOUBLE: "<d", _DT_INT32: "<i", _DT_INT64: "<q"}
    if content and dtype in formats and len(content) == struct.calcsize(formats[dtype]):
        numbers = [float(struct.unpack(formats[dtype], content)[0])]
    return numbers[0] if len(numbers) == 1 and dtype != _DT_STRING else None
