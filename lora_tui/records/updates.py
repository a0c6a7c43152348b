"""What the follower reports about a run's files: small immutable messages, in the order in which they happened.

They cross from the reading thread to the thread that owns the runs, so nothing in them is ever changed again.
``file`` is relative to the run's directory, or an absolute path for a console log kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lora_tui.records.documents import LogRow

RowSource = Literal["log", "events", "console"]
"""trainer_log.jsonl, TensorBoard event files, console logs."""


class FileRows(NamedTuple):
    """Rows appended to a file since the last time."""

    file: str
    source: RowSource
    rows: Sequence[LogRow]
    """Not to be changed."""
    mtime: float
    restarted: bool = False
    """The file was truncated, replaced or deleted and recreated: everything known from it before is void."""
    arrived: float | None = None
    """Unix time at which the rows were seen to arrive; ``None`` for what was there at the first look."""
    last: int | None = None
    """Rows are missing between the others: only so many of the last ones follow each other."""


class FileDoc(NamedTuple):
    """A whole file read anew, or the snapshot of an appended one: replaces what was known from this file."""

    file: str
    doc: object
    """TrainerState, Results, ConfigDoc, Predictions or ConsoleFacts."""
    mtime: float


class FileSeen(NamedTuple):
    """A file that says something by its presence and time alone (README.md, an adapter, an event file)."""

    file: str
    mtime: float


class FileGone(NamedTuple):
    """The file was deleted; what it said is void, except rows, which a producer deletes only to start over."""

    file: str


class FileProblem(NamedTuple):
    """Something in a file could not be used. An empty ``reason`` clears the file's earlier problems."""

    file: str
    line: int
    reason: str


class CheckpointDir(NamedTuple):
    """A directory ``checkpoint-<step>`` as it lies on disk."""

    step: int
    path: str
    mtime: float
    has_state: bool
    """Holds a trainer_state.json that parses."""
    has_marker: bool = False
    """Holds the v1 trainer's CHECKPOINT_COMPLETE."""
    size: int = 0
    """Bytes of everything inside it."""
    model_size: int = 0
    """Bytes of the weights alone, as the trainer writes them into the root once more at the end."""


class CheckpointsSeen(NamedTuple):
    """All checkpoint directories of the run; replaces the list before."""

    items: tuple[CheckpointDir, ...]


class SpaceSeen(NamedTuple):
    """Room on the file system of the run's directory, bytes; said anew when it has changed noticeably."""

    free: int
    total: int


Update = FileRows | FileDoc | FileSeen | FileGone | FileProblem | CheckpointsSeen | SpaceSeen


class RunUpdates(NamedTuple):
    """Changes of one run. ``gone``: the directory is no run any more (deleted, moved, unmounted)."""

    path: Path
    updates: tuple[Update, ...] = ()
    gone: bool = False
    partial: bool = False
    """Its log has not been read to the end yet: what it says now is of the past."""
    sampled: bool = False
    """Of its log only the ends and the evaluations have been read."""


class Batch(NamedTuple):
    """What one turn of the follower found; ``complete`` once everything that was there at the start has been read."""

    runs: tuple[RunUpdates, ...] = ()
    complete: bool = False
    notes: tuple[str, ...] = ()
    """Codes about the watching itself: ``waiting_for_path``."""
    errors: tuple[tuple[str, str], ...] = ()
    """Directories that cannot be read, each with the reason in a few words."""
