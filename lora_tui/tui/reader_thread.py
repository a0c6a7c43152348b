"""The thread that reads for the app: it waits, reads a little, and posts what it found. It touches nothing drawn.

None of its messages may replace another one: each carries a change and not the whole state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message
from textual.worker import get_current_worker

from lora_tui.records.updates import Batch

if TYPE_CHECKING:
    from lora_tui.ingest.follower import Follower

TURN_S, RUN_S = 0.1, 0.03
"""Seconds of parsing in one turn, and for one run in it; a key waits while the app applies what was read."""
REST_S = 0.1
"""Seconds for which the reading of a long log rests after a key, so that the answer has the interpreter for itself."""
BRIEF_RUN_S, KEYS_S = 0.005, 2.0
"""Seconds of parsing for one run in a turn where a key came within the last KEYS_S seconds, as another may follow."""
RETRY_S, MOST_RETRY_S = 1.0, 16.0
"""Seconds after which a turn that ended with an error is tried again, at first and at most: twice as many each time."""
MAX_WAITING = 1
"""Batches that may wait while one is applied; more would only fill the memory, and keep keys waiting."""


class BatchRead(Message, bubble=False):
    """A turn of reading found something."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch


class ReadingFailed(Message, bubble=False):
    """A turn of reading ended with an error, and the next one is tried; with None, reading works again."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error


class CommandFailed(Message, bubble=False):
    """The user's command for events has failed."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class ReaderThread:
    """The reading of an app.

    :meth:`run` runs in the thread; the other methods are called by the app's own thread.
    """

    def __init__(self, post: Callable[[Message], bool]) -> None:
        self._post = post
        self.complete = False
        """Whether the app has applied all that there was to read."""
        self._posted = self._applied = 0
        """Numbers of batches posted and applied, each counted by its own thread."""
        self._key_at = float("-inf")

    def batch_applied(self, complete: bool) -> None:
        """Count a batch that the app has applied; ``complete`` says whether nothing more is left to read."""
        self._applied += 1
        self.complete = complete

    def key_pressed(self) -> None:
        """Note that a key or a mouse button was pressed."""
        self._key_at = time.monotonic()

    def run(self, follower: Follower) -> None:
        """Read until the Textual worker that this runs in is cancelled, then close the follower."""
        worker = get_current_worker()
        retry_s = RETRY_S
        try:
            follower.start_watching()
            while not worker.is_cancelled:
                if self._posted - self._applied > MAX_WAITING:
                    time.sleep(0.005)
                    continue
                if not self.complete:
                    # Once before each turn: a key that is held down slows the reading, but never stops it.
                    time.sleep(max(0.0, self._key_at + REST_S - time.monotonic()))
                try:
                    if not follower.wait(60.0) or worker.is_cancelled:
                        continue
                    keys = time.monotonic() - self._key_at < KEYS_S
                    batch = follower.read(TURN_S, BRIEF_RUN_S if keys else RUN_S)
                except Exception as error:  # shown in the footer; an error must not end the app
                    self._post(ReadingFailed(error))
                    until = time.monotonic() + retry_s
                    retry_s = min(2 * retry_s, MOST_RETRY_S)
                    while not worker.is_cancelled and time.monotonic() < until:
                        time.sleep(0.05)
                    continue
                if retry_s > RETRY_S:
                    retry_s = RETRY_S
                    self._post(ReadingFailed(None))
                if batch.runs or batch.notes or batch.complete or batch.error is not None:
                    self._posted += 1
                    if not self._post(BatchRead(batch)):
                        return
        finally:
            follower.close()
