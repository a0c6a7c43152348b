"""Tracebacks of errors in this program itself, kept in files of the user's state directory.

An error inside one part of the work (the drawing of a pane, the lines of a page, the judgement of one run) must not
end the rest of it. The caller of that part catches the error, calls :func:`record_fault`, and shows
:func:`fault_text` in place of the part.

A fault is identified by its part, its type and the line of this package that raised it. Each has one file, written once
per process and overwritten by the next process, so that an error that repeats with every frame costs one file and one
write. At most ``MOST_FILES`` files are kept.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_tui.text.sanitize import clean

if TYPE_CHECKING:
    from types import TracebackType

    from lora_tui.i18n import Words

MOST_FILES = 50
"""The most files kept in the directory; the oldest are removed."""
MOST_CHARACTERS = 100_000
"""Length above which a traceback is cut in its middle, in characters."""
MESSAGE_CHARACTERS = 80
"""Length at which the message of an error is cut where it is shown, in characters."""
LINE_CHARACTERS = 500
"""Length at which a line of a traceback is cut, in characters, since a message may quote a file of the run."""
_PREFIX = "fault-"
_OWN_NAME = re.compile(_PREFIX + r"(?:pane|screen|list|run|reading|search|events|command)-.*-[0-9a-f]{8}\.txt")
_PACKAGE = str(Path(__file__).parent.parent)


@dataclass(frozen=True)
class Fault:
    """An error of this program that was caught by the caller of the part that raised it."""

    kind: str
    """What failed: ``pane``, ``screen``, ``list`` (a row of the run list), ``run`` (its judgement),
    ``reading`` (a part of a run), ``search`` (for runs and changes), ``command``."""
    error: str
    """Type and message on one line, for example ``KeyError: 'loss'``."""
    file: Path | None
    """The file that holds the traceback, or None if it could not be written."""


recorded: dict[tuple[str, ...], Fault] = {}
"""Every fault of this process so far, by part, type and line, the first one first."""


def state_dir() -> Path:
    """Return the directory of the tracebacks. ``LORA_TUI_STATE_DIR`` overrides the platform's own."""
    override = os.environ.get("LORA_TUI_STATE_DIR")
    if override:
        return Path(override)
    from platformdirs import user_state_path

    return user_state_path("lora-tui", appauthor=False)


def record_fault(kind: str, name: str, error: Exception) -> Fault:
    """Write the traceback of ``error`` to a file, once per fault, and return the fault.

    ``kind`` is one of :attr:`Fault.kind`; ``name`` distinguishes parts of one kind (the name of a pane or a
    command) and must not come from a run. Never raises: if the directory cannot be written, the fault has no file.
    """
    key = (kind, name, type(error).__qualname__, _origin(error.__traceback__))
    fault = recorded.get(key)
    if fault is None:
        from hashlib import sha256

        file = _keep(f"{_PREFIX}{kind}-{name}-{sha256(repr(key).encode()).hexdigest()[:8]}.txt", kind, name, error)
        fault = recorded[key] = Fault(kind, _line(error), file)
    return fault


def fault_text(fault: Fault, words: Words, short: bool = False) -> str:
    """Return what failed, which file holds the traceback and where to report it, as one line of text.

    ``short``: only the type of the error and the file, for places of a single line; the file contains the rest.
    """
    if short and fault.file is not None:
        key = f"fault.short_{fault.kind}" if words.has(f"fault.short_{fault.kind}") else "fault.short"
        return words.t(key, error=fault.error.partition(":")[0], file=_home_path(fault.file))
    what = words.t(f"fault.{fault.kind}", error=fault.error)
    if fault.file is None:
        return words.t("fault.not_kept", what=what)
    return words.t("fault.kept", what=what, file=_home_path(fault.file))


def _origin(trace: TracebackType | None) -> str:
    """Return the innermost line of this package in a traceback, as ``module.py:line``."""
    from traceback import walk_tb

    origin = ""
    for frame, line in walk_tb(trace):
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            origin = f"{file[len(_PACKAGE) + 1 :]}:{line}"
    return origin


def _line(error: Exception) -> str:
    from lora_tui.formats.secrets import mask_text

    try:
        message = clean(mask_text(str(error)), MESSAGE_CHARACTERS)
    except Exception:  # the error's own __str__ may be what fails
        message = ""
    name = type(error).__qualname__
    return f"{name}: {message}" if message else name


def _home_path(path: Path) -> str:
    """Return a path with ``~`` for the home directory, without control characters."""
    home = os.path.expanduser("~")  # noqa: PTH111 Path.home() raises where there is none
    text = str(path)
    if len(home) > 1 and text.startswith(home + os.sep):
        text = "~" + text[len(home) :]
    return clean(text)


def _keep(name: str, kind: str, part: str, error: Exception) -> Path | None:
    """Write the traceback to a file that only the user can read; return its path, or None where that fails."""
    import tempfile

    try:
        directory = state_dir()
        if not directory.is_absolute():
            # Without a home directory the path begins with "~", and "~" would be made in the current directory.
            return None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Write beside it first: the file is complete or absent, and the target of a link of that name is not written.
        number, beside = tempfile.mkstemp(prefix=f".{_PREFIX}", dir=directory)  # readable by the user alone
        try:
            with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(traceback_text(kind, part, error))
            Path(beside).replace(directory / name)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _remove_old(directory)
    except Exception:  # a second error must not end the handling of the first; the fault then has no file
        return None
    return directory / name


def _remove_old(directory: Path) -> None:
    """Remove the oldest files of faults above ``MOST_FILES``, and nothing that was not written here."""
    files = [path for path in directory.iterdir() if _OWN_NAME.fullmatch(path.name) and path.is_file()]
    files.sort(key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in files[MOST_FILES:]:
        path.unlink(missing_ok=True)


def traceback_text(kind: str, part: str, error: Exception) -> str:
    """Return the versions and Python's own traceback, without local variables, with secrets masked.

    It holds no control characters but line ends, so that a terminal can show it.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from traceback import format_exception

    from lora_tui import __version__
    from lora_tui.formats.secrets import mask_text

    try:
        textual = version("textual")
    except PackageNotFoundError:
        textual = "?"
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = (
        f"lora-tui {__version__}, Python {platform.python_version()}, Textual {textual}, {sys.platform}\n"
        f"{moment}  {kind} {part}\n"
        "Please report this file in the issue tracker of lora-tui.\n\n"
    )
    # Masked as a whole and before it is cut: a name and its secret may stand on two lines; half a key looks like none.
    text = mask_text("".join(format_exception(type(error), error, error.__traceback__)))
    if len(text) > MOST_CHARACTERS:
        text = f"{text[: MOST_CHARACTERS // 2]}\n...\n{text[-MOST_CHARACTERS // 2 :]}"
    return head + "\n".join(clean(line, LINE_CHARACTERS) for line in text.splitlines()) + "\n"
