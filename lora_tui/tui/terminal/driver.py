"""The driver of real terminals: Textual's own, with what that does not do.

- A terminal that is gone ends the app and does not hang it (:mod:`lora_tui.tui.terminal.output`).
- A slow terminal gets the newest frame and not all of them (:mod:`lora_tui.tui.terminal.backpressure`).
- Ctrl-Z, ``fg`` and ``bg`` work as with any other program. Textual's driver stops its own process alone, so that a
  wrapper waits for it for ever; where no shell can continue it, it is lost; and after a SIGCONT without a stop it takes
  the raw mode of the terminal for the user's.
- The terminal is asked whether it draws characters of ambiguous width in two cells, as many set up for Chinese do.

Private parts of Textual's driver are set by :mod:`lora_tui.tui.terminal.textual_patches`, which makes the class that is
used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from textual import events, messages
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from lora_tui.tui.terminal.backpressure import QUESTION, Backpressure
from lora_tui.tui.terminal.output import Frame, TerminalFile

LEAVE_S = 1.5
"""Seconds that a terminal that takes nothing is waited for at the end."""
ANSWER_S = 0.7
"""Seconds that a due answer is waited for at the end; afterwards the shell would take it for typing."""
WIDTHS_S = 0.15
"""Seconds that the first frame waits for the widths of glyphs, where they are asked for."""
ASK_WIDTH = "".join(f"\x1b[2;1H{glyph}{QUESTION}" for glyph in "●─") + "\x1b[2;1H  "
"""Writes a mark and a line, asking for the cursor after each, as some terminals draw only one in two cells; the
first frame is painted over them."""


class TerminalUser(Protocol):
    """What the driver asks of the app. All of it is called in the app's own thread."""

    asks_width: bool
    """Whether to ask the terminal for the width of glyphs that may have one cell or two."""

    def catch_up(self) -> None:
        """Paint what was put off: the terminal may have caught up."""

    def come_back(self) -> None:
        """Repaint everything: the terminal is ours again, and nothing of what it shows is known."""

    def call_next(self, callback: Callable[[], None]) -> None:
        """Call back after the message that is being handled."""

    def use_narrow_glyphs(self) -> None:
        """Draw with ASCII: the terminal draws in two cells what counts as one here."""


class TerminalDriver(LinuxDriver):
    """Textual's driver for terminals, with what the module's docstring lists."""

    paces_frames = False
    """Whether frames are written by :meth:`frame`, and wait while the terminal is behind."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self.user = cast("TerminalUser", app)
        self.loop = asyncio.get_running_loop()
        self.restarts = True
        """Whether a stop of the process gives the terminal back and takes it again."""
        # Standard error, which Textual draws on, may be a file (2>errors.log); standard output is a terminal for sure.
        file = next(file for file in (sys.__stderr__, sys.__stdout__) if file is not None and file.isatty())
        self.output = TerminalFile(file, self._frame_done)
        self._pressure = Backpressure()
        self._frame: list[str] | None = None
        self._widths_due = 0
        self._wide_unreported = False
        """Whether the terminal has answered that glyphs take two cells and the app does not know yet."""
        self._widths_until = 0.0
        """Time until which the widths are waited for, in seconds of the monotonic clock."""
        self._answered = threading.Event()
        self.loop.add_signal_handler(signal.SIGTSTP, self._stop)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    # -- frames --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Write as one frame what is written in the body of the context."""
        self._frame = []
        try:
            yield
        finally:
            text, self._frame = "".join(self._frame), None
            if text:
                asks = self._pressure.frame_queued(len(text), time.monotonic())
                frame = Frame(text + QUESTION if asks else text)
                frame.asks = asks
                self.write(frame)

    def write(self, data: str) -> None:
        if self._frame is not None:
            self._frame.append(data)
        else:
            super().write(data)

    def behind(self) -> bool:
        """Return whether the terminal is so far behind that a frame written now would not be seen soon."""
        now = time.monotonic()
        # A first frame with glyphs of the wrong width would be unreadable for a moment.
        asking = self._wide_unreported or (self._widths_due > 0 and now < self._widths_until)
        return asking or self._pressure.behind(now)

    @property
    def slow(self) -> bool:
        """Whether the line is so slow that a frame is seen to build up."""
        return self._pressure.slow

    def _frame_done(self, frame: Frame, whole: bool) -> None:
        """Count a frame. Called by the thread that writes."""
        count = len(frame) - len(QUESTION) * frame.asks
        if whole:
            self._pressure.frame_written(count, frame.asks, time.monotonic())
        else:
            self._pressure.frame_cut(count, frame.asks)
        self._call_soon(self.user.catch_up)

    def _call_soon(self, call: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it any more
            self.loop.call_soon_threadsafe(call)

    def _report_wide(self) -> None:
        self.user.use_narrow_glyphs()
        self._wide_unreported = False
        self.user.call_next(self.user.catch_up)

    def process_message(self, message: Message) -> None:
        """Take the answers of the terminal, which are no events of the app. Called by the thread that reads keys."""
        if isinstance(message, events.CursorPosition):
            if self._widths_due and message.y == 1:  # from 0; frames end elsewhere, at the upper left
                self._widths_due -= 1
                self._pressure.answers_expected()
                if message.x == 2:
                    self._wide_unreported = True
                    self._call_soon(self._report_wide)
                elif not self._widths_due:
                    self._call_soon(self.user.catch_up)
            else:
                self._pressure.answered(time.monotonic())
                self._answered.set()
                self._call_soon(self.user.catch_up)
            return
        if isinstance(message, messages.TerminalSupportsSynchronizedOutput):
            self._pressure.answers_expected()
        super().process_message(message)

    # -- taking the terminal and giving it back --------------------------------------------------------------------

    def start_application_mode(self) -> None:
        # Textual would go on without its writer where a start in the background was stopped here.
        self._wait_for_foreground()
        self.output.leave_by = None
        self._pressure = Backpressure()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self.user.asks_width:
            self.user.asks_width = False
            self._widths_due = ASK_WIDTH.count(QUESTION)
            self._widths_until = time.monotonic() + WIDTHS_S
            self.loop.call_later(WIDTHS_S, self.user.catch_up)
            self.write(ASK_WIDTH)
        self.loop.add_signal_handler(signal.SIGCONT, self._continued)

    def stop_application_mode(self) -> None:
        self.loop.remove_signal_handler(signal.SIGCONT)
        # Before anything else is written, as the writer may be in the middle of a long frame.
        self.output.leave_by = time.monotonic() + LEAVE_S
        self._answered.clear()
        if self._pressure.answer_due and self.output.lost is None:
            self._answered.wait(ANSWER_S)
        super().stop_application_mode()

    @contextlib.contextmanager
    def no_automatic_restart(self) -> Iterator[None]:
        """Leave stopping and going on to the body of the context."""
        before, self.restarts = self.restarts, False
        try:
            with super().no_automatic_restart():
                yield
        finally:
            self.restarts = before

    # -- stopping and going on -------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Handle SIGTSTP: give the terminal back, stop, and take it again."""
        if not self.restarts:
            return
        self.suspend_application_mode()
        # The whole job stops, or a wrapper would go on waiting and the shell with it.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        os.killpg(0, signal.SIGTSTP)
        # With the default action, where no shell could ever continue the job, the kernel does not stop it.
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        self.loop.add_signal_handler(signal.SIGTSTP, self._stop)
        self.resume_application_mode()
        self.user.come_back()

    def _continued(self) -> None:
        """Handle SIGCONT after a SIGSTOP, which cannot be handled: another program may have changed the terminal."""
        if self.restarts and self.output.lost is None:
            self._wait_for_foreground()
            self.suspend_application_mode()
            self.resume_application_mode()
            self.user.come_back()

    def _wait_for_foreground(self) -> None:
        """Stop until ``fg`` where another job has the terminal, after ``bg``, as a program does that reads from it."""
        while True:
            try:
                if os.tcgetpgrp(self.fileno) == os.getpgrp():
                    return
            except OSError:  # not the controlling terminal: there are no jobs
                return
            before = time.monotonic()
            signal.raise_signal(signal.SIGTTIN)
            if time.monotonic() - before < 0.01:  # not stopped: no shell is there to give it the terminal
                return
