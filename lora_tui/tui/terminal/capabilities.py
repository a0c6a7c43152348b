"""Text for terminals that draw characters of ambiguous width (East Asian Width "A") in two cells.

Everything here is laid out with one cell for them, so that none of them may be sent to such a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

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
