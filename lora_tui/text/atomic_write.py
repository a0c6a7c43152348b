"""Files that the user asked for (``-o FILE``): written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import get_ident


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write UTF-8 to ``path``: beside it first, renamed when complete, so that a full disk leaves the old file whole.

    ``text`` may come in chunks. A link keeps pointing where it did and its target is written; an existing file keeps
    its permissions; a device or pipe (``/dev/stdout``) is written straight. Raises OSError whose ``filename`` is
    ``path``; another error that a chunk raises goes through, and leaves nothing behind either.
    """
    chunks = (text,) if isinstance(text, str) else text
    try:
        if path.exists() and not path.is_file():
            _write(path, "w", chunks)
            return
        target = path.resolve()
        beside = target.with_name(f".lora-tui-{os.getpid()}-{get_ident()}.part")
        try:
            _write(beside, "x", chunks)
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o7777)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        # The name beside is nothing that the user knows.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, mode: str, chunks: Iterable[str]) -> None:
    # Half a surrogate of a file name is no UTF-8: it becomes its number, as on the terminal.
    with path.open(mode, encoding="utf-8", errors="backslashreplace", newline="") as file:
        for chunk in chunks:
            file.write(chunk)
