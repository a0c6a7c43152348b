"""Styled text as plain data: pieces of text, each with the name of its style, for any front end."""

from __future__ import annotations

Span = tuple[str, str]
"""A text and the name of its style in the app's themes, such as ``muted`` or ``text|bold``; plain output ignores it."""
Line = list[Span]
"""One line of styled text."""
