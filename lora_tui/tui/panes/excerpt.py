"""The last lines of the log of a run that failed."""

from __future__ import annotations

from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.state import RunView
from lora_tui.tui.styled_lines import Line, box

LINES = 6


class ExcerptPane(Pane):
    """The lines around the end of the traceback, under the chart."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        lines = excerpt_of(view)[-(height - 2) :]
        rows: list[Line] = [
            [(line, "text" if index == len(lines) - 1 else "muted")] for index, line in enumerate(lines)
        ]
        return box(rows, width, height, [(self.state.words.t("pane.log"), "title")], [])


def excerpt_of(view: RunView) -> list[str]:
    """The lines to show; none where the run did not fail, or has no chart (there they stand in its place)."""
    failure = view.status.failure
    if failure is None or view.status.state != "failed" or not view.run.rows:
        return []
    return [clean(line) for line in failure.excerpt if line.strip()][-LINES:]
