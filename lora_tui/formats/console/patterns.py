"""Patterns of what trainers print: progress bar frames, metric dicts, numbers, and messages of a training job.

Sources: transformers ``ProgressCallback``/``PrinterCallback`` (metric dicts; numbers up to 4.57, ``%.4g`` strings from
5.0), LLaMA-Factory ``LogCallback`` (its dict line, ``.4f``/``2.4e``/``.2f``) and v1 ``LoggingCallback``
(``epoch: 0, step: 1, loss: 1.2345``), tqdm ``format_meter`` (bar frames). Messages: LLaMA-Factory
(``hparams/parser.py``, ``data/loader.py``, ``model/``, ``train/*/workflow.py``), transformers ``Trainer`` (header of
the training loop, ``save_model``, ``log_metrics``), jieba.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_CLOCK = r"(?:(\d{1,6}):)?(\d{1,2}):(\d\d)"
_FRAME = re.compile(
    rf"\s{{0,8}}(\d{{1,3}})%\|[^|]{{0,500}}\|\s{{0,20}}(\d{{1,15}})/(\d{{1,15}}) \[{_CLOCK}<[^\]]{{0,100}}\]"
)
# Patterns that most logs rarely need are strings: ``re`` compiles them at their first use and caches them.
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
    """A printed number and the precision of its printed form."""

    value: float
    digits: int
    """Number of significant digits."""
    tolerance: float
    """Half a unit of the last printed digit: the largest rounding error."""


class Frame(NamedTuple):
    """One frame of a progress bar."""

    name: str
    """Name before the bar; empty for the bars of training, evaluation and prediction."""
    done: int
    total: int | None
    elapsed_s: float | None
    end: int
    """Index in the text after the frame, where a record may follow without a line break."""


class ParsedDict(NamedTuple):
    """The numbers of a printed dict by key, and the index in the text after it."""

    numbers: dict[str, Number]
    end: int


def find_frame(text: str) -> Frame | None:
    """Return the progress bar frame at the start of ``text``, or None if there is no complete one (up to its ``]``)."""
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
    """Parse Python's text of a float or an int, also quoted or as ``np.float64(1.5)``; evaluates nothing."""
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


def may_be_equal(a: Number, b: Number) -> bool:
    """Return whether two printed numbers can be roundings of one value."""
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
    return abs(a.value - b.value) <= (a.tolerance + b.tolerance) * 1.001


def find_dict(text: str, start: int) -> ParsedDict | None:
    """Parse the dict whose ``{`` is at ``start``; return None if it is nested, incomplete or no dict.

    Leaves out values that are no numbers ("5.00%", ``None``), except that "10/720" under ``global_step/max_steps``
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
            return ParsedDict(numbers, at)
    return None


def find_v1_row(text: str) -> dict[str, Number] | None:
    """Return the numbers of a row of LLaMA-Factory's v1 trainer (``epoch: 0, step: 1, loss: 1.2345, …``), or None."""
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
    """Return the more precise of two roundings of one value, and ``new`` of two different values."""
    return old if old is not None and may_be_equal(old, new) and old.digits >= new.digits else new


# Kind of message, a text without which the pattern cannot match, and the pattern. Some twenty lines of a log match none
# of these for one that does, and a log has few of the kinds: ``re`` compiles a pattern when its text first occurs.
_MESSAGES = (
    ("running", "***** Running ", r"\*{5} Running (training|Evaluation|Prediction) \*{5}"),
    ("block", " metrics *****", r"\*{5} (\w{1,40}) metrics \*{5}"),
    (
        "header",
        " = ",
        r"^ {0,8}(Num examples|Num Epochs|Num update steps per epoch|Instantaneous batch size per device"
        r"|Total train batch size \([^)]*\)|Gradient Accumulation steps|Total optimization steps|Total training steps"
        r"|Num optimization epochs per batch|Number of trainable parameters|Batch size) = ([\d,.]+)",
    ),
    ("save", "Saving model checkpoint to ", r"Saving model checkpoint to (.+)"),
    ("figure", "Figure saved at: ", r"Figure saved at: (.+)"),
    ("prediction", "Saving prediction results to ", r"Saving prediction results to (.+)"),
    ("saved", " saved in ", r" saved in (.+)"),
    ("resumed", " global step ", r"Resuming training from checkpoint with epoch .* global step (\d+)"),
    ("resumed", "Continuing training from ", r"Continuing training from global step (\d+)"),
    ("resume", "Resuming training from ", r"Resuming training from (.+?)\.?$"),
    ("dataset", "Loading dataset ", r"Loading dataset (.+?)(?:\.\.\.|…)$"),
    ("rank", "Process rank: ", r"Process rank: (\d+),(?: world size: (\d+),)?.* compute dtype: ([\w.]+)"),
    ("tasks", " distributed tasks", r"Initializing (\d+) distributed tasks"),
    ("quantized", "Quantizing model to ", r"Quantizing model to (\d+) bit"),
    ("quantized", "-quantized model", r"Loading (\d+)-bit \S+-quantized model"),
    ("method", "Fine-tuning method: ", r"Fine-tuning method: (\w+)"),
    ("adapters", "Loaded adapter(s): ", r"Loaded adapter\(s\): (.+)"),
    (
        "trainable",
        "trainable params: ",
        r"trainable params: ([\d,]+) \|\| all params: ([\d,]+) \|\| trainable%: ([\d.]+)",
    ),
    ("all", "all params: ", r"^all params: ([\d,]+)$"),
    ("cache", "config.json from cache at ", r"loading configuration file config\.json from cache at (.+)"),
    ("model", "loading configuration file ", r"loading configuration file (.+?)[/\\]config\.json$"),
    ("weights", "loading weights file ", r"loading weights file "),
    ("weights", "KV cache is ", r"KV cache is "),
    ("weights", "Gradient checkpointing enabled", r"Gradient checkpointing enabled"),
    ("weights", "Upcasting trainable params", r"Upcasting trainable params"),
    ("maximum", "max_steps is given", r"max_steps is given, it will override"),
    ("done", "Training completed", r"Training completed\. Do not forget"),
    ("done", "Reached max_steps ", r"Reached max_steps \(\d+\), stopping training"),
    ("scoring", "Building prefix dict from ", r"Building prefix dict from "),
    ("scoring", "Loading model from cache ", r"Loading model from cache .*jieba"),
    ("card", "Dropping the following ", r"Dropping the following result as it does not have all the necessary fields"),
    ("dump", " example:", r"^(?:training|eval) example:$"),
)


class Message(NamedTuple):
    """A message of a training job.

    The groups of ``found`` by kind, from ``found[1]``:

    - running: "training", "Evaluation" or "Prediction" (a loop begins); block: split (a metric block begins)
    - header: name, count (a line below "Running …")
    - save, figure, prediction, saved, resume: path; resumed: step
    - dataset: name or file; model: path; cache: path of the model's configuration in the hub's cache
    - rank: rank, world size or None, dtype; tasks: number of processes of a distributed job
    - quantized: bits; method: finetuning_type; adapters: paths; trainable: trainable parameters, all parameters,
      percent; all: all parameters

    Kinds without groups: weights (the model is being loaded), maximum (max_steps overrides the epochs), done (training
    ended), scoring (metrics of predictions are computed), card (the model card is being written), dump (a training
    example is being printed).
    """

    kind: str
    """Kind of the message, one of those above."""
    found: re.Match[str]
    """Match of the kind's pattern."""


def find_message(text: str) -> Message | None:
    """Return the first message in ``text``, or None."""
    first: Message | None = None
    for kind, needed, pattern in _MESSAGES:
        if needed in text:
            found = re.search(pattern, text)
            if found is not None and (first is None or found.start() < first.found.start()):
                first = Message(kind, found)
    return first


def parse_count(text: str | None) -> int | None:
    """Parse a count of up to 20 digits (sys.maxsize for a streamed data set), with or without thousands separators."""
    digits = (text or "").replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= 20 else None
