"""The inputs of a judgement besides the run: rules, settings of the user, and other runs to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_tui.analysis.rating_rules import LR_RANGES, RULES, Rule
from lora_tui.runs.run import Run

SIBLINGS = 50
"""Maximum number of siblings (the newest ones) that a run is compared with; it limits the time this takes."""


@dataclass(frozen=True)
class Context:
    """The inputs of :func:`lora_tui.analysis.judge` besides a run and the time."""

    rules: Sequence[Rule] = RULES
    """Rating rules, including the thresholds that the user has set."""
    lr_ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=lambda: LR_RANGES)
    """Usual peak learning rates (lowest, highest), by family of stages and by side, as in LR_RANGES."""
    own_lr: frozenset[str] = frozenset()
    """Entries of ``lr_ranges`` that the user has set, written as ``family.side`` (``language.adapter``)."""
    off: frozenset[str] = frozenset()
    """Codes of findings that the user has turned off; they are still searched for, since other findings use them."""
    siblings: Sequence[Run] = ()
    """Other runs of the same model, data and stage, newest first."""

    def rule(self, code: str) -> Rule | None:
        """Return the rule with this code, None if there is none."""
        return next((rule for rule in self.rules if rule.code == code), None)


PLAIN = Context()
"""The shipped rules without siblings."""
