"""When a training evaluates and saves: by what was seen, and by the job's options.

Options as transformers reads them: a share of all steps below 1, ``epoch`` or ``no`` as a strategy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lora_tui.runs.run import Run

RECENT = 20
"""Evaluations whose distance counts."""


@dataclass(frozen=True)
class Rhythm:
    """Steps at which something is done: ``anchor``, and every ``every`` steps before and behind it."""

    anchor: float
    every: float

    def within(self, start: float, end: float) -> int:
        """How many of them are in [start, end)."""
        # Epochs of 208.33 steps end at 208, 417, 625.
        slack = min(0.5, 0.01 * self.every)
        first = math.ceil((start - slack - self.anchor) / self.every)
        return max(0, math.ceil((end - slack - self.anchor) / self.every) - first)

    def until_end(self, start: float, total: float) -> int:
        """How many of them are in [start, total]. The distance of those seen is rounded, so that one which falls a
        little behind the end is due at the end."""
        return self.within(start, total + 1 + 0.02 * self.every)


def eval_rhythm(run: Run, total: int) -> Rhythm | None:
    """When evaluations take place, ``None`` where none is expected."""
    rows = run.timeline.rows
    seen = [rows[index].step or 0 for index in run.timeline.evals[-RECENT:]]
    if len(seen) > 1:
        return Rhythm(seen[-1], max(1.0, (seen[-1] - seen[0]) / (len(seen) - 1)))
    planned = _planned(run, "eval", total) if "eval_strategy" in run.config else None
    if seen:
        step = seen[0]
        if planned is not None and planned.within(step, step + 1):
            return planned
        return Rhythm(step, step) if step > 0 else None
    # A planned step that was passed without a row: there are none.
    return planned if planned is not None and planned.within(1, _step(run)) == 0 else None


def save_rhythm(run: Run, total: int) -> Rhythm | None:
    """When checkpoints are written, ``None`` where it is not known. The trainer saves at its last step besides."""
    strategy = run.config.get("save_strategy")
    if strategy is not None and strategy.value == "no":
        return None
    step = _step(run)
    seen = [item.step for item in run.checkpoints() if not item.foreign and 0 < item.step <= step]
    planned = _planned(run, "save", total)
    if planned is not None and all(planned.within(at, at + 1) for at in seen[-2:]):
        return planned
    if len(seen) > 1:
        return Rhythm(seen[-1], seen[-1] - seen[-2])
    return Rhythm(seen[0], seen[0]) if seen else None


def number(run: Run, key: str) -> float | None:
    """An option that is a number above 0, and of a size that means something."""
    setting = run.config.get(key)
    value = setting.value if setting is not None else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 1e-9 < value < 1e12 else None


def in_steps(every: float, total: int) -> float:
    """``save_steps`` and the like in steps: below 1 it is a share of all of them."""
    return math.ceil(every * total) if every < 1 else every


def _planned(run: Run, what: Literal["eval", "save"], total: int) -> Rhythm | None:
    strategy = run.config.get(f"{what}_strategy")
    if strategy is not None and strategy.value == "epoch":
        epoch, step = run.epoch, _step(run)
        return Rhythm(0.0, max(1.0, step / epoch)) if epoch and step and math.isfinite(epoch) and epoch > 0 else None
    every = number(run, f"{what}_steps")
    if every is None or (strategy is not None and strategy.value == "no"):
        return None
    return Rhythm(0.0, in_steps(every, total))


def _step(run: Run) -> int:
    last = run.timeline.last
    return last.step if last is not None and last.step is not None else 0
