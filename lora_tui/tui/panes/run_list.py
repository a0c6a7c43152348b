"""The list of runs: two lines a run, numbers above, the one thing worth knowing below."""

from __future__ import annotations

from lora_tui.analysis.run_facts import main_metric
from lora_tui.runs.run import Run
from lora_tui.runs.status import time_left
from lora_tui.settings.fault_log import record_fault
from lora_tui.text.cells import clip
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane, fault_lines
from lora_tui.tui.panes.header import newest_checkpoint, percent, phase_text
from lora_tui.tui.panes.symbols import error_text, finding_span, method_text, rating_span, shown, state_span
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, clickable, fill, spread, width_of
from lora_tui.wording.sentences import duration_range

ROWS = 2
"""Lines a run takes."""


class RunListPane(Pane):
    """Keeps the selected run in sight; the wheel moves the window, a click selects."""

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
        self.capacity = max(1, (height - 3) // ROWS)
        self._follow(len(runs))
        rows: list[Line] = [columns_head(state, inner)]
        listed = runs[self.top : self.top + self.capacity]
        for run in listed:
            chosen = run is state.selected
            for line in _entry_or_fault(state, run, inner):
                rows.append([(text, f"{role}|sel" if chosen else role) for text, role in fill(line, inner)])
        note: Line = []
        if len(runs) > self.capacity:
            note = [(f"{self.top + 1}–{min(len(runs), self.top + self.capacity)}/{len(runs)}", "muted")]
        role = "border-focus" if state.focus == "runs" and len(runs) > 1 else "border"
        lines = box(rows, width, height, [(words.t("pane.runs"), "title")], note, role)
        # Below the border and the names of the columns.
        for place in range(len(listed)):
            for y in range(2 + place * ROWS, 2 + (place + 1) * ROWS):
                # The place on the screen and not the run: scrolling changes no action, so nothing is painted for it.
                lines[y] = clickable(lines[y], f"select({place})")
        return lines

    async def action_select(self, place: int) -> None:
        """Select the run at ``place`` of those in sight."""
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
        """Move the window, leaving the selection where it is."""
        self.top = max(0, min(self.top + runs, len(self.state.runs) - self.capacity))
        self.renew()

    def on_mouse_scroll_down(self) -> None:
        """One run down."""
        self.scroll_by(1)

    def on_mouse_scroll_up(self) -> None:
        """One run up."""
        self.scroll_by(-1)


LOSS, EVAL = 7, 6
"""Cells of the two columns of numbers."""


def columns_head(state: AppState, width: int) -> Line:
    """The names of the columns."""
    right = "loss".rjust(LOSS) + "eval".rjust(EVAL)
    return spread([("  " + state.words.t("list.name"), "faint")], [(right, "faint")], width)


def _entry_or_fault(state: AppState, run: Run, width: int) -> list[Line]:
    """Return the two lines of a run; where that raises, its name and the error."""
    try:
        return entry(state, run, width)
    except Exception as error:  # the edge of an error in one run of the list
        fault = record_fault("list", "entry", error)
        text = fault_lines(state.words, fault, width - 2, 1)[0]
        return [[("! ", "rating-fair"), (clean(run.name), "text")], [("  ", "text"), *text]]


def entry(state: AppState, run: Run, width: int) -> list[Line]:
    """The two lines of one run."""
    view = state.view(run)
    glyph, role = state_span(view.status)
    main = run.series.get(main_metric(run))
    best = run.series.get("eval_loss")
    last = short(main.last if main is not None else None).rjust(LOSS)
    # A best eval loss that is none: NaN at every evaluation.
    least = short((best.min if best.finite else best.last) if best is not None else None).rjust(EVAL)
    name = clean(run.name)
    room = width - 3 - LOSS - EVAL
    if width_of([(name, "")]) > room:
        name = "…" + tail(name, room - 1)
    bold = "|bold" if run is state.selected else ""
    first = spread([(glyph + " ", role), (name, "text" + bold)], [(last, "text" + bold), (least, "muted")], width)
    age = state.words.age(max(0.0, view.now - view.status.since)) if view.status.since is not None else ""
    note = note_of(state, view)
    fraction = view.progress.fraction
    if fraction is not None and view.status.state not in ("finished", "stopped", "waiting"):
        note = [(percent(fraction).replace(" ", "") + "  ", "text"), *note]
    return [first, spread([("  ", "text"), *note], [(" " + age, "faint")], width)]


def short(value: float | None) -> str:
    """A loss in the list: two decimals are enough to compare."""
    return (
        "–"
        if value is None
        else shown("loss", value)
        if value != value
        else f"{value:.2f}"
        if abs(value) < 1000
        else f"{value:.0f}"
    )


def tail(text: str, width: int) -> str:
    """The end of a name, which is what tells runs apart."""
    while text and width_of([(text, "")]) > width:
        text = text[1:]
    return text


def note_of(state: AppState, view: RunView) -> Line:
    """The one thing worth knowing: what is wrong, how long it takes, or how good it is."""
    words, status = state.words, view.status
    if view.fault is not None:
        return [("! ", "rating-fair"), (words.t("fault.run_short"), "rating-fair")]
    worst = next((f for f in view.judgement.findings if f.severity in ("critical", "warning")), None)
    if worst is not None and not worst.code.startswith(("failed", "stalled", "interrupted")):
        return [(finding_span(worst)[0] + " ", worst.severity), (words.finding_name(worst), worst.severity)]
    if status.state == "failed" and status.failure is not None:
        return [(error_text(status.failure.message), "rating-poor")]
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
    return score(state, view) or about(view.run)


def score(state: AppState, view: RunView) -> Line:
    """The headline score of a run that was evaluated by generating."""
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


def about(run: Run) -> Line:
    """Method, rank and learning rate: what runs of one list differ in most."""
    rate = run.config.get("learning_rate")
    parts = [
        method_text(run).split(" α")[0],
        f"lr {shown('lr', rate.value)}" if rate is not None and isinstance(rate.value, float) else "",
    ]
    return [(clip("  ".join(part for part in parts if part), 60), "faint")]
