"""What every key does, in one table: bindings, footer, help screen and command palette are made from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.binding import Binding, BindingType


class Hint(NamedTuple):
    """A key in the footer."""

    shown: str
    """The key as the footer writes it."""
    code: str
    """Its words have the catalogue key ``keys.<code>``."""
    action: str
    """The Textual action of the app that a click on it runs."""


class Command(NamedTuple):
    """Something that the user can do, with its keys."""

    code: str
    """Its words have the catalogue key ``keys.<code>``."""
    keys: tuple[str, ...]
    """The keys by their Textual names."""
    action: str
    """The Textual action of the app."""
    shown: str
    """The keys as the help writes them; empty: another command stands for this one too."""
    places: tuple[str, ...] = ()
    """The pages that have the command; empty: all."""
    priority: tuple[str, ...] = ()
    """Those of the keys that Textual's own screens bind too, and that are the app's all the same."""


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
    Command("focus", ("tab",), "ring(1)", "tab", LIST, priority=("tab",)),
    Command("focus_back", ("shift+tab",), "ring(-1)", "shift+tab", LIST, priority=("shift+tab",)),
    Command("overview", ("1",), "page('overview')", "1"),
    Command("results", ("3",), "page('results')", "3"),
    Command("config", ("6",), "page('config')", "6"),
    Command("checkpoints", ("7",), "page('checkpoints')", "7"),
    Command("report", ("R",), "report", "R"),
    Command("language", ("L",), "language", "L"),
    Command("theme", ("T",), "theme", "T"),
    Command("palette", ("colon", "ctrl+p"), "command_palette", ":"),
    Command("help", ("question_mark",), "help", "?"),
    Command("suspend", ("ctrl+z",), "suspend_process", "^z", priority=("ctrl+z",)),
    Command("quit", ("q", "ctrl+c", "ctrl+q"), "quit", "q", priority=("ctrl+c", "ctrl+q")),
)
"""In the order of the help screen and of the palette."""

TEXT_SCREEN_KEYS = (
    ("escape,q,enter,question_mark", "dismiss"),
    ("j,down", "scroll(1)"),
    ("k,up", "scroll(-1)"),
    ("ctrl+d,pagedown,space", "leap(1)"),
    ("ctrl+u,pageup", "leap(-1)"),
    ("g,home", "scroll(-1_000_000)"),
    ("G,end", "scroll(1_000_000)"),
)
"""Keys and actions of a screen of text, which names them itself."""
REPORT_SCREEN_KEYS = (
    ("pagedown,ctrl+d,space", "scroll(12)"),
    ("pageup,ctrl+u", "scroll(-12)"),
)
"""What the screen of the report binds otherwise; the keys that write it are those of its forms."""


def app_bindings() -> list[BindingType]:
    """Return the bindings of the app: one for each key of each command."""
    return [
        Binding(key, command.action, command.code, id=f"{command.code}.{key}", priority=key in command.priority)
        for command in COMMANDS
        for key in command.keys
    ]


def screen_bindings(keys: Iterable[tuple[str, str]]) -> list[BindingType]:
    """Return the bindings of a screen of text."""
    return [Binding(names, action, show=False) for names, action in keys]


def commands_of(page: str) -> list[Command]:
    """Return the commands that do something on a page, in the order of the help."""
    return [command for command in COMMANDS if not command.places or page in command.places]


def hints(page: str, focus: str, drawer: bool, listed: bool, runs: int) -> list[Hint]:
    """Return the footer of a place, what helps most first.

    ``listed`` says whether the run list is beside the other panes, ``drawer`` whether it lies over them.
    """
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
