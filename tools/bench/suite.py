"""``make bench``: lora-tui against its goals, as a user in a terminal of 200 x 50 sees it.

    python tools/bench/suite.py [--quick] [--only ROW…] [--record]

It measures an installed wheel with compiled bytecode, in an environment of its own (``.venv-bench``): a checkout may be
compiled anew at every start, and the machine's settings may forbid to keep the result. What is compared (a hello-world
Textual app, ``json.loads`` of the same file, ``tail -f``) is measured in turn with lora-tui, so that a busy machine
slows both; trust the ratios before the seconds. The exit status is 1 where a goal is missed. ``--record`` writes the
table into RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.bench.bounds import Bounds
from tools.bench.long import Long
from tools.bench.many import Many
from tools.bench.one import One
from tools.bench.table import Table, machine, record, taken

ROOT = Path(__file__).resolve().parents[2]


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


def clear_environment(folder: Path) -> None:
    """Nothing of the caller's may change what is measured: not a checkout on the path, not the user's settings."""
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)
    os.environ["LORA_TUI_CONFIG_DIR"] = str(folder / "config")


def main() -> int:
    """Measure, print, and tell by the exit status whether all goals were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="some of the rows; --list names them")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--bin", type=Path, help="measure the lora-tui of this folder instead of a new wheel's")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lora-tui-bench-") as name:
        folder = Path(name)
        table = Table()
        bounds = Bounds(folder, parsed.bin or ROOT / ".venv-bench" / "bin", parsed.quick)
        parts: dict[str, Callable[[], None]] = {}
        for group in (One(bounds, table), Long(bounds, table), Many(bounds, table)):
            parts |= group.parts()
        if parsed.list:
            print("\n".join(f"{name:<12} {(part.__doc__ or '').splitlines()[0]}" for name, part in parts.items()))
            return 0
        if unknown := set(parsed.only or ()) - set(parts):
            parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {' '.join(parts)}")
        if parsed.bin is None:
            install()
        clear_environment(folder)
        load = os.getloadavg()[0]
        print(f"{machine()}; load {load:.2f}", flush=True)
        for name, part in parts.items():
            if not parsed.only or name in parsed.only:
                part()
    print(f"load {os.getloadavg()[0]:.2f} at the end; what others use spoils the seconds", flush=True)
    if table.missed:
        print(f"{len(table.missed)} of the goals missed: {'; '.join(table.missed)}", flush=True)
    if parsed.record:
        record("bench", f"{taken(load)}\n\n{table.markdown()}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
