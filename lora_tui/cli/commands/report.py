"""``report``: print or write an analysis of one run as a box, Markdown, HTML or JSON."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import (
    context_of,
    find_run,
    printable,
    read_runs,
    search_root,
    settings_of,
    to_json,
    words_of,
    write_output,
)
from lora_tui.cli.errors import UsageError
from lora_tui.i18n import Words
from lora_tui.settings.settings import Settings
from lora_tui.tui.terminal.capabilities import can_draw

_FORMATS = {
    ".txt": "box", ".text": "box", "": "box", ".md": "md", ".markdown": "md", ".html": "html", ".htm": "html",
    ".json": "json",
}  # fmt: skip
"""Suffix of the file name -> format of the report."""
WIDTH = 80
"""Width of a line in terminal cells where the output is no terminal."""
_SAMPLE = "╔═║•×≈📅 "
"""Characters that the encoding of the output must have for the box with Unicode characters."""


def main(args: argparse.Namespace) -> int:
    """Print the report or write it to a file; return the exit code.

    Raises CommandError for a path or name without a run, and for a file that cannot be written; UsageError for a file
    name with an unknown suffix; SettingsError.
    """
    settings = settings_of(args)
    form = _format(args, settings)
    words = words_of(args.lang, form == "json", settings)
    follower, workspace = read_runs([search_root(args.run)], words, args.log)
    follower.close()
    run = find_run(args.run, follower, workspace, words)
    context = context_of(run, SiblingIndex(workspace), settings)
    now = time.time()
    from lora_tui.report.build import build

    report = build(run, now, words, context)
    to_file: Path | None = args.output
    ascii_only = settings.glyphs(args.glyphs) == "ascii" or (to_file is None and not _can_draw())
    if form == "json":
        text = to_json(report.to_json(), 2) + "\n"
    elif form == "html":
        from lora_tui.report.render import html

        text = html.render(report, words)
    elif form == "md":
        from lora_tui.report.render import markdown

        text = markdown.render(report, words, ascii_only=ascii_only)
    else:
        from lora_tui.report.render import box

        limit = shutil.get_terminal_size((WIDTH, 24)).columns if to_file is None and sys.stdout.isatty() else WIDTH
        text = box.render(report, words, limit=limit, ascii_only=ascii_only)
    if to_file is None:
        sys.stdout.write(text)
    else:
        write_output(to_file, text, words)
    return 0


def _format(args: argparse.Namespace, settings: Settings) -> str:
    """Return the format: that of ``--format``, else by the suffix of the file, else "box".

    Raises UsageError for an unknown suffix.
    """
    if args.format is not None or args.output is None:
        return args.format or "box"
    ending = args.output.suffix.lower()
    if ending not in _FORMATS:
        words = Words(settings.language(args.lang))
        raise UsageError(words.t("report.error.ending", path=printable(args.output), known=".md .html .json .txt"))
    return _FORMATS[ending]


def _can_draw() -> bool:
    """Return whether stdout can show the box and shows an emoji in two cells (a Linux console shows it in one)."""
    if os.environ.get("TERM") in ("linux", "dumb") and sys.stdout.isatty():
        return False
    return can_draw(sys.stdout.encoding, _SAMPLE)
