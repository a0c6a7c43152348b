"""The rows of an eval-only or predict job, whose progress is counted in batches instead of training steps."""

from __future__ import annotations

from lora_tui.records.documents import LogRow


class EvalJob:
    """The last eval-only or predict job that wrote into a log, alone in its directory or after a training."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        """The rows of the job in their order."""
        self.is_last = False
        """Whether the last row of the log belongs to this job, and not to a training."""
        self.time: float | None = None
        """Unix time at which its last row arrived, None if the row was there when the log was first read."""

    def add(self, row: LogRow, time: float | None) -> None:
        """Add a row, written at the Unix time ``time`` if known. The first row of a new job removes the others."""
        if not self.is_last or self._starts(row):
            self.rows.clear()
        self.rows.append(row)
        self.is_last = True
        self.time = time

    def _starts(self, row: LogRow) -> bool:
        """Return whether a row is the first one of another job, since its number of batches is not above the last."""
        if not self.rows or row.kind != "progress":
            return False
        before = self.rows[-1]
        return before.kind != "progress" or (row.step or 0) <= (before.step or 0)

    @property
    def progress(self) -> tuple[int, int | None] | None:
        """Batches done and in total, from the last progress row; None without one."""
        for row in reversed(self.rows):
            if row.kind == "progress" and row.step is not None:
                return row.step, row.total_steps
        return None

    @property
    def evaluates(self) -> bool:
        """Whether one of its rows has the metrics of an evaluation."""
        return any(row.kind == "eval" for row in self.rows)

    @property
    def length_s(self) -> float | None:
        """Seconds that the job has run by its own clock, None if it writes no clock."""
        return self.rows[-1].elapsed_s if self.rows else None
