"""The parts of a snapshot about what is to come: the forecast, and which checkpoint to take."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from pydantic import BaseModel, ConfigDict

from lora_tui.analysis import Band, CheckpointChoice, Forecast


class Part(BaseModel):
    """What every part of a snapshot or report is: immutable, with no field that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SpanPart(Part):
    """Where a number most likely lies, and what it most likely is."""

    low: float
    mid: float
    high: float


class MomentPart(Part):
    """The same for a moment."""

    low: str | None = None
    mid: str | None = None
    high: str | None = None


class ForecastPart(Part):
    """:class:`lora_tui.analysis.Forecast`. ``reason``: code of why there is no final loss."""

    remaining_s: SpanPart | None = None
    finish_at: MomentPart | None = None
    final_loss: SpanPart | None = None
    reason: str | None = None


class ChoicePart(Part):
    """:class:`lora_tui.analysis.CheckpointChoice`."""

    metric: str | None = None
    higher: bool | None = None
    best_step: int | None = None
    best_value: float | None = None
    best_path: str | None = None
    best_gone: bool | None = None
    take_step: int | None = None
    take_path: str | None = None
    take_value: float | None = None
    take_estimated: bool | None = None
    last_step: int | None = None
    last_path: str | None = None
    last_value: float | None = None
    cost: float | None = None
    deleted_by: int | None = None
    limit: int | None = None
    copy_command: str | None = None
    next_save: int | None = None
    saves_left: int | None = None
    steps_at_risk: int | None = None
    seconds_at_risk: float | None = None
    free_bytes: int | None = None
    needed_bytes: int | None = None
    model_bytes: int | None = None


def iso_time(unix: float | None) -> str | None:
    """A Unix time in ISO 8601, UTC; ``None`` for one that no calendar has."""
    if unix is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """The number, unless it is NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None


def utf8(value: str) -> str:
    """A string that UTF-8 can carry: file names may hold bytes that are no text."""
    return value.encode("utf-8", "replace").decode("utf-8")


def forecast_part(forecast: Forecast) -> ForecastPart | None:
    """As JSON has it; ``None`` where nothing is known."""
    if forecast == Forecast():
        return None
    end = forecast.finish_at
    return ForecastPart(
        remaining_s=_span(forecast.remaining_s),
        finish_at=MomentPart(low=iso_time(end.low), mid=iso_time(end.mid), high=iso_time(end.high)) if end else None,
        final_loss=_span(forecast.final_loss),
        reason=forecast.reason or None,
    )


def _span(band: Band | None) -> SpanPart | None:
    if band is None or not all(map(math.isfinite, (band.low, band.mid, band.high))):
        return None
    return SpanPart(low=band.low, mid=band.mid, high=band.high)


def choice_part(choice: CheckpointChoice) -> ChoicePart | None:
    """As JSON has it; ``None`` where nothing is known. Space on disk matters only while something is to be saved."""
    if choice == CheckpointChoice():
        return None
    named, saves = bool(choice.metric), choice.next_save is not None
    return ChoicePart(
        metric=utf8(choice.metric) if named else None,
        higher=choice.higher if named else None,
        best_step=choice.best_step,
        best_value=finite(choice.best_value),
        best_path=_path(choice.best_path),
        best_gone=choice.best_gone or None,
        take_step=choice.take_step,
        take_path=_path(choice.take_path),
        take_value=finite(choice.take_value),
        take_estimated=choice.take_estimated or None,
        last_step=choice.last_step,
        last_path=_path(choice.last_path),
        last_value=finite(choice.last_value),
        cost=finite(choice.cost),
        deleted_by=choice.deleted_by,
        limit=choice.limit,
        copy_command=_path(choice.copy),
        next_save=choice.next_save,
        saves_left=choice.saves_left,
        steps_at_risk=choice.steps_at_risk,
        seconds_at_risk=finite(choice.seconds_at_risk),
        free_bytes=choice.free_bytes if saves else None,
        needed_bytes=choice.needed_bytes if saves else None,
        model_bytes=choice.model_bytes if saves else None,
    )


def _path(value: str | None) -> str | None:
    return utf8(value) if value is not None else None
