"""File events where there is no inotify: those of the watchdog library."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog import events
from watchdog.observers import Observer

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch


class Watchdog:
    """Implements :class:`~lora_tui.sources.base.Listener`. One watch covers everything below a directory, so those
    inside one that is watched need none. Raises OSError where events cannot be had."""

    def __init__(self) -> None:
        # watchdog 7 says so of its own bookkeeping when directories appear in each other; nothing is lost by it,
        # and a line on stderr would stand in the middle of the screen.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        self._observer = Observer()
        self._observer.daemon = True
        self._observer.start()
        self._watched: dict[Path, tuple[tuple[int, int], ObservedWatch]] = {}
        """Directory -> its identity when the watch was set, and the watch."""
        self._changed: set[Path] = set()
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._no_events = ""

    @property
    def no_events(self) -> str:
        """``no_watch`` while there are no more watches to have, else empty."""
        return self._no_events

    def watch(self, directory: Path) -> bool:
        """Listen to a directory and everything below it. False if that cannot be."""
        if any(up in self._watched for up in directory.parents):
            return True
        try:
            info = directory.stat()
        except OSError:
            return False
        key = (info.st_dev, info.st_ino)
        known = self._watched.get(directory)
        if known is not None:
            if known[0] == key:
                return True
            # Deleted and made anew since: the system's watch went with the old one.
            self.unwatch(directory)
        handler = events.FileSystemEventHandler()
        handler.on_any_event = self._on_event  # type: ignore[method-assign]
        changes: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirDeletedEvent,
            events.DirMovedEvent,
        ]
        try:
            watch = self._observer.schedule(handler, str(directory), recursive=True, event_filter=changes)
        except OSError as error:
            # No room for more, or a file system without events.
            self._no_events = "no_watch" if error.errno in (errno.ENOSPC, errno.EMFILE) else ""
            return False
        self._no_events = ""
        self._watched[directory] = (key, watch)
        return True

    def unwatch(self, directory: Path) -> None:
        """Listen no more to a directory that was watched itself."""
        known = self._watched.pop(directory, None)
        if known is not None:
            self._observer.unschedule(known[1])

    def _on_event(self, event: events.FileSystemEvent) -> None:
        with self._lock:
            for name in (event.src_path, event.dest_path):
                if name:
                    self._changed.add(Path(os.fsdecode(name)))
        self._event.set()

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over; the paths that changed."""
        self._event.wait(timeout_s)
        with self._lock:
            self._event.clear()
            changed, self._changed = self._changed, set()
        return changed

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._event.set()

    def close(self) -> None:
        """Give back every watch and thread."""
        self._observer.stop()
        self._observer.join(2.0)
        self._watched.clear()
