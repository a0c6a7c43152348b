"""Draw curves in terminal cells: axes like plotext's and a braille canvas for the data.

plotext itself takes 20 ms to load and 8 to 15 ms for a chart, raises on an infinity and places the numbers of an axis
in an order that changes from process to process; it draws the charts of reports, where time matters less.

The functions here are pure: they turn numbers into rows of ``(text, role)``. A role is a key into the caller's styles:
the role of a curve, or ``axis``, ``label``, ``clip``, ``epoch``, ``resume``, ``nan`` and ``checkpoint``; blank cells
have the role ``""``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from lora_tui.charts.axes import decimate, limits
from lora_tui.charts.axes import x_ticks as _x_numbers
from lora_tui.charts.axes import y_ticks as _y_numbers
from lora_tui.charts.canvas import DOTS_X, DOTS_Y, BrailleCanvas
from lora_tui.charts.model import (
    ASCII,
    UNICODE,
    Curve,
    Frame,
    Glyphs,
    Limits,
    Mark,
    Segment,
    View,
    dot_scale,
    drawable_range,
    log10,
    power10,
)
from lora_tui.text.cells import cell_width, clip
from lora_tui.text.sanitize import clean

__all__ = [
    "ASCII", "UNICODE", "Curve", "Frame", "Glyphs", "Limits", "Mark", "View", "decimate", "draw",
    "draw_spark", "limits",
]  # fmt: skip

# --- frame and axes --------------------------------------------------------------------------------------------------

_Ticks = tuple[tuple[int, str], ...]
"""Cell row from below, or cell column, of each tick, with its label."""


@lru_cache(maxsize=64)
def _axes(columns: int, rows: int, y_ticks: _Ticks, x_ticks: _Ticks, gutter: int) -> tuple[str, ...]:
    """Return the lines of an empty chart: ``rows``, and one more for the x-axis.

    Ticks are ``(row from below or column, label)``.
    """
    named = {row: label.rjust(gutter) for row, label in y_ticks}
    lines = [
        named.get(row, " " * gutter) + ("┤" if row in named else "│") + " " * columns for row in range(rows - 1, -1, -1)
    ]
    numbers = [" "] * columns
    for column, label in x_ticks:
        # Centred on its tick, but clear of the corner and the right end.
        start = min(max(column - len(label) // 2, 0), max(columns - len(label), 0))
        around = numbers[max(start - 1, 0) : start + len(label) + 1]
        if len(label) <= columns and not "".join(around).strip():
            numbers[start : start + len(label)] = label
    axis = "".join("─" if number == " " else number for number in numbers)
    return (*lines, " " * gutter + "└" + axis)


# --- the chart -------------------------------------------------------------------------------------------------------

_BLANK: Segment = (" ", "")
_MIN_HEIGHT_WITH_AXES = 4
"""A chart with fewer rows than this has no axes."""


class _Plane:
    """Maps the values of a view to ``columns`` x ``rows`` cells."""

    def __init__(self, view: View, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.x_min, self.x_max = drawable_range(view.x_min, view.x_max)
        self.log_y = view.log_y
        low, high = view.y_min, view.y_max
        if view.log_y:
            low, high = log10(low), log10(high)
            low = low if math.isfinite(low) or not math.isfinite(high) else high - 6
        self.low, self.high = drawable_range(low, high)
        self.x = dot_scale(self.x_min, self.x_max, max(columns, 1) * DOTS_X)
        self._y = dot_scale(self.low, self.high, max(rows, 1) * DOTS_Y)
        slack = (self.high / 2 - self.low / 2) * 1e-9
        self.least, self.most = self.low - slack, self.high + slack
        if view.log_y:
            self.least, self.most = power10(self.least), power10(self.most)

    def y(self, value: float) -> int | None:
        """Return the dot of a value, counted from below; None for what cannot be drawn."""
        if self.log_y:
            value = log10(value)
        return self._y(value) if math.isfinite(value) else None

    def side(self, value: float) -> int:
        """Return 1 for a value above the view, -1 below it, 0 in it or for what cannot be drawn."""
        if self.least <= value <= self.most or self.y(value) is None:
            return 0
        return 1 if value > self.most else -1

    def column(self, x: float) -> int | None:
        """Return the cell column of ``x``, None outside the view."""
        return self.x(x) // DOTS_X if self.x_min <= x <= self.x_max else None

    def y_ticks(self) -> _Ticks:
        """Return the ticks of the y-axis, with every row and every label once."""
        if self.log_y:
            low, high = power10(self.low), power10(self.high)
        else:
            low, high = self.low, self.high
        taken: dict[int, str] = {}
        for value, label in _y_numbers(low, high, self.rows, self.log_y):
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
    """Draw a chart of ``width`` x ``height`` cells with the x-axis in the last row.

    Later curves are drawn over earlier ones, ``raw`` curves below all lines and points above them. A point above or
    below the view is an arrow in the top or bottom row of its column. Epochs and resumes are vertical lines through
    empty cells; nan, resume and checkpoint marks are on the x-axis, the first two right above it where the axis has a
    number. Below 4 rows there are no axes; where there is no room at all the rows are blank. Any number of points can
    be given, but see :func:`decimate`.
    """
    width, height = max(width, 0), max(height, 0)
    with_axes = height >= _MIN_HEIGHT_WITH_AXES
    rows = height - 1 if with_axes else height
    # A curve of NaN alone has no range: numbers beside it would look like data.
    has_values = not curves or any(math.isfinite(value) for curve in curves for value in curve.ys)
    y_ticks = _Plane(view, 1, rows).y_ticks() if with_axes and has_values else ()
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
    """Return the ticks of the x-axis that leave room for its name."""
    ticks = [(plane.x(x) // DOTS_X, label) for x, label in _x_numbers(view, plane.x_min, plane.x_max, plane.columns)]
    name = _x_name(view, plane.columns)
    room = plane.columns - (cell_width(name) + 2 if name else 0)
    return tuple((at, label) for at, label in ticks if not name or at + len(label) <= room)


def _x_name(view: View, columns: int) -> str:
    """Return the name of the x-axis, cut to a third of the ``columns``."""
    return clip(clean(view.x_label), columns // 3)


def _write_at_end(axis: list[Segment], text: str) -> None:
    """Write a blank and ``text`` into the last cells of the x-axis."""
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
    """Return the rows of cells with all curves of the style ``line``, the top row first."""
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
    """Draw marks into the cells of the plot (``grid``) and of the x-axis (empty where the chart has no axes)."""
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
    """Draw an arrow at the edge of the plot for every point above or below the view."""
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
    """Draw the points in the view of all curves of the style ``points``."""
    for curve in curves:
        if curve.style != "points":
            continue
        mark = glyphs.point or (curve.mark if cell_width(curve.mark) == 1 else "*")
        for x, y in zip(curve.xs, curve.ys, strict=False):
            up, column = plane.y(y), plane.column(x)
            if up is not None and column is not None and not plane.side(y):
                grid[-1 - up // DOTS_Y][column] = (mark, curve.role)


def _join(cells: Iterable[Segment]) -> list[Segment]:
    """Join neighbouring cells of one role into one segment."""
    return [("".join([char for char, _ in same]), role) for role, same in groupby(cells, itemgetter(1))]


def draw_spark(values: Iterable[float], width: int, glyphs: Glyphs = UNICODE) -> str:
    """Draw the values as one line of ``width`` cells, the newest at its right end.

    A value that is not finite is a gap. More values than cells are averaged cell by cell; fewer leave the left cells
    blank. Flat values lie in the middle.
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
        level = dot_scale(*drawable_range(low, high), len(steps))
        text = "".join(steps[min(max(level(v), 0), len(steps) - 1)] if math.isfinite(v) else " " for v in cells)
    return text.rjust(width)
