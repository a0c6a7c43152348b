"""What a rating rule is: the metrics and runs that it applies to, its numbers, where these come from, its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lora_tui.analysis.model import Basis, Confidence, Level

LEVELS: tuple[Level, ...] = ("excellent", "good", "fair", "poor")
COUNTS = frozenset({"min_rows", "fair_rows", "min_values", "rows", "pairs", "window", "evals", "warm"})
"""Limits that count rows, values, steps or samples: whole numbers."""


@dataclass(frozen=True)
class Bands:
    """Bounds of excellent, good and fair, in the metric's unit; what lies beyond is poor. ``None``: no such level."""

    excellent: float | None
    good: float
    fair: float
    higher: bool = True
    """Higher is better, and a bound belongs to the better level; else lower is better."""
    closed: bool = False
    """With ``higher=False``: the bound itself still belongs to the better level."""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, the best level first."""
        known = {"excellent": self.excellent, "good": self.good, "fair": self.fair}
        return {name: bound for name, bound in known.items() if bound is not None}

    def level(self, value: float) -> Level:
        """The level of a value."""
        for name, bound in zip(LEVELS, (self.excellent, self.good, self.fair), strict=False):
            if bound is None:
                continue
            if value >= bound if self.higher else (value <= bound if self.closed else value < bound):
                return name
        return "poor"


@dataclass(frozen=True)
class Rule:
    """How one kind of metric is rated."""

    code: str
    metrics: tuple[str, ...]
    sources: tuple[str, ...]
    """Where the numbers come from: codes of SOURCES, whose words are ``source.<code>``."""
    basis: Basis = "rule"
    confidence: Confidence = "firm"
    """The best that this rule can reach."""
    stages: frozenset[str] | None = None
    """``None``: every stage."""
    producers: frozenset[str] | None = None
    """``None``: every producer. A prefix such as ``llamafactory`` covers its versions."""
    bands: Bands | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of a rule that is more than bands."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Level, or the name of a case, -> wording code of the short verdict (catalogue key ``rating.<code>``)."""
    order: tuple[str, ...] = ()
    """Limits of which none may be below the one before it."""
    own: bool = False
    """Numbers of the user's own config.toml are in it."""

    @property
    def numbers(self) -> Mapping[str, float]:
        """All numbers of the rule by name: the bounds that it has, then its limits."""
        return {**(self.bands.bounds if self.bands is not None else {}), **self.limits}

    def applies(self, stage: str | None, producer: str) -> bool:
        """The rule may be used for a run of this stage and producer."""
        if self.producers is not None and not any(producer.startswith(name) for name in self.producers):
            return False
        return self.stages is None or stage in self.stages


def in_order(*codes: str) -> Mapping[str, str]:
    """Wording codes by level, the best first."""
    return MappingProxyType(dict(zip(LEVELS, codes, strict=True)))
