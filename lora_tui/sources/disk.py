"""The local disk: plain reads, and watchdog's events to know when to look."""

from __future__ import annotations

import errno
import os
import stat as modes
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lora_tui.sources.base import Entry, SourceError, Space

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, ObservedWatch

FLOOD_PER_S = 300
"""Events a second beyond which looking again is cheaper than listening (a producer opens, writes, closes per row)."""
FLOOD_REST_S = 30.0
FLOOD_POLL_S = 0.1


def reason(error: OSError) -> str:
    """A few words for an operating system error."""
    known = {errno.EACCES: "permission denied", errno.EPERM: "permission denied", errno.ELOOP: "symlink loop"}
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


class LocalDisk:
    """Implements :class:`~lora_tui.sources.base.Source` for mounted file systems."""

    def __init__(self, poll: bool = False) -> None:
        self._poll = poll
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, tuple[tuple[int, int], ObservedWatch]] = {}
        """Root -> its identity when the watch was set, and the watch."""
        self._changed: set[Path] = set()
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._second = 0
        self._count = 0
        self._resting_until = 0.0
        self._rested: list[Path] = []
        """Roots to listen to again after the rest."""

    # -- reading -------------------------------------------------------------------------------------------------

    def stat(self, path: Path) -> Entry | None:
        """The entry at ``path``, links followed, ``None`` if there is none."""
        try:
            info = path.stat()
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return None
        except OSError as error:
            raise SourceError(reason(error)) from error
        return _entry(path.name, path, info)

    def entries(self, path: Path) -> list[Entry]:
        """Everything in a directory that still exists when looked at."""
        try:
            with os.scandir(path) as found:
                return [entry for item in found if (entry := _look(item)) is not None]
        except OSError as error:
            raise SourceError(reason(error)) from error

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes of a regular file; never blocks on a pipe or a device."""
        try:
            # Without blocking: opening a named pipe would wait for its writer.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise SourceError(reason(error)) from error
        try:
            if not modes.S_ISREG(os.fstat(handle).st_mode):
                raise SourceError("not a regular file")
            parts: list[bytes] = []
            while limit > 0 and (part := os.pread(handle, limit, offset)):
                parts.append(part)
                offset += len(part)
                limit -= len(part)
            return b"".join(parts)
        except OSError as error:
            raise SourceError(reason(error)) from error
        finally:
            os.close(handle)

    def space(self, path: Path) -> Space | None:
        """The room on the file system of ``path``, ``None`` where it does not say."""
        try:
            found = os.statvfs(path)
        except OSError:
            # Deleted since it was listed, or a file system that does not count: nothing to warn of.
            return None
        size = found.f_frsize or found.f_bsize
        return Space(found.f_bavail * size, found.f_blocks * size) if found.f_blocks else None

    # -- watching ------------------------------------------------------------------------------------------------

    def watch(self, roots: list[Path]) -> bool:
        """Begin to listen below ``roots``; False where only looking again will tell."""
        if self._poll:
            return False
        from watchdog.observers import Observer

        if self._observer is None:
            # watchdog 7 says so of its own bookkeeping when directories appear in each other; nothing is lost by it,
            # and a line on stderr would stand in the middle of the screen.
            warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
            self._observer = Observer()
            self._observer.daemon = True
            try:
                self._observer.start()
            except OSError:
                self._observer = None
                self._poll = True
                return False
        return all(self._schedule(root) for root in roots)

    def _schedule(self, root: Path) -> bool:
        from watchdog import events

        if self._observer is None:
            return False
        target = root if root.is_dir() else root.parent
        try:
            info = target.stat()
        except OSError:
            return False
        key = (info.st_dev, info.st_ino)
        if root in self._watched:
            known, watch = self._watched[root]
            if known == key:
                return True
            # Deleted and made anew since: the kernel's watch went with the old one.
            del self._watched[root]
            self._observer.unschedule(watch)
        changes: list[type[FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirDeletedEvent,
            events.DirMovedEvent,
        ]
        handler = events.FileSystemEventHandler()
        handler.on_any_event = self._on_event  # type: ignore[method-assign]
        try:
            watch = self._observer.schedule(handler, str(target), recursive=root.is_dir(), event_filter=changes)
        except OSError:
            # The limit of inotify watches, or a file system without events: the heartbeat reads on.
            return False
        self._watched[root] = (key, watch)
        return True

    def _on_event(self, event: FileSystemEvent) -> None:
        now = int(time.monotonic())
        if now != self._second:
            self._second, self._count = now, 0
        self._count += 1
        with self._lock:
            for name in (event.src_path, event.dest_path):
                if name:
                    self._changed.add(Path(os.fsdecode(name)))
        if self._count > FLOOD_PER_S and not self._resting_until:
            self._resting_until = time.monotonic() + FLOOD_REST_S
        self._event.set()

    def _rest(self) -> float | None:
        """While events come in floods: how long until the next look; ``None`` when listening."""
        if not self._resting_until:
            return None
        if self._watched and self._observer is not None:
            self._rested = list(self._watched)
            self._observer.unschedule_all()
            self._watched.clear()
        if time.monotonic() < self._resting_until:
            return FLOOD_POLL_S
        self._resting_until = 0.0
        for root in self._rested:
            self._schedule(root)
        return None

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over; the paths that changed."""
        resting = self._rest()
        if resting is not None:
            timeout_s = min(timeout_s, resting)
        self._event.wait(timeout_s)
        with self._lock:
            self._event.clear()
            changed, self._changed = self._changed, set()
        return changed

    @property
    def resting(self) -> bool:
        """Events are switched off for a while since they came in floods."""
        return bool(self._resting_until)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._event.set()

    def close(self) -> None:
        """Give back every watch and thread."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(2.0)
            self._observer = None
        self._watched.clear()


def _entry(name: str, path: Path, info: os.stat_result) -> Entry:
    mode = info.st_mode
    return Entry(
        name, path, modes.S_ISDIR(mode), modes.S_ISREG(mode), info.st_size, info.st_mtime, (info.st_dev, info.st_ino)
    )


def _look(item: os.DirEntry[str]) -> Entry | None:
    try:
        return _entry(item.name, Path(item.path), item.stat())
    except OSError:
        # A dangling link, or a file that vanished between listing and looking (checkpoint rotation).
        return None
