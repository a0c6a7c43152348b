"""The program with a clock that a test moves: ``python -m tests.support.shifted_clock FILE wait RUN``.

``time.time()`` is ahead of the system's clock by as many seconds as FILE says.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def shift(path: Path) -> None:
    """Let ``time.time()`` be ahead by what the file says, now and whenever it says something else."""
    real = time.time
    time.time = lambda: real() + float(path.read_text())


if __name__ == "__main__":
    shift(Path(sys.argv[1]))
    from lora_tui.cli.main import main  # what takes time.time as a default takes the shifted one

    sys.exit(main(sys.argv[2:]))
