"""The axes of a chart: the range of y, the ticks, and the points that a line of a given width needs."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from lora_tui.charts.model import MIN_POSITIVE, Curve, Limits, View, columns_of, drawable_range, log10, power10
from lora_tui.records.extremes import Extremes
from lora_tui.text.sanitize import clean


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Return the quantile ``q`` (0 to 1) of ascending values, interpolated linearly."""
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] / 2 - ordered[below] / 2) * 2 * (at - below)


def _core(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the range of ascending values without outliers.

    Those are beyond the 5 % or 95 % quantile by more than three quarters of its distance from the median.
    """
    low, middle, high = (_quantile(ordered, q) for q in (0.05, 0.5, 0.95))
    return max(ordered[0], low - (middle - low) * 0.75), min(ordered[-1], high + (high - middle) * 0.75)


def _nice(step: float) -> float:
    """Return the smallest of the numbers 1, 2, 5 times a power of ten that is not below ``step``."""
    power = power10(math.floor(math.log10(step)))
    return next((n * power for n in (1, 2, 5) if n * power >= step * (1 - 1e-9)), 10 * power)


def _round_out(low: float, high: float) -> tuple[float, float]:
    """Return limits rounded outwards to round numbers, so that they seldom change while a run grows."""
    span = high - low
    if not 1e-300 < span < 1e300:
        return low, high
    step = _nice(span / 10)
    if max(abs(low), abs(high)) / step > 1e12:
        return low, high
    digits = 15 - math.ceil(math.log10(max(abs(low), abs(high)) + step))
    bottom = round(math.floor(low / step + 1e-6) * step, digits)
    top = round(math.ceil(high / step - 1e-6) * step, digits)
    return min(bottom, low), max(top, high)


def limits(curves: Iterable[Curve], warmup: float = 0.1, *, log_y: bool = False, full: bool = False) -> Limits:
    """Return the range of y that shows the curves best, rounded outwards to round numbers.

    It is the range of the values after the first ``warmup`` (a share of the range of x so far) without outliers: in the
    full range, the steep start of a fine-tuning run would leave the rest a flat line. Nothing is left out where that
    would save little, or with ``full``. The last point of every curve stays in unless it is many ranges away, and so do
    points (evaluations). Learning rates are shown in full; the axes of learning rates and gradient norms start at 0.

    The range is finite and never empty: a flat curve gets a small margin; without data it is (-0.5, 0.5), or (0.1, 10)
    with ``log_y``.
    """
    wanted = []
    for curve in curves:
        points = [
            (x, math.log10(y) if log_y else y)
            for x, y in zip(curve.xs, curve.ys, strict=False)
            if math.isfinite(y) and math.isfinite(x) and (y > MIN_POSITIVE or not log_y)
        ]
        if points:
            wanted.append((curve, points))
    if not wanted:
        return Limits(0.1, 10.0, 0, 0) if log_y else Limits(-0.5, 0.5, 0, 0)
    everything = [y for _, points in wanted for _, y in points]
    least, most = min(everything), max(everything)
    low, high = least, most
    if not full:
        first = min(points[0][0] for _, points in wanted)
        last = max(points[-1][0] for _, points in wanted)
        low, high = _core_of_all(wanted, first + warmup * (last - first))
        for curve, points in wanted:
            reach = (3 if curve.role == "raw" else 10) * (high - low)
            end = points[-1][1]
            if low == high or low - reach <= end <= high + reach:
                low, high = min(low, end), max(high, end)
        if most - least <= 1.6 * (high - low):
            low, high = least, most
    from_zero = not log_y and low >= 0 and any(curve.role in ("lr", "grad") for curve, _ in wanted)
    if from_zero and high > 0:
        low = 0.0
    low, high = drawable_range(low, high)
    if log_y and high - low >= 1:
        steps = (0.0, math.log10(2), math.log10(5), 1.0)
        down, up = math.floor(low + 1e-9), math.floor(high - 1e-9)
        low = down + max(s for s in steps if down + s <= low + 1e-9)
        high = up + min(s for s in steps if up + s >= high - 1e-9)
        bottom, top = float(f"{power10(low):.6g}"), float(f"{power10(high):.6g}")
    elif log_y:
        bottom, top = _round_out(power10(low), power10(high))
        if bottom <= 0:
            bottom = power10(low)
    else:
        bottom, top = _round_out(low, high)
    if not bottom < top:
        bottom, top = drawable_range(bottom, top)
    shown = (log10(bottom), log10(top)) if log_y else (bottom, top)
    slack = (shown[1] / 2 - shown[0] / 2) * 1e-9
    return Limits(
        bottom,
        top,
        sum(y > shown[1] + slack for y in everything),
        sum(y < shown[0] - slack for y in everything),
    )


def _core_of_all(wanted: Sequence[tuple[Curve, list[tuple[float, float]]]], start: float) -> tuple[float, float]:
    """Return the range without outliers of all curves, each given with its points, from the x ``start`` on."""
    low, high = math.inf, -math.inf
    for curve, points in wanted:
        later = sorted(y for x, y in points if x >= start)
        if len(later) < 4:
            later = sorted(y for _, y in points)
        if curve.role == "lr":
            core = min(y for _, y in points), max(y for _, y in points)
        elif curve.style == "points":
            far = 20 * abs(_quantile(later, 0.5)) or math.inf
            near = [y for y in later if abs(y) <= far]
            core = near[0], near[-1]
        else:
            core = _core(later)
        low, high = min(low, core[0]), max(high, core[1])
    return low, high


# --- fewer points ----------------------------------------------------------------------------------------------------


def decimate(
    xs: Sequence[float],
    ys: Sequence[float],
    x_min: float,
    x_max: float,
    columns: int,
    extremes: Extremes | None = None,
) -> tuple[list[float], list[float]]:
    """Return the points that a line of ``columns`` cells needs: the first, least, greatest and last of each column.

    Their order is kept, and a nan stands wherever values that are not finite lie between, before or after them, so no
    spike and no gap is lost. The nearest point on each side of the view is kept too, for the line that enters it.
    ``xs`` must be finite and never decrease. With ``extremes``, the index of ``ys``, not every value is read.
    Sequences are sliced, so they should be lists or arrays.
    """
    size = min(len(xs), len(ys))
    if columns <= 0 or not size:
        return [], []
    x_min, x_max = drawable_range(x_min, x_max)
    begin, end = bisect_left(xs, x_min, 0, size), bisect_right(xs, x_max, 0, size)
    out_x: list[float] = []
    out_y: list[float] = []
    if begin:
        out_x.append(xs[begin - 1])
        out_y.append(_gap(ys[begin - 1]))
    if end - begin <= 2 * columns:
        out_x += xs[begin:end]
        out_y += map(_gap, ys[begin:end])
    else:
        column_of = columns_of(x_min, x_max, columns)
        at = begin
        while at < end:
            stop = max(bisect_left(xs, column_of(xs[at]) + 1, at, end, key=column_of), at + 1)
            found = extremes.of(at, stop) if extremes is not None else None
            if found is not None:
                places = sorted({at, *found, stop - 1})
            else:
                places = [at + i for i in _significant(ys[at:stop])]
            for i in places:
                out_x.append(xs[i])
                out_y.append(_gap(ys[i]))
            at = stop
    if end < size:
        out_x.append(xs[end])
        out_y.append(_gap(ys[end]))
    return out_x, out_y


def _gap(y: float) -> float:
    """Return ``y``, nan where it is infinite."""
    return y if math.isfinite(y) else math.nan


def _significant(ys: Sequence[float]) -> list[int]:
    """Return the indexes of the first, least, greatest and last finite value, and of one value of each gap."""
    last = len(ys) - 1
    if math.isfinite(sum(ys)):
        return sorted({0, ys.index(min(ys)), ys.index(max(ys)), last})
    finite = [i for i, y in enumerate(ys) if math.isfinite(y)]
    if not finite:
        return [0]
    kept = sorted({finite[0], min(finite, key=ys.__getitem__), max(finite, key=ys.__getitem__), finite[-1]})
    gaps = set(range(last + 1)).difference(finite)
    significant: list[int] = []
    for before, after in zip([-1, *kept], [*kept, last + 1], strict=True):
        hole = next((i for i in range(before + 1, after) if i in gaps), None)
        significant += [i for i in (hole, after) if i is not None and i <= last]
    return significant


# --- ticks -----------------------------------------------------------------------------------------------------------

_DURATION_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Distances in seconds between the ticks of an axis of durations, up to a day."""


def _decimals(values: Iterable[float], most: int) -> int:
    """Return the number of decimals that every value needs, ``most + 1`` where ``most`` are not enough."""
    values = list(values)
    near = max(map(abs, values), default=0.0) * 1e-9
    return next((d for d in range(most + 1) if all(abs(round(v, d) - v) <= near for v in values)), most + 1)


def _labels(values: Sequence[float], least: int = 0) -> list[str]:
    """Return all values as text in one notation, about eight characters at most: ``1.50``, ``2e-4``, ``344k``.

    Values below 10 have at least ``least`` decimals.
    """
    size = max(map(abs, values), default=0.0)
    if 1e-3 <= size < 1e5:
        places = 0 if size >= 1000 else max(3 - max(math.floor(math.log10(size)), 0), 0) + 3
        decimals = min(_decimals(values, places), places)
        if decimals or size < 2:
            decimals = max(decimals, least if size < 10 else 0)
        return [f"{v:.{decimals}f}" if v else f"{0:.{decimals}f}" for v in values]
    if 1e5 <= size < 1e15:
        unit, suffix = next((u, s) for u, s in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")) if size < u * 1e3)
        decimals = min(_decimals([v / unit for v in values], 3), 3)
        return [f"{v / unit:.{decimals}f}{suffix}" if v else "0" for v in values]
    for digits in range(3):
        texts = [_scientific(v, digits) if v else "0" for v in values]
        if all(abs(float(t) - v) <= abs(v) * 1e-6 for t, v in zip(texts, values, strict=True)):
            break
    return texts


def _scientific(value: float, digits: int) -> str:
    """Return a value with an exponent and ``digits`` decimals: ``2.5e-4``."""
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _multiples(step: float, low: float, high: float) -> list[float]:
    """Return the multiples of ``step`` in [low, high], at most 101."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, min(last, first + 100) + 1)]


def y_ticks(low: float, high: float, rows: int, log_y: bool) -> list[tuple[float, str]]:
    """Return the values and labels of the ticks on a y-axis of ``rows`` rows from ``low`` to ``high``, both finite."""
    if rows < 2:
        return []
    most = max((rows - 1) // 3, 1)
    if log_y and high / low >= 10:
        return _log_ticks(low, high, most)
    span = high - low
    if not 1e-300 < span < 1e300:
        values = [low, high]
    else:
        # Equal parts of the range are best where they are as round as the limits: both ends then get a label.
        unit = power10(math.floor(math.log10(span)))
        plain = _decimals([low / unit, high / unit], 2)
        parts = [[low + i * span / n for i in range(n + 1)] for n in range(most, min(most, 3) - 1, -1)]
        values = next((part for part in parts if _decimals([v / unit for v in part], 2) <= min(plain, 2)), [])
        if not values and abs(low) + abs(high) < span * 1e12:
            values = _multiples(_nice(span / max(most, 2)), low, high)
            near = span * 2 / rows
            round_ends = [end for end in (high, low) if _decimals([end / unit], 2) <= 2]
            values += [end for end in round_ends if all(abs(end - v) >= near for v in values)]
        values = sorted(values) or [low, high]
    tiny = max(abs(low), abs(high)) * 1e-12
    values = [0.0 if abs(v) < tiny else v for v in values]
    return list(zip(values, _labels(values, 2), strict=True))


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return the values and labels of about ``most`` ticks on a logarithmic y-axis."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    room = max(most, 2)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * power10(n) for n in range(first, last + 1) for f in factors]
        values = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(values) <= room + 1:
            break
    every = math.ceil(len(values) / room) if len(values) > room + 1 else 1
    values = values[::every] if len(values) > 1 else [low, high]
    return [(v, _labels([v])[0]) for v in values]


def x_ticks(view: View, low: float, high: float, columns: int) -> list[tuple[float, str]]:
    """Return the values and labels of the ticks on an x-axis of ``columns`` cells from ``low`` to ``high``."""
    if view.x_ticks is not None:
        ticks = [(x, clean(label).encode("ascii", "replace").decode()) for x, label in view.x_ticks]
        return [(x, label) for x, label in ticks if low <= x <= high and label]
    span = high - low
    if not 1e-300 < span < 1e300 or max(abs(low), abs(high)) > span * 1e12:
        return []
    values, labels = [], []
    for step in _steps(span * 5 / columns, view.x_kind):
        values = _multiples(step, low, high)
        labels = [_duration(v) for v in values] if view.x_kind == "duration" else _labels(values)
        if columns * step / span >= max((len(label) + 4 for label in labels), default=0):
            break
    return list(zip(values, labels, strict=True))


def _steps(least: float, kind: str) -> Iterable[float]:
    """Yield growing distances between ticks, the first at least ``least`` (seconds where ``kind`` is duration)."""
    if kind == "duration":
        yield from (s for s in _DURATION_STEPS_S if s >= least)
    unit = _DURATION_STEPS_S[-1] if kind == "duration" else 1
    step = max(least / unit, 2.0 if kind == "duration" else 0.0)
    for _ in range(12):
        step = _nice(step)
        yield step * unit
        step *= 1.5


def _duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``30s``, ``5m``, ``1h30``, ``2d``."""
    left = round(abs(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        parts.append((left // size, unit))
        left %= size
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    text = f"{parts[0][0]}{parts[0][1]}"
    if len(parts) > 1 and parts[1][0]:
        text += f"{parts[1][0]:02d}"
    return f"-{text}" if seconds < 0 and text != "0s" else text
