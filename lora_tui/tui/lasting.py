"""A terminal that is gone ends the app and does not hang it. Uses private parts of Textual's driver (Textual 8.2.8).

Textual writes in a thread that ends with the first error; on a terminal that is gone that is the next write. Its queue
holds 30 writes: the app, on its way out, then waited for ever to add one more, and a lost ssh left a process behind.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TextIO

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App


class LastingFile:
    """A terminal's file that takes whatever is written, also when there is no terminal any more."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost: OSError | None = None
        """Why nothing goes out any more; whoever waits for the terminal's end is told by its hang-up."""

    def write(self, text: str) -> int:
        """Write, or drop what nobody can see."""
        try:
            return self._file.write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """As :meth:`write`."""
        try:
            self._file.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """From now on everything goes nowhere, what Python still holds too: at its exit that would fail once more."""
        if self.lost is None:
            self.lost = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)

    def fileno(self) -> int:
        """The file's number."""
        return self._file.fileno()


class LastingDriver(LinuxDriver):
    """Textual's driver for terminals, writing to a :class:`LastingFile`."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        if self._file is not None:
            self._file = LastingFile(self._file)  # type: ignore[assignment]  # all that the driver uses of a file


def outlast(app: App[int]) -> None:
    """Have an app that is not running yet use such a driver, where it would use Textual's for terminals."""
    if app.driver_class is LinuxDriver:
        app.driver_class = LastingDriver
