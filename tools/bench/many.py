"""Measure many runs: 1,000 runs of 1,000 rows, and the same among 10,000 directories."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.terminal import Terminal
from tools.bench import data, measure
from tools.bench.common import Setup
from tools.bench.table import Table

RUNS, ROWS, DIRECTORIES = 1_000, 1_000, 10_000
CACHED_FILES, CACHED_A_SECOND = 20_000, 5
"""Number of files in a directory beside a run, and number of files that are added to it each second."""
TIMEOUT_S = 180.0
COMPLETE = (rf"\b{RUNS:,}|{RUNS} runs", rf"✓ (?:{RUNS:,}|{RUNS})\b")
"""Regexes that match the screen once every run is in the list: their number, and that they are finished."""


class Many:
    """Measure the rows of the table on many runs."""

    def __init__(self, setup: Setup, table: Table) -> None:
        self.setup, self.table = setup, table
        self._tree: Path | None = None

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return the measurements by name."""
        return {"many": self.many, "poll": self.poll, "directories": self.directories, "cache": self.cache}

    def _runs(self) -> Path:
        if self._tree is None:
            self._tree = self.setup.folder / "many"
            data.write_many(self._tree, RUNS, ROWS)
        return self._tree

    def many(self) -> None:
        """Measure the list of 1,000 runs, then the app at rest."""
        single = self.setup.folder / "single" / "run"
        shutil.copytree(self._runs() / "group00" / "run0000", single)
        with measure.start(self.setup.watch(single, "✓")) as terminal:
            terminal.wait_for("✓", timeout=30)
            one = self._rest(terminal)
        idle = self._list("1,000 runs", self._runs())
        if "rss_mb" in one and "rss_mb" in idle:
            each = (idle["rss_mb"] - one["rss_mb"]) * 1024 / (RUNS - 1)
            self.table.add("memory of an idle run among 1,000", each, "kB", 100)
            self.table.note("memory at 1,000 runs, peak", idle["peak_rss_mb"], "MB")

    def poll(self) -> None:
        """Measure polling of 1,000 runs, twice a second, instead of file events."""
        watch = self.setup.watch(self._runs(), poll=True)
        with measure.start(watch) as terminal:
            terminal.wait_for(*COMPLETE, timeout=TIMEOUT_S)
            self._rest(terminal)
            self.table.add("polling 1,000 runs, CPU", self._cpu(terminal), "%", 2)

    def directories(self) -> None:
        """Measure the same runs among 10,000 directories."""
        tree = self.setup.folder / "directories"
        shutil.copytree(self._runs(), tree)
        assert data.add_directories(tree, DIRECTORIES) >= DIRECTORIES
        self._list("10,000 directories", tree)

    def cache(self) -> None:
        """Measure five new files a second in a directory of 20,000 beside a run."""
        root = self.setup.folder / "cache"
        data.write_run(root / "run", ROWS, 2 * ROWS)
        files = root / "files"
        files.mkdir()
        for number in range(CACHED_FILES):
            (files / f"old-{number}.arrow").touch()
        with measure.start(self.setup.watch(root)) as terminal:
            terminal.wait_for(r"1,?000", timeout=30)
            self._rest(terminal)
            before = self._cpu(terminal)
            stop = threading.Event()
            writer = threading.Thread(target=_add_files, args=(files, stop), daemon=True)
            writer.start()
            during = self._cpu(terminal)
            stop.set()
            writer.join()
        self.table.add(
            f"{CACHED_A_SECOND} new files/s beside {CACHED_FILES:,}, CPU more",
            during - before,
            "%",
            2,
            f"idle {before:.2f} %",
        )

    def _list(self, name: str, tree: Path) -> measure.Result:
        """Measure the time from the start to the complete list, then the app at rest; return its memory at rest."""
        begin = time.process_time()
        found = sum(len(files) for _, _, files in os.walk(tree))
        walk = time.process_time() - begin
        table = self.table
        with measure.start(self.setup.watch(tree)) as terminal:
            try:
                complete = terminal.wait_for(*COMPLETE, timeout=TIMEOUT_S) - terminal.started
            except TimeoutError:
                complete = None
            table.add(f"{name}: list complete", complete, "s", 3, f"os.walk over {found:,} files {walk:.2f} s")
            memory = self._rest(terminal)
            table.note(f"{name}: CPU time until all is read", measure.cpu_seconds(terminal.process.pid), "s")
            terminal.send("G")
            terminal.drain(2.0)
            shown = [line[:46] for line in terminal.text.splitlines() if re.search(r"run\d{4} ", line[:46])]
            bare = sum(not re.search(r" \d\.\d", line) for line in shown)
            table.add(f"{name}: runs at the list's end without their loss", bare if shown else None, "", 0)
            terminal.drain(3.0)
            sent = terminal.bytes_read
            table.add(f"{name}: idle, CPU", self._cpu(terminal), "%", 0.5)
            table.note(f"{name}: idle, output", (terminal.bytes_read - sent) / self.setup.seconds, "B/s")
        return memory

    def _rest(self, terminal: Terminal) -> measure.Result:
        """Wait until nothing is read any more; return the memory then."""
        measure.wait_whole(terminal, lambda each: each.screen.version, TIMEOUT_S)
        terminal.drain(2.0)
        return measure.memory(terminal.process.pid)

    def _cpu(self, terminal: Terminal) -> float:
        """Return the CPU usage over the next seconds, in percent of a core."""
        before, begin = measure.cpu_seconds(terminal.process.pid), time.perf_counter()
        terminal.drain(self.setup.seconds)
        return 100 * (measure.cpu_seconds(terminal.process.pid) - before) / (time.perf_counter() - begin)


def _add_files(folder: Path, stop: threading.Event) -> None:
    """Add files to a directory, CACHED_A_SECOND each second, until ``stop`` is set."""
    number = 0
    while not stop.wait(1 / CACHED_A_SECOND):
        number += 1
        (folder / f"new-{number}.arrow").write_bytes(b"x" * 1000)
