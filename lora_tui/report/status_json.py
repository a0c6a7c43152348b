"""The snapshot of one run that ``status --json`` and ``ls --json`` print: schema 1.

The output is strict JSON: a number that is not finite becomes the string "NaN", "Infinity" or "-Infinity", and what is
not known is absent. Times are UTC in ISO 8601, durations are seconds, paths are absolute except those inside a run,
which are relative to it.

The fields of ``progress``, ``forecast`` and ``checkpoint_choice`` are those of the dataclasses
:class:`~lora_tui.runs.status.Progress`, :class:`~lora_tui.analysis.judgement.Forecast` and
:class:`~lora_tui.analysis.judgement.CheckpointChoice`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from dataclasses import fields
from datetime import datetime, timezone
from typing import Literal

# The models need no plugin of the environment, and pydantic's search for plugins takes as long as reading a run.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict, field_serializer

from lora_tui.analysis import CheckpointChoice, Forecast, Interval, Judgement
from lora_tui.formats.json_lines import as_text
from lora_tui.i18n import Words
from lora_tui.records.documents import ConfigValue
from lora_tui.runs.run import Progress, Run
from lora_tui.runs.series import Series

Number = int | float | str
"""A finite number, or the name of one that is not finite (see :func:`json_number`)."""
Plain = bool | int | float | str | list[bool | int | float | str | None] | None
"""The value of a job option as JSON holds it."""


class Part(BaseModel):
    """Base class of every part of a snapshot, report or comparison: immutable, without undeclared fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class RunPart(Part):
    """The run's identity."""

    name: str
    path: str
    stage: str | None = None
    method: str | None = None
    model: str | None = None
    producer: str


class MetricPart(Part):
    """Statistics of one metric over its logged values, without those that a resume discarded."""

    count: int
    first: Number | None = None
    last: Number | None = None
    smoothed: float | None = None
    min: float | None = None
    min_step: int | None = None
    max: float | None = None
    nonfinite: int = 0
    rating: str | None = None


class FindingPart(Part):
    """A :class:`lora_tui.analysis.Finding` with its text."""

    code: str
    severity: str
    step: int | None = None
    end_step: int | None = None
    over: bool | None = None
    """True when the finding held from ``step`` to ``end_step`` and no longer does; otherwise absent."""
    evidence: dict[str, Number]
    text: str
    advice: str | None = None


class RatingPart(Part):
    """A :class:`lora_tui.analysis.Rating` with its text."""

    metric: str
    value: Number
    level: str | None = None
    basis: str
    confidence: str
    reservations: list[str]
    rule: str
    text: str


class CheckpointPart(Part):
    """The public fields of a :class:`lora_tui.runs.run.Checkpoint`."""

    step: int
    path: str
    complete: bool
    best: bool
    eval_loss: float | None = None


class ProblemPart(Part):
    """A part of a file that could not be read."""

    file: str
    line: int | None = None
    reason: str


class Document(Part):
    """A whole JSON document with the number of its schema."""

    schema_: Literal[1] = 1

    def to_json(self) -> dict[str, object]:
        """Return plain data for ``json.dumps(…, allow_nan=False)``."""
        data = self.model_dump(exclude_none=True)
        return {"schema": data.pop("schema_"), **data}


class Snapshot(Document):
    """One run at one moment."""

    run: RunPart
    state: str
    phase: str | None = None
    updated_at: str | None = None
    """Time of the last sign of activity."""
    progress: Progress
    metrics: dict[str, MetricPart]
    findings: list[FindingPart]
    results: dict[str, dict[str, bool | Number]]
    """Split (train, eval, predict) -> the numbers of its results file, and ``stale``."""
    ratings: list[RatingPart]
    config: dict[str, Plain]
    config_sources: dict[str, str]
    """Option -> the file that its value was read from."""
    checkpoints: list[CheckpointPart]
    forecast: Forecast | None = None
    """Forecast of a live run; absent once it has ended."""
    checkpoint_choice: CheckpointChoice | None = None
    """Absent where no checkpoint is known."""
    problems: list[ProblemPart]

    @field_serializer("progress")
    def _progress_json(self, progress: Progress) -> dict[str, object]:
        return _known_fields(progress, unix_times={"finish_at"})

    @field_serializer("forecast")
    def _forecast_json(self, forecast: Forecast | None) -> dict[str, object] | None:
        return _forecast(forecast) if forecast is not None else None

    @field_serializer("checkpoint_choice")
    def _choice_json(self, choice: CheckpointChoice | None) -> dict[str, object] | None:
        return _checkpoint_choice(choice) if choice is not None else None


# -- values as JSON ---------------------------------------------------------------------------------------------------


def json_number(value: float) -> Number:
    """Return ``value``, or the name of a value that strict JSON does not have: "NaN", "Infinity" or "-Infinity"."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def iso_time(unix: float | None) -> str | None:
    """Return a Unix time in ISO 8601, UTC, to the second; ``None`` for a time outside the years 1 to 9999."""
    if unix is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _json_scalar(value: object) -> Number:
    if isinstance(value, float):
        return json_number(value)
    return value if isinstance(value, int) else as_text(str(value))


def _json_value(value: ConfigValue) -> Plain:
    if isinstance(value, tuple):
        return [item if item is None else _json_scalar(item) for item in value]
    return value if value is None else _json_scalar(value)


def _known_fields(
    part: Progress | CheckpointChoice, *, unix_times: Collection[str] = (), omit: Collection[str] = ()
) -> dict[str, object]:
    """Return the fields of a dataclass as JSON data, without those that are ``None`` or not finite numbers.

    Fields in ``unix_times`` become ISO times; fields in ``omit`` are left out.
    """
    out: dict[str, object] = {}
    for field in fields(part):
        value: object = getattr(part, field.name)
        if value is None or field.name in omit:
            continue
        if field.name in unix_times:
            value = iso_time(value) if isinstance(value, (int, float)) else None
        elif isinstance(value, str):
            value = as_text(value)
        elif isinstance(value, (int, float)) and "float" in str(field.type):
            # A whole number of seconds may be an int, but the JSON type of a field does not change.
            value = _finite(float(value))
        if value is not None:
            out[field.name] = value
    return out


def _forecast(forecast: Forecast) -> dict[str, object]:
    out: dict[str, object] = {}
    for name, interval in (("remaining_s", forecast.remaining_s), ("finish_at", forecast.finish_at),
                           ("final_loss", forecast.final_loss)):  # fmt: skip
        if interval is None:
            continue
        if name == "finish_at":
            out[name] = _ends(interval, iso_time)
        elif all(map(math.isfinite, (interval.low, interval.mid, interval.high))):
            out[name] = _ends(interval, float)
    if forecast.reason:
        out["reason"] = forecast.reason
    return out


def _ends(interval: Interval, convert: Callable[[float], object]) -> dict[str, object]:
    ends = {"low": convert(interval.low), "mid": convert(interval.mid), "high": convert(interval.high)}
    return {name: value for name, value in ends.items() if value is not None}


def _checkpoint_choice(choice: CheckpointChoice) -> dict[str, object]:
    omit = {"limit_seen"}
    if not choice.metric:
        omit |= {"metric", "higher"}
    omit |= {name for name in ("best_gone", "take_estimated") if not getattr(choice, name)}
    if choice.next_save is None:
        # Disk space matters only while something is still to be saved.
        omit |= {"free_bytes", "needed_bytes", "model_bytes"}
    out = _known_fields(choice, omit=omit)
    return {"copy_command" if name == "copy" else name: value for name, value in out.items()}


# -- one run ----------------------------------------------------------------------------------------------------------


def _metric(series: Series, level: str | None, counted: bool) -> MetricPart:
    return MetricPart(
        count=len(series),
        first=json_number(series.first) if series.first is not None else None,
        last=json_number(series.last) if series.last is not None else None,
        smoothed=_finite(series.smoothed),
        min=_finite(series.min),
        min_step=int(series.min_step) if math.isfinite(series.min_step) and not counted else None,
        max=_finite(series.max),
        nonfinite=series.nonfinite,
        rating=level,
    )


def snapshot(run: Run, now: float, words: Words, judgement: Judgement) -> Snapshot:
    """Return the snapshot of ``run`` at the Unix time ``now``, with texts in the language of ``words``."""
    status, progress = run.status(now), run.progress(now)
    levels = {metric: rating.level for metric, rating in judgement.ratings.items()}
    findings = []
    for finding in judgement.findings:
        text, advice = words.finding(finding)
        evidence = {key: _json_scalar(value) for key, value in finding.evidence.items()}
        findings.append(
            FindingPart(
                code=finding.code,
                severity=finding.severity,
                step=finding.step,
                end_step=finding.end_step,
                over=finding.over or None,
                evidence=evidence,
                text=text,
                advice=advice or None,
            )
        )
    ratings = [
        RatingPart(
            metric=rating.metric,
            value=json_number(rating.value),
            level=rating.level,
            basis=rating.basis,
            confidence=rating.confidence,
            reservations=list(rating.reservations),
            rule=rating.rule,
            text=words.rating_text(rating),
        )
        for rating in judgement.ratings.values()
    ]
    return Snapshot(
        run=RunPart(
            name=as_text(run.name),
            path=as_text(str(run.path.resolve())),
            stage=run.stage,
            method=run.method,
            model=as_text(run.model) if run.model is not None else None,
            producer=run.producer,
        ),
        state=status.state,
        phase=status.phase,
        updated_at=iso_time(run.activity),
        progress=progress,
        metrics={
            as_text(name): _metric(series, levels.get(name), run.counted_rows) for name, series in run.series.items()
        },
        findings=findings,
        results={
            split: {**{as_text(k): json_number(v) for k, v in result.values.items()}, "stale": result.stale}
            for split, result in run.results().items()
        },
        ratings=ratings,
        config={as_text(key): _json_value(setting.value) for key, setting in run.config.items()},
        config_sources={as_text(key): as_text(setting.source) for key, setting in run.config.items()},
        checkpoints=[
            CheckpointPart(
                step=item.step,
                path=item.path,
                complete=item.complete,
                best=item.best,
                eval_loss=_finite(item.eval_loss),
            )
            for item in run.checkpoints()
        ],
        forecast=judgement.forecast if judgement.forecast != Forecast() else None,
        checkpoint_choice=judgement.choice if judgement.choice != CheckpointChoice() else None,
        problems=[
            ProblemPart(file=as_text(note.file), line=note.line or None, reason=as_text(note.reason))
            for note in run.problems
        ],
    )
