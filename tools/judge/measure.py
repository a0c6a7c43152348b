"""``python -m tools.judge.measure`` = ``make judge``: how often the findings are right.

Runs of the documented simulator (:mod:`tools.judge.simulator`), healthy ones and every fault in several sizes, are
looked at some twenty times in their runs: on fixed seeds, and on a fresh one, which is printed so that it can be used
again (``--seed``). Exit code 1: a goal is missed. The goals:

* of healthy runs at most 1 % get a warning or critical of one rule at any look, and at most 3 % one of any rule;
* of the runs with a clear fault (twice the noise and more, where the unit is noise) 90 % are found.

On the fresh seed a goal counts as missed if chance explains it in less than one of twenty sets.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import lora_tui
from lora_tui.analysis.findings.find import CODES, find
from lora_tui.demo.samples import restore_mtimes, sample_dir
from tests.analysis.findings.test_real_runs import EXPECTED
from tools.judge.faults import FAULTS
from tools.judge.looks import Job, Outcome, Tally, at_least, at_most, jobs, look_at, tally

FIXED_SEEDS = 1_000_000
HEALTHY_RUNS, RUNS_PER_EFFECT = 300, 12
ONE_RULE, ALL_RULES, RECALL = 0.01, 0.03, 0.9
LONG_AFTER_S = 100_000
ABOUT = """
What the numbers mean: a run is one simulated run, looked at about 20 times from its first row to its end.
  false alarm  a healthy run with a warning or critical at any look
  recall       runs with the fault in which a right finding was seen after its onset
  precision    of all runs (healthy ones and other faults too) in which a finding was seen, those where it is true
  delay        rows from the onset to the first look that saw it (median), and their share of the rows after the onset
  *            a clear effect: recall must be 0.9 over all of them
The simulator is ours: this shows that a rule is not naive, not that it is right. Held-out real runs decide.
"""


def outcomes(work: list[Job], label: str, workers: int) -> Iterator[Outcome]:
    """Look at all runs, with progress on stderr."""
    began = time.monotonic()
    with multiprocessing.Pool(workers) as pool:
        for done, outcome in enumerate(pool.imap_unordered(look_at, work, chunksize=4), 1):
            if done % max(1, len(work) // 20) == 0 or done == len(work):
                print(f"{label}: {done} of {len(work)}, {time.monotonic() - began:.0f} s", file=sys.stderr)
            yield outcome


def print_false_alarms(found: Tally, *, chance: bool) -> bool:
    """Print the table of healthy runs; return whether the goal is met."""
    good = at_most(found.accused, found.healthy, ALL_RULES, chance=chance)
    print(f"\nFalse alarms on {found.healthy} healthy runs (goal: 1 % each rule, 3 % together)")
    for code in sorted(found.false, key=lambda code: -len(found.false[code])):
        hit = found.false[code]
        fine = at_most(len(hit), found.healthy, ONE_RULE, chance=chance)
        good = good and fine
        seeds = ", ".join(str(job.seed) for job in hit[:5])
        print(f"  {code:<28}{_percent(len(hit), found.healthy)}  {'' if fine else 'MISSED'}  seeds {seeds}")
    print(f"  {'any rule':<28}{_percent(found.accused, found.healthy)}")
    return good


def print_recall(found: Tally, *, chance: bool) -> bool:
    """Print the table of faults; return whether the goal is met."""
    good = True
    print("\nFaults: runs, recall, median delay in rows and in % of the run after the onset, by effect (* clear)")
    for name in dict.fromkeys(fault for fault, _ in found.recall):
        fault = FAULTS[name]
        built = any(code in CODES for code in fault.right)
        whole = found.clear(name)
        fine = at_least(whole.found, whole.runs, RECALL, chance=chance)
        good = good and fine
        verdict = "" if fine else "MISSED" if built else "MISSED: no such rule"
        print(f"  {name}: recall {whole.share:.2f} of {whole.runs} clear ones  {verdict}")
        print(f"    unit: {fault.unit}")
        for effect in fault.effects:
            cell = found.recall[name, effect]
            mark = "*" if effect >= fault.clear else " "
            size = f"{effect:g}" if effect < 1e6 else "all"
            delay = f"{median(cell.delays):6.0f} rows {100 * median(cell.shares):5.0f} %" if cell.delays else ""
            print(f"    {size:>6}{mark} {cell.runs:5d} {cell.share:7.2f}  {delay}")
    return good


def print_precision(found: Tally) -> None:
    """Print how often each finding is true when it is said."""
    print("\nPrecision: rightly said / said")
    for code in CODES:
        right, wrong = found.right.get(code, 0), found.wrong.get(code, [])
        if code not in {name for fault in FAULTS.values() for name in fault.right} or not right + len(wrong):
            continue
        where = sorted({job.fault or "healthy" for job in wrong})
        print(
            f"  {code:<28}{right:5d} / {right + len(wrong):<5d} {right / (right + len(wrong)):5.2f}  {', '.join(where)}"
        )


def print_real_runs() -> bool:
    """Print the findings of the runs that ship with the project, long after their last row; return whether each has
    those that a careful engineer names."""
    import shutil

    good = True
    print("\nReal runs (sample_runs)")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(sample_dir(), folder, dirs_exist_ok=True)
        restore_mtimes(Path(folder))
        for run in sorted(lora_tui.load_all(folder), key=lambda run: run.path):
            codes = [one.code for one in find(run, (run.activity or 0.0) + LONG_AFTER_S)]
            wanted = EXPECTED.get(run.path.name)
            fine = wanted is None or codes == wanted
            good = good and fine
            verdict = (
                "" if wanted is not None and fine else "not judged by hand" if wanted is None else f"MISSED: {wanted}"
            )
            print(f"  {run.path.name:<12}{', '.join(codes)}  {verdict}")
    return good


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total if total else 0.0:5.1f} %"


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make judge", description="Measure how often the findings are right.")
    parser.add_argument("--seeds", type=int, default=RUNS_PER_EFFECT, metavar="N", help="runs of each fault and effect")
    parser.add_argument("--healthy", type=int, default=HEALTHY_RUNS, metavar="N", help="healthy runs")
    parser.add_argument(
        "--only", default="", metavar="CODE", choices=["", *{name.partition(":")[0] for name in FAULTS}]
    )
    parser.add_argument("--fresh", action="store_true", help="the fresh seed only")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="the fresh seed of an earlier measurement")
    parser.add_argument("--misses", action="store_true", help="list every run that was missed or wrongly accused")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    asked = parser.parse_args()
    fresh = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2, 10_000)
    sets = [] if asked.fresh or asked.seed is not None else [("fixed seeds", FIXED_SEEDS)]
    sets.append((f"fresh seed {fresh} (again: --seed {fresh})", fresh * FIXED_SEEDS))
    print(ABOUT)
    good = True
    for label, base in sets:
        work = jobs(base, asked.healthy, asked.seeds, asked.only)
        found = tally(outcomes(work, label, asked.workers))
        chance = base != FIXED_SEEDS
        print(f"\n=== {len(work)} runs, {label}")
        good = print_false_alarms(found, chance=chance) and good
        good = print_recall(found, chance=chance) and good
        print_precision(found)
        if asked.misses:
            print("\nMissed: " + " ".join(f"{job.fault}/{job.effect:g}/{job.seed}" for job in found.missed))
            for code, wrong in found.wrong.items():
                print(f"Wrong {code}: " + " ".join(f"{job.fault}/{job.effect or 0:g}/{job.seed}" for job in wrong))
    good = print_real_runs() and good
    print("\nAll goals are met." if good else "\nA goal is missed.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
