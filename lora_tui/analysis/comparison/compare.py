"""Compare runs side by side: every measure with the best run, the options that differ, and what makes it unfair.

A run is best by a measure only where the measure means the same for all runs, and only if it leads by more than the
noise; runs that differ by less share the best place. The noise is estimated from the values of each run itself. The
difference that another seed would make is not known, and the words say so.
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
"""Step, epoch (nan where it is not known) and value of one evaluation."""


@dataclass(frozen=True)
class Place:
    """The step or epoch at which runs of different progress are compared."""

    by: Literal["step", "epoch"]
    """Whether ``at`` is a step or an epoch."""
    at: float


def common_evaluation(sides: Sequence[Side]) -> tuple[Place, list[Value]] | None:
    """Return the place and the values of the last evaluation that all runs have in common, None without one.

    It is at the same step, or at the same epoch (within 2 %) where the steps of the runs differ in batch size or have
    no numbers.
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
    """Return the last step (or epoch) of the shortest run and the level of every training loss there, or None."""
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
    """Return the epochs per step, None if they are not known."""
    last = side.run.timeline.last
    epoch = side.run.epoch
    return epoch / last.step if last is not None and last.step and epoch else None


def _points(side: Side, name: str) -> list[Point]:
    """Return the finite values of a series with their steps and epochs, none for a run with broken weights."""
    series = side.series(name)
    if series is None or side.broken:
        return []
    scale = epoch_of(side) or math.nan
    return [(step, step * scale, value) for step, value in zip(series.steps, series.values, strict=True)
            if math.isfinite(value)]  # fmt: skip


def _values(sides: Sequence[Side], points: Sequence[Point], errors: Sequence[float | None]) -> list[Value]:
    """Return one value for each run from its evaluation and its standard error."""
    return [
        Value(point[2], int(point[0]), error, side.setup.eval_samples)
        for side, point, error in zip(sides, points, errors, strict=True)
    ]


def _steps_are_alike(sides: Sequence[Side]) -> bool:
    """Return whether equal steps mean equal amounts of data, as far as the batch sizes are known."""
    batches = {side.setup.batch for side in sides if side.setup.batch is not None}
    return len(batches) <= 1 and not any(side.run.counted_rows for side in sides)


Outcome = Literal["best", "shared", "even", "unfair", "none"]
"""Result of a measure.

``best``: one run leads. ``shared``: several but not all runs share the best place. ``even``: all runs share it.
``unfair``: the runs cannot be compared by it. ``none``: it has no better direction, or too few runs have it."""
HEADLINES = (
    "eval_at", "eval_best", "eval_last", "eval_accuracies", "eval_accuracy", "bleu", "rougel", "accuracies", "accuracy",
    "reward",
)  # fmt: skip
"""Codes of the quality measures that the verdict is based on, the most important first."""


@dataclass(frozen=True)
class Measure:
    """One measure of all runs."""

    code: str
    """Code of its :class:`~lora_tui.analysis.comparison.measures.Spec`."""
    metric: str
    """Name of the metric, which has the unit."""
    direction: Direction
    """Which direction is better."""
    values: tuple[Value | None, ...]
    """One value for each run, None for a run without one."""
    outcome: Outcome = "none"
    """Which runs are best by it, see :data:`Outcome`."""
    best: tuple[int, ...] = ()
    """Indexes of the runs in the best place: one, or several that do not differ beyond noise."""
    next: int | None = None
    """Index of the best run that is not in ``best``, None without one."""
    noise: float | None = None
    """Least difference from the best value that is significant, None where the noise is not known."""
    because: tuple[str, ...] = ()
    """Codes of the notes that make it unfair, empty for any other outcome."""
    place: Place | None = None
    """Step or epoch at which it was taken, None for the end of each run."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the verdict."""

    code: str
    """Code of the sentence, whose words are ``compare.verdict.<code>`` in the catalogues."""
    measure: str = ""
    """Code of the measure that it is about, empty for none."""
    runs: tuple[int, ...] = ()
    """Indexes of the runs that it names, the better first."""
    params: Mapping[str, Param] = field(default_factory=dict)
    """Other values that the wording inserts."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of at least two runs."""

    sides: tuple[Side, ...]
    """The runs in the order in which they were given."""
    measures: tuple[Measure, ...]
    """The measures that at least one run has, in the order of display."""
    notes: tuple[Note, ...]
    """What limits the comparison, the most serious first."""
    settings: tuple[Difference, ...]
    """Options that differ, those that change what is learned first."""
    partly: tuple[str, ...]
    """Names of important options that are known for some of the runs only."""
    verdict: tuple[Claim, ...]
    """Sentences that say which run is best, or why that is not known."""

    def measure(self, code: str) -> Measure | None:
        """Return the measure with this code, None if no run has it."""
        return next((found for found in self.measures if found.code == code), None)

    def order(self) -> list[int]:
        """Return the indexes of the runs, sorted by their best eval loss, then by their train loss, the best first.

        Runs without an eval loss, or with broken weights, are last.
        """
        keys: list[tuple[bool, float, bool, float, int]] = []
        for at in range(len(self.sides)):
            values = [self._value(code, at) for code in ("eval_best", "loss_end")]
            broken = self.sides[at].broken
            keys.append((broken or values[0] is None, values[0] or 0.0, values[1] is None, values[1] or 0.0, at))
        return [key[-1] for key in sorted(keys)]

    def _value(self, code: str, at: int) -> float | None:
        """Return the finite value of a measure of one run, else None."""
        measure = self.measure(code)
        value = measure.values[at] if measure is not None else None
        return value.value if value is not None and math.isfinite(value.value) else None


def compare(runs: Sequence[Run], now: float, contexts: Sequence[Context] = ()) -> Comparison:
    """Compare at least two runs at the Unix time ``now``.

    ``contexts`` are those with which the runs are judged, in the same order; PLAIN for runs without one.
    """
    sides = tuple(
        side_of(run, now, _serious_findings(run, now, contexts[at] if at < len(contexts) else PLAIN))
        for at, run in enumerate(runs)
    )
    notes = notes_on(sides)
    measures = _measures(sides, notes)
    settings, partly = differences([side.setup for side in sides])
    return Comparison(sides, measures, notes, settings, partly, _verdict(measures))


def _serious_findings(run: Run, now: float, context: Context) -> tuple[str, ...]:
    """Return the codes of the critical findings and warnings that hold now, the worst first."""
    found = find(run, now, context)
    return tuple(one.code for one in found if one.severity in ("critical", "warning") and not one.over)


def _measures(sides: tuple[Side, ...], notes: Sequence[Note]) -> tuple[Measure, ...]:
    """Return all measures that at least one run has; if a run is unfinished, first those at a common step or epoch."""
    out: list[Measure] = []
    if any(note.code == "unfinished" for note in notes):
        # A run with broken weights has no values to compare.
        intact = [at for at, side in enumerate(sides) if not side.broken]
        compared = [sides[at] for at in intact]
        for spec, found in (
            ((EVAL_AT, common_evaluation(compared)), (LOSS_AT, common_loss(compared))) if len(intact) > 1 else ()
        ):
            if found is None:
                continue
            known = dict(zip(intact, found[1], strict=True))
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
    """Return a measure of all runs with its outcome; ``values`` has one entry for each run."""
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
    """Return the measure with its outcome: the best run and those that differ from it by no more than noise.

    A value that is not finite, or of a run with broken weights, is worse than any other. ``paired``: see
    :func:`lora_tui.analysis.comparison.measures.significant_difference`.
    """
    usable = [
        at for at, value in enumerate(measure.values)
        if value is not None and math.isfinite(value.value) and (spec.family == "speed" or not sides[at].broken)
    ]  # fmt: skip
    if not usable:
        return measure
    sign = -1.0 if measure.direction == "higher" else 1.0
    values = {at: value for at in usable if (value := measure.values[at]) is not None}
    if spec.family == "loss" and any(value.error is None for value in values.values()):
        # There are too few rows to estimate the noise.
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
    """Return the sentences that say which run is best by which measure, or why that is not known."""
    found = {measure.code: measure for measure in measures}
    heads = [found[code] for code in HEADLINES if code in found and found[code].outcome != "none"]
    fair = [measure for measure in heads if measure.outcome != "unfair"]
    if "eval_best" in found and "eval_last" in found and _agree(found["eval_best"], found["eval_last"]):
        fair = [measure for measure in fair if measure.code != "eval_last"]
    # The scores of a prediction usually agree: a second one is mentioned only if it has another outcome.
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
    """Return whether both have the same outcome and best runs, or the second has no fair outcome."""
    return right.outcome in ("unfair", "none") or (left.outcome == right.outcome and left.best == right.best)


def _claim(measure: Measure) -> Claim:
    """Return the sentence about a measure with a fair outcome."""
    if measure.outcome == "best":
        if measure.next is None:
            return Claim("only", measure.code, measure.best)
        return Claim(
            "best" if measure.noise is not None else "best_unsure", measure.code, (*measure.best, measure.next)
        )
    code = "even" if measure.outcome == "even" else "shared"
    rest = () if measure.next is None else (measure.next,)
    return Claim(code, measure.code, (*measure.best, *rest))
