"""The steps at which the trainer saves, the checkpoints that it then deletes, and the time since the last save.

Source: transformers, ``DefaultFlowCallback`` (a save every ``save_steps``, at each epoch's end, and at the last step)
and ``rotate_checkpoints`` (after each save it deletes the oldest directories until ``save_total_limit`` are left. It
keeps the newest one, and also the best one where ``metric_for_best_model`` is set, which ``load_best_model_at_end``
does).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lora_tui.analysis import run_facts
from lora_tui.runs.checkpoints import own_state
from lora_tui.runs.eta import in_steps
from lora_tui.runs.run import Checkpoint, Run, Status

MIN_MISSING = 2
"""Minimum number of missing saves from which a limit is inferred."""


@dataclass(frozen=True)
class SavePlan:
    """What is known about the saves of a run."""

    every: int | None = None
    """Steps between two saves, None where they are irregular or not known."""
    total: int | None = None
    """Last planned step, at which the trainer saves as well; None where it is not known."""
    limit: int | None = None
    """Number of checkpoints that the trainer keeps (``save_total_limit``), None without a known limit."""
    limit_seen: bool = False
    """Whether ``limit`` was inferred from deleted checkpoints, not read from an option."""
    keeps_best: bool = False
    """Whether the best checkpoint is never deleted."""

    def coming(self, after: int, count: int) -> list[int]:
        """Return the steps of the next saves after the step ``after``, at most ``count``; empty where not known."""
        if not self.every or (self.total is not None and after >= self.total):
            return []
        first = (after // self.every + 1) * self.every
        steps = [first + self.every * i for i in range(count)]
        if self.total is None:
            return steps
        steps = [step for step in steps if step < self.total]
        return steps if len(steps) >= count else [*steps, self.total]

    def left(self, after: int) -> int | None:
        """Return the number of saves after the step ``after``, None where it is not known."""
        if not self.every or self.total is None:
            return None
        return max(0, (self.total - 1) // self.every - after // self.every) + 1 if after < self.total else 0


def save_plan(run: Run) -> SavePlan:
    """Return the save plan of a run, from its options, its trainer state and the checkpoints on disk."""
    state = own_state(run)
    total = run.total_steps
    strategy = _text(run, "save_strategy")
    own = sorted(item.step for item in run.checkpoints() if item.complete and not item.foreign)
    every = _every(run, strategy, state.save_steps if state is not None else None, own)
    known = run_facts.number(run, "save_total_limit")
    keeps = _true(run, "load_best_model_at_end") or _text(run, "metric_for_best_model") is not None
    keeps = keeps or (state is not None and (state.best_step is not None or state.best_checkpoint is not None))
    limit = int(known) if known is not None and known >= 1 else None
    seen = None
    if known is None and every is not None and not keeps:
        seen = _seen_limit(run, every, own)
    return SavePlan(every, total, limit or seen, seen is not None, keeps)


def deleted_by(run: Run, plan: SavePlan, target: Checkpoint, best: str | None, after: int) -> int | None:
    """Return the step of the save after the step ``after`` that will delete ``target``, None if none is known to.

    ``best`` is the path of the best checkpoint, None without one.
    """
    if plan.limit is None or (plan.keeps_best and target.path == best):
        return None
    newer = sum((item.mtime, item.step) > (target.mtime, target.step) for item in run.checkpoints())
    # The best checkpoint is kept in addition to the newest, whatever its age.
    spared = 1 if plan.keeps_best and plan.limit > 1 and best is not None else 0
    needed = max(1, plan.limit - spared - newer)
    steps = plan.coming(after, needed)
    return steps[needed - 1] if len(steps) >= needed else None


def since_save(run: Run, status: Status, now: float) -> float | None:
    """Return the seconds of training that are in no complete checkpoint of this attempt.

    They are counted up to ``now`` (Unix time), or up to the last row of a run that has ended. None if it has ended as
    planned, or if the files do not show the times.
    """
    if run_facts.final(status) or not run.timeline.rows:
        return None
    end = now if status.live else run.last_row_time
    began = _segment_start(run)
    if end is None or began is None:
        return None
    step = run.timeline.rows[-1].step
    times = [
        item.mtime
        for item in run.checkpoints()
        if item.complete and not item.foreign and (step is None or item.step <= step)
    ]
    return max(0.0, end - max(began, max(times, default=-math.inf)))


def _segment_start(run: Run) -> float | None:
    """Return the Unix time at which the current segment began to train, None if it is not known."""
    seen, segment = run.last_row_time, run.timeline.segments[-1]
    if seen is not None and segment.last_elapsed is not None:
        return seen - segment.last_elapsed
    return segment.first_time


def _every(run: Run, strategy: str | None, saved: float | None, own: Sequence[int]) -> int | None:
    """Return the steps between two saves, None where they are irregular or not known.

    The trainer state has ``save_steps`` even where it is not used (saves by epoch), so the steps ``own`` of the
    checkpoints on disk must agree with it. Unlike the estimate of the time left
    (:func:`lora_tui.runs.eta.save_schedule`), this is None where they are irregular: the user must not be told of a
    save that does not come.
    """
    if strategy in ("no", "best"):
        return None
    total = run.total_steps
    regular = [step for step in own if step != total]
    planned = run_facts.number(run, "save_steps")
    every = saved if saved else planned
    if every is not None and total:
        every = in_steps(every, total)
    if strategy == "epoch":
        return _epoch_steps(run) or _spacing(regular)
    if every is not None and every >= 1 and all(step % int(every) == 0 for step in regular):
        return int(every)
    return _spacing(regular)


def _spacing(own: Sequence[int]) -> int | None:
    """Return the distance between the first two checkpoints if all steps are multiples of it, else None."""
    if len(own) < 2:
        return None
    apart = own[1] - own[0]
    return apart if all(step % apart == 0 for step in own) else None


def _epoch_steps(run: Run) -> int | None:
    """Return the steps of one epoch by the last row, None where they are not a whole number or not known."""
    last = next((row for row in reversed(run.timeline.rows) if row.step and row.epoch), None)
    total = run.total_steps
    if last is None or last.step is None or last.epoch is None or not total:
        return None
    epochs = round(last.epoch * total / last.step)
    return total // epochs if epochs and total % epochs == 0 else None


def _seen_limit(run: Run, every: int, own: Collection[int]) -> int | None:
    """Return the limit that deleted checkpoints imply, None unless all of them are older than those that are left."""
    if not own:
        return None
    first = run.timeline.segments[0].first_step if run.timeline.segments else None
    newest = max(own)
    expected = [step for step in range(every, newest + 1, every) if first is not None and step >= first]
    missing = [step for step in expected if step not in own]
    kept = [step for step in own if step % every == 0]
    if len(missing) < MIN_MISSING or not kept or max(missing) > min(kept):
        return None
    return len(own)


def _text(run: Run, option: str) -> str | None:
    """Return an option in lower case, None if it is not set to a text."""
    setting = run.config.get(option)
    value = setting.value if setting is not None else None
    return value.lower() if isinstance(value, str) and value else None


def _true(run: Run, option: str) -> bool:
    """Return whether an option is set to true."""
    setting = run.config.get(option)
    return setting is not None and str(setting.value).lower() == "true"
