"""What a judgement takes from outside the run: the rules that apply and the other runs to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_tui.insight.bands import LR_RANGES, RULES, Rule
from lora_tui.run import Run


@dataclass(frozen=True)
class Context:
    """Everything that :func:`lora_tui.insight.judge` needs beside a run and the time."""

    rules: Sequence[Rule] = RULES
    """The rules with the user's own bounds in them."""
    lr_ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=lambda: LR_RANGES)
    siblings: Sequence[Run] = ()
    """Other runs of the same model, data and stage, newest first."""


PLAIN = Context()
"""The rules as shipped, no other runs."""
