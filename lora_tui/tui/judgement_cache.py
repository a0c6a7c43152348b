"""A cache of judgements: each is kept while it holds, and those of many runs are made in pieces between keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from lora_tui.analysis.judgement import Judgement
from lora_tui.runs.run import Run, Status

NOTHING_JUDGED = Judgement()
"""The judgement of a run that has not been judged yet."""
JUDGED_FOR_S = 30.0
"""Seconds after which an unchanged live run is judged again, as its judgement may depend on the clock."""
JUDGE_EVERY_S = 2.0
"""Seconds between two judgements of a live run that changes, at least; the next tick of the clock makes up for it."""
POSTPONED_S = 10.0
"""Seconds that listed runs wait for the first reading to end before they are judged, at most."""
FRAME_BUDGET_S = 0.03
"""Seconds of judging listed runs that one frame, or one key, waits for."""


class _Kept(NamedTuple):
    revision: int
    state: str
    at: float
    judgement: Judgement


class JudgementCache:
    """Judgements by run directory.

    ``make`` judges a run, which takes some 20 ms for 1,000 rows that have not been judged before.
    """

    def __init__(self, make: Callable[[Run], Judgement]) -> None:
        self._make = make
        self.on_pending: Callable[[], object] = lambda: None
        """Called whenever a judgement had to be put off: :meth:`judge_some` is to be called soon."""
        self._postponed_until = float("-inf")
        self._kept: dict[object, _Kept] = {}
        self._pending: dict[object, tuple[Run, Status]] = {}
        self._spent_s = 0.0

    @property
    def postponed(self) -> bool:
        """Whether listed runs are not judged yet, as what is still read of them would make the judgement worthless."""
        return time.monotonic() < self._postponed_until

    def postpone(self, seconds: float) -> None:
        """Judge no listed run for at most so many seconds: a log may grow faster than it is read."""
        self._postponed_until = time.monotonic() + seconds

    def get(self, run: Run, status: Status, at_once: bool) -> Judgement | None:
        """Return the judgement of a run, or None where there is no time for it before the next frame.

        With ``at_once`` the run is judged in any case.
        """
        known = self._known(run, status)
        if known is not None:
            return known
        if at_once or (self._spent_s < FRAME_BUDGET_S and not self.postponed):
            return self._judge(run, status)
        if self.postponed:
            return None
        self._pending[run.path] = (run, status)
        self.on_pending()
        return None

    def last_known(self, run: Run) -> Judgement:
        """Return the last judgement of a run, which may not hold any more."""
        kept = self._kept.get(run.path)
        return kept.judgement if kept is not None else NOTHING_JUDGED

    @property
    def pending(self) -> bool:
        """Whether there are runs that there was no time for."""
        return bool(self._pending)

    def judge_some(self) -> None:
        """Judge some of the pending runs, one at least, as the budget of a frame allows."""
        self._spent_s = 0.0
        while self._pending:
            self._judge(*self._pending.pop(next(iter(self._pending))))
            if self._spent_s >= FRAME_BUDGET_S:
                break

    def next_frame(self) -> None:
        """Begin a new budget; a pending run that the frame does not ask for again is not judged."""
        self._spent_s = 0.0
        self._pending.clear()

    def clear(self) -> None:
        """Let no judgement hold any more, as there are other runs to compare with."""
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
