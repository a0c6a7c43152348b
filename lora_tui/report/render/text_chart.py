"""Draw a chart as lines of text with plotext, for Markdown reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lora_tui.i18n import Words
from lora_tui.report.document import Chart, Line
from lora_tui.text.numbers import number

WIDTH, HEIGHT = 76, 18
"""Size of a chart in characters."""
_MARKERS = {"raw": ("·", "."), "line": ("•", "*"), "points": ("O", "O")}
"""Style of a line -> its character in Unicode and in ASCII. There is no colour, so the shapes differ. They are in every
monospaced font; braille and block characters are not, and browsers would draw them in a font of another width."""
_DRAWING_ORDER = ("raw", "line", "points")
_BORDERS = str.maketrans({"┌": "+", "┐": "+", "└": "+", "┘": "+", "─": "-", "│": "|", "┤": "+", "┬": "+", "┼": "+"})


def draw(chart: Chart, *, ascii_only: bool = False) -> str:
    """Return the chart, :data:`WIDTH` characters wide, or an empty text where there is nothing to draw.

    Values above :func:`top` are left out.
    """
    import plotext

    high = top(chart)
    pieces = [(line, xs, ys) for line in chart.lines for xs, ys in _pieces(line, high)]
    if not pieces:
        return ""
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.theme("clear")
    plotext.plotsize(WIDTH, HEIGHT)
    low, high = min(min(ys) for _, _, ys in pieces), max(max(ys) for _, _, ys in pieces)
    first = min(min(xs) for _, xs, _ in pieces)
    # The x-axis ends at the last row instead of the planned end: there are too few characters to leave most empty.
    last = max(max(max(xs) for _, xs, _ in pieces), first + 1)
    room = (high - low) * 0.02 or abs(high) * 0.05 or 1.0
    plotext.ylim(low - room, high + room)
    plotext.xlim(first, last)
    for line, xs, ys in sorted(pieces, key=lambda piece: _DRAWING_ORDER.index(piece[0].style)):
        draw_one = plotext.plot if line.style == "line" and len(xs) > 1 else plotext.scatter
        draw_one(xs, ys, marker=_MARKERS[line.style][ascii_only])
    across, up = _ticks(first, last, 6, 1.0), _ticks(low, high, 6)
    plotext.xticks(across, [f"{tick:.0f}" for tick in across])
    plotext.yticks(up, _labels(up))
    lines = [line.rstrip() for line in plotext.uncolorize(plotext.build()).split("\n")]
    text = "\n".join(line for line in lines if line)
    return text.translate(_BORDERS) if ascii_only else text


def top(chart: Chart) -> float | None:
    """Return the highest value that the chart shows, or ``None`` if it shows all values.

    The values in the first twentieth of a run may be so high that the rest would be one flat line. They are left out if
    the rest spans less than 60 % of the range.
    """
    points = [(step, value) for line in chart.lines for step, value in zip(line.steps, line.values, strict=True)
              if value is not None]  # fmt: skip
    if len(points) < 20:
        return None
    first, last = min(points)[0], max(points)[0]
    low, high = min(value for _, value in points), max(value for _, value in points)
    later = max((value for step, value in points if step > first + (last - first) / 20), default=high)
    return later + (later - low) * 0.1 if later - low < 0.6 * (high - low) else None


def legend(chart: Chart, words: Words, *, ascii_only: bool = False) -> str:
    """Return a line that names the metric of each shape and, where values are left out, the highest of them."""
    named = [line for line in chart.lines if any(value is not None for value in line.values)]
    text = words.t("list.separator").join(f"{_MARKERS[line.style][ascii_only]} {line.label}" for line in named)
    if top(chart) is not None:
        highest = max(value for line in chart.lines for value in line.values if value is not None)
        above = words.t("report.chart.above", highest=number(highest))
        return words.t("report.with_note", text=text, note=above)
    return text


def _pieces(line: Line, high: float | None) -> Iterator[tuple[list[float], list[float]]]:
    """Yield the pieces of a curve between its gaps and the values that are out of range, which plotext cannot draw."""
    bound = 1e15 if high is None else high
    xs: list[float] = []
    ys: list[float] = []
    for step, value in zip(line.steps, line.values, strict=True):
        if value is not None and -1e15 < value <= bound:
            xs.append(step)
            ys.append(value)
        elif xs:
            yield xs, ys
            xs, ys = [], []
    if xs:
        yield xs, ys


def _labels(values: Sequence[float]) -> list[str]:
    """Format the numbers with as few digits as make them different from each other."""
    for digits in (3, 4, 6, 9):
        texts = [number(value, digits) for value in values]
        if len(set(texts)) == len(values):
            break
    return texts


def _ticks(low: float, high: float, about: int, least: float = 0.0) -> list[float]:
    """Return about ``about`` round numbers between ``low`` and ``high``, at least ``least`` apart."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    each = max(least, next(size * digit for digit in (1, 2, 2.5, 5, 10) if size * digit >= rough * 0.75))
    first = math.ceil(low / each)
    ticks = [at * each for at in range(first, math.floor(high / each) + 1)]
    return ticks if len(ticks) > 1 else [low, high]
