"""What a chart is made of and what comes out of one: numbers in, rows of ``(text, role)`` out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lora_tui.charts.canvas import BLOCKS as BLOCK_CELLS
from lora_tui.charts.canvas import BRAILLE, DOTS_X, ascii_cells
from lora_tui.records.extremes import Extremes

Role = str
Segment = tuple[str, Role]


def dot_scale(low: float, high: float, dots: int) -> Callable[[float], int]:
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


def columns_of(x_min: float, x_max: float, columns: int) -> Callable[[float], int]:
    """The map from x to the column of cells that it lands in, not bounded to the columns there are."""
    dot = dot_scale(x_min, x_max, columns * DOTS_X)
    return lambda x: dot(x) // DOTS_X


LEAST = 1e-300
"""What a logarithmic axis takes for 0; also the least range of any axis."""


def widened(low: float, high: float) -> tuple[float, float]:
    """A range that can be drawn: finite, not empty, the right way round."""
    low = low if math.isfinite(low) else high if math.isfinite(high) else 0.0
    high = high if math.isfinite(high) else low
    if low > high:
        low, high = high, low
    middle = low / 2 + high / 2
    if high - low > abs(middle) * 1e-12 and high - low > LEAST:
        return low, high
    band = abs(middle) * 0.05 if abs(middle) > 1e-290 else 0.5
    return max(middle - band, -1.7e308), min(middle + band, 1.7e308)


def log10(value: float) -> float:
    """The logarithm, nan for what a logarithmic axis cannot show."""
    return math.log10(value) if value > LEAST else math.nan


def power10(exponent: float) -> float:
    """The inverse of log10, kept inside what a float can hold."""
    return math.pow(10.0, min(max(exponent, -307.0), 308.0))


# --- the range of y --------------------------------------------------------------------------------------------------


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
    extremes: Extremes | None = None
    """Finds the least and greatest of ``ys``; without it all of them are looked at."""


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
    """256 characters, indexed as :data:`~lora_tui.charts.canvas.BRAILLE` is."""
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
        return self.plot_left + columns_of(self.x_min, self.x_max, self.plot_width)(x)

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
