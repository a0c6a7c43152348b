"""What the files of one run say: rows, series, options, times. What follows from it is in :mod:`lora_tui.runs.run`.

The reading side hands over updates, and :meth:`RunData.apply` takes them in. Nothing here reads the disk or the clock.
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
    SpaceSeen,
    Update,
)
from lora_tui.runs.eval_jobs import EvalJob
from lora_tui.runs.files import FileNote, Files
from lora_tui.runs.job_config import ConfigEntry, merge_config, stage_of
from lora_tui.runs.merged_series import RANK, MergedSeries, SourceKind
from lora_tui.runs.series import Series
from lora_tui.runs.timeline import Timeline, is_training, pieces

NO_PERPLEXITY = frozenset({"dpo", "orpo", "simpo", "kto", "rm", "ppo", "grpo"})
"""Stages whose eval_loss is not a cross-entropy per token, so that its exponential means nothing."""

T = TypeVar("T")


class RunData:
    """Everything that the files of one run say. Only :meth:`apply` changes it, and the workspace sets ``name``."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        """Directory of the run, or the log file itself where that was given."""
        self.name = name or path.name
        """Name, unique among the runs of a workspace."""
        self.revision = 0
        """Number that grows with every change: equal revisions mean equal content."""
        self.partial = False
        """The log is still being read, so the last row so far is not the last one."""
        self.sampled = False
        """Only the first and last rows and the evaluations of the log have been read."""
        self.log_deleted = False
        """trainer_log.jsonl was deleted while it was watched: a new attempt has begun that has not logged yet."""
        self.files = Files()
        self.eval_job = EvalJob()
        self.config: Mapping[str, ConfigEntry] = {}
        """Options of the job by name, each with the file that it was found in; secrets are masked."""
        self._merged = MergedSeries()
        self._primary: SourceKind = "log"
        self._stage: str | None = None
        self._derived: dict[object, object] = {}
        """Answers of the functions decorated with :func:`derived`, by function."""

    # -- changing ------------------------------------------------------------------------------------------------

    def apply(self, updates: Sequence[Update]) -> None:
        """Take in what the follower found, in its order."""
        if not updates:
            return
        rebuild = config_changed = False
        for update in updates:
            if isinstance(update, FileRows):
                rebuild = self._take_rows(update, rebuild)
            elif isinstance(update, FileDoc):
                rebuild = self._take_doc(update, rebuild)
                config_changed = True
            elif isinstance(update, FileSeen):
                self.files.times[update.file] = update.mtime
            elif isinstance(update, CheckpointsSeen):
                self.files.add_checkpoints(update)
            elif isinstance(update, SpaceSeen):
                self.files.space = update
            elif isinstance(update, FileProblem):
                self.files.add_problem(update)
            else:
                rebuild = self._forget(update) or rebuild
                config_changed = True
        if rebuild:
            self._rebuild()
        log = self.files.tables.get(TRAINER_LOG)
        if log is not None and log.last is not None:
            self.timeline.recount_gaps(log.last)
        if config_changed:
            self.config = merge_config(self.files.docs.values(), self.files.state)
        self._stage = stage_of(self.config, self._merged.series, self.files.results)
        self._derived.clear()
        self.revision += 1

    def _take_rows(self, update: FileRows, rebuild: bool) -> bool:
        """Keep rows; return whether the series must be built anew."""
        table, times, fresh = self.files.add_rows(update)
        if update.source == "log":
            self.log_deleted = self.log_deleted and not update.rows
        if rebuild or fresh:
            return True
        if table.kind != self._primary:
            rows = zip(update.rows, times, strict=True)
            return self._choose_primary() != self._primary or not self._merged.enrich_tail(table.kind, rows)
        if self.files.count_of(table.kind) > 1:
            # Several event files or console logs: one may end after another begins.
            return True
        return not all(self._follow(piece, time) for piece, time in pieces(update.rows, times))

    def _follow(self, row: LogRow | Block, time: float | None) -> bool:
        """Append rows of the primary source; return False where the series must be built anew."""
        if isinstance(row, Block):
            self.eval_job.is_last = False
            return self._merged.append_block(row, time)
        if not is_training(row):
            self.eval_job.add(row, time)
            return True
        self.eval_job.is_last = False
        return self._merged.append(row, time)

    def _take_doc(self, update: FileDoc, rebuild: bool) -> bool:
        """Keep a document; return whether the series must be built anew."""
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

    def _forget(self, update: FileGone) -> bool:
        """Drop a file; return whether the series must be built anew."""
        table = self.files.forget(update)
        if table is None:
            return False
        if table.kind == "log":
            # The producer deletes its log to start over; the other files are of the attempt before.
            self.log_deleted = True
            table.rows.clear()
            table.times.cut(0)
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
        # Of equal numbers the first: the more precise one, but a state last, which is as old as its checkpoint.
        return max(counts, key=lambda kind: counts[kind])

    def _rebuild(self) -> None:
        """Build the series anew from everything that was read."""
        self._primary = primary = self._choose_primary()
        self.eval_job = EvalJob()
        timeline = Timeline()
        # Each checkpoint's state holds the whole history: the newest is enough.
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
            # An eval-only job: its score is a point of a series, its batches are not steps.
            for row in self.eval_job.rows:
                if row.kind == "eval":
                    self._merged.append(row, None)
            self._merged.timeline = Timeline()

    # -- what the rows say ---------------------------------------------------------------------------------------

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
        """Whether the x of every series is the number of the row, since the producer writes no steps."""
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
        """Planned optimizer steps of the current attempt, None if no file tells."""
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

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def stage(self) -> str | None:
        """sft, pt, rm, ppo, dpo, kto, orpo, simpo or grpo; None if the files do not tell."""
        return self._stage

    def _text(self, option: str) -> str | None:
        entry = self.config.get(option)
        return entry.value if entry is not None and isinstance(entry.value, str) else None

    @property
    def method(self) -> str | None:
        """lora, qlora, dora, oft, full or freeze; None if the files do not tell."""
        method = self._text("finetuning_type")
        if method is None and any(name in self.files.times for name in ("config.json", "model.safetensors")):
            method = "full"
        return "qlora" if method == "lora" and "quantization_bit" in self.config else method

    @property
    def model(self) -> str | None:
        """The base model as the job named it, None if the files do not tell."""
        return self._text("model_name_or_path")

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters that the job loaded, as its options or console name them."""
        named = self._text("adapter_name_or_path")
        if named is not None:
            return [part.strip() for part in named.split(",")]
        return self.console.adapters if self.console is not None else ()

    @property
    def producer(self) -> str:
        """llamafactory, llamafactory-v1, trl or transformers."""
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
    def problems(self) -> Sequence[FileNote]:
        """Parts of files that could not be used, file by file."""
        return self.files.problems

    # -- when ----------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> float | None:
        """Unix time of the last change of the producer's files, None without any."""
        return self.files.activity

    @property
    def last_row_time(self) -> float | None:
        """Unix time at which the last training row was written, None if it is not known.

        It is the time at which the row arrived or that its file states, else the modification time of the log if the
        row is the last one of it.
        """
        times = self.timeline.times
        if not times or times[-1] is not None:
            return times[-1] if times else None
        if self._primary == "log" and not self.eval_job.is_last:
            return self.files.log_mtime()
        # A job has written into the log since: the latest row with a time of its own is the best estimate.
        return next((time for time in reversed(times[-5:]) if time is not None), None)

    @property
    def last_job_time(self) -> float | None:
        """Unix time at which the last row of an eval-only or predict job was written, None if it is not known."""
        if self.eval_job.time is None and self.eval_job.is_last:
            return self.files.log_mtime()
        return self.eval_job.time


def derived(function: Callable[[RunData], T]) -> Callable[[RunData], T]:
    """Decorate a function of a run's data alone so that its answer is kept until the run changes."""

    @wraps(function)
    def kept(run: RunData) -> T:
        answers = run._derived
        if function not in answers:
            answers[function] = function(run)
        return cast("T", answers[function])

    return kept
