"""One run's files: which there are, which of them changed, and in which order they are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lora_tui.ingest.checkpoint_dirs import STATE, CheckpointScanner
from lora_tui.ingest.discovery import EVENTS, RunDir
from lora_tui.ingest.file_readers import ADAPTER, DOCUMENTS, DocumentReader, TailReader
from lora_tui.ingest.glimpse import worthwhile
from lora_tui.records.documents import FormatError
from lora_tui.records.updates import FileGone, FileProblem, FileSeen, RowSource, Update
from lora_tui.sources.base import Entry, NoAnswer, Source, SourceError

LIVE_S = 900.0
"""A run whose files changed within this time may go on: it is looked at often, read whole, and its disk matters."""
PRESENCE = frozenset({"README.md", "adapter_model.safetensors", "model.safetensors", "config.json"})
STAGES = ("log", "documents", "all")
"""The order in which the files of many runs are read: what the list and the chart need, then the rest."""
LOG = "trainer_log.jsonl"


class RunReader:
    """The files of one run. ``attach`` says which there are, ``look`` which changed, ``read`` reads some of them."""

    def __init__(
        self, source: Source, path: Path, clock: Callable[[], float] = time.time, *, sample: bool = False
    ) -> None:
        self.path = path
        self._source = source
        self._clock = clock
        self._tails: dict[str, TailReader] = {}
        self._wholes: dict[str, DocumentReader] = {}
        self._seen: dict[str, float] = {}
        self._pending: dict[str, None] = {}
        self._out: list[Update] = []
        self._checkpoints = CheckpointScanner(source, path)
        self._run_dir = RunDir(path)
        self._errors: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._sample = sample
        self._caught_up = False
        self.has_log = False
        """A trainer_log.jsonl was seen here, though it may be gone by now."""

    @property
    def sampled(self) -> bool:
        """Of its log only the ends and the evaluations have been read."""
        tail = self._tails.get(LOG)
        return tail is not None and tail.sampled

    def request_full_read(self) -> None:
        """Read its log whole from now on."""
        self._sample = False
        if self.sampled:
            self._pending[LOG] = None

    @property
    def behind(self) -> bool:
        """Its log has not once been read to the end yet."""
        return LOG in self._pending and not self._caught_up

    @property
    def pending(self) -> bool:
        """There is something to read or to say."""
        return bool(self._pending or self._out)

    @property
    def newest(self) -> float:
        """Modification time of the newest file, Unix seconds."""
        times = [t.entry.mtime for t in self._tails.values()] + [w.entry.mtime for w in self._wholes.values()]
        return max(times, default=0.0)

    @property
    def reaches_out(self) -> bool:
        """Some of its files lie elsewhere: console logs."""
        return any(tail.entry.path.parent != self.path and name[:1] == "/" for name, tail in self._tails.items())

    # -- what there is -------------------------------------------------------------------------------------------

    def renew(self, run_dir: RunDir) -> None:
        """Take over a new listing of the run's own directory; its logs and event files are still the same."""
        before = self._run_dir
        run_dir.consoles, run_dir.events, run_dir.errors = before.consoles, before.events, before.errors
        self.attach(run_dir)

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
        if name in DOCUMENTS:
            self._attach_whole(name, entry)
            return [name]
        if name in PRESENCE or EVENTS.match(name):
            self._see(name, entry.mtime)
            return [name]
        return []

    def _attach_tail(self, name: str, entry: Entry, source: RowSource | None) -> str:
        tail = self._tails.get(name)
        if tail is None:
            tail = self._tails[name] = TailReader(name, entry, source)
            self._pending[name] = None
        elif entry.version != tail.entry.version:
            # Of the two the listing may be the older one: it is kept until something in its directory changes.
            self._look_at(tail)
        return name

    def _attach_whole(self, name: str, entry: Entry) -> None:
        whole = self._wholes.get(name)
        if whole is None:
            whole = self._wholes[name] = DocumentReader(name, entry)
        elif entry.version != whole.entry.version:
            entry = self._stat(name, entry.path) or entry
        whole.entry = entry
        if whole.changed:
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
            self._attach_whole(name, inside[STATE])
            names.add(name)
        if items and ADAPTER not in self._run_dir.files:
            for item in sorted(items, key=lambda item: -item.mtime):
                adapter = self._run_dir.checkpoints[item.step][1].get(ADAPTER)
                if adapter is not None:
                    name = f"{item.path}/{ADAPTER}"
                    self._attach_whole(name, adapter)
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
        # The run's own directory has no name inside it.
        said = {(f"{self.path.name}/" if name == "." else name): why for name, why in errors.items()}
        for name, why in said.items():
            self._say(name, why)
        for name in [n for n in self._errors if n not in said]:
            self._say(name, "")
        self._errors = said

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
        if "." in self._run_dir.errors:
            # Said once, of the directory.
            return False
        found = False
        for tail in list(self._tails.values()):
            if path is None or tail.entry.path == path:
                found = self._look_at(tail) or found
        for whole in list(self._wholes.values()):
            if path is None or whole.entry.path == path:
                found = self._look_whole(whole) or found
        return found

    def _stat(self, name: str, path: Path) -> Entry | None:
        try:
            return self._source.stat(path)
        except NoAnswer:
            # Said once, of the whole mount.
            return None
        except SourceError as error:
            self._say(name, str(error))
            return None

    def _look_at(self, tail: TailReader) -> bool:
        """False if the file is gone, which the directory's listing will say."""
        entry = self._stat(tail.name, tail.entry.path)
        if entry is None:
            return False
        if entry.version != tail.entry.version or tail.failed:
            tail.entry = entry
            self._pending[tail.name] = None
        elif not tail.settled:
            self._pending[tail.name] = None
        return True

    def _look_whole(self, whole: DocumentReader) -> bool:
        entry = self._stat(whole.name, whole.entry.path)
        if entry is not None:
            self._attach_whole(whole.name, entry)
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

    def _read_tail(self, tail: TailReader, end: float, live: bool, now: float) -> None:
        try:
            sample = self._sample and tail.name == LOG and not self._caught_up and self._is_quiet(tail, now)
            told, all_read = (tail.glimpse(self._source), True) if sample else tail.read(self._source, end, live, now)
        except SourceError as error:
            tail.failed = True
            self._pending.pop(tail.name, None)
            if not isinstance(error, NoAnswer):
                self._say(tail.name, str(error))
            return
        if all_read:
            self._pending.pop(tail.name, None)
            self._caught_up = self._caught_up or (tail.name == LOG and not sample)
        if tail.failed:
            tail.failed = False
            self._say(tail.name, "")
        self._out.extend(told)

    @staticmethod
    def _is_quiet(tail: TailReader, now: float) -> bool:
        return now - tail.entry.mtime > LIVE_S and worthwhile(tail.entry)

    def _read_whole(self, whole: DocumentReader, now: float) -> None:
        self._pending.pop(whole.name, None)
        if not whole.changed:
            return
        try:
            doc = whole.read(self._source, now)
        except (FormatError, SourceError) as error:
            if not isinstance(error, NoAnswer):
                self._say(whole.name, str(error))
            return
        if doc is None:
            return
        self._say(whole.name, "")
        self._out.append(doc)
        if whole.name in PRESENCE:
            self._see(whole.name, doc.mtime)
