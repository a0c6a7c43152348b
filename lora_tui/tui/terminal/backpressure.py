"""How far a terminal is behind what was written for it: over a slow line a second frame waits until the first is seen.

What the kernel takes has not been seen by anyone: a pty holds several kB and an ssh connection megabytes, which over a
slow line are minutes. So the terminal is asked after a while (CSI 6n, where its cursor is, which all terminals answer),
and its answer says that everything before the question has arrived.
"""

from __future__ import annotations

import threading

QUESTION = "\x1b[6n"
ASK_EVERY = 1024
"""Characters between two questions."""
WINDOW = 4096
"""With so many characters on their way, the answer is waited for."""
PATIENCE_S = 0.25
"""An answer that takes longer than this is waited for; a line with such a delay alone is no slow one."""
LOST_S = 3.0
"""No answer for this long, and for as long as the line takes, means that there will be none."""
SLOWEST = 2000
"""Characters a second of a line that is waited for in full."""
SLOW_S, FAST_S = 1.0, 0.25
"""An answer that takes more makes a line a slow one, an answer that takes less a fast one again."""


class Backpressure:
    """The account of what is on its way. All times are monotonic seconds; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self._out = 0
        self._answered = 0
        self._asked: int | None = None
        self._asked_at: float | None = None
        self._talks = False
        self._asking_since = 0.0
        self.slow = False
        """Whether a frame is long on its way: no distance alone costs so much."""

    def give(self, count: int, now: float) -> bool:
        """A frame of ``count`` characters is about to be written; whether the question is to follow it."""
        with self._lock:
            self._given += count
            asks = self._asked is None and self._given - self._answered >= ASK_EVERY
            if asks:
                self._asked, self._asking_since = self._given, now
            return asks

    def out(self, count: int, asks: bool, now: float) -> None:
        """The kernel has taken a frame, with the question if ``asks``."""
        with self._lock:
            self._out += count
            if asks and self._asked is not None:  # else the answer was faster than the thread that writes
                self._asked_at = now

    def cut(self, count: int, asks: bool) -> None:
        """A frame is not written to its end, and its question not at all."""
        with self._lock:
            self._out += count
            if asks:
                self._asked = None

    def talks(self) -> None:
        """The terminal has answered some question: it will answer this one too."""
        self._talks = True

    def answer(self, now: float) -> None:
        """The terminal has seen everything up to the question."""
        with self._lock:
            self._talks = True
            if self._asked is not None:
                self.slow = now - self._asking_since > (FAST_S if self.slow else SLOW_S)
                self._answered = self._asked
                self._asked = self._asked_at = None

    @property
    def asking(self) -> bool:
        """An answer is to come."""
        return self._asked_at is not None and self._talks

    def behind(self, now: float) -> bool:
        """Whether the next frame had better wait."""
        with self._lock:
            if self._out < self._given:
                return True
            if self._asked_at is None or not self._talks:
                return False
            waited, on_its_way = now - self._asked_at, self._given - self._answered
            if waited > LOST_S + on_its_way / SLOWEST:
                # Someone else took the answer; as long as nothing is heard, nothing is waited for.
                self._answered, self._asked, self._asked_at, self._talks = self._asked or 0, None, None, False
                return False
            return waited > PATIENCE_S or on_its_way > WINDOW
