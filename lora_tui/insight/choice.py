"""Which checkpoint to take, what a later one costs, and what would be lost if the run died now."""

from __future__ import annotations

from lora_tui.insight.model import CheckpointChoice
from lora_tui.run import Run


def choose(run: Run, now: float) -> CheckpointChoice:
    """The advice at a moment (Unix time); empty where there is no checkpoint and none is planned."""
    return CheckpointChoice()
