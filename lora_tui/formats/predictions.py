r"""``generated_predictions.jsonl``: predictions beside labels, or the rewards of a reward model.

Source: LLaMA-Factory ``save_predictions`` of the sft and rm trainers. Lines are ``{"label", "predict"}`` up to v0.8.1,
``{"prompt", "label", "predict"}`` without a final newline up to v0.9.1, ``{"prompt", "predict", "label"}`` since; the
reward stage writes ``{"chosen", "rejected"}`` (numbers), also without a final newline. UTF-8, not escaped.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from lora_tui.formats.generated import echoes, ending, repeats
from lora_tui.formats.json_lines import LineSplitter, Problems, as_text, load_json
from lora_tui.records.documents import BadPrediction, LogRow, Predictions, Problem

SAMPLE_CHARACTERS = 500
"""Characters kept of each text of the sample."""
WORST_CHARACTERS = 200
"""The same of a prediction that looks wrong."""
WORST_OF_A_KIND = 2

_TEXT_KEYS = ("prompt", "predict", "label")
_REWARD_KEYS = ("chosen", "rejected")
Reason = Literal["empty", "repeats", "echo"]


class _Counts:
    """What was counted over the records so far."""

    def __init__(self) -> None:
        self.count = 0
        self.kind: Literal["text", "reward"] = "text"
        self.sample: dict[str, str] | None = None
        self.bad: dict[Reason, int] = {"empty": 0, "repeats": 0, "echo": 0}
        self.characters = 0
        self.label_characters = 0
        self.lengths: dict[int, int] = {}
        self.open_ends: dict[int, int] = {}
        self.open_labels: dict[int, int] = {}
        self.worst: list[BadPrediction] = []

    def add(self, record: dict[str, object], line: int) -> None:
        """Take in one record."""
        if self.sample is None:
            self.sample, self.kind = _sample_of(record), _kind_of(record)
        self.count += 1
        if "predict" not in record:
            return
        predict, label, prompt = (_text(record.get(key)) for key in ("predict", "label", "prompt"))
        self.characters += len(predict)
        self.label_characters += len(label)
        if label.strip() and (end := ending(label)).is_open:
            self.open_labels[end.bucket] = self.open_labels.get(end.bucket, 0) + 1
        if not predict.strip():
            self._bad("empty", line, prompt, predict, label)
            return
        end = ending(predict)
        self.lengths[end.bucket] = self.lengths.get(end.bucket, 0) + 1
        if end.is_open:
            self.open_ends[end.bucket] = self.open_ends.get(end.bucket, 0) + 1
        if repeats(predict) and not repeats(label):
            self._bad("repeats", line, prompt, predict, label)
        elif echoes(predict, prompt, label):
            self._bad("echo", line, prompt, predict, label)

    def _bad(self, reason: Reason, line: int, prompt: str, predict: str, label: str) -> None:
        self.bad[reason] += 1
        if self.bad[reason] <= WORST_OF_A_KIND:
            size = WORST_CHARACTERS
            texts = (as_text(prompt[-size:]), as_text(predict[:size]), as_text(label[:size]))
            self.worst.append(BadPrediction(line, reason, *texts))

    def copy(self) -> _Counts:
        """The same, to go on with on its own."""
        other = _Counts()
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, (dict, list)) else value)
        return other

    def freeze(self) -> Predictions:
        """As the record that others read."""
        return Predictions(
            count=self.count, empty=self.bad["empty"], kind=self.kind,
            sample=MappingProxyType(dict(self.sample)) if self.sample is not None else None,
            repeats=self.bad["repeats"], echoes=self.bad["echo"], characters=self.characters,
            label_characters=self.label_characters, lengths=MappingProxyType(dict(self.lengths)),
            open_ends=MappingProxyType(dict(self.open_ends)), open_labels=MappingProxyType(dict(self.open_labels)),
            worst=tuple(self.worst),
        )  # fmt: skip


class PredictionsParser:
    """Incremental parser of ``generated_predictions.jsonl`` (a ``StreamParser``): counts, keeps one sample and the
    first few predictions that look wrong. Its memory does not grow with the file.

    Problems: "not JSON", "not an object", "not a prediction", and a line of more than 4 MiB; such a line is skipped.
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._counts = _Counts()
        self._snapshot: Predictions | None = None

    def feed(self, data: bytes) -> list[LogRow]:
        """Count the lines that ``data`` completes; there are no rows, the list is empty. Never raises on content."""
        if data:
            self._snapshot = None
        for number, line in self._lines.feed(data):
            if not line.strip():
                continue
            record = _record(line)
            if isinstance(record, str):
                self._problems.add(number, record)
                continue
            self._counts.add(record, number)
        return []

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call, at most 20 and one that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> Predictions:
        """Return what is known so far, the same object until more is fed.

        A last line without a newline counts if it is a whole record.
        """
        if self._snapshot is None:
            last = self._lines.pending.strip()
            # Most lines in the middle of their writing do not end so: no need to parse them each time.
            record = _record(last) if last.endswith(b"}") else "unfinished"
            counts = self._counts
            if not isinstance(record, str):
                counts = counts.copy()
                counts.add(record, self._lines.next_line)
            self._snapshot = counts.freeze()
        return self._snapshot


def _record(line: bytes) -> dict[str, object] | str:
    """Return the record of a line, or the reason why there is none."""
    try:
        value = load_json(line.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(value, dict):
        return "not an object"
    if "predict" not in value and not all(key in value for key in _REWARD_KEYS):
        return "not a prediction"
    return value


def _kind_of(record: dict[str, object]) -> Literal["text", "reward"]:
    return "text" if "predict" in record else "reward"


def _sample_of(record: dict[str, object]) -> dict[str, str]:
    keys = _TEXT_KEYS if "predict" in record else _REWARD_KEYS
    return {key: as_text(_text(record[key])[:SAMPLE_CHARACTERS]) for key in keys if record.get(key) is not None}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) else ""
