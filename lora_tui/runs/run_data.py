"""The data read from the files of one run: rows, series, options, times.

:class:`lora_tui.runs.run.Run` adds what is derived from them. Nothing here reads the disk or the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TypeVar, cast

from lora_tui.records.documents import ConsoleFacts, LogRow, Predictions, TrainerState
from lora_tui.records.file_names import TRAINER_LOG
from lora_tui.records.rows import Block
from lora_tui.records.updates import (
    CheckpointsSeen,
    FileDoc,
    FileGone,
    FileProblem,
    FileRows,
    FileSeen,
    ReadFault,
    SpaceSeen,
    Update,
)
from lora_tui.runs.eval_jobs import EvalJob
from lora_tui.runs.files import Files
from lora_tui.runs.job_config import ConfigEntry, merge_config, stage_of
from lora_tui.runs.merged_series import RANK, MergedSeries, SourceKind
from lora_tui.runs.series import Series
from lora_tui.runs.timeline import Timeline, is_training, pieces

NO_PERPLEXITY = frozenset({"dpo", "orpo", "simpo", "kto", "rm", "ppo", "grpo"})
"""Stages whose eval_loss is not a cross-entropy per token, so that its exponential means nothing."""

T = TypeVar("T")
"""Type of a cached result."""


class RunData:
    """Everything read from the files of one run.

    Only :meth:`apply` and the workspace, which sets ``name``, ``partial`` and ``sampled``, change it.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        """Directory of the run, or the log file itself where that was given."""
        self.name = name or path.name
        """Name, unique among the runs of a workspace."""
        self.revision = 0
        """Number that increases with every change of the data; equal revisions mean equal data."""
        self.partial = False
        """Whether the log is still being read, so that the last row so far is not the last one of the file."""
        self.sampled = False
        """Whether only the first and last rows and the evaluations of the log have been read."""
        self.log_deleted = False
        """Whether trainer_log.jsonl was deleted while being watched: a new attempt has begun but has not logged yet."""
        self.faults: dict[str, Exception] = {}
        """Errors in this program itself by the part of the run that was not, or not wholly, read because of them."""
        self.files = Files()
        """Contents of the files."""
        self.eval_job = EvalJob()
        """The last eval-only or predict job that wrote into the log."""
        self.config: Mapping[str, ConfigEntry] = {}
        """Options of the job by name, each with the file that it was found in; secrets are masked."""
        self._merged = MergedSeries()
        self._primary: SourceKind = "log"
        """Source whose rows are the timeline; the others only add values to it."""
        self._stage: str | None = None
        self._derived: dict[object, object] = {}
        """Cached results of the functions decorated with :func:`derived`, by function."""

    # -- updates -------------------------------------------------------------------------------------------------

    def apply(self, updates: Sequence[Update]) -> None:
        """Apply the updates that the follower reports, in their order."""
        if not updates:
            return
        rebuild = config_changed = False
        for update in updates:
            if isinstance(update, FileRows):
                rebuild = self._apply_rows(update, rebuild)
            elif isinstance(update, FileDoc):
                rebuild = self._apply_doc(update, rebuild)
                config_changed = True
            elif isinstance(update, FileSeen):
                self.files.times[update.file] = update.mtime
            elif isinstance(update, CheckpointsSeen):
                self.files.add_checkpoints(update)
            elif isinstance(update, SpaceSeen):
                self.files.space = update
            elif isinstance(update, FileProblem):
                self.files.add_problem(update)
            elif isinstance(update, ReadFault):
                self._apply_fault(update)
            else:
                rebuild = self._remove_file(update) or rebuild
                config_changed = True
        if rebuild:
            self._rebuild()
        log = self.files.tables.get(TRAINER_LOG)
        if log is not None and log.tail_rows is not None:
            self.timeline.recount_gaps(log.tail_rows)
        if config_changed:
            self.config = merge_config(self.files.docs.values(), self.files.state)
        self._stage = stage_of(self.config, self._merged.series, self.files.results)
        self._derived.clear()
        self.revision += 1

    def _apply_fault(self, update: ReadFault) -> None:
        if update.error is None:
            self.faults.pop(update.part, None)
        else:
            self.faults[update.part] = update.error

    def note_fault(self, part: str, error: Exception) -> None:
        """Keep an error that :meth:`apply` or the workspace has met; the run keeps what it had until then."""
        self.faults[part] = error
        self._derived.clear()
        self.revision += 1

    def _apply_rows(self, update: FileRows, rebuild: bool) -> bool:
        """Store new rows; return whether the series must be rebuilt."""
        table, times, fresh = self.files.add_rows(update)
        if update.source == "log":
            self.log_deleted = self.log_deleted and not update.rows
        if rebuild or fresh:
            return True
        if table.kind != self._primary:
            rows = zip(update.rows, times, strict=True)
            return self._choose_primary() != self._primary or not self._merged.enrich_tail(table.kind, rows)
        if sum(other.kind == table.kind for other in self.files.tables.values()) > 1:
            # Several event files or console logs: one may end after another begins.
            return True
        return not all(self._append_piece(piece, time) for piece, time in pieces(update.rows, times))

    def _append_piece(self, row: LogRow | Block, time: float | None) -> bool:
        """Append a row or block of the primary source; return False where the series must be rebuilt."""
        if isinstance(row, Block):
            self.eval_job.is_last = False
            return self._merged.append_block(row, time)
        if not is_training(row):
            self.eval_job.add(row, time)
            return True
        self.eval_job.is_last = False
        return self._merged.append(row, time)

    def _apply_doc(self, update: FileDoc, rebuild: bool) -> bool:
        """Store a document; return whether the series must be rebuilt."""
        old = self.files.add_doc(update)
        doc = update.doc
        if rebuild or not isinstance(doc, TrainerState):
            return rebuild
        # Where states are the primary source, the newest one holds the whole history.
        if RANK["state"] >= RANK[self._primary] or self.stage == "ppo" or self._choose_primary() != self._primary:
            return True
        known = old.doc.rows if old is not None and isinstance(old.doc, TrainerState) else ()
        fresh = doc.rows[len(known) :] if doc.rows[: len(known)] == known else doc.rows
        return not self._merged.enrich_tail("state", [(row, None) for row in fresh])

    def _remove_file(self, update: FileGone) -> bool:
        """Remove the data of a deleted file; return whether the series must be rebuilt."""
        table = self.files.remove(update)
        if table is None:
            return False
        if table.kind == "log":
            # The producer deletes its log to start over; the other files are still those of the earlier attempt.
            self.log_deleted = True
            table.clear()
        else:
            del self.files.tables[update.file]
        return True

    def _choose_primary(self) -> SourceKind:
        """Return the main source of rows: the producer's log, else the source with the most training rows."""
        tables = self.files.tables.values()
        if self.log_deleted or any(table.kind == "log" and table.rows for table in tables):
            return "log"
        counts: dict[SourceKind, int] = {"log": 0, "events": 0, "console": 0, "state": 0}
        for table in tables:
            counts[table.kind] += sum(row.kind == "train" for row in table.rows)
        state = self.files.state
        counts["state"] = sum(row.kind == "train" for row in state.rows) if state is not None else 0
        # max() returns the first of equal counts, so the sources are in order of precision, except that the state is
        # last, since it ends at its checkpoint.
        return max(counts, key=lambda kind: counts[kind])

    def _rebuild(self) -> None:
        """Rebuild the series from all rows read so far."""
        self._primary = primary = self._choose_primary()
        self.eval_job = EvalJob()
        timeline = Timeline()
        # The state of each checkpoint has the whole history, so the newest one is enough.
        for table in self.files.tables_of(primary)[-1 if primary == "state" else 0 :]:
            for row, time in pieces(table.rows, table.times):
                if isinstance(row, Block) or is_training(row):
                    self.eval_job.is_last = False
                    timeline.add_piece(row, time)
                else:
                    self.eval_job.add(row, time)
        sources: tuple[SourceKind, ...] = ("console", "events", "state")
        others = [table for kind in sources if kind != primary for table in self.files.tables_of(kind)]
        self._merged = MergedSeries.build(timeline, RANK[primary], others)
        if not timeline.rows and primary == "log":
            # The scores of an eval-only job go into the series, but its batches are not training steps.
            for row in self.eval_job.rows:
                if row.kind == "eval":
                    self._merged.append(row, None)
            self._merged.timeline = Timeline()

    # -- rows and series -----------------------------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        """The training rows that remain after resumes."""
        return self._merged.timeline

    @property
    def rows(self) -> Sequence[LogRow]:
        """The rows of the timeline."""
        return self._merged.timeline.rows

    @property
    def series(self) -> Mapping[str, Series]:
        """Series by metric name, over the rows that remain; perplexity is derived from eval_loss."""
        if self._stage in NO_PERPLEXITY and "perplexity" in self._merged.series:
            return {name: s for name, s in self._merged.series.items() if name != "perplexity"}
        return self._merged.series

    @property
    def counted_rows(self) -> bool:
        """Whether the steps of all series are row numbers, counted from 1, because the producer writes no steps."""
        return self._merged.ordinal

    @property
    def segments(self) -> int:
        """Number of processes that wrote the rows, one after the other: 1 + the number of resumes."""
        return max(1, len(self.timeline.segments))

    @property
    def resumed_at(self) -> Sequence[int]:
        """First step of every segment after the first."""
        return [s.first_step for s in self.timeline.segments[1:] if s.first_step is not None]

    @property
    def total_steps(self) -> int | None:
        """Planned optimizer steps of the current attempt, None if no file states them."""
        for row in reversed(self.timeline.rows[-3:]):
            if row.total_steps is not None:
                return row.total_steps
        console, state, planned = self.console, self.files.state, self.config.get("max_steps")
        if console is not None and console.total_steps is not None:
            return console.total_steps
        if state is not None and state.max_steps:
            return state.max_steps
        return planned.value if planned is not None and isinstance(planned.value, int) and planned.value > 0 else None

    @property
    def epoch(self) -> float | None:
        """Epoch of the last row that has one, None without any."""
        return next((row.epoch for row in reversed(self.timeline.rows) if row.epoch is not None), None)

    # -- the job -------------------------------------------------------------------------------------------------

    @property
    def stage(self) -> str | None:
        """Training stage (sft, pt, rm, ppo, dpo, kto, orpo, simpo or grpo), None if the files do not show it."""
        return self._stage

    def _text(self, option: str) -> str | None:
        """Return an option that is a text, else None."""
        entry = self.config.get(option)
        return entry.value if entry is not None and isinstance(entry.value, str) else None

    @property
    def method(self) -> str | None:
        """Fine-tuning method (lora, qlora, dora, oft, full or freeze), None if the files do not show it."""
        method = self._text("finetuning_type")
        if method is None and any(name in self.files.times for name in ("config.json", "model.safetensors")):
            method = "full"
        return "qlora" if method == "lora" and "quantization_bit" in self.config else method

    @property
    def model(self) -> str | None:
        """Name or path of the base model as given to the job, None if no file states it."""
        return self._text("model_name_or_path")

    @property
    def adapters(self) -> Sequence[str]:
        """Names or paths of the adapters that the job loaded, by its options, else by its console log."""
        named = self._text("adapter_name_or_path")
        if named is not None:
            return [part.strip() for part in named.split(",")]
        return self.console.adapters if self.console is not None else ()

    @property
    def producer(self) -> str:
        """Software that wrote the files: llamafactory, llamafactory-v1, trl or transformers."""
        log = self.files.tables.get(TRAINER_LOG)
        if self._primary == "log" and log is not None and log.rows:
            v1 = all(row.kind == "train" and row.elapsed_s is None for row in log.rows[:3])
            return "llamafactory-v1" if v1 else "llamafactory"
        if self.files.producer is not None:
            return self.files.producer
        hints = ("dataset", "stage", "trainable_percent", "stage_hint")
        by_console = self.console is not None and any(key in self.config for key in hints)
        return "llamafactory" if by_console or self.files.results else "transformers"

    @property
    def is_plain_trainer(self) -> bool:
        """Whether there are Hugging Face files alone (TRL, or a bare Trainer), without a log, results or root state."""
        files = self.files
        return self._primary != "log" and not files.results and files.root_state is None and bool(files.checkpoints)

    @property
    def console(self) -> ConsoleFacts | None:
        """Facts parsed from the newest console log, None without one."""
        found = self.files.console
        return found[0] if found is not None else None

    @property
    def console_time(self) -> float:
        """Unix time at which the newest console log was last written, minus infinity without one."""
        found = self.files.console
        return found[1] if found is not None else -math.inf

    @property
    def predictions(self) -> Predictions | None:
        """Contents of generated_predictions.jsonl in this directory, None without the file."""
        return self.files.predictions

    @property
    def problems(self) -> Sequence[FileProblem]:
        """Parts of files that could not be used, file by file."""
        return self.files.problems

    # -- times ---------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> float | None:
        """Unix time of the last change of the producer's files, None without any."""
        return self.files.activity

    @property
    def last_row_time(self) -> float | None:
        """Unix time at which the last training row was written, None if it is not known.

        It is the time at which the row arrived or that its file records, else the modification time of the log if the
        row is the last one in it.
        """
        times = self.timeline.times
        if not times or times[-1] is not None:
            return times[-1] if times else None
        if self._primary == "log" and not self.eval_job.is_last:
            return self.files.log_mtime()
        # A later job has written into the log: the latest training row with a known time is the best estimate.
        return next((time for time in reversed(times[-5:]) if time is not None), None)

    @property
    def last_job_time(self) -> float | None:
        """Unix time at which the last row of an eval-only or predict job was written, None if it is not known."""
        if self.eval_job.time is None and self.eval_job.is_last:
            return self.files.log_mtime()
        return self.eval_job.time


AnyRun = TypeVar("AnyRun", bound=RunData)
"""RunData or a subclass."""


def derived(function: Callable[[AnyRun], T]) -> Callable[[AnyRun], T]:
    """Decorate a function that depends on a run's data alone: cache its result until the next update of the run."""

    @wraps(function)
    def cached(run: AnyRun) -> T:
        results = run._derived
        if function not in results:
            results[function] = function(run)
        return cast("T", results[function])

    return cached
