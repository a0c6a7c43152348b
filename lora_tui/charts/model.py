"""The data of a chart (curves, marks, view, glyphs) and the frame that is drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lora_tui.charts.canvas import BRAILLE, DOTS_X, ascii_cells
from lora_tui.records.extremes import Extremes

Role = str
"""Key into the caller's styles, such as ``raw``, ``eval``, ``axis`` or ``label``."""
Segment = tuple[str, Role]
"""Text and its role."""


def dot_scale(low: float, high: float, dots: int) -> Callable[[float], int]:
    """Return the function that maps finite values to dots: ``low`` to 0, ``high`` to ``dots`` - 1.

    Dots of values outside the range are limited to 1,000 times ``dots`` on either side. All parts of a chart use this
    function, so that they agree on the column of a value.
    """
    shrink = 1.0 if math.isfinite(high - low) else 0.25
    low *= shrink
    factor = (dots - 1) / (high * shrink - low)
    reach = 1000.0 * dots

    def dot(value: float) -> int:
        at = (value * shrink - low) * factor
        return math.floor((reach if at > reach else -reach if at < -reach else at) + 0.5)

    return dot


def columns_of(x_min: float, x_max: float, columns: int) -> Callable[[float], int]:
    """Return the function that maps x to its cell column, which may be outside of the ``columns`` there are."""
    dot = dot_scale(x_min, x_max, columns * DOTS_X)
    return lambda x: dot(x) // DOTS_X


MIN_POSITIVE = 1e-300
"""Smallest value on a logarithmic axis, and smallest range of any axis."""


def drawable_range(low: float, high: float) -> tuple[float, float]:
    """Return a range that can be drawn, from one that may be infinite, empty or reversed."""
    low = low if math.isfinite(low) else high if math.isfinite(high) else 0.0
    high = high if math.isfinite(high) else low
    if low > high:
        low, high = high, low
    middle = low / 2 + high / 2
    if high - low > abs(middle) * 1e-12 and high - low > MIN_POSITIVE:
        return low, high
    band = abs(middle) * 0.05 if abs(middle) > 1e-290 else 0.5
    return max(middle - band, -1.7e308), min(middle + band, 1.7e308)


def log10(value: float) -> float:
    """Return the decimal logarithm, nan for what a logarithmic axis cannot show."""
    return math.log10(value) if value > MIN_POSITIVE else math.nan


def power10(exponent: float) -> float:
    """Return 10 to the power of ``exponent``, which is limited to -307 to 308."""
    return math.pow(10.0, min(max(exponent, -307.0), 308.0))


@dataclass(frozen=True)
class Curve:
    """One line or one set of points."""

    name: str
    role: Role
    """``raw`` is drawn below all others; ``raw``, ``lr`` and ``grad`` have their own rules for the range of y."""
    xs: Sequence[float]
    """Ascending, equal values allowed."""
    ys: Sequence[float]
    """As many as ``xs``; one that is nan or infinite is a gap in the line."""
    style: Literal["line", "points"] = "line"
    mark: str = "◆"
    """The one-cell character of a point in the style ``points``."""
    extremes: Extremes | None = None
    """Index of ``ys``, so that :func:`~lora_tui.charts.axes.decimate` need not read every value."""


@dataclass(frozen=True)
class Mark:
    """An event at ``x``, drawn on the x-axis or as a vertical line."""

    x: float
    kind: Literal["epoch", "resume", "nan", "checkpoint"]


@dataclass(frozen=True)
class View:
    """The visible range of x and y and the labels of the axes. Limits that are no valid range are replaced by one."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    log_y: bool = False
    x_label: str = ""
    """Name of the x-axis, written at its right end in place of numbers."""
    x_kind: Literal["number", "duration"] = "number"
    """Notation of x: plain numbers, or seconds as ``30s``, ``5m``, ``1h30``, ``2d``."""
    x_ticks: Sequence[tuple[float, str]] | None = None
    """Values of x with their labels (ASCII), for example clock times; None to choose them automatically."""
    gutter: int = 4
    """Minimum width of the y labels in cells, so that charts one above the other can be aligned."""


class Limits(NamedTuple):
    """A range of y."""

    y_min: float
    y_max: float
    above: int
    """Number of points above the range."""
    below: int
    """Number of points below the range."""


@dataclass(frozen=True)
class Glyphs:
    """The characters of a chart, each one cell wide."""

    line: str = BRAILLE
    """256 characters for lines, indexed as :data:`~lora_tui.charts.canvas.BRAILLE` is."""
    raw: str = BRAILLE
    """256 characters for curves of the role ``raw``, to tell them apart where there is no colour."""
    point: str = ""
    """Mark of all curves drawn as points; empty for the mark of each curve."""
    spark: str = "▁▂▃▄▅▆▇█"
    up: str = "▲"
    down: str = "▼"
    epoch: str = "┊"
    resume: str = "»"
    resume_line: str = "╎"
    nan: str = "×"
    checkpoint: str = "┴"
    axis: str = "│┤└─"
    """Characters of the y-axis, a tick on it, the corner and the x-axis."""


UNICODE = Glyphs()
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

    Two frames are equal when they look the same.
    """

    width: int
    height: int
    rows: list[list[Segment]]
    plot_left: int = field(default=0, compare=False)
    """Cell column at which the plot begins; the y labels and the axis are left of it."""
    plot_width: int = field(default=0, compare=False)
    """Width of the plot in cells."""
    plot_height: int = field(default=0, compare=False)
    """Number of rows of the plot, which begins at row 0."""
    x_min: float = field(default=0.0, compare=False)
    x_max: float = field(default=0.0, compare=False)

    def column(self, x: float) -> int | None:
        """Return the cell column of ``x``, None where it is out of the view."""
        if not self.plot_width or not self.x_min <= x <= self.x_max:
            return None
        return self.plot_left + columns_of(self.x_min, self.x_max, self.plot_width)(x)

    def x_at(self, column: int) -> float | None:
        """Return the x in the middle of a cell column (of the mouse, or a crosshair), None outside the plot."""
        at = column - self.plot_left
        if not 0 <= at < self.plot_width:
            return None
        share = (DOTS_X * at + 0.5) / max(DOTS_X * self.plot_width - 1, 1)
        return min(self.x_min + share * (self.x_max - self.x_min), self.x_max)

    def to_plain(self) -> list[str]:
        """Return the rows as text without roles."""
        return ["".join(text for text, _ in row) for row in self.rows]
