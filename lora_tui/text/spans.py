"""Styled text as plain data: pieces of text with the name of their style, for any front end."""

from __future__ import annotations

Span = tuple[str, str]
"""A text and its role: a style of the app's themes such as ``muted`` or ``text|bold``. Plain output ignores it."""
Line = list[Span]
"""One line of styled text."""
