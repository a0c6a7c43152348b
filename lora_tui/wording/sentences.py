"""Spans of time in words: as exact as they are narrow, so that what is not known does not tick."""

from __future__ import annotations

import math

from lora_tui.i18n import Words

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds that the ends of a span are rounded to."""
PARTS = 3
"""A span is at least this many steps wide before rounding."""
CLOCK_STEPS = (60, 300, 900, 1800)
"""The same for times of day, of which all zones have the boundaries."""


def left_text(words: Words, low: float, high: float) -> str:
    """A time that lies between ``low`` and ``high`` seconds: 42–55 min, 7m40s–8m20s."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return words.duration(high)
    a, b = _outward(low, high, _step(high - low, STEPS, high))
    if a <= 0:
        return words.t("span.under", time=words.duration(b))
    if a >= b:
        return words.duration(b)
    for unit, size, least, most in (("d", 86400, 2, 1000), ("h", 3600, 2, 48), ("m", 60, 1, 100), ("s", 1, 1, 60)):
        if a % size == 0 and b % size == 0 and least * size <= a and b < most * size:
            return words.t(f"span.{unit}", low=a // size, high=b // size)
    return words.t("span.any", low=words.duration(a), high=words.duration(b))


def ends_text(words: Words, low: float, high: float, now: float) -> str:
    """A moment between two Unix times: 14:32–14:45, with a date where it is not today's."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return words.clock(high, now)
    a, b = _outward(low, high, _step(high - low, CLOCK_STEPS, high - now))
    first, last = words.clock(a, now), words.clock(b, a)
    return first if a >= b else words.t("span.any", low=first, high=last)


def _step(width: float, steps: tuple[int, ...], size: float) -> int:
    # Seconds stop to matter after ten minutes, as in a duration.
    least = 60 if size >= 600 else 1
    fitting = [step for step in steps if step >= least and step <= max(least, width / PARTS)]
    return fitting[-1] if fitting else steps[0]


def _outward(low: float, high: float, step: int) -> tuple[int, int]:
    return math.floor(low / step) * step, math.ceil(high / step) * step
