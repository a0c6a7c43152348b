"""Compare lora-tui with its goals, as a user in a terminal of 200 x 50 sees it: ``make bench``.

    python tools/bench/suite.py [--quick] [--only ROW…] [--record]

It measures an installed wheel with compiled bytecode, in an environment of its own (``.venv-bench``), since a checkout
may be compiled at every start where the settings of the machine forbid saving bytecode. The floors (a hello-world
Textual app, ``json.loads`` of the same file, ``tail -f``) are measured in turn with lora-tui, so that a busy machine
slows both; ratios are more reliable than seconds. The exit status is 1 where a goal is missed. ``--record`` writes the
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

from tools.bench.common import Setup
from tools.bench.long import Long
from tools.bench.many import Many
from tools.bench.one import One
from tools.bench.table import Table, machine, record, taken

ROOT = Path(__file__).resolve().parents[2]


def install() -> Path:
    """Install the wheel of this checkout with its dependencies, compiled, into ``.venv-bench``; return the ``bin``
    directory.

    Raises CalledProcessError if that fails.
    """
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
    """Remove from the environment what could change the measurements: a checkout on the path, the user's settings."""
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)
    os.environ["LORA_TUI_CONFIG_DIR"] = str(folder / "config")


def main() -> int:
    """Measure and print; return 1 if a goal is missed, else 0."""
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
        setup = Setup(folder, parsed.bin or ROOT / ".venv-bench" / "bin", parsed.quick)
        parts: dict[str, Callable[[], None]] = {}
        for group in (One(setup, table), Long(setup, table), Many(setup, table)):
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
