"""Checkpoints on disk: which are complete, which is the best, and how many steps are in none of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from lora_tui.records.documents import TrainerState
from lora_tui.records.file_names import TRAINER_STATE
from lora_tui.records.updates import CheckpointDir
from lora_tui.runs.run_data import RunData, derived
from lora_tui.runs.timeline import SLACK_S


@dataclass(frozen=True)
class Checkpoint:
    """One ``checkpoint-<step>`` directory."""

    step: int
    path: str
    """Path relative to the directory of the run."""
    complete: bool
    """Whether all of it was written."""
    best: bool = False
    """Whether it is the best checkpoint of the run, by the trainer or the eval loss."""
    eval_loss: float | None = None
    """Eval loss of the run at that step, None without one."""
    mtime: float = 0.0
    """Modification time, Unix seconds."""
    size: int = 0
    """Size of all its files, bytes."""
    model_size: int = 0
    """Size of the weights alone, bytes."""
    foreign: bool = False
    """Whether another attempt in the same directory wrote it."""


def is_complete(run: RunData, item: CheckpointDir) -> bool:
    """Return whether a checkpoint has a valid trainer_state.json, which is written last, or the v1 trainer's marker."""
    if item.has_state or item.has_marker:
        return True
    # PPO writes no state into a checkpoint. A later checkpoint, or the end of training, shows that it is complete.
    if run.stage != "ppo":
        return False
    return any(other.step > item.step for other in run.files.checkpoints) or run.files.root_state is not None


@derived
def list_checkpoints(run: RunData) -> tuple[Checkpoint, ...]:
    """Return all checkpoints, sorted by step.

    The best is the one that the trainer named, else the one with the lowest eval loss. One of another attempt has no
    eval loss and is never the best.
    """
    items = run.files.checkpoints
    evals = run.series.get("eval_loss")
    start = attempt_start(run)
    foreign = {item.step for item in items if _is_foreign(run, item, start)}
    losses = {item.step: None if item.step in foreign or evals is None else evals.at(item.step) for item in items}
    state = own_state(run)
    named = PurePosixPath(state.best_checkpoint.replace("\\", "/")).name if state and state.best_checkpoint else None
    best = named
    if named is None:
        finite = [
            (v, item.step, item.path) for item in items if (v := losses[item.step]) is not None and math.isfinite(v)
        ]
        best = min(finite)[2] if finite else None
    return tuple(
        Checkpoint(
            step=item.step,
            path=item.path,
            complete=is_complete(run, item),
            best=item.path == best and item.step not in foreign,
            eval_loss=losses[item.step],
            mtime=item.mtime,
            size=item.size,
            model_size=item.model_size,
            foreign=item.step in foreign,
        )
        for item in sorted(items)
    )


def _is_foreign(run: RunData, item: CheckpointDir, start: float) -> bool:
    """Return whether a checkpoint is older than ``start`` (Unix time) or beyond both the planned and the last step."""
    step, total = run.timeline.last_step, run.total_steps
    if step is None:
        return False
    beyond = total is not None and item.step > max(total, step)
    return beyond or item.mtime < start - SLACK_S


def own_state(run: RunData) -> TrainerState | None:
    """Return the newest trainer_state.json of this attempt, from the root or a checkpoint; None without one."""
    start = attempt_start(run)
    found = [item for item in run.files.of(TrainerState) if item[1].mtime >= start - SLACK_S]
    return max(found, key=lambda item: (item[1].mtime, item[1].file == TRAINER_STATE))[0] if found else None


def reached_end(run: RunData) -> bool:
    """Return whether the newest checkpoint holds the last step and no training row came after it.

    This is for plain trainers, which write no results and no root state.
    """
    state = run.files.state
    if state is None or not state.max_steps or state.global_step is None or state.global_step < state.max_steps:
        return False
    saved = max((item.mtime for item in run.files.checkpoints), default=None)
    timeline = run.timeline
    last = next((at for at in reversed(range(len(timeline.rows))) if timeline.rows.kind(at) == "train"), None)
    if last is None or saved is None:
        return True
    row, time = timeline.rows[last], timeline.times[last]
    restarted = row.step is not None and row.step < state.global_step and time is not None and time > saved
    return not restarted


def steps_at_risk(run: RunData) -> int | None:
    """Return the steps since the newest complete checkpoint of this attempt, None without a step.

    They would be lost if the job were killed now.
    """
    step = run.timeline.last_step
    if step is None:
        return None
    start = attempt_start(run)
    saved = [
        item.step
        for item in run.files.checkpoints
        if item.step <= step and is_complete(run, item) and item.mtime >= start - SLACK_S
    ]
    return step - max(saved, default=0)


def attempt_start(run: RunData) -> float:
    """Return the Unix time at which the training of the timeline began, minus infinity if unknown.

    Also minus infinity for a resumed run, which goes on with the checkpoints of the attempt before.
    """
    timeline = run.timeline
    if len(timeline.segments) > 1 or not timeline.rows:
        return -math.inf
    first, last, last_time = timeline.rows[0], timeline.rows[-1], run.last_row_time
    if timeline.times[0] is not None:
        start = timeline.times[0] - (first.elapsed_s or 0.0)
    elif last_time is not None and last.elapsed_s is not None:
        start = last_time - last.elapsed_s
    else:
        return -math.inf
    root = run.files.root_state
    if root is not None and root[0].global_step == last.step and root[1] < start:
        # The state is of this training but older than its start: something else has modified the log since.
        return -math.inf
    return start


def median_save_gap(run: RunData) -> float | None:
    """Return the median seconds between consecutive checkpoints, None with fewer than two."""
    times = sorted(item.mtime for item in run.files.checkpoints)
    gaps = sorted(b - a for a, b in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else None
