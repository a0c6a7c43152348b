"""The panes of a single line: the top line, the footer, and the one line of a terminal that is too small for panes."""

from __future__ import annotations

from pathlib import Path

from lora_tui.analysis.run_facts import main_metric
from lora_tui.runs.run import StateName
from lora_tui.settings.fault_log import Fault
from lora_tui.text.sanitize import clean
from lora_tui.tui.keys import hints
from lora_tui.tui.panes.base import Pane, fault_lines
from lora_tui.tui.panes.header import percent
from lora_tui.tui.panes.symbols import STATE_SYMBOLS, format_cell, state_span
from lora_tui.tui.state import AppState
from lora_tui.tui.styled_lines import Line, clickable, cut, joined, spread, width_of

_COUNTED: tuple[StateName, ...] = (
    "running", "evaluating", "waiting", "stalled", "finished", "stopped", "interrupted", "failed"
)  # fmt: skip
"""The order in which the top line counts the states."""


class TopPane(Pane):
    """The top line: the name of the program, the watched path, and the number of runs in each state."""

    def draw(self, width: int, height: int) -> list[Line]:
        state = self.state
        words = state.words
        counts: dict[StateName, int] = {}
        for run in state.runs:
            name = state.status(run).state
            counts[name] = counts.get(name, 0) + 1
        right: Line = [(words.n("app.runs", len(state.runs)), "muted")]
        for name in _COUNTED:
            if name in counts:
                right += [("   ", "text"), (STATE_SYMBOLS[name] + " ", f"state-{name}"),
                          (f"{counts[name]} {words.t('state.' + name)}", "muted")]  # fmt: skip
        right.append((" ", "text"))
        left: Line = [(" lora-tui", "series-1|bold"), ("  " + clean(state.options.title), "muted")]
        if state.errors and state.runs:
            left[1:] = [("  ! " + _unread(state), "rating-fair")]
        return [spread(left, right, width)]


def _unread(state: AppState) -> str:
    """Return the first directory that cannot be read, with the reason, and the number of further ones."""
    (name, why), *more = state.errors
    path = Path(name)
    for root in state.workspace.roots:
        if root == path or root in path.parents:
            path = path.relative_to(root.parent)
            break
    text = state.words.t("app.unread", path=clean(str(path)), reason=state.words.reason(clean(why)))
    return f"{text} +{len(more)}" if more else text


HINT_GAP = 2
"""Cells between two keys of the footer."""


class FooterPane(Pane):
    """The footer: the keys that work in the focused place, or a note on what just happened, or a reading error."""

    def draw(self, width: int, height: int) -> list[Line]:
        state = self.state
        fault = state.read_error or state.search_fault
        if isinstance(fault, Fault):
            return [cut([(" ", "text"), *fault_lines(state.words, fault, width - 1, 1)[0]], width)]
        if isinstance(state.read_error, str) and state.read_error:
            return [spread([(" ! " + clean(state.read_error), "rating-fair")], [], width)]
        if state.note:
            return [cut([(" " + clean(state.note), "text")], width)]
        listed = "runs" in state.places and not state.drawer
        all_hints = hints(state.page, state.focus, state.drawer, listed, len(state.runs))
        parts: list[Line] = [
            [(hint.shown, "key|bold"), (f" {state.words.t('keys.' + hint.code)}", "muted")] for hint in all_hints
        ]
        # Where not all keys fit, those for help and for quitting are kept first.
        order = sorted(range(len(parts)), key=lambda i: (all_hints[i].code not in ("help", "quit"), i))
        kept: set[int] = set()
        room = width - 1 + HINT_GAP
        for index in order:
            cells = width_of(parts[index]) + HINT_GAP
            if cells <= room:
                kept.add(index)
                room -= cells
        out: Line = []
        for index in sorted(kept):
            # A click between two keys does nothing.
            out.append((" " * HINT_GAP, "muted") if out else (" ", "text"))
            out += clickable(parts[index], f"app.{all_hints[index].action}")
        return [cut(out, width)]


class LinePane(Pane):
    """The selected run in one line, for a terminal that is too small for panes."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            where = clean(self.state.options.title or ".")
            return [[(" lora-tui: " + self.state.words.t("list.empty_in", path=where), "text")]]
        progress, words = view.progress, self.state.words
        mark, role = state_span(view.status)
        main = main_metric(view.run)
        series = view.run.series.get(main)
        parts: list[Line] = [[(mark + " ", role), (clean(view.run.name), "text|bold")]]
        if series is not None and series.last is not None:
            parts.append([(words.metric(main) + " ", "muted"), (format_cell(main, series.last), "value")])
        if progress.fraction is not None:
            parts.append([(percent(progress.fraction).replace(" ", ""), "text")])
        if progress.step is not None:
            parts.append(
                [(f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step), "text")]
            )
        if progress.finish_at is not None and view.status.live:
            parts.append(self.state.phrase("head.ends", time=words.clock(progress.finish_at, view.now)))
        else:
            parts.append([(words.state(view.status), role)])
        return [joined(parts, width, ("  ", "text"))]
