"""Decide from the environment what a terminal can show, and replace characters that it would draw in two cells.

Nothing here writes to the terminal or imports Textual: the command line asks before the app is loaded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_MONOCHROME = re.compile(r"vt[0-9]+(-.*)?|.*-(m|mono|monochrome)")
"""Names of terminfo's entries without colours that are still met with: consoles behind a serial line, and chosen ones
(xterm-mono, linux-m, screen-m)."""
_GLYPHS = "─│╭●✓⠿"


def is_monochrome(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has no colours, by its name."""
    return _MONOCHROME.fullmatch(environ.get("TERM", "")) is not None


def can_draw(encoding: str | None) -> bool:
    """Whether the terminal's encoding has the characters that everything is drawn with."""
    try:
        _GLYPHS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def may_be_wide(lang: str, environ: Mapping[str, str]) -> bool:
    """Whether the terminal may well draw characters of ambiguous width in two cells: where Chinese, Japanese or Korean
    is spoken, by the app or by any part of the locale (Python itself sets LC_CTYPE where the locale is not installed).
    """
    locales = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return lang == "zh" or any(locale.lower().startswith(("zh", "ja", "ko")) for locale in locales)


_LIKE = {
    **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‘’′", "'"), **dict.fromkeys("‐‑‒—―", "-"),
    "°": "o", "÷": "/", "§": "S", "¶": "P", "®": "R", "‰": "%", "‖": "|", "‥": "~", "∞": "8", "≈": "~", "≠": "!",
    "≡": "=", "≤": "<", "√": "v", "∑": "S", "⇒": ">", "⇔": "=",
}  # fmt: skip
"""What a character that is not drawn with stands for, in one cell."""


class OneCell(dict[int, str | int]):
    """A table for ``str.translate``: what the given one does, and of all other ambiguous characters something in ASCII.

    A letter without a likeness, as of Cyrillic or Greek names, becomes a question mark.
    """

    def __init__(self, table: Mapping[int, str]) -> None:
        super().__init__(table)

    def __missing__(self, code: int) -> str | int:
        char = chr(code)
        ambiguous = unicodedata.east_asian_width(char) == "A" and unicodedata.category(char)[0] != "M"
        found = self[code] = _LIKE.get(char, "?") if ambiguous else code
        return found
