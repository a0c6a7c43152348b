"""The parts of a judgement: codes and numbers only. The words for them are in the catalogues."""

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
    """The result of comparing one number with the thresholds of its rule."""

    metric: str
    """Name of the metric, or key of the results file."""
    value: float
    """The rated number, in the unit of the metric."""
    level: Level | None
    """Level of the number, None where no comparison is fair; ``words`` then says why."""
    basis: Basis
    """What the number is compared with: earlier parts of this run (``self``), other runs, the untouched base model,
    a documented rule, or numbers that only give orientation."""
    confidence: Confidence
    """How far the level can be trusted; ``few`` means that it rests on few rows or samples."""
    rule: str
    """Code of the rule, which is also the wording key of its explanation."""
    words: str
    """Wording code of the short verdict ("converging", "rising again")."""
    params: Mapping[str, Param] = field(default_factory=dict)
    """Numbers and names that the wording inserts."""
    reservations: tuple[str, ...] = ()
    """Codes of findings that undermine the number; they never change the level."""
    own: bool = False
    """Whether numbers of the rule come from the user's config.toml."""


@dataclass(frozen=True)
class Finding:
    """A condition or event of a run that the user should know. Its words are ``finding.<code>`` in the catalogues."""

    code: str
    severity: Severity
    step: int | None = None
    """Step at which it began."""
    end_step: int | None = None
    """Step at which it ended; None while it lasts, and for an event."""
    evidence: Mapping[str, Param] = field(default_factory=dict)
    """Numbers and names that the wording inserts."""
    variant: str = ""
    """Suffix of the wording key, where one code has several wordings."""
    over: bool = False
    """Whether it held from ``step`` to ``end_step`` and no longer holds; such findings are listed last."""


@dataclass(frozen=True)
class Interval:
    """A range in which an unknown number most likely lies (``low`` to ``high``), and its most likely value ``mid``."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """The expected end of a run. A part is None where the files do not allow an estimate."""

    remaining_s: Interval | None = None
    """Seconds of training left, including evaluations and saves."""
    finish_at: Interval | None = None
    """Unix time of the last step."""
    final_loss: Interval | None = None
    """Train loss at the end: the median of the last window of rows, in nats per token for language models."""
    reason: str = ""
    """Code of the reason why ``final_loss`` is None (catalogue key ``forecast.reason.<code>``), else empty."""


@dataclass(frozen=True)
class CheckpointChoice:
    """The checkpoint to take, how much worse the newest one is, and what would be lost if the run died now."""

    metric: str = ""
    """Metric by which checkpoints are compared, see :func:`lora_tui.analysis.checkpoint_choice.measure`; empty without
    an evaluation."""
    higher: bool = False
    """Whether a higher value of ``metric`` is better."""
    best_step: int | None = None
    """Step of the best evaluation."""
    best_value: float | None = None
    """Value of ``metric`` at the best evaluation."""
    best_path: str | None = None
    """Path of the checkpoint at ``best_step``, relative to the run; None if it was not saved, is not complete, or was
    deleted."""
    best_gone: bool = False
    """Whether the checkpoint at ``best_step`` was saved and is no longer there."""
    take_step: int | None = None
    """Step of the complete checkpoint to take now: the best of those on disk, else the newest."""
    take_path: str | None = None
    """Path of the checkpoint to take, relative to the run."""
    take_value: float | None = None
    """Value of ``metric`` for the checkpoint to take, None if no evaluation is near its step."""
    take_estimated: bool = False
    """Whether ``take_value`` is that of the nearest evaluation, because there was none at ``take_step``."""
    last_step: int | None = None
    """Step of the newest complete checkpoint."""
    last_path: str | None = None
    """Path of the newest complete checkpoint, relative to the run."""
    last_value: float | None = None
    """Value of ``metric`` for the newest complete checkpoint, None if no evaluation is near its step."""
    cost: float | None = None
    """How much worse ``last_value`` is than ``take_value``, as a share of ``take_value`` (0.02 = 2 %)."""
    deleted_by: int | None = None
    """Step of the save that will delete the checkpoint to take, None if none will or this is not known."""
    limit: int | None = None
    """Number of checkpoints that the trainer keeps (``save_total_limit``)."""
    limit_seen: bool = False
    """Whether ``limit`` was inferred from deleted checkpoints, not read from an option."""
    copy: str | None = None
    """Shell command that copies the checkpoint to take, None unless a save will delete it."""
    next_save: int | None = None
    """Step of the next save, None where it is not known."""
    saves_left: int | None = None
    """Number of saves that are still to come, None where it is not known."""
    steps_at_risk: int | None = None
    """Steps that would be lost if the run died now, None once it has ended as planned."""
    seconds_at_risk: float | None = None
    """Seconds of training that would be lost if the run died now, None once it has ended as planned."""
    free_bytes: int | None = None
    """Free bytes of the run's file system when they were last checked."""
    needed_bytes: int | None = None
    """Size of the next save in bytes, taken from the newest complete checkpoint."""
    model_bytes: int | None = None
    """Size in bytes of the final model that the trainer writes into the run's directory at the end."""


@dataclass(frozen=True)
class Judgement:
    """The judgement of a run at one moment."""

    ratings: Mapping[str, Rating] = field(default_factory=dict)
    """Ratings by metric name."""
    findings: tuple[Finding, ...] = ()
    """Findings, the worst first, those that no longer hold last."""
    forecast: Forecast = Forecast()
    choice: CheckpointChoice = CheckpointChoice()
