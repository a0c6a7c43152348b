"""Simulate a training job in a second process, with the ways in which jobs end."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.job_writer import Writer

TRACEBACK = """\
Traceback (most recent call last):
  File "/opt/LLaMA-Factory/src/train.py", line 28, in <module>
    main()
{message}
"""


class Job(Writer):
    """A job of 400 steps that logs a row every 10 steps."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self.step = 0

    def row(self, loss: float | None, **more: float) -> None:
        """Write the next training row, or with a loss of None the summary row at the end."""
        self.step += 10 if loss is not None else 0
        row: dict[str, float | str] = {"current_steps": self.step, "total_steps": 400}
        if loss is not None:
            row |= {"loss": loss, "lr": 1e-4}
        row |= {"epoch": self.step / 100, **more, "percentage": self.step / 4}
        row |= {"elapsed_time": f"0:00:{self.step // 10:02}", "remaining_time": "0:10:00"}
        self("row", row)

    def finish(self) -> None:
        """Write the last step, the summary, the results and, last, the model card."""
        self.step = 390
        self.row(0.75)
        self.row(None)
        self("json", "train_results.json", {"train_loss": 0.75})
        self("torn", "README.md", "# card")

    def fail(self, message: str = "RuntimeError: boom") -> None:
        """Write a traceback with ``message`` into the console log."""
        (self.run / "train.log").write_text(TRACEBACK.format(message=message), encoding="utf-8")

    def silent_for(self, seconds: float) -> None:
        """Make all files as old as if the last row had been written ``seconds`` ago."""
        then = time.time() - seconds
        for path in self.run.iterdir():
            os.utime(path, (then, then))
