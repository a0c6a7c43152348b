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
from collections.abc import Sequence
from pathlib import Path

from lora_tui.errors import CommandError
from lora_tui.follow import Follower
from lora_tui.keep import load_kept, save_kept
from lora_tui.locale import Words, resolve_language
from lora_tui.text import clean
from lora_tui.tui.options import AppOptions, ThemeName
from lora_tui.workspace import Workspace

FIRST_READ_S = 0.05
"""What is read before the first frame, a log at least; the rest comes while it is on the screen."""
THEMES: tuple[ThemeName, ...] = ("dark", "light", "ansi")


def _words(args: argparse.Namespace) -> Words:
    return Words(resolve_language(args.lang, load_kept().get("lang"), os.environ))


def _needs_terminal(args: argparse.Namespace, paths: Sequence[Path]) -> None:
    dumb = os.environ.get("TERM") == "dumb"
    if args.screenshot is None and (dumb or not (sys.stdin.isatty() and sys.stdout.isatty())):
        path = clean(shlex.quote(str(paths[0]))) if len(paths) == 1 else "RUN"
        raise CommandError(_words(args).t("cli.error.no_terminal", command=args.command, path=path))


def watch(args: argparse.Namespace) -> int:
    """The app on the paths given."""
    paths: list[Path] = args.paths or [Path()]
    _needs_terminal(args, paths)
    for log in args.log:
        if not log.exists():
            raise CommandError(_words(args).t("cli.error.log_missing", path=clean(str(log))))
    return _show(args, Follower(paths, args.log, args.poll, cwd=Path.cwd()), " ".join(map(str, paths)), args.run)


def demo(args: argparse.Namespace) -> int:
    """The app on sample runs that a second process replays."""
    _needs_terminal(args, [Path("RUN")])
    from lora_tui.demo import SampleError, demo_directory

    try:
        with demo_directory(args.speed) as directory:
            return _show(args, Follower([directory]), "demo", None)
    except SampleError as error:
        raise CommandError(str(error)) from error


def _show(args: argparse.Namespace, follower: Follower, title: str, run: str | None) -> int:
    workspace = Workspace(follower.roots)
    for batch in follower.read_all() if args.screenshot is not None else [follower.read(FIRST_READ_S)]:
        workspace.apply(batch)
    kept = load_kept()
    theme: ThemeName = next((name for name in THEMES if name == (args.theme or kept.get("theme"))), "dark")

    from lora_tui.tui.app import LoraTuiApp

    def keep(key: str, value: str) -> None:
        save_kept(**{key: value})

    options = AppOptions(
        lang=resolve_language(args.lang, kept.get("lang"), os.environ),
        theme=theme,
        glyphs=args.glyphs,
        run=run,
        title=title,
        keep=keep,
        clock=time.time,
        screenshot=args.screenshot,
        missing=tuple((str(p), str(next(up for up in p.parents if up.exists()))) for p in follower.missing),
    )
    app = LoraTuiApp(workspace, follower, options)
    try:
        if args.screenshot is None:
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
        # On a terminal that is gone Textual fails before it tells its input thread to end, which would spin for ever.
        reading: threading.Event | None = getattr(app._driver, "exit_event", None)
        if reading is not None:
            reading.set()
    if app.crash:
        # The screen is as it was again: nothing of this is drawn over or lost.
        print(app.crash, file=sys.stderr, end="")
        return 1
    return app.return_code or 0


def _end_with_terminal() -> None:
    """End the app when the terminal is gone, also where no SIGHUP tells of it: under nohup, setsid, some containers."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)

    def wait() -> None:
        if any(event & select.POLLHUP for _, event in poll.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    if sys.stdin.isatty():
        threading.Thread(target=wait, name="hang-up", daemon=True).start()
