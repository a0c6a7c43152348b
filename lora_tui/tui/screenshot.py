"""Repair of the screenshots that Textual exports as SVG."""

from __future__ import annotations

import re
from html import unescape

from lora_tui.text.cells import cell_width

_TEXT = re.compile(r'textLength="([0-9.]+)"([^>]*)>([^<]*)</text>')


def fix_wide_text(svg: str) -> str:
    """Return the SVG with the true length of wide characters, which Textual counts as one cell each."""

    def fix(match: re.Match[str]) -> str:
        text = unescape(match[3])
        cells = cell_width(text)
        if not text or cells == len(text):
            return match[0]
        return f'textLength="{float(match[1]) * cells / len(text):.1f}"{match[2]}>{match[3]}</text>'

    return _TEXT.sub(fix, svg)
