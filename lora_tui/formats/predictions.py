r"""``generated_predictions.jsonl``: predictions beside labels, or the rewards of a reward model.

Source: LLaMA-Factory ``save_predictions`` of the sft and rm trainers. Lines are ``{"label", "predict"}`` up to v0.8.1,
``{"prompt", "label", "predict"}`` without a final newline up to v0.9.1, ``{"prompt", "predict", "label"}`` since; the
reward stage writes ``{"chosen", "rejected"}`` (numbers), also without a final newline. UTF-8, not escaped.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from lora_tui.formats.lines import LineSplitter, Problems, as_text, load_json
from lora_tui.formats.records import LogRow, Predictions, Problem

SAMPLE_CHARACTERS = 500
"""Characters kept of each text of the sample."""

_TEXT_KEYS = ("prompt", "predict", "label")
_REWARD_KEYS = ("chosen", "rejected")


class PredictionsParser:
    """Incremental parser of ``generated_predictions.jsonl`` (a ``StreamParser``): counts, keeps one sample.

    Problems: "not JSON", "not an object", "not a prediction", and a line of more than 4 MiB; such a line is skipped.
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._count = 0
        self._empty = 0
        self._kind: Literal["text", "reward"] = "text"
        self._sample: dict[str, str] | None = None
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
            if self._sample is None:
                self._sample, self._kind = _sample_of(record), _kind_of(record)
            self._count += 1
            self._empty += _is_empty(record)
        return []

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call, at most 20 and one that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> Predictions:
        """Return what is known so far, the same object until more is fed.

        A last line without a newline counts if it is a whole record.
        """
        if self._snapshot is None:
            self._snapshot = self._make_snapshot()
        return self._snapshot

    def _make_snapshot(self) -> Predictions:
        count, empty, kind, sample = self._count, self._empty, self._kind, self._sample
        last = self._lines.pending.strip()
        # Most lines in the middle of their writing do not end so: no need to parse them each time.
        record = _record(last) if last.endswith(b"}") else "unfinished"
        if not isinstance(record, str):
            if sample is None:
                sample, kind = _sample_of(record), _kind_of(record)
            count += 1
            empty += _is_empty(record)
        return Predictions(count, empty, kind, MappingProxyType(sample) if sample is not None else None)


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


def _is_empty(record: dict[str, object]) -> bool:
    return "predict" in record and not _text(record["predict"]).strip()


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) else ""
