"""What a list of many runs needs of a log that nobody writes any more: its first, its last and its evaluation rows.

Reading a thousand logs whole takes seconds and a hundred megabytes; what is shown of all but one of them is a line.
"""

from __future__ import annotations

from lora_tui.sources.base import Entry, Source

LEAST = 1 << 16
"""A smaller log is read whole: there would be little to skip."""
HEAD, TAIL = 1 << 11, 1 << 12
"""So many bytes of either end are read."""
MIDDLE = 1 << 25
"""Evaluations are looked for in so many bytes before the end."""
CHUNK = 1 << 20
EVAL = b'"eval_'


def worthwhile(entry: Entry) -> bool:
    """Whether a glimpse of the log saves much."""
    return entry.size >= LEAST


def glimpse(disk: Source, entry: Entry) -> tuple[bytes, bytes]:
    """Lines of the log in their order: its first ones and its evaluations, and all that come last.

    One may be cut off at its front, which no parser takes. Raises SourceError.
    """
    head = disk.read(entry.path, 0, HEAD)
    lines = [head[: head.rfind(b"\n") + 1]]
    at = max(len(lines[0]), entry.size - MIDDLE)
    last = max(at, entry.size - TAIL)
    rest = b""
    while at < last and (read := disk.read(entry.path, at, min(CHUNK, last - at))):
        at += len(read)
        data = rest + read
        stop = data.rfind(b"\n") + 1
        found = data.find(EVAL)
        while 0 <= found < stop:
            end = data.find(b"\n", found) + 1
            lines.append(data[data.rfind(b"\n", 0, found) + 1 : end])
            found = data.find(EVAL, end)
        # No log has lines as long as that.
        rest = data[stop:] if len(data) - stop < CHUNK else b""
    return b"".join(lines), rest + disk.read(entry.path, at, entry.size - at)
