"""The contract between the follower and a place where runs lie."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One name in a directory, links followed. Times are Unix seconds."""

    name: str
    path: Path
    is_dir: bool
    is_file: bool
    size: int
    mtime: float
    key: tuple[int, int]
    """Device and inode: the identity of the file, whatever its name."""

    @property
    def version(self) -> tuple[float, int, tuple[int, int]]:
        """Another one means that the content may be another."""
        return self.mtime, self.size, self.key


class Space(NamedTuple):
    """Room on a file system, bytes. ``free`` is what an ordinary user may still write; a quota may leave less."""

    free: int
    total: int


class SourceError(Exception):
    """Something cannot be listed or read; ``str()`` is the reason in a few words, without the path: a key of the
    catalogue after ``reason.``, or what the operating system says."""


class NoAnswer(SourceError):
    """The file system does not answer; what was asked for may be there or not."""

    def __init__(self, point: Path) -> None:
        super().__init__("does not answer")
        self.point = point
        """Where it is mounted."""


class Listener(Protocol):
    """Tells what changes in directories."""

    def watch(self, directory: Path) -> bool:
        """Tell from now on what changes directly in a directory; said again when it may have been made anew. False if
        nothing will be told of it: then looking again is the only way."""

    def unwatch(self, directory: Path) -> None:
        """Tell no more of a directory."""

    @property
    def no_events(self) -> str:
        """Why ``watch`` finds no events (a code): ``no_instance`` or ``no_watch``, the limits of inotify(7) for one
        user. Empty as long as they can be had, and where there can be none."""

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something changes or the time is over; the paths that changed. A directory among them: something
        in it, all of them after events were lost."""

    def wake(self) -> None:
        """End a ``wait`` in another thread."""

    def close(self) -> None:
        """Give back every watch and thread."""


class Source(Listener, Protocol):
    """A tree of files that somebody else writes. Nothing here ever writes, locks or waits on a file.

    Each call that looks at files raises NoAnswer within seconds where the file system hangs, and at once as long as it
    goes on to."""

    def stat(self, path: Path) -> Entry | None:
        """The entry at ``path``, ``None`` if there is none. Raises SourceError if it may not be seen."""

    def entries(self, path: Path) -> list[Entry]:
        """Everything in a directory. Raises SourceError."""

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset``, empty at the end. Raises SourceError (also for what is no file)."""

    def space(self, path: Path) -> Space | None:
        """The room where ``path`` lies, ``None`` if that cannot be told."""
