"""The parts of a judgement. Codes and numbers only: the words for them are in the catalogues."""

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
    """How a number compares with the thresholds of its rule. ``level`` is None where no comparison is fair; ``words``
    then says why."""

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
    """Whether the user's config.toml has set numbers of the rule."""


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about a run. Its words are ``finding.<code>`` in the catalogues."""

    code: str
    severity: Severity
    step: int | None = None
    """Step at which it began."""
    end_step: int | None = None
    """Step at which it ended; None while it lasts, and for an event."""
    evidence: Mapping[str, Param] = field(default_factory=dict)
    """Numbers and names for the wording."""
    variant: str = ""
    """Suffix that chooses between wordings of one code."""
    over: bool = False
    """Whether it held from ``step`` to ``end_step`` and no longer does: it is listed behind all others."""


@dataclass(frozen=True)
class Interval:
    """A number that is not known yet: where it most likely lies, and its most likely value."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What is still to come. A part is None where the files do not say enough."""

    remaining_s: Interval | None = None
    """Seconds of training left, with evaluations and saves."""
    finish_at: Interval | None = None
    """Unix time of the last step."""
    final_loss: Interval | None = None
    """Train loss at the end: the median of the last window of rows, in nats per token for language models."""
    reason: str = ""
    """Code of why there is no final loss (catalogue key ``forecast.reason.<code>``)."""


@dataclass(frozen=True)
class CheckpointChoice:
    """Which checkpoint to take, what another one costs, and what is at risk."""

    metric: str = ""
    """Metric that "best" is measured by: eval_loss or the job's ``metric_for_best_model``; empty without an
    evaluation."""
    higher: bool = False
    """Whether a higher value is better."""
    best_step: int | None = None
    """Step of the best evaluation."""
    best_value: float | None = None
    best_path: str | None = None
    """Checkpoint of that step, relative to the run; None if it was not saved, is not complete, or was deleted."""
    best_gone: bool = False
    """Whether it was saved once and is no longer there."""
    take_step: int | None = None
    take_path: str | None = None
    """Complete checkpoint to take now: the best of those on disk, else the newest."""
    take_value: float | None = None
    take_estimated: bool = False
    """Whether ``take_value`` is that of the nearest evaluation, since there was none at its own step."""
    last_step: int | None = None
    last_path: str | None = None
    """Newest complete checkpoint."""
    last_value: float | None = None
    cost: float | None = None
    """How much worse the newest one is than the one to take, as a share of its value (0.02 = 2 %)."""
    deleted_by: int | None = None
    """Step of the save that will delete the checkpoint to take; None if none will, or it is not known."""
    limit: int | None = None
    """Number of checkpoints that the trainer keeps (``save_total_limit``)."""
    limit_seen: bool = False
    """Whether the limit was inferred from saves that are gone, not read from an option."""
    copy: str | None = None
    """Shell command that keeps the checkpoint to take, where it will be deleted."""
    next_save: int | None = None
    """Step of the next save, where known."""
    saves_left: int | None = None
    """Saves that are still to come, where known."""
    steps_at_risk: int | None = None
    seconds_at_risk: float | None = None
    """Seconds of training that would be lost if the run died now; None once it has ended well."""
    free_bytes: int | None = None
    """Free bytes on the disk of the run, when last looked at."""
    needed_bytes: int | None = None
    """Bytes of the next save, by the newest complete checkpoint."""
    model_bytes: int | None = None
    """Bytes of the final model in the root beside it."""


@dataclass(frozen=True)
class Judgement:
    """Ratings by metric name; findings, the worst first; the forecast; and which checkpoint to take."""

    ratings: Mapping[str, Rating] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    forecast: Forecast = Forecast()
    choice: CheckpointChoice = CheckpointChoice()
