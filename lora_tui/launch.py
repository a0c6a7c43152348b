"""Starts the app for ``watch`` and ``demo``: what can be read at once is on its first frame."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lora_tui.errors import CommandError
from lora_tui.follow import Follower
from lora_tui.keep import load_kept, save_kept
from lora_tui.locale import resolve_language
from lora_tui.tui.options import AppOptions, ThemeName
from lora_tui.workspace import Workspace

FIRST_READ_S = 0.15
"""What is read before the first frame; the rest comes while it is on the screen."""
THEMES: tuple[ThemeName, ...] = ("dark", "light", "ansi")


def _needs_terminal(args: argparse.Namespace, paths: Sequence[Path]) -> None:
    if args.screenshot is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = paths[0] if len(paths) == 1 else "RUN"
        raise CommandError(f"{args.command} needs a terminal; without one use: lora-tui status --follow {hint}")
    if os.environ.get("TERM") == "dumb" and args.screenshot is None:
        raise CommandError(f"{args.command} cannot draw on TERM=dumb; use: lora-tui status --follow {paths[0]}")


def watch(args: argparse.Namespace) -> int:
    """The app on the paths given."""
    paths: list[Path] = args.paths or [Path()]
    _needs_terminal(args, paths)
    for log in args.log:
        if not log.exists():
            raise CommandError(f"--log {log}: no such file")
    return _show(args, Follower(paths, args.log, args.poll, cwd=Path.cwd()), args.run)


def demo(args: argparse.Namespace) -> int:
    """The app on sample runs that a second process replays."""
    _needs_terminal(args, [Path("RUN")])
    from lora_tui.demo import SampleError, demo_directory

    try:
        with demo_directory(args.speed) as directory:
            return _show(args, Follower([directory]), None)
    except SampleError as error:
        raise CommandError(str(error)) from error


def _show(args: argparse.Namespace, follower: Follower, run: str | None) -> int:
    workspace = Workspace(follower.roots)
    workspace.apply(follower.read(FIRST_READ_S))
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
        keep=keep,
        clock=time.time,
        screenshot=args.screenshot,
    )
    app = LoraTuiApp(workspace, follower, options)
    try:
        app.run()
    finally:
        follower.close()
    return app.return_code or 0
