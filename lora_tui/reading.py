"""Reads what the files of one run gain and turns it into updates: tails for what is appended, whole files otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lora_tui.checkpoint_dirs import STATE, CheckpointDirs
from lora_tui.discovery import EVENTS, RESULTS, RunDir
from lora_tui.formats.records import FormatError, LogRow, StreamParser, TornError
from lora_tui.formats.results import parse_results
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.formats.updates import (
    FileDoc,
    FileGone,
    FileProblem,
    FileRows,
    FileSeen,
    RowSource,
    Update,
)
from lora_tui.sources.base import Entry, Source, SourceError

CHUNK = 1 << 18
MAX_DOC = 1 << 26
"""A whole-file document beyond 64 MiB is not read."""
TORN_S = 5.0
"""How long a document may be cut off before that is said: no producer writes its JSON atomically."""
HEAD = 64
SETTLE_S = 2.0
"""After so long nothing comes any more that belongs to the last line of a console log."""
LIVE_S = 900.0
"""Where files changed within this time another save may come, so the free space matters."""
PRESENCE = frozenset({"README.md", "adapter_model.safetensors", "model.safetensors", "config.json"})
STAGES = ("log", "documents", "all")
"""The order in which the files of many runs are read: what the list and the chart need, then the rest."""
LOG = "trainer_log.jsonl"
ADAPTER = "adapter_config.json"
CONFIGS = frozenset({ADAPTER, "training_args.yaml", "llamaboard_config.yaml", "README.md"})


def _whole_parser(name: str) -> Callable[[bytes], object] | None:
    """The parser of a file that is read as a whole. What a bare run does not need is imported only here."""
    if name == STATE:
        return parse_trainer_state
    if name in RESULTS:
        return lambda data: parse_results(name, data)
    if name not in CONFIGS:
        return None
    from lora_tui.formats import config_files

    parsers: dict[str, Callable[[bytes], object]] = {
        ADAPTER: config_files.parse_adapter_config,
        "training_args.yaml": config_files.parse_training_args,
        "llamaboard_config.yaml": config_files.parse_llamaboard_config,
        "README.md": config_files.parse_model_card,
    }
    return parsers[name]


@dataclass
class _Tail:
    """An appended file and how far it has been read."""

    name: str
    path: Path
    source: RowSource | None
    parser: StreamParser
    entry: Entry
    offset: int = 0
    head: bytes = b""
    key: tuple[int, int] | None = None
    restarted: bool = False
    failed: str = ""
    snapshot: object | None = None
    settled: bool = True
    """Nothing of what was read waits for what may come behind it."""


@dataclass
class _Whole:
    """A file that is always read as a whole."""

    name: str
    entry: Entry
    parse: Callable[[bytes], object]
    done: tuple[float, int, tuple[int, int]] | None = None
    failed: str = ""


class RunReader:
    """The files of one run. ``attach`` says which there are, ``look`` which changed, ``read`` reads some of them."""

    def __init__(self, source: Source, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._source = source
        self._clock = clock
        self._tails: dict[str, _Tail] = {}
        self._wholes: dict[str, _Whole] = {}
        self._seen: dict[str, float] = {}
        self._pending: dict[str, None] = {}
        self._out: list[Update] = []
        self._checkpoints = CheckpointDirs(source, path)
        self._run_dir = RunDir(path)
        self._errors: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self.has_log = False
        """A trainer_log.jsonl was seen here, though it may be gone by now."""

    @property
    def pending(self) -> bool:
        """There is something to read or to say."""
        return bool(self._pending or self._out)

    @property
    def newest(self) -> float:
        """Modification time of the newest file, Unix seconds."""
        times = [t.entry.mtime for t in self._tails.values()] + [w.entry.mtime for w in self._wholes.values()]
        return max(times, default=0.0)

    # -- what there is -------------------------------------------------------------------------------------------

    def attach(self, run_dir: RunDir) -> None:
        """Take over a new listing of the run."""
        self._run_dir = run_dir
        names: set[str] = set()
        for name, entry in run_dir.files.items():
            names.update(self._attach_file(name, entry))
        for entry in run_dir.events:
            names.add(self._attach_tail(self._name(entry.path), entry, "events"))
        for entry in run_dir.consoles:
            names.add(self._attach_tail(self._name(entry.path), entry, "console"))
        names.update(self._attach_checkpoints())
        for name in [n for n in (*self._tails, *self._wholes, *self._seen) if n not in names]:
            self._drop(name)
        self._say_errors(run_dir.errors)

    def _name(self, path: Path) -> str:
        try:
            return str(path.relative_to(self.path))
        except ValueError:
            return str(path)

    def _attach_file(self, name: str, entry: Entry) -> list[str]:
        if name == LOG:
            self.has_log = True
            return [self._attach_tail(name, entry, "log")]
        if name == "generated_predictions.jsonl":
            return [self._attach_tail(name, entry, None)]
        parse = _whole_parser(name)
        if parse is not None:
            self._attach_whole(name, entry, parse)
            return [name]
        if name in PRESENCE or EVENTS.match(name):
            self._see(name, entry.mtime)
            return [name]
        return []

    def _attach_tail(self, name: str, entry: Entry, source: RowSource | None) -> str:
        tail = self._tails.get(name)
        if tail is None:
            tail = self._tails[name] = _Tail(name, entry.path, source, _parser(source), entry)
            self._pending[name] = None
        elif (entry.mtime, entry.size, entry.key) != (tail.entry.mtime, tail.entry.size, tail.entry.key):
            # Of the two the listing may be the older one: it is kept until something in its directory changes.
            self._look_at(tail)
        return name

    def _attach_whole(self, name: str, entry: Entry, parse: Callable[[bytes], object]) -> None:
        whole = self._wholes.get(name)
        if whole is None:
            whole = self._wholes[name] = _Whole(name, entry, parse)
        elif (entry.mtime, entry.size, entry.key) != (whole.entry.mtime, whole.entry.size, whole.entry.key):
            entry = self._stat(name, entry.path) or entry
        whole.entry = entry
        if whole.done != (entry.mtime, entry.size, entry.key):
            self._pending[name] = None

    def _attach_checkpoints(self) -> set[str]:
        """The newest checkpoint's state and, without one in the root, its adapter."""
        names: set[str] = set()
        items, told = self._checkpoints.update(self._run_dir, self._clock() - self.newest < LIVE_S)
        self._out.extend(told)
        whole = [item for item in items if item.has_state]
        if whole:
            newest = max(whole, key=lambda item: (item.mtime, item.step))
            _, inside = self._run_dir.checkpoints[newest.step]
            name = f"{newest.path}/{STATE}"
            self._attach_whole(name, inside[STATE], parse_trainer_state)
            names.add(name)
        if items and ADAPTER not in self._run_dir.files:
            for item in sorted(items, key=lambda item: -item.mtime):
                adapter = self._run_dir.checkpoints[item.step][1].get(ADAPTER)
                if adapter is not None:
                    name = f"{item.path}/{ADAPTER}"
                    parse = _whole_parser(ADAPTER)
                    assert parse is not None
                    self._attach_whole(name, adapter, parse)
                    names.add(name)
                    break
        return names

    def _see(self, name: str, mtime: float) -> None:
        if self._seen.get(name) != mtime:
            self._seen[name] = mtime
            self._out.append(FileSeen(name, mtime))

    def _drop(self, name: str) -> None:
        self._tails.pop(name, None)
        self._wholes.pop(name, None)
        self._seen.pop(name, None)
        self._pending.pop(name, None)
        self._said.pop(name, None)
        if not (name.startswith("checkpoint-") and name.endswith(".json")):
            self._out.append(FileGone(name))

    def _say_errors(self, errors: dict[str, str]) -> None:
        for name, why in errors.items():
            self._say(name, why)
        for name in [n for n in self._errors if n not in errors]:
            self._say(name, "")
        self._errors = dict(errors)

    def _say(self, name: str, why: str, line: int = 0) -> None:
        """Report a problem of a whole file once, and its end."""
        if self._said.get(name, "") != why:
            if self._said.get(name):
                self._out.append(FileProblem(name, 0, ""))
            self._said[name] = why
            if why:
                self._out.append(FileProblem(name, line, why))

    # -- what changed --------------------------------------------------------------------------------------------

    def look(self, path: Path | None = None) -> bool:
        """Compare the files (one of them, or all) with what has been read of them. False: ``path`` is none of them."""
        found = False
        for tail in list(self._tails.values()):
            if path is None or tail.path == path:
                found = self._look_at(tail) or found
        for whole in list(self._wholes.values()):
            if path is None or whole.entry.path == path:
                found = self._look_whole(whole) or found
        return found

    def _stat(self, name: str, path: Path) -> Entry | None:
        try:
            return self._source.stat(path)
        except SourceError as error:
            self._say(name, str(error))
            return None

    def _look_at(self, tail: _Tail) -> bool:
        """False if the file is gone, which the directory's listing will say."""
        entry = self._stat(tail.name, tail.path)
        if entry is None:
            return False
        if (entry.mtime, entry.size, entry.key) != (tail.entry.mtime, tail.entry.size, tail.entry.key) or tail.failed:
            tail.entry = entry
            self._pending[tail.name] = None
        elif not tail.settled:
            self._pending[tail.name] = None
        return True

    def _look_whole(self, whole: _Whole) -> bool:
        entry = self._stat(whole.name, whole.entry.path)
        if entry is not None:
            self._attach_whole(whole.name, entry, whole.parse)
        # Its checkpoint may be complete now, which only the listing tells.
        return entry is not None and "/" not in whole.name

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, stage: str, end: float, live: bool, now: float) -> list[Update]:
        """Read pending files until ``end`` (monotonic seconds), those of ``stage`` (one of STAGES) and before it."""
        for name in sorted(self._pending, key=self._stage):
            if self._stage(name) > STAGES.index(stage):
                break
            tail = self._tails.get(name)
            if tail is not None:
                self._read_tail(tail, end, live, now)
            elif (whole := self._wholes.get(name)) is not None:
                self._read_whole(whole, now)
            else:
                self._pending.pop(name, None)
            if time.monotonic() >= end:
                break
        out, self._out = self._out, []
        return out

    def _stage(self, name: str) -> int:
        return 0 if name == LOG else 1 if name in self._wholes else 2

    def _read_tail(self, tail: _Tail, end: float, live: bool, now: float) -> None:
        entry = tail.entry
        if not entry.is_file:
            tail.failed = "not a regular file"
            self._pending.pop(tail.name, None)
            self._say(tail.name, tail.failed)
            return
        try:
            known = tail.key is not None
            self._check_replaced(tail)
            rows: list[LogRow] = []
            while True:
                data = self._source.read(tail.path, tail.offset, CHUNK)
                tail.offset += len(data)
                rows.extend(tail.parser.feed(data))
                if len(data) < CHUNK:
                    self._pending.pop(tail.name, None)
                    tail.settled = tail.source != "console"
                    rows.extend(self._settle(tail, now, live))
                    break
                if time.monotonic() >= end:
                    break
        except SourceError as error:
            tail.failed = str(error)
            self._pending.pop(tail.name, None)
            self._say(tail.name, tail.failed)
            return
        if tail.failed:
            tail.failed = ""
            self._say(tail.name, "")
        self._tell_tail(tail, tuple(rows), now if live and known else None)

    def _settle(self, tail: _Tail, now: float, live: bool) -> list[LogRow]:
        """The row of a console log that waited for its progress bar, at the first look or once the log is quiet."""
        if tail.settled or (live and now - tail.entry.mtime < SETTLE_S):
            return []
        tail.settled = True
        return tail.parser.feed(b"")

    def _tell_tail(self, tail: _Tail, rows: tuple[LogRow, ...], arrived: float | None) -> None:
        mtime = tail.entry.mtime
        if tail.source is not None and (rows or tail.restarted or tail.source == "log"):
            self._out.append(FileRows(tail.name, tail.source, rows, mtime, tail.restarted, arrived))
        tail.restarted = False
        snapshot = tail.parser.snapshot()
        if snapshot is not None and (snapshot is not tail.snapshot or tail.source == "console"):
            tail.snapshot = snapshot
            self._out.append(FileDoc(tail.name, snapshot, mtime))
        elif tail.source == "events" and not rows:
            self._out.append(FileSeen(tail.name, mtime))
        for problem in tail.parser.take_problems():
            self._out.append(FileProblem(tail.name, problem.line, problem.reason))

    def _check_replaced(self, tail: _Tail) -> None:
        """Start over if the file is another one now, or shorter, or begins otherwise than it did."""
        entry = tail.entry
        head = self._source.read(tail.path, 0, HEAD)
        same = tail.key in (None, entry.key) and entry.size >= tail.offset and head.startswith(tail.head)
        if not same:
            tail.parser = _parser(tail.source)
            tail.offset = 0
            tail.restarted = True
            tail.snapshot = None
            self._out.append(FileProblem(tail.name, 0, ""))
        tail.key = entry.key
        tail.head = head

    def _read_whole(self, whole: _Whole, now: float) -> None:
        entry = whole.entry
        self._pending.pop(whole.name, None)
        if whole.done == (entry.mtime, entry.size, entry.key):
            return
        try:
            if not entry.is_file:
                raise SourceError("not a regular file")
            if entry.size > MAX_DOC:
                raise SourceError(f"larger than {MAX_DOC >> 20} MiB, not read")
            doc = whole.parse(self._source.read(entry.path, 0, MAX_DOC))
        except TornError as error:
            # Left undone, so that the next look reads it again.
            if now - entry.mtime >= TORN_S:
                whole.done = (entry.mtime, entry.size, entry.key)
                self._say(whole.name, str(error))
            return
        except (FormatError, SourceError) as error:
            whole.done = (entry.mtime, entry.size, entry.key)
            self._say(whole.name, str(error))
            return
        whole.done = (entry.mtime, entry.size, entry.key)
        self._say(whole.name, "")
        self._out.append(FileDoc(whole.name, doc, entry.mtime))
        if whole.name in PRESENCE:
            self._see(whole.name, entry.mtime)


def _parser(source: RowSource | None) -> StreamParser:
    if source == "log":
        return TrainerLogParser()
    if source == "events":
        from lora_tui.formats.tfevents import EventFileParser

        return EventFileParser()
    if source == "console":
        from lora_tui.formats.console import ConsoleParser

        return ConsoleParser()
    from lora_tui.formats.predictions import PredictionsParser

    return PredictionsParser()
