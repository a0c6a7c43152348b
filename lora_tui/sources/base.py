"""The protocols through which the follower reads files and receives file events."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One name in a directory, symbolic links followed."""

    name: str
    path: Path
    is_dir: bool
    is_file: bool
    size: int
    """Size in bytes."""
    mtime: float
    """Modification time, Unix seconds."""
    key: tuple[int, int]
    """Device and inode: the identity of the file, whatever its name."""

    @property
    def version(self) -> tuple[float, int, tuple[int, int]]:
        """Modification time, size and identity; where they differ, the content may differ."""
        return self.mtime, self.size, self.key


class Space(NamedTuple):
    """Space on a file system in bytes."""

    free: int
    """Bytes that an ordinary user may still write; a quota may leave less."""
    total: int
    """Size of the file system."""


class SourceError(Exception):
    """Raised where a path cannot be listed or read.

    ``str()`` is the reason in a few words without the path: a key of the catalogue after ``reason.``, or the text of
    the operating system.
    """


class NoAnswer(SourceError):
    """Raised where the file system does not answer, so that it is unknown whether the path exists."""

    def __init__(self, point: Path) -> None:
        super().__init__("does not answer")
        self.point = point
        """Mount point of the file system."""


class Listener(Protocol):
    """Reports changes in directories."""

    def watch(self, directory: Path) -> bool:
        """Report changes directly in a directory from now on.

        Call it again when the directory may have been deleted and recreated. Returns False if no events will come, so
        that the directory must be polled.
        """

    def unwatch(self, directory: Path) -> None:
        """Stop reporting changes of a directory."""

    @property
    def no_events(self) -> str:
        """Code of the reason why ``watch`` gets no events, empty while it does and where the system has no events.

        The codes are ``no_instance`` and ``no_watch``, the limits of inotify(7) for one user.
        """

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or ``timeout_s`` seconds are over, and return the paths that changed.

        For a directory among them, anything in it may have changed. After events were lost, all watched directories
        are returned.
        """

    def wake(self) -> None:
        """End a ``wait`` in another thread."""

    def close(self) -> None:
        """Release all watches and threads."""


class Source(Listener, Protocol):
    """A tree of files that another program writes. Nothing here ever writes, locks or waits on a file.

    Each method that accesses files raises NoAnswer within seconds where the file system hangs, and at once for as long
    as it goes on hanging.
    """

    def stat(self, path: Path) -> Entry | None:
        """Return the entry at ``path``, or None if there is none. Raises SourceError, such as without permission."""

    def entries(self, path: Path) -> list[Entry]:
        """Return all entries of a directory. Raises SourceError."""

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes from ``offset``, empty at the end.

        Raises SourceError, also for anything but a regular file.
        """

    def space(self, path: Path) -> Space | None:
        """Return the space on the file system of ``path``, or None if it is unknown."""
