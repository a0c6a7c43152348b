"""Measure one short run: the time until it is drawn, until a new row is drawn, and the cost of watching."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from lora_tui.demo.samples import restore_mtimes, sample_dir
from tests.support.terminal import Terminal
from tools.bench import measure
from tools.bench.common import BRAILLE, Setup, options
from tools.bench.table import Table

ROWS, TOTAL, MILLION = 1_000, 2_000, 1_000_000
READY = rf"1,000|\b{ROWS}\b"


class One:
    """Measure the rows of the table on a run of 1,000 rows."""

    def __init__(self, setup: Setup, table: Table) -> None:
        self.setup, self.table = setup, table

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return the measurements by name."""
        return {
            "start": self.start,
            "latency": self.latency,
            "point": self.point,
            "idle": self.idle,
            "silent": self.silent,
            "rows10": self.rows10,
            "rows1000": self.rows1000,
            "status": self.status,
            "wait": self.wait,
        }

    def start(self) -> None:
        """Measure the start until the loss chart, with 1,000 and 1,000,000 rows, in turn with a hello-world app."""
        setup, table = self.setup, self.table
        short, long = setup.run("start", ROWS).parent, setup.long(MILLION).parent
        programs = {
            "hello": setup.hello(),
            "short": setup.watch(short, READY, runs=1),
            "long": setup.watch(long, runs=1),
        }
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(setup.times(5, 15)):
            for name, program in programs.items():
                times[name].append(float(measure.measure_paint(program)["ready_s"]))
        floor, mine, million = (statistics.median(times[name]) for name in ("hello", "short", "long"))
        table.note("start -> loss chart, 1,000 rows", mine, "s")
        table.add("the same / hello-world Textual", mine / floor, "x", 1.5, f"hello-world {floor:.3f} s")
        table.note("start -> loss chart, 1,000,000 rows", million, "s")
        table.add("the same / that of 1,000 rows", million / mine, "x", 1.2, f"1,000 rows {mine:.3f} s")

    def latency(self) -> None:
        """Measure the time from a row on disk to its value on the screen."""
        setup, table = self.setup, self.table
        log = setup.run("latency", ROWS)
        more: dict[str, Any] = {"start": ROWS, "total": TOTAL, "n": setup.times(10, 40)}
        ours = measure.measure_latency(setup.watch(log.parent, READY, file=str(log), **more))
        other = setup.run("tail", ROWS)
        tail = options(["tail", "-n", "5", "-f", str(other)], ["current_steps"], file=str(other), **more)
        vars(tail).update(marker='"loss": {v}', gap=0.2, jitter=0.2)
        floor = measure.measure_latency(tail)
        table.add(
            "append -> value painted, median", ours.get("median_ms"), "ms", 50, f"tail -f {floor['median_ms']} ms"
        )
        table.add("append -> value painted, p95", ours.get("p95_ms"), "ms", 100, f"tail -f {floor['p95_ms']} ms")
        if ours["missed"]:
            table.add("values that never came", ours["missed"], "", 0)

    def point(self) -> None:
        """Measure the time from a row on disk to its point in the chart; a new maximum changes curve and axis."""
        log = self.setup.run("point", ROWS)
        waits = []
        with measure.start(self.setup.watch(log.parent, READY)) as terminal:
            terminal.wait_for(BRAILLE, READY, timeout=30)
            terminal.drain(3.0)
            appender = measure.Appender(log, ROWS, TOTAL)
            for turn in range(self.setup.times(3, 8)):
                before, begin = measure.curve(terminal), time.perf_counter()
                appender.append(3.0 + turn)
                waits.append(1000 * (self._changed(terminal, before) - begin))
                terminal.drain(3.0)
        self.table.add("append -> point in the chart, worst", max(waits), "ms", 1000)

    @staticmethod
    def _changed(terminal: Terminal, before: str) -> float:
        end = time.perf_counter() + 10
        while time.perf_counter() < end:
            for at in terminal.step():
                if measure.curve(terminal) != before:
                    return at
        return time.perf_counter()

    def idle(self) -> None:
        """Measure a finished run that is left open."""
        setup, table = self.setup, self.table
        samples = setup.folder / "samples"
        shutil.copytree(sample_dir(), samples)
        restore_mtimes(samples)
        base = setup.hello()
        vars(base).update(secs=setup.seconds, settle=4.0)
        floor = measure.measure_load(base, False)
        more: dict[str, Any] = {"secs": setup.seconds, "settle": 4.0}
        result = measure.measure_load(setup.watch(samples / "lora" / "sft", "810", **more), False)
        table.add("finished run left open, CPU", result["cpu_pct"], "%", 0.3, f"hello-world {floor['cpu_pct']} %")
        table.add("finished run left open, output", result["bytes_per_s"], "B/s", 0)

    def silent(self) -> None:
        """Measure a live run that logs nothing, and its memory."""
        setup, table = self.setup, self.table
        log = setup.run("silent", ROWS)
        result = measure.measure_load(setup.watch(log.parent, READY, secs=setup.seconds, settle=4.0), False)
        table.add("running but silent, CPU", result["cpu_pct"], "%", 1)
        table.add("running but silent, output", result["bytes_per_s"], "B/s", 200)
        if "peak_rss_mb" in result:
            floor = measure.measure_paint(setup.hello())["peak_rss_mb"]
            table.add("memory at 1,000 rows, peak", result["peak_rss_mb"], "MB", 60, f"hello-world {floor} MB")

    def rows10(self) -> None:
        """Measure ten rows a second, each appended by opening and closing the file."""
        result = self._fed("rows10", 10.0, TOTAL)
        self.table.add("10 rows/s, CPU", result["cpu_pct"], "%", 4)
        self.table.add("10 rows/s, output", result["bytes_per_s"], "B/s", 4000)

    def rows1000(self) -> None:
        """Measure a thousand rows a second, each appended by opening and closing the file."""
        result = self._fed("rows1000", 1000.0, 100_000)
        self.table.add("1,000 rows/s, CPU", result["cpu_pct"], "%", 10)
        self.table.note("1,000 rows/s, output", result["bytes_per_s"], "B/s")

    def _fed(self, name: str, rate: float, total: int) -> measure.Result:
        setup = self.setup
        log = setup.run(name, ROWS, total)
        more: dict[str, Any] = {"file": str(log), "start": ROWS, "total": total, "rate": rate, "secs": setup.seconds}
        return measure.measure_load(setup.watch(log.parent, READY, **more), live=True)

    def status(self) -> None:
        """Measure ``status --json``, the whole process, in turn with a Python process that does nothing."""
        setup = self.setup
        log = setup.run("status", ROWS)
        times: list[float] = []
        floor: list[float] = []
        for _ in range(setup.times(5, 15)):
            begin = time.perf_counter()
            subprocess.run([str(setup.bin / "python"), "-c", "pass"], check=True)
            floor.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            done = subprocess.run([setup.program, "status", "--json", str(log.parent)], capture_output=True, check=True)
            times.append(time.perf_counter() - begin)
            assert json.loads(done.stdout)["metrics"]["loss"]["count"] == ROWS
        least = f"python -c pass {statistics.median(floor):.3f} s"
        self.table.add("status --json, 1,000 rows", statistics.median(times), "s", 0.35, least)

    def wait(self) -> None:
        """Measure ``wait`` on a live run that logs nothing."""
        setup = self.setup
        log = setup.run("wait", ROWS)
        command = [setup.program, "wait", str(log.parent), "--until", "eval_loss < 1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            time.sleep(3.0)
            before = measure.cpu_seconds(process.pid)
            time.sleep(setup.seconds)
            share = 100 * (measure.cpu_seconds(process.pid) - before) / setup.seconds
            waits = process.poll() is None
            process.kill()
        self.table.add("wait, nothing happens, CPU", round(share, 2) if waits else None, "%", 1)
