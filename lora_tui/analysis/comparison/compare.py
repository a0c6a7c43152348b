"""Compare runs side by side: every measure with its winner, the options that differ, whether the comparison is fair.

A run wins by a measure only where the measure means the same for all of them, and only by more than its noise; runs
that differ by less share the place. One run of each tells how much its own values scatter, not how much another seed
would move them: the words say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lora_tui.analysis.comparison.fairness import Note, notes_on
from lora_tui.analysis.comparison.measures import (
    EVAL_AT,
    LOSS_AT,
    SPECS,
    Side,
    Spec,
    Value,
    eval_error,
    level_at,
    side_of,
    significant_difference,
)
from lora_tui.analysis.comparison.settings import Difference, differences
from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.findings.find import find
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.metrics import Direction, metric
from lora_tui.analysis.similarity import eval_sets_agree
from lora_tui.runs.run import Run

Point = tuple[float, float, float]
"""Step, epoch (NaN where not known), value."""


@dataclass(frozen=True)
class Place:
    """The step or epoch at which runs of different progress are compared."""

    by: Literal["step", "epoch"]
    at: float


def common_evaluation(sides: Sequence[Side]) -> tuple[Place, list[Value]] | None:
    """Return the place and values of the last evaluation that all runs have made at the same step, or None.

    Where a step is not the same amount of data, or its number is not known: at the same epoch (within 2 %).
    """
    curves = [_points(side, "eval_loss") for side in sides]
    if not all(curves):
        return None
    errors = [eval_error(side) for side in sides]
    if _steps_are_alike(sides):
        shared = set.intersection(*({step for step, _, _ in curve} for curve in curves))
        if shared:
            at = max(shared)
            picked = [next(p for p in reversed(curve) if p[0] == at) for curve in curves]
            return Place("step", at), _values(sides, picked, errors)
    shortest: list[Point] = min(curves, key=len)
    for _, epoch, _ in sorted(shortest, key=lambda point: -point[1]):
        nearest = [min(curve, key=lambda point: abs(point[1] - epoch)) for curve in curves]
        if all(abs(point[1] - epoch) <= 0.02 * epoch for point in nearest):
            return Place("epoch", epoch), _values(sides, nearest, errors)
    return None


def common_loss(sides: Sequence[Side]) -> tuple[Place, list[Value]] | None:
    """Return the level of every training loss where the shortest run stands, by step or by epoch, or None."""
    series = [side.series("loss") for side in sides]
    known = [one for one in series if one is not None]
    if len(known) < len(sides):
        return None
    if _steps_are_alike(sides):
        at = min(one.steps[-1] for one in known)
        found = [level_at(one, at) for one in known]
        place = Place("step", at)
    else:
        scales = [epoch_of(side) for side in sides]
        if any(scale is None for scale in scales):
            return None
        epochs_a_step = [scale for scale in scales if scale is not None]
        epoch = min(one.steps[-1] * scale for one, scale in zip(known, epochs_a_step, strict=True))
        found = [level_at(one, epoch / scale * 1.0001) for one, scale in zip(known, epochs_a_step, strict=True)]
        place = Place("epoch", epoch)
    values = [value for value in found if value is not None and value.error is not None]
    return (place, values) if len(values) == len(sides) else None


def epoch_of(side: Side) -> float | None:
    """Return the epochs of one step, or None."""
    last = side.run.timeline.last
    epoch = side.run.epoch
    return epoch / last.step if last is not None and last.step and epoch else None


def _points(side: Side, name: str) -> list[Point]:
    series = side.series(name)
    if series is None or side.broken:
        return []
    scale = epoch_of(side) or math.nan
    return [(step, step * scale, value) for step, value in zip(series.steps, series.values, strict=True)
            if math.isfinite(value)]  # fmt: skip


def _values(sides: Sequence[Side], points: Sequence[Point], errors: Sequence[float | None]) -> list[Value]:
    return [
        Value(point[2], int(point[0]), error, side.setup.eval_samples)
        for side, point, error in zip(sides, points, errors, strict=True)
    ]


def _steps_are_alike(sides: Sequence[Side]) -> bool:
    batches = {side.setup.batch for side in sides if side.setup.batch is not None}
    return len(batches) <= 1 and not any(side.run.counted_rows for side in sides)


Outcome = Literal["best", "shared", "even", "unfair", "none"]
"""One run is the best; some share the best place; no run stands out; not comparable; nothing to win."""
HEADLINES = (
    "eval_at", "eval_best", "eval_last", "eval_accuracies", "eval_accuracy", "bleu", "rougel", "accuracies", "accuracy",
    "reward",
)  # fmt: skip
"""Measures of quality that the verdict speaks of, the most important first."""


@dataclass(frozen=True)
class Measure:
    """One measure of all runs."""

    code: str
    metric: str
    direction: Direction
    values: tuple[Value | None, ...]
    outcome: Outcome = "none"
    best: tuple[int, ...] = ()
    """Indexes of the runs in the best place: one, or several that do not differ beyond noise."""
    next: int | None = None
    """Index of the best of the others."""
    noise: float | None = None
    """Difference from the best below which nothing is said; None where the noise is not known."""
    because: tuple[str, ...] = ()
    """Codes of the notes that make it unfair."""
    place: Place | None = None
    """Step or epoch at which it was taken, if that is not the end."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the verdict (``compare.verdict.<code>``)."""

    code: str
    measure: str = ""
    runs: tuple[int, ...] = ()
    """Indexes of the runs that it names, the better first."""
    params: Mapping[str, Param] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Everything that is said of the runs together."""

    sides: tuple[Side, ...]
    measures: tuple[Measure, ...]
    notes: tuple[Note, ...]
    settings: tuple[Difference, ...]
    partly: tuple[str, ...]
    """Options that matter and are known of some runs only."""
    verdict: tuple[Claim, ...]

    def measure(self, code: str) -> Measure | None:
        """Return one measure, or None if no run has it."""
        return next((found for found in self.measures if found.code == code), None)

    def order(self) -> list[int]:
        """Return the indexes of the runs by their best evaluation, then by their loss, the best first; without either
        last."""
        keys: list[tuple[bool, float, bool, float, int]] = []
        for at in range(len(self.sides)):
            values = [self._value(code, at) for code in ("eval_best", "loss_end")]
            lost = self.sides[at].broken
            keys.append((lost or values[0] is None, values[0] or 0.0, values[1] is None, values[1] or 0.0, at))
        return [key[-1] for key in sorted(keys)]

    def _value(self, code: str, at: int) -> float | None:
        measure = self.measure(code)
        value = measure.values[at] if measure is not None else None
        return value.value if value is not None and math.isfinite(value.value) else None


def compare(runs: Sequence[Run], now: float, contexts: Sequence[Context] = ()) -> Comparison:
    """Compare at least two runs at a moment (Unix time); ``contexts``: what each is judged with, as shipped if left
    out."""
    sides = tuple(
        side_of(run, now, _serious_findings(run, now, contexts[at] if at < len(contexts) else PLAIN))
        for at, run in enumerate(runs)
    )
    notes = notes_on(sides)
    measures = _measures(sides, notes)
    settings, partly = differences([side.setup for side in sides])
    return Comparison(sides, measures, notes, settings, partly, _verdict(measures))


def _serious_findings(run: Run, now: float, context: Context) -> tuple[str, ...]:
    found = find(run, now, context)
    return tuple(one.code for one in found if one.severity in ("critical", "warning") and not one.over)


def _measures(sides: tuple[Side, ...], notes: Sequence[Note]) -> tuple[Measure, ...]:
    out: list[Measure] = []
    if any(note.code == "unfinished" for note in notes):
        # Where weights are no numbers any more there is no place to meet.
        sound = [at for at, side in enumerate(sides) if not side.broken]
        meeting = [sides[at] for at in sound]
        for spec, found in (
            ((EVAL_AT, common_evaluation(meeting)), (LOSS_AT, common_loss(meeting))) if len(sound) > 1 else ()
        ):
            if found is None:
                continue
            known = dict(zip(sound, found[1], strict=True))
            measure = _judged(spec, [known.get(at) for at in range(len(sides))], sides, notes, found[0])
            if measure.outcome != "unfair":
                out.append(measure)
    for spec in SPECS:
        values = tuple(spec.read(side) if spec.read is not None else None for side in sides)
        # LLaMA-Factory logs the accuracy of preferences under two names.
        twice = spec.code == "accuracy" and bool(out) and values == out[-1].values
        if any(value is not None for value in values) and not twice:
            out.append(_judged(spec, values, sides, notes, None))
    return tuple(out)


def _judged(
    spec: Spec, values: Sequence[Value | None], sides: Sequence[Side], notes: Sequence[Note], place: Place | None
) -> Measure:
    direction = metric(spec.metric).direction
    plain = Measure(spec.code, spec.metric, direction, tuple(values), place=place)
    taking_part = [at for at, value in enumerate(values) if value is not None]
    if not spec.wins or direction == "none" or len(taking_part) < 2:
        return plain
    because = [
        note.code for note in notes
        if spec.family in note.stops and (not note.final_only or spec.final)
        and (not note.runs or set(note.runs) & set(taking_part))
    ]  # fmt: skip
    if any(value is not None and value.stale for value in values):
        because.append("stale_results")
    if spec.code == "steps_per_s" and len({side.setup.batch for side in sides} - {None}) != 1:
        because.append("other_batch")
    if because:
        return replace(plain, outcome="unfair", because=tuple(because))
    if spec.family == "score":
        paired = not any(note.code == "unknown_predict_set" for note in notes)
    else:
        paired = eval_sets_agree([sides[at].setup for at in taking_part]) is True
    return _placed(plain, spec, sides, paired)


def _placed(measure: Measure, spec: Spec, sides: Sequence[Side], paired: bool) -> Measure:
    """Return the measure with who is best, and who is as good but for the noise. A value that is not finite, or of a
    broken model, loses to any."""
    usable = [
        at for at, value in enumerate(measure.values)
        if value is not None and math.isfinite(value.value) and (spec.family == "speed" or not sides[at].broken)
    ]  # fmt: skip
    if not usable:
        return measure
    sign = -1.0 if measure.direction == "higher" else 1.0
    values = {at: value for at in usable if (value := measure.values[at]) is not None}
    if spec.family == "loss" and any(value.error is None for value in values.values()):
        # Too few rows to tell a level from its noise.
        return measure
    ranked = sorted(usable, key=lambda at: sign * values[at].value)
    top = values[ranked[0]]
    best, rest, noise = [ranked[0]], None, None
    for at in ranked[1:]:
        least = significant_difference(spec, top, values[at], paired)
        if least is not None and abs(values[at].value - top.value) <= least:
            best.append(at)
            noise = max(noise or 0.0, least)
        else:
            rest = at
            noise = max(noise or 0.0, least) if least is not None else None
            break
    taking_part = sum(value is not None for value in measure.values)
    outcome: Outcome = "best" if len(best) == 1 else "even" if len(best) == taking_part else "shared"
    return replace(measure, outcome=outcome, best=tuple(best), next=rest, noise=noise)


def _verdict(measures: Sequence[Measure]) -> tuple[Claim, ...]:
    """Return who wins by which measure; else why that cannot be said."""
    found = {measure.code: measure for measure in measures}
    heads = [found[code] for code in HEADLINES if code in found and found[code].outcome != "none"]
    fair = [measure for measure in heads if measure.outcome != "unfair"]
    if "eval_best" in found and "eval_last" in found and _agree(found["eval_best"], found["eval_last"]):
        fair = [measure for measure in fair if measure.code != "eval_last"]
    # The four scores of a prediction go together: the second is worth a word only where it says something else.
    if "bleu" in found and "rougel" in found and _agree(found["bleu"], found["rougel"]):
        fair = [measure for measure in fair if measure.code != "rougel"]
    claims = [_claim(measure) for measure in fair]
    winners = {measure.best for measure in fair if measure.outcome == "best"}
    if len(winners) > 1:
        claims.append(Claim("disagree"))
    stopped = [code for measure in heads if measure.outcome == "unfair" for code in measure.because]
    if not claims:
        loss = found.get("loss_at") or found.get("loss_end")
        if stopped:
            claims.append(Claim("not_comparable", params={"because": ",".join(dict.fromkeys(stopped))}))
        else:
            claims.append(Claim("nothing"))
        if loss is not None and loss.outcome in ("best", "shared", "even"):
            claims.append(_claim(loss))
            claims.append(Claim("loss_only"))
    elif stopped:
        codes = ",".join(dict.fromkeys(measure.code for measure in heads if measure.outcome == "unfair"))
        claims.append(Claim("partly", params={"measures": codes, "because": ",".join(dict.fromkeys(stopped))}))
    return tuple(claims)


def _agree(left: Measure, right: Measure) -> bool:
    """Return whether both say the same, or the second nothing at all."""
    return right.outcome in ("unfair", "none") or (left.outcome == right.outcome and left.best == right.best)


def _claim(measure: Measure) -> Claim:
    if measure.outcome == "best":
        if measure.next is None:
            return Claim("only", measure.code, measure.best)
        return Claim(
            "best" if measure.noise is not None else "best_unsure", measure.code, (*measure.best, measure.next)
        )
    code = "even" if measure.outcome == "even" else "shared"
    rest = () if measure.next is None else (measure.next,)
    return Claim(code, measure.code, (*measure.best, *rest))
