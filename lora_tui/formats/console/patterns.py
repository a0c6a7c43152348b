"""What trainers print into a console log: progress bar frames, metric dicts and numbers.

Sources: transformers ``ProgressCallback``/``PrinterCallback`` (metric dicts; numbers up to 4.57, ``%.4g`` strings from
5.0), LLaMA-Factory ``LogCallback`` (its dict line, ``.4f``/``2.4e``/``.2f``) and v1 ``LoggingCallback``
(``epoch: 0, step: 1, loss: 1.2345``), tqdm ``format_meter`` (bar frames).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_CLOCK = r"(?:(\d{1,6}):)?(\d{1,2}):(\d\d)"
_FRAME = re.compile(
    rf"\s{{0,8}}(\d{{1,3}})%\|[^|]{{0,500}}\|\s{{0,20}}(\d{{1,15}})/(\d{{1,15}}) \[{_CLOCK}<[^\]]{{0,100}}\]"
)
# Patterns that most logs need seldom are strings: ``re`` compiles them at their first use and keeps them.
_NAMED = (
    r"([^|%]{1,120}?):?\s{1,8}\d{1,3}%\|[^|]{0,500}\|\s{0,20}(\d{1,15})/(\d{1,15}) \[[^\]]{0,100}\]"
    r"|([^|%]{1,120}?): (\d{1,15}) examples \[[^\]]{0,100}\]"
)
_ITEM = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.){1,200})'|"((?:[^"\\]|\\.){1,200})")\s*:\s*"""
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\w[\w.]*\([^()]*\)|[^,{}()\[\]'"\s]+(?:\s+[^,{}()\[\]'"\s]+)*)\s*([,}])"""
)
_WRAPPED = r"\w[\w.]*\(([^(),]*)(?:,[^()]*)?\)"
_NUMBER = re.compile(r"[+-]?(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d{1,4}))?|[+-]?(?:nan|inf(?:inity)?)", re.I)
_V1_ROW = r"(?:^|>> )(epoch: \d+, step: \d+, .+)$"
_DURATION = r"(?:(\d{1,9}) days?, )?(\d{1,9}):(\d\d):(\d\d(?:\.\d+)?)"


class Number(NamedTuple):
    """A printed number and how exactly it was printed."""

    value: float
    digits: int
    """Significant digits."""
    tolerance: float
    """Half of the last printed digit's unit."""


class Frame(NamedTuple):
    """One frame of a progress bar."""

    name: str
    """Empty for the bars of training, evaluation and prediction, which have none."""
    done: int
    total: int | None
    elapsed_s: float | None
    end: int
    """Index behind the frame; records are glued to it."""


class MetricDict(NamedTuple):
    """Key -> number of a metric dict, without what is no number, and the index behind it."""

    numbers: dict[str, Number]
    end: int


def find_frame(text: str) -> Frame | None:
    """Return the progress bar frame at the beginning of ``text``, if it is whole (up to its ``]``)."""
    match = _FRAME.match(text)
    if match is not None:
        _, done, total, hours, minutes, seconds = match.groups()
        elapsed = float(int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds))
        return Frame("", int(done), int(total), elapsed, match.end())
    match = re.match(_NAMED, text)
    if match is None or not (name := (match[1] or match[4]).strip()):
        return None
    if match[4]:
        return Frame(name, int(match[5]), None, None, match.end())
    return Frame(name, int(match[2]), int(match[3]), None, match.end())


def parse_number(raw: str) -> Number | None:
    """Parse what Python prints for a float or an int, also quoted, also ``np.float64(1.5)``; never evaluates."""
    text = raw.strip()
    quoted = text[:1] in ("'", '"')
    if quoted:
        text = text[1:-1].strip()
    elif text.endswith(")"):
        wrapped = re.fullmatch(_WRAPPED, text)
        if wrapped is None:
            return None
        text = wrapped[1].strip()
    match = _NUMBER.fullmatch(text) if len(text) <= 400 else None
    if match is None:
        return None
    value = float(text)
    if not math.isfinite(value):
        return Number(value, 1, 0.0)
    whole, decimals = match[1] or "", match[2] or match[3] or ""
    exponent = int(match[4] or 0)
    # "0.0000" has no significant digit, but a bare "0" is exact.
    digits = len((whole + decimals).lstrip("0")) or (0 if decimals else 1)
    places = len(decimals) - exponent
    if quoted and value:
        # %.4g drops the zeros at the end.
        digits = max(digits, 4)
        places = max(places, 3 - math.floor(math.log10(abs(value))))
    return Number(value, digits, 0.5 * 10.0 ** max(-300, min(300, -places)))


def same(a: Number, b: Number) -> bool:
    """Whether two printed numbers can be roundings of one value."""
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
    return abs(a.value - b.value) <= (a.tolerance + b.tolerance) * 1.001


def find_dict(text: str, start: int) -> MetricDict | None:
    """Parse the flat dict whose ``{`` is at ``start``; ``None`` if it is nested, cut or no dict of values.

    Values that are no numbers ("5.00%", ``None``) are left out, but "10/720" under ``global_step/max_steps``
    (ms-swift) becomes ``step`` and ``total_steps``.
    """
    numbers: dict[str, Number] = {}
    at = start + 1
    while (item := _ITEM.match(text, at)) is not None:
        key = item[1] or item[2]
        if key == "global_step/max_steps":
            step, _, total = item[3].strip("'\"").partition("/")
            pairs = [("step", step), ("total_steps", total)]
        else:
            pairs = [(key, item[3])]
        for name, raw in pairs:
            if (number := parse_number(raw)) is not None:
                numbers[name] = number
        at = item.end()
        if item[4] == "}":
            return MetricDict(numbers, at)
    return None


def find_v1_row(text: str) -> dict[str, Number] | None:
    """Parse the row of LLaMA-Factory's v1 trainer (``epoch: 0, step: 1, loss: 1.2345, …``)."""
    match = re.search(_V1_ROW, text)
    if match is None:
        return None
    numbers: dict[str, Number] = {}
    for part in match[1].split(", "):
        key, colon, raw = part.rpartition(": ")
        number = parse_number(raw) if colon else None
        if number is not None:
            numbers[key] = number
    return numbers


def parse_metric(raw: str) -> Number | None:
    """Parse a value of a metric block: a number, ``H:MM:SS.cc`` (seconds) or ``862GF`` (floating point operations)."""
    text = raw.strip()
    if (clock := re.fullmatch(_DURATION, text)) is not None:
        days, hours, minutes, seconds = clock.groups()
        value = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        decimals = len(seconds.partition(".")[2])
        value = round(value, decimals)
        return Number(value, len(str(int(value)).lstrip("0")) + decimals, 0.5 * 10.0**-decimals)
    if text.endswith("GF"):
        number = parse_number(text[:-2])
        return number and Number(number.value * 2**30, number.digits, 2.0**29)
    return parse_number(text)


def more_precise(old: Number | None, new: Number) -> Number:
    """Of two roundings of one value return the better one; of two values the newer one."""
    return old if old is not None and same(old, new) and old.digits >= new.digits else new
