#!/usr/bin/env python3
"""Measure the app on a run that logs 1,000 rows a second for minutes, then on the silent run: ``make soak``.

For ``--minutes`` (10) a separate process appends rows as the producer does. Every few seconds, memory, threads, open
files and the rows by which the screen is behind are measured. All rows are kept, so memory may grow by the size of the
rows and no more; once no rows come, it must not grow. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.terminal import Terminal
from tools.bench.data import TOTAL_STEPS, write_run
from tools.bench.measure import cpu_seconds, feed
from tools.bench.table import machine, record

ROW_BYTES = 300
"""The most bytes of memory that a row may take: its values, those of its five curves, the time of its arrival."""
WARM_S = 30.0
EVERY_S = 5.0
IDLE_S = 30.0
STEP = re.compile(r"(\d+)/10000000")


def steps_in(log: Path) -> int:
    """Return the step of the last complete row of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        found = re.findall(rb'"current_steps": (\d+), .*\n', file.read())
    return int(found[-1])


class Sample:
    """The app at one moment: memory in bytes, threads, open files, step of the last row, rows the screen is behind."""

    def __init__(self, process: psutil.Process, terminal: Terminal, log: Path) -> None:
        self.at = time.monotonic()
        self.rss = process.memory_info().rss
        self.threads, self.files = process.num_threads(), process.num_fds()
        self.written = steps_in(log)
        shown = STEP.findall(terminal.screen.text)
        self.behind = self.written - int(shown[0]) if shown else self.written


def main() -> int:
    """Run the measurement and print it; return 1 if a goal is missed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="rows a second (1000)")
    parser.add_argument("--record", action="store_true", help="write the figures into RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        log = write_run(Path(name) / "run", 1000, TOTAL_STEPS)
        with Terminal([sys.executable, "-m", "lora_tui", "watch", name], columns=200, rows=50) as terminal:
            lines, good = soak(terminal, log, args.minutes * 60, args.rate)
    print("\n".join(lines))
    if args.record:
        record("soak", "\n\n".join([machine(), *lines]))
    return 0 if good else 1


def soak(terminal: Terminal, log: Path, seconds: float, rate: float) -> tuple[list[str], bool]:
    """Measure for ``seconds`` at ``rate`` rows a second; return a line per check, and whether all goals are met."""
    terminal.wait_for("1000/10000000")
    process = psutil.Process(terminal.process.pid)
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=feed, args=(log, 1000, rate, TOTAL_STEPS, "log"))
    samples: list[Sample] = []
    before = cpu_seconds(process.pid)
    writer.start()
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        terminal.drain(EVERY_S)
        samples.append(Sample(process, terminal, log))
        print(
            f"{samples[-1].at - begin:4.0f} s  {samples[-1].rss / 1e6:6.1f} MB  {samples[-1].behind} rows behind",
            file=sys.stderr,
        )
    busy = (cpu_seconds(process.pid) - before) / (time.monotonic() - begin) * 100
    writer.terminate()
    writer.join()
    terminal.drain(5)
    last = Sample(process, terminal, log)
    before = cpu_seconds(process.pid)
    terminal.drain(IDLE_S)
    idle = (cpu_seconds(process.pid) - before) / IDLE_S * 100
    process_after = process.memory_info().rss
    terminal.send("q")
    ended = terminal.wait_exit() == 0
    warm = [sample for sample in samples if sample.at - begin >= min(WARM_S, seconds / 3)]
    grown = (warm[-1].rss - warm[0].rss) / max(1, warm[-1].written - warm[0].written)
    after = process_after - last.rss
    third = len(warm) // 3 or 1
    late = [sorted(s.behind for s in part)[len(part) // 2] for part in (warm[:third], warm[-third:])]
    checks = [
        (f"rows written: {last.written}, {last.written / seconds:.0f} a second; CPU {busy:.1f} %", True),
        (f"memory after warm-up: {grown:.0f} bytes a row (goal: {ROW_BYTES})", grown <= ROW_BYTES),
        (f"memory at the end: {last.rss / 1e6:.1f} MB, {after / 1e6:+.1f} MB when silent (goal: 2)", after <= 2e6),
        (f"rows behind, median of the first and the last third: {late[0]}, {late[1]}", late[1] <= 2 * late[0] + rate),
        (f"all on the screen 5 s after the last row: {last.behind == 0}", last.behind == 0),
        (f"threads {warm[0].threads} to {last.threads}, open files {warm[0].files} to {last.files}",
         (last.threads, last.files) == (warm[0].threads, warm[0].files)),
        (f"silent afterwards: {idle:.2f} % CPU (goal: 1)", idle <= 1),
        (f"ended by q: {ended}", ended),
    ]  # fmt: skip
    return [f"{'pass' if good else 'MISS'}  {text}" for text, good in checks], all(good for _, good in checks)


if __name__ == "__main__":
    sys.exit(main())
