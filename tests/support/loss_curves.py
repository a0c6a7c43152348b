"""Make loss curves for tests of findings, and return the findings in them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from lora_tui.analysis.findings.find import find
from lora_tui.i18n import Words
from lora_tui.records.documents import ConfigValue, LogRow
from lora_tui.runs.run import Run
from tests.support.run_builder import START, evaluation, run_of, train

SFT: dict[str, ConfigValue] = {"stage": "sft", "finetuning_type": "lora", "learning_rate": 1e-4}
SOON, LATER = START + 5, START + 100_000


def noisy_losses(level: Callable[[float], float], count: int, noise: float = 0.05, seed: int = 1) -> list[float]:
    """Return ``count`` losses with lognormal noise around ``level``, a function of the share of the rows (0 to 1)."""
    rng = random.Random(seed)
    return [level((i + 1) / count) * math.exp(rng.gauss(0, noise)) for i in range(count)]


def falling_loss(share: float) -> float:
    """Return the loss at a share of the run: from 2.5 to 1, as fine-tuning does."""
    return 1 + 1.5 * math.exp(-5 * share)


def rows_of(losses: Sequence[float], *, epochs: float = 1.0, total: int | None = None, **more: float) -> list[LogRow]:
    """Return one row for each 10 steps, with a learning rate that warms up and decays linearly."""
    count = total or 10 * len(losses)
    return [
        train(step, loss, count, epochs=epochs, lr=1e-4 * min(step / (0.05 * count), 1 - 0.9 * step / count), **more)
        for step, loss in ((10 * (i + 1), value) for i, value in enumerate(losses))
    ]


def with_evals(rows: Sequence[LogRow], values: Sequence[float], *, epochs: float = 1.0) -> list[LogRow]:
    """Add evaluations spread evenly over the rows, the last one at the end."""
    total = rows[-1].total_steps or 0
    steps = [round((i + 1) * len(rows) / len(values)) * 10 for i in range(len(values))]
    evals = [evaluation(step, value, total, epochs=epochs) for step, value in zip(steps, values, strict=True)]
    return sorted([*rows, *evals], key=lambda row: (row.step or 0, row.kind != "train"))


def find_finding(run: Run, code: str, now: float = SOON) -> Any:
    """Return the finding of this code, preferably one that is not over, or None.

    Check that its texts are complete in both languages.
    """
    named = [one for one in find(run, now) if one.code == code]
    assert len([one for one in named if not one.over]) <= 1, named
    for one in named:
        for lang in ("en", "zh"):
            words = Words(lang)
            for text in (words.finding_name(one), *words.finding(one)):
                assert text
                assert "{" not in text, text
                assert not text.startswith("finding.")
    return named[0] if named else None


def the_finding(run: Run, code: str, now: float = SOON) -> Any:
    """Return the finding of this code, which must be there."""
    one = find_finding(run, code, now)
    assert one is not None, [other.code for other in find(run, now)]
    return one


def sft_run(rows: Sequence[LogRow], **more: object) -> Run:
    """Return an sft run of these rows."""
    return run_of(rows, config=SFT, **more)  # type: ignore[arg-type]


def warning_codes(run: Run, now: float = SOON) -> list[str]:
    """Return the codes of the critical findings and warnings about the curves.

    ``work_at_risk`` is left out, since these runs save nothing.
    """
    return [
        one.code for one in find(run, now) if one.severity in ("critical", "warning") and one.code != "work_at_risk"
    ]
