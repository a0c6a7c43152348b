"""Every action of the app, once: the keys, the footer, the help screen and the command palette are made of this."""

from __future__ import annotations

from typing import NamedTuple


class Hint(NamedTuple):
    """A key in the footer."""

    shown: str
    code: str
    action: str


class Command(NamedTuple):
    """``code`` is also the wording key, ``keys.<code>``; ``places`` are the pages that have it (empty: all)."""

    code: str
    keys: tuple[str, ...]
    action: str
    shown: str
    """The keys as the help writes them; empty: another command stands for this one too."""
    places: tuple[str, ...] = ()


LIST = ("overview",)
PAGES = ("results", "config", "checkpoints")

COMMANDS: tuple[Command, ...] = (
    Command("move", ("j", "down"), "move(1)", "j/k", LIST),
    Command("scroll_down", ("j", "down"), "move(1)", "j", PAGES),
    Command("scroll_up", ("k", "up"), "move(-1)", "k", PAGES),
    Command("first", ("g",), "top", "gg"),
    Command("last", ("G", "end"), "move(1000000)", "G"),
    Command("page_down", ("ctrl+d", "pagedown"), "leap(1)", "^d"),
    Command("page_up", ("ctrl+u", "pageup"), "leap(-1)", "^u"),
    Command("previous_run", ("left_square_bracket",), "walk(-1)", "["),
    Command("next_run", ("right_square_bracket",), "walk(1)", "]"),
    Command("open", ("enter",), "open", "enter"),
    Command("back", ("escape",), "layer_back", "esc", PAGES),
    Command("focus", ("tab",), "ring(1)", "tab", LIST),
    Command("focus_back", ("shift+tab",), "ring(-1)", "shift+tab", LIST),
    Command("overview", ("1",), "page('overview')", "1"),
    Command("results", ("3",), "page('results')", "3"),
    Command("config", ("6",), "page('config')", "6"),
    Command("checkpoints", ("7",), "page('checkpoints')", "7"),
    Command("report", ("R",), "report", "R"),
    Command("language", ("L",), "language", "L"),
    Command("theme", ("T",), "theme", "T"),
    Command("palette", ("colon", "ctrl+p"), "command_palette", ":"),
    Command("help", ("question_mark",), "help", "?"),
    Command("suspend", ("ctrl+z",), "suspend_process", "^z"),
    Command("quit", ("q", "ctrl+c", "ctrl+q"), "quit", "q"),
)
"""In the order of the help screen."""


def commands_of(page: str) -> list[Command]:
    """The commands that do something on ``page``."""
    return [command for command in COMMANDS if not command.places or page in command.places]


def hints(page: str, focus: str, drawer: bool, listed: bool, runs: int) -> list[Hint]:
    """The footer of this place, what helps most first. ``listed``: the run list is beside the rest."""
    by_code = {command.code: command for command in COMMANDS}
    out: list[Hint] = []
    if page != "overview" or focus != "runs" or drawer:
        out.append(Hint("esc", "back", "layer_back"))
    if page != "overview":
        out.append(Hint("j/k", "scroll", "move(1)"))
        if runs > 1:
            out.append(Hint("[ ]", "switch_run", "walk(1)"))
    elif focus == "runs":
        if runs > 1 and (listed or drawer):
            out.append(Hint("j/k", "move", "move(1)"))
        elif runs > 1:
            out += [Hint("[ ]", "switch_run", "walk(1)"), Hint("tab", "list", "ring(1)")]
        if drawer:
            out.append(Hint("enter", "open", "open"))
    else:
        out += [Hint("j/k", "move", "move(1)"), Hint("enter", "explain", "open")]
    if page == "overview" and not drawer and runs and (listed or runs == 1):
        out.append(Hint("tab", "focus", "ring(1)"))
    codes = [code for code in ("overview", *PAGES, "report") if code != page] if runs else []
    for code in (*codes, "help", "quit", "language", "theme", "palette"):
        command = by_code[code]
        out.append(Hint(command.shown, code, command.action))
    return out
