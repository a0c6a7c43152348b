"""What a judgement takes from outside the run: the rules that apply, and other runs to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_tui.analysis.rating_rules import LR_RANGES, RULES, Rule
from lora_tui.runs.run import Run

SIBLINGS = 50
"""Siblings that are compared with at most, the newest: it bounds the cost."""


@dataclass(frozen=True)
class Context:
    """All that :func:`lora_tui.analysis.judge` needs besides a run and the time."""

    rules: Sequence[Rule] = RULES
    """Rating rules, with the user's own thresholds in them."""
    lr_ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=lambda: LR_RANGES)
    own_lr: frozenset[str] = frozenset()
    """Ranges of ``lr_ranges`` that the user has set, as ``language.adapter``."""
    off: frozenset[str] = frozenset()
    """Codes of findings that the user does not want to see; they are still looked for, since others depend on them."""
    siblings: Sequence[Run] = ()
    """Other runs of the same model, data and stage, newest first."""

    def rule(self, code: str) -> Rule | None:
        """Return the rule of a code, or None."""
        return next((rule for rule in self.rules if rule.code == code), None)


PLAIN = Context()
"""The rules as shipped, and no other runs."""
