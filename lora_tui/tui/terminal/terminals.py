"""What is known of a terminal before anything is written to it: from the environment alone."""

from __future__ import annotations

import re
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
