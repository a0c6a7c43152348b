"""``explain``: explain a metric or a finding; with ``--run``, also why the run's value is rated as it is."""

from __future__ import annotations

import argparse
import shutil
import time

from lora_tui.analysis import Judgement, judge
from lora_tui.analysis.context import Context
from lora_tui.analysis.findings.find import CODES
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import context_of, find_run, read_runs, search_root, settings_of, words_of
from lora_tui.cli.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.settings.settings import Settings
from lora_tui.text.sanitize import clean
from lora_tui.text.spans import Line
from lora_tui.wording.explain import (
    closest_topic,
    explain_finding,
    explain_metric,
    find_topic,
    metric_in_run,
    overview,
    text,
)

MAX_WIDTH = 92
"""Width of the longest line in terminal cells, since longer lines are hard to read."""


def main(args: argparse.Namespace) -> int:
    """Print the explanation of a topic, or the list of topics; return the exit code.

    Raises CommandError for an unknown topic or run; SettingsError.
    """
    settings = settings_of(args)
    words = words_of(args.lang, False, settings)
    width = max(30, min(shutil.get_terminal_size((80, 24)).columns - 1, MAX_WIDTH))
    if args.topic is None:
        print(text(overview(words, width)))
        return 0
    topic = find_topic(args.topic)
    if topic is None:
        meant = closest_topic(args.topic)
        message = words.t("explain.error.unknown", name=clean(args.topic))
        raise CommandError(message + (words.t("explain.error.meant", meant=meant) if meant else ""))
    page = (
        _general_page(topic, words, settings.context, width)
        if args.run is None
        else _run_page(args, settings, topic, words, width)
    )
    print(_encodable(text(page), settings))
    return 0


def _general_page(topic: str, words: Words, context: Context, width: int) -> list[Line]:
    return explain_finding(topic, words, width) if topic in CODES else explain_metric(topic, words, context, width)


def _run_page(args: argparse.Namespace, settings: Settings, topic: str, words: Words, width: int) -> list[Line]:
    follower, workspace = read_runs([search_root(args.run)], words, args.log)
    try:
        run = find_run(args.run, follower, workspace, words)
    finally:
        follower.close()
    context = context_of(run, SiblingIndex(workspace), settings)
    found = judge(run, time.time(), context)
    page = _values_page(topic, run, found, words, context, width)
    if page is not None:
        return page
    absent = words.t("explain.absent", run=clean(run.name))
    return [*_general_page(topic, words, context, width), [], [(absent, "muted")]]


def _values_page(
    topic: str, run: Run, found: Judgement, words: Words, context: Context, width: int
) -> list[Line] | None:
    if topic in CODES:
        finding = next((one for one in found.findings if one.code == topic), None)
        return None if finding is None else explain_finding(topic, words, width, finding)
    case = metric_in_run(topic, run, found)
    return None if case is None else explain_metric(topic, words, context, width, case)


_ASCII = str.maketrans(
    {"★": "*", "●": "*", "▲": "^", "✗": "x", "☆": "*", "○": "o", "△": "^", "×": "x", "·": "-", "–": "-", "━": "=",
     "┷": "+", "▼": "v", "−": "-", "÷": "/", "√": "sqrt ", "≥": ">=", "±": "+-", "→": "->", "…": "..."}
)  # fmt: skip


def _encodable(page: str, settings: Settings) -> str:
    return page.translate(_ASCII) if settings.glyphs() == "ascii" else page
