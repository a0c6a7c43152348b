"""Tells two trainings that write into one log from one that was resumed."""

from __future__ import annotations

from lora_tui.records.documents import LogRow

HEADS = 4
"""Processes that are remembered: the last ones."""


class Writers:
    """Sorts training rows by the process that wrote them: each goes on in steps and in its own clock.

    A resume starts a process and never goes back to the one before; two jobs at once take turns. It is made when a row
    does not go on where ``before`` was, and fed every training row from there.
    """

    def __init__(self, before: LogRow) -> None:
        self.returns = 0
        """How often a row went back to a process that wrote before the last one."""
        self.started = 1
        """Processes seen."""
        self.first: int | None = None
        """Step of the first row that went back."""
        self._heads = [before]
        """The last row of each process, the one that wrote last at the end."""

    def add(self, row: LogRow) -> None:
        """Take the next row of the log."""
        if row.step is None or row.kind != "train":
            return
        fits = [head for head in self._heads if _goes_on(head, row)]
        if not fits:
            self.started += 1
        else:
            # Rows of one process are near each other; where several fit alike it is the one that wrote last.
            best = min(reversed(fits), key=lambda head: (row.step or 0) - (head.step or 0))
            if best is not self._heads[-1]:
                self.returns += 1
                self.first = row.step if self.first is None else self.first
            self._heads.remove(best)
        self._heads = [*self._heads[-(HEADS - 1) :], row]


def _goes_on(head: LogRow, row: LogRow) -> bool:
    """``row`` can be the next one of the process that wrote ``head``."""
    if (row.step or 0) <= (head.step or 0):
        return False
    return head.elapsed_s is None or row.elapsed_s is None or row.elapsed_s >= head.elapsed_s
