"""The file that frames are written to: it survives a terminal that is gone, and cuts a frame short at the end.

Textual writes in a thread that ends with the first error, which on a terminal that is gone is the next write. Its queue
holds 30 writes: the app, when it ended, then waited for ever to add one more, and a lost ssh connection left a process.
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
"""Bytes written at once, which a terminal at 2 kB/s takes in half a second."""
CUT = "\x1b[0m\x1b[?2026l"
"""Ends a frame that is cut short: resets the style, and ends the synchronised update, which the terminal would hold
back."""


class Frame(str):
    """The text of one frame; when the app ends, what is not written of it yet is left out."""

    asks = False
    """Whether the frame ends with a question to the terminal."""


class TerminalFile:
    """A file of a terminal that takes whatever is written, also when the terminal is gone.

    It writes to the descriptor of ``file``, whose own buffer must be empty. ``on_frame(frame, whole)`` is called after
    every frame, where ``whole`` says whether all of it was written.
    """

    def __init__(self, file: TextIO, on_frame: Callable[[Frame, bool], None] | None = None) -> None:
        self._file = file
        self._on_frame = on_frame
        self.lost: OSError | None = None
        """The error after which nothing is written any more, or None."""
        self.leave_by: float | None = None
        """Time until which the terminal is waited for at the end (seconds of the monotonic clock), or None before the
        end. When it is set no frame is written any more."""

    def write(self, text: str) -> int:
        """Write the text, or drop it where the terminal is gone; return its length, as files do."""
        whole = self.lost is None
        if whole:
            try:
                whole = self._out(text)
            except OSError as error:
                self._lose(error)
                whole = False
        if self._on_frame is not None and isinstance(text, Frame):
            self._on_frame(text, whole)
        return len(text)

    def _out(self, text: str) -> bool:
        """Write piece by piece; return whether all was written. Raises OSError where the terminal is gone."""
        number, frame = self._file.fileno(), isinstance(text, Frame)
        begun = False
        for piece in _pieces(text.encode(self._file.encoding, "cells")):
            left = piece
            while left:
                if frame and self.leave_by is not None:
                    # No escape sequence is cut in two here.
                    if begun:
                        self._out(CUT)
                    return False
                if not _writable(number):
                    if self.leave_by is not None and time.monotonic() > self.leave_by:
                        return False
                    continue
                try:
                    left = left[os.write(number, left) :]
                except BlockingIOError:
                    # Another program has made the terminal non-blocking; there was room for a part only.
                    continue
                begun = True
        return True

    def flush(self) -> None:
        """Do nothing: every write has gone out already."""

    def _lose(self, error: OSError) -> None:
        """Discard everything from now on, also what Python itself writes to the descriptor at its exit."""
        self.lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()


def _writable(number: int) -> bool:
    """Return whether the descriptor has room now, or within a tenth of a second."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(100))


def _pieces(data: bytes) -> Iterator[bytes]:
    """Yield the data in pieces of at most PIECE bytes, cut between escape sequences and between characters."""
    begin = 0
    while len(data) - begin > PIECE:
        end = data.rfind(b"\x1b", begin + 1, begin + PIECE)
        if end < 0:
            # Escape sequences are short, so this is text.
            end = begin + PIECE
            while data[end] & 0xC0 == 0x80:
                end -= 1
        yield data[begin:end]
        begin = end
    yield data[begin:]


def _in_cells(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding does not have with as many question marks as it has cells (a codecs error handler)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "?" * cell_width(error.object[error.start : error.end]), error.end


codecs.register_error("cells", _in_cells)
