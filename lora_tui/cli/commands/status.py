"""``status``: print a snapshot of one run, once or after every change."""

from __future__ import annotations

import argparse
import gc
import math
import signal
import time

from lora_tui.analysis import Context
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import (
    ErrorReporter,
    apply_batch,
    context_of,
    describe_job,
    find_run,
    judge_or_report,
    read_runs,
    search_root,
    settings_of,
    snapshot_data,
    to_json,
    words_of,
)
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.status import time_left
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.settings import Settings
from lora_tui.text.cells import fit
from lora_tui.text.numbers import fixed4, number
from lora_tui.text.sanitize import clean
from lora_tui.wording.sentences import clock_range, duration_range, run_summary


def main(args: argparse.Namespace) -> int:
    """Print the snapshot, or with ``--follow`` a line per change; return the exit code.

    Raises CommandError for a path or name without a run; SettingsError.
    """
    settings = settings_of(args)
    words = words_of(args.lang, args.json, settings)
    follower, workspace = read_runs([search_root(args.run)], words, args.log, args.poll)
    try:
        run = find_run(args.run, follower, workspace, words)
        if args.follow:
            return _follow(follower, workspace, run, args.json, words, settings)
        context = context_of(run, SiblingIndex(workspace), settings)
        print(_json(run, words, 2, context) if args.json else _text(run, time.time(), words, context))
        return 0
    finally:
        follower.close()


def _json(run: Run, words: Words, indent: int | None, context: Context) -> str:
    return to_json(snapshot_data(run, time.time(), words, context), indent)


POLL_S = 0.25
"""Seconds between two checks for Ctrl-C and for changes of state that come with time alone, without a file event."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, by the convention of shells."""


def _follow(follower: Follower, workspace: Workspace, run: Run, as_json: bool, words: Words, settings: Settings) -> int:
    gc.enable()
    interrupts: list[int] = []
    # A handler that raised KeyboardInterrupt could do so inside watchdog, whose locks would then never be released.
    before = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    follower.start_watching()
    printed, errors = "", ErrorReporter(words, follower)
    index = SiblingIndex(workspace)
    while not interrupts:
        line = run_summary(run, time.time(), words)
        if line != printed:
            printed = line
            if as_json:
                line = _json(run, words, None, context_of(run, index, settings))
            else:
                line = f"{words.clock(time.time())}  {line}"
            print(line, flush=True)
        if follower.wait(POLL_S):
            batch = follower.read(0.2)
            errors.report(batch)
            apply_batch(workspace, batch, words)
            # A directory that was removed and created again is a new run.
            run = next((known for known in workspace.runs if known.path == run.path), run)
    signal.signal(signal.SIGINT, before)
    return INTERRUPTED


def _text(run: Run, now: float, words: Words, context: Context) -> str:
    """Return the short text of one run."""
    judgement, _ = judge_or_report(run, now, words, context)
    lines = [f"{clean(run.name)}  {describe_job(run)}".rstrip(), *_head(run, now, words), ""]
    rated = judgement.ratings
    for name in ("loss", "eval_loss", "perplexity", "lr", "grad_norm", "reward", "accuracy"):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            verdict = words.rating(rated[name]) if name in rated else ""
            lines.append(_value(words.metric(name), series.last, verdict))
    for split, result in run.results().items():
        lines += ["", f"  {result.file}" + (f"  ({words.t('cli.status.stale')})" if result.stale else "")]
        for key, value in sorted(result.values.items()):
            if key.startswith(f"{split}_"):
                verdict = words.rating(rated[key]) if key in rated and not result.stale else ""
                lines.append(_value(words.metric(key), value, verdict))
    if judgement.findings:
        lines.append("")
    for finding in judgement.findings:
        sentence, advice = words.finding(finding)
        lines.append(f"  {words.t('severity.' + finding.severity)}: {sentence} {advice}".rstrip())
    if run.problems:
        lines += ["", "  " + words.n("cli.status.problems", len(run.problems))]
    for note in run.problems:
        where = f":{note.line}" if note.line else ""
        lines.append(f"    {clean(note.file)}{where}: {words.reason(clean(note.reason))}")
    return "\n".join(lines)


def _value(label: str, value: float, verdict: str) -> str:
    small = math.isfinite(value) and value != 0 and abs(value) < 0.001
    shown = number(value) if small or abs(value) >= 1e5 else fixed4(value)
    return f"  {fit(label, 24)}{shown:>12}  {verdict}".rstrip()


def _head(run: Run, now: float, words: Words) -> list[str]:
    status, progress = run.status(now), run.progress(now)
    first = [words.state(status)]
    if progress.step is not None and progress.total_steps:
        first.append(words.t("cli.status.step", step=progress.step, total=progress.total_steps))
        first.append(f"{math.floor(100 * (progress.fraction or 0))}%")
    if progress.epoch is not None:
        first.append(words.t("head.epoch", epoch=f"{progress.epoch:.2f}"))
    second = []
    if progress.elapsed_s is not None:
        second.append(words.t("head.elapsed", time=words.duration(progress.elapsed_s)))
    if (left := time_left(run, status, now)) is not None:
        second.append(words.t("head.left", time=duration_range(words, left.low, left.high)))
        second.append(words.t("head.ends", time=clock_range(words, now + left.low, now + left.high, now)))
    if progress.steps_at_risk:
        second.append(words.n("head.at_risk", progress.steps_at_risk))
    if run.activity is not None:
        second.append(words.t("cli.status.updated", age=words.age(max(0.0, now - run.activity))))
    lines = ["  " + "   ".join(first), "  " + "   ".join(second)]
    if status.failure is not None:
        lines.append(f"  {clean(status.failure.message)}")
    return [line for line in lines if line.strip()]
