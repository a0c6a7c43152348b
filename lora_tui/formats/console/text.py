r"""Split a console log into pieces between ``\r`` and ``\n``, strip launchers' prefixes, and find log records.

Sources: Python's ``logging`` formats of LLaMA-Factory and transformers, the line prefixes of torch elastic, Ray and
``pdsh``, tqdm (which ends a frame with ``\r`` and moves the cursor up behind a nested bar).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_PIECE = 64 * 1024
"""Number of bytes of a line or bar frame that are parsed; the rest is dropped."""

MAX_TEXT = 2000
"""Number of characters of a piece that are searched for anything but metric dicts."""

NESTED = "\x1b[A"
"""Sequence that tqdm writes after each frame of a bar below another, such as that of an evaluation during training."""

_MAX_HOSTS = 64
"""Maximum number of host names that are known as prefixes of lines."""

# Patterns that most lines do not need are strings: ``re`` compiles them at their first use and caches them.
_CONTROL = (
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI, incomplete where the line ends
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?"  # OSC (titles, links)
    "|\x1b[ -/]*[0-~]?"
    "|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_RANK = re.compile(r"\[(?:rank|default)?(\d+)\]: ?|\(\w[\w .]{0,40} ?pid=\d+(?:, ip=[\d.]+)?\) ?")
_HOST = re.compile(r"(\S{1,64}): (?=\{'|\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\||\*{5} |Traceback \(most recent)")
# Begins a record of LLaMA-Factory since v0.9.1 and of transformers, also in the middle of a line.
_RECORD = re.compile(r"\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\|")
# Begins a record of LLaMA-Factory up to v0.9.0.
_OLD_RECORD = r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d - (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) - (\S{1,200}) -(?: |$)"
# Begins a record of running_log.txt: a date, then a file name (in a console log, a module name).
_FILE_RECORD = re.compile(r"\[[A-Z]+\|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \w+\.py:\d+ >>")
_LOGGER_STAGE = r"\] (?:llamafactory|llmtuner)\.train\.(pt|rm|ppo|dpo|kto)\."


def clean(text: str) -> str:
    """Remove escape sequences, control and bidirectional characters; replace tabs by spaces."""
    return text if text.isprintable() else re.sub(_CONTROL, "", text.replace("\t", " "))


class UnfinishedPiece:
    """The piece at the end of a file that has no end yet; holds its chunks, in all at most the first 64 kB."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def add(self, data: bytes) -> None:
        """Append the next bytes of the piece."""
        room = MAX_PIECE - self._size
        if data and room > 0:
            self._chunks.append(data[:room])
            self._size += min(room, len(data))

    def take(self) -> bytes:
        """Return the piece so far and clear it."""
        taken = b"".join(self)
        self._chunks.clear()
        self._size = 0
        return taken

    def text(self, limit: int = MAX_PIECE) -> str:
        """Return the piece so far with its control sequences, or an empty string if it exceeds ``limit`` bytes."""
        return b"".join(self).decode("utf-8", "replace") if self._size <= limit else ""


class PieceSplitter:
    r"""Splits appended bytes at ``\r`` and ``\n``; a chunk may end anywhere. Keeps the unfinished piece in ``rest``."""

    def __init__(self, rest: UnfinishedPiece) -> None:
        self.line = 1
        """Number of the line, from 1, that the last piece belongs to."""
        self._rest = rest

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the non-empty pieces that ``data`` completes. The iterator must be exhausted."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            head = self._rest.take() + data[: end - 1]
            for number, line in enumerate(head.split(b"\n")):
                if number:
                    self.line += 1
                if b"\r" in line:
                    for piece in line.split(b"\r"):
                        if piece:
                            yield piece
                elif line:
                    yield line
            if data[end - 1] == 0x0A:
                self.line += 1
        self._rest.add(data[end:])


class PrefixStripper:
    """Strips the prefixes that launchers put before each line of a rank or a host."""

    def __init__(self) -> None:
        self.rank: str | None = None
        """Number of the rank that wrote the last text, or None if its prefix names none."""
        self.source: str | None = None
        """Prefix of the last text, or None."""
        self._hosts: set[str] = set()

    def cut(self, text: str) -> str:
        """Return ``text`` without its prefix, and set ``rank`` and ``source``."""
        self.rank = self.source = None
        if text[:1] in ("[", "(") and (match := _RANK.match(text)) is not None:
            self.rank = match[1]
            self.source = match[0]
            text = text[match.end() :]
        if self._hosts:
            host, colon, behind = text.partition(": ")
            if colon and host in self._hosts:
                self.source = host
                return behind
        if (match := _HOST.match(text)) is not None and len(self._hosts) < _MAX_HOSTS:
            self._hosts.add(match[1])
            self.source = match[1]
            return text[match.end() :]
        return text


class Record(NamedTuple):
    """A record of a logger of LLaMA-Factory or transformers."""

    message: str
    stage: str | None
    """Training stage by the logger's name, or None."""
    from_file: bool
    """Whether the record has the format of running_log.txt."""


def split_records(text: str) -> tuple[str | None, list[Record]]:
    """Return the text of a line before its first record, or None if there is none, and the records of the line."""
    head = text if len(text) <= MAX_TEXT else text[:MAX_TEXT]
    starts = [match.start() for match in _RECORD.finditer(head)] if "|" in head else []
    if starts:
        ends = [*starts[1:], len(text)]
        records = [_record(text[start:end]) for start, end in zip(starts, ends, strict=True)]
        return text[: starts[0]].rstrip() if starts[0] else None, records
    if head[2:3] == "/" and (old := re.match(_OLD_RECORD, head)) is not None:
        return None, [Record(text[old.end() :], None, False)]
    return text, []


def _record(text: str) -> Record:
    """Parse one record, which begins at the start of ``text``."""
    mark = text.find(" >>")
    message = text[mark + 4 :] if mark >= 0 else text
    logger = re.search(_LOGGER_STAGE, text[:200]) if ".train." in text else None
    return Record(message, None if logger is None else logger[1], _FILE_RECORD.match(text) is not None)
