"""Estimate how far a terminal is behind what was written for it, so that frames can wait for it.

What the kernel has taken has not been shown yet: a pty holds several kB and an ssh connection megabytes, which over a
slow line are minutes. So the terminal is asked from time to time where its cursor is (CSI 6n, which all terminals
answer); the answer says that everything before the question has arrived.
"""

from __future__ import annotations

import threading

QUESTION = "\x1b[6n"
"""Asks the terminal for the place of its cursor (device status report)."""
ASK_EVERY = 1024
"""Characters between two questions, at least."""
MAX_UNANSWERED = 4096
"""Characters that may be on their way to the terminal before the next frame waits for an answer."""
LATE_S = 0.25
"""Seconds after which an answer is waited for; the delay of a fast but distant line is shorter."""
LOST_S = 3.0
"""Seconds after which an answer is taken for lost, besides the time that the line takes for what is on its way."""
SLOWEST_LINE = 2000
"""Characters a second of the slowest line whose answers are not taken for lost."""
SLOW_S, FAST_S = 1.0, 0.25
"""An answer after more seconds than the first makes the line a slow one, one after fewer than the second a fast one."""


class Backpressure:
    """The account of the characters on their way to the terminal.

    All times are seconds of the monotonic clock. The methods may be called by several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued = 0
        self._written = 0
        self._answered = 0
        self._asked: int | None = None
        """The characters that were queued before the question, or None where no answer is due."""
        self._asked_at: float | None = None
        self._answers_come = False
        self._asking_since = 0.0
        self.slow = False
        """Whether frames are long on their way; no distance alone costs so much."""

    def frame_queued(self, count: int, now: float) -> bool:
        """Count a frame of ``count`` characters that is about to be written; return whether to ask after it."""
        with self._lock:
            self._queued += count
            asks = self._asked is None and self._queued - self._answered >= ASK_EVERY
            if asks:
                self._asked, self._asking_since = self._queued, now
            return asks

    def frame_written(self, count: int, asks: bool, now: float) -> None:
        """Count a frame that the kernel has taken, with the question if ``asks``."""
        with self._lock:
            self._written += count
            if asks and self._asked is not None:  # else the answer was faster than the thread that writes
                self._asked_at = now

    def frame_cut(self, count: int, asks: bool) -> None:
        """Count a frame that was not written to its end, and its question not at all."""
        with self._lock:
            self._written += count
            if asks:
                self._asked = None

    def answers_expected(self) -> None:
        """Expect answers from now on: the terminal has answered another question."""
        self._answers_come = True

    def answered(self, now: float) -> None:
        """Count everything before the question as shown."""
        with self._lock:
            self._answers_come = True
            if self._asked is not None:
                self.slow = now - self._asking_since > (FAST_S if self.slow else SLOW_S)
                self._answered = self._asked
                self._asked = self._asked_at = None

    @property
    def answer_due(self) -> bool:
        """Whether an answer is on its way."""
        return self._asked_at is not None and self._answers_come

    def behind(self, now: float) -> bool:
        """Return whether the next frame had better wait."""
        with self._lock:
            if self._written < self._queued:
                return True
            if self._asked_at is None or not self._answers_come:
                return False
            waited, unanswered = now - self._asked_at, self._queued - self._answered
            if waited > LOST_S + unanswered / SLOWEST_LINE:
                # Another program took the answer. Nothing is waited for until an answer comes again.
                self._answered, self._asked, self._asked_at, self._answers_come = self._asked or 0, None, None, False
                return False
            return waited > LATE_S or unanswered > MAX_UNANSWERED
