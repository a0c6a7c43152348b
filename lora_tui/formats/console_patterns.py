r"""What a console log is made of: cleaned pieces of text, progress bar frames, metric dicts and numbers.

Sources: transformers ``ProgressCallback``/``PrinterCallback`` (metric dicts; numbers up to 4.57, ``%.4g`` strings from
5.0), LLaMA-Factory ``LogCallback`` (its dict line, ``.4f``/``2.4e``/``.2f``) and v1 ``LoggingCallback``
(``epoch: 0, step: 1, loss: 1.2345``), tqdm ``format_meter`` (bar frames), Python ``logging`` formats of both.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

MAX_PIECE = 64 * 1024
"""Bytes of a line or bar frame that are looked at; the rest is dropped."""

MAX_TEXT = 2000
"""Characters of a piece in which anything but a metric dict is looked for."""

NESTED = "\x1b[A"
"""tqdm writes it after each frame of a bar below another: an evaluation during training."""

_CONTROL = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI, cut short where the line ends
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?"  # OSC (titles, links)
    "|\x1b[ -/]*[0-~]?"
    "|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
RANK = re.compile(r"\[(?:rank|default)?(\d+)\]: ?|\(\w[\w .]{0,40} ?pid=\d+(?:, ip=[\d.]+)?\) ?")
HOST = re.compile(r"(\S{1,64}): (?=\{'|\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\||\*{5} |Traceback \(most recent)")
RECORD = re.compile(r"\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\|")
"""Begins a record of LLaMA-Factory (since v0.9.1) and of transformers, also in the middle of a line."""
OLD_RECORD = re.compile(
    r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d - (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) - (\S{1,200}) -(?: |$)"
)
"""A record of LLaMA-Factory up to v0.9.0."""
FILE_RECORD = re.compile(r"\[[A-Z]+\|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \w+\.py:\d+ >>")
"""A record of running_log.txt: a date, then a file name (the console has a module name)."""

_CLOCK = r"(?:(\d{1,6}):)?(\d{1,2}):(\d\d)"
_FRAME = re.compile(
    rf"\s{{0,8}}(\d{{1,3}})%\|[^|]{{0,500}}\|\s{{0,20}}(\d{{1,15}})/(\d{{1,15}}) \[{_CLOCK}<[^\]]{{0,100}}\]"
)
_NAMED = re.compile(
    r"([^|%]{1,120}?):?\s{1,8}\d{1,3}%\|[^|]{0,500}\|\s{0,20}(\d{1,15})/(\d{1,15}) \[[^\]]{0,100}\]"
    r"|([^|%]{1,120}?): (\d{1,15}) examples \[[^\]]{0,100}\]"
)
_ITEM = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.){1,200})'|"((?:[^"\\]|\\.){1,200})")\s*:\s*"""
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\w[\w.]*\([^()]*\)|[^,{}()\[\]'"]+)\s*([,}])"""
)
_WRAPPED = re.compile(r"\w[\w.]*\(([^(),]*)[^()]*\)")
_NUMBER = re.compile(r"[+-]?(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d{1,4}))?|[+-]?(?:nan|inf(?:inity)?)", re.I)
_V1_ROW = re.compile(r"(?:^|>> )(epoch: \d+, step: \d+, .+)$")
_DURATION = re.compile(r"(?:(\d{1,9}) days?, )?(\d{1,9}):(\d\d):(\d\d(?:\.\d+)?)")


_MAX_EPOCH = 10**9


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


def clean(text: str) -> str:
    """Drop escape sequences, control and bidi characters; a tab becomes a space."""
    return text if text.isprintable() else _CONTROL.sub("", text.replace("\t", " "))


def find_frame(text: str) -> Frame | None:
    """Return the progress bar frame at the beginning of ``text``, if it is whole (up to its ``]``)."""
    match = _FRAME.match(text)
    if match is not None:
        _, done, total, hours, minutes, seconds = match.groups()
        elapsed = float(int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds))
        return Frame("", int(done), int(total), elapsed, match.end())
    match = _NAMED.match(text)
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
        wrapped = _WRAPPED.fullmatch(text)
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
    match = _V1_ROW.search(text)
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
    if (clock := _DURATION.fullmatch(text)) is not None:
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


class StepEstimator:
    """The step of a row from its epoch, for logs without progress bars (running_log.txt).

    The trainer logs at multiples of ``logging_steps``, which is not printed: every number from 1 to 1000 that has
    explained all rows so far is kept, so a coarse epoch (two decimals) soon gives the exact step.
    """

    def __init__(self) -> None:
        self.steps_per_epoch: float | None = None
        self._start = 0
        self._rows = 0
        # With and without logging_first_step.
        self._every: tuple[list[int], list[int]] = ([], [])

    def begin(self, steps_per_epoch: float | None, start: int) -> None:
        """Begin a session of training at step ``start`` (0, or that of the checkpoint it resumes from)."""
        self.steps_per_epoch = steps_per_epoch
        self._start = start
        self._rows = 0
        self._every = (list(range(1, 1001)), list(range(2, 1001)))

    def window(self, epoch: Number | None) -> tuple[float, float] | None:
        """Return the lowest and the highest step that ``epoch`` can mean."""
        if epoch is None or self.steps_per_epoch is None or not 0 <= epoch.value < _MAX_EPOCH:
            return None
        # An int or one decimal in a dict of transformers 4 is a rounding to two.
        slack = min(epoch.tolerance, 0.005) * self.steps_per_epoch
        middle = epoch.value * self.steps_per_epoch
        # An epoch whose last accumulation is short counts up to one step differently.
        return middle - slack - 0.999, middle + slack + 0.999

    def row(self, epoch: Number | None) -> int | None:
        """Return the step of the next training row."""
        window = self.window(epoch)
        if window is None or epoch is None or self.steps_per_epoch is None:
            return None
        self._rows += 1
        plain, first = self._every
        self._every = (
            [n for n in plain if window[0] <= (self._start // n + self._rows) * n <= window[1]],
            [n for n in first if window[0] <= (self._first(n)) <= window[1]],
        )
        middle = epoch.value * self.steps_per_epoch
        plain, first = self._every
        if plain:
            best = min(
                plain, key=lambda n: (n % 10 != 0, n % 5 != 0, abs((self._start // n + self._rows) * n - middle))
            )
            return (self._start // best + self._rows) * best
        if first:
            best = min(first, key=lambda n: (n % 10 != 0, n % 5 != 0, abs(self._first(n) - middle)))
            return self._first(best)
        return max(1, round(middle))

    def _first(self, every: int) -> int:
        return self._start + 1 if self._rows == 1 else (self._start // every + self._rows - 1) * every
