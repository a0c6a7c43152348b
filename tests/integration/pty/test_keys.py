"""Every key of the help, pressed once in a real terminal, changes what is seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lora_tui.tui.keys import COMMANDS
from tests.support.live_app import start, watching
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.pty, pytest.mark.slow]

TYPED = {
    "down": "\x1b[B", "up": "\x1b[A", "end": "\x1b[F", "ctrl+d": "\x04", "pagedown": "\x1b[6~", "ctrl+u": "\x15",
    "pageup": "\x1b[5~", "left_square_bracket": "[", "right_square_bracket": "]", "enter": "\r", "escape": "\x1b",
    "tab": "\t", "shift+tab": "\x1b[Z", "colon": ":", "ctrl+p": "\x10", "question_mark": "?", "g": "gg",
    "ctrl+c": "\x03", "ctrl+q": "\x11",
}  # fmt: skip
"""What a terminal sends for a key; a letter sends itself."""
IN_THE_LIST = {
    "j", "k", "down", "up", "G", "g", "end", "left_square_bracket", "right_square_bracket", "ctrl+d", "ctrl+u",
    "pagedown", "pageup", "tab", "enter", "escape", "shift+tab",
}  # fmt: skip
ANYWHERE = {"1", "3", "6", "7", "R", "L", "T", "colon", "ctrl+p", "question_mark"}
LEAVING = {"q", "ctrl+c", "ctrl+q", "ctrl+z"}
"""Tried in test_terminal_restored and test_jobs."""


def press(terminal: Terminal, *keys: str) -> str:
    """Press keys; the screen afterwards."""
    for key in keys:
        terminal.send(TYPED.get(key, key))
        terminal.drain(0.03)
    return terminal.text


def changed(terminal: Terminal, *keys: str) -> str:
    """The screen after the keys, which must differ from that before."""
    before = terminal.text
    press(terminal, *keys)
    return after_change(terminal, before, keys)


def after_change(terminal: Terminal, before: str, keys: tuple[str, ...]) -> str:
    terminal.wait_until(lambda screen: screen != before, f"a change after {keys}")
    return terminal.settle()


def chosen(terminal: Terminal) -> str:
    """The run in the head."""
    heads = re.findall(r"╭─ (\S+)", terminal.text.split("\n")[1])
    return str(heads[1])


def test_no_key_is_forgotten_here() -> None:
    assert {key for command in COMMANDS for key in command.keys} == IN_THE_LIST | ANYWHERE | LEAVING


def test_every_key_of_the_help(all_runs: Path, tmp_path: Path) -> None:
    with watching(tmp_path, all_runs / "lora") as terminal:
        terminal.wait_for("╭─ Runs", r"[⠁-⣿]", r"✗ 2 failed")
        terminal.settle()

        # The list.
        first = chosen(terminal)
        changed(terminal, "j")
        second = chosen(terminal)
        assert second != first
        changed(terminal, "k")
        assert chosen(terminal) == first
        changed(terminal, "down")
        assert chosen(terminal) == second
        changed(terminal, "up")
        assert chosen(terminal) == first
        changed(terminal, "G")
        last = chosen(terminal)
        assert last not in (first, second)
        changed(terminal, "g")
        assert chosen(terminal) == first
        changed(terminal, "end")
        assert chosen(terminal) == last
        changed(terminal, "g")
        changed(terminal, "]")
        assert chosen(terminal) == second
        changed(terminal, "[")
        assert chosen(terminal) == first
        changed(terminal, "ctrl+d")
        lower = chosen(terminal)
        assert lower != first
        changed(terminal, "ctrl+u")
        assert chosen(terminal) == first
        changed(terminal, "pagedown")
        assert chosen(terminal) == lower
        changed(terminal, "pageup")
        assert chosen(terminal) == first

        # Focus and explanations.
        assert "enter explain" in changed(terminal, "tab")
        assert "esc close" in changed(terminal, "enter")
        assert "esc close" not in changed(terminal, "escape")
        changed(terminal, "escape")
        assert "enter explain" in changed(terminal, "shift+tab")
        assert "enter explain" not in changed(terminal, "escape")


def test_pages_language_theme_help_and_palette(all_runs: Path, tmp_path: Path) -> None:
    with watching(tmp_path, all_runs / "lora", "--run", "sft") as terminal:
        terminal.wait_for(r"[⠁-⣿]", "810/810", r"✗ 2 failed")  # console logs, which tell it, are read last
        overview = terminal.settle()
        assert "predict_results.json" in changed(terminal, "3")
        config = changed(terminal, "6")
        assert "adapter_config.json" in config
        for down, up in (
            ("j", "k"),
            ("down", "up"),
            ("ctrl+d", "ctrl+u"),
            ("pagedown", "pageup"),
            ("G", "g"),
            ("end", "g"),
        ):
            changed(terminal, down)
            assert changed(terminal, up) == config, (down, up)
        assert "checkpoint-" in changed(terminal, "7")
        assert changed(terminal, "escape") == overview
        changed(terminal, "7")
        assert changed(terminal, "1") == overview

        assert "已完成" in changed(terminal, "L")
        assert changed(terminal, "L") == overview

        # A theme changes colours alone, which the emulated screen does not show.
        backgrounds = []
        for _ in range(3):
            sent = terminal.bytes_read
            press(terminal, "T")
            terminal.settle()
            backgrounds.append(set(re.findall(rb"\x1b\[[0-9;]*48;2;([0-9;]+)m", terminal.raw[sent:])))
            assert terminal.text == overview
        assert len({frozenset(each) for each in backgrounds}) > 1

        assert "next pane" in changed(terminal, "question_mark")
        assert changed(terminal, "question_mark") == overview, "the same key closes it"
        for key in ("colon", "ctrl+p"):
            changed(terminal, key)
            terminal.wait_for("checkpoints")
            changed(terminal, "escape")
            terminal.wait_until(lambda screen: screen == overview, "the overview")


def test_the_mouse_selects_and_clicks(all_runs: Path, tmp_path: Path) -> None:
    with watching(tmp_path, all_runs / "lora") as terminal:
        terminal.wait_for("╭─ Runs", r"[⠁-⣿]", r"✗ 2 failed")
        terminal.settle()
        before = chosen(terminal)

        def click(x: int, y: int) -> None:
            terminal.send(f"\x1b[<0;{x + 1};{y + 1}M\x1b[<0;{x + 1};{y + 1}m")
            terminal.settle()

        click(6, 7)
        assert chosen(terminal) != before
        footer = terminal.text.split("\n")[-1]
        click(footer.index("6 config") + 2, terminal.screen.rows - 1)
        terminal.wait_for("╭─ config")


def test_the_report_lies_over_the_screen_and_goes_away(all_runs: Path, tmp_path: Path) -> None:
    with watching(tmp_path, all_runs / "lora" / "sft") as terminal:
        terminal.wait_for(r"[⠁-⣿]")
        terminal.settle()
        terminal.send("R")
        terminal.wait_for("training summary")
        terminal.send("\x1b")
        terminal.wait_gone("training summary")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("?", "next pane"),
        ("\t\r", "esc close"),
        ("R", "training summary"),
        ("6", "─ config ─"),
        (":", "Search for a command|checkpoints"),
        ("", "quit"),
    ],
    ids=["help", "explanation", "report", "page", "palette", "overview"],
)
def test_escape_and_q_at_once_leave(all_runs: Path, tmp_path: Path, keys: str, shown: str) -> None:
    """As tmux sends them where they are typed within its ``escape-time``, half a second."""
    with start(tmp_path, all_runs / "lora", "--run", "sft") as terminal:
        terminal.wait_for(r"[⠁-⣿]", r"✗ 2 failed", "q quit")
        terminal.settle()
        for key in keys:
            terminal.send(key)
            terminal.settle()
        terminal.wait_for(shown)
        terminal.send("\x1bq")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []


def test_keys_after_escape_are_not_lost(all_runs: Path, tmp_path: Path) -> None:
    """Each key that comes at once after an Escape counts, and so does the Escape."""
    with watching(tmp_path, all_runs / "lora") as terminal:
        terminal.wait_for("╭─ Runs", r"[⠁-⣿]", r"✗ 2 failed")
        overview = terminal.settle()
        assert "esc close" in changed(terminal, "question_mark")
        terminal.send("\x1b6")
        terminal.wait_for("─ config ─")
        assert "esc close" not in terminal.settle()
        terminal.send("\x1b7\x1b")
        terminal.wait_until(lambda screen: screen == overview, "the overview")
