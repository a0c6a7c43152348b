"""The loop that the app and the commands share: wait -> read for a bounded time -> parse -> batch.

A :class:`Follower` finds the runs below the given paths and reads what is appended to their files. ``read`` takes a
bounded time and returns an immutable :class:`~lora_tui.records.updates.Batch`. The app calls it in a thread; commands
without a terminal call it until everything is read.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from lora_tui.ingest.console_logs import ConsoleLogs
from lora_tui.ingest.directory_tree import ACTIVE_S
from lora_tui.ingest.discovery import RunDir, RunTree
from lora_tui.ingest.run_reader import READ_STAGES, RunReader
from lora_tui.records.updates import Batch, RunUpdates
from lora_tui.sources.base import Source, SourceError
from lora_tui.sources.local_disk import LocalDisk

T = TypeVar("T")

HEARTBEAT_S = 3.0
"""Seconds between two checks of the recently active runs, with or without events.

Events get lost, and a log may be a link into a directory that is not watched."""
SLOW_HEARTBEAT_S = 15.0
"""Seconds between two checks of everything where there are file events."""
POLL_S = 0.5
"""Seconds between two checks of everything where there are no file events."""
POLL_SHARE = 0.01
"""Maximum share of a core for checking everything, so that many runs are checked less often.

The checks of the recently active runs may take half of that in addition."""
EVENTS_SHARE = 0.002
"""The same share where there are file events, so that a check hardly ever finds a change."""
MAX_RECENTLY_ACTIVE = 20
"""Maximum number of recently active runs that are checked often."""
QUIET_S = 0.25
"""Seconds without a change after which the next one is reported at once."""
GATHER_S = 0.15
"""Seconds for which the changes that follow it are gathered."""
DRAIN_S = 0.002
"""Seconds that the listener's thread has to deliver the events that came while changes were gathered."""


class Follower:
    """Follows the runs below ``paths`` (directories, runs or console logs, which may not exist yet).

    ``logs``: console logs in other places, assigned to the run that they name or to the only run there is.
    ``poll``: check all files twice a second instead of waiting for file events.
    ``cwd``: another directory in which to search for console logs that name one of the runs.
    ``clock``: returns the Unix time in seconds.
    ``sample``: read only the first, the last and the evaluation rows of long logs that are not being written, until a
    full reading is requested.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        logs: Sequence[Path] = (),
        poll: bool = False,
        source: Source | None = None,
        cwd: Path | None = None,
        clock: Callable[[], float] = time.time,
        sample: bool = False,
    ) -> None:
        self._source: Source = source if source is not None else LocalDisk(poll)
        self._clock = clock
        self._tree = RunTree(self._source, [Path(p).absolute() for p in paths])
        self._console_logs = ConsoleLogs(self._source, self._tree, [Path(p).absolute() for p in logs], cwd)
        self._readers: dict[Path, RunReader] = {}
        self._changed: set[Path] | None = None
        """Paths to check at the next reading; None means everything."""
        self._check_recent = False
        """Whether to check the recently active runs at the next reading."""
        self._started = False
        """Whether file events are watched for."""
        self._with_logs = False
        """Whether console logs have been assigned to their runs.

        The first reading leaves that out to be quick: finding the run of a log takes time, since both ends of the log
        must be read, and the curve comes from other files."""
        self._sample = sample
        self._requested: deque[Path] = deque()
        """Runs of which a full reading has been requested."""
        self._order: list[RunReader] | None = None
        """Readers with something left to read after the last reading; None if something else has changed since."""
        self._error: Exception | None = None
        """The error in this program itself with which the last search for runs and changes ended; None without one."""
        self._complete = False
        """Whether everything that was there at the start has been read."""
        self._last_change = 0.0
        """Time of the last change, monotonic seconds."""
        self._due = self._recent_due = 0.0
        """Times of the next checks of everything and of the recently active runs, monotonic seconds."""

    @property
    def roots(self) -> list[Path]:
        """The absolute paths that are followed."""
        return self._tree.roots

    @property
    def missing(self) -> list[Path]:
        """Given paths that do not exist (yet)."""
        return self._tree.missing + self._console_logs.missing

    @property
    def errors(self) -> dict[Path, str]:
        """Directories that cannot be read, each with the reason."""
        return dict(self._tree.errors)

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, budget_s: float = 0.1, each_s: float = math.inf) -> Batch:
        """Check what may have changed and parse it for about ``budget_s`` seconds, at most ``each_s`` for one run.

        ``Batch.complete`` is False while there is more to read: call again. An error in this program itself ends the
        part of the work that raised it alone: it is in the batch, as ``Batch.error`` or, for a run, as a ``ReadFault``.
        """
        end = time.monotonic() + budget_s
        now = self._clock()
        nothing: list[Path] = []
        out = [RunUpdates(path, gone=True) for path in self._attempt(self._refresh, nothing)]
        while self._requested:
            found = self._readers.get(self._requested.popleft())
            if found is not None:
                found.request_full_read()
                self._order = None
        order = self._order = self._pending()
        # First the files that the list and the chart need, for all runs; long console logs and event files last.
        served: set[Path] = set()
        for stage in READ_STAGES:
            for reader in order:
                if not reader.pending or reader.path in served or (out and time.monotonic() >= end):
                    continue
                until = min(end, time.monotonic() + each_s)
                updates = reader.read(stage, until, live=self._complete, now=now)
                if time.monotonic() >= until:
                    served.add(reader.path)
                if updates:
                    out.append(RunUpdates(reader.path, tuple(updates), partial=reader.behind, sampled=reader.sampled))
        complete = not any(reader.pending for reader in self._readers.values()) and self._with_logs
        self._complete = self._complete or complete
        errors = tuple((str(path), why) for path, why in self._tree.errors.items())
        return Batch(tuple(out), complete, self._notes(), errors, self._error)

    def _attempt(self, work: Callable[[], T], otherwise: T) -> T:
        """Return what ``work`` returns; where it raises an error of this program itself, keep it for the next batch."""
        try:
            return work()
        except OSError:
            raise
        except Exception as error:  # reported as Batch.error; the runs that are known are read on
            self._error = error
            # Without a change, not again at once.
            self._due = self._recent_due = time.monotonic() + SLOW_HEARTBEAT_S
            return otherwise

    @staticmethod
    def _check_run(reader: RunReader, path: Path | None = None) -> bool:
        """Check a run as :meth:`RunReader.check` does; an error of this program itself is reported for that run."""
        try:
            found = reader.check(path)
        except Exception as error:  # reported as ReadFault; the other runs are read on
            reader.report_fault(":changes", error)
            return False
        if path is None:
            reader.report_fault(":changes", None)
        return found

    @staticmethod
    def _attach(reader: RunReader, attach: Callable[[RunDir], None], run_dir: RunDir) -> None:
        """Give a reader a new listing by its method ``attach``; an error is reported as in :meth:`_check_run`."""
        try:
            attach(run_dir)
        except Exception as error:  # reported as ReadFault; the other runs are read on
            reader.report_fault(":listing", error)
        else:
            reader.report_fault(":listing", None)

    def _pending(self) -> list[RunReader]:
        """Return the readers with something to read, the newest run first.

        Before everything has been read once, also request a full reading of the newest run.
        """
        if self._order is not None:
            return [reader for reader in self._order if reader.pending]
        if not self._complete and self._readers:
            max(self._readers.values(), key=lambda reader: reader.newest).request_full_read()
        pending = [reader for reader in self._readers.values() if reader.pending]
        return sorted(pending, key=lambda reader: -reader.newest)

    def _notes(self) -> tuple[str, ...]:
        """Return the codes of notes about missing paths and file events."""
        no_events = self._source.no_events
        return (("waiting_for_path",) if self.missing else ()) + ((no_events,) if no_events else ())

    def read_all(self) -> list[Batch]:
        """Read everything that exists now, for commands without a terminal."""
        batches = [self.read(1.0)]
        while not batches[-1].complete:
            batches.append(self.read(1.0))
        return batches

    def _refresh(self) -> list[Path]:
        """Check what may have changed; return the runs that are gone."""
        changed, self._changed = self._changed, set()
        recent, self._check_recent = self._check_recent, False
        if changed is None or changed or recent or not self._with_logs:
            self._order = None
        if changed is None:
            self._error = None
            return self._check_everything()
        if not self._with_logs:
            self._with_logs = True
            return self._assign(outside=True)
        begin = time.thread_time()
        unknown = {path for path in changed if not self._check_path(path)}
        if recent:
            unknown |= self._check_recently_active()
        gone = self._rescan(unknown) if unknown else []
        if recent:
            every = POLL_S if self._must_poll else HEARTBEAT_S
            self._recent_due = time.monotonic() + max(every, 2 * (time.thread_time() - begin) / POLL_SHARE)
        return gone

    def _check_everything(self) -> list[Path]:
        """List all directories that may have changed and check all files; return the runs that are gone."""
        begin = time.thread_time()
        changed = self._tree.scan(self._clock()) or bool(self._console_logs.missing)
        if self._complete:
            changed = self._attempt(partial(self._console_logs.scan_outside, self._readers), False) or changed
        gone = self._assign(outside=False) if changed or not self._complete else []
        for reader in self._readers.values():
            self._check_run(reader)
        if self._started:
            # Logs in other places, and those that are followed alone.
            for place in {path.parent for path in self._console_logs.outside_tree()}:
                self._source.watch(place)
        # No event reports that a permission on a directory above is granted again.
        every = POLL_S if self._must_poll else HEARTBEAT_S if self.errors else SLOW_HEARTBEAT_S
        share = POLL_SHARE if self._must_poll else EVENTS_SHARE
        now = time.monotonic()
        self._due = now + max(every, (time.thread_time() - begin) / share)
        self._recent_due = now + min(HEARTBEAT_S, every)
        return gone

    @property
    def _must_poll(self) -> bool:
        """Whether there may be changes without an event."""
        return bool(self.missing or self._tree.unwatched)

    def _check_path(self, path: Path) -> bool:
        """Check the file at a path; return False if it belongs to no run or its directory must be listed."""
        for place in (path, *path.parents):
            reader = self._readers.get(place)
            if reader is not None and self._check_run(reader, path):
                return True
        return any(self._check_run(reader, path) for reader in self._readers.values() if reader.has_outside_files)

    def _check_recently_active(self) -> set[Path]:
        """Check the recently active runs; return the directories without events that should be listed again.

        Those are the directories of these runs, and those in which runs may appear.
        """
        now = self._clock()
        recent = [reader for reader in self._readers.values() if now - reader.newest < ACTIVE_S]
        unwatched = self._tree.unwatched & {*self.roots, *(path.parent for path in self._readers)}
        for reader in sorted(recent, key=lambda reader: -reader.newest)[:MAX_RECENTLY_ACTIVE]:
            self._check_run(reader)
            unwatched |= self._tree.unwatched_below(reader.path)
        return unwatched | {path for path in self._tree.missing if self._appeared(path)}

    def _appeared(self, path: Path) -> bool:
        """Return whether a missing path exists by now."""
        try:
            return self._source.stat(path) is not None
        except SourceError:
            return False

    def _rescan(self, paths: set[Path]) -> list[Path]:
        """List directories again; return the runs that are gone."""
        changed = self._tree.rescan(paths, self._clock())
        if changed is None:
            return self._assign(outside=False)
        for path in {up for place in changed for up in (place, *place.parents) if up in self._readers}:
            run_dir = self._tree.directory(path)
            if run_dir is not None:
                self._attach(self._readers[path], self._readers[path].attach_directory, run_dir)
        return []

    def _assign(self, outside: bool) -> list[Path]:
        """Create, update and remove readers so that there is one for each run; return the runs that are gone.

        With ``outside``, console logs outside the tree are searched too.
        """
        found = self._tree.runs()
        if outside:
            self._attempt(partial(self._console_logs.scan_outside, found), False)
        if self._with_logs or not found:
            self._with_logs = True
            self._attempt(partial(self._console_logs.assign, found), None)
        for path, reader in self._readers.items():
            # A producer deletes its log to start over; until its first row there may be no other evidence of the run.
            if path not in found and reader.has_log and (kept := self._tree.directory(path)) is not None:
                found[path] = kept
        gone = [path for path in self._readers if path not in found]
        for path in gone:
            del self._readers[path]
        for path, run_dir in found.items():
            if path not in self._readers:
                self._readers[path] = RunReader(self._source, path, sample=self._sample)
            self._attach(self._readers[path], self._readers[path].attach, run_dir)
        return gone

    # -- waiting -------------------------------------------------------------------------------------------------

    def start_watching(self) -> None:
        """Watch for file events from the next reading on, which checks everything once more."""
        self._started = self._tree.watching = True
        self._changed = None

    def request_full_read(self, paths: Iterable[Path]) -> None:
        """Read the whole logs of these runs. May be called from another thread."""
        self._requested.extend(paths)
        self.wake()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Sleep until there may be something to read, at most ``timeout_s`` seconds; return False if time is over."""
        if self._changed is None or not self._with_logs or self._requested:
            return True
        # While one file is still being read, changes of the others are collected as well.
        pending = any(reader.pending for reader in self._readers.values())
        now = time.monotonic()
        until = now if pending else min(now + timeout_s, self._due, self._recent_due)
        changed = self._source.wait(max(0.0, until - now))
        now = time.monotonic()
        if changed:
            if not pending and now - self._last_change < QUIET_S:
                # The first change after QUIET_S was reported at once; those that follow it are gathered.
                time.sleep(max(0.0, self._last_change + GATHER_S - now))
                changed |= self._source.wait(DRAIN_S)
            now = self._last_change = time.monotonic()
        self._check_recent = self._check_recent or now >= self._recent_due
        if now >= self._due:
            self._changed = None
        else:
            self._changed |= changed
        return pending or bool(changed or self._requested) or self._check_recent or self._changed is None

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._source.wake()

    def close(self) -> None:
        """Stop watching; release all watches and threads."""
        self._source.close()
