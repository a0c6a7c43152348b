"""The snapshot of one run that ``status --json`` and ``ls --json`` print: schema 1.

Strict JSON: a number that is not finite becomes the string "NaN", "Infinity" or "-Infinity"; what is not known is
absent. Times are UTC in ISO 8601, durations seconds, paths absolute, those inside a run relative to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lora_tui.insight import Judgement, judge
from lora_tui.locale import Words
from lora_tui.run import Run
from lora_tui.series import Series

Number = int | float | str
"""A finite number, or the name of one that is not."""
Plain = bool | int | float | str | list[bool | int | float | str | None] | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class RunPart(_Part):
    """Which run it is."""

    name: str
    path: str
    stage: str | None = None
    method: str | None = None
    model: str | None = None
    producer: str


class ProgressPart(_Part):
    """How far it is: :class:`lora_tui.status.Progress`."""

    step: int | None = None
    total_steps: int | None = None
    fraction: float | None = None
    epoch: float | None = None
    total_epochs: float | None = None
    elapsed_s: float | None = None
    remaining_s: float | None = None
    finish_at: str | None = None
    steps_per_s: float | None = None
    tokens_per_s: float | None = None
    segments: int = 1
    unit: Literal["steps", "batches"] = "steps"
    steps_at_risk: int | None = None


class MetricPart(_Part):
    """One metric over the steps that remain after resumes."""

    count: int
    first: Number | None = None
    last: Number | None = None
    smoothed: float | None = None
    min: float | None = None
    min_step: int | None = None
    max: float | None = None
    nonfinite: int = 0
    rating: str | None = None


class FindingPart(_Part):
    """:class:`lora_tui.insight.Finding` with its words."""

    code: str
    severity: str
    step: int | None = None
    evidence: dict[str, Number]
    text: str
    advice: str | None = None


class RatingPart(_Part):
    """:class:`lora_tui.insight.Rating` with its words."""

    metric: str
    value: Number
    level: str | None = None
    basis: str
    confidence: str
    reservations: list[str]
    rule: str
    text: str


class CheckpointPart(_Part):
    """:class:`lora_tui.run.Checkpoint`."""

    step: int
    path: str
    complete: bool
    best: bool
    eval_loss: float | None = None


class ProblemPart(_Part):
    """A part of a file that could not be used."""

    file: str
    line: int | None = None
    reason: str


class Snapshot(_Part):
    """One run at one moment."""

    schema_: Literal[1] = 1
    run: RunPart
    state: str
    phase: str | None = None
    updated_at: str | None = None
    progress: ProgressPart
    metrics: dict[str, MetricPart]
    findings: list[FindingPart]
    results: dict[str, dict[str, bool | Number]]
    ratings: list[RatingPart]
    config: dict[str, Plain]
    config_sources: dict[str, str]
    checkpoints: list[CheckpointPart]
    problems: list[ProblemPart]

    def to_json(self) -> dict[str, object]:
        """Plain data for ``json.dumps(…, allow_nan=False)``."""
        data = self.model_dump(exclude_none=True)
        return {"schema": data.pop("schema_"), **data}


def number(value: float) -> Number:
    """A number that strict JSON can carry."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _time(unix: float | None) -> str | None:
    if unix is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _metric(series: Series, level: str | None, counted: bool) -> MetricPart:
    return MetricPart(
        count=len(series),
        first=number(series.first) if series.first is not None else None,
        last=number(series.last) if series.last is not None else None,
        smoothed=_finite(series.smoothed),
        min=_finite(series.min),
        min_step=int(series.min_step) if math.isfinite(series.min_step) and not counted else None,
        max=_finite(series.max),
        nonfinite=series.nonfinite,
        rating=level,
    )


def snapshot(run: Run, now: float, words: Words, judgement: Judgement | None = None) -> Snapshot:
    """What is known of ``run`` at the Unix time ``now``, with texts in the language of ``words``."""
    if judgement is None:
        judgement = judge(run, now)
    status, progress = run.status(now), run.progress(now)
    levels = {metric: rating.level for metric, rating in judgement.ratings.items()}
    findings = []
    for finding in judgement.findings:
        text, advice = words.finding(finding)
        evidence = {key: _plain_number(value) for key, value in finding.evidence.items()}
        findings.append(
            FindingPart(
                code=finding.code,
                severity=finding.severity,
                step=finding.step,
                evidence=evidence,
                text=text,
                advice=advice or None,
            )
        )
    ratings = [
        RatingPart(
            metric=rating.metric,
            value=number(rating.value),
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
            name=_text(run.name),
            path=_text(str(run.path.resolve())),
            stage=run.stage,
            method=run.method,
            model=_text(run.model) if run.model is not None else None,
            producer=run.producer,
        ),
        state=status.state,
        phase=status.phase,
        updated_at=_time(run.activity),
        progress=ProgressPart(
            step=progress.step,
            total_steps=progress.total_steps,
            fraction=_finite(progress.fraction),
            epoch=_finite(progress.epoch),
            total_epochs=_finite(progress.total_epochs),
            elapsed_s=_finite(progress.elapsed_s),
            remaining_s=_finite(progress.remaining_s),
            finish_at=_time(progress.finish_at),
            steps_per_s=_finite(progress.steps_per_s),
            tokens_per_s=_finite(progress.tokens_per_s),
            segments=progress.segments,
            unit=progress.unit,
            steps_at_risk=progress.steps_at_risk,
        ),
        metrics={
            _text(name): _metric(series, levels.get(name), run.counted_rows) for name, series in run.series.items()
        },
        findings=findings,
        results={
            split: {**{_text(k): number(v) for k, v in result.values.items()}, "stale": result.stale}
            for split, result in run.results().items()
        },
        ratings=ratings,
        config={_text(key): _plain(setting.value) for key, setting in run.config.items()},
        config_sources={_text(key): _text(setting.source) for key, setting in run.config.items()},
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
        problems=[
            ProblemPart(file=_text(note.file), line=note.line or None, reason=_text(note.reason))
            for note in run.problems
        ],
    )


def _text(value: str) -> str:
    """A string that UTF-8 can carry: file names may hold bytes that are no text."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _plain_number(value: object) -> Number:
    return number(value) if isinstance(value, float) else value if isinstance(value, int) else _text(str(value))


def _plain(value: object) -> Plain:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (tuple, list)):
        return [item if isinstance(item, (bool, int, type(None))) else _scalar(item) for item in value]
    if isinstance(value, Mapping):
        return _text(str(dict(value)))
    return _text(str(value))


def _scalar(value: object) -> float | str:
    if isinstance(value, float):
        found = number(value)
        return found if isinstance(found, (float, str)) else float(found)
    return _text(str(value))
