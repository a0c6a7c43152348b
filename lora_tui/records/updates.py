"""Updates about the files of runs: small immutable messages in the order of the changes.

They are passed from the reading thread to the thread that owns the runs, so their contents must not be changed. Where a
message has a ``file``, that is the file's path relative to the run's directory, or an absolute path for a console log
elsewhere; ``mtime`` is the modification time in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lora_tui.records.documents import LogRow

RowSource = Literal["log", "events", "console"]
"""Kind of a file with rows: trainer_log.jsonl, a TensorBoard event file, or a console log."""


class FileRows(NamedTuple):
    """Rows appended to a file since the last message about it."""

    file: str
    source: RowSource
    rows: Sequence[LogRow]
    """The rows; must not be changed."""
    mtime: float
    restarted: bool = False
    """Whether the file was truncated, replaced, or deleted and recreated, so that all its earlier rows are void."""
    arrived: float | None = None
    """Unix time at which the new rows were read, None for rows that the file had when it was first read."""
    tail_rows: int | None = None
    """Number of rows at the end without a gap between them, where only a sample was read; None where all rows were."""


class FileDoc(NamedTuple):
    """The contents of a whole file, which replace its earlier contents."""

    file: str
    doc: object
    """TrainerState, Results, ConfigDoc, Predictions or ConsoleFacts."""
    mtime: float


class FileSeen(NamedTuple):
    """The modification time of a file, whether or not its content is read (model weights, an event file)."""

    file: str
    mtime: float


class FileGone(NamedTuple):
    """Message that a file was deleted, so that its data is void. A producer deletes trainer_log.jsonl to start over."""

    file: str


class FileProblem(NamedTuple):
    """A part of a file that could not be used."""

    file: str
    line: int
    """Line number from 1; 0 where lines have no meaning."""
    reason: str
    """What is wrong, in a few words; empty to clear the file's earlier problems."""


class CheckpointDir(NamedTuple):
    """A directory ``checkpoint-<step>`` on disk."""

    step: int
    path: str
    """Path relative to the directory of the run."""
    mtime: float
    """Modification time, Unix seconds."""
    has_state: bool
    """Whether it has a trainer_state.json that can be parsed."""
    has_marker: bool = False
    """Whether it has CHECKPOINT_COMPLETE, the marker of LLaMA-Factory's v1 trainer."""
    size: int = 0
    """Size of all its files, bytes."""
    model_size: int = 0
    """Size of the weights alone, bytes: the trainer writes them into the root once more at the end."""


class CheckpointsSeen(NamedTuple):
    """All checkpoint directories of a run; replaces the earlier list."""

    items: tuple[CheckpointDir, ...]


class SpaceSeen(NamedTuple):
    """Space on the file system of the run's directory; reported again when it has changed noticeably."""

    free: int
    """Bytes that the user can still write."""
    total: int
    """Size of the file system, bytes."""


class ReadFault(NamedTuple):
    """An error in this program itself, and not in a file, while a part of a run was read; other parts are read on."""

    part: str
    """The name of the file, or ``:listing`` or ``:changes`` for the search for files and for changed ones."""
    error: Exception | None
    """The error; None once the part has been read without one."""


Update = FileRows | FileDoc | FileSeen | FileGone | FileProblem | CheckpointsSeen | SpaceSeen | ReadFault


class RunUpdates(NamedTuple):
    """Changes of one run."""

    path: Path
    """The run's directory, or the log file itself where that was given."""
    updates: tuple[Update, ...] = ()
    gone: bool = False
    """Whether the directory is no longer a run (deleted, moved, unmounted)."""
    partial: bool = False
    """Whether its log is still being read, so that the last row so far is not the last one of the file."""
    sampled: bool = False
    """Whether only the first and last rows and the evaluations of its log have been read."""


class Batch(NamedTuple):
    """All changes that the follower found in one pass over the files."""

    runs: tuple[RunUpdates, ...] = ()
    complete: bool = False
    """Whether everything that was there at the start has been read."""
    notes: tuple[str, ...] = ()
    """Codes of notes about the watching itself; the only one is ``waiting_for_path``."""
    errors: tuple[tuple[str, str], ...] = ()
    """Paths of directories that cannot be read, each with the reason in a few words."""
    error: Exception | None = None
    """The error in this program itself with which the last search for runs and changes ended; None without one."""
