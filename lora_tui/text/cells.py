"""Text as terminal cells, text from files made harmless, and numbers as the user reads them.

Pure Python and without third-party imports, so that every face (terminal, reports, JSON) can use it. Widths come from
``unicodedata`` because the ``wcwidth`` package costs 30-60 ms to import; tests hold them equal to the table by which
the terminal toolkit lays out its cells.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

ELLIPSIS = "…"

# Marks and letters that join the character before them although their category does not say so.
_JOINING = ((0x1160, 0x11FF), (0xD7B0, 0xD7FB), (0x1F3FB, 0x1F3FF))
# Wide since Unicode 16; older Python versions have them narrow.
_LATELY_WIDE = ((0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF), (0x1D300, 0x1D376))
# Blocks where a code point that this Python does not know yet will be wide when it is assigned.
_WIDE_BLOCKS = ((0x17000, 0x18DFF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1FAFF), (0x20000, 0x3FFFD))

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|[\]PX^_](?:[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|[^\n\r\x1b]*)"  # OSC, DCS, SOS, PM, APC with their payload
    r"|[ -/]*[0-~]"  # two-character sequences and character sets
    r")?"
    # Eight-bit forms are stripped with their payload only where they look like one: U+009B and U+009D are also what
    # wrongly decoded UTF-8 quotes consist of, and the words after those should stay.
    r"|\x9b[0-?]+[ -/]*[@-~]"
    r"|\x9d[0-9]+;[^\x07\x1b\x9c\n\r]*(?:\x07|\x1b\\|\x9c)?"
)
_BREAKS = re.compile(r"[\t\n\x0b\x0c\r\x85\u2028\u2029]+")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    r"\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+"
)
_NARROW = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u02ff\u2500-\u25fc\u2800-\u28ff]*")
"""Latin letters, boxes, blocks and braille."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


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
    return 2 if unicodedata.east_asian_width(char) in "WF" or _within(code, _LATELY_WIDE) else 1


def cell_width(s: str) -> int:
    """The terminal cells that ``s`` takes: wide (CJK, emoji) 2, combining and control characters 0, the rest 1.

    Characters of ambiguous width count as 1. Text from files goes through :func:`clean` first, which takes out the
    joiners and variation selectors whose width depends on the terminal.
    """
    return len(s) if is_narrow(s) else sum(map(_char_width, s))


def is_narrow(s: str) -> bool:
    """Every character takes one cell and stands for itself, as in most texts, frames and curves: told without a look at
    each."""
    return _NARROW.fullmatch(s) is not None


def clip(s: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """``s`` cut to at most ``width`` cells, never through a wide character; ``ellipsis`` stands for what was cut.

    Where not even the ellipsis fits, the text is cut without one. A width of 0 or less gives the empty text.
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
    """``s`` cut (see :func:`clip`) or padded on the right with spaces to exactly ``width`` cells."""
    s = clip(s, width, ellipsis)
    return s + " " * (width - cell_width(s))


_CLOSING = frozenset(",.;:!?)]}%°’”»，。；：！？、）】》」』…·")
_OPENING = frozenset("([{‘“«（【《「『")


def wrap(s: str, width: int, hang: int = 0) -> list[str]:
    """``s`` in lines of at most ``width`` cells, from the second on indented by ``hang``.

    It breaks at spaces and beside wide characters, in a longer word where it must; closing punctuation does not begin
    a line and opening brackets do not end one.
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
    """What is not broken while a line has room: words with the space before them, single wide characters."""
    token = ""
    for char in s:
        if token and not _together(token[-1], char):
            yield token
            token = ""
        token += char
    if token:
        yield token


def _together(last: str, char: str) -> bool:
    if char in _CLOSING or last in _OPENING or not cell_width(char):
        return True
    if char == " ":
        return last == " "
    return last == " " or not (cell_width(char) == 2 or cell_width(last) == 2)


def clean(s: str, limit: int | None = 1000) -> str:
    """Any text as one harmless line of at most ``limit`` characters (``None``: all of it); idempotent.

    Removed: terminal escape sequences with their payload (colours, titles, OSC 8 links, OSC 52 clipboard writes),
    control characters, bidirectional controls, zero-width and other invisible format characters, combining marks with
    nothing before them. A run of line breaks and tabs becomes one space, a lone surrogate ``?``. Everything else,
    ``[red]`` for one, is kept as it is: it has no meaning here and must get none where it is shown.
    """
    if limit is not None and len(s) > 64 * limit + 4096:
        s = s[: 64 * limit + 4096]
    if not (s.isascii() and s.isprintable()):
        s = _SEQUENCE.sub("", s)
        s = _BREAKS.sub(" ", s)
        s = _INVISIBLE.sub("", s)
        s = _SURROGATE.sub("?", s)
        start = 0
        while start < len(s) and unicodedata.category(s[start]) in ("Mn", "Me", "Mc"):
            start += 1
        s = s[start:]
    if limit is not None and len(s) > limit:
        s = s[: max(limit - 1, 0)] + ELLIPSIS[: max(limit, 0)]
    return s


def _non_finite(x: float) -> str:
    return "NaN" if math.isnan(x) else "inf" if x > 0 else "-inf"


def _trim(s: str) -> str:
    return s.rstrip("0").rstrip(".") if "." in s else s


def number(x: float, digits: int = 4) -> str:
    """``x`` with ``digits`` significant digits and no trailing zeros: ``1.057``, ``90.87``, ``1.18e-4``, ``0``.

    Digits before the point are never dropped (``344093``); below 0.001 and from 1e7 on it is written with an exponent.
    ``NaN``, ``inf`` and ``-inf`` as such.
    """
    if not math.isfinite(x):
        return _non_finite(x)
    if x == 0:
        return "0"
    digits = max(digits, 1)
    mantissa, _, power = f"{x:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if -4 < exponent < 7:
        return _trim(f"{x:.{max(digits - 1 - exponent, 0)}f}")
    return f"{_trim(mantissa)}e{exponent}"


def fixed4(x: float) -> str:
    """``x`` as the trainers print metrics, with four decimals, fewer from 1,000 on: ``1.6679``, ``344093.2``.

    What would read 0.0000 though it is not zero is written with an exponent; ``NaN``, ``inf`` and ``-inf`` as such.
    """
    if not math.isfinite(x):
        return _non_finite(x)
    size = abs(x)
    if 0 < size < 0.00005:
        return number(x, 3)
    if size >= 1e15:
        return number(x, 5)
    whole = len(str(int(size)))
    return f"{x:.{min(max(7 - whole, 0), 4)}f}" if x else "0.0000"


def count(n: float) -> str:
    """A count of things with three significant digits: ``999``, ``24.7k``, ``1.23M``, ``7.62B``, ``1.2T``."""
    if not math.isfinite(n):
        return _non_finite(n)
    size = abs(n)
    if size < 1000:
        return number(n, 3)
    if size >= 9.995e14:
        return number(n, 3)
    for unit, suffix in ((1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")):
        if size < unit * 999.5 or suffix == "T":
            break
    return number(n / unit, 3) + suffix


DURATIONS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in the units in which people type a duration."""


def seconds(s: str) -> float | None:
    """A duration as people type it (``90s``, ``30m``, ``6h``, ``2d``, or seconds alone); ``None`` if it is none."""
    s = s.strip()
    unit = DURATIONS.get(s[-1:])
    try:
        found = float(s[:-1]) * unit if unit is not None else float(s)
    except ValueError:
        return None
    return found if 0.0 <= found < 1e10 else None


_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&$!@]|(?<=www)\.|:(?=//)", re.IGNORECASE)


def markdown(s: str) -> str:
    """Text of one line as it stands, also in a cell of a table: no character of it is Markdown, HTML or a link."""
    return _MARKDOWN.sub(r"\\\g<0>", s)


_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def json_seen(s: str) -> str:
    """JSON with escapes for what it may hold as it is, but a terminal obeys or hides, or UTF-8 cannot carry."""
    return _UNSEEN.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf16(match[0])), s)


def _utf16(s: str) -> list[int]:
    data = s.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
