"""Terminals set up for Chinese draw ●, ─ and many more in two cells: there everything is drawn in ASCII."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.support.live_app import PYTHON, make_old, write_run
from tests.support.terminal import Terminal

pytestmark = pytest.mark.pty

ZH = {"LANG": "zh_CN.UTF-8", "LC_ALL": "zh_CN.UTF-8"}
ASKED = b"\x1b[2;1H"


def watch(
    directory: Path, *arguments: str, ambiguous: int = 2, env: dict[str, str] = ZH, answers: bool = True
) -> Terminal:
    run = directory / "saves/a·α"
    if not run.exists():  # a second start in a test sees the same run: its times are drawn to the minute
        write_run(run, [3.0 - step / 20 for step in range(30)], 60)
        make_old(run)
    command = [sys.executable, "-m", "lora_tui", "watch", "saves", *arguments]
    own = {**PYTHON, "HOME": str(directory), "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "", **env}
    return Terminal(command, 120, 40, own, directory, ambiguous=ambiguous, answers=answers)


def ambiguous(text: str) -> set[str]:
    return {char for char in text if unicodedata.east_asian_width(char) == "A"}


def leave(terminal: Terminal) -> None:
    terminal.send("q")
    assert terminal.wait_exit() == 0
    assert terminal.left_behind() == []


@pytest.mark.slow
def test_the_terminal_is_asked_once_and_gets_ascii(tmp_path: Path) -> None:
    with watch(tmp_path) as terminal:
        terminal.wait_for("1.5500", "退出")
        for key in ("", "7", "6", "1", "?", "\x1b", "R", "\x1b", "\t", "\r", "\x1b"):
            terminal.send(key)
            terminal.settle()
            assert ambiguous(terminal.text) == set(), f"after {key!r}\n{terminal.shown()}"
            assert terminal.screen.wraps == 0
        assert re.search(r"\+- ", terminal.text), terminal.shown()
        assert "a-?" in terminal.text, "a name keeps its cells"
        assert len(re.findall(re.escape(ASKED + "●".encode()), terminal.raw)) == 1
        leave(terminal)


def test_what_is_drawn_then_is_as_with_the_option(tmp_path: Path) -> None:
    with watch(tmp_path) as terminal:
        terminal.wait_for("1.5500", "退出")
        drawn = terminal.settle()
        leave(terminal)
    with watch(tmp_path, "--glyphs", "ascii", ambiguous=1) as terminal:
        terminal.wait_for("1.5500", "退出")
        terminal.wait_until(lambda text: text.replace("α", "?") == drawn, f"the same as\n{drawn}")
        leave(terminal)


@pytest.mark.slow
def test_the_option_and_the_setting_win(tmp_path: Path) -> None:
    with watch(tmp_path, "--glyphs", "unicode") as terminal:
        terminal.wait_for("1.5500", "退出")
        terminal.settle()
        assert ASKED + "●".encode() not in terminal.raw
        assert "╭" in terminal.text
        leave(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("env", [ZH, {"LANG": "ja_JP.UTF-8", "LC_ALL": ""}], ids=["zh", "ja"])
def test_a_terminal_with_narrow_glyphs_keeps_them(tmp_path: Path, env: dict[str, str]) -> None:
    with watch(tmp_path, ambiguous=1, env=env) as terminal:
        terminal.wait_for("1.5500", "退出|quit")
        terminal.settle()
        assert ASKED + "●".encode() in terminal.raw
        assert {"╭", "─", "╯"} <= set(terminal.text)
        leave(terminal)


@pytest.mark.slow
def test_elsewhere_nothing_is_asked(tmp_path: Path) -> None:
    with watch(tmp_path, env={}) as terminal:
        terminal.wait_for("1.5500", "quit")
        assert ASKED + "●".encode() not in terminal.raw
        leave(terminal)


@pytest.mark.slow
def test_no_key_is_taken_for_an_answer_and_no_answer_for_a_key(tmp_path: Path) -> None:
    """Keys typed before there was a screen arrive together with the answers."""
    with watch(tmp_path) as terminal:
        terminal.wait_until(lambda _: terminal.screen.alternate, "the alternate screen")
        terminal.send("6")
        terminal.wait_for(r"\+- .*config|配置", "1/1|退出")
        terminal.settle()
        assert not ambiguous(terminal.text)
        assert "R" not in {line.strip() for line in terminal.screen.lines}
        leave(terminal)


@pytest.mark.slow
def test_a_terminal_that_answers_nothing_shows_no_trace_of_the_question(tmp_path: Path) -> None:
    with watch(tmp_path, ambiguous=1, answers=False) as terminal:
        terminal.wait_for("1.5500", "退出")
        drawn = terminal.settle()
        leave(terminal)
    with watch(tmp_path, "--glyphs", "unicode", ambiguous=1) as terminal:
        terminal.wait_for("1.5500", "退出")
        terminal.wait_until(lambda text: text == drawn, f"the same as\n{drawn}")
        leave(terminal)
