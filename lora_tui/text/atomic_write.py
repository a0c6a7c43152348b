"""Write the files of ``-o FILE`` completely or not at all."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path
from threading import get_ident

READER_S = 2.0
"""Seconds for which the reader of a named pipe is waited for."""


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Write ``text``, in one piece or in chunks, to ``path`` as UTF-8, atomically.

    Writes a temporary file in the same directory and renames it when it is complete, so that a full disk leaves the old
    file intact. Follows a symbolic link and replaces its target; keeps the permissions of an existing file; writes
    directly to a device or pipe (``/dev/stdout``), where a pipe must be opened by its reader within READER_S. Raises
    OSError with ``path`` as its ``filename``. An exception raised by an iterator of chunks passes through, and leaves
    no file behind either.
    """
    chunks = (text,) if isinstance(text, str) else text
    try:
        if path.exists() and not path.is_file():
            _write(path, "w", chunks)
            return
        target = path.resolve()
        temporary = target.with_name(f".lora-tui-{os.getpid()}-{get_ident()}.part")
        try:
            _write(temporary, "x", chunks)
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # Name the user's file, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _open_pipe(path: Path) -> int:
    """Open the named pipe ``path`` for writing once another program reads it, and return its descriptor.

    Raises OSError after READER_S: opening it the usual way would wait for ever, which the app must not.
    """
    end = time.monotonic() + READER_S
    while True:
        try:
            number = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= end:
                raise OSError(error.errno, "nobody reads this pipe", str(path)) from error
            time.sleep(0.01)
        else:
            os.set_blocking(number, True)
            return number


def _write(path: Path, mode: str, chunks: Iterable[str]) -> None:
    target = _open_pipe(path) if path.is_fifo() else path
    # A file name that is not UTF-8 holds lone surrogates, which become backslash escapes, as on the terminal.
    with open(target, mode, encoding="utf-8", errors="backslashreplace", newline="") as file:  # noqa: PTH123 descriptor
        for chunk in chunks:
            file.write(chunk)
