"""Fuzz the targets one after the other: ``python -m tools.fuzz``; with --keep, save the smallest useful inputs."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools.fuzz import corpus, seeds
from tools.fuzz.targets import TARGETS

WORK = seeds.ROOT / "build" / "fuzz"
HANG_S = 20
"""Seconds after which an input counts as a hang: far more than any input takes, also on a busy machine."""
MEMORY_MB = 1024


class Outcome(NamedTuple):
    """Result of fuzzing one target."""

    inputs: int
    seconds: int
    crashed: bool


def fuzz(target: str, seconds: int) -> Outcome:
    """Fuzz one target for some seconds. Save interesting inputs in WORK/TARGET, crashing ones in WORK/crashes."""
    home = WORK / target
    home.mkdir(parents=True, exist_ok=True)
    (WORK / "crashes").mkdir(exist_ok=True)
    for place, one in enumerate([*seeds.of(target), *corpus.load(target)]):
        (home / f"seed-{place}").write_bytes(one[: seeds.longest(target)])
    words = WORK / f"{target}.dict"
    words.write_text(seeds.dictionary(target))
    done = _worker(
        target, home, f"-dict={words}", f"-max_total_time={seconds}", f"-max_len={seeds.longest(target)}",
        f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1", "-verbosity=1",
        f"-artifact_prefix={WORK / 'crashes' / target}-",
    )  # fmt: skip
    inputs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
    return Outcome(int(inputs[1]) if inputs else 0, seconds, done.returncode != 0)


def minimise(target: str) -> int:
    """Save in the corpus only those inputs that reach code that no other input reaches; return their number."""
    few = WORK / f"{target}-few"
    few.mkdir(exist_ok=True)
    for old in few.iterdir():
        old.unlink()
    _worker(target, "-merge=1", few, WORK / target)
    return corpus.save(target, (path.read_bytes() for path in few.iterdir()))


def _worker(target: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.fuzz.worker", target, *map(str, args)]
    return subprocess.run(command, cwd=seeds.ROOT, capture_output=True, text=True, errors="replace")


def main() -> int:
    """Fuzz the targets of the command line; return 1 if an input crashed one, else 0."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--keep", action="store_true", help="save the smallest inputs in tools/fuzz/corpus")
    args = parser.parse_args()
    total = broken = 0
    for target in args.targets:
        found = fuzz(target, args.seconds)
        total += found.inputs
        broken += found.crashed
        result = f"{found.inputs:>12,} inputs  {'CRASH, see ' + str(WORK / 'crashes') if found.crashed else 'no crash'}"
        kept = f"  {minimise(target)} kept" if args.keep else ""
        print(f"{target:14} {result}{kept}", flush=True)
    print(f"{'all':14} {total:>12,} inputs  {broken} targets crashed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
