"""Calls that may never return, made in a thread of their own so that the caller goes on without the answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from lora_tui.sources.base import NoAnswer

T = TypeVar("T")
PATIENCE_S = 1.0
"""How long an answer is waited for; the next calls are not made while one is still out."""


class _Call:
    """A call on its way."""

    def __init__(self, key: Hashable, work: Callable[[], object]) -> None:
        self.key = key
        self._work = work
        self._result: object = None
        self._error: Exception | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # handed to whoever asked
            self._error = error
        self.over.set()

    def outcome(self) -> object:
        if self._error is not None:
            raise self._error
        return self._result


class TimedCalls:
    """The calls to one mount, one after the other. For one caller at a time."""

    def __init__(self, point: Path) -> None:
        self._point = point
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._out: _Call | None = None
        """A call that has not come back in time."""
        self._thread: threading.Thread | None = None

    def call(self, key: Hashable, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Raises NoAnswer if that takes too long; asked again with the same ``key``
        after the answer has come, it is given."""
        late = self._out
        if late is not None:
            if not late.over.is_set():
                raise NoAnswer(self._point)
            self._out = None
        if late is None or late.key != key:
            late = _Call(key, work)
            self._start()
            self._calls.put(late)
            if not late.over.wait(PATIENCE_S):
                self._out = late
                raise NoAnswer(self._point)
        return late.outcome()  # type: ignore[return-value]

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"lane {self._point}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()

    def close(self) -> None:
        """End the thread, now or when the call that it is in returns."""
        if self._thread is not None:
            self._calls.put(None)
