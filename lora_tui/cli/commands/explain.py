"""``explain``: what a metric or a finding means; with ``--run``, why this run's number is rated as it is."""

from __future__ import annotations

import argparse
import shutil
import time

from lora_tui.analysis import Judgement, judge
from lora_tui.analysis.context import Context
from lora_tui.analysis.findings.find import CODES
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import context_of, find_run, place, read, settings_of, words_of
from lora_tui.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.settings.settings import Settings
from lora_tui.text.sanitize import clean
from lora_tui.wording.explain import (
    Line,
    closest_topic,
    explain_finding,
    explain_metric,
    find_topic,
    metric_in_run,
    overview,
    text,
)

WIDEST = 92
"""Cells of the longest line: longer ones are hard to read."""


def main(args: argparse.Namespace) -> int:
    """The command."""
    settings = settings_of(args)
    words = words_of(args.lang, False, settings)
    width = max(30, min(shutil.get_terminal_size((80, 24)).columns - 1, WIDEST))
    if args.topic is None:
        print(text(overview(words, width)))
        return 0
    topic = find_topic(args.topic)
    if topic is None:
        meant = closest_topic(args.topic)
        message = words.t("explain.error.unknown", name=clean(args.topic))
        raise CommandError(message + (words.t("explain.error.meant", meant=meant) if meant else ""))
    page = (
        _page(topic, words, settings.context, width)
        if args.run is None
        else _page_of_run(args, settings, topic, words, width)
    )
    print(_shown(text(page), settings))
    return 0


def _page(topic: str, words: Words, context: Context, width: int) -> list[Line]:
    return explain_finding(topic, words, width) if topic in CODES else explain_metric(topic, words, context, width)


def _page_of_run(args: argparse.Namespace, settings: Settings, topic: str, words: Words, width: int) -> list[Line]:
    follower, workspace = read([place(args.run)], args.log)
    try:
        run = find_run(args.run, follower, workspace, words)
    finally:
        follower.close()
    context = context_of(run, SiblingIndex(workspace), settings)
    found = judge(run, time.time(), context)
    page = _in_run(topic, run, found, words, context, width)
    if page is not None:
        return page
    absent = words.t("explain.absent", run=clean(run.name))
    return [*_page(topic, words, context, width), [], [(absent, "muted")]]


def _in_run(topic: str, run: Run, found: Judgement, words: Words, context: Context, width: int) -> list[Line] | None:
    if topic in CODES:
        finding = next((one for one in found.findings if one.code == topic), None)
        return None if finding is None else explain_finding(topic, words, width, finding)
    case = metric_in_run(topic, run, found)
    return None if case is None else explain_metric(topic, words, context, width, case)


_ASCII = str.maketrans(
    {"★": "*", "●": "*", "▲": "^", "✗": "x", "☆": "*", "○": "o", "△": "^", "×": "x", "·": "-", "–": "-", "━": "=",
     "┷": "+", "▼": "v", "−": "-", "÷": "/", "√": "sqrt ", "≥": ">=", "±": "+-", "→": "->", "…": "..."}
)  # fmt: skip


def _shown(page: str, settings: Settings) -> str:
    return page.translate(_ASCII) if settings.glyphs() == "ascii" else page
