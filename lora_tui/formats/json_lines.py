"""Helpers of the parsers of text files: split lines, collect problems, read lenient JSON and its values."""

from __future__ import annotations

import json
import math

from lora_tui.records.documents import FormatError, Problem, TornError

MAX_LINE = 4 * 1024 * 1024
"""Length in bytes of the longest line that is parsed."""

MAX_PROBLEMS = 20
"""Number of problems kept between two calls of :meth:`Problems.take`; further ones are only counted."""

MAX_COUNT = 2**53
"""Counts (of steps, tokens) from this one on are taken for damage, since a float cannot represent them exactly."""

MAX_METRICS = 1000
"""Largest number of values in a row, metric block or results file; no trainer writes more."""

_FAST_FROM = 256 * 1024
"""Size of JSON in bytes from which on the fast parser is worth its import."""

_BLANK = " \t\r\n\0"


class Problems:
    """Collects problems; holds at most 20 of them however damaged a file is."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._dropped = 0

    def add(self, line: int, reason: str) -> None:
        """Add a problem of ``line``, from 1, or 0 where lines have no meaning."""
        if len(self._kept) < MAX_PROBLEMS:
            self._kept.append(Problem(line, reason))
        else:
            self._dropped += 1

    def take(self) -> list[Problem]:
        """Return the problems since the last call, in order; after 20, one more at line 0 counts the rest."""
        if not self._kept:
            return []
        taken = self._kept
        if self._dropped:
            taken.append(Problem(0, f"{self._dropped} more"))
        self._kept = []
        self._dropped = 0
        return taken


class LineSplitter:
    r"""Splits appended bytes into complete lines at ``\n``; a chunk may end anywhere.

    A line longer than ``limit`` is skipped, with one entry in ``problems``; at most ``limit`` bytes of it are held.
    """

    def __init__(self, problems: Problems, limit: int = MAX_LINE) -> None:
        self._problems = problems
        self._limit = limit
        self._tail = bytearray()
        self._dropping = False
        self._line = 1

    @property
    def pending(self) -> bytes:
        """Copy of the incomplete last line so far; empty while an overlong line is being skipped."""
        return bytes(self._tail)

    @property
    def next_line(self) -> int:
        """Number, from 1, of the line that is pending or comes next."""
        return self._line

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        r"""Return the lines that ``data`` completes, each as its number, from 1, and its bytes without ``\n``."""
        if not data:
            return []
        parts = data.split(b"\n")
        rest = parts.pop()
        if not parts:
            self._keep(rest)
            return []
        dropped_first = self._dropping
        if self._tail:
            self._tail += parts[0]
            parts[0] = bytes(self._tail)
            self._tail.clear()
        self._dropping = False
        first = self._line
        self._line += len(parts)
        lines = list(enumerate(parts, first))
        if dropped_first:
            del lines[0]
        # Only the first line, which may span chunks, can be too long, unless the chunk exceeds the limit.
        if len(data) > self._limit or (lines and len(lines[0][1]) > self._limit):
            for number, line in lines:
                if len(line) > self._limit:
                    self._note(number)
            lines = [item for item in lines if len(item[1]) <= self._limit]
        if rest:
            self._keep(rest)
        return lines

    def _keep(self, rest: bytes) -> None:
        if self._dropping:
            return
        if len(self._tail) + len(rest) > self._limit:
            self._tail = bytearray()
            self._dropping = True
            self._note(self._line)
        else:
            self._tail += rest

    def _note(self, number: int) -> None:
        self._problems.add(number, f"line longer than {self._limit // 1024} KiB")


def _lenient_int(digits: str) -> int | float:
    """Convert digits of any number; Python rejects integers of more than 4300 digits, a float makes them infinite."""
    return int(digits) if len(digits) < 400 else float(digits)


def load_json(text: str) -> object:
    """Parse one JSON value; ``NaN`` and ``Infinity`` literals are values, overlong integers become ``inf``.

    Raises ``json.JSONDecodeError`` if the text is not JSON, ``RecursionError`` if it is nested too deeply.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        value = json.loads(text, parse_int=_lenient_int)
    return value


def load_json_fast(data: bytes) -> object:
    """Parse UTF-8 JSON to the same value as :func:`load_json`, in half the time.

    The import of pydantic_core takes some 40 ms, so that this is worth it for long texts. Raises ValueError if the text
    is not JSON, and for some that :func:`load_json` reads: lone surrogates, integers of more than 4300 digits, more
    than 200 levels.
    """
    from pydantic_core import from_json

    value: object = from_json(data, cache_strings="keys")
    return value


def load_json_object(data: bytes, limit: int | None = MAX_LINE) -> dict[str, object]:
    """Parse a file that holds one JSON object, of at most ``limit`` bytes (None: of any length).

    Raises :class:`TornError` if it is empty or ends in the middle of a value, which happens because no producer
    replaces its files atomically, and :class:`FormatError` if it is damaged, too large or no object.
    """
    if limit is not None and len(data) > limit:
        raise FormatError(f"larger than {limit >> 10} KiB")
    if len(data) >= _FAST_FROM:
        try:
            plain = load_json_fast(data)
        except ValueError:
            # Parsed again below, which finds out what is wrong with it, if anything is.
            plain = None
        if isinstance(plain, dict):
            return plain
    text = data.decode("utf-8-sig", "replace").strip(_BLANK)
    if not text:
        raise TornError("empty file")
    try:
        value = load_json(text)
    except json.JSONDecodeError as error:
        # An incomplete number, word or escape is reported before the end of the text, but then no "}" ends the text.
        open_end = error.pos >= len(text) or text[-1] != "}" or error.msg.startswith("Unterminated")
        if text[0] == "{" and open_end and error.msg != "Extra data":
            raise TornError(f"ends in the middle of a value at line {error.lineno}") from None
        raise FormatError(f"not JSON: {error.msg} at line {error.lineno}") from None
    except RecursionError:
        raise FormatError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        raise FormatError("not a JSON object")
    return value


def as_number(value: object) -> float | None:
    """Return the float of a JSON number or numeric string, finite or not, or None for anything else.

    Integers beyond the range of a float become ``inf``, like ``1e400``. Booleans are no numbers.
    """
    if isinstance(value, float):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str) and "_" not in value:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def as_count(value: object) -> int | None:
    """Return a whole number from 0 to 2**53, also of ``5.0`` or ``"5"``, or None for anything else."""
    if type(value) is not int:
        number = as_number(value)
        if number is None or not number.is_integer():
            return None
        value = int(number)
    return value if 0 <= value < MAX_COUNT else None


def as_text(value: str) -> str:
    """Replace lone surrogates, which JSON can contain (``\\ud800``) and no output can encode, by ``?``."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
