"""Access to mounted file systems: plain reads, and file events where they can be had."""

from __future__ import annotations

import errno
import os
import stat as modes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lora_tui.sources.base import Entry, Listener, NoAnswer, SourceError, Space
from lora_tui.sources.mounts import Mount, Mounts
from lora_tui.sources.timeouts import TimedCalls

T = TypeVar("T")
RETRY_EVENTS_S = 30.0
"""Seconds after which events are asked for again once they were refused."""


def reason(error: OSError) -> str:
    """Return a few words for an operating system error."""
    known = {errno.EACCES: "permission denied", errno.EPERM: "permission denied", errno.ELOOP: "symlink loop"}
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


class LocalDisk:
    """Implements :class:`~lora_tui.sources.base.Source` for mounted file systems.

    ``poll``: ask for no events. Files on a remote mount (served by another machine or by a process) are read in a
    thread of that mount's own, and no events are asked for there.
    """

    def __init__(self, poll: bool = False, mounts: Mounts | None = None) -> None:
        self._poll = poll
        self._mounts = mounts if mounts is not None else Mounts()
        self._timed: dict[Mount, TimedCalls] = {}
        self._remote_entries: dict[Path, Entry] = {}
        """Last known entries of names in local directories that lead to a remote mount."""
        self._listener: Listener | None = None
        self._refused_at = float("-inf")
        """Time when events were last refused, monotonic seconds."""
        self._refusal = ""
        """Code of the reason for that, if it is a limit."""
        self._woken = threading.Event()

    # -- reading -------------------------------------------------------------------------------------------------

    def stat(self, path: Path) -> Entry | None:
        """Return the entry at ``path``, links followed, or None if there is none."""
        return self._call("stat", path, lambda: _stat(path))

    def entries(self, path: Path) -> list[Entry]:
        """Return everything in a directory that still exists when looked at."""
        if self._mounts.remote_mount(path) is not None:
            return self._call("entries", path, lambda: _entries(path, _entry_of_item))
        return self._call("entries", path, lambda: _entries(path, self._entry_of_item))

    def _entry_of_item(self, item: os.DirEntry[str]) -> Entry | None:
        """Return the entry of a name in a local directory, which may be a mount that hangs or a link into one."""
        if item.is_file(follow_symlinks=False) or self._mounts.remote_mount(path := Path(item.path)) is None:
            return _entry_of_item(item)
        try:
            entry = self.stat(path)
        except NoAnswer:
            # The last known entry; one that was never seen is listed next, which reports that it does not answer.
            return self._remote_entries.get(path) or Entry(item.name, path, True, False, 0, 0.0, (0, hash(path)))
        except SourceError:
            return None
        if entry is not None:
            self._remote_entries[path] = entry
        return entry

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a regular file; never block on a pipe or a device."""
        return self._call(("read", offset, limit), path, lambda: _read(path, offset, limit))

    def space(self, path: Path) -> Space | None:
        """Return the room on the file system of ``path``, or None if it is unknown."""
        try:
            return self._call("space", path, lambda: _space(path))
        except NoAnswer:
            return None

    def _call(self, what: object, path: Path, work: Callable[[], T]) -> T:
        """Return ``work()``, called in a thread of its own where it may hang. Raises SourceError."""
        mount = self._mounts.remote_mount(path)
        try:
            if mount is None:
                return work()
            return self._timed_calls(mount).call((what, path), work)
        except OSError as error:
            raise SourceError(reason(error)) from error

    def _timed_calls(self, mount: Mount) -> TimedCalls:
        calls = self._timed.get(mount)
        if calls is None:
            for unmounted in [known for known in self._timed if not self._mounts.is_mounted(known)]:
                self._timed.pop(unmounted).close()
            calls = self._timed[mount] = TimedCalls(mount.point)
        return calls

    # -- events --------------------------------------------------------------------------------------------------

    def watch(self, directory: Path) -> bool:
        """Report changes in a directory; return False where only looking again shows them."""
        if self._poll or self._mounts.remote_mount(directory) is not None:
            return False
        if self._listener is None and time.monotonic() - self._refused_at >= RETRY_EVENTS_S:
            # Imported here: watchdog takes longer than the first frame may wait.
            from lora_tui.sources.events import open_listener

            try:
                self._listener, self._refusal = open_listener(), ""
            except OSError as error:
                self._refused_at = time.monotonic()
                self._refusal = "no_instance" if error.errno == errno.EMFILE else ""
        return self._listener is not None and self._listener.watch(directory)

    def unwatch(self, directory: Path) -> None:
        """Stop reporting changes of a directory."""
        if self._listener is not None:
            self._listener.unwatch(directory)

    @property
    def no_events(self) -> str:
        """Code of the reason why no events, or no more of them, can be had; empty as long as they can."""
        return self._listener.no_events if self._listener is not None else self._refusal

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over, and return the paths that changed."""
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
        for calls in list(self._timed.values()):
            calls.close()
        self._timed.clear()
        if self._listener is not None:
            self._listener.close()


# -- the calls themselves, which raise OSError or SourceError --------------------------------------------------------


def _stat(path: Path) -> Entry | None:
    try:
        return _entry(path.name, path, path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(path: Path, entry_of: Callable[[os.DirEntry[str]], Entry | None]) -> list[Entry]:
    with os.scandir(path) as found:
        return [entry for item in found if (entry := entry_of(item)) is not None]


def _entry_of_item(item: os.DirEntry[str]) -> Entry | None:
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
        # Deleted since it was listed, or a file system that does not count its blocks: nothing to warn of.
        return None
    size = found.f_frsize or found.f_bsize
    return Space(found.f_bavail * size, found.f_blocks * size) if found.f_blocks else None


def _entry(name: str, path: Path, info: os.stat_result) -> Entry:
    mode = info.st_mode
    return Entry(
        name, path, modes.S_ISDIR(mode), modes.S_ISREG(mode), info.st_size, info.st_mtime, (info.st_dev, info.st_ino)
    )
