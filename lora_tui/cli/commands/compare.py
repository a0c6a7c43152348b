"""``compare``: compare two or more runs side by side."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lora_tui.analysis.comparison.compare import compare
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import (
    check_paths,
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
from lora_tui.cli.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.text.sanitize import clean

WIDTH = 120
"""Width of a line in terminal cells where the output is no terminal."""
_ENDINGS = {".html": "html", ".htm": "html", ".json": "json"}


def main(args: argparse.Namespace) -> int:
    """Print the comparison as text, HTML or JSON, or write it to a file; return the exit code.

    Raises CommandError for fewer than two runs, a path or name without a run, and a file that cannot be written;
    SettingsError.
    """
    form = args.format or ("json" if args.json else _ENDINGS.get(args.output.suffix.lower(), "text")
                           if args.output is not None else "text")  # fmt: skip
    settings = settings_of(args)
    words = words_of(args.lang, form == "json", settings)
    follower, workspace = read_runs([search_root(name) for name in args.runs], words, args.log)
    follower.close()
    runs = _select(args.runs, follower, workspace, words)
    if len(runs) < 2:
        raise CommandError(words.t("compare.too_few", names=", ".join(clean(run.name) for run in runs)))
    now = time.time()
    index = SiblingIndex(workspace)
    found = compare(runs, now, [context_of(run, index, settings) for run in runs])
    from lora_tui.report.comparison import comparison_report

    report = comparison_report(found, words)
    if form == "json":
        text = to_json(report.to_json(), 2)
    elif form == "html":
        from lora_tui.report.render.compare_html import render as page

        text = page(report, found, words, now)
    else:
        from lora_tui.report.render.compare_text import render

        text = render(report, words, shutil.get_terminal_size((WIDTH, 24)).columns if args.output is None else WIDTH)
    if args.output is None:
        print(text.rstrip("\n"))
    else:
        write_output(args.output, text.rstrip("\n") + "\n", words)
    return 0


def _select(names: Sequence[str], follower: Follower, workspace: Workspace, words: Words) -> list[Run]:
    """Return the runs of these paths or names; a directory that is no run means all training runs below it.

    Raises CommandError for a path or name without a run.
    """
    out: list[Run] = []
    for name in names:
        if not Path(name).exists():
            found = [find_run(name, follower, workspace, words)]
        else:
            check_paths(follower, words)
            path = Path(name).absolute()
            found = [run for run in workspace.runs if run.path == path]
            below = [run for run in workspace.runs if path in run.path.parents]
            # A directory with nothing but a prediction or evaluation belongs to the run whose adapter it loaded.
            found = found or [run for run in below if run.timeline.rows] or below
            if not found:
                raise CommandError(words.t("cli.error.no_runs", path=printable(name)))
        out.extend(run for run in found if run not in out)
    return out
