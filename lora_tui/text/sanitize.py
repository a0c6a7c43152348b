"""Make text from files harmless: for one line of a terminal, for Markdown and for JSON.

Imports the standard library alone and no other module of the project, so that every front end can use it.
"""

from __future__ import annotations

import re
import unicodedata

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|[\]PX^_](?:[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|[^\n\r\x1b]*)"  # OSC, DCS, SOS, PM, APC with their payload
    r"|[ -/]*[0-~]"  # two-character sequences and character sets
    r")?"
    # Eight-bit forms need parameters to count as a sequence: U+009B and U+009D also occur in UTF-8 quotation marks that
    # were decoded as Latin-1, and the words after those must stay.
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
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(s: str, limit: int | None = 1000) -> str:
    """Return ``s`` as one harmless line of at most ``limit`` characters (None: without a limit). Idempotent.

    Removes terminal escape sequences with their payload (colours, titles, OSC 8 links, OSC 52 clipboard writes),
    control characters, bidirectional controls, zero-width and other invisible format characters, and combining marks
    at the start. A run of line breaks and tabs becomes one space, a lone surrogate becomes ``?``. Everything else
    stays, also ``[red]``, which looks like Rich markup: the code that shows the text must not interpret it.
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
        s = s[: max(limit - 1, 0)] + "…"[: max(limit, 0)]
    return s


_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&$!@]|(?<=www)\.|:(?=//)", re.IGNORECASE)


def escape_markdown(s: str) -> str:
    """Escape ``s``, one line, so that Markdown shows it literally, also in a table cell: no markup, HTML or link."""
    return _MARKDOWN.sub(r"\\\g<0>", s)


_UNPRINTABLE = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def escape_json(s: str) -> str:
    """Return the JSON text ``s`` with ``\\u`` escapes for characters that are valid in JSON but unsafe to print.

    Those are control and format characters, which a terminal obeys or hides, and lone surrogates, which UTF-8 cannot
    encode. Such characters occur only inside strings of the JSON text, so that its meaning stays the same.
    """
    return _UNPRINTABLE.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf16_units(match[0])), s)


def _utf16_units(s: str) -> list[int]:
    data = s.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
