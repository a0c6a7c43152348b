"""Where every pane goes: a pure function of the terminal's size and of what there is to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

NARROW = 100
"""Cells of width below which the run list is a drawer over the other panes."""
LEAST_WIDTH, LEAST_HEIGHT = 60, 18
"""Cells below which there is one line of text and nothing else."""


class Rect(NamedTuple):
    """The place of a pane in cells, from the upper left corner of the screen."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Content:
    """What there is to show: numbers of things, and what is open."""

    runs: int = 0
    page: str = "overview"
    drawer: bool = False
    cards: int = 0
    findings: int = 0
    results: int = 0
    """Lines that would fill the results pane; 0 where there are no results."""
    charts: int = 0
    """Number of small charts that have data, 0 to 2."""
    excerpt: int = 0
    """Lines of the log of a failed run."""


def place_panes(width: int, height: int, content: Content) -> dict[str, Rect]:
    """Return the place of each pane by name. A pane without a place is not shown."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return {"line": Rect(0, 0, width, height)}
    out: dict[str, Rect] = {"footer": Rect(0, height - 1, width, 1)}
    top, bottom = 0, height - 1
    if height >= 30:
        out["top"] = Rect(0, 0, width, 1)
        top = 1
    if content.runs == 0:
        out["loss"] = Rect(0, top, width, bottom - top)
        return out
    left = list_width(width, content.runs)
    if left:
        out["runs"] = Rect(0, top, left, bottom - top)
    elif content.drawer:
        out["runs"] = Rect(0, top, min(44, width - 8), bottom - top)
    out.update(_main(left, top, width - left, bottom - top, content))
    return out


def list_width(width: int, runs: int) -> int:
    """Return the cells of the run list beside the other panes; 0 where it is a drawer.

    A single run has a list only in a wide terminal.
    """
    if width < NARROW or (runs == 1 and width < 160):
        return 0
    return 32 if width < 112 else 34 if width < 140 else 38 if width < 180 else 44


def _main(x: int, y: int, width: int, height: int, content: Content) -> dict[str, Rect]:
    out: dict[str, Rect] = {}
    head = 5 if height >= 28 else 3 if height >= 19 else 2
    out["head"] = Rect(x, y, width, head)
    y, height = y + head, height - head
    if content.page != "overview":
        out["page"] = Rect(x, y, width, height)
        return out

    below: list[tuple[str, int]] = []
    findings = _findings(height, content)
    if findings:
        below.append(("findings", findings))
    if content.cards and height >= 20:
        below.insert(0, ("cards", 8 if height >= 42 and content.cards > cards_across(width) else 4))
    chart = height - sum(rows for _, rows in below)
    middle = _middle(chart, content)
    out["loss"] = Rect(x, y, width, chart - middle)
    y += chart - middle
    if middle:
        out.update(_middle_row(x, y, width, middle, content))
        y += middle
    for name, rows in below:
        out[name] = Rect(x, y, width, rows)
        y += rows
    return out


def cards_across(width: int) -> int:
    """Return how many cards one row of this width has."""
    return max(1, width // 20)


def _findings(height: int, content: Content) -> int:
    if not content.findings:
        return 0
    if height < 18:
        return 1
    most = 3 if height < 36 else 4 if height < 46 else 6
    return 2 + min(most, max(1, content.findings))


def _middle(chart: int, content: Content) -> int:
    """Return the rows between the loss chart and the cards; the loss chart keeps the larger part."""
    if content.excerpt:
        rows = min(content.excerpt + 2, chart - 9)
        return rows if rows >= 4 else 0
    if content.results:
        # The small chart beside it needs 7 rows to be read.
        rows = max(7, min(content.results + 2, chart * 45 // 100))
        return rows if chart - rows >= 9 else 0
    if content.charts:
        rows = chart * 3 // 10
        return min(rows, 13) if rows >= 6 else 0
    return 0


def _middle_row(x: int, y: int, width: int, height: int, content: Content) -> dict[str, Rect]:
    if content.excerpt:
        return {"excerpt": Rect(x, y, width, height)}
    names: list[tuple[str, int]] = []
    if content.results:
        names.append(("results", 5))
    if content.charts and (not content.results or width >= 84):
        names.append(("lr", 3 if content.results else 1))
    if content.charts > 1 and (not content.results or width >= 140):
        names.append(("own", 3 if content.results else 1))
    total = sum(weight for _, weight in names)
    out: dict[str, Rect] = {}
    used = 0
    for index, (name, weight) in enumerate(names):
        cells = width - used if index == len(names) - 1 else width * weight // total
        out[name] = Rect(x + used, y, cells, height)
        used += cells
    return out
