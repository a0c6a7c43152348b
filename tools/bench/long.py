"""Measure long runs: the time until every row is on the screen, the response to keys meanwhile, and the memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_tui.i18n import Words
from tests.support.terminal import Terminal
from tools.bench import measure
from tools.bench.common import Setup, curves_and_numbers, json_loads, spikes_seen
from tools.bench.data import SPIKE, spike_steps
from tools.bench.measure import percentile
from tools.bench.table import Table

HUNDRED_THOUSAND, MILLION = 100_000, 1_000_000
TIMEOUT_S = 180.0


class Long:
    """Measure the rows of the table on runs of 100,000 and 1,000,000 rows."""

    def __init__(self, setup: Setup, table: Table) -> None:
        self.setup, self.table = setup, table

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return the measurements by name."""
        return {
            "rows100k": self.rows100k,
            "rows1m": self.rows1m,
            "keys": self.keys,
            "live100k": self.live,
            "reports": self.reports,
        }

    def rows100k(self) -> None:
        """Measure 100,000 rows: the time until all are on the screen, spikes, memory."""
        self._whole(HUNDRED_THOUSAND)

    def rows1m(self) -> None:
        """Measure the same of 1,000,000 rows."""
        self._whole(MILLION)

    def _whole(self, rows: int) -> None:
        """Measure the time from the start to the last row, the spikes on the chart, and the memory."""
        setup, table = self.setup, self.table
        log = setup.long(rows)
        name = f"{rows:,} rows"
        decoding = json_loads(log)
        with measure.start(setup.watch(log.parent)) as terminal:
            last = measure.wait_whole(terminal, curves_and_numbers, TIMEOUT_S)
            whole = last - terminal.started if last is not None else None
            there = f"{rows}/{2 * rows}" in terminal.text
            cpu = measure.cpu_seconds(terminal.process.pid)
            memory = measure.memory(terminal.process.pid)
            seen = spikes_seen(terminal, spike_steps(rows), 2 * rows) if there else 0
        decoding = min(decoding, json_loads(log))
        most = 1.2 if rows == HUNDRED_THOUSAND else max(6.0, 2 * decoding)
        floor = f"json.loads {decoding:.2f} s"
        table.add(f"all {name} on screen", whole if there else None, "s", round(most, 2), floor)
        table.note(f"all {name}: CPU time", cpu, "s")
        status = subprocess.run([setup.program, "status", "--json", str(log.parent)], capture_output=True, check=True)
        loss = json.loads(status.stdout)["metrics"]["loss"]
        lost = len(spike_steps(rows)) - seen + (loss["max"] != SPIKE) + (loss["count"] != rows)
        table.add(f"{name}: spikes of one row lost", lost, "", 0)
        most = 80 if rows == HUNDRED_THOUSAND else 160
        table.add(f"memory at {name}, peak", memory.get("peak_rss_mb"), "MB", most)

    def reports(self) -> None:
        """Measure the CPU time of reports and exports of 100,000 rows, relative to that of reading them."""
        table, log = self.table, self.setup.long(HUNDRED_THOUSAND)
        turns = self.setup.times(2, 3)
        decoding = min(json_loads(log) for _ in range(turns))
        reading = min(self._cpu("status", log) for _ in range(turns))
        for form in ("box", "md", "html", "json"):
            took = min(self._cpu("report", log, "--format", form) for _ in range(turns))
            table.add(f"report --format {form} / status, 100,000 rows", took / reading, "x", 2, f"{reading:.2f} s")
        for form in ("csv", "jsonl"):
            took = min(self._cpu("export", log, "--format", form) for _ in range(turns))
            floor = f"json.loads {decoding:.2f} s"
            table.add(f"export --format {form} / json.loads, 100,000 rows", took / decoding, "x", 6, floor)

    def _cpu(self, command: str, log: Path, *more: str) -> float:
        """Return the CPU seconds of a command on the run."""
        before = os.times()
        subprocess.run([self.setup.program, command, str(log.parent), *more], capture_output=True, check=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    def keys(self) -> None:
        """Measure the response to keys while 1,000,000 rows are read."""
        log = self.setup.long(MILLION)
        mark = f"╭─ {Words('en').metric('lr')}"  # the title of a chart that only the overview has
        waits: list[float] = []
        with measure.start(self.setup.watch(log.parent)) as terminal:
            terminal.wait_for("[\u2801-\u28ff]", timeout=30)
            try:
                while len(waits) < 40 and not self._all(terminal):
                    for key, shown in (("6", False), ("1", True)):
                        waits.append(_answer(terminal, key, mark, shown))
                        terminal.drain(0.15)
            except TimeoutError as error:
                print(str(error).splitlines()[0], *error_line(terminal), sep="\n", file=sys.stderr)
                waits = []
        table = self.table
        table.add("keys while 1,000,000 rows load, p95", percentile(waits, 0.95) if waits else None, "ms", 100)
        table.note("the same, worst", max(waits, default=None), "ms")
        table.note("keys pressed meanwhile", len(waits), "")

    @staticmethod
    def _all(terminal: Terminal) -> bool:
        return f"{MILLION}/{2 * MILLION}" in terminal.text

    def live(self) -> None:
        """Measure ten rows a second on a run of 100,000 rows that has been read."""
        setup, rows = self.setup, HUNDRED_THOUSAND
        log = setup.run("live100k", rows)
        more: dict[str, Any] = {
            "file": str(log),
            "start": rows,
            "total": 2 * rows,
            "rate": 10.0,
            "secs": setup.seconds,
        }
        watch = setup.watch(log.parent, f"{rows}/{2 * rows}", whole=True, timeout=TIMEOUT_S, **more)
        result = measure.measure_load(watch, live=True)
        self.table.add("10 rows/s on a loaded 100,000-row run, CPU", result["cpu_pct"], "%", 4)
        self.table.note("10 rows/s on a loaded 100,000-row run, output", result["bytes_per_s"], "B/s")


def error_line(terminal: Terminal) -> list[str]:
    """Return the last line on the screen that names an exception, or an empty list."""
    lines = [line.strip() for line in terminal.text.splitlines()]
    return [line for line in lines if re.match(r"\w+(Error|Exception)\b", line)][-1:]


def _answer(terminal: Terminal, key: str, mark: str, shown: bool) -> float:
    """Return the milliseconds from a key to its effect: the text ``mark`` appears (``shown``) or disappears."""
    begin = time.perf_counter()
    terminal.send(key)
    at = terminal.wait_until(lambda text: (mark in text) == shown, f"{mark!r} {'shown' if shown else 'gone'}", 30.0)
    return 1000 * (at - begin)
