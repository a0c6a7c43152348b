"""Measure work as the number of function calls, which is the same on any machine under any load, traced or not.

Seconds are measured by ``tools/bench/``.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType


def calls_of(do: Callable[..., object], *args: object) -> int:
    """Return the number of functions that ``do(*args)`` calls in this thread.

    Functions in C count too, such as each ``math.isfinite`` of a row.
    """
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # callbacks of the garbage collector, such as Hypothesis's, would be counted
    sys.setprofile(note)
    try:
        do(*args)
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return count
