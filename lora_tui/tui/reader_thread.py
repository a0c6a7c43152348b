"""The thread that reads for the app: wait, read a little, post what was found. It touches nothing that is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message
from textual.worker import get_current_worker

from lora_tui.records.updates import Batch

if TYPE_CHECKING:
    from lora_tui.ingest.follower import Follower

READ_S, EACH_S = 0.1, 0.03
"""Seconds of parsing in one turn, and of one run: a key waits while what was read is taken in."""
ANSWER_S = 0.1
"""For so long after a key the reading of a long log rests, so that the answer has the interpreter for itself."""
BRIEF_S, MORE_S = 0.005, 2.0
"""Seconds of parsing of one run where there was a key within the last ``MORE_S``: there may be another one."""
AHEAD = 1
"""Batches that may wait while one is being taken in: more would only fill the memory, and keep keys waiting."""


class BatchRead(Message, bubble=False):
    """The reading thread finished a turn."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch


class ReadingFailed(Message, bubble=False):
    """A turn of the reading thread met an input/output error; it goes on with the next one."""

    def __init__(self, error: str) -> None:
        super().__init__()
        self.error = error


class CommandFailed(Message, bubble=False):
    """A command that the user wanted run on events has failed."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class ReaderThread:
    """``run`` is the thread; the app's own thread says what it has taken in, and when a key was pressed."""

    def __init__(self, post: Callable[[Message], bool]) -> None:
        self._post = post
        self.whole = False
        """Nothing is half read in what the app has taken in."""
        self._posted = self._taken = 0
        """Batches read and taken in, each counted by its own thread."""
        self._asked_at = float("-inf")

    def took(self, whole: bool) -> None:
        """The app has taken in a batch; ``whole``: it completed what there was to read."""
        self._taken += 1
        self.whole = whole

    def asked(self) -> None:
        """A key or a button was pressed."""
        self._asked_at = time.monotonic()

    def run(self, follower: Follower) -> None:
        """Read until the worker that it runs in is cancelled."""
        worker = get_current_worker()
        try:
            follower.start_watching()
            while not worker.is_cancelled:
                if self._posted - self._taken > AHEAD:
                    time.sleep(0.005)
                    continue
                if not self.whole:
                    # Once before each turn: a key that is held down slows the reading, but never stops it.
                    time.sleep(max(0.0, self._asked_at + ANSWER_S - time.monotonic()))
                if not follower.wait(60.0) or worker.is_cancelled:
                    continue
                try:
                    keys = time.monotonic() - self._asked_at < MORE_S
                    batch = follower.read(READ_S, BRIEF_S if keys else EACH_S)
                except OSError as error:
                    self._post(ReadingFailed(str(error)))
                    time.sleep(1.0)
                    continue
                if batch.runs or batch.notes or batch.complete:
                    self._posted += 1
                    if not self._post(BatchRead(batch)):
                        return
        finally:
            follower.close()
