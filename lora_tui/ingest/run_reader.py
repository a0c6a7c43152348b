"""The reader of one run: which files it has, which have changed, and in which order they are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from traceback import clear_frames

from lora_tui.ingest.directory_tree import ACTIVE_S
from lora_tui.ingest.discovery import CheckpointScanner, RunDir, relative_name
from lora_tui.ingest.file_readers import DocumentReader, TailReader, is_worth_sampling
from lora_tui.records.documents import FormatError
from lora_tui.records.file_names import (
    ADAPTER_CONFIG,
    DOCUMENTS,
    EVENT_FILE,
    PREDICTIONS,
    ROOT_MODEL_FILES,
    TRAINER_LOG,
    TRAINER_STATE,
)
from lora_tui.records.updates import FileGone, FileProblem, FileSeen, ReadFault, RowSource, Update
from lora_tui.sources.base import Entry, NoAnswer, Source, SourceError

READ_STAGES = ("log", "documents", "all")
"""Order in which the files of many runs are read: first those that the list and the chart need, then the rest."""


class RunReader:
    """Reads the files of one run.

    ``attach`` sets the list of its files, ``check`` finds those that have changed, and ``read`` reads some of these.
    With ``sample``, a long log that is not being written is read only in part (:attr:`sampled`).
    """

    def __init__(
        self, source: Source, path: Path, clock: Callable[[], float] = time.time, *, sample: bool = False
    ) -> None:
        self.path = path
        self._source = source
        self._clock = clock
        self._tails: dict[str, TailReader] = {}
        """Readers of logs, event files and predictions by file name."""
        self._documents: dict[str, DocumentReader] = {}
        """Readers of files that are read as a whole, by file name."""
        self._seen: dict[str, float] = {}
        """Modification time (Unix seconds) that was reported of each file whose content is not read."""
        self._pending: dict[str, None] = {}
        """Names of the files to read, in the order in which they changed."""
        self._out: list[Update] = []
        """Updates that the next reading returns."""
        self._checkpoints = CheckpointScanner(source, path)
        self._run_dir = RunDir(path)
        self._errors: dict[str, str] = {}
        """Directories that cannot be listed and that were reported, each with the reason."""
        self._problems: dict[str, str] = {}
        """Reported problem of each file or directory; empty once it is over."""
        self._faults: dict[str, type[Exception]] = {}
        """Type of the reported error in this program itself, by the part of the run that could not be read."""
        self._sample = sample
        self._caught_up = False
        """Whether the log has been read to the end once."""
        self.has_log = False
        """Whether the run has or had a trainer_log.jsonl."""

    @property
    def sampled(self) -> bool:
        """Whether only the first, the last and the evaluation rows of its log have been read."""
        tail = self._tails.get(TRAINER_LOG)
        return tail is not None and tail.sampled

    def request_full_read(self) -> None:
        """Read the whole log from now on."""
        self._sample = False
        if self.sampled:
            self._pending[TRAINER_LOG] = None

    @property
    def behind(self) -> bool:
        """Whether its log has not been read to the end yet."""
        return TRAINER_LOG in self._pending and not self._caught_up

    @property
    def pending(self) -> bool:
        """Whether there is something to read or to report."""
        return bool(self._pending or self._out)

    @property
    def newest(self) -> float:
        """Modification time of its newest file, Unix seconds; 0 without files."""
        times = [t.entry.mtime for t in self._tails.values()] + [d.entry.mtime for d in self._documents.values()]
        return max(times, default=0.0)

    @property
    def has_outside_files(self) -> bool:
        """Whether some of its console logs are outside its directory."""
        return any(tail.entry.path.parent != self.path and name[:1] == "/" for name, tail in self._tails.items())

    # -- which files exist ---------------------------------------------------------------------------------------

    def attach_directory(self, run_dir: RunDir) -> None:
        """Set a new listing of the run's own directory; its console logs and event files stay the same."""
        before = self._run_dir
        run_dir.consoles, run_dir.events, run_dir.errors = before.consoles, before.events, before.errors
        self.attach(run_dir)

    def attach(self, run_dir: RunDir) -> None:
        """Set a new listing of the run; report files that are gone and directories that cannot be listed."""
        self._run_dir = run_dir
        names: set[str] = set()
        for name, entry in run_dir.files.items():
            names.update(self._attach_file(name, entry))
        for entry in run_dir.events:
            names.add(self._attach_tail(relative_name(entry.path, self.path), entry, "events"))
        for entry in run_dir.consoles:
            names.add(self._attach_tail(relative_name(entry.path, self.path), entry, "console"))
        names.update(self._attach_checkpoints())
        for name in [n for n in (*self._tails, *self._documents, *self._seen) if n not in names]:
            self._drop(name)
        self._report_errors(run_dir.errors)

    def _attach_file(self, name: str, entry: Entry) -> list[str]:
        """Attach a file of the run's own directory; return its name if it is used, else nothing."""
        if name == TRAINER_LOG:
            self.has_log = True
            return [self._attach_tail(name, entry, "log")]
        if name == PREDICTIONS:
            return [self._attach_tail(name, entry, None)]
        if name in DOCUMENTS:
            self._attach_document(name, entry)
            return [name]
        if name in ROOT_MODEL_FILES or EVENT_FILE.match(name):
            self._report_seen(name, entry.mtime)
            return [name]
        return []

    def _attach_tail(self, name: str, entry: Entry, source: RowSource | None) -> str:
        """Attach a file that is appended to, and return its name."""
        tail = self._tails.get(name)
        if tail is None:
            tail = self._tails[name] = TailReader(name, entry, source)
            self._pending[name] = None
        elif entry.version != tail.entry.version:
            # The listing may be older than the tail's entry, since it is only renewed when its directory changes.
            self._check_tail(tail)
        return name

    def _attach_document(self, name: str, entry: Entry) -> None:
        """Attach a file that is read as a whole."""
        document = self._documents.get(name)
        if document is None:
            document = self._documents[name] = DocumentReader(name, entry)
        elif entry.version != document.entry.version:
            entry = self._stat(name, entry.path) or entry
        document.entry = entry
        if document.changed:
            self._pending[name] = None

    def _attach_checkpoints(self) -> set[str]:
        """Attach the state of the newest checkpoint and, without one in the root, an adapter; return their names."""
        names: set[str] = set()
        items, updates = self._checkpoints.update(self._run_dir, self._clock() - self.newest < ACTIVE_S)
        self._out.extend(updates)
        whole = [item for item in items if item.has_state]
        if whole:
            newest = max(whole, key=lambda item: (item.mtime, item.step))
            _, inside = self._run_dir.checkpoints[newest.step]
            name = f"{newest.path}/{TRAINER_STATE}"
            self._attach_document(name, inside[TRAINER_STATE])
            names.add(name)
        if items and ADAPTER_CONFIG not in self._run_dir.files:
            for item in sorted(items, key=lambda item: -item.mtime):
                adapter = self._run_dir.checkpoints[item.step][1].get(ADAPTER_CONFIG)
                if adapter is not None:
                    name = f"{item.path}/{ADAPTER_CONFIG}"
                    self._attach_document(name, adapter)
                    names.add(name)
                    break
        return names

    def _report_seen(self, name: str, mtime: float) -> None:
        """Report the modification time (Unix seconds) of a file if it has changed."""
        if self._seen.get(name) != mtime:
            self._seen[name] = mtime
            self._out.append(FileSeen(name, mtime))

    def _drop(self, name: str) -> None:
        """Stop reading a file that is gone; report that unless it is a checkpoint's, whose data stay valid."""
        self._tails.pop(name, None)
        self._documents.pop(name, None)
        self._seen.pop(name, None)
        self._pending.pop(name, None)
        self._problems.pop(name, None)
        self.report_fault(name, None)
        if not (name.startswith("checkpoint-") and name.endswith(".json")):
            self._out.append(FileGone(name))

    def _report_errors(self, errors: dict[str, str]) -> None:
        """Report the directories of the run that cannot be listed (by relative path), and those that can be again."""
        if "." in errors:
            # Without an event, its files were checked before the listing and failed for the same reason.
            for name in [name for name, why in self._problems.items() if why == errors["."]]:
                self._report_problem(name, "")
        # The run's own directory has no path relative to itself.
        present = {(f"{self.path.name}/" if name == "." else name): why for name, why in errors.items()}
        for name, why in present.items():
            self._report_problem(name, why)
        for name in [n for n in self._errors if n not in present]:
            self._report_problem(name, "")
        self._errors = present

    def _report_problem(self, name: str, why: str) -> None:
        """Report a problem of a file once; an empty ``why`` reports that it is over."""
        if self._problems.get(name, "") != why:
            if self._problems.get(name):
                self._out.append(FileProblem(name, 0, ""))
            self._problems[name] = why
            if why:
                self._out.append(FileProblem(name, 0, why))

    def report_fault(self, part: str, error: Exception | None) -> None:
        """Report an error in this program itself once for each type, or that ``part`` could be read without one."""
        if error is None:
            if self._faults.pop(part, None) is not None:
                self._out.append(ReadFault(part, None))
        elif self._faults.get(part) is not type(error):
            self._faults[part] = type(error)
            # What was being read need not be kept for as long as the error is shown.
            clear_frames(error.__traceback__)
            self._out.append(ReadFault(part, error))

    # -- which files have changed --------------------------------------------------------------------------------

    def check(self, path: Path | None = None) -> bool:
        """Find the files that have changed since they were read, or check only the one at ``path``.

        Returns False if ``path`` is none of them, or if the directory must be listed instead.
        """
        if "." in self._run_dir.errors:
            # The error is reported once, for the directory.
            return False
        found = False
        for tail in list(self._tails.values()):
            if path is None or tail.entry.path == path:
                found = self._check_tail(tail) or found
        for document in list(self._documents.values()):
            if path is None or document.entry.path == path:
                found = self._check_document(document) or found
        return found

    def _stat(self, name: str, path: Path) -> Entry | None:
        """Return the entry of a file, None if it is gone or cannot be read, which is reported."""
        try:
            return self._source.stat(path)
        except NoAnswer:
            # The error is reported once, for the whole mount.
            return None
        except SourceError as error:
            self._report_problem(name, str(error))
            return None

    def _check_tail(self, tail: TailReader) -> bool:
        """Note the file for reading if it has changed; return False if it is gone, which the next listing reports."""
        entry = self._stat(tail.name, tail.entry.path)
        if entry is None:
            return False
        if entry.version != tail.entry.version or tail.failed:
            tail.entry = entry
            self._pending[tail.name] = None
        elif not tail.settled:
            self._pending[tail.name] = None
        return True

    def _check_document(self, document: DocumentReader) -> bool:
        """Note the file for reading if it has changed; return False if its directory must be listed."""
        entry = self._stat(document.name, document.entry.path)
        if entry is not None:
            self._attach_document(document.name, entry)
        # Its checkpoint may be complete now, which only a listing shows.
        return entry is not None and "/" not in document.name

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, stage: str, end: float, live: bool, now: float) -> list[Update]:
        """Read pending files of ``stage`` (one of :data:`READ_STAGES`) and of the stages before it; return the updates.

        Stops at ``end`` (monotonic seconds). For ``live`` and ``now`` see :meth:`TailReader.read`.
        """
        for name in sorted(self._pending, key=self._stage):
            if self._stage(name) > READ_STAGES.index(stage):
                break
            try:
                self._read_file(name, end, live, now)
            except Exception as error:  # an error in one file must not end the reading of the others
                # Read again when it has changed, and not before.
                self._pending.pop(name, None)
                self.report_fault(name, error)
            if time.monotonic() >= end:
                break
        out, self._out = self._out, []
        return out

    def _read_file(self, name: str, end: float, live: bool, now: float) -> None:
        """Read a pending file."""
        tail = self._tails.get(name)
        if tail is not None:
            self._read_tail(tail, end, live, now)
        elif (document := self._documents.get(name)) is not None:
            self._read_document(document, now)
        else:
            self._pending.pop(name, None)

    def _stage(self, name: str) -> int:
        """Return the index of the stage in which a file is read."""
        return 0 if name == TRAINER_LOG else 1 if name in self._documents else 2

    def _read_tail(self, tail: TailReader, end: float, live: bool, now: float) -> None:
        """Read what was appended to a file, or a sample of it, and keep the updates."""
        try:
            sample = self._sample and tail.name == TRAINER_LOG and not self._caught_up and self._can_sample(tail, now)
            if sample:
                updates, all_read = tail.read_sample(self._source), True
            else:
                updates, all_read = tail.read(self._source, end, live, now)
        except SourceError as error:
            tail.failed = True
            self._pending.pop(tail.name, None)
            if not isinstance(error, NoAnswer):
                self._report_problem(tail.name, str(error))
            return
        if all_read:
            self._pending.pop(tail.name, None)
            self._caught_up = self._caught_up or (tail.name == TRAINER_LOG and not sample)
        if tail.failed:
            tail.failed = False
            self._report_problem(tail.name, "")
        self._out.extend(updates)
        self.report_fault(tail.name, tail.error)

    @staticmethod
    def _can_sample(tail: TailReader, now: float) -> bool:
        """Return whether a log is inactive at the Unix time ``now`` and long enough to be sampled."""
        return now - tail.entry.mtime > ACTIVE_S and is_worth_sampling(tail.entry)

    def _read_document(self, document: DocumentReader, now: float) -> None:
        """Read a whole file and keep its document, or report why it cannot be used."""
        self._pending.pop(document.name, None)
        if not document.changed:
            return
        try:
            doc = document.read(self._source, now)
        except (FormatError, SourceError) as error:
            if not isinstance(error, NoAnswer):
                self._report_problem(document.name, str(error))
            return
        if doc is None:
            return
        self._report_problem(document.name, "")
        self.report_fault(document.name, None)
        self._out.append(doc)
        if document.name in ROOT_MODEL_FILES:
            self._report_seen(document.name, doc.mtime)
