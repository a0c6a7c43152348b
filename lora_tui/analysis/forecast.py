"""What is still to come: time left, the clock time of the end, the final loss, each as a band."""

from __future__ import annotations

from lora_tui.analysis.final_loss import final_loss
from lora_tui.analysis.model import Band, Forecast
from lora_tui.runs.run import Run
from lora_tui.runs.status import time_left


def forecast(run: Run, now: float) -> Forecast:
    """The forecast at a moment (Unix time); empty for a run that does not go on.

    Its time left is that of :class:`lora_tui.runs.run.Progress`, with a band around it.
    """
    status = run.status(now)
    if status.state not in ("running", "evaluating"):
        return Forecast()
    left = time_left(run, status, now)
    remaining = Band(*left) if left is not None else None
    end = Band(now + left.low, now + left.mid, now + left.high) if left is not None else None
    if not run.timeline.rows:
        return Forecast(remaining, end)
    loss, reason = final_loss(run, run.progress(now))
    return Forecast(remaining, end, loss, reason)
