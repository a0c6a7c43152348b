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
from lora_tui.follow import Follower
from lora_tui.keep import save_kept
from lora_tui.locale import Words
from lora_tui.settings import Settings, load_settings
from lora_tui.text import clean
from lora_tui.tui.options import AppOptions
from lora_tui.workspace import Workspace

if TYPE_CHECKING:
    from lora_tui.events import Notices

FIRST_READ_S = 0.05
"""What is read before the first frame, a log at least; the rest comes while it is on the screen."""


def _settings(args: argparse.Namespace) -> Settings:
    """The user's settings, before the screen is taken. Raises CommandError."""
    return load_settings(getattr(args, "config", None), args.lang)


def _needs_terminal(args: argparse.Namespace, words: Words, paths: Sequence[Path]) -> None:
    dumb = os.environ.get("TERM") == "dumb"
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
    follower = Follower(paths, args.log, args.poll, cwd=Path.cwd())
    return _show(args, settings, follower, " ".join(map(str, paths)), args.run)


def demo(args: argparse.Namespace) -> int:
    """The app on sample runs that a second process replays."""
    settings = _settings(args)
    _needs_terminal(args, Words(settings.language(args.lang)), [Path("RUN")])
    from lora_tui.demo import SampleError, demo_directory

    try:
        with demo_directory(args.speed) as directory:
            return _show(args, settings, Follower([directory]), "demo", None)
    except SampleError as error:
        raise CommandError(str(error)) from error


def _show(args: argparse.Namespace, settings: Settings, follower: Follower, title: str, run: str | None) -> int:
    workspace = Workspace(follower.roots)
    for batch in follower.read_all() if args.screenshot is not None else [follower.read(FIRST_READ_S)]:
        workspace.apply(batch)
    from lora_tui.tui.app import LoraTuiApp

    def keep(key: str, value: str) -> None:
        save_kept(**{key: value})

    notices = _notices(args, settings, lambda line: app.command_failed(line)) if args.command == "watch" else None
    options = AppOptions(
        lang=settings.language(args.lang),
        theme=settings.theme(args.theme),
        glyphs=settings.glyphs(args.glyphs),
        context=settings.context,
        run=run,
        title=title,
        keep=keep,
        notices=notices,
        clock=time.time,
        screenshot=args.screenshot,
        missing=tuple((str(p), str(next(up for up in p.parents if up.exists()))) for p in follower.missing),
    )
    app = LoraTuiApp(workspace, follower, options)
    try:
        if args.screenshot is None:
            from lora_tui.tui.lasting import outlast

            outlast(app)
            _end_with_terminal()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # Until the app listens itself: the default action would leave the screen as it is half taken over.
                signal.signal(number, lambda _number, _frame: app.leave())
            app.run()
        else:
            # A picture needs no terminal: it has the size of the one there is, or that of COLUMNS and LINES.
            app.run(headless=True, size=shutil.get_terminal_size((120, 40)))
    finally:
        follower.close()
        if notices is not None:
            notices.close(0.0)
        # On a terminal that is gone Textual fails before it tells its input thread to end, which would spin for ever.
        reading: threading.Event | None = getattr(app._driver, "exit_event", None)
        if reading is not None:
            reading.set()
    if app.crash:
        # The screen is as it was again: nothing of this is drawn over or lost.
        print(app.crash, file=sys.stderr, end="")
        return 1
    return app.return_code or 0


def _notices(args: argparse.Namespace, settings: Settings, tell: Callable[[str], object]) -> Notices | None:
    """Who wants to be told of events."""
    command, bell = settings.on_event(args.on_event), settings.bell(args.bell)
    if not command and not bell:
        return None
    from lora_tui.events import Hook, Notices

    hook = Hook(command, Words(settings.language(args.lang)), tell) if command else None
    return Notices(hook, bell, settings.context)


def _end_with_terminal() -> None:
    """End the app when the terminal is gone, also where no SIGHUP tells of it: under nohup, setsid, some containers."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)

    def wait() -> None:
        if any(event & select.POLLHUP for _, event in poll.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    if sys.stdin.isatty():
        threading.Thread(target=wait, name="hang-up", daemon=True).start()
