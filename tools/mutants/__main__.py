"""Make the mutants, try them, and print which survived: ``python -m tools.mutants``."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from importlib.metadata import version

from tools.mutants import source

GOAL = 85.0
"""Percentage of all mutants that the tests have to kill."""
KILLED = ("killed", "time")


def main() -> int:
    """Make and try the mutants; return 1 if fewer than GOAL percent were killed, else 0."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--only", default="", help="mutants whose name this regular expression finds")
    args = parser.parse_args()
    begin = time.monotonic()
    mutants = {name: mutant for name, mutant in source.make().items() if re.search(args.only, name)}
    given, out = source.WORK / "lines.json", source.WORK / "outcomes.json"
    given.write_text(json.dumps({name: mutant.lines for name, mutant in mutants.items()}))
    subprocess.run([sys.executable, "-m", "tools.mutants.loop", given, out, args.only], cwd=source.WORK, check=True)
    outcomes: dict[str, str] = json.loads(out.read_text())
    left = [name for name, outcome in outcomes.items() if outcome not in KILLED]
    survivors = source.WORK / "survivors.txt"
    with survivors.open("w") as file:
        for name in left:
            print(name, outcomes[name], *([mutants[name].difference] if name in mutants else []), sep="\n", file=file)
    share = _show(outcomes)
    print(f"\n{time.monotonic() - begin:.0f} s, mutmut {version('mutmut')}, CPython {sys.version.split()[0]}")
    print(f"what survived: {survivors}")
    return 0 if share >= GOAL else 1


def _show(outcomes: Mapping[str, str]) -> float:
    """Print a table by file; return the percentage of mutants that were killed."""
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in outcomes.items():
        module = re.sub(r"\.(x_|xǁ|[A-Z_]+\b).*", "", name).replace("lora_tui.", "").replace(".", "/") + ".py"
        for part in (f"{module}, data" if ":" in name else module, "all"):
            parts[part][outcome] += 1
    print("\n| what | mutants | killed | out of time | survived | never run | killed % |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    share = 0.0
    for part, count in sorted(parts.items(), key=lambda item: (item[0] == "all", item[0])):
        share = 100 * sum(count[one] for one in KILLED) / sum(count.values())
        numbers = [count[one] for one in ("killed", "time", "survived", "untested")]
        print(f"| {part} | {sum(count.values())} | {' | '.join(map(str, numbers))} | {share:.1f} |")
    return share


if __name__ == "__main__":
    sys.exit(main())
