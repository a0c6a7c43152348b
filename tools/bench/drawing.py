"""Measure what the app's own drawing saves in bytes and CPU: each part of it is switched off in turn.

    python tools/bench/drawing.py [--rate 1] [--secs 40]

The app is started on a live run of 1,000 rows in a terminal of 200 x 50, and rows are appended. The figures of
``docs/own-drawing.md`` come from here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.bench import data, measure
from tools.bench.common import BRAILLE, options
from tools.bench.one import READY, ROWS, TOTAL

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {
    "as it is": "",
    "Textual's partial updates": """
from lora_tui.tui.terminal.textual_patches import Patches
Patches.narrow = lambda self, screen: None
""",
    "no private part at all": """
from lora_tui.tui.terminal import textual_patches
textual_patches.missing_parts = lambda: ("switched off",)
""",
    "a pane is repainted whole": """
from lora_tui.tui.panes.base import Pane
def renew(self):
    if all(self.size):
        old = self._rows
        self._draw()
        if old != self._rows:
            self.refresh()
Pane.renew = renew
""",
    "all is repainted whole": """
from lora_tui.tui.panes.base import Pane
def renew(self):
    self._draw()
    self._strips.clear()
    self.refresh()
Pane.renew = renew
""",
}
"""Name of a variant -> code that changes the app before it starts."""
START = "\nimport sys\nfrom lora_tui.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"


def main() -> None:
    """Measure every variant, the first of them twice, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1.0, help="rows a second")
    parser.add_argument("--secs", type=float, default=40.0, help="how long each variant is measured")
    parsed = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    print("| what | bytes per row | bytes/s | CPU |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="lora-tui-drawing-") as name:
        os.environ["LORA_TUI_CONFIG_DIR"] = str(Path(name) / "config")
        for number, (variant, change) in enumerate([*VARIANTS.items(), next(iter(VARIANTS.items()))]):
            log = data.write_run(Path(name) / str(number) / "lora" / "live", ROWS, TOTAL)
            command = [sys.executable, "-c", change + START, "watch", str(log.parent)]
            result = measure.measure_load(
                options(command, [BRAILLE, READY], file=str(log), start=ROWS, total=TOTAL, rate=parsed.rate,
                        secs=parsed.secs, settle=4.0),
                live=True,
            )  # fmt: skip
            sent = result["bytes_per_s"]
            print(f"| {variant} | {sent / parsed.rate:.0f} | {sent} | {result['cpu_pct']} % |", flush=True)


if __name__ == "__main__":
    main()
