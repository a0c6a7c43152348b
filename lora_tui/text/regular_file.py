"""Read a whole file whose path the user chose, which may name anything."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path) -> bytes:
    """Return the contents of a regular file.

    Raises OSError, with "not a regular file" as its ``strerror`` for a pipe, device or socket: reading some of them
    would wait for another program, or never end.
    """
    # Asked before it is opened, since opening some devices does something.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # O_NONBLOCK: where a pipe has taken its place meanwhile, opening it would wait for its writer.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(number, "rb") as file:
        return file.read()
