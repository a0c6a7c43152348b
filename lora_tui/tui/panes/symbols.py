"""Glyphs for states, ratings and findings, and values as cells show them. A glyph never stands without a word."""

from __future__ import annotations

import re

from lora_tui.analysis.model import Finding, Rating
from lora_tui.i18n import Words
from lora_tui.runs.run import Run, Status
from lora_tui.text.cells import cell_width
from lora_tui.text.numbers import count, fixed4, number
from lora_tui.text.sanitize import clean
from lora_tui.tui.styled_lines import Span
from lora_tui.wording.values import SEVERITY_SYMBOLS, badge, method_name

STATE = {
    "waiting": "○", "running": "●", "evaluating": "◐", "stalled": "◌", "interrupted": "◇", "failed": "✗",
    "stopped": "■", "finished": "✓",
}  # fmt: skip


def state_span(status: Status) -> Span:
    """The state's glyph in its colour."""
    return STATE[status.state], f"state-{status.state}"


def rating_span(rating: Rating) -> Span:
    """Return the rating's badge with the role of its level."""
    return badge(rating), f"rating-{rating.level or 'none'}"


def finding_span(finding: Finding) -> Span:
    """The severity's glyph in its colour; what is over is faint."""
    return SEVERITY_SYMBOLS[finding.severity], "faint" if finding.end_step is not None else finding.severity


def shown(metric: str, value: float | None) -> str:
    """A value with the digits that its metric is read with."""
    if value is None:
        return "–"
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "Inf" if value > 0 else "-Inf"
    base = metric.removeprefix("eval_").removeprefix("predict_")
    if base == "loss" or base.endswith("_loss"):
        return fixed4(value)
    if base in ("lr", "learning_rate"):
        return number(value, 3)
    if base in ("perplexity", "epoch") or base.startswith(("bleu", "rouge")):
        return f"{value:.2f}"
    if "tokens" in base:
        return count(value)
    if base == "gap":
        return f"{value:+.1f} %" if abs(value) < 1000 else f"{'+' if value > 0 else '-'}{count(abs(value))} %"
    return number(value)


def short_name(words: Words, metric: str) -> str:
    """The metric's name where there is little room."""
    key = f"card.{_CARD.get(metric, metric)}"
    return words.t(key) if words.has(key) else words.metric(metric)


_CARD = {
    "total_tokens": "tokens", "trainable_percent": "trainable", "rewards/margins": "margins",
    "rewards/accuracies": "accuracy", "eval_accuracy": "accuracy",
}  # fmt: skip


def verdict(words: Words, rating: Rating, room: int) -> str:
    """The short verdict; where it does not fit, the longest clause of it that does."""
    full = words.rating(rating)
    if cell_width(full) <= room:
        return full
    clauses = [part.strip() for part in re.split("[,，;；]", full)]
    fitting = [part for part in clauses if part and cell_width(part) <= room]
    return max(fitting, key=cell_width) if fitting else full


def error_text(message: str) -> str:
    """An exception's line without the packages its class lies in."""
    return re.sub(r"^(?:\w+\.)+(\w+)(?=:|$)", r"\1", clean(message))


def method_text(run: Run) -> str:
    """Method with rank and alpha, as LoRA users write it."""
    out = method_name(run)
    rank = run.config.get("lora_rank")
    alpha = run.config.get("lora_alpha")
    if out and rank is not None and run.method not in ("full", "freeze"):
        out += f" r{rank.value}"
        if alpha is not None:
            out += f" α{alpha.value}"
    return out
