"""``watch`` and ``demo``: start the app on the user's runs, or on sample runs that are replayed.

The first frame of the app shows what can be read within :data:`FIRST_READ_S`.
"""

from __future__ import annotations

import argparse
import os
import select
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_tui.cli.common import check_logs, settings_of
from lora_tui.cli.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.saved_choices import save_choice
from lora_tui.settings.settings import Settings
from lora_tui.text.sanitize import clean
from lora_tui.tui.options import AppOptions
from lora_tui.tui.terminal.capabilities import can_draw, is_monochrome, may_be_wide

if TYPE_CHECKING:
    from lora_tui.notify.run_events import Notifier

EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
"""Signals on which the app restores the terminal, removes the demo's directory, and exits."""
FIRST_READ_S, FIRST_LOG_S = 0.05, 0.01
"""Most seconds of reading before the first frame, in all and for the log of one run; the rest is read afterwards."""


def _check_terminal(args: argparse.Namespace, words: Words, paths: Sequence[Path]) -> None:
    """Raise CommandError if there is no terminal to draw on; a screenshot needs none."""
    dumb = os.environ.get("TERM") in ("dumb", "unknown")
    if args.screenshot is None and (dumb or not (sys.stdin.isatty() and sys.stdout.isatty())):
        path = clean(shlex.quote(str(paths[0]))) if len(paths) == 1 else "RUN"
        raise CommandError(words.t("cli.error.no_terminal", command=args.command, path=path))


def watch(args: argparse.Namespace) -> int:
    """Run the app on the paths of the command line; return the exit code.

    Raises CommandError without a terminal and for a missing ``--log`` file; SettingsError.
    """
    paths: list[Path] = args.paths or [Path()]
    settings = settings_of(args)
    words = Words(settings.language(args.lang))
    _check_terminal(args, words, paths)
    check_logs(args.log, words)
    follower = Follower(paths, args.log, args.poll, cwd=Path.cwd(), sample=True)
    return _run_app(args, settings, follower, " ".join(map(str, paths)), args.run)


def demo(args: argparse.Namespace) -> int:
    """Run the app on sample runs that a second process replays; return the exit code.

    Raises CommandError without a terminal and where the samples cannot be replayed; SettingsError.
    """
    settings = settings_of(args)
    _check_terminal(args, Words(settings.language(args.lang)), [Path("RUN")])
    from lora_tui.demo.samples import SampleError, demo_directory

    # From here on there is a process to end and a directory to remove, at whatever moment a signal comes.
    exit_request = _ExitRequest()
    try:
        with demo_directory(args.speed) as directory:
            code = 0
            if not exit_request.received:
                code = _run_app(args, settings, Follower([directory]), "demo", None, exit_request)
            exit_request.handle_signals()
            return code
    except SampleError as error:
        raise CommandError(str(error)) from error


class _ExitRequest:
    """Handler of the exit signals, whose default action would leave the terminal in the state of the app."""

    def __init__(self) -> None:
        self.received = False
        self._exit: Callable[[], None] | None = None
        self.handle_signals()

    def handle_signals(self) -> None:
        """Install the handlers. Call it again after the app has ended, since the app installs its own."""
        for number in EXIT_SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        self.received = True
        if self._exit is not None:
            self._exit()

    def on_signal(self, exit_app: Callable[[], None]) -> None:
        """Call ``exit_app`` on a signal, or at once if a signal came before."""
        self._exit = exit_app
        if self.received:
            exit_app()


def _run_app(
    args: argparse.Namespace,
    settings: Settings,
    follower: Follower,
    title: str,
    run: str | None,
    exit_request: _ExitRequest | None = None,
) -> int:
    workspace = Workspace(follower.roots)
    for batch in follower.read_all() if args.screenshot is not None else [follower.read(FIRST_READ_S, FIRST_LOG_S)]:
        # An error in the search for runs comes again in the first batch of the app, which shows it.
        workspace.apply(batch)
    from lora_tui.tui.app import LoraTuiApp

    notifier = _notifier(args, settings, lambda line: app.command_failed(line)) if args.command == "watch" else None
    if is_monochrome(os.environ):
        os.environ.setdefault("NO_COLOR", "1")
    lang, glyphs = settings.language(args.lang), settings.glyphs(args.glyphs)
    glyphs_chosen = settings.choose("ui.glyphs", args.glyphs).origin != "default"
    if not glyphs_chosen and args.screenshot is None and not can_draw(sys.stdout.encoding):
        glyphs = "ascii"
    options = AppOptions(
        lang=lang,
        theme=settings.theme(args.theme),
        glyphs=glyphs,
        ask_width=not glyphs_chosen and glyphs == "unicode" and may_be_wide(lang, os.environ),
        context=settings.context,
        run=run,
        title=title,
        save_choice=save_choice,
        notifier=notifier,
        clock=time.time,
        screenshot=args.screenshot,
        missing=tuple((str(p), str(next(up for up in p.parents if up.exists()))) for p in follower.missing),
    )
    app = LoraTuiApp(workspace, follower, options)
    try:
        if args.screenshot is None:
            _exit_without_terminal()
            (exit_request or _ExitRequest()).on_signal(app.leave)  # until the app handles signals itself
            app.run()
        else:
            # A screenshot needs no terminal; it has the size of the terminal if there is one, or COLUMNS and LINES.
            app.run(headless=True, size=shutil.get_terminal_size((120, 40)))
    finally:
        follower.close()
        if notifier is not None:
            notifier.close(0.0)
        app.stop_input()
    if app.crash:
        # Printed when the terminal is restored, so that no frame overwrites it.
        print(app.crash, file=sys.stderr, end="")
        return 1
    return app.return_code or 0


def _notifier(args: argparse.Namespace, settings: Settings, report_failure: Callable[[str], object]) -> Notifier | None:
    """Return the notifier of events, or None when no command or bell is configured.

    ``report_failure`` is called with one line when the command fails.
    """
    command, bell = settings.on_event(args.on_event), settings.bell(args.bell)
    if not command and not bell:
        return None
    from lora_tui.notify.hook import Hook
    from lora_tui.notify.run_events import Notifier

    hook = Hook(command, Words(settings.language(args.lang)), report_failure) if command else None
    return Notifier(hook, bell, settings.context)


def _exit_without_terminal() -> None:
    """Send this process SIGTERM when the terminal is gone, since nohup, setsid and some containers send no SIGHUP."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)

    def wait() -> None:
        if any(event & select.POLLHUP for _, event in poll.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    if sys.stdin.isatty():
        threading.Thread(target=wait, name="hang-up", daemon=True).start()
