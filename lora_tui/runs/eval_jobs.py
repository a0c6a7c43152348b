"""The rows of an eval-only or predict job: batches done, no steps of training."""

from __future__ import annotations

from lora_tui.records.documents import LogRow


class EvalJob:
    """The last such job that wrote into a log, alone in its directory or after a training."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.is_last = False
        """The log's last row is of this job, not of training."""
        self.time: float | None = None
        """When its last row was seen to arrive, Unix seconds."""

    def add(self, row: LogRow, time: float | None) -> None:
        """Take one more row; a job that starts over is another job."""
        if not self.is_last or self._starts(row):
            self.rows.clear()
        self.rows.append(row)
        self.is_last = True
        self.time = time

    def _starts(self, row: LogRow) -> bool:
        if not self.rows or row.kind != "progress":
            return False
        before = self.rows[-1]
        return before.kind != "progress" or (row.step or 0) <= (before.step or 0)

    @property
    def progress(self) -> tuple[int, int | None] | None:
        """Batches done and in all, as the last progress row says."""
        for row in reversed(self.rows):
            if row.kind == "progress" and row.step is not None:
                return row.step, row.total_steps
        return None

    @property
    def evaluates(self) -> bool:
        """One of its rows is an evaluation's."""
        return any(row.kind == "eval" for row in self.rows)

    @property
    def length_s(self) -> float | None:
        """Seconds that it has run, by its own clock."""
        return self.rows[-1].elapsed_s if self.rows else None
