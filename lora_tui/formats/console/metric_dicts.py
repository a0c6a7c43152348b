"""Metric dicts of a console log: find and classify them, and merge those of one logging event.

Sources: transformers ``ProgressCallback``/``PrinterCallback`` and LLaMA-Factory's ``LogCallback``, each of which prints
a dict of its own for an event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lora_tui.formats.console.patterns import Frame, Number, find_dict, may_be_equal, more_precise
from lora_tui.formats.console.text import MAX_TEXT
from lora_tui.formats.json_lines import MAX_METRICS, Problems
from lora_tui.formats.metric_names import METRIC_NAMES, add_accuracy
from lora_tui.records.documents import NO_VALUES, LogRow, RowKind

_MAX_DICTS = 8
"""Maximum number of dicts that are read from one line."""

_NOT_METRICS = frozenset({"epoch", "step", "total_steps", "percentage", "elapsed_time", "remaining_time"})
_CLOCKS = frozenset({"train_runtime", "train_tokens_per_second"})
_SUMMARY = frozenset({"train_loss", "total_flos"})
_TRAIN = frozenset({"loss", "reward", "learning_rate", "lr"})
_TRAIN_COMPANIONS = frozenset({"epoch", "step", "learning_rate", "grad_norm"})
"""Keys of which a training dict has at least one besides its loss; ``{'loss': 0.1}`` alone may be anything."""

_DICT_START = r"\{'(?:loss|eval_\w+|reward)':"
"""Match the start of a metric dict."""


class MetricDict(NamedTuple):
    """A metric dict and the kind of row that it logs."""

    kind: RowKind
    numbers: dict[str, Number]
    text: str
    """Text of the dict in the log."""


class MetricDictFinder:
    """Finds metric dicts in lines, also dicts that are split over two lines.

    A full buffer of stdout writes the first half of a dict, text of stderr follows, then the second half. Problems:
    "metric dict cut off", where the second half never comes.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._half: tuple[int, str] | None = None
        """Line number and text of the first half of a dict whose second half has not come yet."""

    def find(self, text: str, line: int) -> list[MetricDict] | None:
        """Return the metric dicts in ``text``, a line; None if there are none, an empty list for the half of one."""
        found: list[MetricDict] = []
        start = text.find("{'")
        for _ in range(_MAX_DICTS):
            if start < 0:
                break
            parsed = find_dict(text, start)
            if parsed is None:
                if "}" not in text[start:] and re.match(_DICT_START, text[start:]):
                    self._half = (line, text[start:][:MAX_TEXT])
                    return found
                start = text.find("{'", start + 2)
                continue
            kind = _classify(parsed.numbers)
            if kind is not None and len(parsed.numbers) <= MAX_METRICS:
                found.append(MetricDict(kind, parsed.numbers, text[start : parsed.end]))
                if self._half is not None:
                    self._problems.add(self._half[0], "metric dict cut off")
                    self._half = None
            start = text.find("{'", parsed.end)
        return found or None

    def join(self, text: str) -> list[MetricDict] | None:
        """Return the dict whose second half ``text`` is, or None if it is none."""
        if self._half is None or not text.endswith("}") or len(text) < 2 or text.lstrip().startswith("{"):
            return None
        half, self._half = self._half, None
        found = self.find(half[1] + text.lstrip(), half[0])
        if found is None:
            self._half = half
        return found


def metric_values(numbers: Mapping[str, Number]) -> dict[str, float]:
    """Return the metrics among ``numbers`` under the names that rows use."""
    return {METRIC_NAMES.get(key, key): number.value for key, number in numbers.items() if key not in _NOT_METRICS}


@dataclass
class LogEvent:
    """A logging event without a row yet, since only the bar frame that follows shows its step."""

    kind: RowKind
    numbers: dict[str, Number]
    from_record: bool
    """Whether it is LLaMA-Factory's own dict line, which transformers' dict of the same event follows."""
    line: str
    """Text of the dict in the log, after a line with the prefix of the rank or host that wrote it, if any."""
    buffered: bool
    """Whether stdout was buffered, so that the frames around the event belong to other steps.

    It is if no training frame lies between the event and the one before.
    """
    frame: Frame | None
    """The last training frame before the event."""

    def row(self, step: int | None, total: int | None, elapsed_s: float | None) -> LogRow:
        """Return the row of the event at ``step``; ``elapsed_s`` is the clock of the bar in seconds."""
        values = {} if self.kind == "mark" else metric_values(self.numbers)
        if self.kind == "train":
            for clock in _CLOCKS:
                values.pop(clock, None)
            add_accuracy(values)
        epoch = self.numbers.get("epoch")
        return LogRow(self.kind, step, values or NO_VALUES, total, None if epoch is None else epoch.value, elapsed_s)


class EventMerger:
    """Merges the dicts of one event: LLaMA-Factory's and transformers', and those of several hosts."""

    def __init__(self) -> None:
        self.waiting: LogEvent | None = None
        """Last event while it has no row yet, else None."""
        self._last: LogEvent | None = None
        """Last event that has a row, None before the first one of a training."""

    def merge(self, event: LogEvent) -> bool:
        """Return whether ``event`` is the same as the waiting event, or the last one where none waits.

        Merges its numbers into the waiting event.
        """
        twin = self.waiting or self._last
        if twin is None or not _same_event(twin, event):
            return False
        if twin is self.waiting:
            for key, number in event.numbers.items():
                twin.numbers[key] = more_precise(twin.numbers.get(key), number)
            twin.from_record = False
            twin.line = event.line
        return True

    def take(self) -> LogEvent | None:
        """Remove and return the waiting event, None if there is none."""
        event = self.waiting
        if event is not None:
            self.waiting = None
            self._last = event
        return event

    def restart(self) -> None:
        """Clear the last event, since another training begins."""
        self._last = None


def _classify(numbers: Mapping[str, Number]) -> RowKind | None:
    """Return the kind of row that a dict of numbers logs, or None if it is no metric dict."""
    if not _SUMMARY.isdisjoint(numbers):
        return "mark" if "epoch" in numbers or "train_runtime" in numbers else None
    if not _TRAIN.isdisjoint(numbers):
        return "train" if len(numbers) > 1 and not _TRAIN_COMPANIONS.isdisjoint(numbers) else None
    if any(key.startswith("eval_") for key in numbers):
        return "eval"
    return None


def _same_event(one: LogEvent, two: LogEvent) -> bool:
    """Return whether two dicts log one event: LLaMA-Factory's and transformers', or the same dict of two hosts."""
    if one.kind != two.kind:
        return False
    if one.from_record == two.from_record:
        if one.from_record:
            return False
        # Equal dicts of one writer are two events, in a run whose metrics no longer change.
        return one.line != two.line and one.line.rpartition("\n")[2] == two.line.rpartition("\n")[2]
    if one.kind != "train":
        return False
    shared = [key for key in ("epoch", "loss", "learning_rate", "reward") if key in one.numbers and key in two.numbers]
    return {"epoch", "loss"} <= set(shared) and all(may_be_equal(one.numbers[key], two.numbers[key]) for key in shared)
