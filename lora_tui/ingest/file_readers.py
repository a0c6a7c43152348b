"""Readers of one file of a run: a log from where the last reading ended, any other file as a whole.

The list of runs needs only the first, the last and the evaluation rows of a long log that is no longer written.
:func:`read_sample` reads these alone, since reading a thousand whole logs would take seconds and a hundred megabytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from lora_tui.formats.results import parse_results
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.records.documents import LogRow, Problem, StreamParser, TornError
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

T = TypeVar("T")

CHUNK = 1 << 18
"""Number of bytes of a log that are read at a time."""
MAX_DOCUMENT = 1 << 26
"""Size in bytes (64 MiB) beyond which a document is not read."""
TORN_S = 5.0
"""Seconds since its last change after which an incomplete document is reported as a problem.

Before that it is probably being written, since no producer writes its JSON atomically."""
FINGERPRINT = 64
"""Number of first bytes of a log that are compared to recognise a replaced file."""
SETTLE_S = 2.0
"""Seconds since its last change after which the last line of a console log counts as complete."""

MIN_SAMPLED = 1 << 16
"""Size in bytes of the smallest log that is sampled; in a smaller one there is little to skip."""
SAMPLE_HEAD = 1 << 11
"""Number of bytes read at the start of a sampled log."""
SAMPLE_TAIL = 1 << 12
"""Number of bytes read at the end of a sampled log."""
SAMPLE_MIDDLE = 1 << 25
"""Number of bytes before the end of a sampled log that are searched for evaluations."""
SAMPLE_CHUNK = 1 << 20
"""Number of bytes of a sampled log that are searched at a time."""
EVAL_KEY = b'"eval_'
"""Start of a key in an evaluation row, by which such rows are found."""


class TailReader:
    """Reads what is appended to a file. ``source`` is the kind of its rows, None if it has no rows."""

    def __init__(self, name: str, entry: Entry, source: RowSource | None) -> None:
        self.name = name
        self.entry = entry
        """Entry of the file when it was last checked."""
        self.failed = False
        """Whether the last reading failed, so that the file must be read again even if it has not changed."""
        self.settled = True
        """Whether no row of a console log waits for more text that may belong to it."""
        self.sampled = False
        """Whether only the first, the last and the evaluation rows of the file have been reported so far."""
        self._source = source
        self._parser = _stream_parser(source)
        self._offset = 0
        """Number of bytes that have been read."""
        self._head = b""
        """First bytes of the file at the last reading."""
        self._key: tuple[int, int] | None = None
        """Device and inode of the file at the last reading, None before the first one."""
        self._restarted = False
        """Whether the next rows replace those that were reported before."""
        self._snapshot: object | None = None
        """Document that was reported last."""
        self.error: Exception | None = None
        """The last error in the parser itself since the file began or was replaced; some of its content is missing."""

    def read(self, disk: Source, end: float, live: bool, now: float) -> tuple[list[Update], bool]:
        """Return the updates from what was appended since the last reading, and whether all of it has been read.

        Stops at ``end`` (monotonic seconds). With ``live``, what is new counts as written just now, at ``now`` (Unix
        seconds). Raises SourceError.
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
            rows.extend(self._attempt(partial(self._parser.feed, data), []))
            if len(data) < CHUNK:
                all_read = True
                self.settled = self._source != "console"
                rows.extend(self._release_row(now, live))
            elif time.monotonic() >= end:
                break
        return self._updates(rows, now if live and known else None), all_read

    def read_sample(self, disk: Source) -> list[Update]:
        """Return the first, the last and the evaluation rows of a trainer_log.jsonl.

        The next call of :meth:`read` returns all rows. Raises SourceError.
        """
        if not self.entry.is_file:
            raise SourceError("not a regular file")
        parser, (front, end) = TrainerLogParser(), read_sample(disk, self.entry)
        first, last = parser.feed(front), parser.feed(end)
        again, self.sampled = self.sampled, True
        return [FileRows(self.name, "log", Rows([*first, *last]), self.entry.mtime, again, None, len(last))]

    def _check_replaced(self, disk: Source) -> None:
        """Start over if the file is another one now, is shorter than before, or begins differently."""
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
            self.error = None
        self._key = entry.key
        self._head = head

    def _release_row(self, now: float, live: bool) -> Sequence[LogRow]:
        """Return the row of a console log that waits for its progress bar, once no more text is expected.

        That is at the first reading, or when the log has not changed for SETTLE_S.
        """
        if self.settled or (live and now - self.entry.mtime < SETTLE_S):
            return []
        self.settled = True
        return self._attempt(partial(self._parser.feed, b""), [])

    def _attempt(self, parse: Callable[[], T], otherwise: T) -> T:
        """Return what ``parse`` returns; if it raises, keep the error and return ``otherwise``.

        The rows before an error in the parser stay, and reading goes on behind it.
        """
        try:
            return parse()
        except Exception as error:  # reported as :attr:`error`
            self.error = error
            return otherwise

    def _updates(self, rows: Sequence[LogRow], arrived: float | None) -> list[Update]:
        """Return the updates of a reading; ``arrived`` is the Unix time at which new rows were read, else None."""
        out: list[Update] = []
        name, mtime, source = self.name, self.entry.mtime, self._source
        if self._restarted:
            # The problems so far were those of the replaced file.
            out.append(FileProblem(name, 0, ""))
        if source is not None and (rows or self._restarted or source == "log"):
            out.append(FileRows(name, source, rows, mtime, self._restarted, arrived))
        self._restarted = False
        snapshot = self._attempt(self._parser.snapshot, None)
        if snapshot is not None and (snapshot is not self._snapshot or source == "console"):
            self._snapshot = snapshot
            out.append(FileDoc(name, snapshot, mtime))
        elif source == "events" and not rows:
            out.append(FileSeen(name, mtime))
        problems: Sequence[Problem] = self._attempt(self._parser.take_problems, [])
        out.extend(FileProblem(name, problem.line, problem.reason) for problem in problems)
        return out


class DocumentReader:
    """Reads a whole file. ``name`` is its path relative to the run; its last part is in ``file_names.DOCUMENTS``."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name = name
        self.entry = entry
        """Entry of the file when it was last checked."""
        self._parse = _document_parser(name.rpartition("/")[2])
        self._read_version: object = None
        """Version of the file that was read last, None if it must be read."""

    @property
    def changed(self) -> bool:
        """Whether the file has changed since it was read."""
        return self._read_version != self.entry.version

    def read(self, disk: Source, now: float) -> FileDoc | None:
        """Return the document, or None while it is being written.

        ``now`` is the Unix time. Raises SourceError, and FormatError once for each version of the file.
        """
        entry = self.entry
        if not entry.is_file:
            raise SourceError("not a regular file")
        if entry.size > MAX_DOCUMENT:
            raise SourceError(f"larger than {MAX_DOCUMENT >> 20} MiB, not read")
        # Set only after a successful reading, since a permission that is granted again makes no new version.
        data = disk.read(entry.path, 0, MAX_DOCUMENT)
        self._read_version = entry.version
        try:
            return FileDoc(self.name, self._parse(data), entry.mtime)
        except TornError:
            if now - entry.mtime >= TORN_S:
                raise
            # Read it again next time.
            self._read_version = None
            return None


def _document_parser(name: str) -> Callable[[bytes], object]:
    """Return the parser of a document; import those of configuration files only where a run has some."""
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
    """Return a new parser for a kind of rows, or that of the predictions for None."""
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
    """Return whether a log is long enough for a sample of it to save time."""
    return entry.size >= MIN_SAMPLED


def read_sample(disk: Source, entry: Entry) -> tuple[bytes, bytes]:
    """Return lines of a log in their order: the first ones with the evaluations, and all of the last ones.

    One line may lack its beginning, so that no parser accepts it. Raises SourceError.
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
