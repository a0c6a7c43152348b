"""Measure lora-tui beside terminalboard, tlog, W&B LEET and TensorBoard, on the same data: ``make bench-rivals``.

    python tools/bench/rivals.py [--quick] [--only NAME…] [--record]

Each rival is installed into an environment of its own in the user's cache, reads the same values from the files that it
understands, and is measured in turn with lora-tui in a terminal of 200 x 50 (TensorBoard over HTTP: its server alone,
until it answers with the last step; no browser is counted). A rival that cannot be installed or fails is named in one
line, and the others are measured. ``--record`` writes the table into RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import platformdirs

from tools.bench import data, measure, rival_files
from tools.bench.board import Board
from tools.bench.common import BRAILLE, options
from tools.bench.suite import clear_environment, install
from tools.bench.table import figure, grid, machine, record, taken

SHORT, LONG, LONGEST = 1_000, 100_000, 1_000_000
TIMEOUT_S = 150.0
Figures = dict[str, float | None]


@dataclass(frozen=True)
class Rival:
    """A terminal program: the packages to install, the files that it reads, its command and regexes of its screen.

    ``marker`` matches a new loss on the screen (see measure.py); all of ``ready`` match once its charts are drawn.
    """

    name: str
    packages: tuple[str, ...]
    kind: str
    command: tuple[str, ...]
    marker: str
    ready: tuple[str, ...] = ("train/loss", BRAILLE)


OURS = Rival("lora-tui", (), "log", ("lora-tui", "watch", "{folder}"), "{v4}", (BRAILLE,))
RIVALS = (
    # plotext 6 has another interface, which terminalboard does not know. A new loss is seen as the end of its y-axis.
    Rival(
        "terminalboard",
        ("terminalboard", "plotext<6"),
        "events",
        ("terminalboard", "--smooth", "0", "{folder}"),
        r"\b{v2}┤",
    ),
    Rival("tlog", ("tlog-ml",), "tlog", ("tlog", "watch", "--dir", "{root}"), r"train/loss +{v3}\b"),
    Rival("W&B LEET", ("wandb",), "wandb", ("wandb", "leet", "run", "{file}"), r"train/loss +{v4}\b"),
)
BOARD = ("TensorBoard", ("tensorboard", "setuptools<81"))
BEGIN = {
    "tlog": "import os, sys, tlog; tlog.init(project='bench', name='live', dir=sys.argv[1]); os._exit(0)",
    "wandb": (
        "import sys, wandb\n"
        "settings = wandb.Settings(x_disable_stats=True, console='off')\n"
        "run = wandb.init(project='bench', name='live', dir=sys.argv[1], mode='offline', settings=settings)\n"
        "run.log({'train/loss': 2.0}, step=0)\nrun.finish()"
    ),
}
"""Kind of files -> code that begins a run with the rival's own library, where its files need more than rows."""
FILES = {
    "log": data.LOG,
    "events": "events.out.tfevents.1700000000.host.1.0",
    "tlog": "metrics.jsonl",
    "wandb": "*.wandb",
}


def environment(name: str, packages: tuple[str, ...]) -> Path:
    """Make an environment with these packages in the user's cache, unless there is one; return its ``bin`` directory.

    Raises CalledProcessError if the packages cannot be installed.
    """
    folder = Path(platformdirs.user_cache_dir("lora-tui")) / "bench-rivals" / name.replace("&", "").replace(" ", "-")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    done = folder / "installed"
    if not done.exists():
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True, capture_output=True, text=True)
        subprocess.run([python, "-m", "compileall", "-q", folder / "lib"], check=False, capture_output=True)
        done.touch()
    return python.parent


def version(bin: Path, package: str) -> str:
    """Return the version of a package in an environment. Raises CalledProcessError if it is not installed."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([bin / "python", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


class Program:
    """One program with its environment, and its data below a folder."""

    def __init__(self, rival: Rival, bin: Path, folder: Path) -> None:
        self.rival, self.bin, self.folder = rival, bin, folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.env = {"HOME": str(self.home), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}

    def file(self, rows: int, name: str = "") -> Path:
        """Return the path of a file with ``rows`` rows: the same file each time, or a new copy called ``name``."""
        root = self.folder / f"rows-{rows}"
        if not root.exists():
            self._write(root, rows)
        if name:
            copy = self.folder / name
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(root, copy, symlinks=True)
            root = copy
        (found,) = root.rglob(FILES[self.rival.kind])
        found.touch()
        return found

    def _write(self, root: Path, rows: int) -> None:
        kind, total = self.rival.kind, 2 * rows
        root.mkdir(parents=True)
        if kind == "log":
            data.write_run(root / "lora" / "live", rows, total, spikes=rows > SHORT)
            return
        if kind in BEGIN:
            environment = {**os.environ, **self.env}
            command = [str(self.bin / "python"), "-c", BEGIN[kind], str(root)]
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            (path,) = root.rglob(FILES[kind])
        else:
            path = root / FILES[kind]
        if kind == "wandb":
            rival_files.Wandb.cut_end(path)
        writer = rival_files.KINDS[kind](path)
        for step, loss in enumerate(data.losses(rows, total, spikes=rows > SHORT), 1):
            writer.append(step, rival_files.values(step, loss, total))
        writer.flush()

    def options(self, file: Path, rows: int, **more: Any) -> argparse.Namespace:
        """Return the options of measure.py for this program on this file."""
        root = next(parent for parent in file.parents if parent.parent == self.folder)
        places = {"file": str(file), "folder": str(file.parent), "root": str(root)}
        program, *words = (word.format(**places) for word in self.rival.command)
        env = [f"{key}={value}" for key, value in self.env.items()]
        appended = {"file": str(file), "start": rows, "total": 2 * rows, "kind": self.rival.kind}
        parsed = options([str(self.bin / program), *words], list(self.rival.ready), env=env, timeout=TIMEOUT_S)
        vars(parsed).update(appended, marker=self.rival.marker, **more)
        return parsed


class Comparison:
    """The table of all programs; each row is measured for one program after the other."""

    def __init__(self, programs: list[Program], board: Board | None, quick: bool) -> None:
        self.programs, self.board, self.quick = programs, board, quick
        self.seconds = 8.0 if quick else 20.0
        self.names = [program.rival.name for program in programs] + (["TensorBoard"] if board else [])
        self.rows: list[list[str]] = []
        self.failed: list[str] = []

    def run(self, parts: list[str] | None) -> None:
        """Measure all rows, or those of the named parts."""
        for name, part in {
            "starts": self._starts,
            "wholes": self._wholes,
            "latencies": self._latencies,
            "loads": self._loads,
        }.items():
            if not parts or name in parts:
                part()

    def _wholes(self) -> None:
        for rows in (LONG,) if self.quick else (LONG, LONGEST):
            self._whole(rows)

    def _loads(self) -> None:
        self._load("open, nothing appended", SHORT, None)
        self._load("10 rows/s", SHORT, 10.0)
        self._load("1,000 rows/s", SHORT, 1000.0)
        self._load(f"10 rows/s on {LONG:,} rows", LONG, 10.0)

    def _each(self, what: str, make: Callable[[Program], measure.Result]) -> dict[str, measure.Result]:
        """Measure one thing for each program; a program that fails is named and left out."""
        found: dict[str, measure.Result] = {}
        for program in self.programs:
            name = program.rival.name
            try:
                found[name] = make(program)
            except (OSError, TimeoutError, ValueError, TypeError, subprocess.CalledProcessError) as error:
                self.failed.append(f"{name}, {what}: {str(error).splitlines()[0][:120]}")
                print(f"  {self.failed[-1]}", flush=True)
        return found

    def _row(self, what: str, unit: str, figures: Figures) -> None:
        ours = figures.get("lora-tui")
        cells = []
        for name in self.names:
            value = figures.get(name)
            text = "–" if value is None else figure(value, unit)
            if value is not None and ours and name != "lora-tui":
                text += f" ({value / ours:.2g}×)"
            cells.append(text)
        self.rows.append([what, *cells])
        print(f"  {what:<34} " + "  ".join(f"{n}: {c}" for n, c in zip(self.names, cells, strict=True)), flush=True)

    def _starts(self) -> None:
        times: dict[str, list[float]] = {}
        memory: Figures = {}
        for _ in range(3 if self.quick else 9):
            paints = self._each(
                "start", lambda program: measure.measure_paint(program.options(program.file(SHORT), SHORT, runs=1))
            )
            for name, result in paints.items():
                if result["ready_s"] is not None:
                    times.setdefault(name, []).append(result["ready_s"])
                memory[name] = result.get("peak_rss_mb")
            if self.board:
                ready, memory["TensorBoard"], _ = self.board.load(SHORT)
                times.setdefault("TensorBoard", []).append(ready)
        self._row(
            f"start -> chart, {SHORT:,} rows", "s", {name: measure.median(found) for name, found in times.items()}
        )
        self._row(f"memory at {SHORT:,} rows", "MB", memory)

    def _whole(self, rows: int) -> None:
        found = self._each(
            f"{rows:,} rows", lambda program: measure.measure_whole(program.options(program.file(rows), rows))
        )
        first: Figures = {name: result["ready_s"] for name, result in found.items()}
        whole: Figures = {name: result["whole_s"] for name, result in found.items()}
        memory: Figures = {name: result.get("peak_rss_mb") for name, result in found.items()}
        cpu: Figures = {name: result["cpu_s"] for name, result in found.items()}
        if self.board:
            whole["TensorBoard"], memory["TensorBoard"], cpu["TensorBoard"] = self.board.load(rows)
        self._row(f"first chart of {rows:,} rows", "s", first)
        self._row(f"all {rows:,} rows", "s", whole)
        self._row(f"all {rows:,} rows: CPU time", "s", cpu)
        self._row(f"memory at {rows:,} rows", "MB", memory)

    def _latencies(self) -> None:
        count = 6 if self.quick else 20

        def make(program: Program) -> measure.Result:
            file = program.file(SHORT, "latency")
            return measure.measure_latency(program.options(file, SHORT, n=count, timeout=10.0))

        found = self._each("append -> painted", make)
        for part in ("median", "p95"):
            self._row(f"append -> painted, {part}", "ms", {n: result.get(f"{part}_ms") for n, result in found.items()})

    def _load(self, what: str, rows: int, rate: float | None) -> None:
        def make(program: Program) -> measure.Result:
            file = program.file(rows, "load")
            more: dict[str, Any] = {"secs": self.seconds, "settle": 4.0, "rate": rate, "whole": rows > SHORT}
            return measure.measure_load(program.options(file, rows, **more), live=rate is not None)

        found = self._each(what, make)
        self._row(f"{what}: CPU", "%", {name: result["cpu_pct"] for name, result in found.items()})
        self._row(f"{what}: output", "B/s", {name: float(result["bytes_per_s"]) for name, result in found.items()})


def main() -> int:
    """Install the rivals, measure, and print the table; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter turns, and no million rows")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="some of the rivals: terminalboard tlog LEET TensorBoard"
    )
    parser.add_argument("--parts", nargs="+", metavar="PART", help="some of: starts wholes latencies loads")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--bin", type=Path, help="measure the lora-tui of this folder instead of a new wheel's")
    parsed = parser.parse_args()

    def wanted(name: str) -> bool:
        return not parsed.only or any(part.lower() in name.lower() for part in parsed.only)

    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lora-tui-rivals-") as name:
        folder = Path(name)
        bin = parsed.bin or install()
        clear_environment(folder)
        load = os.getloadavg()[0]
        print(f"{machine()}; load {load:.2f}", flush=True)
        programs = [Program(OURS, bin, folder / "lora-tui")]
        versions = []
        for rival in RIVALS:
            if wanted(rival.name):
                place = _installed(rival.name, rival.packages, failures)
                if place is not None:
                    programs.append(Program(rival, place, folder / rival.packages[0]))
                    versions.append(f"{rival.name} {version(place, rival.packages[0])}")
        board = None
        if wanted(BOARD[0]):
            place = _installed(*BOARD, failures)
            if place is not None:
                board = Board(place, folder / "tensorboard")
                versions.append(f"{BOARD[0]} {version(place, BOARD[1][0])}")
        print(", ".join(versions), flush=True)
        comparison = Comparison(programs, board, parsed.quick)
        comparison.run(parsed.parts)
    text = "\n\n".join([taken(load), ", ".join(versions), grid(["what", *comparison.names], comparison.rows)])
    if failures or comparison.failed:
        text += "\nFailed: " + "; ".join(failures + comparison.failed)
    print(text)
    if parsed.record:
        record("rivals", text)
    return 0


def _installed(name: str, packages: tuple[str, ...], failures: list[str]) -> Path | None:
    """Return the ``bin`` directory of a rival's environment; if it cannot be made, add the reason to ``failures``."""
    try:
        return environment(name, packages)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        failures.append(f"{name} cannot be installed: {why[:160]}")
        print(f"  {failures[-1]}", flush=True)
        return None


if __name__ == "__main__":
    sys.exit(main())
