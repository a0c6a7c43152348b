"""A terminal that takes 2 kB a second, as over a bad line, while 50 rows a second come in.

What is seen is never more than a frame behind: not the backlog of all frames since the line became slow.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.job_writer import Writer
from tests.support.live_app import PYTHON, row, start, write_run
from tests.support.processes import is_running
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S, STEP_S, wait_until

pytestmark = [pytest.mark.pty, pytest.mark.slow]

SLOW = 2000
TOTAL = 100_000
ROWS_S = 50


class Job:
    """Writes rows and counts them."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.written = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        with Writer(self.run) as job:
            while not self._end.wait(1 / ROWS_S):
                step = self.written + 2
                job("row", row(step, round(3 - step / 10_000, 4), TOTAL))
                self.written += 1

    def stop(self) -> None:
        """Write no more."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> Job:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def slowed(directory: Path, *arguments: str) -> Iterator[tuple[Terminal, Job]]:
    """The app, its first frame drawn at full speed, over a line that has become slow since."""
    run = write_run(directory / "saves/a", [3.0], TOTAL)
    with start(directory, "saves", *arguments) as terminal:
        terminal.wait_for("loss 3.0000", "quit")
        terminal.settle()
        terminal.bytes_per_s = SLOW
        with Job(run) as job:
            yield terminal, job


def test_the_newest_is_shown_and_not_the_backlog(tmp_path: Path) -> None:
    with slowed(tmp_path) as (terminal, job):
        process = psutil.Process(terminal.process.pid)
        # The first rows change the whole screen: 18 kB, which take nine seconds.
        terminal.drain(12)
        memory = process.memory_info().rss
        terminal.drain(12)
        assert process.memory_info().rss - memory < 2 << 20, "what is not shown yet is not kept"

        # The line is good again: what is there now is shown now, without what went before.
        job.stop()
        sent = terminal.bytes_read
        terminal.bytes_per_s = None
        terminal.wait_for(rf"\b{job.written + 1}/{TOTAL}")
        assert terminal.bytes_read - sent < 40_000, "no more than two frames were on their way"
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []


def test_keys_are_answered_and_quitting_is_not_waited_for(tmp_path: Path) -> None:
    with slowed(tmp_path) as (terminal, job):
        terminal.drain(5)
        terminal.send("7")
        terminal.wait_for("no checkpoints|checkpoints? *─")
        terminal.send("1")
        terminal.drain(0.3)  # the whole page is on its way
        terminal.send("q")
        assert terminal.process.wait(DEADLINE_S) == 0
        assert job.written
        # What the kernel holds of the last frame is still read, then the terminal is as it was.
        terminal.bytes_per_s = None
        wait_until(lambda: terminal.left_behind() == [], "the terminal as it was", lambda: terminal.drain(STEP_S))


@pytest.mark.parametrize("by", ["q", "SIGTERM", "hang up"])
def test_a_terminal_that_takes_nothing_at_all_does_not_keep_it(tmp_path: Path, by: str) -> None:
    """A frozen connection: nothing is read from now on, not even while it leaves."""
    with slowed(tmp_path) as (terminal, _):
        terminal.bytes_per_s = 1
        terminal.drain(4)
        if by == "q":
            terminal.send("q")
        elif by == "SIGTERM":
            terminal.process.terminate()
        else:
            terminal.hang_up()
        assert terminal.process.wait(DEADLINE_S) == 0
        assert not is_running(terminal.process.pid)


def test_a_terminal_that_answers_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """Programs that play terminal, as expect does: every change is shown, and nothing more is asked."""
    run = write_run(tmp_path / "saves/a", [3.0], 100)
    command = [sys.executable, "-m", "lora_tui", "watch", "saves"]
    with Terminal(command, 120, 40, PYTHON, tmp_path, answers=False) as terminal, Writer(run) as job:
        terminal.wait_for("loss 3.0000", "quit")
        for step in range(2, 14):
            terminal.drain(0.4)
            loss = f"{3 - step / 20:.4f}"
            job("row", row(step, float(loss)))
            terminal.wait_for(f"loss {loss}", rf"\b{step}/100")
        assert terminal.raw.count(b"\x1b[6n") <= 1, "asked once, in vain"
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []


def test_answers_that_are_lost_stop_nothing_for_long(tmp_path: Path) -> None:
    """As when a terminal is taken over by another window: it answered before, and now it does not."""
    run = write_run(tmp_path / "saves/a", [3.0], 100)
    with start(tmp_path, "saves") as terminal, Writer(run) as job:
        terminal.wait_for("loss 3.0000", "quit")
        terminal.settle()
        terminal.answers = False
        for step in range(2, 40):
            job("row", row(step, 3 - step / 50))
            terminal.drain(0.1)
        asked = terminal.raw.count(b"\x1b[6n")
        terminal.wait_for(r"loss 2\.2200")
        for step in range(40, 60):
            job("row", row(step, 3 - step / 50))
            terminal.drain(0.35)
        terminal.wait_for(r"loss 1\.8200")
        assert terminal.raw.count(b"\x1b[6n") <= asked + 2
        terminal.answers = True
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []
