"""Logging events of a console log: metric dicts, what they log, and which of them tell the same event.

Sources: transformers ``ProgressCallback``/``PrinterCallback`` and LLaMA-Factory's ``LogCallback``, each of which prints
an event in a dict of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lora_tui.formats.console.patterns import Frame, Number, find_dict, more_precise, same
from lora_tui.formats.console.text import MAX_TEXT
from lora_tui.formats.json_lines import MAX_METRICS, Problems
from lora_tui.records.documents import NOTHING, LogRow, RowKind

_MAX_DICTS = 8
"""Dicts looked for in one line."""

_NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}
_NOT_METRICS = frozenset({"epoch", "step", "total_steps", "percentage", "elapsed_time", "remaining_time"})
_CLOCKS = frozenset({"train_runtime", "train_tokens_per_second"})
_SUMMARY = frozenset({"train_loss", "total_flos"})
_TRAIN = frozenset({"loss", "reward", "learning_rate", "lr"})
_BESIDE = frozenset({"epoch", "step", "learning_rate", "grad_norm"})
"""A training dict has one of these beside its loss; ``{'loss': 0.1}`` alone may be anything."""

_BEGINS = r"\{'(?:loss|eval_\w+|reward)':"


class Metrics(NamedTuple):
    """A metric dict."""

    kind: RowKind
    numbers: dict[str, Number]
    text: str
    """As it stands in the log."""


class MetricDicts:
    """Finds metric dicts, also one of which a full stdout buffer brought only the first half before text of stderr.

    Problems: "metric dict cut off", where the second half never came.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._half: tuple[int, str] | None = None

    def find(self, text: str, line: int) -> list[Metrics] | None:
        """Return the metric dicts in ``text``, ``None`` if there are none; empty if there is but half a one."""
        found: list[Metrics] = []
        start = text.find("{'")
        for _ in range(_MAX_DICTS):
            if start < 0:
                break
            parsed = find_dict(text, start)
            if parsed is None:
                if "}" not in text[start:] and re.match(_BEGINS, text[start:]):
                    self._half = (line, text[start:][:MAX_TEXT])
                    return found
                start = text.find("{'", start + 2)
                continue
            kind = _classify(parsed.numbers)
            if kind is not None and len(parsed.numbers) <= MAX_METRICS:
                found.append(Metrics(kind, parsed.numbers, text[start : parsed.end]))
                if self._half is not None:
                    self._problems.add(self._half[0], "metric dict cut off")
                    self._half = None
            start = text.find("{'", parsed.end)
        return found or None

    def join(self, text: str) -> list[Metrics] | None:
        """Return the dict of which ``text`` is the second half."""
        if self._half is None or not text.endswith("}") or len(text) < 2 or text.lstrip().startswith("{"):
            return None
        half, self._half = self._half, None
        found = self.find(half[1] + text.lstrip(), half[0])
        if found is None:
            self._half = half
        return found


def metric_values(numbers: Mapping[str, Number]) -> dict[str, float]:
    """Return the metrics among ``numbers`` under the names of a row."""
    return {_NAMES.get(key, key): number.value for key, number in numbers.items() if key not in _NOT_METRICS}


@dataclass
class Event:
    """A logging event whose row has not been made yet: the bar frame behind it will show its step."""

    kind: RowKind
    numbers: dict[str, Number]
    from_record: bool
    """LLaMA-Factory's own dict line, which transformers' dict of the same event follows."""
    line: str
    """The dict as it stands in the log, in a line below the prefix of the rank or host that wrote it."""
    glued: bool
    """No training frame since the event before: stdout was buffered, and the frames beside it are of other steps."""
    frame: Frame | None
    """The training frame before it."""

    def row(self, step: int | None, total: int | None, elapsed_s: float | None) -> LogRow:
        """Return its row."""
        values = {} if self.kind == "mark" else metric_values(self.numbers)
        if self.kind == "train":
            for clock in _CLOCKS:
                values.pop(clock, None)
            if "rewards/accuracies" in values:
                values.setdefault("accuracy", values["rewards/accuracies"])
        epoch = self.numbers.get("epoch")
        return LogRow(self.kind, step, values or NOTHING, total, None if epoch is None else epoch.value, elapsed_s)


class EventQueue:
    """The one event that waits, and the one before it: what tells either once more adds no event."""

    def __init__(self) -> None:
        self.waiting: Event | None = None
        self._last: Event | None = None

    def merge(self, event: Event) -> bool:
        """Whether ``event`` is known already; the one that waits takes its numbers where they are more precise."""
        twin = self.waiting or self._last
        if twin is None or not _same_event(twin, event):
            return False
        if twin is self.waiting:
            for key, number in event.numbers.items():
                twin.numbers[key] = more_precise(twin.numbers.get(key), number)
            twin.from_record = False
            twin.line = event.line
        return True

    def take(self) -> Event | None:
        """Return the event that waits; it waits no more."""
        event = self.waiting
        if event is not None:
            self.waiting = None
            self._last = event
        return event

    def forget(self) -> None:
        """Forget the event before: another training begins."""
        self._last = None


def _classify(numbers: Mapping[str, Number]) -> RowKind | None:
    """Tell what a dict of numbers logs, ``None`` if it is no metric dict."""
    if not _SUMMARY.isdisjoint(numbers):
        return "mark" if "epoch" in numbers or "train_runtime" in numbers else None
    if not _TRAIN.isdisjoint(numbers):
        return "train" if len(numbers) > 1 and not _BESIDE.isdisjoint(numbers) else None
    if any(key.startswith("eval_") for key in numbers):
        return "eval"
    return None


def _same_event(one: Event, two: Event) -> bool:
    """Whether two dicts tell one event: LLaMA-Factory's line and transformers', or copies of several hosts."""
    if one.kind != two.kind:
        return False
    if one.from_record == two.from_record:
        if one.from_record:
            return False
        # Two equal dicts of one writer are two events of a dead run.
        return one.line != two.line and one.line.rpartition("\n")[2] == two.line.rpartition("\n")[2]
    if one.kind != "train":
        return False
    shared = [key for key in ("epoch", "loss", "learning_rate", "reward") if key in one.numbers and key in two.numbers]
    return {"epoch", "loss"} <= set(shared) and all(same(one.numbers[key], two.numbers[key]) for key in shared)
