"""Write the same values into the files of other programs: TensorBoard events, W&B's transaction log, tlog's
metrics.jsonl.

Only what these files need is encoded, by hand, so that writing them needs none of the programs:

- event files: records of TFRecord (length, masked CRC-32C, data), each an ``Event`` message with one scalar, as the
  Hugging Face TensorBoardCallback writes them;
- ``.wandb``: the LevelDB log format (32 KiB blocks, CRC-32) of ``Record`` messages, a history and a summary a row. The
  file is begun by W&B's own SDK, offline; the record that closes it is cut off, so that the run counts as live;
- ``metrics.jsonl``: a line a row, with ``_step`` and ``_ts``.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tools.bench.data import plain_loss

EVENTS = "events.out.tfevents.1700000000.host.1.0"
BLOCK = 32768
Values = dict[str, float]


class Writer(Protocol):
    """Writer of the rows of one file."""

    def append(self, step: int, values: Values) -> None:
        """Append one row."""

    def flush(self) -> None:
        """Write buffered rows to the file."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Events:
    """An event file of TensorBoard, one scalar an event."""

    def __init__(self, path: Path) -> None:
        new = not path.exists()
        self._file = path.open("ab")
        self._lengths: dict[int, bytes] = {}
        if new:
            self._put(struct.pack("<Bd", 9, time.time()) + _bytes(3, b"brain.Event:2"))

    def _put(self, data: bytes) -> None:
        head = self._lengths.get(len(data))
        if head is None:
            length = struct.pack("<Q", len(data))
            head = self._lengths[len(data)] = length + _masked_crc(length)
        self._file.write(head + data + _masked_crc(data))

    def append(self, step: int, values: Values) -> None:
        """Append one row."""
        begin = struct.pack("<Bd", 9, time.time()) + _number(2, step)
        for name, value in values.items():
            scalar = _bytes(1, name.encode()) + struct.pack("<Bf", 21, value)
            self._put(begin + _bytes(5, _bytes(1, scalar)))

    def flush(self) -> None:
        """Write buffered rows to the file."""
        self._file.flush()


class Tlog:
    """A metrics.jsonl of tlog."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def append(self, step: int, values: Values) -> None:
        """Append one row."""
        row = {"_step": step, "_ts": time.time(), **values}
        self._file.write(json.dumps(row, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Write buffered rows to the file."""
        self._file.flush()


class Wandb:
    """The transaction log of a W&B run that was begun by W&B's SDK."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._file.seek(0, 2)
        self._count = 1_000_000  # above all numbers of the SDK's own records

    @staticmethod
    def cut_end(path: Path) -> None:
        """Drop the last record, which says that the run has ended."""
        size = path.stat().st_size
        with path.open("r+b") as file:
            block = (size - 1) // BLOCK * BLOCK
            file.seek(block)
            data = file.read()
            at, last = (0 if block else 7), 0
            while at + 7 <= len(data):
                last = at
                at += 7 + int(struct.unpack_from("<H", data, at + 4)[0])
            file.truncate(block + last)

    def _put(self, data: bytes) -> None:
        self._count += 1
        data = _number(1, self._count) + data
        first = True
        while True:
            left = BLOCK - self._file.tell() % BLOCK
            if left < 7:
                self._file.write(b"\0" * left)
                left = BLOCK
            part, data = data[: left - 7], data[left - 7 :]
            kind = (1 if first else 4) if not data else (2 if first else 3)
            crc = zlib.crc32(part, zlib.crc32(bytes([kind])))
            self._file.write(struct.pack("<IHB", crc, len(part), kind) + part)
            first = False
            if not data:
                return

    def append(self, step: int, values: Values) -> None:
        """Append one row."""
        named = {**values, "_step": step, "_runtime": step * 0.5, "_timestamp": time.time()}
        items = [_bytes(2, name.encode()) + _bytes(16, json.dumps(value).encode()) for name, value in named.items()]
        self._put(_bytes(2, b"".join(_bytes(1, item) for item in items) + _bytes(2, _number(1, step))))
        self._put(_bytes(3, b"".join(_bytes(1, item) for item in items)))

    def flush(self) -> None:
        """Write buffered rows to the file."""
        self._file.flush()


KINDS: dict[str, Callable[[Path], Writer]] = {"events": Events, "tlog": Tlog, "wandb": Wandb}


def values(step: int, loss: float | None, total: int) -> Values:
    """Return the values of a row, under the names that the Hugging Face callbacks give them."""
    return {
        "train/loss": loss if loss is not None else plain_loss(step),
        "train/learning_rate": 5e-5 * max(0.0, 1 - step / total),
        "train/epoch": round(3 * step / total, 4),
        "train/throughput": 1954.49,
    }
