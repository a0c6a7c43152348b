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
    """Something cannot be listed or read; ``str()`` is the reason in a few words, without the path."""


class Source(Protocol):
    """A tree of files that somebody else writes. Nothing here ever writes, locks or waits on a file."""

    def stat(self, path: Path) -> Entry | None:
        """The entry at ``path``, ``None`` if there is none. Raises SourceError if it may not be seen."""

    def entries(self, path: Path) -> list[Entry]:
        """Everything in a directory. Raises SourceError."""

    def read(self, path: Path, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset``, empty at the end. Raises SourceError (also for what is no file)."""

    def space(self, path: Path) -> Space | None:
        """The room where ``path`` lies, ``None`` if that cannot be told."""

    def watch(self, roots: list[Path]) -> bool:
        """Begin to report changes below ``roots``. False if events cannot be had and only looking again will tell."""

    def wait(self, timeout_s: float) -> set[Path]:
        """Sleep until something below the roots changes or the time is over; the paths that changed."""

    def wake(self) -> None:
        """End a ``wait`` in another thread."""

    def close(self) -> None:
        """Give back every watch and thread."""
