"""Runs whose numbers lie on either side of a bound, and their ratings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.model import Rating
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow
from tests.support.run_builder import START, run_of, train

SOON, LATER = START + 5, START + 100_000
SFT = {"stage": "sft", "finetuning_type": "lora"}


def rows_of(losses: Sequence[float], total: int | None = None, **more: Any) -> list[LogRow]:
    """Rows of 10 steps each; ``more``: other metrics, each a list as long as the losses or one number."""
    out = []
    for i, loss in enumerate(losses):
        extra = {name: given[i] if isinstance(given, list) else given for name, given in more.items()}
        out.append(train(10 * (i + 1), loss, total or 10 * len(losses), **extra))
    return out


def of(
    rows: Sequence[LogRow],
    config: Mapping[str, Any] = SFT,
    findings: Collection[str] = (),
    context: Context = PLAIN,
    now: float = SOON,
    **more: Any,
) -> dict[str, Any]:
    return rate(run_of(rows, config=config, **more), now, findings, context)


def said(rating: Rating) -> tuple[str | None, str, str]:
    return rating.level, rating.words, rating.confidence


def measured(step: int, values: Mapping[str, float], total: int = 800) -> LogRow:
    """The row of an evaluation that tells all of its metrics."""
    return LogRow("eval", step, values, total, 3.0 * step / total, float(step))
