"""The live loop that every face shares: wait -> bounded read -> parse -> batch.

A :class:`Follower` finds the runs below the paths that it was given and reads what they gain. ``read`` does one bounded
turn and returns an immutable :class:`~lora_tui.formats.updates.Batch`; the app calls it in a thread, headless commands
call it until it is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lora_tui.discovery import Tree
from lora_tui.formats.updates import Batch, RunUpdates
from lora_tui.log_book import LogBook
from lora_tui.reading import STAGES, RunReader
from lora_tui.sources.base import Source
from lora_tui.sources.disk import LocalDisk

HEARTBEAT_S = 3.0
"""How often everything is looked at where a run was lately alive: events get lost (NFS, sshfs, FUSE)."""
SLOW_HEARTBEAT_S = 15.0
POLL_S = 0.5
QUIET_S = 0.25
GATHER_S = 0.05
HOT_S = 900.0
"""A run whose files changed within this time is alive for the heartbeat."""


class Follower:
    """Follows runs below ``paths`` (directories, runs, or console logs; they may not exist yet).

    ``logs``: console logs kept elsewhere, joined to the run that they name (or to the only run there is).
    ``poll``: look again twice a second instead of waiting for events.
    ``cwd``: where else to look for console logs that name one of the runs.
    ``clock``: the present Unix time in seconds.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        logs: Sequence[Path] = (),
        poll: bool = False,
        source: Source | None = None,
        cwd: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source: Source = source if source is not None else LocalDisk(poll)
        self._clock = clock
        self._tree = Tree(self._source, [Path(p).absolute() for p in paths])
        self._book = LogBook(self._source, self._tree, [Path(p).absolute() for p in logs], cwd)
        self._readers: dict[Path, RunReader] = {}
        self._changed: set[Path] | None = None
        """Paths to look at in the next turn; ``None`` means everything."""
        self._events = False
        self._started = False
        self._with_logs = False
        """Console logs have been given to their runs. Not in the first turn, which must be quick: a log is looked into
        before it is known whose it is, and the curve comes from other files."""
        self._complete = False
        self._last_read = 0.0
        self._last_beat = 0.0

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

    def read(self, budget_s: float = 0.1) -> Batch:
        """Look at what may have changed and parse it for at most about ``budget_s`` seconds.

        ``Batch.complete`` is false while more is waiting: call again.
        """
        end = time.monotonic() + budget_s
        now = self._clock()
        out = [RunUpdates(path, gone=True) for path in self._refresh()]
        order = sorted(self._readers.values(), key=lambda reader: -reader.newest)
        # What the list and the chart show comes first for all runs; long console logs and event files last.
        for stage in STAGES:
            for reader in order:
                if not reader.pending or (out and time.monotonic() >= end):
                    continue
                updates = reader.read(stage, end, live=self._complete, now=now)
                if updates:
                    out.append(RunUpdates(reader.path, tuple(updates)))
        complete = not any(reader.pending for reader in self._readers.values()) and self._with_logs
        self._complete = self._complete or complete
        self._last_read = time.monotonic()
        errors = tuple((str(path), why) for path, why in self._tree.errors.items())
        return Batch(tuple(out), complete, ("waiting_for_path",) if self.missing else (), errors)

    def read_all(self) -> list[Batch]:
        """Everything that is there now, for headless faces."""
        batches = [self.read(1.0)]
        while not batches[-1].complete:
            batches.append(self.read(1.0))
        return batches

    def _refresh(self) -> list[Path]:
        """Look at what may have changed; returns the runs that are gone."""
        changed, self._changed = self._changed, set()
        if changed is not None and not self._with_logs:
            self._with_logs = True
            return self._assign(outside=True)
        if changed is None:
            self._tree.scan()
            self._last_beat = time.monotonic()
            if self._started:
                # A root may have appeared, or have been made anew.
                self._events = self._source.watch(self._tree.watch_roots() + self._book.watch_roots())
            gone = self._assign(outside=self._complete)
            for reader in self._readers.values():
                reader.look()
            return gone
        stray = {path for path in changed if not any(reader.look(path) for reader in self._readers.values())}
        if not stray:
            return []
        self._tree.rescan(stray)
        return self._assign(outside=False)

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
                self._readers[path] = RunReader(self._source, path)
            self._readers[path].attach(run_dir)
        return gone

    # -- waiting -------------------------------------------------------------------------------------------------

    def start_watching(self) -> None:
        """Listen for file events from the next turn on, which looks at everything once more."""
        self._started = True
        self._changed = None

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Sleep until there may be something to read, at most ``timeout_s``. False when the time is over."""
        if self._changed is None or not self._with_logs or any(reader.pending for reader in self._readers.values()):
            return True
        now = time.monotonic()
        due = self._due()
        until = min(now + timeout_s, due)
        changed = self._source.wait(max(0.0, until - now))
        now = time.monotonic()
        if changed and now - self._last_read < QUIET_S:
            # After a quarter of a second of quiet a change passes at once; what follows it is gathered.
            time.sleep(max(0.0, self._last_read + GATHER_S - now))
            changed |= self._source.wait(0.0)
        if now >= due:
            self._changed = None
        else:
            self._changed |= changed
        return bool(changed) or self._changed is None

    def _due(self) -> float:
        """When to look at everything without having been told of a change (monotonic seconds)."""
        if getattr(self._source, "resting", False):
            return self._last_read + 2 * GATHER_S
        if not self._events or self.missing:
            return self._last_beat + POLL_S
        now = self._clock()
        hot = any(now - reader.newest < HOT_S for reader in self._readers.values())
        return self._last_beat + (HEARTBEAT_S if hot else SLOW_HEARTBEAT_S)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._source.wake()

    def close(self) -> None:
        """Stop watching and give everything back."""
        self._source.close()
