"""Decide from the environment what a terminal can show, and replace characters that it would draw in two cells.

Nothing here writes to the terminal or imports Textual: the command line asks before the app is loaded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_MONOCHROME = re.compile(r"vt[0-9]+(-.*)?|.*-(m|mono|monochrome)")
"""Names of the terminfo entries without colours that are still in use: consoles on a serial line, and entries chosen on
purpose (xterm-mono, linux-m, screen-m)."""
_GLYPHS = "─│╭●✓⠿"
"""One character of each kind that the app draws with."""


def is_monochrome(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal has no colours, by its name."""
    return _MONOCHROME.fullmatch(environ.get("TERM", "")) is not None


def can_draw(encoding: str | None, glyphs: str = _GLYPHS) -> bool:
    """Return whether the encoding has the given characters, by default those that the app draws with."""
    try:
        glyphs.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def may_be_wide(lang: str, environ: Mapping[str, str]) -> bool:
    """Return whether the terminal may draw characters of ambiguous width (East Asian Width "A") in two cells.

    Terminals set up for Chinese, Japanese or Korean do, so the language of the app and every variable of the locale
    count (Python itself sets LC_CTYPE where the locale is not installed).
    """
    locales = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return lang == "zh" or any(locale.lower().startswith(("zh", "ja", "ko")) for locale in locales)


_LIKE = {
    **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‘’′", "'"), **dict.fromkeys("‐‑‒—―", "-"),
    "°": "o", "÷": "/", "§": "S", "¶": "P", "®": "R", "‰": "%", "‖": "|", "‥": "~", "∞": "8", "≈": "~", "≠": "!",
    "≡": "=", "≤": "<", "√": "v", "∑": "S", "⇒": ">", "⇔": "=",
}  # fmt: skip
"""ASCII characters of one cell for characters that occur in texts; those that the app draws with have a table of their
own."""


class OneCell(dict[int, str | int]):
    """A table for ``str.translate`` that adds all other characters of ambiguous width to a given table.

    Where a terminal draws them in two cells none of them may be sent, as everything is laid out with one cell for each.
    A letter that looks like none of ASCII, as in Cyrillic or Greek names, becomes a question mark.
    """

    def __init__(self, table: Mapping[int, str]) -> None:
        super().__init__(table)

    def __missing__(self, code: int) -> str | int:
        char = chr(code)
        ambiguous = unicodedata.east_asian_width(char) == "A" and unicodedata.category(char)[0] != "M"
        found = self[code] = _LIKE.get(char, "?") if ambiguous else code
        return found
