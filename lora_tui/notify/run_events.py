"""Detect what happens to watched runs and notify the user: by their own command, by the terminal's bell, or both.

Events: a run has ``finished``, ``stopped`` or ``failed``, was ``interrupted``, has ``stalled``, or has a critical
``finding``; ``held`` means that the condition of ``wait --until`` holds. Each occurrence is reported once. States and
findings that a run already had when watching started are not reported.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal

from lora_tui.analysis import PLAIN, Context, Finding, Judgement, judge
from lora_tui.i18n import Words
from lora_tui.notify.hook import Hook
from lora_tui.runs.run import Run, Status
from lora_tui.settings.fault_log import record_fault
from lora_tui.text.sanitize import clean, escape_json
from lora_tui.wording.sentences import run_summary

Kind = Literal["finished", "stopped", "failed", "interrupted", "stalled", "finding", "held"]
EVENT_OF_STATE: Mapping[str, Kind] = {
    "finished": "finished", "stopped": "stopped", "failed": "failed", "interrupted": "interrupted",
    "stalled": "stalled",
}  # fmt: skip
"""State of a run -> the event that is reported when a run enters that state."""
STATE_FINDINGS = frozenset({"failed", "out_of_memory", "interrupted", "stalled"})
"""Findings that repeat the state of a run. They are reported with the state's event and not as events of their own."""
JUDGE_EVERY_S = 1.0
"""The shortest time between two judgements of a run that changes, in seconds."""
SNAPSHOT_KEYS = ("run", "state", "phase", "updated_at", "progress", "metrics", "results")
"""The parts of ``status --json`` that the JSON of an event contains."""


@dataclass(frozen=True)
class Event:
    """One occurrence in one run."""

    kind: Kind
    run: Run
    time: float
    """Unix time at which the event was detected."""
    judgement: Judgement
    """The run's judgement at that time."""
    finding: Finding | None = None
    """The critical finding of a ``finding`` event; of another event, the finding that explains the state, if any."""
    condition: str = ""
    """The condition that holds; only in a ``held`` event."""


@dataclass
class _LastCheck:
    """State of a run at its last check."""

    state: str
    step: float
    """The run's last step at its first check. Findings that began at this step or earlier are not reported."""
    revision: int = -1
    """The run's revision at its last judgement."""
    judged_at: float = -math.inf
    """Monotonic time of the last judgement, in seconds."""
    critical: frozenset[str] | None = None
    """Codes of the critical findings at the last judgement, or ``None`` before the first."""
    reported: dict[str, float] = field(default_factory=dict)
    """Code of each reported finding -> the run's last step at that time."""


class EventDetector:
    """Detect events by comparing each run with its state at the last check.

    ``since`` is the Unix time at which watching started.
    """

    def __init__(self, since: float, context: Context = PLAIN) -> None:
        self._since = since
        self._context = context
        self.pending = False
        """Whether the last check ran out of time and left runs for the next one."""
        self._last: dict[Run, _LastCheck] = {}
        self._started = False

    def check(
        self, runs: Iterable[Run], now: float, status: Callable[[Run], Status], budget_s: float = math.inf
    ) -> Iterator[Event]:
        """Yield the events since the last check.

        Call it only while no file is half read. After ``budget_s`` seconds, including the time that the caller spends
        between two events, the remaining runs are left for the next check.
        """
        end = time.monotonic() + budget_s
        # A run that disappears and comes back counts as a new one.
        self._last = {run: self._last.get(run) or self._first_check(run, status(run)) for run in runs}
        self._started = True
        self.pending = False
        for run, last in self._last.items():
            state = status(run)
            begun = time.monotonic()
            changed = run.revision != last.revision
            due = changed and begun - last.judged_at >= JUDGE_EVERY_S
            if (state.state == last.state and not due) or begun > end:
                self.pending = self.pending or changed or state.state != last.state
                continue
            try:
                judgement = judge(run, now, self._context)
            except Exception as error:  # the run's end is still reported; whatever shows the run names the error
                record_fault("run", "judgement", error)
                judgement = Judgement()
            kind = EVENT_OF_STATE.get(state.state) if state.state != last.state else None
            new = self._new_critical(run, last, judgement)
            last.state, last.revision, last.judged_at = state.state, run.revision, begun
            if kind is not None:
                why = next((one for one in judgement.findings if one.code in STATE_FINDINGS and not one.over), None)
                yield Event(kind, run, now, judgement, why if kind in STATE_FINDINGS else None)
            for finding in new:
                yield Event("finding", run, now, judgement, finding)

    def _first_check(self, run: Run, status: Status) -> _LastCheck:
        """Return the first state to compare with: the present one, or none if the run began after watching started."""
        if self._started and (run.activity or 0.0) >= self._since:
            return _LastCheck("", -math.inf)
        first = _LastCheck(status.state, _last_step(run))
        if not status.live:
            # An ended run cannot have an event before it changes, so it need not be judged before that.
            first.revision = run.revision
        return first

    @staticmethod
    def _new_critical(run: Run, last: _LastCheck, judgement: Judgement) -> list[Finding]:
        """Return the critical findings to report now, and remember them.

        A finding that comes back is reported again only if it began after the step at which it was last reported.
        """
        at = _last_step(run)
        found = {
            one.code: one
            for one in judgement.findings
            if one.severity == "critical" and not one.over and one.code not in STATE_FINDINGS
        }
        if last.critical is None:
            reported = dict.fromkeys(found, last.step)
        else:
            # After a run went back to an earlier step (a resume), its findings count as not reported.
            reported = {code: step for code, step in last.reported.items() if step <= at}
        before = last.critical or frozenset()
        new = [
            one
            for code, one in found.items()
            if code not in before and (one.step if one.step is not None else -1.0) > reported.get(code, -math.inf)
        ]
        last.critical, last.reported = frozenset(found), {**reported, **{one.code: at for one in new}}
        return new


def _last_step(run: Run) -> float:
    last = run.timeline.last
    return float(last.step) if last is not None and last.step is not None else 0.0


def event_line(event: Event, words: Words) -> str:
    """Return the event in one line for people."""
    text = run_summary(event.run, event.time, words)
    if event.kind == "held":
        text = f"{clean(event.condition)}  {text}"
    elif event.finding is not None:
        text += "  " + words.finding(event.finding)[0]
    return f"{clean(event.run.name)}  {text}"


def event_json(event: Event, words: Words) -> str:
    """Return the event as one line of strict JSON (schema 1), with the parts :data:`SNAPSHOT_KEYS` of the snapshot."""
    from lora_tui.report.status_json import iso_time, snapshot

    whole = snapshot(event.run, event.time, words, event.judgement).model_dump(exclude_none=True)
    data: dict[str, object] = {
        "schema": 1, "event": event.kind, "time": iso_time(event.time), "text": event_line(event, words),
    }  # fmt: skip
    if event.condition:
        data["condition"] = event.condition
    data |= {key: whole[key] for key in SNAPSHOT_KEYS if key in whole}
    if event.finding is not None:
        data["finding"] = next(each for each in whole["findings"] if each["code"] == event.finding.code)
    return escape_json(json.dumps(data, ensure_ascii=False, allow_nan=False)) + "\n"


class Notifier:
    """Detect events and run the user's command for each, if there is one.

    ``bell``: the caller must ring the terminal's bell for each event as well.
    """

    def __init__(self, hook: Hook | None, bell: bool, context: Context = PLAIN) -> None:
        self._hook = hook
        self.bell = bell
        self._detector = EventDetector(time.time(), context)
        self._started = False

    @property
    def pending(self) -> bool:
        """Whether :meth:`check` should be called again soon, even if nothing else changes."""
        return self._detector.pending

    def check(
        self,
        runs: Iterable[Run],
        now: float,
        words: Words,
        status: Callable[[Run], Status],
        budget_s: float = math.inf,
    ) -> list[str]:
        """Notify of the events since the last check (see :meth:`EventDetector.check`); return a line for each."""
        if self._hook is not None and not self._started:
            # The JSON of an event needs imports that take a tenth of a second: a thread does them ahead of time.
            threading.Thread(target=import_module, args=("lora_tui.report.status_json",), daemon=True).start()
        self._started = True
        return [self.notify(event, words) for event in self._detector.check(runs, now, status, budget_s)]

    def notify(self, event: Event, words: Words) -> str:
        """Run the command for one event and return the event in one line."""
        if self._hook is not None:
            names = {"LORA_TUI_EVENT": event.kind, "LORA_TUI_RUN": clean(event.run.name)}
            self._hook.start(event_json(event, words), names)
        return event_line(event, words)

    def close(self, patience_s: float) -> int:
        """Wait at most ``patience_s`` seconds for commands; return how many still run (see :meth:`Hook.close`)."""
        return self._hook.close(patience_s) if self._hook is not None else 0
