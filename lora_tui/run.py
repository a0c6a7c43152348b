"""Run: what is known of one training run; the only thing that changes.

A run is fed the follower's updates and answers questions about itself. It never reads the disk or the clock:
the present moment is a parameter of ``status`` and ``progress``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_tui.formats.records import ConfigDoc, ConsoleFacts, LogRow, Predictions, Results, TrainerState
from lora_tui.formats.updates import (
    CheckpointDir,
    CheckpointsSeen,
    FileDoc,
    FileGone,
    FileProblem,
    FileRows,
    FileSeen,
    Update,
)
from lora_tui.merge import RANK, Merged, SourceKind, Table
from lora_tui.series import Series
from lora_tui.settings_merge import Setting, job_kind, merge_settings, stage_of
from lora_tui.status import SLACK_S, Progress, StateName, Status, progress_of, status_of
from lora_tui.timeline import Timeline, is_training

__all__ = ["Checkpoint", "FileNote", "Progress", "ResultSet", "Run", "Setting", "StateName", "Status"]

LOG = "trainer_log.jsonl"
ROOT_STATE = "trainer_state.json"
CARD = "README.md"
MAX_PROBLEMS = 50
NO_PERPLEXITY = frozenset({"dpo", "orpo", "simpo", "kto", "rm", "ppo", "grpo"})
"""Stages whose eval_loss is no cross-entropy per token, so that its exponential means nothing."""


@dataclass(frozen=True)
class ResultSet:
    """One ``<split>_results.json``. ``stale``: it belongs to an earlier attempt in the same directory."""

    values: Mapping[str, float]
    stale: bool
    mtime: float
    file: str


@dataclass(frozen=True)
class Checkpoint:
    """One ``checkpoint-<step>`` directory. ``eval_loss`` is the run's own evaluation at that step, if any."""

    step: int
    path: str
    complete: bool
    best: bool = False
    eval_loss: float | None = None
    mtime: float = 0.0
    size: int = 0


@dataclass(frozen=True)
class FileNote:
    """A part of a file that could not be used. ``line`` is 0 where lines have no meaning."""

    file: str
    line: int
    reason: str


class Run:
    """One run. ``apply`` is the only method that changes it; everything else reads."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        """The run's directory, or the log file that was named itself."""
        self.name = name or path.name
        """Unique among the runs shown together; set by the workspace."""
        self.revision = 0
        """Grows with every change; equal revisions mean equal content."""
        self.linked: tuple[Run, ...] = ()
        """Eval and predict jobs that loaded this run's adapter; set by the workspace."""
        self.log_deleted = False
        """trainer_log.jsonl vanished while it was watched: a new attempt has begun and not logged yet."""
        self.job_rows: list[LogRow] = []
        """Progress of the last eval-only or predict job that wrote into the log."""
        self.job_is_last = False
        """The log's last row is of such a job, not of training."""
        self.config: Mapping[str, Setting] = {}
        self.predictions: Predictions | None = None
        self._merged = Merged()
        self._primary: SourceKind = "log"
        self._tables: dict[str, Table] = {}
        self._docs: dict[str, FileDoc] = {}
        self._times: dict[str, float] = {}
        self._problems: dict[str, list[FileNote]] = {}
        self._dirs: tuple[CheckpointDir, ...] = ()
        self._job_time: float | None = None
        self._job_start: float | None = None
        self._console: tuple[ConsoleFacts, float] | None = None
        self._cache: dict[str, object] = {}

    # -- changing ------------------------------------------------------------------------------------------------

    def apply(self, updates: Sequence[Update]) -> None:
        """Take in what the follower found, in order."""
        if not updates:
            return
        rebuild = False
        for update in updates:
            if isinstance(update, FileRows):
                rebuild = self._take_rows(update, rebuild) or rebuild
            elif isinstance(update, FileDoc):
                rebuild = self._take_doc(update, rebuild) or rebuild
            elif isinstance(update, FileSeen):
                self._times[update.file] = update.mtime
            elif isinstance(update, CheckpointsSeen):
                self._dirs = update.items
            elif isinstance(update, FileProblem):
                self._note(update)
            else:
                rebuild = self._forget(update) or rebuild
        self._cache.clear()
        if rebuild:
            self._rebuild()
        self._console = self._newest_console()
        self.config = merge_settings(self._docs.values(), self.state_doc)
        self.revision += 1

    def _take_rows(self, update: FileRows, rebuild: bool) -> bool:
        """Store rows; returns whether the merged series must be built anew."""
        self._times[update.file] = update.mtime
        table = self._tables.get(update.file)
        if table is None:
            table = self._tables[update.file] = Table(update.source, update.file)
            rebuild = True
        if update.restarted:
            table.rows.clear()
            table.times.clear()
            rebuild = True
        if update.source == "log":
            self.log_deleted = self.log_deleted and not update.rows
        table.mtime = update.mtime
        live = update.mtime if update.arrived is not None else None
        times = [row.time if row.time is not None else live for row in update.rows]
        table.rows.extend(update.rows)
        table.times.extend(times)
        if rebuild:
            return True
        if update.source == self._primary:
            if update.source != "log" and len([t for t in self._tables.values() if t.kind == update.source]) > 1:
                return True
            return not all(self._follow(row, time) for row, time in zip(update.rows, times, strict=True))
        if update.source == "log" or (self._primary != "log" and self._tables[update.file].kind != "state"):
            return self._primary != self._choose_primary() or not self._merged.enrich_tail(
                update.source, list(zip(update.rows, times, strict=True))
            )
        return not self._merged.enrich_tail(update.source, list(zip(update.rows, times, strict=True)))

    def _follow(self, row: LogRow, time: float | None) -> bool:
        if is_training(row):
            self.job_is_last = False
            return self._merged.append(row, time)
        self._take_job_row(row, time)
        return True

    def _take_job_row(self, row: LogRow, time: float | None) -> None:
        before = self.job_rows[-1] if self.job_rows else None
        if before is None or not self.job_is_last or self._starts_job(before, row):
            self.job_rows.clear()
            self._job_start = time
        self.job_rows.append(row)
        self.job_is_last = True
        self._job_time = time

    @staticmethod
    def _starts_job(before: LogRow, row: LogRow) -> bool:
        if row.kind != "progress":
            return False
        return before.kind != "progress" or (row.step or 0) <= (before.step or 0)

    def _take_doc(self, update: FileDoc, rebuild: bool) -> bool:
        old = self._docs.get(update.file)
        self._docs[update.file] = update
        self._times[update.file] = update.mtime
        doc = update.doc
        if isinstance(doc, Predictions):
            self.predictions = doc
        if not isinstance(doc, TrainerState):
            return False
        if rebuild or self._primary == "state" or self._choose_primary() != self._primary:
            return True
        known = old.doc.rows if old is not None and isinstance(old.doc, TrainerState) else ()
        fresh = doc.rows[len(known) :] if doc.rows[: len(known)] == known else doc.rows
        if RANK["state"] > RANK[self._primary] or self.stage == "ppo":
            return True
        return not self._merged.enrich_tail("state", [(row, None) for row in fresh])

    def _forget(self, update: FileGone) -> bool:
        self._times.pop(update.file, None)
        self._docs.pop(update.file, None)
        self._problems.pop(update.file, None)
        table = self._tables.get(update.file)
        if table is None:
            return False
        if table.kind == "log":
            # The producer deletes its log to start over; what the other files tell is of the attempt before.
            self.log_deleted = True
            table.rows.clear()
            table.times.clear()
        else:
            del self._tables[update.file]
        return True

    def _note(self, update: FileProblem) -> None:
        notes = self._problems.setdefault(update.file, [])
        if not update.reason:
            del self._problems[update.file]
        elif len(notes) < MAX_PROBLEMS:
            notes.append(FileNote(update.file, update.line, update.reason))

    # -- merging -------------------------------------------------------------------------------------------------

    def _choose_primary(self) -> SourceKind:
        """The source that tells the story: the producer's log, else the one with the most training rows."""
        if self.log_deleted or any(t.kind == "log" and t.rows for t in self._tables.values()):
            return "log"
        counts: dict[SourceKind, int] = {"log": 0, "events": 0, "console": 0, "state": 0}
        for table in self._tables.values():
            counts[table.kind] += sum(row.kind == "train" for row in table.rows)
        state = self.state_doc
        counts["state"] = sum(row.kind == "train" for row in state.rows) if state is not None else 0
        return max(counts, key=lambda kind: (counts[kind], RANK[kind] if kind != "state" else 0))

    def _tables_of(self, kind: SourceKind) -> list[Table]:
        if kind == "state":
            return self._state_tables()
        tables = [t for t in self._tables.values() if t.kind == kind]
        return sorted(tables, key=lambda t: (min((x for x in t.times if x is not None), default=t.mtime), t.file))

    def _state_tables(self) -> list[Table]:
        docs = [d for d in self._docs.values() if isinstance(d.doc, TrainerState)]
        out = []
        for doc in sorted(docs, key=lambda d: d.mtime):
            assert isinstance(doc.doc, TrainerState)
            rows = list(doc.doc.rows)
            out.append(Table("state", doc.file, rows, [None] * len(rows), doc.mtime))
        return out

    def _rebuild(self) -> None:
        self._primary = primary = self._choose_primary()
        self.job_rows.clear()
        self.job_is_last = False
        training: list[tuple[LogRow, float | None]] = []
        # Each checkpoint's state holds the whole history: the newest is enough.
        for table in self._tables_of(primary)[-1 if primary == "state" else 0 :]:
            for row, time in zip(table.rows, table.times, strict=True):
                if is_training(row):
                    training.append((row, time))
                    self.job_is_last = False
                else:
                    self._take_job_row(row, time)
        others = [t for kind in ("console", "events", "state") if kind != primary for t in self._tables_of(kind)]
        self._merged = Merged.build(training, RANK[primary], others)
        if not training and primary == "log":
            for row in self.job_rows:
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
        return self._merged.timeline.rows

    @property
    def series(self) -> Mapping[str, Series]:
        """Metric name -> series over the rows that remain. perplexity is derived from eval_loss."""
        if "perplexity" in self._merged.series and self.stage in NO_PERPLEXITY:
            return {name: s for name, s in self._merged.series.items() if name != "perplexity"}
        return self._merged.series

    @property
    def counted_rows(self) -> bool:
        """The x of every series is the number of the row, since the producer writes no steps."""
        return self._merged.ordinal

    @property
    def segments(self) -> int:
        """How many processes wrote the rows, one after the other: 1 + the number of resumes."""
        return max(1, len(self.timeline.segments))

    @property
    def resumed_at(self) -> Sequence[int]:
        """First step of every segment after the first."""
        return [s.first_step for s in self.timeline.segments[1:] if s.first_step is not None]

    @property
    def total_steps(self) -> int | None:
        """Planned optimizer steps of the present attempt."""
        for row in reversed(self.timeline.rows[-3:]):
            if row.total_steps is not None:
                return row.total_steps
        if self.console is not None and self.console.total_steps is not None:
            return self.console.total_steps
        state = self.state_doc
        if state is not None and state.max_steps:
            return state.max_steps
        planned = self.config.get("max_steps")
        return planned.value if planned is not None and isinstance(planned.value, int) and planned.value > 0 else None

    @property
    def epoch(self) -> float | None:
        """The last epoch that a row tells."""
        for row in reversed(self.timeline.rows):
            if row.epoch is not None:
                return row.epoch
        return None

    # -- what the other files say --------------------------------------------------------------------------------

    @property
    def state_doc(self) -> TrainerState | None:
        """The newest trainer_state.json, of the root or of a checkpoint."""
        docs = [d for d in self._docs.values() if isinstance(d.doc, TrainerState)]
        if not docs:
            return None
        newest = max(docs, key=lambda d: (d.mtime, d.file == ROOT_STATE))
        assert isinstance(newest.doc, TrainerState)
        return newest.doc

    def _newest_console(self) -> tuple[ConsoleFacts, float] | None:
        found = [
            (d.doc, d.mtime) for d in self._docs.values() if isinstance(d.doc, ConsoleFacts) and d.doc.is_training_log
        ]
        if not found:
            return None
        latest = max(mtime for _, mtime in found)
        # running_log.txt and webui_subprocess.log tell of one job, and only one of them has its traceback.
        together = [item for item in found if item[1] >= latest - SLACK_S]
        return max(together, key=lambda item: (item[0].failure is not None, item[0].phase is not None, item[1]))

    @property
    def console(self) -> ConsoleFacts | None:
        """The newest console log's facts."""
        return self._console[0] if self._console is not None else None

    @property
    def console_time(self) -> float:
        """When that log was last written, Unix seconds; minus infinity without one."""
        return self._console[1] if self._console is not None else -math.inf

    @property
    def problems(self) -> Sequence[FileNote]:
        """What could not be used, file by file."""
        return [note for notes in self._problems.values() for note in notes]

    @property
    def stage(self) -> str | None:
        """sft, pt, rm, ppo, dpo, kto, orpo or grpo, if the files tell."""
        if "stage" not in self._cache:
            self._cache["stage"] = stage_of(self.config, self._merged.series, self._result_docs())
        value = self._cache["stage"]
        return value if isinstance(value, str) else None

    def _text(self, key: str) -> str | None:
        setting = self.config.get(key)
        return setting.value if setting is not None and isinstance(setting.value, str) else None

    @property
    def method(self) -> str | None:
        """lora, qlora, dora, oft, full or freeze, if the files tell."""
        method = self._text("finetuning_type")
        if method is None and any(name in self._times for name in ("config.json", "model.safetensors")):
            method = "full"
        return "qlora" if method == "lora" and "quantization_bit" in self.config else method

    @property
    def model(self) -> str | None:
        """The base model, as the job named it."""
        return self._text("model_name_or_path")

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters that the job loaded, as its config or console names them."""
        said = self.config.get("adapter_name_or_path")
        if said is not None and isinstance(said.value, str):
            return [part.strip() for part in said.value.split(",")]
        return self.console.adapters if self.console is not None else ()

    @property
    def producer(self) -> str:
        """llamafactory, llamafactory-v1, trl or transformers."""
        if self._primary == "log" and self._tables.get(LOG) is not None and self._tables[LOG].rows:
            v1 = all(r.kind == "train" and r.elapsed_s is None for r in self._tables[LOG].rows[:3])
            return "llamafactory-v1" if v1 and any(d.has_marker for d in self._dirs) | v1 else "llamafactory"
        for doc in self._docs.values():
            if isinstance(doc.doc, ConfigDoc) and doc.doc.producer is not None:
                return doc.doc.producer
        known = {"train_results.json", "eval_results.json", "predict_results.json", "all_results.json"}
        if known & self._docs.keys() or (self.console is not None and self._console_is_llamafactory()):
            return "llamafactory"
        return "transformers"

    def _console_is_llamafactory(self) -> bool:
        return any(key in self.config for key in ("dataset", "stage", "trainable_percent", "stage_hint"))

    @property
    def is_plain_trainer(self) -> bool:
        """Hugging Face files alone: no LLaMA-Factory log, results or root state (formats: TRL and bare Trainer)."""
        return self._primary != "log" and not self._result_docs() and ROOT_STATE not in self._docs and bool(self._dirs)

    # -- results -------------------------------------------------------------------------------------------------

    def _result_docs(self) -> dict[str, FileDoc]:
        return {d.doc.split: d for d in self._docs.values() if isinstance(d.doc, Results)}

    def results(self) -> Mapping[str, ResultSet]:
        """Results by split (train, eval, predict), each with whether it is of an earlier attempt."""
        if "results" not in self._cache:
            self._cache["results"] = self._build_results()
        found = self._cache["results"]
        assert isinstance(found, dict)
        return found

    def _build_results(self) -> dict[str, ResultSet]:
        out: dict[str, ResultSet] = {}
        docs = self._result_docs()
        for split in ("train", "eval", "predict"):
            if (doc := docs.get(split)) is not None and isinstance(doc.doc, Results):
                out[split] = ResultSet(doc.doc.values, self._is_stale(doc.mtime), doc.mtime, doc.file)
            elif (doc := docs.get("all")) is not None and isinstance(doc.doc, Results):
                values = {k: v for k, v in doc.doc.values.items() if k.startswith(split + "_")}
                if values:
                    out[split] = ResultSet(values, self._is_stale(doc.mtime), doc.mtime, doc.file)
        return out

    def _is_stale(self, mtime: float) -> bool:
        """Design 3: a training row came after it, or the root state's step is not the last training step."""
        if self.log_deleted:
            return True
        if not self.timeline.rows:
            return False
        seen = self.last_row_time
        if seen is not None and seen > mtime + SLACK_S:
            return True
        return self._root_step_differs()

    def _root_step_differs(self) -> bool:
        root = self._docs.get(ROOT_STATE)
        last = self.timeline.last
        if root is None or not isinstance(root.doc, TrainerState) or last is None or last.step is None:
            return False
        step = root.doc.global_step
        return step is not None and abs(step - last.step) > (1 if self.stage == "ppo" else 0)

    @property
    def results_time(self) -> float | None:
        """When the newest results file was written, Unix seconds."""
        return max((d.mtime for d in self._result_docs().values()), default=None)

    @property
    def closed(self) -> bool:
        """Results or the root state, which are written only after training, are not older than the last training row."""
        if self.log_deleted:
            return False
        if any(not result.stale for result in self.results().values()):
            return True
        seen = self.last_row_time
        written = self._times.get(ROOT_STATE)
        return written is not None and not self._root_step_differs() and (seen is None or written >= seen - SLACK_S)

    @property
    def left_model(self) -> bool:
        """The final model is in the root, or the console says that training is over: what is left where the results
        were deleted since. While a job goes on, its results follow within moments."""
        seen = self.last_row_time
        if seen is None or self.log_deleted:
            return False
        model = ("adapter_config.json", "adapter_model.safetensors", "model.safetensors", "config.json", CARD)
        if any(self._times.get(name, -math.inf) >= seen - SLACK_S for name in model):
            return True
        return self.console is not None and self.console.completed and self.console_time >= seen - SLACK_S

    @property
    def card_time(self) -> float:
        """When the model card, a job's very last file, was written; minus infinity without one."""
        return self._times.get(CARD, -math.inf)

    # -- times ---------------------------------------------------------------------------------------------------

    @property
    def last_row_time(self) -> float | None:
        """When the last training row was written: as seen, as its file says, or the log's own time if it is last."""
        time = self.timeline.last_time
        if time is not None or not self.timeline.rows:
            return time
        if self._primary == "log" and not self.job_is_last:
            return self._tables[LOG].mtime if LOG in self._tables else None
        # A job has written into the log since: the latest row with a time of its own is the best that is known.
        return next((t for t in reversed(self.timeline.times[-5:]) if t is not None), None)

    @property
    def last_job_time(self) -> float | None:
        """When the last row of an eval-only or predict job was written."""
        if not self.job_rows or not self.job_is_last:
            return self._job_time
        if self._job_time is not None:
            return self._job_time
        return self._tables[LOG].mtime if LOG in self._tables else None

    @property
    def activity(self) -> float | None:
        """The last sign of life in the producer's files, Unix seconds."""
        times = [t for name, t in self._times.items() if name != CARD]
        times.extend(d.mtime for d in self._dirs)
        return max(times, default=None)

    # -- phases --------------------------------------------------------------------------------------------------

    def _interval(self, key: str) -> int | None:
        setting = self.config.get(key)
        value = setting.value if setting is not None else None
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 else None

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation follows the training row of ``step``, by the distance of earlier ones or the config."""
        steps = sorted({r.step for r in self.timeline.rows if r.kind == "eval" and r.step})[-3:]
        if steps:
            every = steps[-1] - steps[-2] if len(steps) > 1 else steps[-1]
            return step > steps[-1] and every > 0 and (step - steps[-1]) % every == 0
        strategy = self.config.get("eval_strategy")
        every_config = self._interval("eval_steps")
        return (
            strategy is not None and strategy.value == "steps" and every_config is not None and step % every_config == 0
        )

    def eval_length(self) -> float | None:
        """Seconds that an evaluation takes in this run, as last seen."""
        if self.timeline.eval_s is not None:
            return self.timeline.eval_s
        runtime = self._merged.series.get("eval_runtime")
        return runtime.last if runtime is not None else None

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due at ``step``, by the config or by an unfinished directory."""
        if any(d.step == step and not self._complete(d) for d in self._dirs):
            return True
        every = self._interval("save_steps")
        return every is not None and step % every == 0

    def has_complete_checkpoint(self, step: int) -> bool:
        """A checkpoint of that step is on disk and whole."""
        return any(d.step == step and self._complete(d) for d in self._dirs)

    def checkpoint_gap(self) -> float | None:
        """Median seconds between two checkpoints, for runs that tell of themselves by nothing else."""
        if self._primary != "state":
            return None
        times = sorted(d.mtime for d in self._dirs)
        gaps = sorted(b - a for a, b in itertools.pairwise(times))
        return gaps[len(gaps) // 2] if gaps else None

    def job_progress(self) -> tuple[int, int | None] | None:
        """Batches done and in all of the eval-only or predict job."""
        for row in reversed(self.job_rows):
            if row.kind == "progress" and row.step is not None:
                return row.step, row.total_steps
        console = self.console
        if console is not None and console.phase is not None and console.phase.code in ("evaluating", "predicting"):
            return (console.phase.done, console.phase.total) if console.phase.done is not None else None
        return None

    def job_length_s(self) -> float | None:
        """Seconds that the eval-only or predict job has run, by its own clock."""
        return self.job_rows[-1].elapsed_s if self.job_rows else None

    def job_phase(self) -> str:
        """evaluating or predicting, as well as the files tell."""
        if any(row.kind == "eval" for row in self.job_rows):
            return "evaluating"
        console = self.console
        if console is not None and console.phase is not None and console.phase.code in ("predicting", "scoring"):
            return console.phase.code
        return job_kind(self.config)

    def job_done(self) -> bool:
        """Results that are not older than the job's last row are there."""
        times = [d.mtime for split, d in self._result_docs().items() if split in ("eval", "predict")]
        if not times:
            return not self.timeline.rows and bool(self._result_docs())
        since = self.last_job_time
        return since is None or max(times) >= since - SLACK_S

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _complete(self, item: CheckpointDir) -> bool:
        if item.has_state or item.has_marker:
            return True
        # PPO writes no state into a checkpoint: a later one, or the end of training, shows that it was finished.
        if self.stage != "ppo":
            return False
        return any(other.step > item.step for other in self._dirs) or ROOT_STATE in self._docs

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The checkpoints on disk by step, with the evaluation of their step and which is the best."""
        if "checkpoints" not in self._cache:
            self._cache["checkpoints"] = self._build_checkpoints()
        found = self._cache["checkpoints"]
        assert isinstance(found, tuple)
        return found

    def _build_checkpoints(self) -> tuple[Checkpoint, ...]:
        evals = self._merged.series.get("eval_loss")
        losses = {d.step: evals.at(d.step) if evals is not None else None for d in self._dirs}
        state = self.state_doc
        named = Path(state.best_checkpoint.replace("\\", "/")).name if state and state.best_checkpoint else None
        best: str | None = None
        if named is not None and any(Path(d.path).name == named for d in self._dirs):
            best = named
        elif named is None:
            finite = [(v, d.step, d.path) for d in self._dirs if (v := losses[d.step]) is not None and math.isfinite(v)]
            best = Path(min(finite)[2]).name if finite else None
        return tuple(
            Checkpoint(
                step=d.step,
                path=d.path,
                complete=self._complete(d),
                best=Path(d.path).name == best,
                eval_loss=losses[d.step],
                mtime=d.mtime,
                size=d.size,
            )
            for d in sorted(self._dirs)
        )

    def checkpoint_reached_end(self) -> bool:
        """Plain trainers: the newest checkpoint holds the last step, and no row came after it."""
        state = self.state_doc
        if state is None or not state.max_steps or state.global_step is None or state.global_step < state.max_steps:
            return False
        newest = max((d.mtime for d in self._dirs), default=None)
        rows = [(r, t) for r, t in zip(self.timeline.rows, self.timeline.times, strict=True) if r.kind == "train"]
        if not rows or newest is None:
            return True
        row, time = rows[-1]
        return not (row.step is not None and row.step < state.global_step and time is not None and time > newest)

    def steps_at_risk(self) -> int | None:
        """Steps since the newest complete checkpoint of this attempt, which a kill would lose now."""
        last = self.timeline.last
        if last is None or last.step is None:
            return None
        start = self._attempt_start()
        steps = [d.step for d in self._dirs if d.step <= last.step and self._complete(d) and d.mtime >= start - SLACK_S]
        return last.step - max(steps, default=0)

    def _attempt_start(self) -> float:
        """When the rows that remain began to be written, minus infinity if the files do not tell."""
        if len(self.timeline.segments) > 1 or not self.timeline.rows:
            return -math.inf
        first, last = self.timeline.rows[0], self.timeline.rows[-1]
        if self.timeline.times[0] is not None:
            return self.timeline.times[0]
        seen = self.last_row_time
        if seen is None or first.elapsed_s is None or last.elapsed_s is None:
            return -math.inf
        return seen - (last.elapsed_s - first.elapsed_s)

    # -- answers -------------------------------------------------------------------------------------------------

    def status(self, now: float) -> Status:
        """What the run is doing at the Unix time ``now``."""
        return status_of(self, now)

    def progress(self, now: float) -> Progress:
        """How far the run is at the Unix time ``now``."""
        return progress_of(self, now)
