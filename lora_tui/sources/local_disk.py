"""Access to mounted file systems: plain reads, and file events where the system provides them."""

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
"""Seconds after which file events are requested again if the system has refused them."""


def reason(error: OSError) -> str:
    """Return a few words for an operating system error."""
    known = {errno.EACCES: "permission denied", errno.EPERM: "permission denied", errno.ELOOP: "symlink loop"}
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


class LocalDisk:
    """Implements :class:`~lora_tui.sources.base.Source` for mounted file systems.

    With ``poll`` no file events are requested. Files on a remote mount (served by another machine or by a process) are
    read in a separate thread for that mount, and no file events are requested for them.
    """

    def __init__(self, poll: bool = False, mounts: Mounts | None = None) -> None:
        self._poll = poll
        self._mounts = mounts if mounts is not None else Mounts()
        self._timed: dict[Mount, TimedCalls] = {}
        self._remote_entries: dict[Path, Entry] = {}
        """Last known entries of paths in local directories that lead to a remote mount."""
        self._listener: Listener | None = None
        self._refused_at = float("-inf")
        """Time at which the system last refused file events, monotonic seconds."""
        self._refusal = ""
        """Code of the limit that was the reason for the refusal, else empty."""
        self._woken = threading.Event()

    # -- reading -------------------------------------------------------------------------------------------------

    def stat(self, path: Path) -> Entry | None:
        """Return the entry at ``path``, links followed, or None if there is none."""
        return self._call("stat", path, lambda: _stat(path))

    def entries(self, path: Path) -> list[Entry]:
        """Return all entries of a directory that still exist when their details are read."""
        if self._mounts.remote_mount(path) is not None:
            return self._call("entries", path, lambda: _entries(path, _entry_of_item))
        return self._call("entries", path, lambda: _entries(path, self._entry_of_item))

    def _entry_of_item(self, item: os.DirEntry[str]) -> Entry | None:
        """Return the entry of an item in a local directory, which may be a mount that hangs or a link into one."""
        if item.is_file(follow_symlinks=False) or self._mounts.remote_mount(path := Path(item.path)) is None:
            return _entry_of_item(item)
        try:
            entry = self.stat(path)
        except NoAnswer:
            # The last known entry. Without one it is taken for a directory: listing it reports that it does not answer.
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
        """Return the space on the file system of ``path``, or None if it is unknown."""
        try:
            return self._call("space", path, lambda: _space(path))
        except NoAnswer:
            return None

    def _call(self, what: object, path: Path, work: Callable[[], T]) -> T:
        """Return ``work()``, called in a separate thread where it may hang. Raises SourceError."""
        mount = self._mounts.remote_mount(path)
        try:
            if mount is None:
                return work()
            return self._timed_calls(mount).call((what, path), work)
        except OSError as error:
            raise SourceError(reason(error)) from error

    def _timed_calls(self, mount: Mount) -> TimedCalls:
        """Return the calls of a remote mount; end the threads of mounts that are gone."""
        calls = self._timed.get(mount)
        if calls is None:
            for unmounted in [known for known in self._timed if not self._mounts.is_mounted(known)]:
                self._timed.pop(unmounted).close()
            calls = self._timed[mount] = TimedCalls(mount.point)
        return calls

    # -- events --------------------------------------------------------------------------------------------------

    def watch(self, directory: Path) -> bool:
        """Report changes in a directory from now on; return False where it must be polled."""
        if self._poll or self._mounts.remote_mount(directory) is not None:
            return False
        if self._listener is None and time.monotonic() - self._refused_at >= RETRY_EVENTS_S:
            # Imported here, since the import of watchdog would delay the first frame.
            from lora_tui.sources.file_events import open_listener

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
        """Code of the reason why there are no events, or no more watches; empty as long as there are."""
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
        """Release all watches and threads."""
        for calls in list(self._timed.values()):
            calls.close()
        self._timed.clear()
        if self._listener is not None:
            self._listener.close()


# -- the calls themselves, which raise OSError or SourceError --------------------------------------------------------


def _stat(path: Path) -> Entry | None:
    """Return the entry at a path, None if there is none."""
    try:
        return _entry(path.name, path, path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(path: Path, entry_of: Callable[[os.DirEntry[str]], Entry | None]) -> list[Entry]:
    """Return the entries of a directory that ``entry_of`` returns for its items."""
    with os.scandir(path) as found:
        return [entry for item in found if (entry := entry_of(item)) is not None]


def _entry_of_item(item: os.DirEntry[str]) -> Entry | None:
    """Return the entry of an item of a directory, links followed, None if it does not exist any more."""
    try:
        return _entry(item.name, Path(item.path), item.stat())
    except PermissionError:
        if item.is_symlink():
            return None
        # The directory may be listed, but the details of what is in it may not be read.
        raise
    except OSError:
        # A dangling link, or a file that was deleted after it was listed (checkpoint rotation).
        return None


def _read(path: Path, offset: int, limit: int) -> bytes:
    """Return at most ``limit`` bytes of a regular file from ``offset``."""
    # O_NONBLOCK, since opening a named pipe would wait for its writer.
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
    """Return the space on the file system of a path, None if it is unknown."""
    try:
        found = os.statvfs(path)
    except OSError:
        # Deleted since it was listed, or a file system that does not count its blocks.
        return None
    size = found.f_frsize or found.f_bsize
    return Space(found.f_bavail * size, found.f_blocks * size) if found.f_blocks else None


def _entry(name: str, path: Path, info: os.stat_result) -> Entry:
    """Return the entry with the details in ``info``."""
    mode = info.st_mode
    return Entry(
        name, path, modes.S_ISDIR(mode), modes.S_ISREG(mode), info.st_size, info.st_mtime, (info.st_dev, info.st_ino)
    )
