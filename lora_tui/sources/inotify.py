"""File events of Linux: one watch a directory, and nothing that runs meanwhile (inotify(7))."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
from pathlib import Path

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x02, 0x04, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, UNMOUNT, OVERFLOW, IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
ONLYDIR, EXCL_UNLINK = 0x0100_0000, 0x0400_0000
# Neither opening nor closing: a producer that opens, writes and closes for every row makes one event of it.
MASK = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | ONLYDIR | EXCL_UNLINK
HEADER = struct.Struct("iIII")
BUFFER = 1 << 16
LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


class Inotify:
    """Implements :class:`~lora_tui.sources.base.Listener`. Raises OSError where the user has no instance left."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        # IN_NONBLOCK and IN_CLOEXEC are O_NONBLOCK and O_CLOEXEC.
        self._handle: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._handle, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._lock = threading.Lock()
        self._paths: dict[int, Path] = {}
        self._numbers: dict[Path, int] = {}
        self._most = _most()
        self._closed = False
        self._no_events = ""

    @property
    def no_events(self) -> str:
        """``no_watch`` while there are no more watches to have, else empty."""
        return self._no_events

    def watch(self, directory: Path) -> bool:
        """Listen to what changes directly in a directory; again after it was made anew. False if that cannot be."""
        if directory not in self._numbers and len(self._numbers) >= self._most:
            self._no_events = "no_watch"
            return False
        number: int = self._libc.inotify_add_watch(self._handle, os.fsencode(directory), MASK)
        if number < 0:
            if ctypes.get_errno() in (errno.ENOSPC, errno.ENOMEM):
                self._no_events = "no_watch"
            return False
        if directory not in self._numbers:
            self._no_events = ""
        before = self._numbers.get(directory)
        if before is not None and before != number:
            self._forget(before)
            self._libc.inotify_rm_watch(self._handle, before)
        other = self._paths.get(number)
        if other is not None and other != directory:
            # The same directory under its new name.
            del self._numbers[other]
        self._paths[number] = directory
        self._numbers[directory] = number
        return True

    def unwatch(self, directory: Path) -> None:
        """Listen no more to a directory."""
        number = self._numbers.get(directory)
        if number is not None:
            self._forget(number)
            self._libc.inotify_rm_watch(self._handle, number)

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over; the paths that changed."""
        try:
            self._poll.poll(max(0.0, timeout_s) * 1000)
        except OSError as error:
            # Closed by another thread meanwhile.
            if error.errno != errno.EBADF:
                raise
        with self._lock:
            return set() if self._closed else self._read()

    def _read(self) -> set[Path]:
        changed: set[Path] = set()
        try:
            os.read(self._woken, BUFFER)
        except BlockingIOError:
            pass
        while True:
            try:
                data = os.read(self._handle, BUFFER)
            except BlockingIOError:
                return changed
            at = 0
            while at < len(data):
                number, mask, _, length = HEADER.unpack_from(data, at)
                at += HEADER.size + length
                self._take(number, mask, data[at - length : at].rstrip(b"\0"), changed)

    def _take(self, number: int, mask: int, name: bytes, changed: set[Path]) -> None:
        """One event."""
        if mask & OVERFLOW:
            # Some were lost, nobody knows which.
            changed.update(self._numbers)
        directory = self._paths.get(number)
        if directory is None:
            return
        changed.add(directory / os.fsdecode(name) if name else directory)
        if mask & (IGNORED | UNMOUNT):
            self._forget(number)
        elif mask & MOVE_SELF:
            # It goes on elsewhere, under a name that is not known here.
            self.unwatch(directory)

    def _forget(self, number: int) -> None:
        directory = self._paths.pop(number, None)
        if directory is not None and self._numbers.get(directory) == number:
            del self._numbers[directory]

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._waker, b"\0")
                except BlockingIOError:
                    # Full of calls that nobody has taken: it wakes.
                    pass

    def close(self) -> None:
        """Give back every watch."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for handle in (self._handle, self._woken, self._waker):
                    os.close(handle)


def _most() -> int:
    """Watches to take at most: editors and file managers of the same user need theirs."""
    try:
        return int(LIMIT.read_text()) // 2
    except (OSError, ValueError):
        # Not to be seen here: the kernel says when there are no more.
        return 1 << 16
