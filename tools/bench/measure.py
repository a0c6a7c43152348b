#!/usr/bin/env python3
"""Measure a terminal program through a pty, as a user sees it over ssh.

  paint    start -> first byte, first text, READY on the screen; bytes until then; peak memory
  idle     after READY: CPU %, bytes/s and screen changes/s over --secs while nothing is appended
  live     the same while rows are appended at --rate rows/s to --file
  latency  append a row with a marker value to --file, wait until the marker is on the screen; median and p95
  whole    start -> the last change of the curves before the program is at rest; peak memory
  shot     wait for READY, send --keys, print the screen

Common: --cmd 'shell words' --ready REGEX [--cols 200 --rows 50 --runs 5 --timeout 60 --env K=V --cwd DIR].
One JSON object per line goes to stdout, and to the end of --out where given.

The time of a match on the screen is that of the chunk of output that completed it, so the emulator's own speed does not
count. CPU % is user and system time of the whole process tree over wall time, 100 = one core. Memory is the kernel's
high-water mark, summed over the tree. Rows are appended by a separate process, which opens and closes the file for
each, as the producer does. Times depend on the machine and its load: compare ratios of one call.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.terminal import Terminal
from tools.bench import rival_files
from tools.bench.data import TOTAL_STEPS, row_text

Result = dict[str, Any]
NOT_BRAILLE = re.compile("[^\u2801-\u28ff]+")


class Appender:
    """Append rows to a file of one kind, as the programs do that write it.

    A trainer log is opened and closed for each row; the files of other programs stay open and are flushed.
    """

    def __init__(self, path: Path, step: int, total: int = TOTAL_STEPS, kind: str = "log") -> None:
        self.path, self.step, self.total = path, step, total
        self._writer = rival_files.KINDS[kind](path) if kind != "log" else None

    def append(self, loss: float | None = None) -> int:
        """Append the next row, with this loss if given; return its step."""
        self.step += 1
        if self._writer is None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(row_text(self.step, loss, self.total))
        else:
            self._writer.append(self.step, rival_files.values(self.step, loss, self.total))
            self._writer.flush()
        return self.step


def feed(path: Path, step: int, rate: float, total: int, kind: str) -> None:
    """Append ``rate`` rows a second until the process is ended; never returns."""
    appender, begin, done = Appender(path, step, total, kind), time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - begin) * rate)
        for _ in range(due - done):
            appender.append()
        done = max(done, due)
        time.sleep(max(0.001, min(1 / rate, 0.1)))


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; an empty list if it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process tree, including ended children."""
    total = 0.0
    for process in tree(pid):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(pid: int) -> Result:
    """Return the memory of a process tree in MB (``peak_rss_mb``, ``rss_mb``, ``pss_mb``); empty without /proc."""
    sums: dict[str, int] = {}
    wanted = {"VmHWM": ("status", "peak_rss_mb"), "VmRSS": ("status", "rss_mb"), "Pss": ("smaps_rollup", "pss_mb")}
    for process in tree(pid):
        for field, (name, label) in wanted.items():
            try:
                text = Path(f"/proc/{process.pid}/{name}").read_text(encoding="utf-8")
            except OSError:
                continue
            if match := re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE):
                sums[label] = sums.get(label, 0) + int(match[1])
    return {label: round(kilobytes / 1024, 1) for label, kilobytes in sums.items()}


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are not None, or None without any."""
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 4) if known else None


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which the share ``part`` of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def start(options: argparse.Namespace) -> Terminal:
    """Start the program to measure in a new terminal."""
    env = dict(pair.split("=", 1) for pair in options.env)
    return Terminal(shlex.split(options.cmd), options.cols, options.rows, env, options.cwd)


def wait_ready(terminal: Terminal, options: argparse.Namespace) -> float | None:
    """Return the seconds from the start until READY was on the screen, or None if it was not within the timeout."""
    try:
        return terminal.wait_for(*options.ready, timeout=options.timeout) - terminal.started
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return None


def settle(terminal: Terminal, options: argparse.Namespace) -> None:
    """Let the program come to rest, then send the keys."""
    terminal.drain(options.settle)
    for key in codecs.decode(options.keys, "unicode_escape").split("|"):
        if key:
            terminal.send(key)
            terminal.drain(options.keywait)


def curve(terminal: Terminal) -> str:
    """Return the braille characters on the screen and nothing else."""
    return NOT_BRAILLE.sub("", terminal.screen.text)


def wait_whole(
    terminal: Terminal, seen: Callable[[Terminal], object], timeout: float, rest_s: float = 3.0
) -> float | None:
    """Wait until the program is at rest; return when ``seen(terminal)`` last changed (time.perf_counter).

    It is at rest after ``rest_s`` seconds without a change and with under half a core in use. Return None if that is
    not the case within ``timeout`` seconds.
    """
    end = time.perf_counter() + timeout
    before, changed = seen(terminal), time.perf_counter()
    cpu, looked = cpu_seconds(terminal.process.pid), time.perf_counter()
    while (now := time.perf_counter()) < end:
        for at in terminal.step():
            present = seen(terminal)
            if present != before:
                before, changed = present, at
        if now - looked >= 1.0:
            used = cpu_seconds(terminal.process.pid)
            busy = (used - cpu) / (now - looked) > 0.5
            cpu, looked = used, now
            if not busy and now - changed >= rest_s:
                return changed
    return None


def measure_whole(options: argparse.Namespace) -> Result:
    """Measure the time until all data are on the screen."""
    with start(options) as terminal:
        ready = wait_ready(terminal, options)
        whole = wait_whole(terminal, curve, options.timeout)
        result: Result = {"ready_s": ready, "whole_s": whole and whole - terminal.started}
        result["cpu_s"] = cpu_seconds(terminal.process.pid)
        return {**result, **memory(terminal.process.pid)}


def measure_paint(options: argparse.Namespace) -> Result:
    """Measure several starts; return the medians."""
    runs: list[Result] = []
    for _ in range(options.runs):
        with start(options) as terminal:
            ready = wait_ready(terminal, options)
            run: Result = {"ready_s": ready, "bytes": terminal.bytes_read, "cpu_s": cpu_seconds(terminal.process.pid)}
            for label, at in (("first_byte_s", terminal.first_byte), ("first_text_s", terminal.first_text)):
                run[label] = at - terminal.started if at is not None else None
            runs.append({**run, **memory(terminal.process.pid)})
    result: Result = {label: median(run.get(label) for run in runs) for label in runs[0]}
    result["ready_all"] = [run["ready_s"] and round(run["ready_s"], 3) for run in runs]
    return result


def measure_load(options: argparse.Namespace, live: bool) -> Result:
    """Measure CPU, bytes and screen changes for some seconds, at rest or (``live``) while rows are appended."""
    with start(options) as terminal:
        ready = wait_ready(terminal, options)
        if options.whole:
            wait_whole(terminal, curve, options.timeout)
        settle(terminal, options)
        feeder: subprocess.Popen[bytes] | None = None
        if live:
            command = [sys.executable, __file__, "_feed", options.file, str(options.start)]
            command += [str(options.rate), str(options.total), options.kind]
            feeder = subprocess.Popen(command)
        try:
            terminal.drain(2.0 if live else 0.0)
            pid = terminal.process.pid
            cpu, sent, changes, begin = (
                cpu_seconds(pid),
                terminal.bytes_read,
                len(terminal.changes),
                time.perf_counter(),
            )
            terminal.drain(options.secs)
            wall = time.perf_counter() - begin
            return {
                "ready_s": ready and round(ready, 3),
                **({"rate": options.rate} if live else {}),
                "cpu_pct": round(100 * (cpu_seconds(pid) - cpu) / wall, 2),
                "bytes_per_s": round((terminal.bytes_read - sent) / wall),
                "screen_changes_per_s": round((len(terminal.changes) - changes) / wall, 2),
                **memory(pid),
            }
        finally:
            if feeder:
                feeder.terminate()
                feeder.wait()


def measure_latency(options: argparse.Namespace) -> Result:
    """Measure the time from a row on disk to its value on the screen."""
    latencies: list[float] = []
    missed = 0
    with start(options) as terminal:
        wait_ready(terminal, options)
        settle(terminal, options)
        appender = Appender(Path(options.file), options.start, options.total, options.kind)
        for turn in range(options.n):
            # A random pause, since a fixed one would always meet a polling program at the same phase.
            terminal.drain(options.gap + random.random() * options.jitter)
            value = round(3.0 + (turn + random.random() * 0.8) * 6.5 / options.n, 4)  # rising: an axis moves too
            value += 0.0003 if round(value * 1e4) % 10 in (0, 5) else 0.0  # a last digit that rounds one way only
            appended = time.perf_counter()
            step = appender.append(round(value, 4))
            marker = options.marker.replace("{i}", str(step))
            for places in (2, 3, 4):
                marker = marker.replace(f"{{v{places}}}", re.escape(f"{value:.{places}f}"))
            try:
                painted = terminal.wait_for(marker.replace("{v}", re.escape(f"{value:.4f}")), timeout=options.timeout)
                latencies.append(1000 * (painted - appended))
            except TimeoutError as error:
                print(str(error).splitlines()[0], file=sys.stderr)
                missed += 1
                if missed > 3:
                    break
    result: Result = {"n": len(latencies), "missed": missed}
    if latencies:
        result["median_ms"] = round(statistics.median(latencies), 1)
        result["p95_ms"] = round(percentile(latencies, 0.95), 1)
        result["min_ms"], result["max_ms"] = round(min(latencies), 1), round(max(latencies), 1)
    return result


def show(options: argparse.Namespace) -> None:
    """Print the screen after some keys."""
    with start(options) as terminal:
        ready = wait_ready(terminal, options) if options.ready else None
        settle(terminal, options)
        terminal.drain(0.3)
        print("\n".join(line.rstrip() for line in terminal.screen.lines))
        print("ready_s", ready and round(ready, 3), "bytes", terminal.bytes_read, memory(terminal.process.pid))


def report(label: str, result: Result, out: str | None) -> None:
    """Print one result, and append it to the file ``out`` if given."""
    line = json.dumps({"what": label, **result, "loadavg": round(os.getloadavg()[0], 2)})
    print(line, flush=True)
    if out:
        with Path(out).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["paint", "idle", "live", "latency", "whole", "shot"])
    parser.add_argument("--cmd", help="the program to measure")
    parser.add_argument(
        "--ready", action="append", default=[], help="regex that is on the screen when it is; all must be"
    )
    parser.add_argument("--label", default="")
    parser.add_argument("--cols", type=int, default=200)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--secs", type=float, default=20.0)
    parser.add_argument("--env", action="append", default=[], metavar="K=V")
    parser.add_argument("--cwd")
    parser.add_argument("--out")
    parser.add_argument("--file", help="the trainer_log.jsonl to append to")
    parser.add_argument("--kind", choices=["log", *rival_files.KINDS], default="log", help="what the file is")
    parser.add_argument("--start", type=int, default=0, help="the step of its last row")
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--total", type=int, default=TOTAL_STEPS, help="the job's total_steps")
    parser.add_argument("--n", type=int, default=30, help="markers of the latency mode")
    parser.add_argument("--marker", default="{v4}", help="regex; {v2} {v3} {v4} the value, {i} the step")
    parser.add_argument("--gap", type=float, default=0.7, help="seconds between two markers")
    parser.add_argument("--jitter", type=float, default=2.1, help="plus up to so many at random")
    parser.add_argument("--keys", default="", help="keys to send after READY, with Python escapes, | between them")
    parser.add_argument("--whole", action="store_true", help="idle, live: begin when all data is on the screen")
    parser.add_argument("--settle", type=float, default=2.0)
    parser.add_argument("--keywait", type=float, default=0.4)
    return parser


def main() -> None:
    """Measure, or append rows for another process that measures."""
    if sys.argv[1:2] == ["_feed"]:
        feed(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    parser = arguments()
    options = parser.parse_args()
    if not options.cmd:
        parser.error("--cmd is needed")
    if options.mode in ("live", "latency") and not options.file:
        parser.error("--file is needed")
    label = f"{options.mode}: {options.label or options.cmd}"
    if options.mode == "shot":
        show(options)
    elif options.mode == "paint":
        report(label, measure_paint(options), options.out)
    elif options.mode == "whole":
        report(label, measure_whole(options), options.out)
    elif options.mode == "latency":
        report(label, measure_latency(options), options.out)
    else:
        report(label, measure_load(options, live=options.mode == "live"), options.out)


if __name__ == "__main__":
    main()
