"""``ls``: the runs as a table, Markdown or JSON."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from lora_tui.commands.common import check_paths, complain, dump, plain, read, shown, table, what, words_of
from lora_tui.locale import Words
from lora_tui.run import Run
from lora_tui.text import clean, fixed4


def main(args: argparse.Namespace) -> int:
    """The runs below the paths as a table or a JSON array."""
    words = words_of(args.lang, args.json)
    follower, workspace = read(args.paths or [Path()], args.log)
    follower.close()
    check_paths(follower, words)
    now = time.time()
    runs = sorted(workspace.runs, key=lambda run: _sort_key(run, args.sort, now))
    for path, why in follower.errors.items():
        complain(words.t("cli.error.read", path=shown(path), reason=why))
    if args.json:
        print(dump([plain(run, now, words) for run in runs], 2))
    elif runs:
        names = ("state", "name", "step", "done", "loss", "eval", "stage", "updated")
        print(table([[words.t(f"cli.ls.{name}") for name in names], *[_row(run, now, words) for run in runs]]))
    else:
        complain(words.t("cli.ls.none", path=", ".join(shown(path) for path in follower.roots)))
    return 0


def _sort_key(run: Run, key: str, now: float) -> tuple[float, float, str]:
    if key == "name":
        return 0.0, 0.0, run.name
    if key == "state":
        order = ("failed", "interrupted", "stalled", "running", "evaluating", "waiting", "stopped", "finished")
        return float(order.index(run.status(now).state)), 0.0, run.name
    if key == "step":
        return -float(run.progress(now).step or 0), 0.0, run.name
    if key in ("loss", "eval_loss"):
        series = run.series.get(key)
        value = None
        if series is not None:
            value = series.smoothed if key == "loss" else series.min
        missing = value is None or not math.isfinite(value)
        return float(missing), 0.0 if missing or value is None else value, run.name
    return -(run.activity or 0.0), 0.0, run.name


def _row(run: Run, now: float, words: Words) -> list[str]:
    status, progress = run.status(now), run.progress(now)
    loss, evals = run.series.get("loss"), run.series.get("eval_loss")
    total = f"/{progress.total_steps}" if progress.total_steps else ""
    return [
        words.state(status),
        clean(run.name),
        f"{progress.step}{total}" if progress.step is not None else "-",
        f"{math.floor(100 * progress.fraction)}%" if progress.fraction is not None else "-",
        fixed4(loss.last) if loss is not None and loss.last is not None else "-",
        fixed4(evals.last) if evals is not None and evals.last is not None else "-",
        what(run) or "-",
        words.age(max(0.0, now - run.activity)) if run.activity is not None else "-",
    ]
