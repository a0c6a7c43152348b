"""Numbers, names and findings as a report writes them: the digits, the badges, the quoting of what files say."""

from __future__ import annotations

import re
from dataclasses import replace

from lora_tui.analysis.metrics import metric
from lora_tui.analysis.model import Finding, Rating
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.text.numbers import count, fixed4, number
from lora_tui.text.sanitize import clean

FULL = {"excellent": "★", "good": "●", "fair": "▲", "poor": "✗"}
HOLLOW = {"excellent": "☆", "good": "○", "fair": "△", "poor": "×"}
SEVERITY = {"critical": "✗", "warning": "▲", "info": "·", "good": "●"}
METHODS = {"lora": "LoRA", "qlora": "QLoRA", "dora": "DoRA", "oft": "OFT", "qoft": "QOFT"}
_STOPS = frozenset(".。!！?？…")
_RISKY = re.compile(r"[`*\[\]{}<>~!@#$&\\^\x00-\x1f\x7f]|://|www\.|^\s*(?:(?:[-+]|\d+[.)])(?:\s|$)|[-=_]+$)", re.I)


def badge(rating: Rating | None) -> str:
    """A rating's shape: hollow where the ground is thin, with ``!`` where a finding undermines the number."""
    if rating is None or rating.level is None:
        return "–"
    return (FULL if rating.confidence == "firm" else HOLLOW)[rating.level] + ("!" if rating.reservations else "")


def shown(words: Words, name: str, value: float) -> str:
    """A value with the digits that its metric is read with, without its unit."""
    base = re.sub(r"^(?:eval|predict|train)_", "", name)
    if value != value or value in (float("inf"), float("-inf")):
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


def unit(words: Words, name: str) -> str | None:
    """The unit of a metric in words."""
    code = metric(name).unit
    return words.t(f"unit.{code}") if code and code != "0-100" else None


def with_unit(words: Words, name: str, value: float) -> str:
    """The value with its unit, as a sentence has it."""
    return joined(words, shown(words, name, value), unit(words, name))


def joined(words: Words, text: str, of: str | None) -> str:
    """A number and its unit in the habit of the language."""
    if of is None:
        return text
    return f"{text}{of}" if of == "%" and words.lang == "zh" else f"{text} {of}"


def percent(words: Words, share: float, digits: int = 0) -> str:
    """A share (0.05) as a percentage in the habit of the language."""
    return f"{share * 100:.{digits}f}{'%' if words.lang == 'zh' else ' %'}"


def capital(words: Words, text: str) -> str:
    """With a capital in front where the language has them, unless it is a name such as grad_norm."""
    return text if words.lang == "zh" or "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def follow(words: Words, text: str, then: str | None) -> str:
    """A sentence and the one after it, also where the first is a message that ends without a full stop."""
    if not then:
        return text
    stop = "" if text.rstrip("`")[-1:] in _STOPS else words.t("report.stop")
    gap = "" if words.lang == "zh" and (stop or not text[-1:].isascii()) else " "
    return f"{text}{stop}{gap}{then}"


def join(words: Words, *sentences: str) -> str:
    """Sentences one after the other."""
    return ("" if words.lang == "zh" else " ").join(sentence for sentence in sentences if sentence)


def risky(text: str) -> bool:
    """A form of the report might take a part of this text for markup or for an address."""
    return bool(_RISKY.search(text))


def finding_texts(words: Words, finding: Finding) -> tuple[str, str]:
    """Sentence and advice of a finding. What comes from files stands in backticks, unless it is a plain word."""
    evidence = {
        key: _marked(key, value) if isinstance(value, str) else value for key, value in finding.evidence.items()
    }
    text, advice = words.finding(replace(finding, evidence=evidence))
    return _quoted(text), _quoted(advice)


_OPEN, _CLOSE = "\ue000", "\ue001"


def _marked(key: str, value: str) -> str:
    """A value from a file without a backtick, between marks if it has to be quoted."""
    value = value.replace("`", "'").replace(_OPEN, "").replace(_CLOSE, "")
    return f"{_OPEN}{value}{_CLOSE}" if key == "message" or risky(value) else value


def _quoted(text: str) -> str:
    """Backticks for the marks, except inside backticks of the sentence itself, where a value is quoted already."""
    out, inside = [], False
    for char in text:
        inside = inside != (char == "`")
        if char not in (_OPEN, _CLOSE):
            out.append(char)
        elif not inside:
            out.append("`")
    return "".join(out)


def method_name(run: Run) -> str:
    """LoRA, QLoRA, …, empty where the files do not tell."""
    return METHODS.get(run.method or "", run.method or "")


def model_name(run: Run) -> str:
    """The base model without the directories before it, empty where the files do not tell."""
    return clean((run.model or "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])
