"""State and progress of a run, decided from the data of its files and the present time alone.

The present time is a parameter (``now``, Unix seconds), so that the state at any moment can be computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lora_tui.records.documents import ConsoleFacts, Failure
from lora_tui.runs.checkpoints import is_complete, median_save_gap, reached_end, steps_at_risk
from lora_tui.runs.eta import TimeLeft, eta_of
from lora_tui.runs.job_config import job_kind
from lora_tui.runs.results import has_final_model, has_final_results, results_of, was_evaluated
from lora_tui.runs.run_data import RunData
from lora_tui.runs.timeline import SLACK_S

StateName = Literal["waiting", "running", "evaluating", "stalled", "interrupted", "failed", "stopped", "finished"]

STALLED_S = 300.0
"""Seconds without a file change beyond which a run is stalled, if STALLED_INTERVALS are over as well."""
STALLED_INTERVALS = 10.0
"""Number of usual row intervals without a file change beyond which a run is stalled, if STALLED_S are over as well."""
INTERRUPTED_S = 900.0
"""Seconds without a file change beyond which a run is interrupted, if INTERRUPTED_INTERVALS are over as well."""
INTERRUPTED_INTERVALS = 60.0
"""Number of usual row intervals without a file change beyond which a run is interrupted, with INTERRUPTED_S."""
MIN_INTERVAL_S = 5.0
"""Minimum length of a row interval in seconds; shorter ones count as this long."""
QUIET_PHASE_S = 300.0
"""Seconds that a phase without rows (QUIET_PHASES) may last in any case."""
QUIET_PHASE_FACTOR = 3.0
"""Multiple of its usual length that a phase without rows (QUIET_PHASES) may last."""
AFTER_TRAINING_S = 60.0
"""Seconds after the results of training within which the next phase may begin where no console log shows it."""

SETUP_PHASES = frozenset({"starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming"})
"""Phases before the first step."""
QUIET_PHASES = frozenset({"evaluating", "saving", "predicting", "scoring"})
"""Phases in which no rows are written."""


@dataclass(frozen=True)
class Status:
    """What a run is doing at one moment."""

    state: StateName
    """State of the run."""
    phase: str | None = None
    """Current or last phase: training, evaluating, saving, predicting or scoring, before the first row also one of the
    console log (starting, loading_data, converting, tokenizing, loading_model, resuming); None if not known."""
    done: int | None = None
    """Batches, examples or shards of the phase that are done, None where no log has the number."""
    total: int | None = None
    """Number of all batches, examples or shards of the phase, None where no log has it."""
    since: float | None = None
    """Unix time of the last change of the run's files, None without files."""
    silent_s: float | None = None
    """Seconds between ``since`` and now."""
    usual_s: float | None = None
    """Usual seconds of this phase, or between two rows while training, in this run; None if not known."""
    failure: Failure | None = None
    """The failure of the run by its console log, None without one."""

    @property
    def live(self) -> bool:
        """Whether the run may go on, so that its state depends on the present time."""
        return self.state in ("waiting", "running", "evaluating", "stalled")


@dataclass(frozen=True)
class Progress:
    """How far a run is at one moment."""

    step: int | None = None
    """Step of the last row; batches done in a job that only evaluates or predicts."""
    total_steps: int | None = None
    """Planned steps or batches."""
    fraction: float | None = None
    """Share of the steps that is done, from 0 to 1."""
    epoch: float | None = None
    """Epoch of the last row that has one."""
    total_epochs: float | None = None
    """Planned epochs, extrapolated from the epoch and the share of the steps that is done."""
    elapsed_s: float | None = None
    """Seconds of training over all segments, or of the job that only evaluates or predicts."""
    remaining_s: float | None = None
    """Most likely seconds until the end (the middle of :func:`time_left`)."""
    finish_at: float | None = None
    """Unix time of the expected end."""
    steps_per_s: float | None = None
    """Current speed, steps per second."""
    tokens_per_s: float | None = None
    """Current speed, tokens per second."""
    segments: int = 1
    """Number of processes that wrote the rows: 1 + the number of resumes."""
    unit: Literal["steps", "batches"] = "steps"
    """What ``step`` and ``total_steps`` count: batches in a job that only evaluates or predicts."""
    steps_at_risk: int | None = None
    """Steps since the last complete checkpoint, which would be lost if the job were killed now."""


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
    if run.log_deleted:
        return _waiting(run, base)
    if run.timeline.rows:
        return _training(run, base)
    return _job(run, base) if run.eval_job.rows or results_of(run) else _waiting(run, base)


def _ended_by_console(run: RunData) -> Failure | None:
    """Return the failure in a console log, unless rows or results came after it."""
    console = run.console
    if console is None or console.failure is None:
        return None
    latest = _latest(run)
    if latest is None:
        return console.failure
    if run.console_time < latest - SLACK_S or (
        run.console_time <= latest + SLACK_S and _is_of_earlier_attempt(run, console)
    ):
        return None
    return console.failure


def _is_of_earlier_attempt(run: RunData, console: ConsoleFacts) -> bool:
    """Return whether a console log is from an earlier attempt: it ends before the last step, which the run has reached.

    File times do not show this if all files were copied at once.
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
    """Return the status of a new attempt, None if there is none.

    Its console log is newer than all rows and results and shows a phase before the first step.
    """
    console = run.console
    if console is None or console.phase is None or console.phase.code not in SETUP_PHASES:
        return None
    latest = _latest(run)
    if latest is None or run.console_time <= latest + SLACK_S:
        return None
    return _waiting(run, base)


def _by_silence(base: Status, run: RunData, quiet: Status | None) -> Status:
    """Return the status of an unfinished training by the time since the last change of its files.

    It is ``quiet``, the status of a phase without rows (None if rows are due), for as long as that phase may last, else
    running, stalled or interrupted.
    """
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
    """Return the status of a run before its first row."""
    console = run.console
    if console is not None and console.phase is not None:
        phase = console.phase
        base = replace(base, phase=phase.code, done=phase.done, total=phase.total)
    if console is None or base.silent_s is None:
        # Without a console log no file changes before the first row, so silence says nothing.
        return base
    if base.silent_s > INTERRUPTED_S:
        return replace(base, state="interrupted")
    return replace(base, state="stalled") if base.silent_s > STALLED_S else base


def _training(run: RunData, base: Status) -> Status:
    """Return the status of a run that has training rows."""
    last = run.timeline.rows[-1]
    total = run.total_steps
    reached = total is not None and last.step is not None and last.step >= total
    if run.producer == "llamafactory-v1":
        return replace(base, state="finished") if reached else _by_silence(base, run, None)
    if run.is_plain_trainer:
        ended = reached_end(run)
    else:
        over = has_final_results(run) or (has_final_model(run) and (base.silent_s or 0.0) > AFTER_TRAINING_S)
        # A console log without its header has no total steps. Results that are newer than its rows then show the end.
        ended = (last.kind == "mark" or reached or total is None) and over
    if not ended:
        return _by_silence(base, run, _quiet_in_training(run, base, reached or last.kind == "mark"))
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
    """Return the likely phase between the results of training and the model card, where no console log shows it.

    Plots take a second or two; a phase that takes longer writes results of its own.
    """
    evaluation = results_of(run).get("eval")
    if (evaluation is None or evaluation.stale) and was_evaluated(run):
        return "evaluating"
    return "predicting" if silent > SLACK_S or job_kind(run.config) == "predicting" else "saving"


def _quiet_in_training(run: RunData, base: Status, at_end: bool) -> Status | None:
    """Return the status for a phase in which no rows are due now (evaluating, saving), None if rows are due."""
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
    """Return an option that is a number of steps, None if it is not set, is below 1 or is no number."""
    entry = run.config.get(option)
    value = entry.value if entry is not None else None
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 else None


def _evaluates_at(run: RunData, step: int) -> bool:
    """Return whether an evaluation follows the training row of ``step``, by the earlier ones, else by the options."""
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
    """Return whether a checkpoint is being written at ``step``, by its incomplete directory, else by the options."""
    here = [item for item in run.files.checkpoints if item.step == step]
    if here:
        return not any(is_complete(run, item) for item in here)
    every = _interval(run, "save_steps")
    return every is not None and step % every == 0


def _console_phase(run: RunData, base: Status) -> Status | None:
    """Return the status for a phase without rows that the console log shows, if the log is as new as the last row."""
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
    """Return the status of an eval-only or predict job after a training in the same directory, None when it is over."""
    if not run.eval_job.rows or not run.eval_job.is_last or _job_done(run):
        return None
    job = _job(run, base)
    return job if job.state == "evaluating" else None


def _job(run: RunData, base: Status) -> Status:
    """Return the status of a job that only evaluates or predicts."""
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
    """Return whether there are results at least as new as the last row of the eval-only or predict job."""
    times = [file.mtime for split, (_, file) in run.files.results.items() if split in ("eval", "predict")]
    if not times:
        return not run.timeline.rows and bool(run.files.results)
    since = run.last_job_time
    return since is None or max(times) >= since - SLACK_S


def _job_progress(run: RunData) -> tuple[int, int | None] | None:
    """Return the batches done and in total, from the rows of the log, else from the progress bar of the console log."""
    if run.eval_job.progress is not None:
        return run.eval_job.progress
    phase = run.console.phase if run.console is not None else None
    if phase is None or phase.code not in ("evaluating", "predicting") or phase.done is None:
        return None
    return phase.done, phase.total


def _job_phase(run: RunData) -> str:
    """Return "evaluating", "predicting" or "scoring", by the rows, the console log or the options of the job."""
    if run.eval_job.evaluates:
        return "evaluating"
    console = run.console
    if console is not None and console.phase is not None and console.phase.code in ("predicting", "scoring"):
        return console.phase.code
    return job_kind(run.config)


def time_left(run: RunData, status: Status, now: float) -> TimeLeft | None:
    """Return the seconds from ``now`` to the end of the training or job, None if it is not running or not predictable.

    ``status`` is the status of the run at ``now``.
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
    steps_per_s, tokens_per_s = timeline.rate()
    return Progress(
        step=step,
        total_steps=total_steps,
        fraction=fraction,
        epoch=epoch,
        total_epochs=epoch * total_steps / step if epoch and total_steps and step else None,
        elapsed_s=timeline.elapsed_s(),
        remaining_s=remaining,
        finish_at=finish_at,
        steps_per_s=steps_per_s,
        tokens_per_s=tokens_per_s,
        segments=len(timeline.segments),
        steps_at_risk=steps_at_risk(run) if status.state not in ("finished", "stopped") else 0,
    )


def mean_speed(run: RunData, progress: Progress) -> tuple[float | None, float | None]:
    """Return the mean steps and tokens per second of a whole run, evaluations and saves included.

    Both are None for a resumed run, and for a job that only evaluates or predicts.
    """
    if progress.unit != "steps" or not progress.elapsed_s or not progress.step or progress.segments != 1:
        return None, None
    tokens = run.series.get("total_tokens")
    tokens_per_s = tokens.tail(1)[0] / progress.elapsed_s if tokens is not None and tokens.finite else None
    return progress.step / progress.elapsed_s, tokens_per_s
