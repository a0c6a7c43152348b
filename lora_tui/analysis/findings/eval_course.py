"""Whether the eval loss has turned, evaluation by evaluation."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from lora_tui.analysis.detectors.incremental import Fold, SeriesCourse
from lora_tui.analysis.detectors.levels import WIDER
from lora_tui.analysis.model import Param
from lora_tui.analysis.statistics import finite_before, rounded
from lora_tui.runs.series import Series

RISE, RISE_NATS, RISE_NOISES = 0.02, 0.005, 2.5
"""An evaluation is worse than the best by more than this share, so many nats, and so many times its noise (of 5: the
best of e times as many is luckier by about half a noise)."""
USUAL_NOISE, PRIOR = 0.01, 3
"""Evaluations are of the same samples each time: in real runs 0.1 to 1.5 % of their value wiggles."""
OTHER_SET = 0.1
"""An eval loss that is this share away after a resume is of another set."""


def eval_noise(values: Sequence[float]) -> float:
    """Noise of one evaluation, from second differences (variance 6 s^2) and what is usual, which counts as much as
    PRIOR of them. They are taken behind the lowest value, and before it only where the curve went up and down: the fall
    at the start bends it as well."""
    best = values.index(min(values))
    total, count = PRIOR * (USUAL_NOISE * values[best]) ** 2, float(PRIOR)
    for at in range(1, len(values) - 1):
        a, b, c = values[at - 1 : at + 2]
        if at > best or (at < best and (b - a) * (c - b) < 0):
            total += (a - 2 * b + c) ** 2 / 6
            count += 1
    return math.sqrt(total / count)


class EvalCourse(SeriesCourse):
    """Whether the eval loss has turned, evaluation by evaluation. ``starts``: first steps of resumed segments."""

    def __init__(self, starts: tuple[float, ...]) -> None:
        super().__init__()
        self.rising = Fold(opens=1)
        self.best_row = 0
        self._starts = starts
        self._begin = 0

    def next_check(self, done: int) -> int:
        """Every evaluation is looked at."""
        return done + 1

    def check(self, column: Series, end: int) -> None:
        """Look at the evaluations before ``end``."""
        self._cross(column, end)
        if not math.isfinite(column.values[end - 1]):
            return
        if column.values[end - 1] < column.values[self.best_row] or not math.isfinite(column.values[self.best_row]):
            self.best_row = end - 1
        values = finite_before(column.values, end, 25, self._begin)
        best = column.values[self.best_row]
        if len(values) < 3 or best <= 0:
            return
        rise = values[-1] - best
        noises = RISE_NOISES + 0.5 * math.log(max(1.0, len(values) / 5))
        bound = max(RISE * best, RISE_NATS, noises * eval_noise(values))
        behind = self.best_row < end - 2
        fires = behind and rise > bound and min(values[-2], best + self._above_beside(column, end)) > best + bound / 2
        holds = behind and rise > WIDER * bound
        begin = column.steps[min(self.best_row + 1, end - 1)]
        evidence: dict[str, Param] = {
            "best_step": int(column.steps[self.best_row]), "best_eval_loss": rounded(best),
            "last_eval_loss": rounded(values[-1]), "last_step": int(column.steps[end - 1]),
            "rise": rounded(rise / best * 100, 3),
        }  # fmt: skip
        self.rising.feed(column.steps[end - 1], fires=fires, holds=holds, begin=begin, evidence=evidence)

    def _above_beside(self, column: Series, end: int) -> float:
        """How far the last one lies above the better neighbour of the best: a lone dip is no turn."""
        around = (row for row in (self.best_row - 1, self.best_row + 1) if self._begin <= row < end)
        beside = [value for row in around if math.isfinite(value := column.values[row])]
        return column.values[end - 1] - min(beside, default=column.values[self.best_row])

    def _cross(self, column: Series, end: int) -> None:
        """A resume with another eval set starts anew: its first evaluation is far from the last one before."""
        if end < 2:
            return
        step, before = column.steps[end - 1], column.steps[end - 2]
        crossed = bisect_left(self._starts, step + 1) > bisect_left(self._starts, before + 1)
        a, b = column.values[end - 2], column.values[end - 1]
        if crossed and not abs(b - a) <= OTHER_SET * abs(a):
            self.rising.cut(step)
            self._begin = self.best_row = end - 1
