"""``wait``: until runs have ended or a condition holds.

A run that has ended already counts. One that is stalled counts as ended while it is; should it go on before the others
have ended, it is waited for again. A condition counts from the first moment at which it held for a run; it is judged by
the newest row, not by every row. Exit codes: 0 done, 1 cannot, 2 usage, 3 a run failed, was interrupted or stalled or
has ended without the condition, 4 timed out, 130 Ctrl-C.
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
from lora_tui.cli.commands.status import INTERRUPTED, LISTEN_S
from lora_tui.cli.common import Faults, check_errors, complain, context_of, read, settings_of, shown, words_of
from lora_tui.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.notify.events import Event, Notifier
from lora_tui.notify.hook import Hook
from lora_tui.query.parser import Expression
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.settings import Settings
from lora_tui.text.sanitize import clean
from lora_tui.wording.sentences import run_summary

DONE, BADLY, TIMED_OUT = 0, 3, 4
"""Exit codes."""
BAD = frozenset({"failed", "interrupted", "stalled"})
ENDED = BAD | {"finished", "stopped"}
CLOCK_S = 1.0
"""How often it is looked at what changes by the clock alone."""
LEAST_S = 0.2
"""Rows that come faster are looked at together."""
PATIENCE_S = 10.0
"""How long commands of events may go on at the end."""


def main(args: argparse.Namespace) -> int:
    """The command."""
    settings = settings_of(args)
    words = words_of(args.lang, False, settings)
    expression: Expression | None = None
    if args.until is not None:
        from lora_tui.cli.conditions import understand

        expression = understand("--until", args.until, words)
    for log in args.log:
        if not log.exists():
            raise CommandError(words.t("cli.error.log_missing", path=shown(log)))
    paths = _resolve(args.runs, args.log, words)
    command, bell = settings.on_event(args.on_event), settings.bell(args.bell)
    hook = Hook(command, words, complain, sys.stderr.buffer) if command else None
    notifier = Notifier(hook, bell, settings.context) if hook is not None or bell else None
    follower = Follower(paths, args.log, args.poll, cwd=Path.cwd())
    try:
        logs = tuple(log.absolute() for log in args.log) if len(paths) == 1 else ()
        awaited = [_Awaited(path, logs) for path in paths]
        return _Watch(follower, awaited, expression, args.any, notifier, settings, words).wait(args.timeout)
    finally:
        follower.close()
        if notifier is not None and (left := notifier.close(PATIENCE_S)):
            complain(words.n("cli.event.left", left))


def _resolve(names: Sequence[str], logs: Sequence[Path], words: Words) -> list[Path]:
    """The paths meant: what exists, the unique run of a name below the current directory, or a path yet to come.

    Raises CommandError for a name without a run, or with several.
    """
    known: Workspace | None = None
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists() and not _is_path(name):
            if known is None:
                follower, known = read([Path()], logs)
                follower.close()
            runs = known.find(name)
            if len(runs) > 1:
                raise _several(name, runs, words)
            if not runs and "/" not in name:
                raise CommandError(words.t("cli.error.no_run_named", name=clean(name), path=shown(Path.cwd())))
            path = runs[0].path if runs else path
        paths.append(path.absolute())
    return list(dict.fromkeys(paths))


def _is_path(name: str) -> bool:
    """A path that does not exist yet, for sure: it says so itself, or the directory that will hold it is there."""
    return name.startswith(("/", "./", "../")) or ("/" in name.strip("/") and Path(name).parent.is_dir())


def _several(name: str, runs: Sequence[Run], words: Words) -> CommandError:
    names = ", ".join(clean(run.name) for run in runs[:20]) + (", …" if len(runs) > 20 else "")
    return CommandError(words.t("cli.error.several", name=clean(name), names=names))


@dataclass
class _Awaited:
    """One of the runs that are waited for."""

    path: Path
    logs: tuple[Path, ...] = ()
    """Console logs that can only be its own: what is known of a job that dies before its directory is there."""
    run: Run | None = None
    state: str = ""
    since: float = 0.0
    """When it ended, Unix seconds."""
    held: bool = False
    told_missing: bool = False

    @property
    def ended(self) -> bool:
        """It has ended, for now."""
        return self.state in ENDED

    @property
    def name(self) -> str:
        """What to call it."""
        return clean(self.run.name) if self.run is not None else shown(self.path)

    def find(self, runs: Sequence[Run], words: Words) -> None:
        """Its run as it is known now. Raises CommandError where a directory turns out to hold several."""
        path = self.path
        found = [run for run in runs if run.path == path]
        found = found or [run for run in runs if path in run.path.parents or _has_log(run, path)]
        found = found or [run for run in runs if run.path in self.logs]
        if len(found) > 1:
            raise _several(str(path), found, words)
        self.run = found[0] if found else None


def _has_log(run: Run, path: Path) -> bool:
    """The file is a console log of the run."""
    times = run.files.times
    return str(path) in times or (path.parent == run.path and path.name in times)


class _Watch:
    """Follows the runs until it is clear how the waiting ends."""

    def __init__(
        self, follower: Follower, awaited: Sequence[_Awaited], expression: Expression | None, any_: bool,
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
        """Block; the exit code."""
        end = time.monotonic() + timeout_s if timeout_s is not None else None
        follower, workspace = self._follower, self._workspace
        for batch in follower.read_all():
            workspace.apply(batch)
        check_errors(follower, self._words)
        self._find()
        if self._expression is not None:
            from lora_tui.cli.conditions import check_names

            check_names("--until", self._expression, workspace.runs, self._words)
        gc.enable()
        left: list[int] = []
        # As an exception it could strike inside the watching library, whose locks would then never be released.
        before = signal.signal(signal.SIGINT, lambda number, _frame: left.append(number))
        faults = Faults(self._words, follower)
        follower.start_watching()
        whole = changed = True
        looked = 0.0
        try:
            while not left:
                since = time.monotonic() - looked
                if whole and since >= (LEAST_S if changed else CLOCK_S):
                    looked, changed = time.monotonic(), False
                    if (code := self._look(time.time())) is not None:
                        return code
                if end is not None and time.monotonic() >= end:
                    return self._timed_out(timeout_s or 0.0)
                pause = LISTEN_S if end is None else min(LISTEN_S, max(0.0, end - time.monotonic()))
                if follower.wait(pause):
                    batch = follower.read(LEAST_S)
                    faults.tell(batch)
                    workspace.apply(batch)
                    whole, changed = batch.complete, True
            return INTERRUPTED
        finally:
            signal.signal(signal.SIGINT, before)

    def _find(self) -> None:
        """Match what is waited for with the runs that there are; what is not there (any more) is said once."""
        for one in self._awaited:
            was, name = one.run, one.name
            one.find(self._workspace.runs, self._words)
            if one.run is not was:
                # Gone, come, or removed and made anew.
                one.state = ""
            if one.run is None and (was is not None or not one.told_missing):
                one.told_missing = True
                key = "gone" if was is not None else "no_run" if one.path.exists() else "no_path"
                complain(self._words.t(f"cli.wait.{key}", name=name))

    def _look(self, now: float) -> int | None:
        """Tell what became so, and the exit code once that is decided."""
        self._find()
        runs = [one.run for one in self._awaited if one.run is not None]
        if self._notifier is not None:
            self._ring(bool(self._notifier.check(runs, now, self._words, lambda run: run.status(now))))
        for one in self._awaited:
            if one.run is not None and not one.held:
                self._look_at(one, one.run, now)
        return self._verdict() if self._expression is None else self._verdict_until()

    def _look_at(self, one: _Awaited, run: Run, now: float) -> None:
        status = run.status(now)
        context = context_of(run, self._siblings, self._settings)
        if self._expression is not None and self._expression.holds(run, now, context):
            one.held = True
            self._say(one, f"{clean(self._expression.text)}  {run_summary(run, now, self._words)}")
            if self._notifier is not None:
                event = Event("held", run, now, judge(run, now, context), condition=self._expression.text)
                self._ring(bool(self._notifier.notify(event, self._words)))
        elif status.state != one.state and status.state in ENDED:
            why = f"  {clean(status.failure.message, 200)}" if status.failure is not None else ""
            self._say(one, run_summary(run, now, self._words) + why)
        one.state, one.since = status.state, status.since or now

    def _say(self, one: _Awaited, text: str) -> None:
        print(f"{self._words.clock(time.time())}  {one.name}  {text}", flush=True)

    def _verdict(self) -> int | None:
        ended = [one for one in self._awaited if one.ended]
        if not ended or not (self._any or len(ended) == len(self._awaited)):
            return None
        # With --any the one that ended first decides.
        deciding = [min(ended, key=lambda one: one.since)] if self._any else ended
        return BADLY if any(one.state in BAD for one in deciding) else DONE

    def _verdict_until(self) -> int | None:
        held = [one for one in self._awaited if one.held]
        if held and (self._any or len(held) == len(self._awaited)):
            return DONE
        lost = [one for one in self._awaited if one.ended and not one.held]
        if not lost or (self._any and len(lost) < len(self._awaited)):
            return None
        assert self._expression is not None
        for one in lost:
            complain(self._words.t("cli.wait.never", name=one.name, condition=clean(self._expression.text)))
        return BADLY

    def _timed_out(self, after_s: float) -> int:
        words = self._words
        rest = [one for one in self._awaited if not (one.held if self._expression is not None else one.ended)]
        names = words.t("list.separator").join(one.name for one in rest)
        complain(words.t("cli.wait.timeout", time=words.duration(after_s), names=names))
        return TIMED_OUT

    def _ring(self, told: bool) -> None:
        if told and self._notifier is not None and self._notifier.bell and sys.stderr.isatty():
            print("\a", end="", file=sys.stderr, flush=True)
