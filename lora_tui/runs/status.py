"""What a run is doing and how far it is, told from its files and the clock alone.

Every function takes ``now`` (Unix seconds): the same run asked for another moment gives that moment's answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lora_tui.records.documents import ConsoleFacts, Failure
from lora_tui.runs.checkpoints import is_complete, reached_end, steps_at_risk, usual_gap
from lora_tui.runs.eta import TimeLeft, eta_of
from lora_tui.runs.job_config import job_kind
from lora_tui.runs.results import has_final_model, is_closed, results_of, was_evaluated
from lora_tui.runs.run_data import RunData
from lora_tui.runs.timeline import SLACK_S

StateName = Literal["waiting", "running", "evaluating", "stalled", "interrupted", "failed", "stopped", "finished"]

STALL_S, STALL_R = 300.0, 10.0
CUT_S, CUT_R = 900.0, 60.0
LEAST_R = 5.0
PHASE_S, PHASE_FACTOR = 300.0, 3.0
AFTER_TRAINING_S = 60.0

SETUP_PHASES = frozenset({"starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming"})
QUIET_PHASES = frozenset({"evaluating", "saving", "predicting", "scoring"})


@dataclass(frozen=True)
class Status:
    """What a run is doing."""

    state: StateName
    phase: str | None = None
    """training, evaluating, saving, predicting or scoring; before the first row also what the console says:
    starting, loading_data, converting, tokenizing, loading_model, resuming."""
    done: int | None = None
    """Progress inside the phase (batches, examples, shards), with ``total``, where a log tells it."""
    total: int | None = None
    since: float | None = None
    """Unix time of the last sign of life, which is also when a silence began or the run ended."""
    silent_s: float | None = None
    """Seconds between ``since`` and now."""
    usual_s: float | None = None
    """How long this phase, or a pause between two rows, usually takes in this run, if known."""
    failure: Failure | None = None

    @property
    def live(self) -> bool:
        """Something may still come, so the clock matters."""
        return self.state in ("waiting", "running", "evaluating", "stalled")


@dataclass(frozen=True)
class Progress:
    """How far the run is. ``unit`` is "steps", or "batches" in a job that only evaluates or predicts."""

    step: int | None = None
    total_steps: int | None = None
    fraction: float | None = None
    """0..1"""
    epoch: float | None = None
    total_epochs: float | None = None
    elapsed_s: float | None = None
    """Sum over all segments."""
    remaining_s: float | None = None
    """The middle of the forecast's band (``time_left``)."""
    finish_at: float | None = None
    """Unix time."""
    steps_per_s: float | None = None
    tokens_per_s: float | None = None
    segments: int = 1
    unit: Literal["steps", "batches"] = "steps"
    steps_at_risk: int | None = None
    """Steps since the last complete checkpoint, which a kill would lose now."""


def status_of(run: RunData, now: float) -> Status:
    """The state of ``run`` at the Unix time ``now``."""
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
    """The failure that a console log tells, unless rows or results came after it."""
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
    """The run has reached its last step and this log broke off before: it is that of an attempt before, which the file
    times no longer tell where all files were copied at once."""
    total, last = run.total_steps, run.timeline.rows[-1].step if run.timeline.rows else None
    if total is None or last is None or console.step is None:
        return False
    return last >= total > console.step and "train" in results_of(run)


def _latest(run: RunData) -> float | None:
    """When the newest row or results file was written."""
    known = [t for t in (run.last_row_time, run.last_job_time, run.files.results_time) if t is not None]
    return max(known, default=None)


def _new_attempt(run: RunData, base: Status) -> Status | None:
    """A console log younger than every row and result that is still before its first step: the next attempt."""
    console = run.console
    if console is None or console.phase is None or console.phase.code not in SETUP_PHASES:
        return None
    latest = _latest(run)
    if latest is None or run.console_time <= latest + SLACK_S:
        return None
    return _waiting(run, base)


def _silence(base: Status, run: RunData, quiet: Status | None) -> Status:
    """Running, or ``quiet`` while a silence is by design, or stalled or interrupted after too long a one."""
    silent = base.silent_s or 0.0
    gap = run.timeline.median_gap() or usual_gap(run)
    r = max(gap or 0.0, run.timeline.longest_gap, LEAST_R)
    if quiet is not None and silent <= max(PHASE_S, PHASE_FACTOR * (quiet.usual_s or 0.0)):
        return quiet
    if silent > max(CUT_S, CUT_R * r):
        return replace(base, state="interrupted", phase="training", usual_s=gap)
    if silent > max(STALL_S, STALL_R * r):
        return replace(base, state="stalled", phase="training", usual_s=gap)
    if quiet is not None:
        return quiet
    return replace(base, state="running", phase="training", usual_s=gap)


def _waiting(run: RunData, base: Status) -> Status:
    console = run.console
    if console is not None and console.phase is not None:
        phase = console.phase
        base = replace(base, phase=phase.code, done=phase.done, total=phase.total)
    if console is None or base.silent_s is None:
        # Without a console nothing moves before the first row, which comes after logging_steps.
        return base
    if base.silent_s > CUT_S:
        return replace(base, state="interrupted")
    return replace(base, state="stalled") if base.silent_s > STALL_S else base


def _training(run: RunData, base: Status) -> Status:
    last = run.timeline.rows[-1]
    total = run.total_steps
    reached = total is not None and last.step is not None and last.step >= total
    if run.producer == "llamafactory-v1":
        return replace(base, state="finished") if reached else _silence(base, run, None)
    if run.is_plain_trainer:
        ended = reached_end(run)
    else:
        over = is_closed(run) or (has_final_model(run) and (base.silent_s or 0.0) > AFTER_TRAINING_S)
        # A console log without its header tells no total; results that came after its rows then tell of the end.
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
        if silent <= max(PHASE_S, PHASE_FACTOR * (console.usual_s or 0.0)):
            return console
    elif train is not None and not train.stale and silent <= AFTER_TRAINING_S and run.files.card_time <= train.mtime:
        return replace(base, state="evaluating", phase=_after_training(run, silent))
    return outcome


def _after_training(run: RunData, silent: float) -> str:
    """What is likely going on between the results of training and the model card, where no log tells. The plots take a
    second or two; what takes longer writes results of its own."""
    fresh = _fresh_results(run)
    if "eval" not in fresh and was_evaluated(run):
        return "evaluating"
    return "predicting" if silent > SLACK_S or job_kind(run.config) == "predicting" else "saving"


def _fresh_results(run: RunData) -> set[str]:
    return {split for split, result in results_of(run).items() if not result.stale}


def _quiet_in_training(run: RunData, base: Status, at_end: bool) -> Status | None:
    """The phase in which a silence now is by design, or ``None``."""
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


def _interval(run: RunData, key: str) -> int | None:
    setting = run.config.get(key)
    value = setting.value if setting is not None else None
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 else None


def _evaluates_at(run: RunData, step: int) -> bool:
    """Whether an evaluation follows the training row of ``step``, by the distance of earlier ones or the config."""
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
    """Seconds that an evaluation takes in this run, as last seen."""
    if run.timeline.eval_s is not None:
        return run.timeline.eval_s
    runtime = run.series.get("eval_runtime")
    return runtime.last if runtime is not None else None


def _saves_at(run: RunData, step: int) -> bool:
    """Whether a checkpoint of ``step`` is due and not whole yet, by the config or by its unfinished directory."""
    here = [item for item in run.files.checkpoints if item.step == step]
    if here:
        return not any(is_complete(run, item) for item in here)
    every = _interval(run, "save_steps")
    return every is not None and step % every == 0


def _console_phase(run: RunData, base: Status) -> Status | None:
    """A quiet phase that a console log announces, if the log is not older than the last row."""
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
    """An eval-only or predict job in the directory of a training that has ended, while its results are to come."""
    if not run.eval_job.rows or not run.eval_job.is_last or _job_done(run):
        return None
    job = _job(run, base)
    return job if job.state == "evaluating" else None


def _job(run: RunData, base: Status) -> Status:
    """A job that only evaluates or predicts."""
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
    if silent <= max(PHASE_S, PHASE_FACTOR * (length or 0.0)):
        return quiet
    return replace(quiet, state="interrupted" if silent > max(CUT_S, CUT_R * LEAST_R) else "stalled")


def _job_done(run: RunData) -> bool:
    """Results that are not older than the job's last row are there."""
    times = [file.mtime for split, (_, file) in run.files.results.items() if split in ("eval", "predict")]
    if not times:
        return not run.timeline.rows and bool(run.files.results)
    since = run.last_job_time
    return since is None or max(times) >= since - SLACK_S


def _job_progress(run: RunData) -> tuple[int, int | None] | None:
    """Batches done and in all, by the log's rows or the console's bar."""
    if run.eval_job.progress is not None:
        return run.eval_job.progress
    phase = run.console.phase if run.console is not None else None
    if phase is None or phase.code not in ("evaluating", "predicting") or phase.done is None:
        return None
    return phase.done, phase.total


def _job_phase(run: RunData) -> str:
    """evaluating, predicting or scoring, as well as the files tell."""
    if run.eval_job.evaluates:
        return "evaluating"
    console = run.console
    if console is not None and console.phase is not None and console.phase.code in ("predicting", "scoring"):
        return console.phase.code
    return job_kind(run.config)


def time_left(run: RunData, status: Status, now: float) -> TimeLeft | None:
    """Seconds from ``now`` to the end of training, or of a job that only evaluates or predicts, where it goes on.
    ``status`` is the run's at that moment."""
    eta = eta_of(run)
    if status.state not in ("running", "evaluating") or eta is None:
        return None
    seen = run.last_row_time if run.timeline.rows else run.last_job_time
    return eta.after(now - seen if seen is not None else 0.0)


def progress_of(run: RunData, now: float) -> Progress:
    """How far ``run`` is at the Unix time ``now``."""
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
    """Steps and tokens in a second over the whole of a run that was not resumed, evaluations and saves included."""
    if progress.unit != "steps" or not progress.elapsed_s or not progress.step or progress.segments != 1:
        return None, None
    tokens = run.series.get("total_tokens")
    seen = tokens.tail(1)[0] / progress.elapsed_s if tokens is not None and tokens.finite else None
    return progress.step / progress.elapsed_s, seen
