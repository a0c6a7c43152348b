"""The keys of this place."""

from __future__ import annotations

from lora_tui.tui.keys import commands_of
from lora_tui.tui.screens.text_screen import TextScreen
from lora_tui.tui.state import AppState
from lora_tui.tui.styled_lines import Line, fill, wrap

WIDTH = 64


class HelpScreen(TextScreen):
    """Made of the same list as the bindings and the footer."""

    def __init__(self, state: AppState) -> None:
        words = state.words
        lines: list[Line] = [[]]
        for command in commands_of(state.page):
            if command.shown:
                text = words.t(f"keys.{command.code}")
                lines.append([(" ", "text"), *fill([(command.shown, "key|bold")], 12), (text, "text")])
        lines.append([])
        for key in (
            "help.mark.levels",
            "help.mark.hollow",
            "help.mark.reservation",
            "help.first_run",
            "help.read_only",
        ):
            lines += [[(" " + part, "muted")] for part in wrap(words.t(key), WIDTH - 6)]
        lines.append([])
        super().__init__(state, words.t("help.title"), lines, WIDTH)
