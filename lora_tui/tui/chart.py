"""Curves to terminal cells: the one module that knows plotext.

plotext draws the frame and the axes; a braille canvas draws the data inside them, because plotext takes 15 ms for a
chart of two curves and raises on an infinity. Everything here is pure: numbers in, rows of ``(text, role)`` out. A role
is a key into the caller's styles: the role of a curve, or ``axis``, ``label``, ``clip``, ``epoch``, ``resume``, ``nan``
and ``checkpoint``; blank cells have the role ``""``.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

from lora_tui.text import cell_width, clean, clip
from lora_tui.tui.canvas import BLOCKS as BLOCK_CELLS
from lora_tui.tui.canvas import BRAILLE, DOTS_X, DOTS_Y, BrailleCanvas, ascii_cells

Role = str
Segment = tuple[str, Role]


@dataclass(frozen=True)
class Curve:
    """One line or one set of points. ``xs`` never decreases; a ``ys`` that is nan or inf is a gap in the line."""

    name: str
    role: Role
    """``raw`` is drawn below all others; ``eval``, ``lr`` and ``grad`` have their own rules in :func:`limits`."""
    xs: Sequence[float]
    ys: Sequence[float]
    style: Literal["line", "points"] = "line"
    mark: str = "◆"
    """The one-cell character of a point in the style ``points``."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at ``x``."""

    x: float
    kind: Literal["epoch", "resume", "nan", "checkpoint"]


@dataclass(frozen=True)
class View:
    """What part of the plane is seen, and how its axes read. Limits that are no range are replaced by one."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    log_y: bool = False
    x_label: str = ""
    """Written at the right end of the x-axis instead of the numbers there."""
    x_kind: Literal["number", "duration"] = "number"
    """``duration``: x is seconds and is labelled ``30s``, ``5m``, ``1h30``, ``2d``."""
    x_ticks: Sequence[tuple[float, str]] | None = None
    """Where and how to label the x-axis, instead of the module's own choice (clock times, for one). ASCII."""
    gutter: int = 4
    """The least width of the y labels in cells, so that charts one above the other can be aligned."""


class Limits(NamedTuple):
    """A y-range, and how many of the given points lie above and below it."""

    y_min: float
    y_max: float
    above: int
    below: int


@dataclass(frozen=True)
class Glyphs:
    """The characters of a chart, each one cell wide."""

    line: str = BRAILLE
    """256 characters, indexed as :data:`~lora_tui.tui.canvas.BRAILLE` is."""
    raw: str = BRAILLE
    """The same for curves of the role ``raw``, to keep them apart where there is no colour."""
    point: str = ""
    """Stands for the mark of every curve drawn as points; empty: each curve's own."""
    spark: str = "▁▂▃▄▅▆▇█"
    up: str = "▲"
    down: str = "▼"
    epoch: str = "┊"
    resume: str = "»"
    resume_line: str = "╎"
    nan: str = "×"
    checkpoint: str = "┴"
    axis: str = "│┤└─"
    """The y-axis, a tick on it, the corner, the x-axis."""


UNICODE = Glyphs()
BLOCKS = Glyphs(line=BLOCK_CELLS, raw=BLOCK_CELLS)
"""For fonts in which braille is too faint."""
ASCII = Glyphs(
    line=ascii_cells("#"),
    raw=ascii_cells(":"),
    point="o",
    spark="_.-~=+*#",
    up="^",
    down="v",
    epoch="|",
    resume=">",
    resume_line="!",
    nan="x",
    checkpoint="+",
    axis="|++-",
)


@dataclass(frozen=True)
class Frame:
    """A drawn chart: ``height`` rows of segments, each row exactly ``width`` cells.

    Two frames are equal when they look the same: compare them before painting.
    """

    width: int
    height: int
    rows: list[list[Segment]]
    plot_left: int = field(default=0, compare=False)
    """The cell column where the plot begins; the y labels and the axis are left of it."""
    plot_width: int = field(default=0, compare=False)
    plot_height: int = field(default=0, compare=False)
    """Rows of the plot; it begins at row 0."""
    x_min: float = field(default=0.0, compare=False)
    x_max: float = field(default=0.0, compare=False)

    def column(self, x: float) -> int | None:
        """The cell column of ``x`` in the row, or ``None`` where it is out of the view."""
        if not self.plot_width or not self.x_min <= x <= self.x_max:
            return None
        return self.plot_left + _columns_of(self.x_min, self.x_max, self.plot_width)(x)

    def x_at(self, column: int) -> float | None:
        """The x in the middle of a cell column (a mouse position, a crosshair), or ``None`` outside the plot."""
        at = column - self.plot_left
        if not 0 <= at < self.plot_width:
            return None
        share = (DOTS_X * at + 0.5) / max(DOTS_X * self.plot_width - 1, 1)
        return min(self.x_min + share * (self.x_max - self.x_min), self.x_max)

    def to_plain(self) -> list[str]:
        """The rows as text without roles."""
        return ["".join(text for text, _ in row) for row in self.rows]


# --- where numbers land ----------------------------------------------------------------------------------------------


def _scale(low: float, high: float, dots: int) -> Callable[[float], int]:
    """The map from finite values to dots: ``low`` to 0, ``high`` to ``dots`` - 1, the rest at most 1,000 times as far.

    Everything that asks for a place uses this one map: what one part puts into a column, the others find there.
    """
    shrink = 1.0 if math.isfinite(high - low) else 0.25
    low *= shrink
    factor = (dots - 1) / (high * shrink - low)
    reach = 1000.0 * dots

    def dot(value: float) -> int:
        at = (value * shrink - low) * factor
        return math.floor((reach if at > reach else -reach if at < -reach else at) + 0.5)

    return dot


def _columns_of(x_min: float, x_max: float, columns: int) -> Callable[[float], int]:
    dot = _scale(x_min, x_max, columns * DOTS_X)
    return lambda x: dot(x) // DOTS_X


_LEAST = 1e-300
"""What a logarithmic axis takes for 0; also the least range of any axis."""


def _range(low: float, high: float) -> tuple[float, float]:
    """A range that can be drawn: finite, not empty, the right way round."""
    low = low if math.isfinite(low) else high if math.isfinite(high) else 0.0
    high = high if math.isfinite(high) else low
    if low > high:
        low, high = high, low
    middle = low / 2 + high / 2
    if high - low > abs(middle) * 1e-12 and high - low > _LEAST:
        return low, high
    band = abs(middle) * 0.05 if abs(middle) > 1e-290 else 0.5
    return max(middle - band, -1.7e308), min(middle + band, 1.7e308)


def _log(value: float) -> float:
    return math.log10(value) if value > _LEAST else math.nan


def _power(exponent: float) -> float:
    return math.pow(10.0, min(max(exponent, -307.0), 308.0))


# --- the range of y --------------------------------------------------------------------------------------------------


def _quantile(ordered: Sequence[float], q: float) -> float:
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] / 2 - ordered[below] / 2) * 2 * (at - below)


def _core(ordered: Sequence[float]) -> tuple[float, float]:
    """The range of values without the few that lie far from the rest: beyond what noise of this width reaches."""
    low, middle, high = (_quantile(ordered, q) for q in (0.05, 0.5, 0.95))
    return max(ordered[0], low - (middle - low) * 0.75), min(ordered[-1], high + (high - middle) * 0.75)


def _nice(step: float) -> float:
    """The next number of the row 1, 2, 5, 10 that is not smaller."""
    power = _power(math.floor(math.log10(step)))
    return next((n * power for n in (1, 2, 5) if n * power >= step * (1 - 1e-9)), 10 * power)


def _round_out(low: float, high: float) -> tuple[float, float]:
    """Limits widened to round numbers, so that they stay where they are while a run grows."""
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
    """The y-range in which the curves are read best, rounded outwards to numbers that axes like.

    It is the range of the values after the first ``warmup`` (a share of the x seen so far), of which the few that lie
    beyond the usual noise are left out: a full-range chart of a fine-tuning run is a cliff and a flat line. Where that
    would save little, and with ``full``, nothing is left out. The last point of every curve stays in unless it is many
    ranges away, and so do points (evals). Learning rates are shown whole, they and gradient norms from 0.

    The result is finite and never empty: a flat curve gets a small band, no data (-0.5, 0.5), with ``log_y`` (0.1, 10).
    """
    wanted = []
    for curve in curves:
        points = [
            (x, math.log10(y) if log_y else y)
            for x, y in zip(curve.xs, curve.ys, strict=False)
            if math.isfinite(y) and math.isfinite(x) and (y > _LEAST or not log_y)
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
    low, high = _range(low, high)
    if log_y and high - low >= 1:
        steps = (0.0, math.log10(2), math.log10(5), 1.0)
        down, up = math.floor(low + 1e-9), math.floor(high - 1e-9)
        low = down + max(s for s in steps if down + s <= low + 1e-9)
        high = up + min(s for s in steps if up + s >= high - 1e-9)
        bottom, top = float(f"{_power(low):.6g}"), float(f"{_power(high):.6g}")
    elif log_y:
        bottom, top = _round_out(_power(low), _power(high))
        if bottom <= 0:
            bottom = _power(low)
    else:
        bottom, top = _round_out(low, high)
    if not bottom < top:
        bottom, top = _range(bottom, top)
    shown = (_log(bottom), _log(top)) if log_y else (bottom, top)
    slack = (shown[1] / 2 - shown[0] / 2) * 1e-9
    return Limits(
        bottom,
        top,
        sum(y > shown[1] + slack for y in everything),
        sum(y < shown[0] - slack for y in everything),
    )


def _core_of_all(wanted: Sequence[tuple[Curve, list[tuple[float, float]]]], start: float) -> tuple[float, float]:
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
    xs: Sequence[float], ys: Sequence[float], x_min: float, x_max: float, columns: int
) -> tuple[list[float], list[float]]:
    """What a line through ``columns`` cells needs of a curve: per column the first, least, greatest and last value.

    Their order is kept, and a nan stands wherever values that are not finite lay between, before or after them, so no
    spike and no gap is lost. The nearest point on each side of the view is kept too, for the line that enters it.
    ``xs`` must be finite and never decrease. Sequences are sliced: give lists or arrays.
    """
    size = min(len(xs), len(ys))
    if columns <= 0 or not size:
        return [], []
    x_min, x_max = _range(x_min, x_max)
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
        column_of = _columns_of(x_min, x_max, columns)
        at = begin
        while at < end:
            stop = max(bisect_left(xs, column_of(xs[at]) + 1, at, end, key=column_of), at + 1)
            for i in _telling(ys[at:stop]):
                out_x.append(xs[at + i])
                out_y.append(_gap(ys[at + i]))
            at = stop
    if end < size:
        out_x.append(xs[end])
        out_y.append(_gap(ys[end]))
    return out_x, out_y


def _gap(y: float) -> float:
    return y if math.isfinite(y) else math.nan


def _telling(ys: Sequence[float]) -> list[int]:
    """The indices of the first, least, greatest and last finite value, and of one value of each gap around them."""
    last = len(ys) - 1
    if math.isfinite(sum(ys)):
        return sorted({0, ys.index(min(ys)), ys.index(max(ys)), last})
    finite = [i for i, y in enumerate(ys) if math.isfinite(y)]
    if not finite:
        return [0]
    kept = sorted({finite[0], min(finite, key=ys.__getitem__), max(finite, key=ys.__getitem__), finite[-1]})
    gaps = set(range(last + 1)).difference(finite)
    telling: list[int] = []
    for before, after in zip([-1, *kept], [*kept, last + 1], strict=True):
        hole = next((i for i in range(before + 1, after) if i in gaps), None)
        telling += [i for i in (hole, after) if i is not None and i <= last]
    return telling


# --- ticks -----------------------------------------------------------------------------------------------------------

_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def _decimals(values: Iterable[float], most: int) -> int:
    """How many decimals write every value exactly, or ``most + 1`` where that many do not."""
    values = list(values)
    near = max(map(abs, values), default=0.0) * 1e-9
    return next((d for d in range(most + 1) if all(abs(round(v, d) - v) <= near for v in values)), most + 1)


def _labels(values: Sequence[float], least: int = 0) -> list[str]:
    """All values in one notation, at most about eight characters each: ``1.50``, ``2e-04``, ``344k``."""
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
        texts = [f"{v:.{digits}e}" if v else "0" for v in values]
        if all(abs(float(t) - v) <= abs(v) * 1e-6 for t, v in zip(texts, values, strict=True)):
            break
    return texts


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, min(last, first + 100) + 1)]


def _y_ticks(low: float, high: float, rows: int, log_y: bool) -> list[tuple[float, str]]:
    """Values and labels on the y-axis, at least two rows apart; ``low`` and ``high`` are finite and in order."""
    if rows < 2:
        return []
    most = max((rows - 1) // 3, 1)
    if log_y and high / low >= 10:
        return _log_ticks(low, high, most)
    span = high - low
    if not 1e-300 < span < 1e300:
        values = [low, high]
    else:
        # Equal parts of the range are best where they are as round as the limits are: both ends get their label.
        unit = _power(math.floor(math.log10(span)))
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
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    room = max(most, 2)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * _power(n) for n in range(first, last + 1) for f in factors]
        values = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(values) <= room + 1:
            break
    every = math.ceil(len(values) / room) if len(values) > room + 1 else 1
    values = values[::every] if len(values) > 1 else [low, high]
    return [(v, _labels([v])[0]) for v in values]


def _x_ticks(view: View, low: float, high: float, columns: int) -> list[tuple[float, str]]:
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
    """Ever longer steps between ticks, the first at least ``least``."""
    if kind == "duration":
        yield from (s for s in _SECONDS if s >= least)
    unit = _SECONDS[-1] if kind == "duration" else 1
    step = max(least / unit, 2.0 if kind == "duration" else 0.0)
    for _ in range(12):
        step = _nice(step)
        yield step * unit
        step *= 1.5


def _duration(seconds: float) -> str:
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


# --- frame and axes --------------------------------------------------------------------------------------------------

_Ticks = tuple[tuple[int, str], ...]


@lru_cache(maxsize=64)
def _axes(columns: int, rows: int, y_ticks: _Ticks, x_ticks: _Ticks, gutter: int) -> tuple[str, ...]:
    """The empty chart, ``rows`` and one more for the x-axis; ticks are ``(row from below or column, label)``."""
    labels = tuple((row, label.rjust(gutter)) for row, label in y_ticks)
    # plotext centres a number on its tick and would begin one at the left end on the corner.
    x_ticks = tuple((min(max(x, len(label) // 2), columns - (len(label) + 1) // 2), label) for x, label in x_ticks)
    try:
        lines = _plotext_axes(columns, rows, labels, x_ticks, gutter)
    except Exception:  # another plotext than the one asked for must not take the chart away
        lines = []
    width = gutter + 1 + columns
    if len(lines) != rows + 2 or any(len(line) != width for line in lines):
        lines = _plain_axes(columns, rows, labels, x_ticks, gutter)
    axis, numbers = lines[rows].replace("┬", "─"), lines[rows + 1]
    merged = "".join(a if n == " " else n for a, n in zip(axis, numbers, strict=True))
    return (*lines[:rows], merged)


def _plotext_axes(columns: int, rows: int, y_ticks: _Ticks, x_ticks: _Ticks, gutter: int) -> list[str]:
    """plotext's drawing of the empty chart: ``rows``, the x-axis, its numbers. Everything is given in cells."""
    import plotext

    left = gutter if y_ticks else 0
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.theme("clear")
    plotext.plotsize(left + 1 + columns, rows + 2)
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    plotext.xlim(0, columns - 1)
    plotext.ylim(0, rows - 1)
    # Without an x label plotext leaves out the row of numbers.
    plotext.xticks([x for x, _ in x_ticks] or [0], [label for _, label in x_ticks] or [" "])
    plotext.yticks([y for y, _ in y_ticks], [label for _, label in y_ticks])
    plotext.scatter([0], [0], marker=" ")
    lines = plotext.uncolorize(plotext.build()).split("\n")[: rows + 2]
    return [" " * (gutter - left) + line for line in lines]


def _plain_axes(columns: int, rows: int, y_ticks: _Ticks, x_ticks: _Ticks, gutter: int) -> list[str]:
    """The same without plotext, for an environment whose plotext is not the one that this was written for."""
    named = dict(y_ticks)
    lines = [
        named.get(row, "").rjust(gutter) + ("┤" if row in named else "│") + " " * columns
        for row in range(rows - 1, -1, -1)
    ]
    numbers = [" "] * columns
    for column, label in x_ticks:
        start = min(max(column - len(label) // 2, 0), max(columns - len(label), 0))
        around = numbers[max(start - 1, 0) : start + len(label) + 1]
        if len(label) <= columns and not "".join(around).strip():
            numbers[start : start + len(label)] = label
    return [*lines, " " * gutter + "└" + "─" * columns, " " * (gutter + 1) + "".join(numbers)]


# --- the chart -------------------------------------------------------------------------------------------------------

_BLANK: Segment = (" ", "")
_LEAST_HEIGHT = 4
"""Below this many rows a chart has no axes."""


class _Plane:
    """The view laid over ``columns`` x ``rows`` cells."""

    def __init__(self, view: View, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.x_min, self.x_max = _range(view.x_min, view.x_max)
        self.log_y = view.log_y
        low, high = view.y_min, view.y_max
        if view.log_y:
            low, high = _log(low), _log(high)
            low = low if math.isfinite(low) or not math.isfinite(high) else high - 6
        self.low, self.high = _range(low, high)
        self.x = _scale(self.x_min, self.x_max, max(columns, 1) * DOTS_X)
        self._y = _scale(self.low, self.high, max(rows, 1) * DOTS_Y)
        slack = (self.high / 2 - self.low / 2) * 1e-9
        self.least, self.most = self.low - slack, self.high + slack
        if view.log_y:
            self.least, self.most = _power(self.least), _power(self.most)

    def y(self, value: float) -> int | None:
        """The dot, counted from below, of a value; ``None`` for what cannot be drawn."""
        if self.log_y:
            value = _log(value)
        return self._y(value) if math.isfinite(value) else None

    def side(self, value: float) -> int:
        """1 above the view, -1 below it, 0 in it or nowhere."""
        if self.least <= value <= self.most or self.y(value) is None:
            return 0
        return 1 if value > self.most else -1

    def column(self, x: float) -> int | None:
        """The cell column of ``x``, ``None`` outside the view."""
        return self.x(x) // DOTS_X if self.x_min <= x <= self.x_max else None

    def y_ticks(self) -> _Ticks:
        """``(row from below, label)``, every row and every label once."""
        if self.log_y:
            low, high = _power(self.low), _power(self.high)
        else:
            low, high = self.low, self.high
        taken: dict[int, str] = {}
        for value, label in _y_ticks(low, high, self.rows, self.log_y):
            dot = self.y(value)
            if dot is not None and 0 <= dot < self.rows * DOTS_Y and label not in taken.values():
                taken.setdefault(dot // DOTS_Y, label)
        return tuple(taken.items())


def draw(
    curves: Sequence[Curve],
    marks: Iterable[Mark],
    view: View,
    width: int,
    height: int,
    glyphs: Glyphs = UNICODE,
) -> Frame:
    """The chart in ``width`` x ``height`` cells, the x-axis in the last row; later curves lie over earlier ones.

    ``raw`` curves lie under all lines, points over all lines. A point above or below the view shows as an arrow in the
    top or bottom row of its column. Epochs and resumes are columns of their own through cells that are empty; nan,
    resume and checkpoint marks stand on the x-axis, the first two right above it where a number stands there. Below 4
    rows there are no axes; where there is no room at all the rows are blank. Any number of points can be given, but see
    :func:`decimate`.
    """
    width, height = max(width, 0), max(height, 0)
    with_axes = height >= _LEAST_HEIGHT
    rows = height - 1 if with_axes else height
    y_ticks = _Plane(view, 1, rows).y_ticks() if with_axes else ()
    gutter = max([view.gutter, 0, *(len(label) for _, label in y_ticks)])
    left = gutter + 1 if with_axes else 0
    if width - left < 3 or rows < 1:
        return Frame(width, height, [[(" " * width, "")] if width else [] for _ in range(height)])
    plane = _Plane(view, width - left, rows)

    margin: list[list[Segment]] = [[] for _ in range(rows)]
    axis: list[Segment] = []
    if with_axes:
        empty = _axes(plane.columns, rows, y_ticks, _x_columns(view, plane), gutter)
        shapes = str.maketrans("│┤└─", glyphs.axis)
        for row in range(rows):
            margin[row] = [(empty[row][:gutter], "label"), (empty[row][gutter].translate(shapes), "axis")]
        axis = [(char.translate(shapes), "axis") if char == "─" else (char, "label") for char in empty[rows][left:]]
        _write_at_end(axis, _x_name(view, plane.columns))

    grid = _draw_lines(plane, curves, glyphs)
    _draw_arrows(plane, grid, curves, glyphs)
    _draw_marks(plane, grid, axis, marks, glyphs)
    _draw_points(plane, grid, curves, glyphs)
    lines = [_join(margin[row] + grid[row]) for row in range(rows)]
    if with_axes:
        lines.append(_join([(" " * gutter, ""), (glyphs.axis[2], "axis"), *axis]))
    return Frame(width, height, lines, left, plane.columns, rows, plane.x_min, plane.x_max)


def _x_columns(view: View, plane: _Plane) -> _Ticks:
    ticks = [(plane.x(x) // DOTS_X, label) for x, label in _x_ticks(view, plane.x_min, plane.x_max, plane.columns)]
    name = _x_name(view, plane.columns)
    room = plane.columns - (cell_width(name) + 2 if name else 0)
    return tuple((at, label) for at, label in ticks if not name or at + len(label) <= room)


def _x_name(view: View, columns: int) -> str:
    return clip(clean(view.x_label), columns // 3)


def _write_at_end(axis: list[Segment], text: str) -> None:
    size = cell_width(text)
    if not text:
        return
    cells: list[Segment] = [_BLANK]
    for char in text:
        if cell_width(char):
            cells += [(char, "label"), *[("", "label")] * (cell_width(char) - 1)]
        else:
            cells[-1] = (cells[-1][0] + char, "label")
    axis[-size - 1 :] = cells


def _draw_lines(plane: _Plane, curves: Sequence[Curve], glyphs: Glyphs) -> list[list[Segment]]:
    canvas = BrailleCanvas(plane.columns, plane.rows)
    lines = [curve for curve in curves if curve.style == "line"]
    lines.sort(key=lambda curve: curve.role != "raw")
    floor = canvas.height - 1
    for layer, curve in enumerate(lines):
        before: tuple[int, int] | None = None
        for x, y in zip(curve.xs, curve.ys, strict=False):
            up = plane.y(y)
            if up is None or not math.isfinite(x):
                before = None
                continue
            here = plane.x(x), floor - up
            if before is None:
                canvas.dot(*here, layer)
            else:
                canvas.line(*before, *here, layer)
            before = here
    tables = {layer: glyphs.raw if curve.role == "raw" else glyphs.line for layer, curve in enumerate(lines)}
    roles = [curve.role for curve in lines]
    return [[_BLANK if layer is None else (char, roles[layer]) for char, layer in row] for row in canvas.rows(tables)]


def _draw_marks(
    plane: _Plane, grid: list[list[Segment]], axis: list[Segment], marks: Iterable[Mark], glyphs: Glyphs
) -> None:
    columns: dict[str, set[int]] = {}
    for mark in marks:
        column = plane.column(mark.x)
        if column is not None:
            columns.setdefault(mark.kind, set()).add(column)
    for kind, char in (("resume", glyphs.resume_line), ("epoch", glyphs.epoch)):
        for column in columns.get(kind, ()):
            for cells in grid:
                if cells[column] == _BLANK:
                    cells[column] = (char, kind)
    numbers = [role == "label" or char in ("", " ") for char, role in axis] or [True] * plane.columns
    for kind, char in (("checkpoint", glyphs.checkpoint), ("resume", glyphs.resume), ("nan", glyphs.nan)):
        for column in columns.get(kind, ()):
            if not numbers[column]:
                axis[column] = (char, kind)
            elif kind != "checkpoint":
                grid[-1][column] = (char, kind)


def _draw_arrows(plane: _Plane, grid: list[list[Segment]], curves: Sequence[Curve], glyphs: Glyphs) -> None:
    least, most = plane.least, plane.most
    for curve in curves:
        for x, y in zip(curve.xs, curve.ys, strict=False):
            if least <= y <= most:
                continue
            side = plane.side(y)
            column = plane.column(x) if side else None
            if column is not None:
                grid[0 if side > 0 else -1][column] = (glyphs.up if side > 0 else glyphs.down, "clip")


def _draw_points(plane: _Plane, grid: list[list[Segment]], curves: Sequence[Curve], glyphs: Glyphs) -> None:
    for curve in curves:
        if curve.style != "points":
            continue
        mark = glyphs.point or (curve.mark if cell_width(curve.mark) == 1 else "*")
        for x, y in zip(curve.xs, curve.ys, strict=False):
            up, column = plane.y(y), plane.column(x)
            if up is not None and column is not None and not plane.side(y):
                grid[-1 - up // DOTS_Y][column] = (mark, curve.role)


def _join(cells: Iterable[Segment]) -> list[Segment]:
    """Neighbours of one role as one segment."""
    return [("".join([char for char, _ in same]), role) for role, same in groupby(cells, itemgetter(1))]


def draw_spark(values: Iterable[float], width: int, glyphs: Glyphs = UNICODE) -> str:
    """The values as one line of ``width`` cells, the newest at its right end; a value that is not finite is a gap.

    More values than cells are averaged cell by cell; fewer leave the left cells blank. Flat values lie in the middle.
    """
    width = max(width, 0)
    given = list(values)
    if not given or not width:
        return " " * width
    cells: list[float] = []
    slots = min(width, len(given))
    for slot in range(slots):
        part = [v for v in given[slot * len(given) // slots : (slot + 1) * len(given) // slots] if math.isfinite(v)]
        cells.append(sum(v / len(part) for v in part) if part else math.nan)
    finite = [v for v in cells if math.isfinite(v)]
    if not finite:
        return " " * width
    low, high = min(finite), max(finite)
    steps = glyphs.spark
    if low == high:
        text = "".join(steps[len(steps) // 2 - 1] if math.isfinite(v) else " " for v in cells)
    else:
        level = _scale(*_range(low, high), len(steps))
        text = "".join(steps[min(max(level(v), 0), len(steps) - 1)] if math.isfinite(v) else " " for v in cells)
    return text.rjust(width)
