"""``compare``: runs side by side."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lora_tui.analysis.comparison.compare import compare
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import check_paths, context_of, dump, find_run, place, read, save, settings_of, shown, words_of
from lora_tui.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.text.sanitize import clean

WIDTH = 120
"""Cells of a line where there is no terminal to ask."""
_ENDINGS = {".html": "html", ".htm": "html", ".json": "json"}


def main(args: argparse.Namespace) -> int:
    """At least two runs as text, HTML or JSON, to stdout or to a file."""
    form = args.format or ("json" if args.json else _ENDINGS.get(args.output.suffix.lower(), "text")
                           if args.output is not None else "text")  # fmt: skip
    settings = settings_of(args)
    words = words_of(args.lang, form == "json", settings)
    follower, workspace = read([place(name) for name in args.runs], args.log)
    follower.close()
    runs = _chosen(args.runs, follower, workspace, words)
    if len(runs) < 2:
        raise CommandError(words.t("compare.too_few", names=", ".join(clean(run.name) for run in runs)))
    now = time.time()
    index = SiblingIndex(workspace)
    found = compare(runs, now, [context_of(run, index, settings) for run in runs])
    # No plugin of the environment has a say in this schema, and pydantic's search for them takes as long as the runs.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from lora_tui.report.comparison import comparison_report

    report = comparison_report(found, words)
    if form == "json":
        text = dump(report.to_json(), 2)
    elif form == "html":
        from lora_tui.report.render.compare_html import render as page

        text = page(report, found, words, now)
    else:
        from lora_tui.report.render.compare_text import render

        text = render(report, words, shutil.get_terminal_size((WIDTH, 24)).columns if args.output is None else WIDTH)
    if args.output is None:
        print(text.rstrip("\n"))
    else:
        save(args.output, text.rstrip("\n") + "\n", words)
    return 0


def _chosen(names: Sequence[str], follower: Follower, workspace: Workspace, words: Words) -> list[Run]:
    """The runs that are meant: by path or name, and all that train below a directory that is none itself."""
    out: list[Run] = []
    for name in names:
        if not Path(name).exists():
            found = [find_run(name, follower, workspace, words)]
        else:
            check_paths(follower, words)
            path = Path(name).absolute()
            found = [run for run in workspace.runs if run.path == path]
            below = [run for run in workspace.runs if path in run.path.parents]
            # A prediction or evaluation alone belongs to the run whose adapter it loaded.
            found = found or [run for run in below if run.timeline.rows] or below
            if not found:
                raise CommandError(words.t("cli.error.no_runs", path=shown(name)))
        out.extend(run for run in found if run not in out)
    return out
