"""The contents of the files of one run: documents, times, checkpoint directories, rows as read, problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from lora_tui.records.documents import ConfigDoc, ConsoleFacts, Predictions, Results, TrainerState
from lora_tui.records.file_names import ADAPTER_CONFIG, MODEL_CARD, ROOT_MODEL_FILES, TRAINER_LOG, TRAINER_STATE
from lora_tui.records.rows import Rows
from lora_tui.records.timestamps import Times
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, FileDoc, FileGone, FileProblem, FileRows, SpaceSeen
from lora_tui.runs.merged_series import SourceKind, Table
from lora_tui.runs.timeline import SLACK_S

MAX_PROBLEMS = 50
"""Maximum number of problems kept for each file."""

Doc = TypeVar("Doc")
"""Type of a document."""


class Files:
    """The latest contents of every file. Only :class:`lora_tui.runs.run_data.RunData` changes it."""

    def __init__(self) -> None:
        self.docs: dict[str, FileDoc] = {}
        """Documents by file name."""
        self.tables: dict[str, Table] = {}
        """Rows of trainer_log.jsonl, event files and console logs by file name."""
        self.times: dict[str, float] = {}
        """Modification time of each file by name, Unix seconds."""
        self.checkpoints: tuple[CheckpointDir, ...] = ()
        """Checkpoint directories on disk."""
        self.saved: dict[int, float] = {}
        """Unix time by step of every complete checkpoint seen so far, including those deleted since."""
        self.space: SpaceSeen | None = None
        """Free and total space of the file system when it was last checked, None before."""
        self._problems: dict[str, list[FileProblem]] = {}
        """Problems by file name."""
        self._console: tuple[ConsoleFacts, float] | None = None
        """Cached result of ``console``."""

    # -- updates -------------------------------------------------------------------------------------------------

    def add_rows(self, update: FileRows) -> tuple[Table, Times, bool]:
        """Store new rows; return the table of the file, their times, and whether it has no valid earlier rows."""
        self.times[update.file] = update.mtime
        table = self.tables.get(update.file)
        fresh = table is None or update.restarted
        if table is None:
            table = self.tables[update.file] = Table(update.source, update.file)
        elif update.restarted:
            table.clear()
        table.mtime, table.tail_rows = update.mtime, update.tail_rows
        rows = update.rows if isinstance(update.rows, Rows) else Rows(update.rows)
        times = Times(rows.times())
        if times and times[-1] is None and update.arrived is not None:
            # Of several rows that arrived since the last read, only the last one was written at the modification time.
            times[-1] = update.mtime
        table.rows.extend(rows)
        table.times.extend(times)
        return table, times, fresh

    def add_doc(self, update: FileDoc) -> FileDoc | None:
        """Store a document; return the one that it replaces, None if there was none."""
        old = self.docs.get(update.file)
        self.docs[update.file] = update
        self.times[update.file] = update.mtime
        self._console = None
        return old

    def add_checkpoints(self, update: CheckpointsSeen) -> None:
        """Replace the list of checkpoints."""
        self.checkpoints = update.items
        self.saved.update((item.step, item.mtime) for item in update.items if item.has_state or item.has_marker)

    def add_problem(self, update: FileProblem) -> None:
        """Store a problem; one without a reason clears the problems of its file."""
        if not update.reason:
            self._problems.pop(update.file, None)
            return
        problems = self._problems.setdefault(update.file, [])
        if len(problems) < MAX_PROBLEMS:
            problems.append(update)

    def remove(self, update: FileGone) -> Table | None:
        """Remove a file except for its rows; return the table of these for the caller to clear, None without one."""
        self.times.pop(update.file, None)
        self.docs.pop(update.file, None)
        self._problems.pop(update.file, None)
        self._console = None
        return self.tables.get(update.file)

    # -- queries -------------------------------------------------------------------------------------------------

    def of(self, kind: type[Doc]) -> list[tuple[Doc, FileDoc]]:
        """Return the documents of one type, each with the update that contained it."""
        return [(d.doc, d) for d in self.docs.values() if isinstance(d.doc, kind)]

    @property
    def problems(self) -> Sequence[FileProblem]:
        """Parts of files that could not be used, file by file."""
        return [problem for problems in self._problems.values() for problem in problems]

    @property
    def state(self) -> TrainerState | None:
        """The newest trainer_state.json of the root or of a checkpoint, None without one."""
        found = self.of(TrainerState)
        return max(found, key=lambda item: (item[1].mtime, item[1].file == TRAINER_STATE))[0] if found else None

    @property
    def root_state(self) -> tuple[TrainerState, float] | None:
        """The root's trainer_state.json and its modification time (Unix seconds), None without one.

        The trainer writes it once, after training.
        """
        doc = self.docs.get(TRAINER_STATE)
        return (doc.doc, doc.mtime) if doc is not None and isinstance(doc.doc, TrainerState) else None

    @property
    def predictions(self) -> Predictions | None:
        """Contents of generated_predictions.jsonl, None without the file."""
        return next((doc for doc, _ in self.of(Predictions)), None)

    @property
    def results(self) -> Mapping[str, tuple[Results, FileDoc]]:
        """Results files by split (train, eval, predict, all)."""
        return {doc.split: (doc, file) for doc, file in self.of(Results)}

    @property
    def results_time(self) -> float | None:
        """Unix time at which the newest results file was modified, None without one."""
        return max((file.mtime for _, file in self.of(Results)), default=None)

    @property
    def console(self) -> tuple[ConsoleFacts, float] | None:
        """Facts of the newest console log and the Unix time at which it was last written, None without one."""
        if self._console is None:
            found = [(doc, file.mtime) for doc, file in self.of(ConsoleFacts) if doc.is_training_log]
            if not found:
                return None
            latest = max(mtime for _, mtime in found)
            # running_log.txt and webui_subprocess.log belong to the same job, but only one of them has its traceback.
            together = [item for item in found if item[1] >= latest - SLACK_S]
            self._console = max(together, key=lambda x: (x[0].failure is not None, x[0].phase is not None, x[1]))
        return self._console

    @property
    def producer(self) -> str | None:
        """Producer that a file names, None if no file names one."""
        return next((doc.producer for doc, _ in self.of(ConfigDoc) if doc.producer is not None), None)

    @property
    def activity(self) -> float | None:
        """Unix time of the last change of the producer's files, None without any.

        Model cards do not count, since people edit them.
        """
        times = [time for name, time in self.times.items() if name != MODEL_CARD]
        times.extend(item.mtime for item in self.checkpoints)
        return max(times, default=None)

    @property
    def card_time(self) -> float:
        """Unix time at which the model card, the last file of a job, was modified; minus infinity without one."""
        return self.times.get(MODEL_CARD, -math.inf)

    def has_model_since(self, time: float) -> bool:
        """Return whether the root has a file of a final model that is not older than ``time`` (Unix seconds)."""
        return any(self.times.get(name, -math.inf) >= time for name in (*ROOT_MODEL_FILES, ADAPTER_CONFIG))

    def tables_of(self, kind: SourceKind) -> list[Table]:
        """Return the tables of one kind of source, the oldest file first.

        A trainer state becomes a table with the rows of its history.
        """
        if kind == "state":
            found = sorted(self.of(TrainerState), key=lambda item: item[1].mtime)
            return [Table("state", f.file, Rows(d.rows), Times([None] * len(d.rows)), f.mtime) for d, f in found]
        tables = [table for table in self.tables.values() if table.kind == kind]
        return sorted(tables, key=lambda t: (t.mtime if t.times.earliest is None else t.times.earliest, t.file))

    def log_mtime(self) -> float | None:
        """Return the modification time of trainer_log.jsonl (Unix seconds), None without one."""
        table = self.tables.get(TRAINER_LOG)
        return table.mtime if table is not None else None
