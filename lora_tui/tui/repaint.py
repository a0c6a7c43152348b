"""When to repaint: at once after a pause, seldom under load, and every second while a run may go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lora_tui.tui.dashboard import Dashboard
from lora_tui.tui.state import AppState

if TYPE_CHECKING:
    from textual.app import App
    from textual.timer import Timer

NUMBERS_S = 0.5
"""Seconds between two repaints of the numbers under load: an eye follows two a second."""
CHARTS_S = 2.0
"""Seconds between two repaints of the curves under load."""
QUIET_S = 0.25
"""Seconds without a change after which the next one is painted at once."""
LINE_SHARE = 4
"""Over a slow line one part in so many of the time is spent on sending curves."""


class _RateLimit:
    """Limits repaints to one in ``every_s`` seconds; after ``QUIET_S`` seconds without a change one comes at once."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._painted = float("-inf")
        self._changed_at = float("-inf")

    def changed(self, now: float, load: bool) -> float:
        """Note a change and return the seconds to wait before it is painted.

        ``load`` says that more is sure to come, however long that takes.
        """
        quiet = now - self._changed_at >= QUIET_S and not load
        self._changed_at = now
        if quiet:
            return 0.0
        return max(0.0, self._painted + self.every_s - now)

    def painted(self, now: float) -> None:
        """Note a repaint."""
        self._painted = now


class Repainter:
    """Brings the panes up to date: the numbers alone, or the curves as well, which cost more.

    ``backlog`` returns the seconds that the terminal is behind.
    """

    def __init__(self, app: App[int], state: AppState, dashboard: Dashboard, backlog: Callable[[], float]) -> None:
        self._app = app
        self._backlog = backlog
        self._state = state
        self._dashboard = dashboard
        self._numbers = _RateLimit(NUMBERS_S)
        self._charts = _RateLimit(CHARTS_S)
        self._number_timer: Timer | None = None
        self._chart_timer: Timer | None = None
        self._clock: Timer | None = None
        self._painted_at = float("-inf")
        self._judging = False
        self._requested = self._charts_requested = False
        state.judgements.on_pending = self._judge_soon
        dashboard.request_repaint = self.request

    def request(self, charts: bool) -> None:
        """Paint as soon as the message that is being handled is over, once for all that it changes."""
        self._charts_requested |= charts
        if not self._requested:
            self._requested = True
            self._app.call_next(self._paint_requested)

    def _paint_requested(self) -> None:
        if self._requested:
            self.paint(self._charts_requested)

    def paint(self, charts: bool) -> None:
        """Paint now, with what was requested; then start or stop the clock, as there are live runs or none."""
        charts |= self._charts_requested
        self._requested = self._charts_requested = False
        self._state.begin_frame()
        now = self._painted_at = time.monotonic()
        self._numbers.painted(now)
        _stop(self._number_timer)
        self._number_timer = None
        if charts:
            self._charts.painted(now)
            _stop(self._chart_timer)
            self._chart_timer = None
        self._dashboard.renew(charts)
        self._state.request_full_reads()
        self._set_clock()

    def _judge_soon(self) -> None:
        """Judge soon what is in sight without a judgement, whatever drew it: a repaint, the wheel, a change of size."""
        if not self._judging:
            self._judging = True
            self._app.call_later(self._judge_more)

    def _judge_more(self) -> None:
        """Judge pending runs for the time of one frame; go on after waiting keys, and paint when all are judged."""
        self._state.judgements.judge_some()
        if self._state.judgements.pending:
            self._app.call_later(self._judge_more)
            return
        self._judging = False
        self.paint(charts=False)

    def paint_soon(self, charts: bool, load: bool = False) -> None:
        """Paint what was read: at once after a pause, else gathered, numbers before curves."""
        now = time.monotonic()
        number_wait = self._numbers.changed(now, load)
        self._charts.every_s = max(CHARTS_S, LINE_SHARE * self._backlog())
        chart_wait = self._charts.changed(now, load) if charts else math.inf
        if chart_wait <= 0:
            self.paint(charts=True)
            return
        if charts and self._chart_timer is None:
            self._chart_timer = self._app.set_timer(chart_wait, self._chart_due)
        if number_wait <= 0:
            self.paint(charts=False)
        elif self._number_timer is None:
            self._number_timer = self._app.set_timer(number_wait, self._number_due)

    def _number_due(self) -> None:
        self._number_timer = None
        self.paint(charts=False)

    def _chart_due(self) -> None:
        self._chart_timer = None
        self.paint(charts=True)

    # -- the clock -----------------------------------------------------------------------------------------------

    def start_clock(self, look: Callable[[], None]) -> None:
        """From now on paint and call ``look`` once a second while a run may go on or an event may come."""

        def tick() -> None:
            if time.monotonic() - self._painted_at > 0.9:
                self.paint(charts=False)
            look()

        self._clock = self._app.set_interval(1.0, tick, pause=True)
        self._set_clock()

    def _set_clock(self) -> None:
        """Stop the clock while no run may go on, so that a finished run left open costs nothing; else let it run."""
        if self._clock is None:
            return
        notifier = self._state.options.notifier
        if self._state.any_live() or (notifier is not None and notifier.pending):
            self._clock.resume()
        else:
            self._clock.pause()


def _stop(timer: Timer | None) -> None:
    if timer is not None:
        timer.stop()
