"""One training run: the data of its files and everything derived from them.

Methods whose answer depends on the present time take it as a parameter; nothing here reads the disk or the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lora_tui.runs.checkpoints import Checkpoint, list_checkpoints
from lora_tui.runs.eta import Eta, eta_of
from lora_tui.runs.job_config import ConfigEntry
from lora_tui.runs.results import ResultSet, results_of
from lora_tui.runs.run_data import RunData
from lora_tui.runs.status import Progress, StateName, Status, progress_of, status_of

__all__ = ["Checkpoint", "ConfigEntry", "Eta", "Progress", "ResultSet", "Run", "StateName", "Status"]


class Run(RunData):
    """One run: the data of its files, its state, progress, results, checkpoints and time left."""

    def __init__(self, path: Path, name: str = "") -> None:
        super().__init__(path, name)
        self.linked: tuple[Run, ...] = ()
        """Eval and predict jobs that loaded this run's adapter; set by the workspace."""

    def status(self, now: float) -> Status:
        """Return what the run is doing at the Unix time ``now``."""
        return status_of(self, now)

    def progress(self, now: float) -> Progress:
        """Return how far the run is at the Unix time ``now``."""
        return progress_of(self, now)

    @property
    def eta(self) -> Eta | None:
        """Estimated time from the last row to the end if the run goes on; None where no estimate is possible."""
        return eta_of(self)

    def results(self) -> Mapping[str, ResultSet]:
        """Return the results by split (train, eval, predict); those of an earlier attempt are marked as stale."""
        return results_of(self)

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Return the checkpoints on disk, sorted by step, with their eval losses; the best one is marked."""
        return list_checkpoints(self)
