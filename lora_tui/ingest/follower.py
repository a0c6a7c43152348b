"""The live loop that every face shares: wait -> bounded read -> parse -> batch.

A :class:`Follower` finds the runs below the paths that it was given and reads what they gain. ``read`` does one bounded
turn and returns an immutable :class:`~lora_tui.records.updates.Batch`; the app calls it in a thread, headless commands
call it until it is complete.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lora_tui.ingest.console_logs import ConsoleLogs
from lora_tui.ingest.discovery import RunTree
from lora_tui.ingest.run_reader import LIVE_S, STAGES, RunReader
from lora_tui.records.updates import Batch, RunUpdates
from lora_tui.sources.base import Source, SourceError
from lora_tui.sources.local_disk import LocalDisk

HEARTBEAT_S = 3.0
"""How often runs that were lately alive are looked at, whatever events say: they get lost, and a log may be a link to a
directory that nobody listens to."""
SLOW_HEARTBEAT_S = 15.0
"""How often everything is looked at where events come."""
POLL_S = 0.5
"""How often where none come."""
SHARE = 0.01
"""The part of a core that looking again may cost; of many runs the looks become seldom. Those at runs lately alive cost
half of it besides."""
HEARD_SHARE = 0.002
"""The same where events come, so that hardly anything is found by it."""
NEAR = 20
"""So many runs lately alive are looked at often."""
QUIET_S = 0.25
GATHER_S = 0.15


class Follower:
    """Follows runs below ``paths`` (directories, runs, or console logs; they may not exist yet).

    ``logs``: console logs kept elsewhere, joined to the run that they name (or to the only run there is).
    ``poll``: look again twice a second instead of waiting for events.
    ``cwd``: where else to look for console logs that name one of the runs.
    ``clock``: the present Unix time in seconds.
    ``sample``: read only the ends and the evaluations of long logs that are quiet, until a full reading is requested.
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
        self._book = ConsoleLogs(self._source, self._tree, [Path(p).absolute() for p in logs], cwd)
        self._readers: dict[Path, RunReader] = {}
        self._changed: set[Path] | None = None
        """Paths to look at in the next turn; ``None`` means everything."""
        self._near = False
        """The runs lately alive are to be looked at in the next turn."""
        self._started = False
        self._with_logs = False
        """Console logs have been given to their runs. Not in the first turn, which must be quick: a log is looked into
        before it is known whose it is, and the curve comes from other files."""
        self._sample = sample
        self._requested: deque[Path] = deque()
        self._order: list[RunReader] | None = None
        """What was left to read after the last turn; ``None`` where something else has changed since."""
        self._complete = False
        self._last_news = 0.0
        self._due = self._near_due = 0.0
        """When everything, and when the runs lately alive are looked at without a change (monotonic seconds)."""

    @property
    def roots(self) -> list[Path]:
        """The paths that are followed, absolute."""
        return self._tree.roots

    @property
    def missing(self) -> list[Path]:
        """Paths that do not exist (yet)."""
        return self._tree.missing + self._book.missing

    @property
    def errors(self) -> dict[Path, str]:
        """Directories that cannot be read, with the reason."""
        return dict(self._tree.errors)

    # -- one turn ------------------------------------------------------------------------------------------------

    def read(self, budget_s: float = 0.1, each_s: float = math.inf) -> Batch:
        """Look at what may have changed and parse it for at most about ``budget_s`` seconds, ``each_s`` for one run.

        ``Batch.complete`` is false while more is waiting: call again.
        """
        end = time.monotonic() + budget_s
        now = self._clock()
        out = [RunUpdates(path, gone=True) for path in self._refresh()]
        while self._requested:
            found = self._readers.get(self._requested.popleft())
            if found is not None:
                found.request_full_read()
                self._order = None
        order = self._order = self._pending()
        # What the list and the chart show comes first for all runs; long console logs and event files last.
        served: set[Path] = set()
        for stage in STAGES:
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
        return Batch(tuple(out), complete, self._notes(), errors)

    def _pending(self) -> list[RunReader]:
        """The readers with something to read, the newest first, which is read whole at the start."""
        if self._order is not None:
            return [reader for reader in self._order if reader.pending]
        if not self._complete and self._readers:
            max(self._readers.values(), key=lambda reader: reader.newest).request_full_read()
        pending = [reader for reader in self._readers.values() if reader.pending]
        return sorted(pending, key=lambda reader: -reader.newest)

    def _notes(self) -> tuple[str, ...]:
        no_events = self._source.no_events
        return (("waiting_for_path",) if self.missing else ()) + ((no_events,) if no_events else ())

    def read_all(self) -> list[Batch]:
        """Everything that is there now, for headless faces."""
        batches = [self.read(1.0)]
        while not batches[-1].complete:
            batches.append(self.read(1.0))
        return batches

    def _refresh(self) -> list[Path]:
        """Look at what may have changed; returns the runs that are gone."""
        changed, self._changed = self._changed, set()
        near, self._near = self._near, False
        if changed is None or changed or near or not self._with_logs:
            self._order = None
        if changed is None:
            return self._look_everywhere()
        if not self._with_logs:
            self._with_logs = True
            return self._assign(outside=True)
        begin = time.thread_time()
        stray = {path for path in changed if not self._look_at(path)}
        if near:
            stray |= self._look_near()
        gone = self._rescan(stray) if stray else []
        if near:
            every = POLL_S if self._is_silent else HEARTBEAT_S
            self._near_due = time.monotonic() + max(every, 2 * (time.thread_time() - begin) / SHARE)
        return gone

    def _look_everywhere(self) -> list[Path]:
        begin = time.thread_time()
        changed = self._tree.scan(self._clock()) or bool(self._book.missing)
        if self._complete:
            changed = self._book.scan_outside(self._readers) or changed
        gone = self._assign(outside=False) if changed or not self._complete else []
        for reader in self._readers.values():
            reader.look()
        if self._started:
            # Logs kept elsewhere, and those that are all that is followed.
            for place in {path.parent for path in self._book.watch_roots()}:
                self._source.watch(place)
        # A permission that comes back on a directory above is told to nobody.
        every = POLL_S if self._is_silent else HEARTBEAT_S if self.errors else SLOW_HEARTBEAT_S
        share = SHARE if self._is_silent else HEARD_SHARE
        now = time.monotonic()
        self._due = now + max(every, (time.thread_time() - begin) / share)
        self._near_due = now + min(HEARTBEAT_S, every)
        return gone

    @property
    def _is_silent(self) -> bool:
        """There are changes of which nothing will be told."""
        return bool(self.missing or self._tree.unwatched)

    def _look_at(self, path: Path) -> bool:
        """False if it is no file of a run."""
        for place in (path, *path.parents):
            reader = self._readers.get(place)
            if reader is not None and reader.look(path):
                return True
        return any(reader.look(path) for reader in self._readers.values() if reader.reaches_out)

    def _look_near(self) -> set[Path]:
        """Look at the runs lately alive; returns the directories of which nothing is heard and that are worth a look:
        those runs', and those in which runs may appear."""
        now = self._clock()
        hot = [reader for reader in self._readers.values() if now - reader.newest < LIVE_S]
        unwatched = self._tree.unwatched & {*self.roots, *(path.parent for path in self._readers)}
        for reader in sorted(hot, key=lambda reader: -reader.newest)[:NEAR]:
            reader.look()
            unwatched |= self._tree.unwatched_below(reader.path)
        return unwatched | {path for path in self._tree.missing if self._appeared(path)}

    def _appeared(self, path: Path) -> bool:
        try:
            return self._source.stat(path) is not None
        except SourceError:
            return False

    def _rescan(self, paths: set[Path]) -> list[Path]:
        """List directories again; returns the runs that are gone."""
        changed = self._tree.rescan(paths, self._clock())
        if changed is None:
            return self._assign(outside=False)
        for path in {up for place in changed for up in (place, *place.parents) if up in self._readers}:
            run_dir = self._tree.directory(path)
            if run_dir is not None:
                self._readers[path].renew(run_dir)
        return []

    def _assign(self, outside: bool) -> list[Path]:
        """Bring the readers in line with the directories that are there."""
        found = self._tree.runs()
        if outside:
            self._book.scan_outside(found)
        if self._with_logs or not found:
            self._with_logs = True
            self._book.assign(found)
        for path, reader in self._readers.items():
            # A producer deletes its log to start over; until its first row nothing else may tell of the run.
            if path not in found and reader.has_log and (kept := self._tree.directory(path)) is not None:
                found[path] = kept
        gone = [path for path in self._readers if path not in found]
        for path in gone:
            del self._readers[path]
        for path, run_dir in found.items():
            if path not in self._readers:
                self._readers[path] = RunReader(self._source, path, sample=self._sample)
            self._readers[path].attach(run_dir)
        return gone

    # -- waiting -------------------------------------------------------------------------------------------------

    def start_watching(self) -> None:
        """Listen for file events from the next turn on, which looks at everything once more."""
        self._started = self._tree.listening = True
        self._changed = None

    def request_full_read(self, paths: Iterable[Path]) -> None:
        """Read the logs of these runs whole; from another thread."""
        self._requested.extend(paths)
        self.wake()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Sleep until there may be something to read, at most ``timeout_s``. False when the time is over."""
        if self._changed is None or not self._with_logs or self._requested:
            return True
        # What is left of one file must not hide what happens to the others meanwhile.
        pending = any(reader.pending for reader in self._readers.values())
        now = time.monotonic()
        until = now if pending else min(now + timeout_s, self._due, self._near_due)
        changed = self._source.wait(max(0.0, until - now))
        now = time.monotonic()
        if changed:
            if not pending and now - self._last_news < QUIET_S:
                # After a quarter of a second of quiet a change passes at once; what follows it is gathered.
                time.sleep(max(0.0, self._last_news + GATHER_S - now))
                changed |= self._source.wait(0.0)
            now = self._last_news = time.monotonic()
        self._near = self._near or now >= self._near_due
        if now >= self._due:
            self._changed = None
        else:
            self._changed |= changed
        return pending or bool(changed or self._requested) or self._near or self._changed is None

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._source.wake()

    def close(self) -> None:
        """Stop watching and give everything back."""
        self._source.close()
