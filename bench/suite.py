"""``make bench``: lora-tui against its goals, as a user in a terminal of 200 x 50 sees it.

    python bench/suite.py [--quick] [--out FILE]

It measures an installed wheel with compiled bytecode, in an environment of its own (``.venv-bench``): a checkout may be
compiled anew at every start, and the machine's settings may forbid to keep the result. lora-tui and a hello-world
Textual app are started in turn, so that a busy machine slows both; trust the ratios before the seconds. The exit status
is 1 where a goal of this milestone is missed; figures marked "later" are goals of a later one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import measure
from lora_tui.demo import restore_mtimes, sample_dir
from tests.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent
ROWS, TOTAL = 1_000, 2_000
HELLO = """\
from textual.app import App, ComposeResult
from textual.widgets import Static


class Hello(App):
    def compose(self) -> ComposeResult:
        yield Static("Hello, World!")


Hello().run()
"""
BRAILLE = "[\u2801-\u28ff]"


@dataclass
class Table:
    """What was measured, against what is wanted."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    missed: bool = False

    def add(self, what: str, figure: float, unit: str, most: float, later: bool = False) -> None:
        """One figure and the most that it may be."""
        good = figure <= most
        self.missed = self.missed or not (good or later)
        verdict = "pass" if good else "miss, later" if later else "MISS"
        self.rows.append((what, f"<= {most:g} {unit}", f"{figure:.4g} {unit}", verdict))
        print(f"  {what:<44} {figure:>9.4g} {unit:<5} goal <= {most:<6g} {verdict}", flush=True)

    def note(self, what: str, figure: float, unit: str) -> None:
        """A figure without a goal."""
        self.rows.append((what, "", f"{figure:.4g} {unit}", ""))
        print(f"  {what:<44} {figure:>9.4g} {unit}", flush=True)

    def markdown(self) -> str:
        """The table for a document."""
        head = ("what", "goal", "measured", "")
        lines = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * 4, *self.rows)]
        return "\n".join(lines) + "\n"


def install() -> Path:
    """An environment that holds the wheel of this checkout and what it depends on, compiled; its ``bin``."""
    environment = ROOT / ".venv-bench"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", str(wheel)]
        subprocess.run(pip, check=True)
        subprocess.run([*pip, "--force-reinstall", "--no-deps"], check=True)
    subprocess.run([python, "-m", "compileall", "-q", environment / "lib"], check=False)
    return environment / "bin"


def options(command: list[str], ready: list[str], **more: object) -> argparse.Namespace:
    """The measuring program's options."""
    parsed = measure.arguments().parse_args(["paint", "--cmd", shlex.join(command)])
    vars(parsed).update(ready=ready, **more)
    return parsed


def live_run(folder: Path) -> Path:
    """A run of 1,000 rows that is half done; its log."""
    folder.mkdir(parents=True)
    log = folder / measure.LOG
    with log.open("w", encoding="utf-8") as file:
        file.writelines(measure.row_text(step, total=TOTAL) for step in range(1, ROWS + 1))
    return log


class Suite:
    """All measurements over one temporary directory."""

    def __init__(self, folder: Path, bin: Path, quick: bool) -> None:
        self.folder, self.bin, self.quick = folder, bin, quick
        self.table = Table()
        self.program = str(bin / "lora-tui")
        self.seconds = 6.0 if quick else 30.0

    def watch(self, path: Path, ready: str, **more: object) -> argparse.Namespace:
        """Options to measure lora-tui on a path."""
        return options([self.program, "watch", str(path)], [BRAILLE, ready], **more)

    def fresh(self, name: str) -> tuple[Path, str]:
        """A new live run, and what is on the screen once it is drawn."""
        return live_run(self.folder / name / "lora" / "live"), rf"1,000|\b{ROWS}\b"

    def start(self) -> None:
        """Start to loss chart, in turn with a hello-world app."""
        log, ready = self.fresh("start")
        hello = self.folder / "hello.py"
        hello.write_text(HELLO, encoding="utf-8")
        ours = self.watch(log.parent, ready, runs=1)
        base = options([str(self.bin / "python"), str(hello)], ["Hello, World!"], runs=1)
        times: dict[str, list[float]] = {"ours": [], "base": []}
        peaks: list[float] = []
        for _ in range(5 if self.quick else 15):
            for name, each in (("base", base), ("ours", ours)):
                result = measure.measure_paint(each)
                times[name].append(float(result["ready_s"]))
            peaks.append(float(result.get("peak_rss_mb", 0)))
        mine, floor = statistics.median(times["ours"]), statistics.median(times["base"])
        self.table.note("hello-world Textual: start to text", floor, "s")
        self.table.note("start to loss chart, 1,000 rows", mine, "s")
        self.table.add("start / hello-world, ratio of medians", mine / floor, "x", 2.0)
        ratios = [a / b for a, b in zip(times["ours"], times["base"], strict=True)]
        self.table.note("start / hello-world, median of pairs", statistics.median(ratios), "x")

    def latency(self) -> None:
        """From a row on disk to its value on the screen."""
        log, ready = self.fresh("latency")
        result = measure.measure_latency(
            self.watch(log.parent, ready, file=str(log), start=ROWS, total=TOTAL, n=10 if self.quick else 40)
        )
        self.table.add("append -> value painted, median", result.get("median_ms", 1e9), "ms", 50)
        self.table.add("append -> value painted, p95", result.get("p95_ms", 1e9), "ms", 100)
        if result["missed"]:
            self.table.add("values that never came", result["missed"], "", 0)

    def point(self) -> None:
        """From a row on disk to its point in the chart: a new highest value changes the curve and the axis."""
        log, ready = self.fresh("point")
        waits = []
        with measure.start(self.watch(log.parent, ready)) as terminal:
            terminal.wait_for(BRAILLE, ready, timeout=30)
            terminal.drain(3.0)
            appender = measure.Appender(log, ROWS, TOTAL)
            for turn in range(3 if self.quick else 8):
                before, begin = curve(terminal), time.perf_counter()
                appender.append(3.0 + turn)
                waits.append(1000 * (self._changed(terminal, before) - begin))
                terminal.drain(3.0)
        self.table.add("append -> point in the chart, worst", max(waits), "ms", 1000)

    @staticmethod
    def _changed(terminal: Terminal, before: list[str]) -> float:
        end = time.perf_counter() + 10
        while time.perf_counter() < end:
            for at in terminal.step():
                if curve(terminal) != before:
                    return at
        return time.perf_counter()

    def idle(self) -> None:
        """A finished run that is left open."""
        samples = self.folder / "samples"
        shutil.copytree(sample_dir(), samples)
        restore_mtimes(samples)
        result = measure.measure_load(self.watch(samples / "lora" / "sft", "810", secs=self.seconds, settle=4.0), False)
        self.table.add("finished run left open, CPU", result["cpu_pct"], "%", 0.3)
        self.table.add("finished run left open, output", result["bytes_per_s"], "B/s", 0)

    def silent(self) -> None:
        """A run that goes on and says nothing, and its memory."""
        log, ready = self.fresh("silent")
        result = measure.measure_load(self.watch(log.parent, ready, secs=self.seconds, settle=4.0), False)
        self.table.add("running but silent, CPU", result["cpu_pct"], "%", 1, later=True)
        self.table.add("running but silent, output", result["bytes_per_s"], "B/s", 200, later=True)
        if "peak_rss_mb" in result:
            self.table.add("memory at 1,000 rows, peak resident", result["peak_rss_mb"], "MB", 60)
            self.table.note("memory at 1,000 rows, proportional set", result["pss_mb"], "MB")

    def rows(self) -> None:
        """Ten rows a second."""
        log, ready = self.fresh("rows")
        more = {"file": str(log), "start": ROWS, "total": TOTAL, "rate": 10.0, "secs": self.seconds}
        result = measure.measure_load(self.watch(log.parent, ready, **more), live=True)
        self.table.add("10 rows/s, CPU", result["cpu_pct"], "%", 4, later=True)
        self.table.add("10 rows/s, output", result["bytes_per_s"], "B/s", 4000, later=True)

    def status(self) -> None:
        """``status --json``, the whole process, in turn with a Python that does nothing."""
        log, _ = self.fresh("status")
        times: list[float] = []
        floor: list[float] = []
        for _ in range(5 if self.quick else 15):
            begin = time.perf_counter()
            subprocess.run([str(self.bin / "python"), "-c", "pass"], check=True)
            floor.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            done = subprocess.run([self.program, "status", "--json", str(log.parent)], capture_output=True, check=True)
            times.append(time.perf_counter() - begin)
            assert json.loads(done.stdout)["metrics"]["loss"]["count"] == ROWS
        self.table.note("python -c pass", statistics.median(floor), "s")
        self.table.add("status --json, 1,000 rows, median", statistics.median(times), "s", 0.35)


def curve(terminal: Terminal) -> list[str]:
    """The braille dots on the screen, line by line."""
    return [re.sub(f"(?!{BRAILLE}).", " ", line) for line in terminal.screen.lines]


def machine() -> str:
    """What it ran on: nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("textual", "plotext", "watchdog", "pydantic"))
    return (
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GB of memory, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def main() -> int:
    """Measure, print, and tell by the exit status whether all goals were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--only", nargs="+", metavar="PART", help="start latency point idle silent rows status")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too, as Markdown")
    parsed = parser.parse_args()
    bin = install()
    load = os.getloadavg()[0]
    print(f"{machine()}; load {load:.2f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lora-tui-bench-") as folder:
        os.environ["LORA_TUI_CONFIG_DIR"] = str(Path(folder) / "config")
        suite = Suite(Path(folder), bin, parsed.quick)
        parts: dict[str, Callable[[], None]] = {
            "start": suite.start,
            "latency": suite.latency,
            "point": suite.point,
            "idle": suite.idle,
            "silent": suite.silent,
            "rows": suite.rows,
            "status": suite.status,
        }
        for name, part in parts.items():
            if not parsed.only or name in parsed.only:
                part()
    after = os.getloadavg()[0]
    print(f"load {after:.2f} at the end: of this bench about 0.5; more is others' and spoils the seconds", flush=True)
    if parsed.out:
        text = f"{machine()}; load average {load:.2f} before, {after:.2f} after.\n\n{suite.table.markdown()}"
        parsed.out.write_text(text, encoding="utf-8")
    return 1 if suite.table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
