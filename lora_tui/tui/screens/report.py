"""The screen with the report of the selected run, whose keys write the report to a file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from textual.binding import BindingType

from lora_tui.report.build import build
from lora_tui.report.document import Report
from lora_tui.runs.run import Run
from lora_tui.settings.fault_log import record_fault
from lora_tui.text.atomic_write import write_atomically
from lora_tui.text.cells import cell_width
from lora_tui.text.sanitize import clean, escape_json
from lora_tui.tui.keys import REPORT_SCREEN_KEYS, screen_bindings
from lora_tui.tui.panes.base import fault_lines
from lora_tui.tui.screens.text_screen import TextPane, TextScreen
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box

MIN_WIDTH = 60
"""Width that the line of keys needs, in cells."""
Form = Literal["html", "md", "txt", "json"]
FORMS: tuple[tuple[str, str, Form], ...] = (
    ("h", "HTML", "html"), ("m", "Markdown", "md"), ("t", "", "txt"), ("J", "JSON", "json"),
)  # fmt: skip
"""Key, name of the format if it is the same in all languages (else empty), and suffix of the file."""


class ReportPane(TextPane):
    """The report above a line that shows the keys or, after one of them, the file that was written."""

    message: Line | None = None
    """Line that is shown in place of the keys, or None."""

    def draw(self, width: int, height: int) -> list[Line]:
        room = max(1, height - 4)
        rows = self.shown_lines(self.lines, room)
        rows += [[]] * (room - len(rows))
        rows += [[("─" * (width - 4), "border")], self.message or self._keys()]
        words = self.state.words
        note: Line = [("esc", "key"), (" " + words.t("keys.close"), "faint")]
        if len(self.lines) > room:
            note = [(f"{self.offset_y + 1}–{self.offset_y + room}/{len(self.lines)}  ", "muted"), *note]
        return box(rows, width, height, [(self.heading, "title|bold")], note, "border-focus")

    def _keys(self) -> Line:
        words = self.state.words
        out: Line = [(words.t("tui.report_write") + "  ", "muted")]
        for key, name, _ in FORMS:
            shown = name or words.t("tui.report_text")
            out += [(key, "key"), (f" {shown}   ", "text")]
        return out


class ReportScreen(TextScreen):
    """The text of ``lora-tui report`` at the moment at which the screen was opened."""

    BINDINGS: ClassVar[list[BindingType]] = screen_bindings(
        (*((key, f"write('{form}')") for key, _, form in FORMS), *REPORT_SCREEN_KEYS)
    )

    def __init__(self, state: AppState, view: RunView) -> None:
        from lora_tui.report.render.box import render

        self.report: Report = build(view.run, view.now, state.words, state.context(view.run), view.judgement)
        self._state = state
        self._run = view.run
        text = render(self.report, state.words, ascii_only=state.ascii)
        lines: list[Line] = [[(line, "text")] for line in text.splitlines()]
        wide = max(map(cell_width, text.splitlines()))
        super().__init__(state, state.words.t("tui.report_title"), lines, max(MIN_WIDTH, wide + 4))
        self.pane = ReportPane(state, self.pane.heading, lines)

    def action_write(self, form: Form) -> None:
        """Write the report in one format to a new file in the current directory."""
        pane = self.pane
        words = self._state.words
        assert isinstance(pane, ReportPane)
        path = free_path(Path.cwd(), self._run, form)
        shown = f"./{path.name}"
        try:
            write_atomically(path, report_text(self.report, self._state, form))
        except OSError as error:
            reason = words.reason(clean(error.strerror or str(error)))
            said = words.t("tui.report_failed", path=shown, reason=reason)
            pane.message = [("! ", "rating-poor"), (said, "text")]
        except Exception as error:  # an error in one format must not end the screen
            fault = record_fault("screen", f"report-{form}", error)
            pane.message = fault_lines(words, fault, pane.size.width - 4, 1)[0]
        else:
            pane.message = [("✓ ", "rating-good"), (words.t("tui.report_written", path=shown), "text")]
        pane.renew()


def report_text(report: Report, state: AppState, form: Form) -> str:
    """Return the content of the file in one format. The renderer is imported when it is needed."""
    words = state.words
    if form == "html":
        from lora_tui.report.render.html import render as html

        return html(report, words)
    if form == "md":
        from lora_tui.report.render.markdown import render as markdown

        return markdown(report, words)
    if form == "json":
        import json

        return escape_json(json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False, indent=2)) + "\n"
    from lora_tui.report.render.box import render as text

    return text(report, words, ascii_only=state.ascii) + "\n"


def free_path(directory: Path, run: Run, form: Form) -> Path:
    """Return a path in ``directory``, made from the name of the run, at which no file exists."""
    name = "-".join(part for part in "".join(c if c.isalnum() or c in "._" else " " for c in run.name).split())
    stem = f"{name.lstrip('.')[:80] or 'run'}-report"
    path, number = directory / f"{stem}.{form}", 2
    while path.exists() or path.is_symlink():
        path, number = directory / f"{stem}-{number}.{form}", number + 1
    return path
