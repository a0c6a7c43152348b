"""Run the app on ``saves`` with a deliberate error: ``python -m tests.support.failing_app widget|thread|handler``."""

from __future__ import annotations

import sys
from typing import Any

from lora_tui.cli.main import main
from lora_tui.ingest.follower import Follower
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.dashboard import Dashboard

PLACES: dict[str, tuple[type, str, int]] = {
    "widget": (Dashboard, "renew", 2),
    "thread": (Follower, "read", 2),
    "handler": (LoraTuiApp, "on_batch_read", 0),
}
"""Name of the place -> class, method, and number of calls after which the method raises."""


def fail(kind: type, name: str, after: int) -> None:
    """Make the method ``name`` of ``kind`` raise ValueError after ``after`` calls."""
    method, calls = getattr(kind, name), 0

    def failing_on_purpose(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise ValueError("on purpose: [red]x[/red] \u202ebidi")
        return method(*given, **named)

    setattr(kind, name, failing_on_purpose)


if __name__ == "__main__":
    fail(*PLACES[sys.argv[1]])
    sys.exit(main(["watch", "saves"]))
