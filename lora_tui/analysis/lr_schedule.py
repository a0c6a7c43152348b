"""Infer which of transformers' learning rate schedules a run follows from the rates logged so far."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from lora_tui.runs.series import Series

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda x: 1 - x,
    "cosine": lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    "polynomial": lambda x: (1 - x) ** 2,
    "inverse_sqrt": lambda x: (1 + 19 * x) ** -0.5,
}
"""Each schedule (``transformers.optimization``) as a function from progress between the peak and the last step (0 to 1)
to the learning rate as a share of its peak."""
TOLERANCE = 0.03
"""Maximum distance of any logged rate from a schedule that it follows, as a share of the peak."""
SAMPLES = 40
"""Approximate number of rows that are compared with the schedules, and number of points in the remaining steps."""


class Schedule:
    """The sum of learning rates up to a step, as a share of the sum over all planned steps."""

    def __init__(self, lr: Series | None, step: int, total: int) -> None:
        self._total = float(max(step, total))
        self.peak_step = 0.0
        """Step at which the warm-up of the learning rate ends, 0 without a warm-up."""
        self._steps: list[float] = [0.0]
        self._sums: list[float] = [0.0]
        """Sum of the learning rates up to each of ``_steps``, in units of the peak rate."""
        # transformers' default, used if the log has no rates.
        rest = SCHEDULES["linear"]
        if lr is not None and lr.finite and lr.max > 0:
            if lr.values[0] < 0.98 * lr.max and lr.min_step < lr.max_step:
                self.peak_step = lr.max_step
            stride = max(1, len(lr) // SAMPLES)
            indexes = range(len(lr) - 1, -1, -stride)
            seen = [(lr.steps[i], lr.values[i] / lr.max) for i in indexes if math.isfinite(lr.values[i])][::-1]
            for at, share in seen:
                self._add(at, share)
            rest = self._follow([(at, share) for at, share in seen if at >= self.peak_step])
        now = self._steps[-1]
        for number in range(1, SAMPLES + 1):
            at = now + (self._total - now) * number / SAMPLES
            self._add(at, rest(self._progress(at)))

    def spent(self, step: float) -> float:
        """Return the share that is reached at a step: 0 at the start, 1 at the last step."""
        index = min(bisect_right(self._steps, step), len(self._steps) - 1)
        a, b = self._steps[index - 1], self._steps[index]
        part = (min(step, b) - a) / (b - a)
        return (self._sums[index - 1] + part * (self._sums[index] - self._sums[index - 1])) / self._sums[-1]

    def _progress(self, step: float) -> float:
        """Return the progress of a step from the peak (0) to the last step (1)."""
        return min(1.0, (step - self.peak_step) / max(1.0, self._total - self.peak_step))

    def _add(self, step: float, share: float) -> None:
        """Add the steps up to ``step``, over which the rate was ``share`` of its peak."""
        if step > self._steps[-1]:
            self._sums.append(self._sums[-1] + (step - self._steps[-1]) * max(share, 1e-6))
            self._steps.append(step)

    def _follow(self, seen: Sequence[tuple[float, float]]) -> Callable[[float], float]:
        """Return the schedule nearest to the rates ``seen`` (step, share of the peak).

        If none fits, it is constant at the last rate.
        """
        if not seen:
            return SCHEDULES["linear"]
        off = {
            name: max(abs(schedule(self._progress(at)) - share) for at, share in seen)
            for name, schedule in SCHEDULES.items()
        }
        best = min(off, key=lambda name: off[name])
        return SCHEDULES[best] if off[best] < TOLERANCE else lambda _: seen[-1][1]
