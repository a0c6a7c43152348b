r"""``generated_predictions.jsonl``: predictions beside labels, or the rewards of a reward model.

Source: LLaMA-Factory ``save_predictions`` of the sft and rm trainers. Lines are ``{"label", "predict"}`` up to v0.8.1,
``{"prompt", "label", "predict"}`` without a final newline up to v0.9.1, ``{"prompt", "predict", "label"}`` since; the
reward stage writes ``{"chosen", "rejected"}`` (numbers), also without a final newline. UTF-8, not escaped.
"""

from __future__ import annotations

import math
import re
from copy import deepcopy
from types import MappingProxyType
from typing import Literal, NamedTuple

from lora_tui.formats.json_lines import LineSplitter, Problems, as_text, load_json
from lora_tui.records.documents import BadPrediction, LogRow, Predictions, Problem

SAMPLE_CHARACTERS = 500
"""Number of characters kept of each text of the sample."""
BAD_CHARACTERS = 200
"""Number of characters kept of each text of a prediction that looks wrong."""
MAX_BAD_PER_REASON = 2
"""Number of predictions kept as examples of each kind of defect."""

_TEXT_KEYS = ("prompt", "predict", "label")
_REWARD_KEYS = ("chosen", "rejected")
Reason = Literal["empty", "repeats", "echo"]

NGRAM = 8
"""Number of words (or characters) in a phrase that is searched for repetitions."""
MIN_TIMES = 5
"""Number of times that a phrase must occur in a text that counts as a loop."""
TAIL_CHARACTERS = 6000
"""Number of characters at the end of a text that are searched for a loop, which always goes on to the end."""
PROBES = 12
"""Number of evenly spaced places at which a phrase is taken from a text."""
MIN_HITS = 2
"""Number of the PROBES whose phrase must be repeated in a text that counts as a loop.

A phrase that belongs to the subject (the name of a court in a judgment) is hit by one probe at most."""
MIN_RUN = 40
"""Number of equal characters in a row that count as a loop too ("!!!!!!", which broken weights often generate)."""
MIN_ECHO = 8
"""Length in characters of the shortest prediction that counts as an echo; a shorter one may end a prompt by chance."""
MAX_TEMPLATE = 120
"""Length in characters of the longest chat template that may follow the question in a prompt."""

_ENDS = frozenset(".!?。！？…\"'”’」』）)]}】》>`*|~～;；:：")
"""Characters that end a sentence, a code block or a quotation."""
_BEFORE = frozenset("\n>]:：")
"""Characters after which the question may begin in a prompt."""
_AFTER = re.compile(
    r"(?:<[^<>\n]{1,40}>|\[/?[A-Z]{1,8}\]|#|\s|assistant|response|model|gpt|助手|回答|[:：])*", re.IGNORECASE
)
"""Match the text that chat templates put between a question and its answer."""
_CHARACTER_RUN = re.compile(rf"(\S)\1{{{MIN_RUN - 1}}}")


class Ending(NamedTuple):
    """Length of a text, and whether it ends in the middle of a sentence."""

    bucket: int
    """Estimated number of tokens, rounded to 5 %."""
    is_open: bool
    """Whether the last character ends no sentence, code block or quotation."""


class _Counts:
    """Counts over the records of a file so far."""

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
        """Count one record, which is on line ``line`` (from 1)."""
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
            self._add_bad("empty", line, prompt, predict, label)
            return
        end = ending(predict)
        self.lengths[end.bucket] = self.lengths.get(end.bucket, 0) + 1
        if end.is_open:
            self.open_ends[end.bucket] = self.open_ends.get(end.bucket, 0) + 1
        if is_repetitive(predict) and not is_repetitive(label):
            self._add_bad("repeats", line, prompt, predict, label)
        elif echoes_prompt(predict, prompt, label):
            self._add_bad("echo", line, prompt, predict, label)

    def _add_bad(self, reason: Reason, line: int, prompt: str, predict: str, label: str) -> None:
        """Count a prediction that looks wrong; keep the first few of each kind."""
        self.bad[reason] += 1
        if self.bad[reason] <= MAX_BAD_PER_REASON:
            size = BAD_CHARACTERS
            texts = (as_text(prompt[-size:]), as_text(predict[:size]), as_text(label[:size]))
            self.worst.append(BadPrediction(line, reason, *texts))

    def freeze(self) -> Predictions:
        """Return an immutable copy as a :class:`Predictions` record."""
        return Predictions(
            count=self.count, empty=self.bad["empty"], kind=self.kind,
            sample=MappingProxyType(dict(self.sample)) if self.sample is not None else None,
            repeats=self.bad["repeats"], echoes=self.bad["echo"], characters=self.characters,
            label_characters=self.label_characters, lengths=MappingProxyType(dict(self.lengths)),
            open_ends=MappingProxyType(dict(self.open_ends)), open_labels=MappingProxyType(dict(self.open_labels)),
            worst=tuple(self.worst),
        )  # fmt: skip


class PredictionsParser:
    """Incremental parser of ``generated_predictions.jsonl`` (a ``StreamParser``).

    Counts records and keeps one sample and the first few predictions that look wrong; its memory does not grow with the
    file. Problems: "not JSON", "not an object", "not a prediction", and a line of more than 4 MiB; such a line is
    skipped.
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._lines = LineSplitter(self._problems)
        self._counts = _Counts()
        self._snapshot: Predictions | None = None

    def feed(self, data: bytes) -> list[LogRow]:
        """Count the lines that ``data`` completes. Return an empty list, since there are no rows. Never raises."""
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
        """Return the problems since the last call: at most 20, and one more that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> Predictions:
        """Return the counts so far; the same object until more is fed.

        Counts a last line without a newline if it is a complete record.
        """
        if self._snapshot is None:
            last = self._lines.pending.strip()
            # Most lines that are still being written do not end in a brace, and need not be parsed each time.
            record = _record(last) if last.endswith(b"}") else "unfinished"
            counts = self._counts
            if not isinstance(record, str):
                counts = deepcopy(counts)
                counts.add(record, self._lines.next_line)
            self._snapshot = counts.freeze()
        return self._snapshot


def _record(line: bytes) -> dict[str, object] | str:
    """Parse one line; return the record, or a string with the reason why it is none."""
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


def is_repetitive(text: str) -> bool:
    """Return whether a text is a loop: one phrase of 8 words (or characters) occurs 5 times, or a character 40 times.

    The phrase may occur anywhere in the last 6000 characters; the 40 characters must be in a row. Only a bounded part
    of the text is read, mostly in compiled code, so that a file of 100 MB takes seconds.
    """
    text = text[-TAIL_CHARACTERS:]
    if len(text) < MIN_RUN:
        return False
    if _CHARACTER_RUN.search(text):
        return True
    words = text.split()
    # Chinese and Japanese have no spaces, and some loops have none either.
    by_word = len(words) * 12 > len(text)
    size, joint = (len(words), " ") if by_word else (len(text), "")
    if size < NGRAM * MIN_TIMES:
        return False
    plain = " ".join(words) if by_word else text
    last, hits = size - NGRAM, 0
    for probe in range(PROBES):
        start = last * probe // (PROBES - 1)
        gram = joint.join(words[start : start + NGRAM]) if by_word else text[start : start + NGRAM]
        # Rules and rows of a table repeat as well, but hold few letters.
        if sum(map(str.isalnum, gram)) >= NGRAM // 2 and plain.count(gram) >= MIN_TIMES:
            hits += 1
    return hits >= MIN_HITS


def echoes_prompt(text: str, prompt: str, label: str) -> bool:
    """Return whether ``text`` repeats the end of ``prompt``, before its chat template, although ``label`` differs."""
    text = text.strip()
    if len(text) < MIN_ECHO or not prompt:
        return False
    at = prompt.rfind(text, max(0, len(prompt) - len(text) - MAX_TEMPLATE))
    if at < 0 or text == label.strip():
        return False
    before = prompt[:at].rstrip(" ")[-1:]
    return (not before or before in _BEFORE) and _AFTER.fullmatch(prompt, at + len(text)) is not None


def ending(text: str) -> Ending:
    """Return the length and the kind of ending of ``text``, which must not be blank."""
    text = text.rstrip()
    wide = (len(text.encode("utf-8", "replace")) - len(text)) // 2
    tokens = max(1.0, 0.65 * wide + 0.25 * (len(text) - wide))
    return Ending(token_bucket(tokens), text[-1:] not in _ENDS)


def token_bucket(tokens: float) -> int:
    """Round a number of tokens to a power of 1.05, so that a count by length has few entries whatever the texts."""
    return round(1.05 ** round(math.log(max(1.0, tokens), 1.05)))
