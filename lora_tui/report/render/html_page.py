"""A self-contained HTML page: one file that makes no request, light and dark, printable.

Markup has a type of its own (:data:`Html`), so that the type checker finds text that was not escaped; :func:`esc` is
the only way from text to markup. The content security policy of the page is a second barrier: no address can be
fetched, and no script runs except ``page.js``, which is allowed by its hash. The style sheet is ``page.css``.

This small builder is used instead of a template engine: it needs no dependency, and the type checker rejects text that
was not escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NewType

from lora_tui.text.sanitize import clean

Html = NewType("Html", str)
"""Escaped text or finished markup."""

_LIGHT = {
    "page": "#fbfbfa", "card": "#ffffff", "text": "#23272e", "muted": "#555e6b", "faint": "#7c8592",
    "line": "#d5d9e0", "grid": "#e4e7ec", "link": "#0b5cc9", "mark": "#c4203c",
    "excellent": "#087a68", "good": "#2b7a1b", "fair": "#8f6000", "poor": "#c4203c", "none": "#555e6b",
    "s1": "#0b5cc9", "s2": "#b25000", "s3": "#7a3fc2", "s4": "#0a7886",
    "s5": "#c4203c", "s6": "#2b7a1b", "s7": "#8f6000", "s8": "#a1357f",
}  # fmt: skip
"""CSS variable -> its colour on a light background."""
_DARK = {
    "page": "#10131a", "card": "#171b25", "text": "#d7dbe6", "muted": "#98a1b5", "faint": "#7a8299",
    "line": "#343b4d", "grid": "#262c3b", "link": "#7cb7ff", "mark": "#ff7a90",
    "excellent": "#4fd6be", "good": "#86d16b", "fair": "#f5c451", "poor": "#ff6b7d", "none": "#98a1b5",
    "s1": "#7cb7ff", "s2": "#ffb454", "s3": "#c8a2ff", "s4": "#5fd0dc",
    "s5": "#ff7a90", "s6": "#86d16b", "s7": "#f5c451", "s8": "#f29ed2",
}  # fmt: skip
"""CSS variable -> its colour on a dark background."""
SERIES = 8
"""How many colours for curves there are: ``s1`` to ``s8``."""


@cache
def _asset(name: str) -> str:
    """Return the text of ``page.css`` or ``page.js``, which lie beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def esc(text: str, limit: int | None = 1000) -> Html:
    """Escape any text for use in an element or an attribute.

    The result is one line without control characters, of at most ``limit`` characters before escaping.
    """
    return Html(html.escape(clean(text, limit), quote=True))


def tag(name: str, content: Html, css: str = "") -> Html:
    """Return an element with ``content``; ``css`` holds its classes from ``page.css``."""
    return Html(f'<{name} class="{html.escape(css)}">{content}</{name}>' if css else f"<{name}>{content}</{name}>")


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Join pieces of markup with the text ``between``."""
    return Html(html.escape(between).join(parts))


def table(head: Sequence[Html], rows: Iterable[Sequence[Html]], numbers: Iterable[int] = ()) -> Html:
    """Return a table. ``numbers`` are the columns to align right; an empty ``head`` leaves the head row out."""
    right = frozenset(numbers)

    def row(cells: Sequence[Html], name: str) -> str:
        return "<tr>" + "".join(tag(name, cell, "n" if at in right else "") for at, cell in enumerate(cells)) + "</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if head else ""
    body = "".join(row(cells, "td") for cells in rows)
    return Html(f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>')


def page(title: str, body: Iterable[Html], lang: str, footer: str) -> str:
    """Return the whole file. ``lang`` is the language of its texts (en, zh)."""
    # The script shows the values of the points nearest to the pointer. It inserts texts as text, never as markup.
    style, script = _asset("page.css"), "\n" + _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    )
    content = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(title)}</title>\n<style>\n{_palette()}\n{style}</style>\n</head>\n<body>\n{content}\n"
        f'<footer>{esc(footer)}</footer>\n<div id="tip"></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _palette() -> str:
    """Return the colours as CSS variables: dark where the reader's system is dark, light in print."""
    light, dark = ("; ".join(f"--{name}: {color}" for name, color in colors.items()) for colors in (_LIGHT, _DARK))
    strokes = "\n".join(f".s{n} {{ stroke: var(--s{n}) }} .f{n} {{ fill: var(--s{n}) !important }}"
                        for n in range(1, SERIES + 1))  # fmt: skip
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}\n{strokes}\n"
    )
