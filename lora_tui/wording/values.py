"""Format numbers, names and findings as the front ends write them: digits, units, symbols, quoting of file contents."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from lora_tui.analysis.judgement import Finding, Rating
from lora_tui.analysis.metrics import metric
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.text.numbers import count, fixed4, number
from lora_tui.text.sanitize import clean

LEVEL_SYMBOLS = {"excellent": "★", "good": "●", "fair": "▲", "poor": "✗"}
"""Level of a firm rating -> its symbol."""
HOLLOW_LEVEL_SYMBOLS = {"excellent": "☆", "good": "○", "fair": "△", "poor": "×"}
"""Level of a rating that is not firm (orientation, few samples) -> its symbol."""
SEVERITY_SYMBOLS = {"critical": "✗", "warning": "▲", "info": "·", "good": "●"}
"""Severity of a finding -> its symbol."""
METHOD_NAMES = {"lora": "LoRA", "qlora": "QLoRA", "dora": "DoRA", "oft": "OFT", "qoft": "QOFT"}
"""Fine-tuning method -> its usual spelling; other methods keep the name that the files give them."""
_SENTENCE_ENDS = frozenset(".。!！?？…")
_MARKUP = re.compile(r"[`*\[\]{}<>~!@#$&\\^\x00-\x1f\x7f]|://|www\.|^\s*(?:(?:[-+]|\d+[.)])(?:\s|$)|[-=_]+$)", re.I)


def badge(rating: Rating | None) -> str:
    """Return the rating's symbol: hollow where it is not firm, with ``!`` where a finding undermines the number."""
    if rating is None or rating.level is None:
        return "–"
    symbols = LEVEL_SYMBOLS if rating.confidence == "firm" else HOLLOW_LEVEL_SYMBOLS
    return symbols[rating.level] + ("!" if rating.reservations else "")


# -- numbers with units -----------------------------------------------------------------------------------------------


def format_metric(words: Words, name: str, value: float) -> str:
    """Return a value of the metric ``name`` with the number of digits that is usual for it, without its unit."""
    base = re.sub(r"^(?:eval|predict|train)_", "", name)
    if not math.isfinite(value):
        return words.number(value)
    if base in ("loss", "reward", "kl", "entropy") or base.endswith("_loss") or base.startswith("rewards/"):
        return fixed4(value)
    if base == "lr":
        return words.number(value, "lr") if abs(value) < 0.1 else number(value)
    if base in ("perplexity", "epoch", "throughput", "trainable_percent") or base.startswith(("bleu", "rouge")):
        return f"{value:.2f}"
    if base == "runtime" or base.endswith("_time"):
        return f"{value:.4g}"
    if base == "gap":
        return f"{value:+.1f}" if abs(value) < 1000 else f"{'+' if value > 0 else '-'}{count(abs(value))}"
    if base in ("total_tokens", "num_tokens", "num_input_tokens_seen"):
        return f"{value:,.0f}"
    return number(value)


def unit_name(words: Words, name: str) -> str | None:
    """Return the unit of the metric ``name`` in words, or ``None`` where it has none."""
    code = metric(name).unit
    return words.t(f"unit.{code}") if code and code != "0-100" else None


def format_with_unit(words: Words, name: str, value: float) -> str:
    """Return a value of the metric ``name`` with its unit."""
    return append_unit(words, format_metric(words, name, value), unit_name(words, name))


def append_unit(words: Words, text: str, unit: str | None) -> str:
    """Append a unit to a number, with a space where the language has one."""
    if unit is None:
        return text
    return f"{text}{unit}" if unit == "%" and words.lang == "zh" else f"{text} {unit}"


def format_share(words: Words, share: float, digits: int = 0) -> str:
    """Return a share (0.05) as a percentage (``5 %``, in Chinese ``5%``)."""
    return append_unit(words, f"{share * 100:.{digits}f}", "%")


# -- sentences --------------------------------------------------------------------------------------------------------


def capitalize(words: Words, text: str) -> str:
    """Begin ``text`` with a capital letter, except in Chinese and where it begins with an identifier (grad_norm)."""
    return text if words.lang == "zh" or "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def append_sentence(words: Words, text: str, sentence: str | None) -> str:
    """Append a sentence to ``text``, with a full stop between them if ``text`` does not end with one."""
    if not sentence:
        return text
    stop = "" if text.rstrip("`")[-1:] in _SENTENCE_ENDS else words.t("report.stop")
    gap = "" if words.lang == "zh" and (stop or not text[-1:].isascii()) else " "
    return f"{text}{stop}{gap}{sentence}"


def join_sentences(words: Words, *sentences: str) -> str:
    """Join complete sentences, leaving out empty ones."""
    return ("" if words.lang == "zh" else " ").join(sentence for sentence in sentences if sentence)


# -- text from files --------------------------------------------------------------------------------------------------


def may_be_markup(text: str) -> bool:
    """Return whether a part of ``text`` could be read as Markdown, HTML or an address."""
    return bool(_MARKUP.search(text))


def finding_texts(words: Words, finding: Finding) -> tuple[str, str]:
    """Return sentence and advice of a finding, with values from files in backticks unless they are plain words."""
    evidence = {key: _mark(key, value) if isinstance(value, str) else value for key, value in finding.evidence.items()}
    text, advice = words.finding(replace(finding, evidence=evidence))
    return _quote_marked(text), _quote_marked(advice)


_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private-use characters around a value that is to be quoted; they never leave this module."""


def _mark(key: str, value: str) -> str:
    """Return a value from a file without backticks, between the two marks if it has to be quoted."""
    value = value.replace("`", "'").replace(_OPEN, "").replace(_CLOSE, "")
    return f"{_OPEN}{value}{_CLOSE}" if key == "message" or may_be_markup(value) else value


def _quote_marked(text: str) -> str:
    """Turn the marks into backticks; inside backticks of the sentence itself drop them, as that is quoted already."""
    out, inside = [], False
    for char in text:
        inside = inside != (char == "`")
        if char not in (_OPEN, _CLOSE):
            out.append(char)
        elif not inside:
            out.append("`")
    return "".join(out)


def method_name(run: Run) -> str:
    """Return the run's fine-tuning method (LoRA, QLoRA, …), or an empty text if it is not known."""
    return METHOD_NAMES.get(run.method or "", run.method or "")


def model_name(run: Run) -> str:
    """Return the base model's name without the directories before it, or an empty text if it is not known."""
    return clean((run.model or "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])
