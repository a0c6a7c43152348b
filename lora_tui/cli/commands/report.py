"""``report``: an analysis of one run as a box, Markdown, HTML or JSON, to stdout or to a file."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import context_of, dump, find_run, place, read, save, settings_of, shown, words_of
from lora_tui.errors import UsageError
from lora_tui.i18n import Words
from lora_tui.settings.settings import Settings

ENDINGS = {
    ".txt": "box", ".text": "box", "": "box", ".md": "md", ".markdown": "md", ".html": "html", ".htm": "html",
    ".json": "json",
}  # fmt: skip
"""What the ending of a file's name says of its format."""
WIDTH = 80
"""Cells of a line where there is no terminal to ask."""
_SAMPLE = "╔═║•×≈📅 "
"""Characters that an output must be able to carry for anything else than the ASCII form."""


def main(args: argparse.Namespace) -> int:
    """The report of one run. Raises CommandError for a run or a file that cannot be read or written."""
    settings = settings_of(args)
    form = _format(args, settings)
    words = words_of(args.lang, form == "json", settings)
    follower, workspace = read([place(args.run)], args.log)
    follower.close()
    run = find_run(args.run, follower, workspace, words)
    context = context_of(run, SiblingIndex(workspace), settings)
    now = time.time()
    # No plugin of the environment has a say in this schema, and pydantic's search for them takes as long as the run.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from lora_tui.report.build import build

    report = build(run, now, words, context)
    to_file: Path | None = args.output
    ascii_only = settings.glyphs(args.glyphs) == "ascii" or (to_file is None and not _can_draw())
    if form == "json":
        text = dump(report.to_json(), 2) + "\n"
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
        save(to_file, text, words)
    return 0


def _format(args: argparse.Namespace, settings: Settings) -> str:
    """What was asked for, else what the file's name says, else the box. Raises UsageError for an unknown ending."""
    if args.format is not None or args.output is None:
        return args.format or "box"
    ending = args.output.suffix.lower()
    if ending not in ENDINGS:
        words = Words(settings.language(args.lang))
        raise UsageError(words.t("report.error.ending", path=shown(args.output), known=".md .html .json .txt"))
    return ENDINGS[ending]


def _can_draw() -> bool:
    """The output has the characters of the box, and shows an emoji in two cells (a Linux console shows it in one)."""
    if os.environ.get("TERM") in ("linux", "dumb") and sys.stdout.isatty():
        return False
    try:
        _SAMPLE.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
