"""However it ends, the terminal is as it was, and nothing of the program is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.job_writer import Writer
from tests.support.live_app import PYTHON, row, start, write_run
from tests.support.processes import descendants, group
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.pty

MOUSE = ("1000", "1003", "1006")


def up(directory: Path) -> Terminal:
    """The app on a run that goes on, drawn."""
    write_run(directory / "saves/a", [3.0, 2.5, 2.25], 10)
    terminal = start(directory, "saves")
    terminal.wait_for("loss 2.2500", "quit")
    terminal.settle()
    return terminal


def check_restored(terminal: Terminal) -> None:
    assert terminal.left_behind() == []
    raw = terminal.raw.decode("utf-8", "replace")
    # It was really on, and its end is the last that is said of it.
    for mode in ("1049", "2004", *MOUSE):
        assert f"\x1b[?{mode}h" in raw, mode
        assert raw.rfind(f"\x1b[?{mode}l") > raw.rfind(f"\x1b[?{mode}h"), mode
    assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l")
    wait_until(lambda: not group(terminal.process.pid), "no process is left")


@pytest.mark.parametrize("key", ["q", "\x03", "\x11"], ids=["q", "ctrl-c", "ctrl-q"])
def test_keys_that_leave(tmp_path: Path, key: str) -> None:
    with up(tmp_path) as terminal:
        assert descendants(terminal) == [], "watching takes one process"
        terminal.send(key)
        assert terminal.wait_exit() == 0
        check_restored(terminal)
        assert not terminal.text.strip(), "nothing is said on the way out"


def test_a_signal_before_the_first_frame(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [1.0])
    with start(tmp_path, "saves") as terminal:
        terminal.wait_until(lambda _: terminal.screen.alternate, "the alternate screen")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_exit()
        check_restored(terminal)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda sign: sign.name)
def test_signals_that_leave(tmp_path: Path, sign: signal.Signals) -> None:
    with up(tmp_path) as terminal:
        terminal.process.send_signal(sign)
        assert terminal.wait_exit() == 0
        check_restored(terminal)


def test_leaving_while_rows_come_in(tmp_path: Path) -> None:
    with up(tmp_path) as terminal, Writer(tmp_path / "saves/a") as job:
        for step in range(4, 104):
            job("row", row(step, 2.0))
            if step == 80:
                terminal.send("\x03")
        assert terminal.wait_exit() == 0
        check_restored(terminal)


def test_leaving_at_the_first_moment(tmp_path: Path) -> None:
    """Keys typed before the first frame, as a user who mistyped the path types them."""
    write_run(tmp_path / "saves/a", [1.0])
    with start(tmp_path, "saves") as terminal:
        terminal.wait_until(lambda _: terminal.screen.alternate, "the alternate screen")
        terminal.send("q")
        assert terminal.wait_exit() == 0
        check_restored(terminal)


def test_a_connection_that_breaks_ends_it(tmp_path: Path) -> None:
    with up(tmp_path) as terminal:
        terminal.hang_up()
        assert terminal.process.wait(DEADLINE_S) == 0
        wait_until(lambda: not group(terminal.process.pid), "no process is left")


def test_a_signal_while_a_page_lies_over_the_screen(tmp_path: Path) -> None:
    with up(tmp_path) as terminal:
        terminal.send("?")
        terminal.wait_for("next pane")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_exit() == 0
        check_restored(terminal)


# -- an exception ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["widget", "handler"])
def test_an_exception_is_told_whole_on_a_restored_terminal(tmp_path: Path, place: str) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5, 2.25], 10)
    with Terminal([sys.executable, "-m", "tests.support.failing_app", place], 120, 40, PYTHON, tmp_path) as terminal:
        terminal.wait_until(lambda _: b"2.2500" in terminal.raw, "the app up")
        with Writer(tmp_path / "saves/a") as job:
            job("row", row(4, 2.0, 10))
        assert terminal.wait_exit() == 1
        check_restored(terminal)
        raw = terminal.raw.decode()
        after = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", raw[raw.rindex("\x1b[?1049l") :])
        assert "Traceback" in after
        assert "failing_on_purpose" in after
        assert re.search(r"ValueError: on purpose: \[red\]x\[/red\]", after), after[-2000:]
        assert "Traceback" not in raw[: raw.rindex("\x1b[?1049l")]


def test_an_exception_in_the_thread_that_reads_ends_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5, 2.25], 10)
    environment = {**PYTHON, "LORA_TUI_STATE_DIR": str(tmp_path / "state")}
    command = [sys.executable, "-m", "tests.support.failing_app", "thread"]
    with Terminal(command, 120, 40, environment, tmp_path) as terminal:
        terminal.wait_for("reading the runs failed: ValueError, see ")
        terminal.send("6")
        terminal.wait_for("─ config ─")
        terminal.send("q")
        assert terminal.wait_exit() == 0
        check_restored(terminal)
    (file,) = (tmp_path / "state").iterdir()
    assert "failing_on_purpose" in file.read_text()


# -- demo has a second process --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["q", "SIGTERM", "hang up"])
def test_demo_takes_its_second_process_and_its_directory_along(tmp_path: Path, how: str) -> None:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "lora_tui", "demo"]
    with Terminal(command, 120, 40, {**PYTHON, "TMPDIR": str(tmp_path / "tmp")}, tmp_path) as terminal:
        terminal.wait_for("[●○◐✓]", "quit")
        terminal.settle()
        children = descendants(terminal)
        assert children
        assert list((tmp_path / "tmp").iterdir())
        if how == "hang up":
            terminal.hang_up()
            assert terminal.process.wait(DEADLINE_S) == 0
        else:
            terminal.send("q") if how == "q" else terminal.process.send_signal(signal.Signals[how])
            assert terminal.wait_exit() == 0
            check_restored(terminal)
        assert not psutil.wait_procs(children, timeout=DEADLINE_S)[1]
        assert list((tmp_path / "tmp").iterdir()) == []


# -- where there is nothing to draw on -------------------------------------------------------------------------------


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_without_a_terminal_it_says_what_else_there_is(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [1.0])
    command = [sys.executable, "-m", "lora_tui", "watch", "saves"]
    environment = {**os.environ, **PYTHON, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL
    )
    said = one_line(done)
    assert said.startswith("lora-tui: ")
    assert "status --follow saves" in said
    assert "terminal" in said


def test_a_dumb_terminal_gets_the_same_answer(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [1.0])
    with start(tmp_path, "saves", env={"TERM": "dumb"}) as terminal:
        assert terminal.wait_exit() == 1
        assert b"\x1b" not in terminal.raw
        lines = terminal.raw.decode().splitlines()
        assert len(lines) == 1, lines
        assert "status --follow saves" in lines[0]


def test_output_into_a_pipe_is_refused_with_nothing_in_the_pipe(tmp_path: Path) -> None:
    """``lora-tui watch saves | cat`` in a terminal."""
    write_run(tmp_path / "saves/a", [1.0])
    line = 'set -o pipefail; "$0" -m lora_tui watch saves | cat'
    with Terminal(["bash", "-c", line, sys.executable], 120, 40, PYTHON, tmp_path) as terminal:
        assert terminal.wait_exit() == 1
        assert b"\x1b" not in terminal.raw
        assert "status --follow saves" in terminal.text
