"""Mounted file systems: plain reads, and events to know when to look where they can be had."""

from __future__ import annotations

import errno
import os
import stat as modes
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lora_tui.sources.base import Entry, Listener, NoAnswer, SourceError, Space
from lora_tui.sources.mounts import Mount, Mounts
from lora_tui.sources.timeouts import TimedCalls

T = TypeVar("T")
AGAIN_S = 30.0
"""After so long it is tried once more to get events."""


def reason(error: OSError) -> str:
    """A few words for an operating system error."""
    known = {errno.EACCES: "permission denied", errno.EPERM: "permission denied", errno.ELOOP: "symlink loop"}
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


class LocalDisk:
    """Implements :class:`~lora_tui.sources.base.Source` for mounted file systems.

    ``poll``: ask for no events. What lies on a mount that another machine or a process serves is read in a thread of
    that mount's own, and no events are asked for there.
    """

    def __init__(self, poll: bool = False, mounts: Mounts | None = None) -> None:
        self._poll = poll
        self._mounts = mounts if mounts is not None else Mounts()
        self._timed: dict[Mount, TimedCalls] = {}
        self._far: dict[Path, Entry] = {}
        """What was last seen where a local directory leads to a distant mount."""
        self._listener: Listener | None = None
        self._refused_at = float("-inf")
        """When events were last refused."""
        self._woken = threading.Event()

    # -- reading -------------------------------------------------------------------------------------------------

    def stat(self, path: Path) -> Entry | None:
        """The entry at ``path``, links followed, ``None`` if there is none."""
        return self._ask("stat", path, lambda: _stat(path))

    def entries(self, path: Path) -> list[Entry]:
        """Everything in a directory that still exists when looked at."""
        if self._mounts.distant(path) is not None:
            return self._ask("entries", path, lambda: _entries(path, _look))
        return self._ask("entries", path, lambda: _entries(path, self._look))

    def _look(self, item: os.DirEntry[str]) -> Entry | None:
        """What a name in a local directory is, which may be a mount that hangs or a link into one."""
        if item.is_file(follow_symlinks=False) or self._mounts.distant(path := Path(item.path)) is None:
            return _look(item)
        try:
            entry = self.stat(path)
        except NoAnswer:
            # As it was; of what was never seen, listing it will tell that it does not answer.
            return self._far.get(path) or Entry(item.name, path, True, False, 0, 0.0, (0, hash(path)))
        except SourceError:
            return None
        if entry is not None:
            self._far[path] = entry
        return entry

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes of a regular file; never blocks on a pipe or a device."""
        return self._ask(("read", offset, limit), path, lambda: _read(path, offset, limit))

    def space(self, path: Path) -> Space | None:
        """The room on the file system of ``path``, ``None`` where it does not say."""
        try:
            return self._ask("space", path, lambda: _space(path))
        except NoAnswer:
            return None

    def _ask(self, what: object, path: Path, work: Callable[[], T]) -> T:
        """``work()``, in a lane where it may hang. Raises SourceError."""
        mount = self._mounts.distant(path)
        try:
            if mount is None:
                return work()
            return self._timed_calls(mount).call((what, path), work)
        except OSError as error:
            raise SourceError(reason(error)) from error

    def _timed_calls(self, mount: Mount) -> TimedCalls:
        lane = self._timed.get(mount)
        if lane is None:
            for gone in [known for known in self._timed if not self._mounts.there(known)]:
                self._timed.pop(gone).close()
            lane = self._timed[mount] = TimedCalls(mount.point)
        return lane

    # -- listening -----------------------------------------------------------------------------------------------

    def watch(self, directory: Path) -> bool:
        """Tell what changes in a directory; False where only looking again will tell."""
        if self._poll or self._mounts.distant(directory) is not None:
            return False
        if self._listener is None and time.monotonic() - self._refused_at >= AGAIN_S:
            try:
                self._listener = _listener()
            except OSError:
                self._refused_at = time.monotonic()
        return self._listener is not None and self._listener.watch(directory)

    def unwatch(self, directory: Path) -> None:
        """Tell no more of a directory."""
        if self._listener is not None:
            self._listener.unwatch(directory)

    @property
    def no_events(self) -> str:
        """Why no events, or no more of them, can be had (a code); empty as long as they can."""
        if self._listener is not None:
            return self._listener.no_events
        return "no_instance" if self._refused_at > 0 else ""

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over; the paths that changed."""
        listener = self._listener
        if listener is not None:
            return listener.wait(timeout_s)
        self._woken.wait(timeout_s)
        self._woken.clear()
        return set()

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        self._woken.set()
        if self._listener is not None:
            self._listener.wake()

    def close(self) -> None:
        """Give back every watch and thread."""
        for lane in list(self._timed.values()):
            lane.close()
        self._timed.clear()
        if self._listener is not None:
            self._listener.close()


def _listener() -> Listener:
    """What tells of changes on this system. Raises OSError where nothing can."""
    if sys.platform == "linux":
        from lora_tui.sources.inotify import Inotify

        return Inotify()
    from lora_tui.sources.watchdog_events import Watchdog

    return Watchdog()


# -- the calls themselves, which raise OSError or SourceError --------------------------------------------------------


def _stat(path: Path) -> Entry | None:
    try:
        return _entry(path.name, path, path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(path: Path, look: Callable[[os.DirEntry[str]], Entry | None]) -> list[Entry]:
    with os.scandir(path) as found:
        return [entry for item in found if (entry := look(item)) is not None]


def _look(item: os.DirEntry[str]) -> Entry | None:
    try:
        return _entry(item.name, Path(item.path), item.stat())
    except PermissionError:
        if item.is_symlink():
            return None
        # The directory may be listed, but nothing in it may be looked at.
        raise
    except OSError:
        # A dangling link, or a file that vanished between listing and looking (checkpoint rotation).
        return None


def _read(path: Path, offset: int, limit: int) -> bytes:
    # Without blocking: opening a named pipe would wait for its writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not modes.S_ISREG(os.fstat(handle).st_mode):
            raise SourceError("not a regular file")
        parts: list[bytes] = []
        while limit > 0 and (part := os.pread(handle, limit, offset)):
            parts.append(part)
            offset += len(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _space(path: Path) -> Space | None:
    try:
        found = os.statvfs(path)
    except OSError:
        # Deleted since it was listed, or a file system that does not count: nothing to warn of.
        return None
    size = found.f_frsize or found.f_bsize
    return Space(found.f_bavail * size, found.f_blocks * size) if found.f_blocks else None


def _entry(name: str, path: Path, info: os.stat_result) -> Entry:
    mode = info.st_mode
    return Entry(
        name, path, modes.S_ISDIR(mode), modes.S_ISREG(mode), info.st_size, info.st_mtime, (info.st_dev, info.st_ino)
    )
