"""``wait``: wait until runs have ended or a condition holds.

A run that had ended before the command was started counts as ended. A stalled run counts as ended while it is
stalled; if it goes on before the others have ended, it is waited for again. A condition needs to hold only once for a
run; it is evaluated for the newest row, not for every row. Exit codes: 0 done, 1 error, 2 usage, 3 a run failed, was
interrupted or stalled, or ended without the condition, 4 timeout, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_tui.analysis import judge
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.commands.status import INTERRUPTED, POLL_S
from lora_tui.cli.common import (
    ErrorReporter,
    apply_batch,
    check_errors,
    check_logs,
    check_metric_names,
    context_of,
    no_run_named,
    parse_condition,
    print_error,
    printable,
    read_runs,
    settings_of,
    several_runs,
    words_of,
)
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.notify.hook import Hook
from lora_tui.notify.run_events import Event, Notifier
from lora_tui.query.parser import Expression
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.settings import Settings
from lora_tui.text.sanitize import clean
from lora_tui.wording.sentences import run_summary

DONE, ENDED_BADLY, TIMED_OUT = 0, 3, 4
"""Exit codes besides those of every command: the run failed, was interrupted or stalled (3); timeout (4)."""
BAD_STATES = frozenset({"failed", "interrupted", "stalled"})
END_STATES = BAD_STATES | {"finished", "stopped"}
CLOCK_S = 1.0
"""Seconds between two checks while no file changes, for changes of state that come with time alone."""
MIN_INTERVAL_S = 0.2
"""Least seconds between two checks while rows arrive."""
HOOK_TIMEOUT_S = 10.0
"""Seconds to wait at the end for commands of ``--on-event`` that still run."""


def main(args: argparse.Namespace) -> int:
    """Wait, and return the exit code.

    Raises CommandError for a name of no run or of several, and for a path that cannot be read; UsageError for a
    condition that cannot be parsed; SettingsError.
    """
    settings = settings_of(args)
    words = words_of(args.lang, False, settings)
    expression: Expression | None = None
    if args.until is not None:
        expression = parse_condition("--until", args.until, words)
    check_logs(args.log, words)
    paths = _resolve(args.runs, args.log, words)
    command, bell = settings.on_event(args.on_event), settings.bell(args.bell)
    hook = Hook(command, words, print_error, sys.stderr.buffer) if command else None
    notifier = Notifier(hook, bell, settings.context) if hook is not None or bell else None
    follower = Follower(paths, args.log, args.poll, cwd=Path.cwd())
    try:
        logs = tuple(log.absolute() for log in args.log) if len(paths) == 1 else ()
        awaited = [_AwaitedRun(path, logs) for path in paths]
        return _Waiter(follower, awaited, expression, args.any, notifier, settings, words).wait(args.timeout)
    finally:
        follower.close()
        if notifier is not None and (left := notifier.close(HOOK_TIMEOUT_S)):
            print_error(words.n("cli.event.left", left))


def _resolve(names: Sequence[str], logs: Sequence[Path], words: Words) -> list[Path]:
    """Return the absolute path of each name: an existing path, a run of that name below the current directory, or a
    path that does not exist yet.

    Raises CommandError for a name that no run has, or several.
    """
    known: Workspace | None = None
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists() and not _is_path(name):
            if known is None:
                follower, known = read_runs([Path()], words, logs)
                follower.close()
            runs = known.find(name)
            if len(runs) > 1:
                raise several_runs(name, runs, words)
            if not runs and "/" not in name:
                raise no_run_named(name, words)
            path = runs[0].path if runs else path
        paths.append(path.absolute())
    return list(dict.fromkeys(paths))


def _is_path(name: str) -> bool:
    """Return whether a name must be a path that does not exist yet, by its form or because its parent exists."""
    return name.startswith(("/", "./", "../")) or ("/" in name.strip("/") and Path(name).parent.is_dir())


@dataclass
class _AwaitedRun:
    """One run that the command waits for."""

    path: Path
    logs: tuple[Path, ...] = ()
    """Console logs that can belong to this run alone; a job may die before it creates its directory."""
    run: Run | None = None
    state: str = ""
    since: float = 0.0
    """Unix time since which the run has been in ``state``."""
    held: bool = False
    """Whether the condition has held."""
    reported_missing: bool = False

    @property
    def ended(self) -> bool:
        """Whether the run has ended or is stalled."""
        return self.state in END_STATES

    @property
    def name(self) -> str:
        """Name for messages."""
        return clean(self.run.name) if self.run is not None else printable(self.path)

    def find(self, runs: Sequence[Run], words: Words) -> None:
        """Find the run among ``runs``. Raises CommandError if the path contains several runs."""
        path = self.path
        found = [run for run in runs if run.path == path]
        found = found or [run for run in runs if path in run.path.parents or _has_log(run, path)]
        found = found or [run for run in runs if run.path in self.logs]
        if len(found) > 1:
            raise several_runs(str(path), found, words)
        self.run = found[0] if found else None


def _has_log(run: Run, path: Path) -> bool:
    """Return whether the file at ``path`` is a console log of the run."""
    times = run.files.times
    return str(path) in times or (path.parent == run.path and path.name in times)


class _Waiter:
    """Follow the runs until the exit code is decided."""

    def __init__(
        self, follower: Follower, awaited: Sequence[_AwaitedRun], expression: Expression | None, any_: bool,
        notifier: Notifier | None, settings: Settings, words: Words,
    ) -> None:  # fmt: skip
        self._follower = follower
        self._workspace = Workspace(follower.roots)
        self._siblings = SiblingIndex(self._workspace)
        self._awaited = awaited
        self._expression = expression
        self._any = any_
        self._notifier = notifier
        self._settings = settings
        self._words = words

    def wait(self, timeout_s: float | None) -> int:
        """Block until the exit code is decided, and return it."""
        end = time.monotonic() + timeout_s if timeout_s is not None else None
        follower, workspace = self._follower, self._workspace
        for batch in follower.read_all():
            apply_batch(workspace, batch, self._words)
            if batch.error is not None:
                raise batch.error
        check_errors(follower, self._words)
        self._find()
        if self._expression is not None:
            check_metric_names("--until", self._expression, workspace.runs, self._words)
        gc.enable()
        interrupts: list[int] = []
        # A handler that raised KeyboardInterrupt could do so inside watchdog, whose locks would then never be released.
        before = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
        errors = ErrorReporter(self._words, follower)
        follower.start_watching()
        complete = changed = True
        checked = 0.0
        try:
            while not interrupts:
                since = time.monotonic() - checked
                if complete and since >= (MIN_INTERVAL_S if changed else CLOCK_S):
                    checked, changed = time.monotonic(), False
                    if (code := self._check(time.time())) is not None:
                        return code
                if end is not None and time.monotonic() >= end:
                    return self._timed_out(timeout_s or 0.0)
                pause = POLL_S if end is None else min(POLL_S, max(0.0, end - time.monotonic()))
                if follower.wait(pause):
                    batch = follower.read(MIN_INTERVAL_S)
                    errors.report(batch)
                    apply_batch(workspace, batch, self._words)
                    complete, changed = batch.complete, True
            return INTERRUPTED
        finally:
            signal.signal(signal.SIGINT, before)

    def _find(self) -> None:
        """Match the paths with the runs that exist, and report once that a run is missing or gone."""
        for one in self._awaited:
            was, name = one.run, one.name
            one.find(self._workspace.runs, self._words)
            if one.run is not was:
                # The run is gone, is new, or was removed and created again.
                one.state = ""
            if one.run is None and (was is not None or not one.reported_missing):
                one.reported_missing = True
                key = "gone" if was is not None else "no_run" if one.path.exists() else "no_path"
                print_error(self._words.t(f"cli.wait.{key}", name=name))

    def _check(self, now: float) -> int | None:
        """Print what has changed, and return the exit code once it is decided."""
        self._find()
        runs = [one.run for one in self._awaited if one.run is not None]
        if self._notifier is not None:
            self._ring(bool(self._notifier.check(runs, now, self._words, lambda run: run.status(now))))
        for one in self._awaited:
            if one.run is not None and not one.held:
                self._check_run(one, one.run, now)
        return self._exit_code() if self._expression is None else self._exit_code_until()

    def _check_run(self, one: _AwaitedRun, run: Run, now: float) -> None:
        status = run.status(now)
        context = context_of(run, self._siblings, self._settings)
        if self._expression is not None and self._expression.holds(run, now, context):
            one.held = True
            self._print(one, f"{clean(self._expression.text)}  {run_summary(run, now, self._words)}")
            if self._notifier is not None:
                event = Event("held", run, now, judge(run, now, context), condition=self._expression.text)
                self._ring(bool(self._notifier.notify(event, self._words)))
        elif status.state != one.state and status.state in END_STATES:
            why = f"  {clean(status.failure.message, 200)}" if status.failure is not None else ""
            self._print(one, run_summary(run, now, self._words) + why)
        one.state, one.since = status.state, status.since or now

    def _print(self, one: _AwaitedRun, text: str) -> None:
        print(f"{self._words.clock(time.time())}  {one.name}  {text}", flush=True)

    def _exit_code(self) -> int | None:
        ended = [one for one in self._awaited if one.ended]
        if not ended or not (self._any or len(ended) == len(self._awaited)):
            return None
        # With --any the run that ended first decides.
        deciding = [min(ended, key=lambda one: one.since)] if self._any else ended
        return ENDED_BADLY if any(one.state in BAD_STATES for one in deciding) else DONE

    def _exit_code_until(self) -> int | None:
        held = [one for one in self._awaited if one.held]
        if held and (self._any or len(held) == len(self._awaited)):
            return DONE
        lost = [one for one in self._awaited if one.ended and not one.held]
        if not lost or (self._any and len(lost) < len(self._awaited)):
            return None
        assert self._expression is not None
        for one in lost:
            print_error(self._words.t("cli.wait.never", name=one.name, condition=clean(self._expression.text)))
        return ENDED_BADLY

    def _timed_out(self, after_s: float) -> int:
        words = self._words
        rest = [one for one in self._awaited if not (one.held if self._expression is not None else one.ended)]
        names = words.t("list.separator").join(one.name for one in rest)
        print_error(words.t("cli.wait.timeout", time=words.duration(after_s), names=names))
        return TIMED_OUT

    def _ring(self, notified: bool) -> None:
        if notified and self._notifier is not None and self._notifier.bell and sys.stderr.isatty():
            print("\a", end="", file=sys.stderr, flush=True)
