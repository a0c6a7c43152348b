"""Measure how much ``lora-tui watch`` slows the training that it watches.

    python tools/bench/beside_training.py [--pairs 10] [--seconds 12] [--every 10] [--one-core] [--record]

LLaMA-Factory trains a tiny model on the CPU, several steps a second, and logs as often as in its examples, every 10
steps (``--every 1`` is far more often than usual). Within one job, periods in which the app runs in a terminal of 160 x
50 and periods in which it is stopped alternate, each being first in turn, so that other load affects both equally. The
times of the steps are those of the job's own TensorBoard events. ``--one-core`` pins job and app to the same core:
there every CPU second of the app is lost to the training.

``make e2e`` sets LLaMA-Factory up. The goal is a loss of at most 1 %. Where the cores are shared with other programs,
one period differs from the next by more than that. So three results are printed: the ratio of steps/s with its error,
the ratio of the CPU time that the job needs for a step, and the app's own CPU time, which is an upper bound of its
cost.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lora_tui.formats.tensorboard import EventFileParser
from tests.integration.e2e.environment import build
from tests.integration.e2e.producer import Job
from tests.support.live_app import start
from tests.support.terminal import Terminal
from tools.bench.table import machine, record, taken

SETTLE_S = 2.0
"""Seconds to wait after the app was stopped or continued, so that only steady following is measured."""
ENDLESS = {
    "save_steps": 1_000_000, "max_steps": 1_000_000, "max_samples": 2000, "report_to": "tensorboard",
}  # fmt: skip


@dataclass
class Period:
    """A period of the job, with or without the app beside it."""

    begin: float
    """Unix time."""
    end: float
    app_cpu: float = 0.0
    """Cores that the app used on average."""
    job_cpu: float = 0.0
    """Cores that the job used on average."""
    other_cpu: float = 0.0
    """Cores that were busy with other processes on average."""
    steps_per_s: float = math.nan

    @property
    def cpu_a_step(self) -> float:
        """CPU seconds that the job needed for a step."""
        return self.job_cpu / self.steps_per_s


def step_times(output: Path) -> list[float]:
    """Return the Unix times at which training steps were logged, ascending."""
    times = []
    for path in output.glob("runs/*/events.out.tfevents.*"):
        rows = EventFileParser().feed(path.read_bytes())
        times += [row.time for row in rows if "loss" in row.values and row.time is not None]
    return sorted(times)


def cpu_of(*processes: psutil.Process) -> float:
    """Return the CPU seconds that the processes and their children have used so far."""
    whole = 0.0
    for process in processes:
        whole += sum(process.cpu_times()[:4])
        whole += sum(sum(child.cpu_times()[:2]) for child in process.children(recursive=True))
    return whole


def machine_busy() -> float:
    """Return the CPU seconds that all processes of the machine have used so far."""
    now = psutil.cpu_times()
    return float(now.user + now.nice + now.system)


def measure_period(seconds: float, job: psutil.Process, terminal: Terminal) -> Period:
    """Measure for some seconds, without changing anything."""
    app = psutil.Process(terminal.process.pid)
    begin, busy, trained, watched = time.time(), machine_busy(), cpu_of(job), cpu_of(app)
    terminal.drain(seconds)
    end = time.time()
    took = end - begin
    job_cpu = (cpu_of(job) - trained) / took
    app_cpu = (cpu_of(app) - watched) / took
    other = max(0.0, (machine_busy() - busy) / took - job_cpu - app_cpu)
    return Period(begin, end, app_cpu, job_cpu, other)


@contextmanager
def app(directory: Path, core: int | None) -> Iterator[Terminal]:
    """Start the app in ``directory``, pinned to ``core`` if given; yield its terminal once it shows the training."""
    with start(directory, "saves", size=(160, 50)) as terminal:
        if core is not None:
            os.sched_setaffinity(terminal.process.pid, {core})
        terminal.wait_for("training", timeout=60)
        yield terminal
        terminal.send("q")
        terminal.wait_exit(30)


def measure(pairs: int, seconds: float, every: int, core: int | None) -> list[tuple[Period, Period]]:
    """Return pairs of a period without and a period with the app, each of ``seconds`` seconds.

    Raises SystemExit if the job does not train.
    """
    out = []
    with tempfile.TemporaryDirectory(prefix="lora-tui-beside-") as name:
        directory = Path(name)
        job = Job(build(), directory, "saves/sft", ENDLESS, {"logging_steps": every})
        try:
            if core is not None:
                os.sched_setaffinity(job.process.pid, {core})
            deadline = time.monotonic() + 240
            while not step_times(job.output):
                if not job.running or time.monotonic() > deadline:
                    raise SystemExit("the job does not train")
                time.sleep(0.5)
            trainer = psutil.Process(job.process.pid)
            with app(directory, core) as terminal:
                terminal.drain(SETTLE_S)
                for number in range(pairs):
                    out.append(pair(seconds, trainer, terminal, watched_first=number % 2 == 1))
                    times = step_times(job.output)
                    for one in out[-1]:
                        inside = [at for at in times if one.begin <= at <= one.end]
                        one.steps_per_s = every * (len(inside) - 1) / (inside[-1] - inside[0])
                    print_pair(number, *out[-1])
        finally:
            job.kill()
    return out


def pair(seconds: float, trainer: psutil.Process, terminal: Terminal, watched_first: bool) -> tuple[Period, Period]:
    """Measure a period in which the app is stopped (SIGSTOP) and one in which it runs; return them in this order."""
    both: dict[bool, Period] = {}
    for watched in (True, False) if watched_first else (False, True):
        terminal.process.send_signal(signal.SIGCONT if watched else signal.SIGSTOP)
        terminal.drain(SETTLE_S)
        both[watched] = measure_period(seconds, trainer, terminal)
    terminal.process.send_signal(signal.SIGCONT)
    return both[False], both[True]


def print_pair(number: int, without: Period, with_app: Period) -> None:
    """Print one line on a pair."""
    print(
        f"  pair {number + 1}: {without.steps_per_s:6.2f} steps/s alone, {with_app.steps_per_s:6.2f} watched, "
        f"ratio {with_app.steps_per_s / without.steps_per_s:.3f}   app {100 * with_app.app_cpu:.1f} % of a core, "
        f"others {without.other_cpu:.2f} and {with_app.other_cpu:.2f} cores",
        flush=True,
    )


def main() -> None:
    """Measure the pairs and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--every", type=int, default=10, help="steps between two rows")
    parser.add_argument("--one-core", action="store_true", help="job and app on the same core")
    parser.add_argument("--record", action="store_true", help="write the figures into RESULTS.md")
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0)) if options.one_core else None
    where = "on one core" if options.one_core else f"on {os.cpu_count()} cores"
    load = os.getloadavg()[0]
    print(f"{machine()}, {where}, a row every {options.every} steps; load {load:.2f}", flush=True)
    pairs = measure(options.pairs, options.seconds, options.every, core)
    alone = [one.steps_per_s for one, _ in pairs]
    noise = statistics.stdev(alone) / statistics.fmean(alone) if len(alone) > 1 else math.nan
    lines = [
        summary("steps/s, with the app / without", [b.steps_per_s / a.steps_per_s for a, b in pairs]),
        summary("CPU time of a step, the same", [b.cpu_a_step / a.cpu_a_step for a, b in pairs]),
        f"the app took {100 * statistics.fmean(watched.app_cpu for _, watched in pairs):.1f} % of a core; "
        f"stretches without it differ by {100 * noise:.1f} % (standard deviation) at "
        f"{statistics.fmean(alone):.1f} steps/s",
    ]
    print("\n".join(lines))
    if options.record:
        where += f", a row every {options.every} steps, stretches of {options.seconds:g} s"
        record("training on one core" if options.one_core else "training", "\n\n".join([taken(load), where, *lines]))


def summary(what: str, ratios: list[float]) -> str:
    """Return a line with median, mean with its standard error, and range of the ratios."""
    error = statistics.stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
    return (
        f"{what}: median {statistics.median(ratios):.3f}, mean {statistics.fmean(ratios):.3f} +- {error:.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} pairs"
    )


if __name__ == "__main__":
    main()
