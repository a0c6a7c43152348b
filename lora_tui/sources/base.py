"""The protocol between the follower and a place where runs lie."""

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
        """Time, size and identity: two versions that differ may have different contents."""
        return self.mtime, self.size, self.key


class Space(NamedTuple):
    """Room on a file system in bytes."""

    free: int
    """Bytes that an ordinary user may still write; a quota may leave less."""
    total: int


class SourceError(Exception):
    """Something cannot be listed or read.

    ``str()`` is the reason in a few words without the path: a key of the catalogue after ``reason.``, or what the
    operating system says.
    """


class NoAnswer(SourceError):
    """The file system does not answer, so that it is unknown whether the path exists."""

    def __init__(self, point: Path) -> None:
        super().__init__("does not answer")
        self.point = point
        """Mount point of the file system."""


class Listener(Protocol):
    """Reports changes in directories."""

    def watch(self, directory: Path) -> bool:
        """Report changes directly in a directory from now on; call again when it may have been made anew. Return False
        if no events will come, so that only looking again shows changes."""

    def unwatch(self, directory: Path) -> None:
        """Stop reporting changes of a directory."""

    @property
    def no_events(self) -> str:
        """Code of the reason why ``watch`` gets no events: ``no_instance`` or ``no_watch``, the limits of inotify(7)
        for one user. Empty while events can be had, and where the system has none."""

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or ``timeout_s`` seconds are over, and return the paths that changed. A
        directory among them: something in it; all of them after events were lost."""

    def wake(self) -> None:
        """End a ``wait`` in another thread."""

    def close(self) -> None:
        """Give back every watch and thread."""


class Source(Listener, Protocol):
    """A tree of files that another program writes. Nothing here ever writes, locks or waits on a file.

    Each method that looks at files raises NoAnswer within seconds where the file system hangs, and at once as long as
    it goes on to hang.
    """

    def stat(self, path: Path) -> Entry | None:
        """Return the entry at ``path``, or None if there is none. Raises SourceError if it may not be seen."""

    def entries(self, path: Path) -> list[Entry]:
        """Return everything in a directory. Raises SourceError."""

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes from ``offset``, empty at the end. Raises SourceError, also for anything but a
        regular file."""

    def space(self, path: Path) -> Space | None:
        """Return the room on the file system of ``path``, or None if it is unknown."""
