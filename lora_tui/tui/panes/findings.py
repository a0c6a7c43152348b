"""The findings, the worst first; below them problems with files, and what the job does not log."""

from __future__ import annotations

from lora_tui.runs.results import was_evaluated
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane, fault_lines
from lora_tui.tui.panes.symbols import finding_span
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, clickable, fill


class FindingsPane(Pane):
    """One line a finding: symbol, name and sentence; framed from three lines on."""

    can_focus = True
    first = 0
    """Index of the finding in the first row."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        framed = height >= 3
        inner = width - (4 if framed else 2)
        room = height - 2 if framed else height
        findings, words = view.judgement.findings, self.state.words
        above = fault_lines(words, view.fault, inner, min(room, FAULT_LINES)) if view.fault is not None else []
        room -= len(above)
        focused = self.state.focus == "findings"
        first = self.first = max(0, self.state.finding - room + 1) if focused else 0
        rows: list[Line] = []
        for index, finding in list(enumerate(findings))[first : first + room]:
            mark, role = finding_span(finding)
            name, text = words.finding_name(finding), words.finding(finding)[0]
            line: Line = [(mark + " ", role)]
            if not text.lower().startswith(name.lower()):
                line.append((name + "  ", f"{role}|bold" if role != "info" else "text"))
            line.append((text, "muted"))
            if focused and index == self.state.finding:
                line = [(text, part + "|sel") for text, part in fill(line, inner)]
            rows.append(line)
        listed = len(rows)
        if len(rows) < room:
            rows.extend(problem_lines(self.state, view, room - len(rows)))
        if len(rows) < room:
            rows.extend(not_logged_lines(self.state, view)[: room - len(rows)])
        rows = above + rows
        if not framed:
            return self._clickable([fill([(" ", "text"), *row], width) for row in rows], len(above), listed)
        title: Line = [(words.t("pane.findings"), "title")]
        if len(findings) > room:
            title.append((f" {len(findings)}", "muted"))
        lines = box(rows, width, height, title, [], "border-focus" if focused else "border")
        return self._clickable(lines, 1 + len(above), listed)

    def _clickable(self, lines: list[Line], top: int, count: int) -> list[Line]:
        """Make each of ``count`` lines from ``top`` on clickable: a click focuses or explains the finding in it."""
        # The action names the place on the screen, not the finding, so that scrolling changes no action.
        for place in range(count):
            lines[top + place] = clickable(lines[top + place], f"finding({place})")
        return lines

    async def action_finding(self, place: int) -> None:
        """Focus the finding in row ``place``, or explain it if it has the focus already."""
        await self.run_action(f"app.finding({self.first + place})")


SHOWN_PROBLEMS = 2
"""The most lines for problems with the files of the run; the config page shows all of them."""
FAULT_LINES = 3
"""The most lines for an error of the program itself, which is wrapped because it names a file."""


def problem_lines(state: AppState, view: RunView, most: int = SHOWN_PROBLEMS) -> list[Line]:
    """Return a line for each part of the run's files that could not be used, at most ``most``.

    Where there are more, the last line counts the rest.
    """
    notes = view.run.problems
    lines: list[Line] = [
        [
            ("! ", "rating-fair"),
            (clean(note.file) + (f":{note.line}" if note.line else "") + "  ", "text"),
            (state.words.reason(clean(note.reason)), "muted"),
        ]
        for note in notes[:most]
    ]
    if len(notes) > most and lines:
        rest = state.words.n("tui.more_problems", len(notes) - most + 1)
        lines[-1] = [("! ", "rating-fair"), (rest, "muted")]
    return lines


def not_logged_lines(state: AppState, view: RunView) -> list[Line]:
    """Return at most one line that names what the job does not log and the options that would log it."""
    series, words = view.run.series, state.words
    if (
        not view.run.rows
        or view.progress.unit == "batches"
        or any(item.code == "not_logged" for item in view.judgement.findings)
    ):
        return []
    missing = []
    if not was_evaluated(view.run):
        missing.append(words.t("empty.item.eval_loss"))
    if not view.progress.tokens_per_s and "total_tokens" not in series:
        missing.append(words.t("empty.item.throughput"))
    if not missing:
        return []
    items = words.t("list.separator").join(missing)
    return [[("· ", "faint"), (words.t("empty.not_logged", items=items), "faint")]]
