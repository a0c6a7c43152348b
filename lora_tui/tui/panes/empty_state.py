"""What is shown in place of a chart or below it: the facts before the first row, and the end of a failed run's log."""

from __future__ import annotations

from lora_tui.text.cells import wrap
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.symbols import format_cell
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, joined

EXCERPT_LINES = 6
"""The most lines of a failed run's log below its chart."""
KNOWN_OPTIONS = (
    "model_name_or_path", "dataset", "num_examples", "total_train_batch_size", "learning_rate", "num_train_epochs",
    "cutoff_len", "trainable_params",
)  # fmt: skip
"""Options of the job that are shown before its first row, if they are known."""


def empty_chart_lines(state: AppState, view: RunView | None, width: int, height: int) -> list[Line]:
    """Return what to show where there is no curve.

    That is the options of the job and the end of its console log; without a run, the paths that are searched for runs.
    """
    if view is None:
        return _no_runs(state, width, height)
    words, run = state.words, view.run
    out: list[Line] = [[]]
    console = run.console
    facts: list[Line] = []
    for name in KNOWN_OPTIONS:
        setting = run.config.get(name)
        if setting is not None:
            value = format_cell("lr", setting.value) if isinstance(setting.value, float) else str(setting.value)
            facts.append([(name + " ", "muted"), (clean(value), "text")])
    line = joined(facts, width)
    if view.status.live:
        out.append([(words.t("empty.loss"), "text")])
        out.append([])
    elif view.progress.unit == "batches":
        out.append([(words.t("tui.no_training"), "text")])
        out.append([])
    if line:
        out.append(line)
        out.append([])
    tail = view.status.failure.excerpt if view.status.failure is not None else console.tail if console else ()
    if tail:
        out.append([(words.t("pane.log"), "muted")])
        room = max(0, height - len(out))
        for text in tail[-room:] if room else ():
            out.append([("  " + clean(text), "faint")])
    return out


def _no_runs(state: AppState, width: int, height: int) -> list[Line]:
    words = state.words
    missing = state.options.missing if "waiting_for_path" in state.notes else ()
    texts = [words.t("list.missing_nearest", path=clean(path), nearest=clean(nearest)) for path, nearest in missing]
    for path, reason in state.errors:
        texts.append(words.t("cli.error.read", path=clean(path), reason=words.reason(clean(reason))))
    texts = texts or [words.t("list.empty_in", path=clean(state.options.title or "."))]
    lines: list[Line] = [[(part, "text|bold")] for text in texts for part in wrap(text, width - 8)]
    lines.append([])
    lines.extend([(part, "muted")] for part in wrap(words.t("tui.what_is_a_run"), width - 8))
    above = max(0, (height - len(lines)) // 3)
    return [[] for _ in range(above)] + [[("    ", "text"), *line] for line in lines]


class LogExcerptPane(Pane):
    """The last lines of a failed run's log, under its chart."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        lines = failure_excerpt(view)[-(height - 2) :]
        rows: list[Line] = [
            [(line, "text" if index == len(lines) - 1 else "muted")] for index, line in enumerate(lines)
        ]
        return box(rows, width, height, [(self.state.words.t("pane.log"), "title")], [])


def failure_excerpt(view: RunView) -> list[str]:
    """Return the last lines of a failed run's log; none without a chart, since they are then shown in its place."""
    failure = view.status.failure
    if failure is None or view.status.state != "failed" or not view.run.rows:
        return []
    return [clean(line) for line in failure.excerpt if line.strip()][-EXCERPT_LINES:]
