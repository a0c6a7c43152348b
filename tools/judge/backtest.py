"""``python -m tools.judge.backtest``: how often the forecast's intervals hold what came, and how wide they are.

Real runs and runs of the documented simulator (:mod:`tools.judge.simulator`) are stopped at 10, 25, 50, 75 and 90 % of
their steps, as the files stood then, and asked for the time left and for the loss at the end. Half of them are seen
live (every row has the time at which it arrived), half are opened then for the first time (clocks of whole seconds).
A third set are simulated runs whose pace wanders and, in one of three, jumps once to another level. Seeds are fixed,
and one more set has fresh seeds, which are printed (``--seed``). Beside the forecast stands the naive one: elapsed
time x steps to come / steps done; the present median of the loss.

Exit code 1: a goal is missed. The goals, from 25 % of a run on, for time and loss each: the interval holds the truth in
80 % of the cases at least, and half of the intervals are at most 30 % wide, of what is left or of the loss. The width
is no goal for the real runs: most are jobs of seconds on a busy CPU, whose pace changed threefold on the way; nor is
anything for the third set, since no past tells a jump.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import lora_tui
from lora_tui.analysis import Interval
from lora_tui.analysis.forecast import forecast
from lora_tui.analysis.statistics import median, window
from lora_tui.demo.samples import sample_dir
from lora_tui.records.documents import LogRow
from lora_tui.records.updates import CheckpointDir
from lora_tui.runs.run import Run
from tests.conftest import DATA, copy_tree
from tools.judge.recorded_run import RecordedRun, Replay
from tools.judge.simulator import simulate

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
GOALS_FROM = 0.25
"""Share of a run from which on the goals hold."""
MIN_HELD, MAX_WIDTH = 0.8, 0.3
FIXED_SEEDS, SIMULATED_RUNS = 500_000, 200
MIN_LEFT_S = 10.0
"""Seconds left below which clocks of whole seconds decide what is right."""
EARLY_SOURCES = (".yaml", ".log", ".out")
"""Files that name a job's options from its beginning on; those of a checkpoint do so later."""


@dataclass(frozen=True)
class ForecastCase:
    """One forecast and what came."""

    kind: Literal["time", "loss"]
    name: str
    share: float
    truth: float
    interval: Interval | None
    naive: float
    reason: str = ""

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.interval is not None and self.interval.low <= self.truth <= self.interval.high

    @property
    def width(self) -> float:
        """Width of the interval as a share of the truth."""
        return (self.interval.high - self.interval.low) / self.truth if self.interval is not None else math.inf

    @property
    def error(self) -> float:
        """Distance of its middle from the truth, as a share of that."""
        return abs(self.interval.mid - self.truth) / self.truth if self.interval is not None else math.inf

    @property
    def naive_error(self) -> float:
        """The same for the naive forecast."""
        return abs(self.naive - self.truth) / self.truth


def cases(recorded: RecordedRun, *, cold: bool) -> Iterator[ForecastCase]:
    """Return forecasts at every share of the steps that lies in the run's last process."""
    start, total = _last_process(recorded), recorded.total_steps
    whole, _ = Replay(recorded).advance(len(recorded.rows) - 1)
    losses = whole.series["loss"]
    last_loss = median(losses.tail(window(losses.finite))) if losses.finite else math.nan
    for share in SHARES:
        index = next(
            (i for i, (row, _) in enumerate(recorded.rows) if i >= start and (row.step or 0) >= share * total), None
        )
        if index is None or (start and index == start):
            continue
        row, now = recorded.rows[index]
        run, _ = Replay(recorded, cold=cold).advance(index)
        step, left = row.step or 0, recorded.rows[-1][1] - now
        if step >= total or left < MIN_LEFT_S:
            continue
        told = forecast(run, now)
        naive = (row.elapsed_s or 0.0) * (total - step) / step
        yield ForecastCase("time", recorded.name, share, left, told.remaining_s, naive)
        if math.isfinite(last_loss) and last_loss > 0:
            loss = run.series["loss"]
            present = median(loss.tail(window(loss.finite))) if loss.finite else math.nan
            yield ForecastCase("loss", recorded.name, share, last_loss, told.final_loss, present, told.reason)


def _last_process(recorded: RecordedRun) -> int:
    """Index of the first row behind the last resume."""
    start = 0
    for index in range(1, len(recorded.rows)):
        before, row = recorded.rows[index - 1][0], recorded.rows[index][0]
        if (row.step or 0) < (before.step or 0) or (row.elapsed_s or 0.0) < (before.elapsed_s or 0.0):
            start = index
    return start


# -- runs -------------------------------------------------------------------------------------------------------


def simulated(seeds: Sequence[int]) -> Iterator[ForecastCase]:
    """Return forecasts for healthy runs, every second one opened only when it is asked."""
    for seed in seeds:
        yield from cases(simulate(seed), cold=seed % 2 == 0)


def wandering(seeds: Sequence[int]) -> Iterator[ForecastCase]:
    """Return forecasts for the same runs on a machine whose speed is not steady."""
    for seed in seeds:
        found = cases(unsteady(simulate(seed), random.Random(f"pace {seed}")), cold=seed % 2 == 0)
        yield from (case for case in found if case.kind == "time")


def unsteady(recorded: RecordedRun, rng: random.Random) -> RecordedRun:
    """Return the same run at a pace that wanders by 0 to 50 % (standard deviation over the run) and, in one of three,
    jumps once by a factor of 0.6 to 1.8."""
    size, rows = rng.uniform(0, 0.5), len(recorded.rows)
    jump, factor = (
        rng.randrange(rows) if rng.random() < 1 / 3 else rows,
        math.exp(rng.uniform(math.log(0.6), math.log(1.8))),
    )
    pace, now, began = 0.0, recorded.rows[0][1], recorded.rows[0][1] - (recorded.rows[0][0].elapsed_s or 0.0)
    out: list[tuple[LogRow, float]] = [recorded.rows[0]]
    for index in range(1, rows):
        pace += rng.gauss(0, size / math.sqrt(rows))
        (before, earlier), (row, later) = recorded.rows[index - 1], recorded.rows[index]
        gap = later - earlier
        if (row.elapsed_s or 0.0) < (before.elapsed_s or 0.0):
            began = now + gap - (row.elapsed_s or 0.0)
        else:
            gap *= math.exp(pace) * (factor if index >= jump else 1.0)
        now += gap
        out.append((row._replace(elapsed_s=float(int(now - began))), now))
    end = now + recorded.end_time - recorded.rows[-1][1]
    return replace(
        recorded, name=f"{recorded.name}-unsteady", rows=tuple(out), checkpoints=_moved(recorded, out), end_time=end
    )


def _moved(
    recorded: RecordedRun, rows: Sequence[tuple[LogRow, float]]
) -> tuple[tuple[float, tuple[CheckpointDir, ...]], ...]:
    """Return the checkpoints at the same place between the same rows."""
    old, new = [time for _, time in recorded.rows], [time for _, time in rows]

    def at(time: float) -> float:
        index = next((i for i in range(len(old) - 1, -1, -1) if old[i] <= time), 0)
        if index + 1 >= len(old):
            return new[-1] + time - old[-1]
        return new[index] + (time - old[index]) / max(1e-9, old[index + 1] - old[index]) * (new[index + 1] - new[index])

    return tuple(
        (at(time), tuple(item._replace(mtime=at(item.mtime)) for item in items)) for time, items in recorded.checkpoints
    )


def real(folder: Path) -> Iterator[ForecastCase]:
    """Return forecasts for all finished runs below a directory, opened late and, where event files tell when each row
    came, live."""
    for run in lora_tui.load_all(folder):
        last = run.timeline.last
        if last is None or run.total_steps is None or last.step != run.total_steps or last.elapsed_s is None:
            continue
        for cold in (True, False):
            recorded = recorded_run_of(run, cold=cold)
            if recorded is not None:
                yield from cases(recorded, cold=cold)


def recorded_run_of(run: Run, *, cold: bool) -> RecordedRun | None:
    """Return a finished run as a recorded one; None without ``cold`` where not all of its rows have times of their
    own."""
    timeline, now = run.timeline, run.last_row_time
    if now is None or run.total_steps is None:
        return None
    rows: list[tuple[LogRow, float]] = []
    ends = now
    for row, time in reversed(list(zip(timeline.rows, timeline.times, strict=True))):
        if row.step is None or (time is None and (not cold or row.elapsed_s is None)):
            # The summary is in no event file; it comes with the row before it.
            if not rows and row.kind == "mark":
                continue
            return None
        if cold:
            later = rows[-1][0].elapsed_s if rows else row.elapsed_s
            if later is None or row.elapsed_s is None:
                return None
            # A process before the last resume is only there to be there.
            ends -= later - row.elapsed_s if later >= row.elapsed_s else 60.0
            time = ends
        assert time is not None
        rows.append((row._replace(time=None), time))
    rows.reverse()
    saves = sorted(run.files.checkpoints, key=lambda item: item.mtime)
    early = {
        key: s.value for key, s in run.config.items() if s.source.endswith(EARLY_SOURCES) or "tfevents" in s.source
    }
    return RecordedRun(
        seed=0, name=f"{run.name}{'' if cold else ' (live)'}", fault="", effect=0.0, onset_step=None, rows=tuple(rows),
        total_steps=run.total_steps, config=early,
        checkpoints=tuple((item.mtime, tuple(saves[: i + 1])) for i, item in enumerate(saves)),
        ends=True, end_time=now, results={},
    )  # fmt: skip


# -- the table ---------------------------------------------------------------------------------------------------


def middle(values: Sequence[float]) -> float:
    """Return the median, NaN of nothing."""
    return median(values) if values else math.nan


def print_table(title: str, found: Sequence[ForecastCase], goals: Collection[str]) -> bool:
    """Print one set of runs; return whether those of its goals "held" and "width" that are named are met."""
    good = True
    print(f"\n{title}: {len({case.name for case in found})} runs")
    print("          at   asked  given   held   width  error  naive")
    for kind in ("time", "loss"):
        if not any(case.kind == kind for case in found):
            continue
        for share in SHARES:
            _print_row(f"{kind}  {share:6.0%}", [s for s in found if s.kind == kind and s.share == share])
        late = [case for case in found if case.kind == kind and case.share >= GOALS_FROM]
        held, width = _print_row(f"{kind} >={GOALS_FROM:5.0%}", late)
        missed = [f"held < {MIN_HELD:.0%}"] if "held" in goals and held < MIN_HELD else []
        missed += [f"width > {MAX_WIDTH:.0%}"] if "width" in goals and width > MAX_WIDTH else []
        good = good and not missed
        if goals and late:
            print(f"           {'goal met' if not missed else 'MISSED: ' + ', '.join(missed)}")
    return good


def _print_row(label: str, asked: Sequence[ForecastCase]) -> tuple[float, float]:
    given = [case for case in asked if case.interval is not None]
    if not given:
        print(f"{label} {len(asked):7}      -")
        return 1.0, 0.0
    held = sum(case.held for case in given) / len(given)
    width = middle([case.width for case in given])
    error, naive = middle([case.error for case in given]), middle([case.naive_error for case in given])
    part = len(given) / len(asked)
    print(f"{label} {len(asked):7} {part:6.0%} {held:6.0%} {width:7.1%} {error:6.1%} {naive:6.1%}")
    return held, width


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.judge.backtest", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the fresh set")
    parser.add_argument("--simulated", type=int, default=SIMULATED_RUNS, metavar="N", help="simulated runs in each set")
    parser.add_argument(
        "--runs", type=Path, action="append", default=[], help="more real runs are below this directory"
    )
    parser.add_argument("--misses", action="store_true", help="list the forecasts that did not hold")
    args = parser.parse_args(argv)
    fresh = range(args.seed * 10_000, args.seed * 10_000 + args.simulated)
    fixed = range(FIXED_SEEDS, FIXED_SEEDS + args.simulated)
    both = ("held", "width")
    sets: list[tuple[str, Iterator[ForecastCase], Collection[str]]] = [
        ("simulated, fixed seeds", simulated(fixed), both),
        (f"simulated, fresh (--seed {args.seed})", simulated(fresh), both),
        ("simulated, the pace wanders and jumps", wandering(fixed), ()),
    ]
    good = True
    together: list[ForecastCase] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in (sample_dir(), DATA):
            copy_tree(source, Path(folder))
        known = [("those of this repository", Path(folder)), *((str(path), path) for path in args.runs)]
        sets = [*((f"real, {name}", real(path), ("held",)) for name, path in known), *sets]
        for title, made, goals in sets:
            found = list(made)
            good = print_table(title, found, goals) and good
            together += found if goals else []
            if args.misses:
                for case in found:
                    if case.interval is not None and not case.held:
                        print(f"  {case.kind} {case.share:4.0%} {case.name}: {case.truth:.4g} not in {case.interval}")
    good = print_table("all of these but the last", together, both) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
