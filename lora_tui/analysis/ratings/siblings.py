"""Rate a run against its siblings: other runs of the same model, data and stage.

A speed is compared with the fastest sibling if the run itself is too short for a rating. An eval loss or a score of a
run that has ended is compared with the best sibling of the same method that was evaluated on the same samples. A number
that is clearly worse than that is rated fair at most, since the same model and data can do better. Being the best run
raises no level, since all of them may be bad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

from lora_tui.analysis import run_facts
from lora_tui.analysis.comparison.measures import (
    Value,
    eval_last,
    score,
    side_of,
    significant_difference,
    spec_of,
    training_speed,
)
from lora_tui.analysis.context import SIBLINGS
from lora_tui.analysis.judgement import Confidence, Level, Param
from lora_tui.analysis.rating_rules import Rule
from lora_tui.analysis.ratings.collector import RatingCollector
from lora_tui.analysis.similarity import Names, Setup, all_true, name_beside, prediction_set, same, same_eval_set
from lora_tui.runs.run import Run
from lora_tui.text.sanitize import clean

_SCORES = {"bleu-4": "bleu", "rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougel"}
"""Code of the comparison's measure by name of the score."""


@dataclass(frozen=True)
class _SiblingFacts:
    """Facts about a sibling that a comparison needs. They hold no reference to the run, so that it can be freed."""

    setup: Setup
    method: str | None
    ended: bool
    """Whether its training has ended as planned or was stopped with its results saved."""
    evaluation: Value | None
    """Current eval loss."""
    scores: Mapping[str, Value]
    """Scores of generated answers by name (``bleu-4``)."""
    predicted: tuple[Names | None, int | None] | None
    """Names and number of samples of the predicted data, None without a prediction."""
    training_speed: tuple[float | None, float | None]
    """Mean steps and tokens per second."""


_FACTS: WeakKeyDictionary[Run, tuple[int, _SiblingFacts]] = WeakKeyDictionary()
"""Cached facts of runs that have ended, each with the revision of the run."""
_Best = tuple[Value, Run, bool | None]
"""Value of the best sibling, the sibling, and whether both runs were measured on the same samples."""


def rate_siblings(collector: RatingCollector) -> None:
    """Rate the speed, eval loss, perplexity and scores against those of the siblings."""
    _speed(collector)
    if not run_facts.final(collector.status) or collector.present("dead_run", "nan_loss"):
        return
    own = _facts(collector.run, collector.now)
    others = [
        (run, known) for run, known in _others(collector) if known.ended and same(own.method, known.method) is not False
    ]  # fmt: skip
    _evaluation(collector, own, others)
    _scores(collector, own, others)


def _facts(run: Run, now: float) -> _SiblingFacts:
    """Return the facts about a run at the Unix time ``now``."""
    kept = _FACTS.get(run)
    if kept is not None and kept[0] == run.revision:
        return kept[1]
    side = side_of(run, now, ())
    predicted = side.results.get("predict")
    known = _SiblingFacts(
        side.setup, run.method, side.ended, eval_last(side),
        {name: value for name in _SCORES if (value := score(name)(side)) is not None},
        prediction_set(predicted[1], predicted[0]) if predicted is not None else None, training_speed(run),
    )  # fmt: skip
    if known.ended:
        _FACTS[run] = run.revision, known
    return known


def _others(collector: RatingCollector) -> Iterator[tuple[Run, _SiblingFacts]]:
    """Yield the newest siblings with their facts."""
    for other in collector.context.siblings[:SIBLINGS]:
        if other is not collector.run:
            yield other, _facts(other, collector.now)


def _speed(collector: RatingCollector) -> None:
    """Rate speeds against siblings with the same method, cutoff length and number of devices.

    Steps per second also need the same batch size.
    """
    rated = {
        name: rating for name in ("throughput", "steps_per_s", "samples_per_s")
        if (rating := collector.ratings.get(name)) is not None
        and (rating.level is None or rating.basis == "orientation")
    }  # fmt: skip
    rule = collector.rule("steps_per_s", "speed_sibling")
    if not rated or rule is None or len(collector.run.rows) < rule.limits["min_rows"]:
        return
    own, others = _facts(collector.run, collector.now), list(_others(collector))
    for name, rating in rated.items():
        speed = _rate(own, name)
        best: tuple[float, Run, bool | None] | None = None
        for run, known in others:
            alike = _comparable_speed(own, known, batch=name == "steps_per_s")
            other = _rate(known, name) if alike is not False else None
            if other is not None and (best is None or other > best[0]):
                best = other, run, alike
        if speed is None or best is None:
            continue
        share = speed / best[0]
        # The machine and its other load are not known, so a speed below that of another run is never poor.
        level: Level = "good" if share >= rule.limits["good"] else "fair"
        params: dict[str, Param] = {
            "share": share * 100, "slower": max(0.0, 100 - share * 100), "sibling": _name(collector, best[1])
        }  # fmt: skip
        trust: Confidence | None = None if best[2] else "orientation"
        collector.add(rule, name, rating.value, level, rule.words[level], params, confidence=trust)


def _comparable_speed(left: _SiblingFacts, right: _SiblingFacts, batch: bool) -> bool | None:
    """Return whether the speeds of two runs are comparable, with ``batch`` also in steps/s; None if unknown."""
    checks = [
        same(left.method, right.method),
        same(left.setup.number("cutoff_len"), right.setup.number("cutoff_len")),
        same(left.setup.number("num_devices"), right.setup.number("num_devices")),
    ]
    if batch:
        # Steps are not comparable if the batch size is not known.
        checks.append(same(left.setup.batch, right.setup.batch) or False)
    return all_true(checks)


def _rate(known: _SiblingFacts, name: str) -> float | None:
    """Return the speed in the unit of the metric ``name``: tokens/s, steps/s or samples/s; None if unknown."""
    steps, tokens = known.training_speed
    if name == "throughput":
        return tokens
    if name == "steps_per_s" or steps is None:
        return steps
    return steps * known.setup.batch if known.setup.batch is not None else None


def _evaluation(collector: RatingCollector, own: _SiblingFacts, others: list[tuple[Run, _SiblingFacts]]) -> None:
    """Rate eval loss and perplexity against the best sibling."""
    rule, value = collector.rule("eval_loss", "eval_sibling"), own.evaluation
    found = [
        (evaluation, run, partial(same_eval_set, own.setup, known.setup))
        for run, known in others if (evaluation := known.evaluation) is not None
    ]  # fmt: skip
    best = _best(found, higher=False)
    if rule is None or best is None or value is None or value.stale or not 0 < best[0].value < 700:
        return
    least = significant_difference(spec_of("eval_last"), best[0], value, best[2] is True)
    for name in ("eval_loss", "perplexity"):
        _limit(collector, rule, name, value.value - best[0].value, least, best)


def _scores(collector: RatingCollector, own: _SiblingFacts, others: list[tuple[Run, _SiblingFacts]]) -> None:
    """Rate the scores of generated answers against the best sibling of each."""
    for metric, code in _SCORES.items():
        rule, value = collector.rule(metric, "score_sibling"), own.scores.get(metric)
        found = [
            (known.scores[metric], run, partial(_same_predictions, own, known))
            for run, known in others if metric in known.scores
        ]  # fmt: skip
        best = _best(found, higher=True)
        if rule is None or value is None or value.stale or best is None or best[0].value <= 0:
            continue
        least = significant_difference(spec_of(code), best[0], value, best[2] is True)
        split = "predict" if f"predict_{metric}" in collector.ratings else "eval"
        _limit(collector, rule, f"{split}_{metric}", best[0].value - value.value, least, best)


def _same_predictions(left: _SiblingFacts, right: _SiblingFacts) -> bool | None:
    """Return whether two runs predicted the same data, None if unknown or if neither predicted."""
    if left.predicted is None or right.predicted is None:
        return None if left.predicted is right.predicted else False
    return all_true([same(mine, theirs) for mine, theirs in zip(left.predicted, right.predicted, strict=True)])


def _best(found: Sequence[tuple[Value, Run, Callable[[], bool | None]]], higher: bool) -> _Best | None:
    """Return the best of the values that are not known to be measured on other samples, None without one.

    ``found`` has the value of each sibling, the sibling, and a function that says whether both used the same samples.
    """
    for value, run, alike in sorted(found, key=lambda item: -item[0].value if higher else item[0].value):
        if not value.stale and math.isfinite(value.value) and (agree := alike()) is not False:
            return value, run, agree
    return None


def _limit(
    collector: RatingCollector, rule: Rule, metric: str, behind: float, least: float | None, best: _Best
) -> None:
    """Lower a rating to fair if its number is clearly worse than that of the best sibling, else add a note to it.

    ``behind`` says by how much it is worse, ``least`` is the least significant difference (None if unknown).
    """
    rating = collector.ratings.get(metric)
    if rating is None or rating.level is None:
        return
    value = math.exp(best[0].value) if metric == "perplexity" else best[0].value
    params: dict[str, Param] = {**rating.params, "sibling": _name(collector, best[1]), "sibling_value": value}
    clear = least is not None and behind > least
    if clear and behind > rule.limits["behind"] * best[0].value and rating.level in ("excellent", "good"):
        trust: Confidence | None = None if best[2] else "orientation"
        if rating.confidence == "few":
            trust = "few"
        collector.add(rule, metric, rating.value, "fair", rule.words["fair"], params, confidence=trust,
                  reservations=rating.reservations)  # fmt: skip
        return
    note = "sibling_behind" if clear else "sibling_best" if least is not None and -behind > least else "sibling_even"
    collector.ratings[metric] = replace(rating, params={"note": note, **params})


def _name(collector: RatingCollector, run: Run) -> str:
    """Return the name of a sibling for display beside this run, at most 60 characters long."""
    return clean(name_beside(run, collector.run), 60)
