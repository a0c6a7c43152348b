"""Reads one file of a run: from where the last look ended if rows are appended to it, else as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lora_tui.formats.results import parse_results
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.ingest.checkpoint_dirs import STATE
from lora_tui.ingest.directory_tree import RESULTS
from lora_tui.ingest.glimpse import glimpse
from lora_tui.records.documents import LogRow, StreamParser, TornError
from lora_tui.records.rows import Rows
from lora_tui.records.updates import FileDoc, FileProblem, FileRows, FileSeen, RowSource, Update
from lora_tui.sources.base import Entry, Source, SourceError

CHUNK = 1 << 18
MAX_DOC = 1 << 26
"""A whole-file document beyond 64 MiB is not read."""
TORN_S = 5.0
"""How long a document may be cut off before that is said: no producer writes its JSON atomically."""
HEAD = 64
SETTLE_S = 2.0
"""After so long nothing comes any more that belongs to the last line of a console log."""
ADAPTER = "adapter_config.json"
DOCUMENTS = RESULTS | {STATE, ADAPTER, "training_args.yaml", "llamaboard_config.yaml", "README.md"}
"""Names of the files that are read as a whole."""


class TailReader:
    """A file that is appended to, and how far it has been read. ``source``: whose rows it has, ``None`` if none."""

    def __init__(self, name: str, entry: Entry, source: RowSource | None) -> None:
        self.name = name
        self.entry = entry
        """The file as last looked at."""
        self.failed = False
        """The last reading met an error: the next one is due though nothing has changed."""
        self.settled = True
        """Nothing of what was read waits for what may come behind it."""
        self.sampled = False
        """Only its ends and its evaluations have been told so far."""
        self._source = source
        self._parser = _stream_parser(source)
        self._offset = 0
        self._head = b""
        self._key: tuple[int, int] | None = None
        self._restarted = False
        self._snapshot: object | None = None

    def read(self, disk: Source, end: float, live: bool, now: float) -> tuple[list[Update], bool]:
        """What it has gained, read until ``end`` (monotonic seconds), and whether that was all. ``live``: what is new
        since the last reading was written just now. Raises SourceError."""
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
                # What was parsed is told first; if the error lasts, the next reading meets it again.
                break
            self._offset += len(data)
            rows.extend(self._parser.feed(data))
            if len(data) < CHUNK:
                all_read = True
                self.settled = self._source != "console"
                rows.extend(self._settle(now, live))
            elif time.monotonic() >= end:
                break
        return self._told(rows, now if live and known else None), all_read

    def glimpse(self, disk: Source) -> list[Update]:
        """Of a trainer_log.jsonl the ends and the evaluations instead of all rows, which the next reading tells. Raises
        SourceError."""
        if not self.entry.is_file:
            raise SourceError("not a regular file")
        parser, (front, end) = TrainerLogParser(), glimpse(disk, self.entry)
        first, last = parser.feed(front), parser.feed(end)
        again, self.sampled = self.sampled, True
        return [FileRows(self.name, "log", Rows([*first, *last]), self.entry.mtime, again, None, len(last))]

    def _check_replaced(self, disk: Source) -> None:
        """Start over if the file is another one now, or shorter, or begins otherwise than it did."""
        entry = self.entry
        head = disk.read(entry.path, 0, HEAD)
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
        """The row of a console log that waited for its progress bar, at the first look or once the log is quiet."""
        if self.settled or (live and now - self.entry.mtime < SETTLE_S):
            return []
        self.settled = True
        return self._parser.feed(b"")

    def _told(self, rows: Sequence[LogRow], arrived: float | None) -> list[Update]:
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
    """A file that is always read as a whole. ``name`` is relative to the run, its last part one of DOCUMENTS."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name = name
        self.entry = entry
        """The file as last looked at."""
        self._parse = _document_parser(name.rpartition("/")[2])
        self._done: object = None
        """The version that has been read."""

    @property
    def changed(self) -> bool:
        """It is not what has been read of it."""
        return self._done != self.entry.version

    def read(self, disk: Source, now: float) -> FileDoc | None:
        """The document, ``None`` while it is being written. Raises FormatError, once per version, and SourceError."""
        entry = self.entry
        if not entry.is_file:
            raise SourceError("not a regular file")
        if entry.size > MAX_DOC:
            raise SourceError(f"larger than {MAX_DOC >> 20} MiB, not read")
        # A permission that comes back makes no new version: what could not be read is read again at the next look.
        data = disk.read(entry.path, 0, MAX_DOC)
        self._done = entry.version
        try:
            return FileDoc(self.name, self._parse(data), entry.mtime)
        except TornError:
            if now - entry.mtime >= TORN_S:
                raise
            # The next look reads it again.
            self._done = None
            return None


def _document_parser(name: str) -> Callable[[bytes], object]:
    """The parser of a document. What a bare run does not need is imported only here."""
    if name == STATE:
        return parse_trainer_state
    if name in RESULTS:
        return lambda data: parse_results(name, data)
    from lora_tui.formats import config_files

    parsers: dict[str, Callable[[bytes], object]] = {
        ADAPTER: config_files.parse_adapter_config,
        "training_args.yaml": config_files.parse_training_args,
        "llamaboard_config.yaml": config_files.parse_llamaboard_config,
        "README.md": config_files.parse_model_card,
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
