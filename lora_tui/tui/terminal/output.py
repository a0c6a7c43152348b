"""What a terminal is written to: it outlasts a terminal that is gone, and a frame can be left off for a slow one.

Textual writes in a thread that ends with the first error; on a terminal that is gone that is the next write. Its queue
holds 30 writes: the app, on its way out, then waited for ever to add one more, and a lost ssh left a process behind.
"""

from __future__ import annotations

import codecs
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from lora_tui.text.cells import cell_width

PIECE = 1024
"""Bytes written at once: a terminal at 2 kB/s takes them in half a second."""
CUT = "\x1b[0m\x1b[?2026l"
"""What ends a frame that is left off: its colours, and that the terminal holds back what is between begin and end."""


class Frame(str):
    """What paints the screen; when the app leaves the rest of it is left off."""

    asks = False
    """The terminal is asked at its end whether it has got so far."""


class TerminalFile:
    """A terminal's file that takes whatever is written, also when there is no terminal any more.

    It writes past ``file``, which may have nothing buffered. ``told(frame, whole)`` is called after every frame.
    """

    def __init__(self, file: TextIO, told: Callable[[Frame, bool], None] | None = None) -> None:
        self._file = file
        self._told = told
        self.lost: OSError | None = None
        """Why nothing goes out any more; whoever waits for the terminal's end is told by its hang-up."""
        self.until: float | None = None
        """While leaving: the monotonic time until which the terminal is waited for. Frames are not written any more."""

    def write(self, text: str) -> int:
        """Write, or drop what nobody can see."""
        whole = self.lost is None
        if whole:
            try:
                whole = self._out(text)
            except OSError as error:
                self._lose(error)
                whole = False
        if self._told is not None and isinstance(text, Frame):
            self._told(text, whole)
        return len(text)

    def _out(self, text: str) -> bool:
        """Write piece by piece; whether all of it went out. Raises OSError."""
        number, frame = self._file.fileno(), isinstance(text, Frame)
        begun = False
        for piece in _pieces(text.encode(self._file.encoding, "cells")):
            left = piece
            while left:
                if frame and self.until is not None:
                    # Up to here every sequence is whole.
                    if begun:
                        self._out(CUT)
                    return False
                if not _writable(number):
                    if self.until is not None and time.monotonic() > self.until:
                        return False
                    continue
                try:
                    left = left[os.write(number, left) :]
                except BlockingIOError:
                    # Whoever else has this terminal open made it so; there was room for less than all.
                    continue
                begun = True
        return True

    def flush(self) -> None:
        """Nothing is held back."""

    def _lose(self, error: OSError) -> None:
        """From now on everything goes nowhere, what Python itself writes there at its exit too."""
        self.lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)

    def fileno(self) -> int:
        """The file's number."""
        return self._file.fileno()


def _writable(number: int) -> bool:
    """Whether there is room now, or within a tenth of a second."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(100))


def _pieces(data: bytes) -> Iterator[bytes]:
    """The data in pieces of about PIECE bytes, cut where no escape sequence and no character is in two."""
    begin = 0
    while len(data) - begin > PIECE:
        end = data.rfind(b"\x1b", begin + 1, begin + PIECE)
        if end < 0:
            # Sequences are short: this is text.
            end = begin + PIECE
            while data[end] & 0xC0 == 0x80:
                end -= 1
        yield data[begin:end]
        begin = end
    yield data[begin:]


def _in_cells(error: UnicodeError) -> tuple[str, int]:
    """For a terminal that cannot take a character: as many question marks as it has cells."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "?" * cell_width(error.object[error.start : error.end]), error.end


codecs.register_error("cells", _in_cells)
