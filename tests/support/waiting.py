"""Wait for conditions, with one deadline for all tests that only a failing test reaches.

No test sleeps for a fixed time: it names the condition that it waits for. Speed is measured by ``tools/bench``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

DEADLINE_S = 60.0
"""Seconds after which a condition counts as never met, even on a busy machine."""
STEP_S = 0.02
"""Seconds between two checks of a condition."""
QUIET_S = 0.3
"""Seconds without work after which a program counts as at rest: longer than each of its own short delays."""

T = TypeVar("T")


def wait_until(true: Callable[[], T | None], what: str = "", step: Callable[[], object] | None = None) -> T:
    """Wait until ``true()`` is truthy, and return that value.

    ``step`` is called between two checks, instead of a short sleep. Raises AssertionError, with ``what``, after
    ``DEADLINE_S``.
    """
    end = time.monotonic() + DEADLINE_S
    while not (found := true()):
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what or true}"
        if step is None:
            time.sleep(STEP_S)
        else:
            step()
    return found


def wait_passes(check: Callable[[], object], step: Callable[[], object]) -> None:
    """Wait until ``check()`` raises no AssertionError; raise its last one after ``DEADLINE_S``."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            check()
            return
        except AssertionError:
            if time.monotonic() > end:
                raise
        step()


def is_working(pid: int) -> bool:
    """Return whether a thread of the process or of its descendants runs, or waits for a processor or a disk.

    See proc_pid_stat(5). On a busy machine a program that has something to do waits for a processor, and so counts as
    working.
    """
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            if (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                return True
            if any(is_working(int(child)) for child in (task / "children").read_text().split()):
                return True
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended, or one of its threads has
    return False


def wait_quiet(pid: int) -> None:
    """Wait until the process and its descendants have not worked for ``QUIET_S``, or have ended."""
    since = time.monotonic()

    def is_quiet() -> bool:
        nonlocal since
        now = time.monotonic()
        if is_working(pid):
            since = now
        return now - since >= QUIET_S

    wait_until(is_quiet, f"process {pid} rests")
