"""Width of text in terminal cells: measure, cut, pad and wrap.

Uses the standard library alone, so that every front end can use it. The widths come from ``unicodedata`` because the
``wcwidth`` package costs 30-60 ms to import; tests compare them with those of Rich, by which Textual lays out the app.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

ELLIPSIS = "…"

# Letters and marks that combine with the character before them although their Unicode category does not show it.
_JOINING = ((0x1160, 0x11FF), (0xD7B0, 0xD7FB), (0x1F3FB, 0x1F3FF))
# Wide since Unicode 16; older versions of Python list them as narrow.
_WIDE_SINCE_16 = ((0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF), (0x1D300, 0x1D376))
# Blocks whose unassigned code points will be wide once a later Unicode version assigns them.
_WIDE_BLOCKS = ((0x17000, 0x18DFF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1FAFF), (0x20000, 0x3FFFD))

_NARROW = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u02ff\u2500-\u25fc\u2800-\u28ff]*")
"""Match text whose characters all take one cell: Latin letters, box drawing, block elements and braille."""


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


@lru_cache(maxsize=8192)
def _char_width(char: str) -> int:
    code = ord(char)
    if code < 0x300:
        return 0 if code < 0x20 or 0x7F <= code < 0xA0 or code == 0xAD else 1
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Mc", "Cf", "Cs", "Zl", "Zp") or code == 0x3164 or _within(code, _JOINING):
        return 0
    if category == "Cn":
        return 2 if _within(code, _WIDE_BLOCKS) else 1
    return 2 if unicodedata.east_asian_width(char) in "WF" or _within(code, _WIDE_SINCE_16) else 1


def cell_width(s: str) -> int:
    """Return the number of terminal cells of ``s``: wide (CJK, emoji) 2, combining and control characters 0, others 1.

    Characters of ambiguous width count as 1. Pass text from files through :func:`lora_tui.text.sanitize.clean` first,
    which removes the joiners and variation selectors whose width depends on the terminal.
    """
    return len(s) if is_narrow(s) else sum(map(_char_width, s))


def is_narrow(s: str) -> bool:
    """Return whether one regular expression match shows that every character takes one cell and combines with none.

    It does for most texts, frames and charts, whose width is then their length. Otherwise the width must be computed.
    """
    return _NARROW.fullmatch(s) is not None


def clip(s: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Cut ``s`` to at most ``width`` cells, never through a wide character; a cut text ends in ``ellipsis``.

    Where the ellipsis itself does not fit, the text is cut without one. A width of 0 or less gives an empty string.
    """
    if width <= 0:
        return ""
    if cell_width(s) <= width:
        return s
    room = width - cell_width(ellipsis)
    if room < 0:
        room, ellipsis = width, ""
    end = 0
    while (room := room - _char_width(s[end])) >= 0:
        end += 1
    return s[:end] + ellipsis


def fit(s: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Cut ``s`` as :func:`clip` does, or pad it with spaces on the right, to exactly ``width`` cells."""
    s = clip(s, width, ellipsis)
    return s + " " * (width - cell_width(s))


# Characters that may not begin a line.
_CLOSING = frozenset(",.;:!?)]}%°’”»，。；：！？、）】》」』…·")
# Characters that may not end a line.
_OPENING = frozenset("([{‘“«（【《「『")


def wrap(s: str, width: int, hang: int = 0) -> list[str]:
    """Break ``s`` into lines of at most ``width`` cells; lines after the first are indented by ``hang`` spaces.

    Breaks at spaces and beside wide characters, and inside a word that is longer than a line. No line begins with
    closing punctuation or ends with an opening bracket. ``width`` is raised to ``hang + 4`` where it is smaller.
    """
    width = max(width, hang + 4)
    out: list[str] = []
    line, room = "", width
    for token in _tokens(s):
        size = cell_width(token)
        if size > room and line.strip():
            out.append(line.rstrip())
            line, room = " " * hang, width - hang
            token = token.lstrip(" ")
            size = cell_width(token)
        while size > room:
            end = 1
            while end < len(token) and cell_width(token[: end + 1]) <= room:
                end += 1
            out.append(line + token[:end])
            line, room = " " * hang, width - hang
            token = token[end:]
            size = cell_width(token)
        line += token
        room -= size
    out.append(line.rstrip())
    return out


def _tokens(s: str) -> Iterator[str]:
    """Split ``s`` into the parts between which a line may break: words with the space before them, wide characters."""
    token = ""
    for char in s:
        if token and not _together(token[-1], char):
            yield token
            token = ""
        token += char
    if token:
        yield token


def _together(last: str, char: str) -> bool:
    """Return whether a line may not break between two neighbouring characters."""
    if char in _CLOSING or last in _OPENING or not cell_width(char):
        return True
    if char == " ":
        return last == " "
    return last == " " or not (cell_width(char) == 2 or cell_width(last) == 2)
