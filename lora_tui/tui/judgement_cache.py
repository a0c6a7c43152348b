"""Judgements of runs, kept as long as they hold; of many runs made in pieces, between which keys are answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from lora_tui.analysis.model import Judgement
from lora_tui.runs.run import Run, Status

NOTHING_JUDGED = Judgement()
JUDGED_FOR_S = 30.0
"""A judgement of a live run may depend on the clock; it is made anew after this time."""
JUDGE_EVERY_S = 2.0
"""A live run is not judged more often than this; the clock's next tick catches up."""
PATIENCE_S = 10.0
"""How long runs that are only listed wait for the first reading to end."""
AT_ONCE_S = 0.03
"""How long runs that are only listed are judged while a frame, or a key, waits for it."""


class _Kept(NamedTuple):
    revision: int
    state: str
    at: float
    judgement: Judgement


class JudgementCache:
    """``make`` judges a run: some 20 ms for 1,000 rows that have not been looked at before."""

    def __init__(self, make: Callable[[Run], Judgement]) -> None:
        self._make = make
        self.on_pending: Callable[[], object] = lambda: None
        """Called whenever a judgement is owed: :meth:`some` is wanted soon."""
        self._patient_until = float("-inf")
        self._kept: dict[object, _Kept] = {}
        self._pending: dict[object, tuple[Run, Status]] = {}
        self._spent_s = 0.0

    @property
    def waiting(self) -> bool:
        """Runs that are only listed are not judged yet: what is read of them would make it worthless."""
        return time.monotonic() < self._patient_until

    def wait(self, seconds: float) -> None:
        """Let them wait, at most so long: a log may grow faster than it is read."""
        self._patient_until = time.monotonic() + seconds

    def of(self, run: Run, status: Status, at_once: bool) -> Judgement | None:
        """The run's judgement; ``None`` if there is no time for it before the next frame, unless it is wanted
        ``at_once``."""
        known = self._known(run, status)
        if known is not None:
            return known
        if at_once or (self._spent_s < AT_ONCE_S and not self.waiting):
            return self._judge(run, status)
        if self.waiting:
            return None
        self._pending[run.path] = (run, status)
        self.on_pending()
        return None

    def earlier(self, run: Run) -> Judgement:
        """What was last thought of a run whose judgement is owed."""
        kept = self._kept.get(run.path)
        return kept.judgement if kept is not None else NOTHING_JUDGED

    @property
    def pending(self) -> bool:
        """For some runs there was no time."""
        return bool(self._pending)

    def some(self) -> None:
        """Judge some of those, one at least."""
        self._spent_s = 0.0
        while self._pending:
            self._judge(*self._pending.pop(next(iter(self._pending))))
            if self._spent_s >= AT_ONCE_S:
                break

    def next_frame(self) -> None:
        """There is time again; what the frame does not ask for is not owed any more."""
        self._spent_s = 0.0
        self._pending.clear()

    def forget(self) -> None:
        """Nothing holds any more: other runs are there to be compared with."""
        self._kept.clear()

    def _known(self, run: Run, status: Status) -> Judgement | None:
        kept = self._kept.get(run.path)
        if kept is None or kept.state != status.state:
            return None
        since = time.monotonic() - kept.at
        if kept.revision == run.revision:
            fresh = not status.live or since < JUDGED_FOR_S
        else:
            fresh = status.live and since < JUDGE_EVERY_S
        return kept.judgement if fresh else None

    def _judge(self, run: Run, status: Status) -> Judgement:
        begin = time.monotonic()
        made = self._make(run)
        end = time.monotonic()
        self._kept[run.path] = _Kept(run.revision, status.state, end, made)
        self._spent_s += end - begin
        return made
