"""Symbols of states, ratings and findings, and short names and values for the cells of panes.

A symbol is always shown with a word, since not every user can tell the shapes or the colours apart.
"""

from __future__ import annotations

import re

from lora_tui.analysis.judgement import Finding, Rating
from lora_tui.i18n import Words
from lora_tui.runs.run import Run, Status
from lora_tui.text.cells import cell_width
from lora_tui.text.numbers import count, fixed4, number
from lora_tui.text.sanitize import clean
from lora_tui.tui.styled_lines import Span
from lora_tui.wording.values import SEVERITY_SYMBOLS, badge, method_name

STATE_SYMBOLS = {
    "waiting": "○", "running": "●", "evaluating": "◐", "stalled": "◌", "interrupted": "◇", "failed": "✗",
    "stopped": "■", "finished": "✓",
}  # fmt: skip
"""State of a run -> its symbol, one cell wide."""


def state_span(status: Status) -> Span:
    """Return the symbol of a state with the role of its colour."""
    return STATE_SYMBOLS[status.state], f"state-{status.state}"


def rating_span(rating: Rating) -> Span:
    """Return the symbol of a rating with the role of its colour."""
    return badge(rating), f"rating-{rating.level or 'none'}"


def finding_span(finding: Finding) -> Span:
    """Return the symbol of a finding's severity with the role of its colour, faint where the finding is over."""
    return SEVERITY_SYMBOLS[finding.severity], "faint" if finding.end_step is not None else finding.severity


def format_cell(metric: str, value: float | None) -> str:
    """Return a value of ``metric`` with as few digits as a comparison needs; ``–`` for None.

    Reports show more digits: :func:`lora_tui.wording.values.format_metric`.
    """
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


def short_metric(words: Words, metric: str) -> str:
    """Return the name of a metric where there is little room."""
    key = f"card.{_CARD.get(metric, metric)}"
    return words.t(key) if words.has(key) else words.metric(metric)


_CARD = {
    "total_tokens": "tokens", "trainable_percent": "trainable", "rewards/margins": "margins",
    "rewards/accuracies": "accuracy", "eval_accuracy": "accuracy",
}  # fmt: skip


def short_rating(words: Words, rating: Rating, room: int) -> str:
    """Return the words of a rating, or the longest of their clauses that fits into ``room`` cells.

    Where none fits, all words are returned.
    """
    full = words.rating(rating)
    if cell_width(full) <= room:
        return full
    clauses = [part.strip() for part in re.split("[,，;；]", full)]
    fitting = [part for part in clauses if part and cell_width(part) <= room]
    return max(fitting, key=cell_width) if fitting else full


def short_error(message: str) -> str:
    """Return the last line of a traceback without the packages in front of the exception's class."""
    return re.sub(r"^(?:\w+\.)+(\w+)(?=:|$)", r"\1", clean(message))


def method_text(run: Run) -> str:
    """Return the fine-tuning method with rank and alpha, for example ``LoRA r8 α16``."""
    out = method_name(run)
    rank = run.config.get("lora_rank")
    alpha = run.config.get("lora_alpha")
    if out and rank is not None and run.method not in ("full", "freeze"):
        out += f" r{rank.value}"
        if alpha is not None:
            out += f" α{alpha.value}"
    return out
