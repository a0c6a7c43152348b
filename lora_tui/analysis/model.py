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
    own: bool = False
    """The user's own config.toml has set numbers of the rule."""


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
    over: bool = False
    """It was so from ``step`` to ``end_step`` and is no more: kept in the list, behind all others."""


@dataclass(frozen=True)
class Interval:
    """A number that is not known yet: where it most likely lies, and what it most likely is."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What is still to come. A part is ``None`` where the files do not carry it."""

    remaining_s: Interval | None = None
    """Seconds of training left, evaluations and saves counted in."""
    finish_at: Interval | None = None
    """Unix time of the last step."""
    final_loss: Interval | None = None
    """Train loss at the end: the median that the last window of rows will have."""
    reason: str = ""
    """Code of why there is no final loss (catalogue key ``forecast.reason.<code>``)."""


@dataclass(frozen=True)
class CheckpointChoice:
    """Which checkpoint to take, what another one costs, and what is at stake."""

    metric: str = ""
    """What "best" is measured by: eval_loss or the job's ``metric_for_best_model``; empty without an evaluation."""
    higher: bool = False
    """A higher value is better."""
    best_step: int | None = None
    """Step of the best evaluation."""
    best_value: float | None = None
    best_path: str | None = None
    """The checkpoint of that step, relative to the run; ``None``: not saved, not whole, or deleted."""
    best_gone: bool = False
    """It was saved once and is not there any more."""
    take_step: int | None = None
    take_path: str | None = None
    """The complete checkpoint to take now: the best of those on disk, else the newest."""
    take_value: float | None = None
    take_estimated: bool = False
    """``take_value`` is that of the nearest evaluation: there was none at its own step."""
    last_step: int | None = None
    last_path: str | None = None
    """The newest complete checkpoint."""
    last_value: float | None = None
    cost: float | None = None
    """How much worse the newest one is than the one to take, as a share of its value (0.02 = 2 %)."""
    deleted_by: int | None = None
    """Step of the save that will delete the one to take; ``None``: none will, or it is not known."""
    limit: int | None = None
    """How many checkpoints the trainer keeps (``save_total_limit``)."""
    limit_seen: bool = False
    """The limit is no option that was found: saves that are gone show it."""
    copy: str | None = None
    """A shell command that keeps the one to take, where it will be deleted."""
    next_save: int | None = None
    """Step of the next save, where known."""
    saves_left: int | None = None
    """Saves that are still to come, where known."""
    steps_at_risk: int | None = None
    seconds_at_risk: float | None = None
    """What would be lost if the run died now; ``None`` once it has ended well."""
    free_bytes: int | None = None
    """Free space where the run lies, when last looked at."""
    needed_bytes: int | None = None
    """What the next save takes, by the newest complete checkpoint."""
    model_bytes: int | None = None
    """What the final model takes in the root beside it."""


@dataclass(frozen=True)
class Judgement:
    """Ratings by metric and findings, the worst first; what is to come, and which checkpoint to take."""

    ratings: Mapping[str, Rating] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    forecast: Forecast = Forecast()
    choice: CheckpointChoice = CheckpointChoice()
