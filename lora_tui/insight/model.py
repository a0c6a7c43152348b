"""What a judgement is made of. Codes and numbers only: the words for them are in the catalogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["excellent", "good", "fair", "poor"]
Basis = Literal["self", "sibling", "base", "rule", "orientation"]
Confidence = Literal["firm", "orientation", "few"]
Severity = Literal["critical", "warning", "info", "good"]
Param = str | int | float


@dataclass(frozen=True)
class Rating:
    """How a number compares with its band; ``level`` is ``None`` where no comparison is fair, ``rule`` says why."""

    metric: str
    value: float
    level: Level | None
    basis: Basis
    confidence: Confidence
    rule: str
    """Code of the rule, which is also the wording key of its explanation."""
    words: str
    """Wording key of the short verdict ("converging", "close to the reference")."""
    params: Mapping[str, Param] = field(default_factory=dict)
    """Numbers for the wording."""
    reservations: tuple[str, ...] = ()
    """Codes of findings that undermine the number; they never change the level."""


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about a run. The wording key is the code."""

    code: str
    severity: Severity
    step: int | None = None
    """Where it began."""
    end_step: int | None = None
    """Where it ended, ``None`` while it lasts or where it is an event."""
    evidence: Mapping[str, Param] = field(default_factory=dict)
    variant: str = ""
    """Chooses between wordings of one code."""


@dataclass(frozen=True)
class Judgement:
    """Ratings by metric and findings, the worst first."""

    ratings: Mapping[str, Rating] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
