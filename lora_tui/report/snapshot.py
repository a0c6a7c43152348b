"""The snapshot of one run that ``status --json`` and ``ls --json`` print: schema 1.

Strict JSON: a number that is not finite becomes the string "NaN", "Infinity" or "-Infinity"; what is not known is
absent. Times are UTC in ISO 8601, durations seconds, paths absolute, those inside a run relative to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from lora_tui.analysis import PLAIN, Context, Judgement, judge
from lora_tui.i18n import Words
from lora_tui.report.snapshot_ahead import (
    ChoicePart,
    ForecastPart,
    Part,
    choice_part,
    finite,
    forecast_part,
    iso_time,
    utf8,
)
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series

__all__ = ["Document", "Number", "Part", "Plain", "Snapshot", "iso_time", "number", "snapshot"]

Number = int | float | str
"""A finite number, or the name of one that is not."""
Plain = bool | int | float | str | list[bool | int | float | str | None] | None


class RunPart(Part):
    """Which run it is."""

    name: str
    path: str
    stage: str | None = None
    method: str | None = None
    model: str | None = None
    producer: str


class ProgressPart(Part):
    """How far it is: :class:`lora_tui.runs.status.Progress`."""

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


class MetricPart(Part):
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


class FindingPart(Part):
    """:class:`lora_tui.analysis.Finding` with its words. ``over``: it was so from ``step`` to ``end_step`` and is no
    more."""

    code: str
    severity: str
    step: int | None = None
    end_step: int | None = None
    over: bool | None = None
    evidence: dict[str, Number]
    text: str
    advice: str | None = None


class RatingPart(Part):
    """:class:`lora_tui.analysis.Rating` with its words."""

    metric: str
    value: Number
    level: str | None = None
    basis: str
    confidence: str
    reservations: list[str]
    rule: str
    text: str


class CheckpointPart(Part):
    """:class:`lora_tui.runs.run.Checkpoint`."""

    step: int
    path: str
    complete: bool
    best: bool
    eval_loss: float | None = None


class ProblemPart(Part):
    """A part of a file that could not be used."""

    file: str
    line: int | None = None
    reason: str


class Document(Part):
    """What is printed as JSON, with the number of its schema."""

    schema_: Literal[1] = 1

    def to_json(self) -> dict[str, object]:
        """Plain data for ``json.dumps(…, allow_nan=False)``."""
        data = self.model_dump(exclude_none=True)
        return {"schema": data.pop("schema_"), **data}


class Snapshot(Document):
    """One run at one moment."""

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
    forecast: ForecastPart | None = None
    """While the run goes on."""
    checkpoint_choice: ChoicePart | None = None
    problems: list[ProblemPart]


def number(value: float) -> Number:
    """A number that strict JSON can carry."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _metric(series: Series, level: str | None, counted: bool) -> MetricPart:
    return MetricPart(
        count=len(series),
        first=number(series.first) if series.first is not None else None,
        last=number(series.last) if series.last is not None else None,
        smoothed=finite(series.smoothed),
        min=finite(series.min),
        min_step=int(series.min_step) if math.isfinite(series.min_step) and not counted else None,
        max=finite(series.max),
        nonfinite=series.nonfinite,
        rating=level,
    )


def snapshot(
    run: Run, now: float, words: Words, judgement: Judgement | None = None, context: Context = PLAIN
) -> Snapshot:
    """What is known of ``run`` at the Unix time ``now``, with texts in the language of ``words``. Without a
    ``judgement`` it is judged with ``context``."""
    if judgement is None:
        judgement = judge(run, now, context)
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
            name=utf8(run.name),
            path=utf8(str(run.path.resolve())),
            stage=run.stage,
            method=run.method,
            model=utf8(run.model) if run.model is not None else None,
            producer=run.producer,
        ),
        state=status.state,
        phase=status.phase,
        updated_at=iso_time(run.activity),
        progress=ProgressPart(
            step=progress.step,
            total_steps=progress.total_steps,
            fraction=finite(progress.fraction),
            epoch=finite(progress.epoch),
            total_epochs=finite(progress.total_epochs),
            elapsed_s=finite(progress.elapsed_s),
            remaining_s=finite(progress.remaining_s),
            finish_at=iso_time(progress.finish_at),
            steps_per_s=finite(progress.steps_per_s),
            tokens_per_s=finite(progress.tokens_per_s),
            segments=progress.segments,
            unit=progress.unit,
            steps_at_risk=progress.steps_at_risk,
        ),
        metrics={
            utf8(name): _metric(series, levels.get(name), run.counted_rows) for name, series in run.series.items()
        },
        findings=findings,
        results={
            split: {**{utf8(k): number(v) for k, v in result.values.items()}, "stale": result.stale}
            for split, result in run.results().items()
        },
        ratings=ratings,
        config={utf8(key): _plain(setting.value) for key, setting in run.config.items()},
        config_sources={utf8(key): utf8(setting.source) for key, setting in run.config.items()},
        checkpoints=[
            CheckpointPart(
                step=item.step,
                path=item.path,
                complete=item.complete,
                best=item.best,
                eval_loss=finite(item.eval_loss),
            )
            for item in run.checkpoints()
        ],
        forecast=forecast_part(judgement.forecast),
        checkpoint_choice=choice_part(judgement.choice),
        problems=[
            ProblemPart(file=utf8(note.file), line=note.line or None, reason=utf8(note.reason)) for note in run.problems
        ],
    )


def _plain_number(value: object) -> Number:
    return number(value) if isinstance(value, float) else value if isinstance(value, int) else utf8(str(value))


def _plain(value: object) -> Plain:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, (tuple, list)):
        return [item if isinstance(item, (bool, int, type(None))) else _scalar(item) for item in value]
    if isinstance(value, Mapping):
        return utf8(str(dict(value)))
    return utf8(str(value))


def _scalar(value: object) -> float | str:
    if isinstance(value, float):
        found = number(value)
        return found if isinstance(found, (float, str)) else float(found)
    return utf8(str(value))
