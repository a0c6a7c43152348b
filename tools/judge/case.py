"""What a fault works on: the plan and the track of one run, and what most faults need to do to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tools.judge.plan import PREFERENCE, Plan, Track, usual_lr


@dataclass
class Case:
    """One run in which something goes wrong. ``effect`` is in the unit of its fault."""

    plan: Plan
    rng: random.Random
    effect: float
    _track: Track | None = None

    @property
    def track(self) -> Track:
        """The run; only there once its plan is settled."""
        assert self._track is not None
        return self._track

    @track.setter
    def track(self, track: Track) -> None:
        self._track = track

    def language(self) -> None:
        """Make it an sft or pt run with answers of some length: its losses are cross-entropies, and some loss is
        left."""
        plan, rng = self.plan, self.rng
        if plan.stage in PREFERENCE or plan.floor < 0.1:
            plan.stage = "sft" if plan.stage in PREFERENCE else plan.stage
            plan.start = rng.uniform(0.8, 4.0)
            plan.floor = plan.start * rng.uniform(0.25, 0.8)
            plan.peak_lr = usual_lr(rng, plan.stage, plan.method)

    def alone(self) -> None:
        """Leave out the resume: what is simulated happens in one process."""
        self.plan.resume_at = None

    def onset(self, low: float = 0.3, high: float = 0.65) -> int:
        """Return a row between two shares of the run, with ten rows or more behind it."""
        rows = self.plan.rows
        return max(3, min(int(self.rng.uniform(low, high) * rows), rows - 11))

    def row_of(self, step: int) -> int:
        """Return the row that was logged last before an evaluation, or with it."""
        return max(0, min(self.plan.rows - 1, step // self.plan.logging_steps - 1))

    def bend_both(self, begin: int, factor: Callable[[int], float]) -> None:
        """Multiply train and eval level from a row on; that row is the onset."""
        track = self.track
        track.onset = begin
        for i, step in enumerate(track.eval_steps):
            if (row := self.row_of(step)) >= begin:
                track.eval_level[i] *= factor(row)
        for index in range(begin, self.plan.rows):
            track.level[index] *= factor(index)


def ramp(index: int, begin: int, length: float) -> float:
    """Return 0 before ``begin``, 1 from ``length`` rows later on."""
    return 0.0 if index < begin else min(1.0, (index - begin + 1) / max(1.0, length))
