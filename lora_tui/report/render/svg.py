"""Draw line charts as inline SVG, for pages of :mod:`lora_tui.report.render.html_page`.

A curve is thinned to about two points a pixel column (the lowest and the highest), so that 100,000 rows cost little and
no spike is lost. Numbers that are not finite are gaps, with a mark at the bottom. Where a few values are so far out
that all others would become a flat line, the frame leaves them out, and a mark at its edge shows each value.

The charts are drawn here, not by a plotting library, because a report needs no more than lines, marks and two axes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from lora_tui.report.render.html_page import SERIES, Html, esc, tag
from lora_tui.text.cells import cell_width
from lora_tui.text.numbers import count, number
from lora_tui.text.sanitize import clean

_T = TypeVar("_T")
WIDTH, HEIGHT = 1000, 300
"""Size of a chart in SVG units, margins included."""
LEFT, RIGHT, TOP, BOTTOM = 58, 30, 14, 40
"""Margins around the frame in SVG units."""
_DASHES = ("", "7 4", "2 3", "10 3 2 3")
MAX_BUCKETS = 400
"""Buckets that a curve is thinned to; each gives about two points."""
MAX_MAGNITUDE = 1e15
"""A number of this size or larger is drawn like one that is not finite, since no axis could show it."""
MAX_MARKS = 40
"""The most marks of one kind (NaN, outside the frame) for a curve: more would cover each other."""


@dataclass(frozen=True)
class Curve:
    """One curve: ``x``, in ascending order, and as many ``y``; values that are not finite are gaps."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 1
    """Number of the colour, from 1 on; numbers above 8 repeat the colours with another dash pattern."""
    style: Literal["line", "raw", "dots"] = "line"
    """``raw`` is thin, pale and behind the others; ``dots`` marks each point of the line, for few values."""
    tag: str = ""
    """One or two letters at the end of the curve, so that curves differ by more than their colour."""


@dataclass(frozen=True)
class Mark:
    """A vertical line at an epoch, a resume or a checkpoint."""

    x: float
    label: str


def figure(
    title: str, curves: Sequence[Curve], x_name: str, *, marks: Iterable[Mark] = (), x_max: float | None = None
) -> Html:
    """Return a chart with title and legend, or empty markup if no curve has a finite value.

    The x-axis reaches at least to ``x_max``.
    """
    thinned = [thin(curve.x, curve.y) for curve in curves]
    xs = [x for points in thinned for x, _ in points]
    ys = [y for points in thinned for _, y in points]
    if not ys:
        return Html("")
    frame = _Frame.around(xs, ys, x_max)
    parts = [*_grid(frame, x_name), *_marks(frame, marks)]
    order = sorted(range(len(curves)), key=lambda at: curves[at].style != "raw")
    for at in order:
        parts.extend(_curve(frame, curves[at], thinned[at]))
    parts.extend(_ends(frame, curves, thinned))
    parts.append(f'<line class="here" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    data = {
        "x": clean(x_name), "from": frame.x0, "to": frame.x1, "left": LEFT, "width": WIDTH - LEFT - RIGHT,
        "curves": [
            {"name": clean(curve.name, 80), "color": _color(curve), "reach": _pointer_reach(points, frame),
             "points": [[_short(x), _short(y)] for x, y in points]}
            for curve, points in zip(curves, thinned, strict=True)
        ],
    }  # fmt: skip
    held = esc(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")), None)
    body = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{esc(title)}" data-curves="{held}">'
        + "".join(parts) + "</svg>"
    )  # fmt: skip
    keys = [] if len(curves) == 1 and not curves[0].tag else [_key(curve) for curve in curves]
    legend = tag("div", Html("".join(keys)), "legend") if keys else ""
    return tag("figure", Html(f"<figcaption>{esc(title)}</figcaption>{body}{legend}"))


def thin(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """Thin a curve to about ``2 * MAX_BUCKETS`` finite points.

    These are the lowest and the highest point of each bucket, and the first and the last point of all.
    """
    total = len(x)
    if total <= 2 * MAX_BUCKETS:
        return [(a, b) for a, b in zip(x, y, strict=True) if abs(a) < MAX_MAGNITUDE and abs(b) < MAX_MAGNITUDE]
    out: list[tuple[float, float]] = []
    for bucket in range(MAX_BUCKETS):
        begin, end = bucket * total // MAX_BUCKETS, (bucket + 1) * total // MAX_BUCKETS
        finite = [at for at in range(begin, end) if abs(y[at]) < MAX_MAGNITUDE and abs(x[at]) < MAX_MAGNITUDE]
        if finite:
            low, high = min(finite, key=y.__getitem__), max(finite, key=y.__getitem__)
            keep = {low, high}
            if not out:
                keep.add(finite[0])
            if bucket == MAX_BUCKETS - 1:
                keep.add(finite[-1])
            out.extend((x[at], y[at]) for at in sorted(keep))
    return out


@dataclass(frozen=True)
class _Frame:
    """The range of values that a chart shows, and the conversion of values to SVG coordinates."""

    x0: float
    x1: float
    y0: float
    y1: float

    @classmethod
    def around(cls, xs: Sequence[float], ys: Sequence[float], x_max: float | None) -> _Frame:
        x0, x1 = min(xs), max(xs)
        if x_max is not None and math.isfinite(x_max):
            x1 = max(x1, x_max)
        # The x-axis begins at 0, unless that would leave a large part of the chart empty.
        x0 = 0.0 if 0 < x0 < 0.4 * x1 else x0
        x1 = x1 if x1 > x0 else x0 + 1.0
        low, high = _bounds(ys)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
        y0 = 0.0 if low >= 0 and low - room < 0.15 * high else low - room
        return cls(x0, x1, y0, high + room)

    def x(self, value: float) -> float:
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the SVG coordinate of a value; a value outside the frame lies at its edge."""
        share = (min(max(value, self.y0), self.y1) - self.y0) / (self.y1 - self.y0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _bounds(ys: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest value that the frame shows.

    These are the extremes, unless they lie more than twice the span of the middle 96 % of the values outside of it.
    """
    ordered = sorted(ys)
    last = len(ordered) - 1
    low, high = ordered[round(last * 0.02)], ordered[round(last * 0.98)]
    span = high - low
    if span > 0:
        low = ordered[0] if ordered[0] >= low - 2 * span else low - 0.5 * span
        high = ordered[-1] if ordered[-1] <= high + 2 * span else high + 0.5 * span
        return low, high
    return ordered[0], ordered[-1]


def _grid(frame: _Frame, x_name: str) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for value in _ticks(frame.y0, frame.y1, max(3, HEIGHT // 55)):
        at = frame.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{esc(_label(value))}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    for value in _ticks(frame.x0, frame.x1, 8):
        yield f'<text x="{frame.x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{esc(_label(value))}</text>'
    yield (f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 7}" text-anchor="middle">{esc(x_name)}</text>')


def _marks(frame: _Frame, marks: Iterable[Mark]) -> Iterator[str]:
    free = -math.inf
    for mark in sorted(marks, key=lambda one: one.x):
        if not frame.x0 < mark.x <= frame.x1:
            continue
        at = frame.x(mark.x)
        yield (
            f'<line class="at" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{esc(mark.label)}</title></line>"
        )
        # A label that would cover another one is left out; the line has it as its title.
        room = 7.0 * cell_width(clean(mark.label, 40))
        if at + 4 + room > WIDTH:
            if at - 4 - room >= free:
                yield f'<text x="{at - 4:.1f}" y="{TOP + 10}" text-anchor="end">{esc(mark.label, 40)}</text>'
            return
        if at >= free:
            yield f'<text x="{at + 4:.1f}" y="{TOP + 10}">{esc(mark.label, 40)}</text>'
            free = at + 14 + room


def _curve(frame: _Frame, curve: Curve, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    color = _color(curve)
    gaps = [
        (x, y) for x, y in zip(curve.x, curve.y, strict=True) if not abs(y) < MAX_MAGNITUDE and abs(x) < MAX_MAGNITUDE
    ]
    css = f"s{color} raw" if curve.style == "raw" else f"s{color}"
    dash = _dash(curve)
    path: list[str] = []
    gap = 0
    before = -math.inf
    for x, y in points:
        while gap < len(gaps) and gaps[gap][0] <= before:
            gap += 1
        broken = not path or (gap < len(gaps) and gaps[gap][0] < x)
        path.append(f"{'M' if broken else 'L'}{frame.x(x):.1f} {frame.y(y):.1f}")
        before = x
    title = f"<title>{esc(curve.name)}</title>"
    yield f'<path class="{css}"{dash} d="{"".join(path)}">{title}</path>'
    if curve.style == "dots" or len(points) == 1:
        for x, y in points:
            yield (
                f'<circle class="f{color}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5">'
                f"<title>{esc(curve.name)}: {esc(number(y, 5))} ({esc(_label(x))})</title></circle>"
            )
    bottom = HEIGHT - BOTTOM
    for x, y in _thin_marks(gaps):
        at = frame.x(x)
        yield (
            f'<path class="nan" d="M{at - 4:.1f} {bottom - 10}l8 8m0-8l-8 8">'
            f"<title>{esc(curve.name)}: {esc(number(y))} ({esc(_label(x))})</title></path>"
        )
    for x, y in _thin_marks([(x, y) for x, y in points if not frame.y0 <= y <= frame.y1]):
        up = y > frame.y1
        tip = TOP if up else bottom
        yield (
            f'<polygon class="beyond" points="{frame.x(x):.1f},{tip} {frame.x(x) - 5:.1f},{tip + (9 if up else -9)} '
            f'{frame.x(x) + 5:.1f},{tip + (9 if up else -9)}"><title>{esc(curve.name)}: {esc(number(y, 5))} '
            f"({esc(_label(x))})</title></polygon>"
        )


def _ends(frame: _Frame, curves: Sequence[Curve], thinned: Sequence[Sequence[tuple[float, float]]]) -> Iterator[str]:
    """Yield the tags at the ends of the curves, moved apart where they would cover each other."""
    ends = [
        (frame.y(points[-1][1]), frame.x(points[-1][0]), curve)
        for curve, points in zip(curves, thinned, strict=True) if curve.tag and points and curve.style != "raw"
    ]  # fmt: skip
    taken: list[tuple[float, float]] = []
    for y, x, curve in sorted(ends, key=lambda end: (end[0], end[1])):
        while any(abs(x - other) < 20 and y - 12 < place for other, place in taken):
            y += 2
        taken.append((x, y))
        yield f'<text class="end f{_color(curve)}" x="{x + 5:.1f}" y="{y + 4:.1f}">{esc(curve.tag, 4)}</text>'


def _key(curve: Curve) -> str:
    css = f"s{_color(curve)} raw" if curve.style == "raw" else f"s{_color(curve)}"
    name = f"{curve.tag} · {curve.name}" if curve.tag else curve.name
    dot = f'<circle class="f{_color(curve)}" cx="14" cy="5" r="3.5"/>' if curve.style == "dots" else ""
    return (
        f'<span><svg viewBox="0 0 28 10" aria-hidden="true"><path class="{css}"{_dash(curve)} d="M0 5L28 5"/>{dot}'
        f"</svg>{esc(name)}</span>"
    )


def _color(curve: Curve) -> int:
    return (curve.color - 1) % SERIES + 1


def _dash(curve: Curve) -> str:
    pattern = _DASHES[(curve.color - 1) // SERIES % len(_DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def _pointer_reach(points: Sequence[tuple[float, float]], frame: _Frame) -> float:
    """Return the largest distance in x between the pointer and the point whose value is shown.

    It is about the distance between two points.
    """
    return max((frame.x1 - frame.x0) / 60, (points[-1][0] - points[0][0]) / len(points) if points else 0.0)


def _thin_marks(items: Sequence[_T]) -> Sequence[_T]:
    return items if len(items) <= MAX_MARKS else items[:: math.ceil(len(items) / MAX_MARKS)]


def _short(value: float) -> float:
    return float(f"{value:.6g}") if abs(value) < 1e6 else value


def _label(value: float) -> str:
    return count(value) if abs(value) >= 1e5 else number(value)


def _ticks(low: float, high: float, about: int) -> Iterator[float]:
    """Yield about ``about`` round values between the bounds."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    at = math.ceil(low / step - 1e-9)
    while at * step <= high + step * 1e-9:
        yield 0.0 if at == 0 else float(f"{at * step:.12g}")
        at += 1
