"""Lines of styled text, which every pane is made of. Widths are terminal cells.

A line is a list of spans ``(text, role)``; a role is a name of :mod:`lora_tui.tui.theme`, so a line knows nothing of
colours and can be compared, tested and cached as plain data. Nothing in it is ever read as markup. After an ``@`` a
role may name the Textual action that a click on the span runs (:func:`clickable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lora_tui.text.cells import cell_width, clip, is_narrow
from lora_tui.text.spans import Line as Line
from lora_tui.text.spans import Span as Span

CLICK = "@"
"""Separates the look of a role from the action of a click: ``muted|bold@app.open``."""
NEAR = 12
"""Cells between two changes that are sent as one, at most: to move the cursor and set a style costs more."""
SENTENCE = 40
"""Cells of a text from which on it is worth reading even if its end is cut."""


def clickable(line: Iterable[Span], action: str) -> Line:
    """Return the line with every span running the Textual action ``action`` (as ``app.open``) when clicked."""
    return [(text, f"{role}{CLICK}{action}") for text, role in line]


def look_of(span: Span) -> str:
    """Return the role of a span without the action of a click."""
    return span[1].partition(CLICK)[0]


def width_of(line: Iterable[Span]) -> int:
    """Return the width of a line."""
    return sum(cell_width(text) for text, _ in line)


def cut(line: Iterable[Span], width: int) -> Line:
    """Return the line cut to at most ``width`` cells."""
    out: Line = []
    left = width
    for text, role in line:
        cells = cell_width(text)
        if cells > left:
            out.append((clip(text, left), role))
            break
        out.append((text, role))
        left -= cells
    return out


def fill(line: Iterable[Span], width: int) -> Line:
    """Return the line cut or padded to exactly ``width`` cells."""
    out = cut(line, width)
    gap = width - width_of(out)
    if gap > 0:
        out.append((" " * gap, "text"))
    return out


def spread(left: Iterable[Span], right: Iterable[Span], width: int, role: str = "text", filler: str = " ") -> Line:
    """Return ``left`` and ``right`` at the two ends of ``width`` cells; where both do not fit, ``left`` is cut."""
    right = cut(right, width)
    room = width - width_of(right)
    out = cut(left, max(0, room - 1) if right else room)
    gap = room - width_of(out)
    if gap > 0:
        out.append((filler * gap, role))
    return [*out, *right]


def joined(parts: Iterable[Sequence[Span]], width: int, gap: Span = ("   ", "text")) -> Line:
    """Return the parts that fit in ``width``, in order; a part that does not is left out, a long sentence cut."""
    out: Line = []
    used = 0
    for part in parts:
        if not part:
            continue
        cells = width_of(part)
        lead = cell_width(gap[0]) if out else 0
        if used + lead + cells > width:
            room = width - used - lead
            if out and (cells <= SENTENCE or room < SENTENCE // 2):
                continue
            part, cells = cut(part, room), room
        if out:
            out.append(gap)
        out.extend(part)
        used += lead + cells
    return out


def box(rows: Sequence[Line], width: int, height: int, title: Line, note: Line, role: str = "border") -> list[Line]:
    """Return a frame of ``width`` × ``height`` around ``rows``, with ``title`` at its upper left and ``note`` right."""
    if height < 2:
        return [fill([], width)]
    return [box_head(width, title, note, role), *box_body(rows, width, height, role)]


def box_head(width: int, title: Line, note: Line, role: str = "border") -> Line:
    """Return the upper border of a frame."""
    right: Line = [(" ", role), *cut(note, width // 2), (" ─╮", role)] if note else [("─╮", role)]
    room = width - width_of(right) - 5
    left: Line = [("╭─ ", role), *cut(title, room), (" ", role)] if title and room > 0 else [("╭─", role)]
    return [*left, ("─" * max(0, width - width_of(left) - width_of(right)), role), *right]


def box_body(rows: Sequence[Line], width: int, height: int, role: str = "border") -> list[Line]:
    """Return a frame below its upper border."""
    inner = max(0, width - 4)
    out: list[Line] = []
    for index in range(max(0, height - 2)):
        row = rows[index] if index < len(rows) else []
        out.append([("│ ", role), *fill(row, inner), (" │", role)])
    out.append([("╰" + "─" * max(0, width - 2) + "╯", role)])
    return out


def changed(old: Line, new: Line) -> list[tuple[int, int]]:
    """Return where two lines of equal width differ: (first cell, number of cells) of each stretch, left to right."""
    if old == new:
        return []
    before, after = _cells(old), _cells(new)
    if len(before) != len(after):
        return [(0, max(len(before), len(after)))]
    out: list[tuple[int, int]] = []
    for place, (left, right) in enumerate(zip(before, after, strict=True)):
        if left == right:
            continue
        first = place
        # A wide character can only be repainted whole.
        while first and not (after[first][0] and before[first][0]):
            first -= 1
        last = place + 1
        while last < len(after) and not (after[last][0] and before[last][0]):
            last += 1
        if out and first - sum(out[-1]) <= NEAR:
            first = out.pop()[0] if out[-1][0] <= first else first
        out.append((first, last - first))
    return out


def _cells(line: Line) -> list[Span]:
    out: list[Span] = []
    for span in line:
        # Another action alone is nothing to paint.
        text, role = span[0], look_of(span)
        if is_narrow(text):
            out.extend((char, role) for char in text)
            continue
        for char in text:
            cells = cell_width(char)
            if cells:
                out.append((char, role))
                if cells == 2:
                    out.append(("", role))
            elif out:
                out[-1] = (out[-1][0] + char, role)
    return out
