"""Helpers of the fault tests: a follower to drive, rows to write, a process for which permissions count."""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lora_tui.ingest import follower as following
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.support.waiting import wait_until

CAPGET, CAPSET_VERSION_3 = 125, 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2


class Watched:
    """A follower with its workspace, as a command without a terminal uses them. ``ahead``: seconds by which its clock
    is ahead of the system's."""

    def __init__(self, *paths: Path, poll: bool = False, follower: Follower | None = None) -> None:
        self.ahead = 0.0
        self.follower = follower or Follower(paths, poll=poll, clock=lambda: time.time() + self.ahead)
        self.workspace = Workspace(self.follower.roots)
        self.notes: tuple[str, ...] = ()
        self.errors: dict[str, str] = {}
        for batch in self.follower.read_all():
            self.workspace.apply(batch)
        self.follower.start_watching()
        self.turn()

    def turn(self) -> None:
        batch = self.follower.read(0.2)
        self.notes, self.errors = batch.notes, dict(batch.errors)
        self.workspace.apply(batch)

    def until(self, true: Callable[[], object]) -> None:
        """Follow until ``true()``."""
        wait_until(true, step=self.step)

    def step(self) -> None:
        """Wait a little for something to read, and read it."""
        if self.follower.wait(0.3):
            self.turn()

    def follow(self, seconds: float) -> None:
        """Follow for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.follower.wait(0.1):
                self.turn()

    def run(self, name: str) -> Run | None:
        return next((run for run in self.workspace.runs if run.name == name), None)

    def the(self, name: str) -> Run:
        run = self.run(name)
        assert run is not None, [run.name for run in self.workspace.runs]
        return run

    def losses(self, name: str) -> list[float]:
        run = self.run(name)
        return list(run.series["loss"].values) if run is not None and "loss" in run.series else []

    def problems(self, name: str) -> list[tuple[str, str]]:
        return [(note.file, note.reason) for note in self.the(name).problems]


@pytest.fixture
def events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No heartbeat: what is followed from now on is known by file events, or where there are none by polling."""
    for name in ("HEARTBEAT_S", "SLOW_HEARTBEAT_S"):
        monkeypatch.setattr(following, name, math.inf)


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    """``watched(path)`` follows until the test is over."""
    made: list[Watched] = []

    def make(*paths: Path, poll: bool = False, follower: Follower | None = None) -> Watched:
        made.append(Watched(*paths, poll=poll, follower=follower))
        return made[-1]

    yield make
    for one in made:
        one.follower.close()


def row(step: int, loss: float, total: int = 1000) -> dict[str, object]:
    """A training row, one step a second."""
    clock = f"{step // 3600}:{step // 60 % 60:02}:{step % 60:02}"
    return {
        "current_steps": step, "total_steps": total, "loss": loss, "lr": 1e-4, "epoch": step / 500,
        "percentage": 100 * step / total, "elapsed_time": clock, "remaining_time": "0:10:00",
    }  # fmt: skip


def append(run: Path, *rows: dict[str, object]) -> None:
    """Rows as the producer writes them: open, append, close."""
    run.mkdir(parents=True, exist_ok=True)
    for each in rows:
        with (run / "trainer_log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(each) + "\n")


@contextmanager
def permissions_count() -> Iterator[None]:
    """This thread reads only what its user may read, as root does not otherwise (capabilities(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPSET_VERSION_3, 0)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] &= ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def handles() -> list[str]:
    """What this process has open."""
    found = []
    for item in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(item.readlink()))
        except FileNotFoundError:
            continue
    return sorted(found)


def watches(pid: int | None = None) -> int:
    """How many inotify watches a process has (proc_pid_fdinfo(5))."""
    folder = Path(f"/proc/{pid or os.getpid()}/fdinfo")
    count = 0
    for item in folder.iterdir():
        try:
            count += item.read_text().count("inotify wd:")
        except FileNotFoundError:
            continue
    return count
