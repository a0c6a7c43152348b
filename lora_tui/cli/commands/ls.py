"""``ls``: list the runs as a text table, Markdown or JSON."""

from __future__ import annotations

import argparse
import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lora_tui.analysis import Context
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.cli.common import (
    check_metric_names,
    check_paths,
    context_of,
    describe_job,
    format_table,
    or_report,
    parse_condition,
    parse_since,
    print_error,
    printable,
    read_runs,
    settings_of,
    snapshot_data,
    to_json,
    words_of,
)
from lora_tui.cli.errors import UsageError
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.settings import Settings
from lora_tui.text.numbers import fixed4
from lora_tui.text.sanitize import clean, escape_markdown

if TYPE_CHECKING:
    from lora_tui.query.parser import Expression


COLUMNS = ("state", "name", "step", "done", "loss", "eval", "stage", "updated")
NUMBER_COLUMNS = (2, 3, 4, 5, 7)
"""Indices of the columns that are aligned to the right."""


def main(args: argparse.Namespace) -> int:
    """Print the runs below the paths as a table or a JSON array; return the exit code.

    Raises CommandError for a path that is missing or cannot be read, UsageError for options that cannot be used;
    SettingsError.
    """
    settings = settings_of(args)
    form: str = args.format or ("json" if args.json else "text")
    words = words_of(args.lang, form == "json", settings)
    if args.json and form != "json":
        raise UsageError(words.t("cli.ls.two_formats", format=form))
    now = time.time()
    selection = _Selection(args.filter, args.since, now, words)
    follower, workspace = read_runs(args.paths or [Path()], words, args.log)
    follower.close()
    check_paths(follower, words)
    found = selection.of(workspace, settings, now, words)
    keys = {run: or_report("list", run, words, partial(_sort_key, run, args.sort, now), LAST)[0] for run in found}
    runs = sorted(found, key=keys.__getitem__)
    for path, why in follower.errors.items():
        print_error(words.t("cli.error.read", path=printable(path), reason=words.reason(why)))
    if form == "json":
        # Without the context of similar runs, so that each is equal to the run's own ``status --json``.
        print(to_json([_snapshot_or_name(run, now, words, settings.context) for run in runs], 2))
    elif runs:
        rows = [[words.t(f"cli.ls.{name}") for name in COLUMNS], *[_row_or_name(run, now, words) for run in runs]]
        print(_markdown(rows) if form == "md" else format_table(rows, NUMBER_COLUMNS))
    else:
        paths = ", ".join(printable(path) for path in follower.roots)
        if workspace.runs:
            print_error(words.n("cli.ls.none_match", len(workspace.runs), path=paths))
        else:
            print_error(words.t("cli.ls.none", path=paths))
    return 0


def _snapshot_or_name(run: Run, now: float, words: Words, context: Context) -> dict[str, object]:
    """Return a run's snapshot; where it cannot be made, its name and path alone, with the reason as a problem."""
    nothing: dict[str, object] = {}
    known, fault = or_report("list", run, words, lambda: snapshot_data(run, now, words, context), nothing)
    if fault is None:
        return known
    problem = {"file": ".", "reason": words.t("fault.list", error=fault.error)}
    return {"schema": 1, "run": {"name": run.name, "path": str(run.path.resolve())}, "problems": [problem]}


class _Selection:
    """The runs that ``--filter`` and ``--since`` select. Raises UsageError where either cannot be parsed."""

    def __init__(self, condition: str | None, time: str | None, now: float, words: Words) -> None:
        self._expression: Expression | None = None
        self._since = -math.inf
        if condition is not None:
            self._expression = parse_condition("--filter", condition, words)
        if time is not None:
            self._since = parse_since(time, now, words)

    def of(self, workspace: Workspace, settings: Settings, now: float, words: Words) -> list[Run]:
        """Return the selected runs; ``--since`` excludes runs whose last activity is unknown."""
        runs = [run for run in workspace.runs if (run.activity or -math.inf) >= self._since]
        expression = self._expression
        if expression is None:
            return runs
        check_metric_names("--filter", expression, workspace.runs, words)
        index = SiblingIndex(workspace)

        def holds(run: Run) -> bool:
            return bool(expression.holds(run, now, context_of(run, index, settings)))

        return [run for run in runs if or_report("list", run, words, partial(holds, run), False)[0]]


LAST = (math.inf, math.inf, "")
"""Sort key of a run for which none can be computed."""


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


def _row_or_name(run: Run, now: float, words: Words) -> list[str]:
    name_alone = ["!", clean(run.name), *["-"] * (len(COLUMNS) - 2)]
    return or_report("list", run, words, lambda: _row(run, now, words), name_alone)[0]


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
        describe_job(run) or "-",
        words.age(max(0.0, now - run.activity)) if run.activity is not None else "-",
    ]


def _markdown(rows: list[list[str]]) -> str:
    """Return the rows as a table in GitHub's Markdown."""
    rule = ["---:" if index in NUMBER_COLUMNS else "---" for index in range(len(COLUMNS))]
    lines = [rows[0], rule, *[[escape_markdown(cell) for cell in row] for row in rows[1:]]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
