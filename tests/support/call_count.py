"""How much work something is, in calls of functions: the same on any machine, however busy, traced or not.

Seconds belong to ``tools/bench/``.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType


def calls_of(do: Callable[..., object], *args: object) -> int:
    """Functions called meanwhile in this thread, Python's and C's (so each ``math.isfinite`` of a row)."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # whoever is told of collections, as Hypothesis is, would be counted
    sys.setprofile(note)
    try:
        do(*args)
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return count
