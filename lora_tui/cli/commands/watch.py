"""Starts the app for ``watch`` and ``demo``: what can be read at once is on its first frame."""

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

from lora_tui.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.saved_choices import save_choices
from lora_tui.settings.settings import Settings, load_settings
from lora_tui.text.sanitize import clean
from lora_tui.tui.options import AppOptions
from lora_tui.tui.terminal.capabilities import can_draw, is_monochrome, may_be_wide

if TYPE_CHECKING:
    from lora_tui.notify.events import Notifier

LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
"""Signals that leave the terminal as it was and nothing behind."""
FIRST_READ_S, FIRST_LOG_S = 0.05, 0.01
"""What is read before the first frame, and of one run: of a long log its beginning. The rest comes while it is on the
screen."""


def _settings(args: argparse.Namespace) -> Settings:
    """The user's settings, before the screen is taken. Raises CommandError."""
    return load_settings(getattr(args, "config", None), args.lang)


def _needs_terminal(args: argparse.Namespace, words: Words, paths: Sequence[Path]) -> None:
    dumb = os.environ.get("TERM") in ("dumb", "unknown")
    if args.screenshot is None and (dumb or not (sys.stdin.isatty() and sys.stdout.isatty())):
        path = clean(shlex.quote(str(paths[0]))) if len(paths) == 1 else "RUN"
        raise CommandError(words.t("cli.error.no_terminal", command=args.command, path=path))


def watch(args: argparse.Namespace) -> int:
    """The app on the paths given."""
    paths: list[Path] = args.paths or [Path()]
    settings = _settings(args)
    words = Words(settings.language(args.lang))
    _needs_terminal(args, words, paths)
    for log in args.log:
        if not log.exists():
            raise CommandError(words.t("cli.error.log_missing", path=clean(str(log))))
    follower = Follower(paths, args.log, args.poll, cwd=Path.cwd(), sample=True)
    return _show(args, settings, follower, " ".join(map(str, paths)), args.run)


def demo(args: argparse.Namespace) -> int:
    """The app on sample runs that a second process replays."""
    settings = _settings(args)
    _needs_terminal(args, Words(settings.language(args.lang)), [Path("RUN")])
    from lora_tui.demo.samples import SampleError, demo_directory

    # From here on there is a process and a directory to take along, whenever it is that somebody wants to leave.
    leaving = _Leaving()
    try:
        with demo_directory(args.speed) as directory:
            code = 0 if leaving.asked else _show(args, settings, Follower([directory]), "demo", None, leaving)
            leaving.listen()
            return code
    except SampleError as error:
        raise CommandError(str(error)) from error


class _Leaving:
    """Whether somebody wants to leave: by a signal, whose default action would leave the screen half taken over."""

    def __init__(self) -> None:
        self.asked = False
        self._leave: Callable[[], None] | None = None
        self.listen()

    def listen(self) -> None:
        """From now on; what is told when the app has ended changes nothing any more."""
        for number in LEAVING:
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self.asked = True
        if self._leave is not None:
            self._leave()

    def by(self, leave: Callable[[], None]) -> None:
        """``leave()`` does it, and does so at once where it was asked for before."""
        self._leave = leave
        if self.asked:
            leave()


def _show(
    args: argparse.Namespace,
    settings: Settings,
    follower: Follower,
    title: str,
    run: str | None,
    leaving: _Leaving | None = None,
) -> int:
    workspace = Workspace(follower.roots)
    for batch in follower.read_all() if args.screenshot is not None else [follower.read(FIRST_READ_S, FIRST_LOG_S)]:
        workspace.apply(batch)
    from lora_tui.tui.app import LoraTuiApp

    def save_choice(key: str, value: str) -> None:
        save_choices(**{key: value})

    notifier = _notifier(args, settings, lambda line: app.command_failed(line)) if args.command == "watch" else None
    if is_monochrome(os.environ):
        os.environ.setdefault("NO_COLOR", "1")
    lang, glyphs = settings.language(args.lang), settings.glyphs(args.glyphs)
    chosen = settings.choose("ui.glyphs", args.glyphs).origin != "default"
    if not chosen and args.screenshot is None and not can_draw(sys.stdout.encoding):
        glyphs = "ascii"
    options = AppOptions(
        lang=lang,
        theme=settings.theme(args.theme),
        glyphs=glyphs,
        ask_width=not chosen and glyphs == "unicode" and may_be_wide(lang, os.environ),
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
            from lora_tui.tui.terminal.driver import outlast

            outlast(app)
            _end_with_terminal()
            (leaving or _Leaving()).by(app.leave)  # until the app listens itself
            app.run()
        else:
            # A picture needs no terminal: it has the size of the one there is, or that of COLUMNS and LINES.
            app.run(headless=True, size=shutil.get_terminal_size((120, 40)))
    finally:
        follower.close()
        if notifier is not None:
            notifier.close(0.0)
        # On a terminal that is gone Textual fails before it tells its input thread to end, which would spin for ever.
        reading: threading.Event | None = getattr(app._driver, "exit_event", None)
        if reading is not None:
            reading.set()
    if app.crash:
        # The screen is as it was again: nothing of this is drawn over or lost.
        print(app.crash, file=sys.stderr, end="")
        return 1
    return app.return_code or 0


def _notifier(args: argparse.Namespace, settings: Settings, tell: Callable[[str], object]) -> Notifier | None:
    """Who wants to be told of events."""
    command, bell = settings.on_event(args.on_event), settings.bell(args.bell)
    if not command and not bell:
        return None
    from lora_tui.notify.events import Notifier
    from lora_tui.notify.hook import Hook

    hook = Hook(command, Words(settings.language(args.lang)), tell) if command else None
    return Notifier(hook, bell, settings.context)


def _end_with_terminal() -> None:
    """End the app when the terminal is gone, also where no SIGHUP tells of it: under nohup, setsid, some containers."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)

    def wait() -> None:
        if any(event & select.POLLHUP for _, event in poll.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    if sys.stdin.isatty():
        threading.Thread(target=wait, name="hang-up", daemon=True).start()
