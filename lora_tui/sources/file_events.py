"""File events from the watchdog library, which reports changes on every system.

Two listeners implement :class:`~lora_tui.sources.base.Listener`; :func:`open_listener` chooses. ``docs/file-events.md``
has the measurements behind the choice.

- :class:`DirectoryEvents`: Linux with watchdog 7.1 or later. One inotify descriptor and one thread in all, and a
  watch for exactly those directories that the caller names.
- :class:`TreeEvents`: every other system, and Linux with an older watchdog (Python 3.10 has none newer than 6). One
  recursive watch per root.

Importing watchdog takes 30 ms of CPU time alone, 17 ms in the app, and 1.3 MB. So this module is imported when the
first directory is to be watched, which is after the first frame.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog import events
from watchdog.observers import Observer

from lora_tui.sources.base import Listener

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, WatchDescriptor

IS_LINUX = sys.platform == "linux"
WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
"""File with the number of inotify watches that all processes of one user may have together (inotify(7))."""
UNKNOWN_WATCH_LIMIT = 1 << 17
"""Limit that is assumed where it cannot be read; the kernel then refuses the watches beyond the real one."""
MAX_TREE_DIRECTORIES = 20_000
"""Number of directories in the largest tree that is watched on Linux, where watchdog adds a watch for each."""
MAX_TREES = 16
"""Maximum number of recursive watches at a time.

Each has up to three threads and, in older versions of watchdog, one of the user's 128 inotify instances."""
JOIN_S = 2.0
"""Maximum seconds to wait for watchdog's threads to end."""

CHANGES: list[type[events.FileSystemEvent]] = [
    getattr(events, name)
    for name in (
        "FileCreatedEvent", "FileModifiedEvent", "FileMovedEvent", "FileDeletedEvent", "FileAttribEvent",
        "DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent", "DirAttribEvent",
    )
    if hasattr(events, name)
]  # fmt: skip
"""Types of events that a recursive watch requests, as far as this watchdog has them (those of attributes came with 7).

Not among them are opening, closing and ``DirModifiedEvent``, which accompanies every new file and names only the
directory."""

# Without a handler, Python would print watchdog's warnings (such as those of lost events) over the screen.
logging.getLogger("watchdog").addHandler(logging.NullHandler())


def open_listener() -> Listener:
    """Return a listener for this system. Raises OSError where it has no file events or a limit is reached."""
    if has_shared_descriptor():
        return DirectoryEvents()
    return TreeEvents()


def has_shared_descriptor() -> bool:
    """Return whether this is Linux and watchdog has an ``InotifyFD`` that reports lost events.

    7.1 has; that of 7.0 drops them silently.
    """
    if not IS_LINUX:
        return False
    try:
        from watchdog.observers.inotify_c import InotifyEvent, InotifyFD
    except ImportError:
        return False
    return hasattr(InotifyFD, "add_callback") and hasattr(InotifyEvent, "is_queue_overflow")


def max_watches() -> int:
    """Return the maximum number of inotify watches to use: half of the user's limit, since editors need some too."""
    try:
        return int(WATCH_LIMIT.read_text()) // 2
    except (OSError, ValueError):
        return UNKNOWN_WATCH_LIMIT // 2


class _ChangedPaths:
    """Paths that changed, added by watchdog's threads and taken by the thread that waits for them."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._lock = threading.Lock()
        self._event = threading.Event()

    def add(self, *paths: Path) -> None:
        """Add paths without waking the waiting thread."""
        with self._lock:
            self._paths.update(paths)

    def wake(self) -> None:
        """Wake the waiting thread, or end its next wait at once."""
        self._event.set()

    def wake_for_paths(self) -> None:
        """Wake the waiting thread if there are paths to take."""
        with self._lock:
            if self._paths:
                self._event.set()

    def take(self, timeout_s: float) -> set[Path]:
        """Wait until woken or for ``timeout_s`` seconds; remove and return the paths."""
        self._event.wait(timeout_s)
        with self._lock:
            self._event.clear()
            paths, self._paths = self._paths, set()
        return paths


class DirectoryEvents:
    """Events of single directories, by one ``watchdog.observers.inotify_c.InotifyFD`` (inotify(7)).

    watchdog's own observer has a thread and a move queue for each watch, watches whole trees, and reads events one by
    one as they come. Here the kernel's queue is read once for each ``wait``, or as long as that lasts. Between two
    reads the kernel merges identical events in a row, so a job that opens, writes and closes its log 1,000 times a
    second causes a few events, not thousands (1.2 % of a core instead of 14 to 19).

    The constructor raises OSError where the user has no inotify instance left.
    """

    def __init__(self) -> None:
        from watchdog.observers.inotify_c import CallbackId, InotifyFD, Mask
        from watchdog.observers.inotify_c import InotifyConstants as In

        # No events of opening and closing, which a producer does for every row.
        self._mask = Mask(
            In.IN_MODIFY | In.IN_ATTRIB | In.IN_MOVED_FROM | In.IN_MOVED_TO | In.IN_CREATE | In.IN_DELETE
            | In.IN_DELETE_SELF | In.IN_MOVE_SELF | In.IN_ONLYDIR | In.IN_EXCL_UNLINK
        )  # fmt: skip
        self._move_self = int(In.IN_MOVE_SELF)
        self._inotify = InotifyFD()
        self._ids: Iterator[CallbackId] = map(CallbackId, count(1))
        self._lock = threading.RLock()
        self._directories: dict[WatchDescriptor, tuple[Path, CallbackId]] = {}
        self._descriptors: dict[Path, WatchDescriptor] = {}
        self._limit = max_watches()
        self._no_events = ""
        self._closed = False
        self._failed = False
        self._changed = _ChangedPaths()
        self._is_waited_for = threading.Event()
        self._is_waited_for.set()
        self._thread = threading.Thread(target=self._read, name="file events", daemon=True)
        self._thread.start()

    @property
    def no_events(self) -> str:
        """``no_watch`` while no more watches are available, else empty."""
        return self._no_events

    def watch(self, directory: Path) -> bool:
        """Report changes directly in a directory from now on; return False if no watch is possible.

        Call it again after the directory was deleted and recreated.
        """
        with self._lock:
            if self._failed or (directory not in self._descriptors and len(self._descriptors) >= self._limit):
                self._no_events = "no_watch"
                return False
            id_ = next(self._ids)
            try:
                descriptor = self._inotify.add_callback(os.fsencode(directory), self._mask, self, id_)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.ENOMEM):
                    self._no_events = "no_watch"
                return False
            if descriptor == -1:
                # watchdog raises nothing where a permission is missing.
                self._inotify.remove_callbacks([(descriptor, id_)])
                return False
            before = self._descriptors.get(directory)
            if before is None:
                self._no_events = ""
            elif before != descriptor:
                self._remove(before)
            known = self._directories.get(descriptor)
            if known is not None:
                # The same directory, perhaps under a new name.
                self._inotify.remove_callbacks([(descriptor, id_)])
                self._descriptors.pop(known[0], None)
                id_ = known[1]
            self._directories[descriptor] = (directory, id_)
            self._descriptors[directory] = descriptor
            return True

    def unwatch(self, directory: Path) -> None:
        """Stop reporting changes of a directory."""
        with self._lock:
            descriptor = self._descriptors.get(directory)
            if descriptor is not None:
                self._remove(descriptor)

    def _remove(self, descriptor: WatchDescriptor) -> None:
        """Remove a watch."""
        known = self._pop(descriptor)
        if known is not None:
            self._inotify.remove_callbacks([(descriptor, known[1])])

    def _pop(self, descriptor: WatchDescriptor) -> tuple[Path, CallbackId] | None:
        """Remove and return the directory and callback of a watch, None if it is unknown."""
        known = self._directories.pop(descriptor, None)
        if known is not None and self._descriptors.get(known[0]) == descriptor:
            del self._descriptors[known[0]]
        return known

    # -- called by the thread that reads events ------------------------------------------------------------------

    def _read(self) -> None:
        """Handle the kernel's events whenever a thread waits for them (the target of the thread)."""
        try:
            while not self._closed:
                self._is_waited_for.wait()
                for event in self._inotify.read_events():
                    self._inotify.handle_event(event)
                self._changed.wake_for_paths()
        except OSError:
            # No watch works any more: all directories count as changed, and new watches are refused.
            with self._lock:
                self._failed, self._no_events = True, "no_watch"
            self.on_queue_overflow()
            self._changed.wake()

    def on_event(self, event: InotifyEvent) -> None:
        """Add the path of an event to the changes (watchdog's ``WatchCallback``)."""
        with self._lock:
            known = self._directories.get(event.wd)
            if known is not None:
                self._changed.add(known[0] / os.fsdecode(event.name) if event.name else known[0])
                if event.mask & self._move_self:
                    # The watch follows the directory to a new path, which is not known here.
                    self._remove(event.wd)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Handle the end of a watch whose directory was deleted or unmounted (watchdog's ``WatchCallback``)."""
        with self._lock:
            known = self._pop(wd)
            if known is not None:
                self._changed.add(known[0])

    def on_queue_overflow(self) -> None:
        """Add every directory to the changes, since events were lost (watchdog's ``WatchCallback``)."""
        with self._lock:
            self._changed.add(*self._descriptors)

    # ------------------------------------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over, and return the paths that changed."""
        self._is_waited_for.set()
        changed = self._changed.take(timeout_s)
        if not self._closed:
            self._is_waited_for.clear()
        return changed

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._changed.wake()

    def close(self) -> None:
        """Release all watches, the descriptor and the thread."""
        if not self._closed:
            self._closed = True
            with self._lock:
                self._directories.clear()
                self._descriptors.clear()
            self._inotify.close()
            self._is_waited_for.set()
            self._changed.wake()
            self._thread.join(JOIN_S)


class TreeEvents:
    """Events of whole trees, by watchdog's observer of the system.

    A watch covers everything below its directory, so those inside a watched one need none. On Linux a tree of more than
    :data:`MAX_TREE_DIRECTORIES` directories, or of more than half of the user's watches, is refused and must be polled.
    Events that the kernel drops are not reported by watchdog before 7.1 on Linux: the follower's heartbeat finds those
    changes. The constructor raises OSError where watchdog has no observer but the polling one.
    """

    def __init__(self) -> None:
        from watchdog.observers.polling import PollingObserver

        self._observer = Observer()
        if isinstance(self._observer, PollingObserver):
            # It lists the whole tree every second; the follower's own polling keeps to a budget.
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._observer.daemon = True
        self._observer.start()
        self._watched: dict[Path, tuple[tuple[int, int], ObservedWatch, int]] = {}
        """Directory -> its device and inode when the watch was set, the watch, and the number of directories in it."""
        self._refused: set[Path] = set()
        """Directories whose trees are too large or for which there were no watches left."""
        self._ended: set[Path] = set()
        """Watched directories that were deleted or moved, which ended their watches."""
        self._limit = min(MAX_TREE_DIRECTORIES, max_watches()) if IS_LINUX else sys.maxsize
        self._changed = _ChangedPaths()
        self._no_events = ""

    @property
    def no_events(self) -> str:
        """``no_watch`` while no more watches are available, ``no_instance`` if no inotify instance is, else empty."""
        return self._no_events

    def watch(self, directory: Path) -> bool:
        """Report changes in a directory and everything below it; return False if no watch is possible."""
        if any(up in self._watched and up not in self._ended for up in directory.parents):
            return True
        try:
            info = directory.stat()
        except OSError:
            return False
        key = (info.st_dev, info.st_ino)
        known = self._watched.get(directory)
        if known is not None:
            if known[0] == key and directory not in self._ended:
                return True
            # Deleted and recreated since: the system's watch has ended with the old directory.
            self.unwatch(directory)
        if any(up in self._refused for up in directory.parents):
            return False
        room = self._limit - sum(below for _, _, below in self._watched.values())
        below = _count_directories(directory, room) if IS_LINUX else 0
        if below > room or len(self._watched) >= MAX_TREES:
            self._refused.add(directory)
            self._no_events = "no_watch"
            return False
        handler = events.FileSystemEventHandler()
        handler.on_any_event = self._on_event  # type: ignore[method-assign]
        try:
            watch = self._observer.schedule(handler, str(directory), recursive=True, event_filter=CHANGES)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EMFILE):
                # Not tried again: watchdog before 7 keeps the instance and the watches of an attempt that failed.
                self._no_events = "no_watch" if error.errno == errno.ENOSPC else "no_instance"
                self._limit = 0
            return False
        self._refused.discard(directory)
        self._no_events = ""
        self._watched[directory] = (key, watch, below)
        return True

    def unwatch(self, directory: Path) -> None:
        """Stop reporting changes of a directory that was watched itself."""
        known = self._watched.pop(directory, None)
        self._ended.discard(directory)
        if known is not None:
            self._observer.unschedule(known[1])

    def _on_event(self, event: events.FileSystemEvent) -> None:
        """Add the paths of an event to the changes."""
        paths = [Path(os.fsdecode(name)) for name in (event.src_path, event.dest_path) if name]
        if event.event_type in (events.EVENT_TYPE_DELETED, events.EVENT_TYPE_MOVED) and paths[0] in self._watched:
            self._ended.add(paths[0])
        self._changed.add(*paths)
        self._changed.wake()

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over, and return the paths that changed."""
        return self._changed.take(timeout_s)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._changed.wake()

    def close(self) -> None:
        """Release all watches and threads."""
        self._observer.stop()
        self._observer.join(JOIN_S)
        self._watched.clear()


def _count_directories(path: Path, limit: int) -> int:
    """Return the number of directories at and below ``path``, or a number above ``limit`` as soon as there are more."""
    found, left = 1, [str(path)]
    while left and found <= limit:
        try:
            with os.scandir(left.pop()) as items:
                below = [item.path for item in items if item.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        found += len(below)
        left.extend(below)
    return found
