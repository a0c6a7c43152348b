"""What a run is doing and how far it is, decided from its files and the clock alone.

Every function takes ``now`` (Unix seconds): the same run asked for another moment gives the answer for that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lora_tui.records.documents import ConsoleFacts, Failure
from lora_tui.runs.checkpoints import is_complete, median_save_gap, reached_end, steps_at_risk
from lora_tui.runs.eta import TimeLeft, eta_of
from lora_tui.runs.job_config import job_kind
from lora_tui.runs.results import has_final_model, is_closed, results_of, was_evaluated
from lora_tui.runs.run_data import RunData
from lora_tui.runs.timeline import SLACK_S

StateName = Literal["waiting", "running", "evaluating", "stalled", "interrupted", "failed", "stopped", "finished"]

STALLED_S, STALLED_INTERVALS = 300.0, 10.0
"""A run is stalled when it is silent for longer than this many seconds and this many of its usual row intervals."""
INTERRUPTED_S, INTERRUPTED_INTERVALS = 900.0, 60.0
"""A run is interrupted when it is silent for longer than this many seconds and this many of its usual row intervals."""
MIN_INTERVAL_S = 5.0
"""A row interval (s) counts as at least this long."""
QUIET_PHASE_S, QUIET_PHASE_FACTOR = 300.0, 3.0
"""A phase that is silent by design may last this many seconds, or this many times its usual length."""
AFTER_TRAINING_S = 60.0
"""Time (s) after the results of training in which its next phase may still begin without a log that says so."""

SETUP_PHASES = frozenset({"starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming"})
"""Phases before the first step."""
QUIET_PHASES = frozenset({"evaluating", "saving", "predicting", "scoring"})
"""Phases in which no rows are written."""


@dataclass(frozen=True)
class Status:
    """What a run is doing at a moment."""

    state: StateName
    phase: str | None = None
    """training, evaluating, saving, predicting or scoring; before the first row also what the console says:
    starting, loading_data, converting, tokenizing, loading_model, resuming."""
    done: int | None = None
    """Progress inside the phase (batches, examples or shards), where a log tells it."""
    total: int | None = None
    """All batches, examples or shards of the phase, where a log tells it."""
    since: float | None = None
    """Unix time of the last change of the run's files, which is also when a silence began or the run ended."""
    silent_s: float | None = None
    """Seconds between ``since`` and now."""
    usual_s: float | None = None
    """Usual seconds of this phase, or of a pause between two rows, in this run; None if not known."""
    failure: Failure | None = None
    """How the run ended badly, where a console log tells."""

    @property
    def live(self) -> bool:
        """Whether something may still come, so that the clock matters."""
        return self.state in ("waiting", "running", "evaluating", "stalled")


@dataclass(frozen=True)
class Progress:
    """How far a run is at a moment."""

    step: int | None = None
    """Step of the last row; batches done in a job that only evaluates or predicts."""
    total_steps: int | None = None
    """Planned steps or batches."""
    fraction: float | None = None
    """Share of the steps that is done, from 0 to 1."""
    epoch: float | None = None
    total_epochs: float | None = None
    elapsed_s: float | None = None
    """Seconds of training over all segments."""
    remaining_s: float | None = None
    """Most likely seconds until the end (the middle of :func:`time_left`)."""
    finish_at: float | None = None
    """Unix time of the expected end."""
    steps_per_s: float | None = None
    """Current speed."""
    tokens_per_s: float | None = None
    """Current speed in tokens."""
    segments: int = 1
    """Number of processes that wrote the rows: 1 + the number of resumes."""
    unit: Literal["steps", "batches"] = "steps"
    """What ``step`` and ``total_steps`` count: batches in a job that only evaluates or predicts."""
    steps_at_risk: int | None = None
    """Steps since the last complete checkpoint, which a kill would lose now."""


def status_of(run: RunData, now: float) -> Status:
    """Return what ``run`` is doing at the Unix time ``now``."""
    since = run.activity
    base = Status("waiting", since=since, silent_s=max(0.0, now - since) if since is not None else None)
    ended = _ended_by_console(run)
    if ended is not None:
        cut = ended.kind in ("interrupted", "terminated")
        return replace(base, state="interrupted" if cut else "failed", phase=ended.during, failure=ended)
    if (setup := _new_attempt(run, base)) is not None:
        return setup
    if run.timeline.rows and not run.log_deleted:
        return _training(run, base)
    if run.log_deleted:
        return _waiting(run, base)
    if run.eval_job.rows or results_of(run):
        return _job(run, base)
    return _waiting(run, base)


def _ended_by_console(run: RunData) -> Failure | None:
    """Return the failure in a console log, unless rows or results came after it."""
    console = run.console
    if console is None or console.failure is None:
        return None
    latest = _latest(run)
    if latest is None:
        return console.failure
    if run.console_time < latest - SLACK_S or (run.console_time <= latest + SLACK_S and _outlived(run, console)):
        return None
    return console.failure


def _outlived(run: RunData, console: ConsoleFacts) -> bool:
    """Return whether the run has reached its last step although this log broke off before it.

    The log is then of an earlier attempt, which file times do not show where all files were copied at once.
    """
    total, last = run.total_steps, run.timeline.rows[-1].step if run.timeline.rows else None
    if total is None or last is None or console.step is None:
        return False
    return last >= total > console.step and "train" in results_of(run)


def _latest(run: RunData) -> float | None:
    """Return the Unix time of the newest row or results file, None without any."""
    known = [t for t in (run.last_row_time, run.last_job_time, run.files.results_time) if t is not None]
    return max(known, default=None)


def _new_attempt(run: RunData, base: Status) -> Status | None:
    """Return the state of a new attempt, whose console log is newer than all rows and still before its first step."""
    console = run.console
    if console is None or console.phase is None or console.phase.code not in SETUP_PHASES:
        return None
    latest = _latest(run)
    if latest is None or run.console_time <= latest + SLACK_S:
        return None
    return _waiting(run, base)


def _silence(base: Status, run: RunData, quiet: Status | None) -> Status:
    """Return running, ``quiet`` while a silence is by design, or stalled or interrupted after too long a silence."""
    silent = base.silent_s or 0.0
    gap = run.timeline.median_gap() or median_save_gap(run)
    interval = max(gap or 0.0, run.timeline.longest_gap, MIN_INTERVAL_S)
    if quiet is not None and silent <= max(QUIET_PHASE_S, QUIET_PHASE_FACTOR * (quiet.usual_s or 0.0)):
        return quiet
    if silent > max(INTERRUPTED_S, INTERRUPTED_INTERVALS * interval):
        return replace(base, state="interrupted", phase="training", usual_s=gap)
    if silent > max(STALLED_S, STALLED_INTERVALS * interval):
        return replace(base, state="stalled", phase="training", usual_s=gap)
    if quiet is not None:
        return quiet
    return replace(base, state="running", phase="training", usual_s=gap)


def _waiting(run: RunData, base: Status) -> Status:
    """Return the state of a run before its first row."""
    console = run.console
    if console is not None and console.phase is not None:
        phase = console.phase
        base = replace(base, phase=phase.code, done=phase.done, total=phase.total)
    if console is None or base.silent_s is None:
        # Without a console nothing moves before the first row, which comes after logging_steps.
        return base
    if base.silent_s > INTERRUPTED_S:
        return replace(base, state="interrupted")
    return replace(base, state="stalled") if base.silent_s > STALLED_S else base


def _training(run: RunData, base: Status) -> Status:
    """Return the state of a run that has training rows."""
    last = run.timeline.rows[-1]
    total = run.total_steps
    reached = total is not None and last.step is not None and last.step >= total
    if run.producer == "llamafactory-v1":
        return replace(base, state="finished") if reached else _silence(base, run, None)
    if run.is_plain_trainer:
        ended = reached_end(run)
    else:
        over = is_closed(run) or (has_final_model(run) and (base.silent_s or 0.0) > AFTER_TRAINING_S)
        # A console log without its header tells no total; results that came after its rows then show the end.
        ended = (last.kind == "mark" or reached or total is None) and over
    if not ended:
        return _silence(base, run, _quiet_in_training(run, base, reached or last.kind == "mark"))
    outcome = replace(base, state="finished" if reached or total is None or run.is_plain_trainer else "stopped")
    if (job := _job_after_training(run, base)) is not None:
        return job
    train = results_of(run).get("train")
    silent = base.silent_s or 0.0
    console = _console_phase(run, base)
    if console is not None and console.phase != "saving" and run.console_time > run.files.card_time:
        if silent <= max(QUIET_PHASE_S, QUIET_PHASE_FACTOR * (console.usual_s or 0.0)):
            return console
    elif train is not None and not train.stale and silent <= AFTER_TRAINING_S and run.files.card_time <= train.mtime:
        return replace(base, state="evaluating", phase=_after_training(run, silent))
    return outcome


def _after_training(run: RunData, silent: float) -> str:
    """Return the likely phase between the results of training and the model card, where no log tells it.

    Plots take a second or two; what takes longer writes results of its own.
    """
    fresh = _fresh_results(run)
    if "eval" not in fresh and was_evaluated(run):
        return "evaluating"
    return "predicting" if silent > SLACK_S or job_kind(run.config) == "predicting" else "saving"


def _fresh_results(run: RunData) -> set[str]:
    return {split for split, result in results_of(run).items() if not result.stale}


def _quiet_in_training(run: RunData, base: Status, at_end: bool) -> Status | None:
    """Return the phase in which a silence now is by design, or None."""
    console = _console_phase(run, base)
    if console is not None:
        return console
    last = run.timeline.rows[-1]
    if at_end:
        return replace(base, state="evaluating", phase="saving")
    if last.step is None:
        return None
    if last.kind == "train" and _evaluates_at(run, last.step):
        return replace(base, state="evaluating", phase="evaluating", usual_s=_eval_length(run))
    return replace(base, state="evaluating", phase="saving") if _saves_at(run, last.step) else None


def _interval(run: RunData, option: str) -> int | None:
    entry = run.config.get(option)
    value = entry.value if entry is not None else None
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 else None


def _evaluates_at(run: RunData, step: int) -> bool:
    """Return whether an evaluation follows the training row of ``step``, by the distance of earlier ones or options."""
    steps: list[int] = []
    for index in reversed(run.timeline.evals):
        row = run.timeline.rows[index]
        if row.kind == "eval" and row.step and row.step not in steps:
            steps.insert(0, row.step)
            if len(steps) == 2:
                break
    if steps:
        every = steps[-1] - steps[0] if len(steps) > 1 else steps[0]
        return step > steps[-1] and (step - steps[-1]) % every == 0
    strategy, planned = run.config.get("eval_strategy"), _interval(run, "eval_steps")
    return strategy is not None and strategy.value == "steps" and planned is not None and step % planned == 0


def _eval_length(run: RunData) -> float | None:
    """Return the seconds of the last evaluation of this run, None without one."""
    if run.timeline.eval_s is not None:
        return run.timeline.eval_s
    runtime = run.series.get("eval_runtime")
    return runtime.last if runtime is not None else None


def _saves_at(run: RunData, step: int) -> bool:
    """Return whether a checkpoint of ``step`` is due and not complete, by the options or its unfinished directory."""
    here = [item for item in run.files.checkpoints if item.step == step]
    if here:
        return not any(is_complete(run, item) for item in here)
    every = _interval(run, "save_steps")
    return every is not None and step % every == 0


def _console_phase(run: RunData, base: Status) -> Status | None:
    """Return the state for a quiet phase that a console log announces, if the log is as new as the last row."""
    console = run.console
    if console is None or console.phase is None or console.phase.code not in QUIET_PHASES:
        return None
    latest = max([t for t in (run.last_row_time, run.last_job_time) if t is not None], default=None)
    if latest is not None and run.console_time < latest - SLACK_S:
        return None
    phase = console.phase
    usual = _eval_length(run) if phase.code == "evaluating" else None
    return replace(base, state="evaluating", phase=phase.code, done=phase.done, total=phase.total, usual_s=usual)


def _job_after_training(run: RunData, base: Status) -> Status | None:
    """Return the state of an eval-only or predict job after a training in the same directory, until its results are
    there."""
    if not run.eval_job.rows or not run.eval_job.is_last or _job_done(run):
        return None
    job = _job(run, base)
    return job if job.state == "evaluating" else None


def _job(run: RunData, base: Status) -> Status:
    """Return the state of a job that only evaluates or predicts."""
    if _job_done(run):
        return replace(base, state="finished")
    progress = _job_progress(run)
    done, total = progress if progress is not None else (None, None)
    phase = _job_phase(run)
    if phase == "predicting" and done is not None and done == total:
        phase = "scoring"
    length = run.eval_job.length_s
    quiet = replace(base, state="evaluating", phase=phase, done=done, total=total, usual_s=length)
    silent = base.silent_s or 0.0
    if silent <= max(QUIET_PHASE_S, QUIET_PHASE_FACTOR * (length or 0.0)):
        return quiet
    return replace(
        quiet, state="interrupted" if silent > max(INTERRUPTED_S, INTERRUPTED_INTERVALS * MIN_INTERVAL_S) else "stalled"
    )


def _job_done(run: RunData) -> bool:
    """Return whether there are results that are not older than the job's last row."""
    times = [file.mtime for split, (_, file) in run.files.results.items() if split in ("eval", "predict")]
    if not times:
        return not run.timeline.rows and bool(run.files.results)
    since = run.last_job_time
    return since is None or max(times) >= since - SLACK_S


def _job_progress(run: RunData) -> tuple[int, int | None] | None:
    """Return batches done and in all, by the log's rows or the console's progress bar."""
    if run.eval_job.progress is not None:
        return run.eval_job.progress
    phase = run.console.phase if run.console is not None else None
    if phase is None or phase.code not in ("evaluating", "predicting") or phase.done is None:
        return None
    return phase.done, phase.total


def _job_phase(run: RunData) -> str:
    """Return evaluating, predicting or scoring, as far as the files tell."""
    if run.eval_job.evaluates:
        return "evaluating"
    console = run.console
    if console is not None and console.phase is not None and console.phase.code in ("predicting", "scoring"):
        return console.phase.code
    return job_kind(run.config)


def time_left(run: RunData, status: Status, now: float) -> TimeLeft | None:
    """Return the seconds from ``now`` to the end of the training or job, None where it does not go on.

    ``status`` is that of the run at that moment.
    """
    eta = eta_of(run)
    if status.state not in ("running", "evaluating") or eta is None:
        return None
    last_time = run.last_row_time if run.timeline.rows else run.last_job_time
    return eta.after(now - last_time if last_time is not None else 0.0)


def progress_of(run: RunData, now: float) -> Progress:
    """Return how far ``run`` is at the Unix time ``now``."""
    timeline = run.timeline
    status = status_of(run, now)
    left = time_left(run, status, now)
    remaining, finish_at = (left.mid, now + left.mid) if left is not None else (None, None)
    if not timeline.rows:
        job = _job_progress(run)
        if job is None:
            return Progress(total_steps=run.total_steps, unit="steps")
        done, total = job
        return Progress(
            done, total, min(1.0, done / total) if total else None, elapsed_s=run.eval_job.length_s,
            remaining_s=remaining, finish_at=finish_at, unit="batches",
        )  # fmt: skip
    last = timeline.rows[-1]
    total_steps, step = run.total_steps, last.step
    fraction = min(1.0, step / total_steps) if step is not None and total_steps else None
    epoch = run.epoch
    whole = epoch is not None and step and total_steps
    steps_per_s, tokens_per_s = timeline.rate()
    return Progress(
        step=step,
        total_steps=total_steps,
        fraction=fraction,
        epoch=epoch,
        total_epochs=epoch * total_steps / step if whole and epoch and total_steps and step else None,
        elapsed_s=timeline.elapsed_s(),
        remaining_s=remaining,
        finish_at=finish_at,
        steps_per_s=steps_per_s,
        tokens_per_s=tokens_per_s,
        segments=len(timeline.segments),
        steps_at_risk=steps_at_risk(run) if status.state not in ("finished", "stopped") else 0,
    )


def whole_speed(run: RunData, progress: Progress) -> tuple[float | None, float | None]:
    """Return steps and tokens per second over all of a run that was not resumed, evaluations and saves included."""
    if progress.unit != "steps" or not progress.elapsed_s or not progress.step or progress.segments != 1:
        return None, None
    tokens = run.series.get("total_tokens")
    tokens_per_s = tokens.tail(1)[0] / progress.elapsed_s if tokens is not None and tokens.finite else None
    return progress.step / progress.elapsed_s, tokens_per_s
