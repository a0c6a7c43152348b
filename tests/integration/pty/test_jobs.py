"""Ctrl-Z, ``fg`` and ``bg`` in a real shell: it gets its terminal back as it was, and the app draws all of it anew."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import eq
from pathlib import Path

import psutil
import pytest

from tests.support.job_writer import Writer
from tests.support.live_app import PYTHON, make_old, row, start, watching, write_run
from tests.support.processes import command_line, descendants, state
from tests.support.terminal import Terminal
from tests.support.waiting import STEP_S, wait_until

pytestmark = [pytest.mark.pty, pytest.mark.slow]

TUI = f"{sys.executable} -m lora_tui"
PROMPT = "$~"
STOP = "\x1a"


def waits(text: str) -> bool:
    """The shell waits for a command."""
    return text.rstrip().endswith(PROMPT)


@contextmanager
def shell(directory: Path) -> Iterator[Terminal]:
    """An interactive bash, at the prompt."""
    command = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(command, 120, 40, {**PYTHON, "PS1": "$~ ", "INPUTRC": "/dev/null"}, directory) as terminal:
        terminal.wait_until(waits, "the prompt")
        terminal.send("bind 'set enable-bracketed-paste off'; stty -a > stty.before\n")
        terminal.settle()
        yield terminal


def at_prompt(terminal: Terminal) -> None:
    """The shell has its terminal back, as it was, and can be used."""
    terminal.settle()
    terminal.wait_until(waits, "the prompt")
    modes = terminal.screen.modes
    terminal.send("clear; stty -a > stty.now; diff stty.before stty.now && echo the sa''me\n")
    terminal.wait_for("the same")
    assert sorted(modes) == [7, 25], "nothing but the cursor and line wrap is on"
    assert not any(terminal.screen.keyboard_flags)


def program(terminal: Terminal) -> psutil.Process | None:
    """The program that the shell runs, or the one that its wrapper runs; None where it has not been started yet."""
    return next((process for process in descendants(terminal) if "lora_tui" in command_line(process)), None)


def running(terminal: Terminal) -> psutil.Process:
    """The program, once the shell has started it."""
    return wait_until(lambda: program(terminal), "the shell starts it", lambda: terminal.drain(STEP_S))


def stopped(terminal: Terminal) -> psutil.Process:
    process = running(terminal)
    wait_until(lambda: state(process) == psutil.STATUS_STOPPED, "the program is stopped")
    return process


def test_stopped_and_brought_back(tmp_path: Path) -> None:
    run = write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with shell(tmp_path) as terminal:
        terminal.send(f"{TUI} watch saves\n")
        terminal.wait_for("loss 2.5000", "quit")
        terminal.settle()
        threads = running(terminal).num_threads()
        for loss, step in ((2.1234, 3), (1.9876, 4)):
            terminal.send(STOP)
            at_prompt(terminal)
            stopped(terminal)
            with Writer(run) as job:
                job("row", row(step, loss, 10))
            sent = terminal.bytes_read
            terminal.drain(0.5)
            assert terminal.bytes_read == sent, "nothing is drawn into the shell"
            terminal.send("fg\n")
            terminal.wait_for(f"loss {loss}", f"{step}/10", "quit")
            assert running(terminal).num_threads() == threads
            # Keys work, and whatever the shell drew is gone.
            before = terminal.settle()
            terminal.send("?")
            terminal.wait_for("next pane")
            terminal.send("\x1b")
            terminal.wait_until(partial(eq, before), "the screen as it was")
        terminal.send("q")
        at_prompt(terminal)


ON_PUBLIC_PARTS = """
import sys
from lora_tui.tui.terminal import textual_patches
textual_patches.PRIVATE_PARTS += (("textual.app", "App", ("_is_gone",)),)
from lora_tui.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""A start of the program with a Textual that has not all of the parts that are patched."""


def test_with_the_driver_of_textual_it_is_drawn_anew_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    make_old(run)
    (tmp_path / "start.py").write_text(ON_PUBLIC_PARTS)
    with shell(tmp_path) as terminal:
        terminal.send(f"{sys.executable} start.py watch saves\n")
        terminal.wait_for("loss 2.5000", "quit")
        before = terminal.settle()
        terminal.send(STOP)
        at_prompt(terminal)
        terminal.send("fg\n")
        terminal.wait_until(partial(eq, before), "the screen as it was")
        terminal.send("q")
        at_prompt(terminal)


def test_what_is_drawn_after_fg_is_what_a_fresh_start_draws(tmp_path: Path) -> None:
    """At another size too: the window may be another one by then."""
    run = write_run(tmp_path / "saves/a", [3.0 - step / 20 for step in range(30)], 60)
    make_old(run)
    with shell(tmp_path) as terminal:
        terminal.send(f"{TUI} watch saves\n")
        terminal.wait_for("1.5500", "quit")
        terminal.settle()
        terminal.send(STOP)
        at_prompt(terminal)
        terminal.resize(100, 30)
        terminal.send("fg\n")
        terminal.wait_for("1.5500", "quit")
        after = terminal.settle()
        terminal.send("q")
        at_prompt(terminal)
    with watching(tmp_path, "saves", size=(100, 30)) as fresh:
        fresh.wait_for("1.5500")
        assert fresh.settle() == after


def test_stopped_without_a_word_and_in_the_background(tmp_path: Path) -> None:
    """SIGSTOP cannot be answered: the shell draws over the screen. After SIGCONT it is whole again, and so are keys."""
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with shell(tmp_path) as terminal:
        terminal.send(f"{TUI} watch saves\n")
        terminal.wait_for("loss 2.5000", "quit")
        before = terminal.settle()
        process = running(terminal)
        threads = process.num_threads()
        process.send_signal(signal.SIGSTOP)
        stopped(terminal)
        terminal.settle()
        # In the background it waits for its terminal.
        terminal.send("\nbg\n")
        terminal.settle()
        stopped(terminal)
        terminal.send("fg\n")
        terminal.wait_until(lambda text: text == before, "the screen as it was")
        # A signal to go on that nothing came before.
        process.send_signal(signal.SIGCONT)
        assert terminal.settle() == before
        assert process.num_threads() == threads
        terminal.send("q")
        at_prompt(terminal)


def test_a_wrapper_stops_with_it(tmp_path: Path) -> None:
    """As started by ``uv run`` or a script of the user's, which the shell waits for."""
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    (tmp_path / "wrapper").write_text(f"#!/bin/sh\n{TUI} watch saves\nexit $?\n", encoding="utf-8")
    with shell(tmp_path) as terminal:
        terminal.send("sh wrapper\n")
        terminal.wait_for("loss 2.5000", "quit")
        terminal.settle()
        terminal.send(STOP)
        at_prompt(terminal)
        stopped(terminal)
        terminal.send("fg\n")
        terminal.wait_for("loss 2.5000", "quit")
        terminal.send("q")
        at_prompt(terminal)


def test_started_in_the_background_it_waits_for_its_terminal(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with shell(tmp_path) as terminal:
        terminal.send(f"{TUI} watch saves &\n")
        stopped(terminal)
        at_prompt(terminal)
        terminal.send("fg\n")
        terminal.wait_for("loss 2.5000", "quit")
        terminal.settle()
        terminal.send("q")
        at_prompt(terminal)


@pytest.mark.parametrize("how", ["key", "signal"])
def test_where_no_shell_could_bring_it_back_it_goes_on(tmp_path: Path, how: str) -> None:
    """As with ``ssh -t host lora-tui watch``: a stopped program would be lost."""
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for("loss 2.5000")
        before = terminal.settle()
        terminal.send(STOP) if how == "key" else terminal.process.send_signal(signal.SIGTSTP)
        terminal.settle()
        terminal.wait_until(lambda text: text == before, "the screen as it was")
        assert state(psutil.Process(terminal.process.pid)) != psutil.STATUS_STOPPED


@pytest.mark.parametrize(
    ("command", "pattern"),
    [("status --follow saves/a", r"4/10.*2\.1234"), ("wait saves/a --until 'loss < 2.2'", r"loss < 2\.2 .*4/10")],
    ids=["status", "wait"],
)
def test_the_other_commands_that_wait(tmp_path: Path, command: str, pattern: str) -> None:
    run = write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with shell(tmp_path) as terminal:
        terminal.send(f"clear; {TUI} {command}\n")
        running(terminal)
        terminal.settle()
        terminal.send(STOP)
        terminal.wait_for("Stopped")
        stopped(terminal)
        with Writer(run) as job:
            job("row", row(3, 2.4321, 10))
            job("row", row(4, 2.1234, 10))
        terminal.drain(0.3)
        assert "2.1234" not in terminal.text
        terminal.send("fg\n")
        terminal.wait_for(pattern)
        if command.startswith("status"):
            assert "2.4321" not in terminal.text.split("fg")[-1], "the newest state, not one line for each row"
            terminal.send("\x03")
        at_prompt(terminal)


# -- SIGQUIT ---------------------------------------------------------------------------------------------------------


def asked(kill: Callable[[Terminal], object], directory: Path) -> None:
    write_run(directory / "saves/a", [3.0, 2.5], 10)
    with start(directory, "saves") as terminal:
        terminal.wait_for("loss 2.5000", "quit")
        terminal.settle()
        kill(terminal)
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []
        assert not terminal.text.strip()


def test_the_signal_of_ctrl_backslash_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    asked(lambda terminal: terminal.process.send_signal(signal.SIGQUIT), tmp_path)
    assert not list(tmp_path.glob("core*"))


def test_ctrl_backslash_is_a_key_without_a_meaning(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for("loss 2.5000")
        before = terminal.settle()
        terminal.send("\x1c")
        assert terminal.settle() == before
