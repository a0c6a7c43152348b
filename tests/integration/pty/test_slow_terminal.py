"""A terminal that takes 2 kB a second, as over a bad line, while 50 rows a second come in.

What is seen is never more than a frame behind: not the backlog of all frames since the line became slow.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.job_writer import Writer
from tests.support.live_app import PYTHON, row, settle, start, write_run
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.pty, pytest.mark.slow]

SLOW = 2000
TOTAL = 100_000
ROWS_S = 50


class Job:
    """Writes rows and knows when each was written."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.written: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        with Writer(self.run) as job:
            while not self._end.wait(1 / ROWS_S):
                step = len(self.written) + 2
                job("row", row(step, round(3 - step / 10_000, 4), TOTAL))
                self.written.append(time.perf_counter())

    def age(self, step: int, now: float) -> float:
        """Since when the row after this step has been there to be shown."""
        after = step - 1
        return now - self.written[after] if after < len(self.written) else 0.0

    def __enter__(self) -> Job:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@contextmanager
def slowed(directory: Path, *arguments: str) -> Iterator[tuple[Terminal, Job]]:
    """The app, its first frame drawn at full speed, over a line that has become slow since."""
    run = write_run(directory / "saves/a", [3.0], TOTAL)
    with start(directory, "saves", *arguments) as terminal:
        terminal.wait_for("loss 3.0000", "quit")
        settle(terminal)
        terminal.bytes_per_s = SLOW
        with Job(run) as job:
            yield terminal, job


def shown_step(terminal: Terminal) -> int:
    found = re.search(rf"\b(\d+)/{TOTAL}", terminal.text)
    assert found, terminal.shown()
    return int(found[1])


def test_the_newest_is_shown_and_not_the_backlog(tmp_path: Path) -> None:
    with slowed(tmp_path) as (terminal, job):
        process = psutil.Process(terminal.process.pid)
        ages, memory = [], 0
        begin = time.perf_counter()
        while (since := time.perf_counter() - begin) < 28:
            terminal.drain(0.1)
            ages.append((since, job.age(shown_step(terminal), time.perf_counter())))
            memory = memory or (process.memory_info().rss if since > 12 else 0)
        grown = process.memory_info().rss - memory
        first, later = [age for at, age in ages if at < 12], sorted(age for at, age in ages if at >= 12)
        median = later[len(later) // 2]
        print(f"age: first {max(first):.1f} s, then {median:.2f} s, most {later[-1]:.2f} s; memory +{grown} B")
        # The first rows change the whole screen: 18 kB, which take nine seconds.
        assert max(first) < 13
        assert median < 3
        assert later[-1] < 6
        assert grown < 2 << 20, f"{grown} bytes in 16 s"

        # The line is good again: what is there now is shown now, without what went before.
        sent = terminal.bytes_read
        terminal.bytes_per_s = None
        terminal.drain(0.5)
        assert job.age(shown_step(terminal), time.perf_counter()) < 1.2
        assert terminal.bytes_read - sent < 40_000, "no more than two frames were on their way"
        terminal.send("q")
        assert terminal.wait_exit(3) == 0
        assert terminal.left_behind() == []


def test_keys_are_answered_and_quitting_is_not_waited_for(tmp_path: Path) -> None:
    with slowed(tmp_path) as (terminal, job):
        terminal.drain(5)
        begin = time.perf_counter()
        terminal.send("7")
        terminal.wait_for("no checkpoints|checkpoints? *─", timeout=12)
        took = time.perf_counter() - begin
        # A page is about 8 kB; the frame before it has to get through, too.
        assert took < 10, took
        terminal.send("1")
        terminal.drain(0.3)  # the whole page is on its way
        begin = time.perf_counter()
        terminal.send("q")
        assert terminal.process.wait(3) == 0
        print(f"page {took:.2f} s, quit {time.perf_counter() - begin:.2f} s")
        assert job.written
        # What the kernel holds of the last frame is still read, then the terminal is as it was.
        terminal.bytes_per_s = None
        terminal.drain(0.5)
        assert terminal.left_behind() == []


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
        assert terminal.process.wait(6) == 0
        assert not psutil.pid_exists(terminal.process.pid) or not psutil.Process(terminal.process.pid).is_running()


def test_a_terminal_that_answers_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """Programs that play terminal, as expect does: every change is shown as soon as on any other."""
    run = write_run(tmp_path / "saves/a", [3.0], 100)
    command = [sys.executable, "-m", "lora_tui", "watch", "saves"]
    with Terminal(command, 120, 40, PYTHON, tmp_path, answers=False) as terminal, Writer(run) as job:
        terminal.wait_for("loss 3.0000", "quit")
        for step in range(2, 14):
            terminal.drain(0.4)
            loss, begin = f"{3 - step / 20:.4f}", time.perf_counter()
            job("row", row(step, float(loss)))
            terminal.wait_for(f"loss {loss}", rf"\b{step}/100", timeout=5)
            assert time.perf_counter() - begin < 1.5
        assert terminal.raw.count(b"\x1b[6n") <= 1, "asked once, in vain"
        terminal.send("q")
        assert terminal.wait_exit(3) == 0
        assert terminal.left_behind() == []


def test_answers_that_are_lost_stop_nothing_for_long(tmp_path: Path) -> None:
    """As when a terminal is taken over by another window: it answered before, and now it does not."""
    run = write_run(tmp_path / "saves/a", [3.0], 100)
    with start(tmp_path, "saves") as terminal, Writer(run) as job:
        terminal.wait_for("loss 3.0000", "quit")
        settle(terminal)
        terminal.answers = False
        for step in range(2, 40):
            job("row", row(step, 3 - step / 50))
            terminal.drain(0.1)
        asked = terminal.raw.count(b"\x1b[6n")
        terminal.wait_for(r"loss 2\.2200", timeout=15)
        for step in range(40, 60):
            job("row", row(step, 3 - step / 50))
            terminal.drain(0.35)
        terminal.wait_for(r"loss 1\.8200", timeout=1.5)
        assert terminal.raw.count(b"\x1b[6n") <= asked + 2
        terminal.answers = True
        terminal.send("q")
        assert terminal.wait_exit(3) == 0
        assert terminal.left_behind() == []
