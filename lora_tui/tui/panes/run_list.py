"""The list of runs: two lines a run, its losses in the first and the most important fact in the second."""

from __future__ import annotations

import math

from lora_tui.analysis.run_facts import main_metric
from lora_tui.runs.run import Run
from lora_tui.runs.status import time_left
from lora_tui.settings.fault_log import record_fault
from lora_tui.text.cells import clip
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane, fault_lines
from lora_tui.tui.panes.header import newest_checkpoint, percent, phase_text
from lora_tui.tui.panes.symbols import (
    finding_span,
    format_cell,
    method_text,
    rating_span,
    short_error,
    state_span,
)
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, clickable, fill, spread, width_of
from lora_tui.wording.sentences import duration_range

RUN_LINES = 2
"""Number of lines of a run."""


class RunListPane(Pane):
    """The visible part of the list of runs; the mouse wheel scrolls it, a click selects a run."""

    can_focus = True

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(state, name)
        self.top = 0
        self._seen = -1
        self.capacity = 1

    def draw(self, width: int, height: int) -> list[Line]:
        state, words = self.state, self.state.words
        runs = state.runs
        inner = width - 4
        self.capacity = max(1, (height - 3) // RUN_LINES)
        self._follow(len(runs))
        rows: list[Line] = [column_titles(state, inner)]
        listed = runs[self.top : self.top + self.capacity]
        for run in listed:
            chosen = run is state.selected
            for line in _run_lines_or_fault(state, run, inner):
                rows.append([(text, f"{role}|sel" if chosen else role) for text, role in fill(line, inner)])
        note: Line = []
        if len(runs) > self.capacity:
            note = [(f"{self.top + 1}–{min(len(runs), self.top + self.capacity)}/{len(runs)}", "muted")]
        role = "border-focus" if state.focus == "runs" and len(runs) > 1 else "border"
        lines = box(rows, width, height, [(words.t("pane.runs"), "title")], note, role)
        # Below the border and the names of the columns.
        for place in range(len(listed)):
            for y in range(2 + place * RUN_LINES, 2 + (place + 1) * RUN_LINES):
                # The action names the place on the screen, not the run, so that scrolling changes no action.
                lines[y] = clickable(lines[y], f"select({place})")
        return lines

    async def action_select(self, place: int) -> None:
        """Select the run at index ``place`` of the visible ones."""
        await self.run_action(f"app.select({self.top + place})")

    def _follow(self, total: int) -> None:
        index = self.state.index
        if index != self._seen:
            self._seen = index
            if index < self.top:
                self.top = index
            elif index >= self.top + self.capacity:
                self.top = index - self.capacity + 1
        self.top = max(0, min(self.top, total - self.capacity))

    def scroll_by(self, runs: int) -> None:
        """Scroll down by a number of runs, or up if it is negative, without selecting another run."""
        self.top = max(0, min(self.top + runs, len(self.state.runs) - self.capacity))
        self.renew()

    def on_mouse_scroll_down(self) -> None:
        """Scroll one run down."""
        self.scroll_by(1)

    def on_mouse_scroll_up(self) -> None:
        """Scroll one run up."""
        self.scroll_by(-1)


LOSS_CELLS, EVAL_CELLS = 7, 6
"""Widths of the columns of the last loss and the best eval loss, in terminal cells."""


def column_titles(state: AppState, width: int) -> Line:
    """Return the line with the names of the columns."""
    right = "loss".rjust(LOSS_CELLS) + "eval".rjust(EVAL_CELLS)
    return spread([("  " + state.words.t("list.name"), "faint")], [(right, "faint")], width)


def _run_lines_or_fault(state: AppState, run: Run, width: int) -> list[Line]:
    """Return the two lines of a run; if that raises, its name and the error."""
    try:
        return run_lines(state, run, width)
    except Exception as error:  # an error in one run must not end the list
        fault = record_fault("list", "entry", error)
        text = fault_lines(state.words, fault, width - 2, 1)[0]
        return [[("! ", "rating-fair"), (clean(run.name), "text")], [("  ", "text"), *text]]


def run_lines(state: AppState, run: Run, width: int) -> list[Line]:
    """Return the two lines of a run."""
    view = state.view(run)
    glyph, role = state_span(view.status)
    main = run.series.get(main_metric(run))
    best = run.series.get("eval_loss")
    last = short_loss(main.last if main is not None else None).rjust(LOSS_CELLS)
    # If every evaluation is NaN, there is no best one, and NaN is shown.
    least = short_loss((best.min if best.finite else best.last) if best is not None else None).rjust(EVAL_CELLS)
    name = clean(run.name)
    room = width - 3 - LOSS_CELLS - EVAL_CELLS
    if width_of([(name, "")]) > room:
        name = "…" + keep_end(name, room - 1)
    bold = "|bold" if run is state.selected else ""
    first = spread([(glyph + " ", role), (name, "text" + bold)], [(last, "text" + bold), (least, "muted")], width)
    age = state.words.age(max(0.0, view.now - view.status.since)) if view.status.since is not None else ""
    note = note_spans(state, view)
    fraction = view.progress.fraction
    if fraction is not None and view.status.state not in ("finished", "stopped", "waiting"):
        note = [(percent(fraction).replace(" ", "") + "  ", "text"), *note]
    return [first, spread([("  ", "text"), *note], [(" " + age, "faint")], width)]


def short_loss(value: float | None) -> str:
    """Return a loss with two decimals, enough to compare runs; no decimals from 1000 on; ``–`` for None."""
    if value is None:
        return "–"
    if math.isnan(value):
        return format_cell("loss", value)
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def keep_end(text: str, width: int) -> str:
    """Return the last ``width`` cells of a name, since names of runs differ at their end."""
    while text and width_of([(text, "")]) > width:
        text = text[1:]
    return text


def note_spans(state: AppState, view: RunView) -> Line:
    """Return the most important fact of a run: its worst finding, its state, the remaining time, or its score."""
    words, status = state.words, view.status
    if view.fault is not None:
        return [
            ("! ", "rating-fair"),
            (words.t("fault.reading_short" if view.fault.kind == "reading" else "fault.run_short"), "rating-fair"),
        ]
    worst = next((f for f in view.judgement.findings if f.severity in ("critical", "warning")), None)
    if worst is not None and not worst.code.startswith(("failed", "stalled", "interrupted")):
        return [(finding_span(worst)[0] + " ", worst.severity), (words.finding_name(worst), worst.severity)]
    if status.state == "failed" and status.failure is not None:
        return [(short_error(status.failure.message), "rating-poor")]
    if status.state == "waiting":
        return [(phase_text(state, view) if status.phase else words.t("head.waiting"), "muted")]
    if status.state == "evaluating":
        return [(phase_text(state, view), "series-2")]
    if status.state == "interrupted":
        last = newest_checkpoint(view)
        if last is not None:
            return [(words.t("head.resume", checkpoint=clean(last.path)), "muted")]
        return [(words.t("head.no_resume"), "muted")]
    if status.state == "stalled":
        return [(words.t("head.silent", time=words.duration(status.silent_s or 0)), "rating-fair")]
    if (left := time_left(view.run, status, view.now)) is not None and status.state == "running":
        return [(words.t("list.left", time=duration_range(words, left.low, left.high)), "muted")]
    return score_spans(state, view) or job_spans(view.run)


def score_spans(state: AppState, view: RunView) -> Line:
    """Return BLEU-4 with its rating, else the accuracy of the last evaluation, else an empty line."""
    for run in (view.run, *view.run.linked):
        result = run.results().get("predict")
        value = result.values.get("predict_bleu-4") if result is not None else None
        if value is None:
            continue
        out: Line = [(f"BLEU-4 {value:.1f}", "muted")]
        rating = view.judgement.ratings.get("predict_bleu-4")
        if rating is not None:
            mark, role = rating_span(rating)
            out.append((" " + mark, role))
        return out
    accuracy = view.run.series.get("eval_accuracy") or view.run.series.get("eval_rewards/accuracies")
    if accuracy is not None and accuracy.last is not None:
        return [(f"{state.words.metric('accuracy')} {accuracy.last:.2f}", "muted")]
    return []


def job_spans(run: Run) -> Line:
    """Return method, rank and learning rate, in which the runs of a list usually differ."""
    rate = run.config.get("learning_rate")
    parts = [
        method_text(run).split(" α")[0],
        f"lr {format_cell('lr', rate.value)}" if rate is not None and isinstance(rate.value, float) else "",
    ]
    return [(clip("  ".join(part for part in parts if part), 60), "faint")]
