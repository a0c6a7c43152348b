"""Readers of one file of a run: a log from where the last reading ended, any other file as a whole.

A list of many runs shows one line of each. Of a long log that nobody writes any more it needs the first, the last and
the evaluation rows, which :func:`read_sample` reads alone: a thousand logs read whole would take seconds and a hundred
megabytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lora_tui.formats.results import parse_results
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.records.documents import LogRow, StreamParser, TornError
from lora_tui.records.file_names import (
    ADAPTER_CONFIG,
    LLAMABOARD_CONFIG,
    MODEL_CARD,
    RESULTS,
    TRAINER_STATE,
    TRAINING_ARGS,
)
from lora_tui.records.rows import Rows
from lora_tui.records.updates import FileDoc, FileProblem, FileRows, FileSeen, RowSource, Update
from lora_tui.sources.base import Entry, Source, SourceError

CHUNK = 1 << 18
"""Bytes of a log that are read at a time."""
MAX_DOCUMENT = 1 << 26
"""Size in bytes (64 MiB) beyond which a document is not read."""
TORN_S = 5.0
"""Seconds after which a document that is cut off is reported: no producer writes its JSON atomically."""
FINGERPRINT = 64
"""First bytes of a log by which a replaced one is recognised."""
SETTLE_S = 2.0
"""Seconds after which nothing more is expected that belongs to the last line of a console log."""

MIN_SAMPLED = 1 << 16
"""Smallest log in bytes that is sampled: of a smaller one there would be little to skip."""
SAMPLE_HEAD, SAMPLE_TAIL = 1 << 11, 1 << 12
"""Bytes read at either end of a sampled log."""
SAMPLE_MIDDLE = 1 << 25
"""Bytes before the end of a sampled log that are searched for evaluations."""
SAMPLE_CHUNK = 1 << 20
"""Bytes of a sampled log that are searched at a time."""
EVAL_KEY = b'"eval_'
"""Start of the keys by which an evaluation row is found."""


class TailReader:
    """Reads what is appended to a file. ``source`` is the kind of its rows, None if it has none."""

    def __init__(self, name: str, entry: Entry, source: RowSource | None) -> None:
        self.name = name
        self.entry = entry
        """The file when it was looked at last."""
        self.failed = False
        """Whether the last reading failed, so that the next one is due though nothing has changed."""
        self.settled = True
        """Whether no row that was read waits for more text that may belong to it."""
        self.sampled = False
        """Whether only the ends and the evaluations of the file have been reported so far."""
        self._source = source
        self._parser = _stream_parser(source)
        self._offset = 0
        self._head = b""
        self._key: tuple[int, int] | None = None
        self._restarted = False
        self._snapshot: object | None = None

    def read(self, disk: Source, end: float, live: bool, now: float) -> tuple[list[Update], bool]:
        """Return the updates of what the file has gained, and whether that was all.

        Read until ``end`` (monotonic seconds). ``live``: what is new since the last reading was written just now, at
        ``now`` (Unix seconds). Raises SourceError.
        """
        if not self.entry.is_file:
            raise SourceError("not a regular file")
        known = self._key is not None
        self._check_replaced(disk)
        self._restarted = self._restarted or self.sampled
        self.sampled = False
        rows = Rows()
        all_read = False
        while not all_read:
            try:
                data = disk.read(self.entry.path, self._offset, CHUNK)
            except SourceError:
                if not rows:
                    raise
                # What was parsed is reported first; if the error lasts, the next reading raises it again.
                break
            self._offset += len(data)
            rows.extend(self._parser.feed(data))
            if len(data) < CHUNK:
                all_read = True
                self.settled = self._source != "console"
                rows.extend(self._settle(now, live))
            elif time.monotonic() >= end:
                break
        return self._updates(rows, now if live and known else None), all_read

    def read_sample(self, disk: Source) -> list[Update]:
        """Return the ends and the evaluations of a trainer_log.jsonl; the next reading returns all rows. Raises
        SourceError."""
        if not self.entry.is_file:
            raise SourceError("not a regular file")
        parser, (front, end) = TrainerLogParser(), read_sample(disk, self.entry)
        first, last = parser.feed(front), parser.feed(end)
        again, self.sampled = self.sampled, True
        return [FileRows(self.name, "log", Rows([*first, *last]), self.entry.mtime, again, None, len(last))]

    def _check_replaced(self, disk: Source) -> None:
        """Start over if the file is another one now, or is shorter or begins differently than before."""
        entry = self.entry
        head = disk.read(entry.path, 0, FINGERPRINT)
        if entry.size < self._offset:
            # It may have been appended to while it was read.
            entry = self.entry = disk.stat(entry.path) or entry
        same = self._key in (None, entry.key) and entry.size >= self._offset and head.startswith(self._head)
        if not same:
            self._parser = _stream_parser(self._source)
            self._offset = 0
            self._restarted = True
            self._snapshot = None
        self._key = entry.key
        self._head = head

    def _settle(self, now: float, live: bool) -> Sequence[LogRow]:
        """Return the row of a console log that waited for its progress bar, if this is the first reading or the log is
        quiet by now."""
        if self.settled or (live and now - self.entry.mtime < SETTLE_S):
            return []
        self.settled = True
        return self._parser.feed(b"")

    def _updates(self, rows: Sequence[LogRow], arrived: float | None) -> list[Update]:
        out: list[Update] = []
        name, mtime, source = self.name, self.entry.mtime, self._source
        if self._restarted:
            # The problems were those of the file before.
            out.append(FileProblem(name, 0, ""))
        if source is not None and (rows or self._restarted or source == "log"):
            out.append(FileRows(name, source, rows, mtime, self._restarted, arrived))
        self._restarted = False
        snapshot = self._parser.snapshot()
        if snapshot is not None and (snapshot is not self._snapshot or source == "console"):
            self._snapshot = snapshot
            out.append(FileDoc(name, snapshot, mtime))
        elif source == "events" and not rows:
            out.append(FileSeen(name, mtime))
        out.extend(FileProblem(name, problem.line, problem.reason) for problem in self._parser.take_problems())
        return out


class DocumentReader:
    """Reads a file as a whole. ``name`` is relative to the run; its last part is one of ``file_names.DOCUMENTS``."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name = name
        self.entry = entry
        """The file when it was looked at last."""
        self._parse = _document_parser(name.rpartition("/")[2])
        self._read_version: object = None
        """Version of the file that has been read."""

    @property
    def changed(self) -> bool:
        """Whether the file differs from what was read of it."""
        return self._read_version != self.entry.version

    def read(self, disk: Source, now: float) -> FileDoc | None:
        """Return the document, or None while it is being written. Raises FormatError once per version, and
        SourceError."""
        entry = self.entry
        if not entry.is_file:
            raise SourceError("not a regular file")
        if entry.size > MAX_DOCUMENT:
            raise SourceError(f"larger than {MAX_DOCUMENT >> 20} MiB, not read")
        # A permission that comes back makes no new version, so the version counts as read only after the reading.
        data = disk.read(entry.path, 0, MAX_DOCUMENT)
        self._read_version = entry.version
        try:
            return FileDoc(self.name, self._parse(data), entry.mtime)
        except TornError:
            if now - entry.mtime >= TORN_S:
                raise
            # It is read again next time.
            self._read_version = None
            return None


def _document_parser(name: str) -> Callable[[bytes], object]:
    """Return the parser of a document. Import those of configuration files here, as not every run has any."""
    if name == TRAINER_STATE:
        return parse_trainer_state
    if name in RESULTS:
        return lambda data: parse_results(name, data)
    from lora_tui.formats import config_files

    parsers: dict[str, Callable[[bytes], object]] = {
        ADAPTER_CONFIG: config_files.parse_adapter_config,
        TRAINING_ARGS: config_files.parse_training_args,
        LLAMABOARD_CONFIG: config_files.parse_llamaboard_config,
        MODEL_CARD: config_files.parse_model_card,
    }
    return parsers[name]


def _stream_parser(source: RowSource | None) -> StreamParser:
    if source == "log":
        return TrainerLogParser()
    if source == "events":
        from lora_tui.formats.tensorboard import EventFileParser

        return EventFileParser()
    if source == "console":
        from lora_tui.formats.console.parser import ConsoleParser

        return ConsoleParser()
    from lora_tui.formats.predictions import PredictionsParser

    return PredictionsParser()


def is_worth_sampling(entry: Entry) -> bool:
    """Return whether reading a sample of a log saves much."""
    return entry.size >= MIN_SAMPLED


def read_sample(disk: Source, entry: Entry) -> tuple[bytes, bytes]:
    """Return lines of a log in their order: its first ones and its evaluations, and all of its last ones.

    One may be cut off at its front, which no parser accepts. Raises SourceError.
    """
    head = disk.read(entry.path, 0, SAMPLE_HEAD)
    lines = [head[: head.rfind(b"\n") + 1]]
    at = max(len(lines[0]), entry.size - SAMPLE_MIDDLE)
    last = max(at, entry.size - SAMPLE_TAIL)
    rest = b""
    while at < last and (read := disk.read(entry.path, at, min(SAMPLE_CHUNK, last - at))):
        at += len(read)
        data = rest + read
        stop = data.rfind(b"\n") + 1
        found = data.find(EVAL_KEY)
        while 0 <= found < stop:
            end = data.find(b"\n", found) + 1
            lines.append(data[data.rfind(b"\n", 0, found) + 1 : end])
            found = data.find(EVAL_KEY, end)
        # No line of a log is that long.
        rest = data[stop:] if len(data) - stop < SAMPLE_CHUNK else b""
    return b"".join(lines), rest + disk.read(entry.path, at, entry.size - at)
