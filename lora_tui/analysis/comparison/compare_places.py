"""Where runs of different progress can be compared: the last step or epoch that all of them have come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lora_tui.analysis.comparison.measures import Side, Value, eval_error, level_at

Point = tuple[float, float, float]
"""Step, epoch (NaN where not known), value."""


@dataclass(frozen=True)
class Place:
    """Where runs of different progress can be compared."""

    by: Literal["step", "epoch"]
    at: float


def common(sides: Sequence[Side]) -> tuple[Place, list[Value]] | None:
    """The last evaluation that all runs have made at the same step, or, where a step is not the same amount of data
    or its number is not known, at the same epoch (within 2 %)."""
    curves = [_points(side, "eval_loss") for side in sides]
    if not all(curves):
        return None
    errors = [eval_error(side) for side in sides]
    if _steps_are_alike(sides):
        shared = set.intersection(*({step for step, _, _ in curve} for curve in curves))
        if shared:
            at = max(shared)
            picked = [next(p for p in reversed(curve) if p[0] == at) for curve in curves]
            return Place("step", at), _values(sides, picked, errors)
    shortest: list[Point] = min(curves, key=len)
    for _, epoch, _ in sorted(shortest, key=lambda point: -point[1]):
        nearest = [min(curve, key=lambda point: abs(point[1] - epoch)) for curve in curves]
        if all(abs(point[1] - epoch) <= 0.02 * epoch for point in nearest):
            return Place("epoch", epoch), _values(sides, nearest, errors)
    return None


def common_loss(sides: Sequence[Side]) -> tuple[Place, list[Value]] | None:
    """The level of the training loss where the shortest run stands, by step or by epoch."""
    series = [side.series("loss") for side in sides]
    known = [one for one in series if one is not None]
    if len(known) < len(sides):
        return None
    if _steps_are_alike(sides):
        at = min(one.steps[-1] for one in known)
        found = [level_at(one, at) for one in known]
        place = Place("step", at)
    else:
        scales = [epoch_of(side) for side in sides]
        if any(scale is None for scale in scales):
            return None
        sure = [scale for scale in scales if scale is not None]
        epoch = min(one.steps[-1] * scale for one, scale in zip(known, sure, strict=True))
        found = [level_at(one, epoch / scale * 1.0001) for one, scale in zip(known, sure, strict=True)]
        place = Place("epoch", epoch)
    values = [value for value in found if value is not None and value.error is not None]
    return (place, values) if len(values) == len(sides) else None


def epoch_of(side: Side) -> float | None:
    """Epochs a step."""
    last = side.run.timeline.last
    epoch = side.run.epoch
    return epoch / last.step if last is not None and last.step and epoch else None


def _points(side: Side, name: str) -> list[Point]:
    series = side.series(name)
    if series is None or side.broken:
        return []
    scale = epoch_of(side) or math.nan
    return [(step, step * scale, value) for step, value in zip(series.steps, series.values, strict=True)
            if math.isfinite(value)]  # fmt: skip


def _values(sides: Sequence[Side], points: Sequence[Point], errors: Sequence[float | None]) -> list[Value]:
    return [
        Value(point[2], int(point[0]), error, side.setup.eval_samples)
        for side, point, error in zip(sides, points, errors, strict=True)
    ]


def _steps_are_alike(sides: Sequence[Side]) -> bool:
    batches = {side.setup.batch for side in sides if side.setup.batch is not None}
    return len(batches) <= 1 and not any(side.run.counted_rows for side in sides)
