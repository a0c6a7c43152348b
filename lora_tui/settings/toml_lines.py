"""TOML with the line of every key, which the standard parser does not tell."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables, and places in arrays from 0 on."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*")|'([^'\n]*)')[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"{3,5}|' r"'''[\s\S]*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'"
)  # fmt: skip
_SCALAR = re.compile(r"[^,\]}#\r\n]*")


class TomlError(Exception):
    """Not TOML. ``str()`` is the parser's reason without the place."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line
        """From 1 on."""


def parse(data: bytes) -> dict[str, Any]:
    """The values of a file. Raises TomlError."""
    try:
        # Editors on Windows put a byte order mark first, which the parsers do not take.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TomlError("not UTF-8", data.count(b"\n", 0, error.start) + 1) from error
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        raise TomlError(reason, int(found[1]) if found else text.rstrip("\n").count("\n") + 1) from error
    except RecursionError as error:
        raise TomlError("nested too deeply", 1) from error
    return tables


def key_lines(data: bytes) -> dict[KeyPath, int]:
    """Path -> line from 1 on of a file that :func:`parse` takes: of the key, of a table's first header, of an array's
    element."""
    return _Scanner(data.decode("utf-8-sig").replace("\r\n", "\n")).lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[KeyPath, int] = {}
        self._read()

    def _note(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._breaks, at - 1) + 1 if at else 1)

    def _skip(self, pattern: re.Pattern[str] = _BLANK) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _read(self) -> None:
        base: KeyPath = ()
        while True:
            self._skip()
            if self.at >= len(self.text):
                return
            start = self.at
            if self.text.startswith("[", start):
                many = self.text.startswith("[[", start)
                self.at += 2 if many else 1
                base = self._header(tuple(self._key()), start, many)
                self.at += 2 if many else 1
            else:
                self._pair(base)

    def _header(self, keys: tuple[str, ...], start: int, many: bool) -> KeyPath:
        """The path that a header opens; a part that is an array of tables means its last table."""
        path: KeyPath = ()
        for place, key in enumerate(keys):
            path = (*path, key)
            self._note(path, start)
            if many and place == len(keys) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self._note(path, start)
        return path

    def _key(self) -> Iterator[str]:
        while True:
            match = _KEY.match(self.text, self.at)
            if match is None:
                return
            self.at = match.end()
            bare, quoted, literal = match.groups()
            yield str(tomllib.loads(f"k = {quoted}")["k"]) if quoted else bare or literal or ""
            if not self.text.startswith(".", self.at):
                return
            self.at += 1

    def _pair(self, base: KeyPath) -> None:
        start = self.at
        path = base
        for key in self._key():
            path = (*path, key)
            self._note(path, start)
        self.at += 1  # =
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip()
        text = self.text
        if text.startswith("[", self.at):
            self._inside("]", path)
        elif text.startswith("{", self.at):
            self._inside("}", path)
        elif _STRING.match(text, self.at):
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _inside(self, close: str, path: KeyPath) -> None:
        """An array or an inline table."""
        self.at += 1
        place = 0
        while True:
            self._skip()
            if self.at >= len(self.text) or self.text.startswith(close, self.at):
                self.at += 1
                return
            if close == "]":
                self._note((*path, place), self.at)
                self._value((*path, place))
                place += 1
            else:
                self._pair(path)
            self._skip()
            if self.text.startswith(",", self.at):
                self.at += 1
