"""What is still to come: time left, the clock time of the end, the final loss, each as a band."""

from __future__ import annotations

from lora_tui.insight.model import Forecast
from lora_tui.run import Run


def forecast(run: Run, now: float) -> Forecast:
    """The forecast at a moment (Unix time); empty where the files do not carry one."""
    return Forecast()
