"""Files that are far too large, and what the program takes of the machine to say so."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from lora_tui.formats.tensorboard import masked_crc32c
from tests.support.live_app import row, watching, write_run
from tests.support.program import Following, environment, strict
from tests.support.waiting import DEADLINE_S, wait_until
from tools.fuzz.tfrecord import framed_record

MB = 1 << 20
LINE = 100 * MB


class Ended:
    """What a process said, and how much memory it had at most (its own pages and what it shares), bytes."""

    def __init__(self, *args: str | Path, cwd: Path) -> None:
        measured = (
            "import resource, sys; from lora_tui.cli.main import main; code = main(sys.argv[1:]); sys.stdout.flush();"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", measured, *map(str, args)],
            cwd=cwd, env=environment(), capture_output=True, text=True, timeout=2 * DEADLINE_S,
        )  # fmt: skip
        *_, peak = done.stderr.split()
        self.code, self.out, self.peak = done.returncode, done.stdout, int(peak) * 1024


def fill(path: Path, unit: bytes, size: int = LINE, head: bytes = b"", end: bytes = b"\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    block = unit * (MB // len(unit))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(size // len(block)):
            file.write(block)
        file.write(end)


def large_record(path: Path) -> None:
    """A record of 60 MB as that of a histogram, whose length is right, and a small one behind it."""
    head = struct.pack("<Q", 60 * MB)
    value = b"\x0a\x0ftrain/grad_norm\x15\0\0\0\x40"
    summary = b"\x0a" + bytes([len(value)]) + value
    small = framed_record(b"\x10\x02\x2a" + bytes([len(summary)]) + summary)
    fill(path, b"\0", 60 * MB, head + struct.pack("<I", masked_crc32c(head)), b"\0\0\0\0" + small)


LINES: dict[str, tuple[Callable[[Path], None], str]] = {
    "trainer_log.jsonl": (lambda path: fill(path, b"x"), "line longer than 4096 KiB"),
    "trainer_log.jsonl of brackets": (lambda path: fill(path, b'{"a":'), "line longer than 4096 KiB"),
    "train.log": (lambda path: fill(path, b"x", head=b"Traceback (most recent call last):\n"), ""),
    "running_log.txt": (lambda path: fill(path, b"{'loss': 1, "), ""),
    "generated_predictions.jsonl": (lambda path: fill(path, b'{"predict": "'), "line longer than 4096 KiB"),
    "trainer_state.json": (lambda path: fill(path, b"["), "larger than 64 MiB, not read"),
    "eval_results.json": (lambda path: fill(path, b'{"a": 1, "b": ['), "larger than 64 MiB, not read"),
    "adapter_config.json": (lambda path: fill(path, b"x", 60 * MB), "larger than 4096 KiB"),
    "training_args.yaml": (lambda path: fill(path, b"a: 1\n", 60 * MB), "larger than 256 KiB"),
    "README.md": (lambda path: fill(path, b"---\n", 60 * MB), "larger than 1024 KiB"),
    "events.out.tfevents.1.x": (large_record, ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_a_hundred_megabytes_of_one_line(name: str, tmp_path: Path) -> None:
    """The rest of the run is told as ever, with the reason why this is not; the memory is that of a small run."""
    small = write_run(tmp_path / "small", [3.0, 2.5], 10)
    usual = Ended("status", small, "--json", cwd=tmp_path)
    run = write_run(tmp_path / "large", [3.0, 2.5], 10)
    make, reason = LINES[name]
    file = name.partition(" ")[0]
    path = run / ("runs" if file.startswith("events") else "") / file
    kept = path.read_bytes() if path.exists() else b""
    make(path)
    if kept:
        with path.open("ab") as log:
            log.write(kept)
    os.utime(path, (1e9, 1e9))
    done = Ended("status", run, "--json", cwd=tmp_path)
    assert done.code == 0
    said = strict(done.out)
    assert said["metrics"]["loss"]["last"] == 2.5
    assert not file.startswith("events") or said["metrics"]["grad_norm"]["last"] == 2.0
    assert reason in json.dumps(said.get("problems", []))
    # A whole document is read before it is judged: its bytes, and once more as text.
    room = 200 * MB if "larger than" in reason and "64 MiB" not in reason else 30 * MB
    assert done.peak - usual.peak < room, (done.peak / MB, usual.peak / MB)


# -- a log that grows faster than it can be read -----------------------------------------------------------------------

NOISE = b"\r  2%|\xe2\x96\x8f  | 5/300 [00:26<25:00,  5.09s/it]some noise of a library that says too much\n"


HELP = "lora-tui only reads"


class Flood:
    """A process that appends 50 MB a second to a file until it is closed, or 2 GB are written."""

    def __init__(self, path: Path, unit: bytes) -> None:
        code = (
            "import time\n"
            f"unit = {unit!r} * ({MB} // {len(unit)} + 1)\n"
            f"path, start, written = {str(path)!r}, time.monotonic(), 0\n"
            "while written < 2e9:\n"
            "    if written > (time.monotonic() - start) * 50e6:\n"
            "        time.sleep(0.005)\n"
            "        continue\n"
            "    with open(path, 'ab') as file:\n"
            "        written += file.write(unit)\n"
        )
        self._path = path
        self._process = subprocess.Popen([sys.executable, "-c", code])

    def is_large(self) -> bool:
        """Whether it has written 100 MB."""
        return self._path.stat().st_size > 100e6

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for path in tmp_path.rglob("*.log"):
        path.unlink()


def memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


@pytest.mark.slow
@pytest.mark.pty
def test_the_app_answers_while_a_log_grows_by_fifty_megabytes_a_second(room: Path) -> None:
    run = write_run(room / "saves" / "a", [3.0, 2.5, 2.25], 300)
    write_run(room / "saves" / "b", [1.0, 0.5], 10)
    (run / "train.log").write_bytes(b"***** Running training *****\n" + NOISE)
    with ExitStack() as closing, watching(room, "saves", "--run", "a") as terminal:
        terminal.wait_for(r"2\.2500")
        before = memory(terminal.process.pid)
        flood = Flood(run / "train.log", NOISE)
        closing.callback(flood.close)
        answered, most = 0, 0
        while answered < 5 or not flood.is_large():
            terminal.send("?")
            terminal.wait_for(HELP)
            terminal.send("\x1b")
            terminal.wait_gone(HELP)
            assert flood.is_running(), f"{answered} keys were answered while it grew"
            answered += 1
            most = max(most, memory(terminal.process.pid))
        assert most - before < 60 * MB
        with (run / "trainer_log.jsonl").open("a") as log:
            log.write(json.dumps(row(4, 1.125, 300)) + "\n")
        terminal.wait_for(r"1\.1250")


@pytest.mark.slow
def test_status_follows_beside_a_log_that_grows_by_fifty_megabytes_a_second(room: Path) -> None:
    run = write_run(room / "a", [3.0, 2.5, 2.25], 300)
    (run / "train.log").write_bytes(b"***** Running training *****\n" + NOISE)
    with ExitStack() as closing:
        following = Following(run)
        closing.callback(following.close)
        following.line_with("2.25")
        before = memory(following.process.pid)
        flood = Flood(run / "train.log", NOISE)
        closing.callback(flood.close)
        wait_until(flood.is_large)
        with (run / "trainer_log.jsonl").open("a") as log:
            log.write(json.dumps(row(4, 1.125, 300)) + "\n")
        # Unread lines of the large file must not hide the new one of the small file.
        following.line_with("1.125")
        assert flood.is_running()
        assert memory(following.process.pid) - before < 60 * MB


@pytest.mark.slow
def test_rows_that_come_too_fast_take_no_more_than_their_size(room: Path) -> None:
    """Rows are data and are kept, in columns: some 100 bytes for the 150 of a row."""
    run = write_run(room / "a", [3.0], 300)
    unit = b"".join(json.dumps(row(step, 1.5, 10**6)).encode() + b"\n" for step in range(2, 5000))
    with (run / "trainer_log.jsonl").open("ab") as log:
        for _ in range(40):
            log.write(unit)
    size = (run / "trainer_log.jsonl").stat().st_size
    small = Ended("status", write_run(room / "small", [3.0, 2.5], 10), "--json", cwd=room)
    done = Ended("status", run, "--json", cwd=room)
    assert done.code == 0
    assert done.peak - small.peak < 2 * size + 50 * MB
