"""What becomes of runs while they are watched, told to a command of the user's own.

Events: a run has ``finished``, ``stopped``, ``failed``, was ``interrupted``, has ``stalled``, has a ``finding`` that is
critical; ``held``: the condition of ``wait --until`` holds. Each is told once an occurrence, and never what was already
so when the watching began.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from typing import IO, Literal

from lora_tui.analysis import PLAIN, Context, Finding, Judgement, judge
from lora_tui.i18n import Words
from lora_tui.runs.run import Run, Status
from lora_tui.text.sanitize import clean, escape_json
from lora_tui.wording.oneline import summary

Kind = Literal["finished", "stopped", "failed", "interrupted", "stalled", "finding", "held"]
ENDINGS: Mapping[str, Kind] = {
    "finished": "finished", "stopped": "stopped", "failed": "failed", "interrupted": "interrupted",
    "stalled": "stalled",
}  # fmt: skip
"""State -> what is told when a run enters it."""
OF_STATES = frozenset({"failed", "out_of_memory", "interrupted", "stalled"})
"""Findings that say what the state says: one cause, one event."""
JUDGE_EVERY_S = 1.0
"""A run that changes is not judged more often than this."""
SNAPSHOT = ("run", "state", "phase", "updated_at", "progress", "metrics", "results")
"""What an event has of ``status --json``."""
AT_ONCE = 8
"""Commands that run at the same time; more of them wait for their turn."""


@dataclass(frozen=True)
class Event:
    """Something became so."""

    kind: Kind
    run: Run
    time: float
    """Unix time at which it was seen."""
    judgement: Judgement
    """What was thought of the run then."""
    finding: Finding | None = None
    """The critical finding, or the one that says why the run has ended so."""
    condition: str = ""
    """What holds, of ``held``."""


@dataclass
class _Known:
    """What was so when a run was last looked at."""

    state: str
    step: float
    """What began at this step or before was so at the first look."""
    revision: int = -1
    """Of the last judgement."""
    judged_at: float = -math.inf
    there: frozenset[str] | None = None
    """Codes of the critical findings at the last judgement, ``None`` before the first."""
    told: dict[str, float] = field(default_factory=dict)
    """Code -> the run's last step when it was told."""


class Witness:
    """Sees events. ``since``: Unix time at which the watching began."""

    def __init__(self, since: float, context: Context = PLAIN) -> None:
        self._since = since
        self._context = context
        self.pending = False
        """The last look had to leave something for the next."""
        self._known: dict[Run, _Known] = {}
        self._begun = False

    def look(
        self, runs: Iterable[Run], now: float, status: Callable[[Run], Status], budget_s: float = math.inf
    ) -> Iterator[Event]:
        """What became so since the last look. Only to be called while nothing of the files is half read.

        After ``budget_s`` seconds, those of whoever takes the events included, the rest is left for the next look.
        """
        end = time.monotonic() + budget_s
        # A run that is gone and comes back is a new one.
        self._known = {run: self._known.get(run) or self._meet(run, status(run)) for run in runs}
        self._begun = True
        self.pending = False
        for run, seen in self._known.items():
            state = status(run)
            begun = time.monotonic()
            changed = run.revision != seen.revision
            due = changed and begun - seen.judged_at >= JUDGE_EVERY_S
            if (state.state == seen.state and not due) or begun > end:
                self.pending = self.pending or changed or state.state != seen.state
                continue
            judgement = judge(run, now, self._context)
            kind = ENDINGS.get(state.state) if state.state != seen.state else None
            fresh = self._fresh(run, seen, judgement)
            seen.state, seen.revision, seen.judged_at = state.state, run.revision, begun
            if kind is not None:
                why = next((one for one in judgement.findings if one.code in OF_STATES and not one.over), None)
                yield Event(kind, run, now, judgement, why if kind in OF_STATES else None)
            for finding in fresh:
                yield Event("finding", run, now, judgement, finding)

    def _meet(self, run: Run, status: Status) -> _Known:
        """What was there at the start, or is older than the watching, is as it is; of another run all is news."""
        if self._begun and (run.activity or 0.0) >= self._since:
            return _Known("", -math.inf)
        known = _Known(status.state, _last_step(run))
        if not status.live:
            # Nothing comes of it but by a change: it need not be judged before that.
            known.revision = run.revision
        return known

    @staticmethod
    def _fresh(run: Run, seen: _Known, judgement: Judgement) -> list[Finding]:
        """The critical findings that were not there before; one that comes back must have begun after it was told."""
        at = _last_step(run)
        found = {
            one.code: one
            for one in judgement.findings
            if one.severity == "critical" and not one.over and one.code not in OF_STATES
        }
        if seen.there is None:
            told = dict.fromkeys(found, seen.step)
        else:
            # Of a run that went back, the next attempt is told anew.
            told = {code: step for code, step in seen.told.items() if step <= at}
        there = seen.there or frozenset()
        fresh = [
            one
            for code, one in found.items()
            if code not in there and (one.step if one.step is not None else -1.0) > told.get(code, -math.inf)
        ]
        seen.there, seen.told = frozenset(found), {**told, **{one.code: at for one in fresh}}
        return fresh


def _last_step(run: Run) -> float:
    last = run.timeline.last
    return float(last.step) if last is not None and last.step is not None else 0.0


def said(event: Event, words: Words) -> str:
    """The event in a line."""
    text = summary(event.run, event.time, words)
    if event.kind == "held":
        text = f"{clean(event.condition)}  {text}"
    elif event.finding is not None:
        text += "  " + words.finding(event.finding)[0]
    return f"{clean(event.run.name)}  {text}"


def payload(event: Event, words: Words) -> str:
    """The event as a line of strict JSON, schema 1, with the parts of ``status --json`` that say how the run stands."""
    from lora_tui.report.snapshot import snapshot

    whole = snapshot(event.run, event.time, words, event.judgement).model_dump(exclude_none=True)
    moment = datetime.fromtimestamp(event.time, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    data: dict[str, object] = {"schema": 1, "event": event.kind, "time": moment, "text": said(event, words)}
    if event.condition:
        data["condition"] = event.condition
    data |= {key: whole[key] for key in SNAPSHOT if key in whole}
    if event.finding is not None:
        data["finding"] = next(each for each in whole["findings"] if each["code"] == event.finding.code)
    return escape_json(json.dumps(data, ensure_ascii=False, allow_nan=False)) + "\n"


class Hook:
    """Runs the user's command for events, in the background: nobody waits for it but :meth:`close`.

    The command is the user's own line for their shell; of a file nothing gets into it: the event is JSON on its stdin,
    and ``LORA_TUI_EVENT`` and ``LORA_TUI_RUN`` (the name without control characters) are in its environment.
    ``output``: where its output goes; ``None`` discards it. ``tell`` gets a line when it fails, from another thread,
    and not the same line twice in a row.
    """

    def __init__(
        self, command: str, words: Words, tell: Callable[[str], object], output: IO[bytes] | None = None
    ) -> None:
        self._command = command
        self._words = words
        self._tell = tell
        self._output = output
        self._told = ""
        self._queue: deque[tuple[str, dict[str, str]]] = deque()
        self._busy = 0
        self._change = threading.Condition()

    def put(self, text: str, environment: Mapping[str, str]) -> None:
        """Run the command with ``text`` on its stdin, as soon as there is a place for it."""
        with self._change:
            self._queue.append((text, {**os.environ, **environment}))
            if self._busy < AT_ONCE:
                self._busy += 1
                threading.Thread(target=self._work, name="event", daemon=True).start()

    def close(self, patience_s: float) -> int:
        """Wait for the commands at most so long; returns how many still run, and are left to end by themselves."""
        with self._change:
            self._change.wait_for(lambda: not self._busy, patience_s)
            self._queue.clear()
            return self._busy

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._queue:
                    self._busy -= 1
                    self._change.notify_all()
                    return
                text, environment = self._queue.popleft()
            failure = self._run(text, environment)
            if failure and failure != self._told:
                self._told = failure
                self._tell(failure)

    def _run(self, text: str, environment: Mapping[str, str]) -> str:
        """One command from start to end; what went wrong, in a line."""
        from tempfile import TemporaryFile

        shell = os.environ.get("SHELL", "")
        shell = shell if os.access(shell, os.X_OK) else "/bin/sh"
        try:
            # Files, not pipes: a command that reads nothing or says much can neither block nor be blocked.
            with TemporaryFile() as stdin, TemporaryFile() as errors:
                stdin.write(text.encode())
                stdin.seek(0)
                # A session of its own: neither Ctrl-C nor the end of the terminal is meant for it.
                process = subprocess.Popen(
                    [shell, "-c", self._command], stdin=stdin, env=environment, start_new_session=True,
                    stdout=self._output or subprocess.DEVNULL, stderr=self._output or errors,
                )  # fmt: skip
                code = process.wait()
                if code == 0:
                    return ""
                errors.seek(0)
                lines = errors.read(1 << 20).decode("utf-8", "replace").strip().splitlines()
        except OSError as error:
            return self._words.t("cli.event.error", reason=error.strerror or str(error))
        last = clean(lines[-1], 200) if lines else ""
        return self._words.t("cli.event.failed_saying" if last else "cli.event.failed", code=code, said=last)


class Notices:
    """Who is told of events: the user's command, the terminal's bell, or both."""

    def __init__(self, hook: Hook | None, bell: bool, context: Context = PLAIN) -> None:
        self._hook = hook
        self.bell = bell
        self._witness = Witness(time.time(), context)
        self._begun = False

    @property
    def pending(self) -> bool:
        """There is something to look at soon, whether or not more comes."""
        return self._witness.pending

    def look(
        self,
        runs: Iterable[Run],
        now: float,
        words: Words,
        status: Callable[[Run], Status],
        budget_s: float = math.inf,
    ) -> list[str]:
        """Tell of what became so since the last look (see :meth:`Witness.look`); a line for each."""
        if self._hook is not None and not self._begun:
            # What an event is made of takes a tenth of a second to import: nobody should wait for that.
            os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
            threading.Thread(target=import_module, args=("lora_tui.report.snapshot",), daemon=True).start()
        self._begun = True
        return [self.tell(event, words) for event in self._witness.look(runs, now, status, budget_s)]

    def tell(self, event: Event, words: Words) -> str:
        """Run the command for an event; the event in a line."""
        if self._hook is not None:
            names = {"LORA_TUI_EVENT": event.kind, "LORA_TUI_RUN": clean(event.run.name)}
            self._hook.put(payload(event, words), names)
        return said(event, words)

    def close(self, patience_s: float) -> int:
        """Wait for commands at most so long (see :meth:`Hook.close`)."""
        return self._hook.close(patience_s) if self._hook is not None else 0
