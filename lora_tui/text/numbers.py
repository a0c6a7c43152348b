"""Format numbers for users, and parse durations that users type."""

from __future__ import annotations

import math


def _non_finite(x: float) -> str:
    return "NaN" if math.isnan(x) else "inf" if x > 0 else "-inf"


def _trim(s: str) -> str:
    return s.rstrip("0").rstrip(".") if "." in s else s


def number(x: float, digits: int = 4) -> str:
    """Return ``x`` with ``digits`` significant digits and no trailing zeros: ``1.057``, ``90.87``, ``1.18e-4``, ``0``.

    Digits before the decimal point are never dropped (``344093``). Values below 0.001 and from 1e7 on have an exponent.
    Values that are not finite give ``NaN``, ``inf`` and ``-inf``.
    """
    if not math.isfinite(x):
        return _non_finite(x)
    if x == 0:
        return "0"
    digits = max(digits, 1)
    mantissa, _, power = f"{x:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if -4 < exponent < 7:
        return _trim(f"{x:.{max(digits - 1 - exponent, 0)}f}")
    return f"{_trim(mantissa)}e{exponent}"


def fixed4(x: float) -> str:
    """Return ``x`` as trainers print metrics: four decimals, fewer from 1,000 on (``1.6679``, ``344093.2``).

    A value that is not zero but would read 0.0000 has an exponent. Values that are not finite give ``NaN``, ``inf``
    and ``-inf``.
    """
    if not math.isfinite(x):
        return _non_finite(x)
    size = abs(x)
    if 0 < size < 0.00005:
        return number(x, 3)
    if size >= 1e15:
        return number(x, 5)
    whole = len(str(int(size)))
    return f"{x:.{min(max(7 - whole, 0), 4)}f}" if x else "0.0000"


def count(n: float) -> str:
    """Return ``n`` with three significant digits and a unit: ``999``, ``24.7k``, ``1.23M``, ``7.62B``, ``1.2T``."""
    if not math.isfinite(n):
        return _non_finite(n)
    size = abs(n)
    if size < 1000 or size >= 9.995e14:
        return number(n, 3)
    for unit, suffix in ((1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")):
        if size < unit * 999.5 or suffix == "T":
            break
    return number(n / unit, 3) + suffix


DURATION_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Length in seconds of each unit suffix that a typed duration may have."""


def parse_duration(s: str) -> float | None:
    """Return the seconds of a typed duration (``90s``, ``30m``, ``6h``, ``2d``, or a number of seconds).

    Returns None where ``s`` is no duration, is negative, or is 1e10 seconds or more.
    """
    s = s.strip()
    unit = DURATION_UNITS.get(s[-1:])
    try:
        found = float(s[:-1]) * unit if unit is not None else float(s)
    except ValueError:
        return None
    return found if 0.0 <= found < 1e10 else None
