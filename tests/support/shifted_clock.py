"""Run the program with a clock that a test shifts: ``python -m tests.support.shifted_clock FILE wait RUN``.

``time.time()`` is ahead of the system's clock by the number of seconds in FILE.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def shift(path: Path) -> None:
    """Shift ``time.time()`` by the number of seconds in the file, which is read at every call."""
    real = time.time
    time.time = lambda: real() + float(path.read_text())


if __name__ == "__main__":
    shift(Path(sys.argv[1]))
    from lora_tui.cli.main import main  # imported now, so that defaults that are time.time are the shifted one

    sys.exit(main(sys.argv[2:]))
