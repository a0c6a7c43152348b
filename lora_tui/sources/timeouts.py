"""Calls to a file system that may hang, made in a thread so that the caller can go on without a result."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from lora_tui.sources.base import NoAnswer

T = TypeVar("T")
TIMEOUT_S = 1.0
"""Seconds after which a call raises NoAnswer; no further call is made before it has returned."""


class _Call:
    """One call and its result or exception."""

    def __init__(self, key: Hashable, work: Callable[[], object]) -> None:
        self.key = key
        self._work = work
        self._result: object = None
        self._error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Make the call, in the thread of the mount."""
        try:
            self._result = self._work()
        except Exception as error:  # raised in the thread that made the call
            self._error = error
        self.done.set()

    def outcome(self) -> object:
        """Return the result of the call or raise its exception."""
        if self._error is not None:
            raise self._error
        return self._result


class TimedCalls:
    """Calls to one mount, one after the other in one thread. Only one thread may use it at a time."""

    def __init__(self, point: Path) -> None:
        self._point = point
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._late: _Call | None = None
        """Call that has not returned in time, None without one."""
        self._thread: threading.Thread | None = None

    def call(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises.

        Raises NoAnswer if that takes longer than :data:`TIMEOUT_S`. A later call with the same ``key`` then gets the
        result that has come in the meantime.
        """
        late = self._late
        if late is not None:
            if not late.done.is_set():
                raise NoAnswer(self._point)
            self._late = None
        if late is None or late.key != key:
            late = _Call(key, work)
            self._start()
            self._calls.put(late)
            if not late.done.wait(TIMEOUT_S):
                self._late = late
                raise NoAnswer(self._point)
        return late.outcome()  # type: ignore[return-value]

    def _start(self) -> None:
        """Start the thread at the first call."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"reading {self._point}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Make the calls one after the other until None comes (the thread's target)."""
        while (call := self._calls.get()) is not None:
            call.run()

    def close(self) -> None:
        """End the thread, now or when its present call returns."""
        if self._thread is not None:
            self._calls.put(None)
