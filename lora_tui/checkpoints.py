"""Checkpoints on disk: which are whole, which is the best, what a kill would lose now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lora_tui.formats.updates import CheckpointDir
from lora_tui.timeline import SLACK_S

if TYPE_CHECKING:
    from lora_tui.run import Run


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
    """Bytes of the files directly in it."""


def is_complete(run: Run, item: CheckpointDir) -> bool:
    """Its trainer_state.json, which is written last, is whole, or it has the v1 trainer's mark."""
    if item.has_state or item.has_marker:
        return True
    # PPO writes no state into a checkpoint: a later one, or the end of training, shows that it was finished.
    if run.stage != "ppo":
        return False
    return any(other.step > item.step for other in run.files.checkpoints) or run.files.root_state is not None


def list_checkpoints(run: Run) -> tuple[Checkpoint, ...]:
    """All checkpoints by step. The best is the one that the trainer named, else the one with the lowest eval loss."""
    items = run.files.checkpoints
    evals = run.series.get("eval_loss")
    losses = {item.step: evals.at(item.step) if evals is not None else None for item in items}
    state = run.files.state
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
            best=item.path == best,
            eval_loss=losses[item.step],
            mtime=item.mtime,
            size=item.size,
        )
        for item in sorted(items)
    )


def reached_end(run: Run) -> bool:
    """Plain trainers: the newest checkpoint holds the last step, and no training row came after it."""
    state = run.files.state
    if state is None or not state.max_steps or state.global_step is None or state.global_step < state.max_steps:
        return False
    saved = max((item.mtime for item in run.files.checkpoints), default=None)
    timeline = run.timeline
    rows = [(r, t) for r, t in zip(timeline.rows, timeline.times, strict=True) if r.kind == "train"]
    if not rows or saved is None:
        return True
    row, time = rows[-1]
    began_anew = row.step is not None and row.step < state.global_step and time is not None and time > saved
    return not began_anew


def steps_at_risk(run: Run) -> int | None:
    """Steps since the newest complete checkpoint of this attempt, which a kill would lose now."""
    last = run.timeline.last
    if last is None or last.step is None:
        return None
    start = _attempt_start(run)
    saved = [
        item.step
        for item in run.files.checkpoints
        if item.step <= last.step and is_complete(run, item) and item.mtime >= start - SLACK_S
    ]
    return last.step - max(saved, default=0)


def _attempt_start(run: Run) -> float:
    """When the rows that remain began to be written, minus infinity if the files do not tell."""
    timeline = run.timeline
    if len(timeline.segments) > 1 or not timeline.rows:
        return -math.inf
    first, last, seen = timeline.rows[0], timeline.rows[-1], run.last_row_time
    if timeline.times[0] is not None:
        return timeline.times[0]
    if seen is None or first.elapsed_s is None or last.elapsed_s is None:
        return -math.inf
    return seen - (last.elapsed_s - first.elapsed_s)


def usual_gap(run: Run) -> float | None:
    """Median seconds between two checkpoints."""
    times = sorted(item.mtime for item in run.files.checkpoints)
    gaps = sorted(b - a for a, b in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else None
