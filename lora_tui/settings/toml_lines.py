"""Read TOML, with the line of each key for error messages, which the standard parser does not give."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KeyPath = tuple[str | int, ...]
"""The keys of the tables that lead to a value, and indices of arrays, from 0."""

_KEY = r"""(?:[\w-]+|"[^"\\\n]*"|'[^'\n]*')"""
_KEYS = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_LINE = re.compile(rf"[ \t]*(?:\[\[?[ \t]*({_KEYS})[ \t]*\]\]?[ \t]*(?:#.*)?$|({_KEYS})[ \t]*=)")
_COMMENT_OR_STRING = re.compile(
    r"#[^\n]*"
    r'|"""(?:\\[\s\S]|[^\\])*?"""' r"|'''[\s\S]*?'''"
    r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'"
)  # fmt: skip
"""Matches what may contain a text that looks like a key, from its beginning, so that none is found inside another."""


class TomlError(Exception):
    """A file is not TOML. ``str()`` is the parser's reason without the position."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.line = line
        """Line of the error, from 1; None where it is not known."""


def parse(data: bytes) -> dict[str, Any]:
    """Return the values of a file. Raises TomlError if it is not UTF-8 or not TOML."""
    try:
        # Editors on Windows write a byte order mark first, which the parsers reject.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TomlError("not UTF-8", data.count(b"\n", 0, error.start) + 1) from error
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, position = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", position)
        raise TomlError(reason, int(found[1]) if found else text.rstrip("\n").count("\n") + 1) from error
    except RecursionError as error:
        raise TomlError("nested too deeply", None) from error
    except ValueError as error:
        # Python refuses to read an integer of more than 4,300 digits (sys.set_int_max_str_digits).
        raise TomlError("a number has too many digits", None) from error
    return tables


def key_lines(data: bytes, tables: Mapping[str, Any]) -> dict[KeyPath, int]:
    """Return the line, from 1, of the keys in ``data``, whose values :func:`parse` gave as ``tables``.

    A table has the line of its first header; a value inside an array or an inline table has the line of the key before
    it. Keys that are written in an unusual way (with escapes, below ``[[...]]``) are left out.
    """
    text = _COMMENT_OR_STRING.sub(_without_text, data.decode("utf-8-sig"))
    lines: dict[KeyPath, int] = {}
    root: tuple[KeyPath, Any] = ((), tables)
    table = root
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.match(line.rstrip("\r"))
        if match is None:
            continue
        path, value = root if match[1] else table
        for key in re.findall(_KEY, match[1] or match[2]):
            name = key.strip("\"'")
            path = (*path, name)
            value = value.get(name) if isinstance(value, dict) else None
            # A line that only looks like a key, inside a string for example, has no value.
            if value is not None:
                lines.setdefault(path, number)
        if match[1]:
            table = path, value
        else:
            _add_nested(lines, path, value, number)
    return lines


def _without_text(match: re.Match[str]) -> str:
    """Return a string of one line as it is, since it may be a key, and only the line ends of anything else."""
    text = match[0]
    return text if text[0] in "\"'" and text[:3] not in ('"""', "'''") else "\n" * text.count("\n")


def _add_nested(lines: dict[KeyPath, int], path: KeyPath, value: Any, number: int) -> None:
    left = [(path, value)]
    while left:
        path, value = left.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            lines.setdefault((*path, key), number)
            left.append(((*path, key), inner))
