"""Ratings of the evaluations: eval loss and perplexity, the gap to training, the speed."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.model import Confidence, Level, Param
from lora_tui.analysis.rating_rules import LANGUAGE_STAGES, Rule
from lora_tui.analysis.ratings.collector import Rater, batch_size, eval_samples
from lora_tui.runs.series import Series

SHORT_S = 5.0
"""An evaluation shorter than this is mostly its own beginning: its speed says little."""


def _evaluation(rater: Rater) -> None:
    current = facts.last_eval(rater.run, rater.status)
    if current is None:
        return
    value, _, results = current
    series = rater.run.series.get("eval_loss")
    evals = max(series.finite if series is not None else 0, 1)
    few: Confidence | None = "few" if rater.status.live and evals < 3 else None
    about = _reservations(rater) if results is None else facts.reservations(results, "eval", rater.run)
    about += rater.known("evaluated_on_training_data")
    params: dict[str, Param] = {"evals": evals, "need": 2}
    if series is not None and series.finite >= 2:
        first = facts.head(series, 1)[0]
        params.update(first=first, lowest=series.min, change=(value - first) / abs(first) * 100 if first else 0.0)
    rule = rater.rule("eval_loss")
    banded = rule is not None and rule.bands is not None
    if banded and (not rater.status.live or series is None or series.finite < 2):
        _by_size(rater, value, params, few, about)
    elif series is not None and series.finite:
        _by_course(rater, series, value, params, about)
    if not banded and "perplexity" in rater.run.series:
        unknown = rater.rule("perplexity", "stage_unknown")
        if unknown is not None:
            rater.add(unknown, "perplexity", _exp(value), None, unknown.words["none"])
    _gap(rater, few, about)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _by_size(
    rater: Rater, value: float, params: dict[str, Param], few: Confidence | None, about: tuple[str, ...]
) -> None:
    """A final evaluation, or a first one: by the bands of the perplexity, for the loss by their logarithms."""
    for name, number in (("eval_loss", value), ("perplexity", _exp(value))):
        rule = rater.rule(name)
        if rule is not None and rule.bands is not None:
            level = rule.bands.level(_exp(value))
            rater.add(rule, name, number, level, rule.words[level], params, confidence=few, reservations=about)


def _by_course(rater: Rater, series: Series, value: float, params: dict[str, Param], about: tuple[str, ...]) -> None:
    """Against the first evaluation and the best one: while the run goes on, and where no band holds."""
    rule = rater.rule("eval_loss", "eval_trend")
    if rule is None:
        return
    if series.finite < 2:
        rater.add(rule, "eval_loss", value, None, rule.words["early"], params, confidence="few", reservations=about)
        return
    few: Confidence | None = "few" if series.finite < rule.limits["evals"] else None
    level, word = _course(rule, series, value)
    if word == "falling" and not rater.status.live:
        # What has ended falls no more.
        word = "near"
    names = ("eval_loss", "perplexity") if rater.stage in LANGUAGE_STAGES else ("eval_loss",)
    for name in names:
        number = value if name == "eval_loss" else _exp(value)
        rater.add(rule, name, number, level, rule.words[word], params, confidence=few, reservations=about)


def _course(rule: Rule, series: Series, value: float) -> tuple[Level, str]:
    """Good: near the best and below the first. Fair: off the best, or no better than the first. Poor: above it."""
    recent = series.tail(100)
    first, best = facts.head(series, 1)[0], series.min
    noise = 0.0
    if len(recent) >= 5:
        second = [abs(a - 2 * b + c) for a, b, c in zip(recent, recent[1:], recent[2:], strict=False)]
        noise = 1.4826 * facts.median(second) / math.sqrt(6)
    slack = max(rule.limits["slack"] * abs(best), 3 * noise)
    if value > first + max(rule.limits["slack"] * abs(first), 3 * noise):
        return "poor", "above"
    if value > best + slack:
        return "fair", "rising"
    if value < first - max(rule.limits["fall"] * abs(first), 1.5 * noise):
        return "good", "falling" if value <= best and value < recent[-2] else "near"
    return "fair", "level"


def _reservations(rater: Rater) -> tuple[str, ...]:
    """What undermines an evaluation that the rows tell of."""
    count = eval_samples(rater.run)
    return ("few_eval_samples",) if count is not None and count < facts.FEW_SAMPLES else ()


def _gap(rater: Rater, few: Confidence | None, reservations: tuple[str, ...]) -> None:
    rule = rater.rule("gap")
    if rule is None or rule.bands is None or rater.known("dead_run", "nan_loss"):
        return
    found = facts.gap(rater.run, rater.status, int(rule.limits["rows"]), rule.limits["share"])
    if found is None:
        return
    gap, error = found
    params: dict[str, Param] = {"gap": gap, "error": error}
    if error > rule.limits["error"]:
        few = "few"
    if (rater.progress.epoch or math.inf) <= 1.01:
        params["note"] = "single_epoch"
    if gap < rule.limits["below"]:
        rater.add(rule, "gap", gap, None, rule.words["below"], params, confidence=few, reservations=reservations)
        return
    level = rule.bands.level(gap)
    if error > rule.limits["error"] and level != "good" and gap - rule.bands.good < 2 * error:
        # Rows that scatter this much cannot tell the gap from none.
        rater.add(rule, "gap", gap, None, "early", params, confidence="few", reservations=reservations)
        return
    rater.add(rule, "gap", gap, level, rule.words[level], params, confidence=few, reservations=reservations)


def rate_eval_speed(rater: Rater, rate: float, runtime: float | None) -> None:
    """Samples a second of an evaluation without generation, against those of the training."""
    rule = rater.rule("samples_per_second", "eval_speed")
    if rule is None or rate <= 0:
        return
    training = _training_speed(rater)
    if training is None:
        rater.add(rule, "eval_samples_per_second", rate, None, rule.words["none"])
        return
    share = rate / training
    word = "good" if share >= rule.limits["good"] else "between" if share >= rule.limits["fair"] else "fair"
    few: Confidence | None = "few" if runtime is None or runtime < SHORT_S else None
    rater.add(
        rule, "eval_samples_per_second", rate, "fair" if word == "fair" else "good", rule.words[word],
        {"share": share * 100, "training": training}, confidence=few,
    )  # fmt: skip


def _training_speed(rater: Rater) -> float | None:
    """Samples a second of the training: from the speed of its steps, else its own summary if it is of one piece."""
    steps, batch = rater.progress.steps_per_s, batch_size(rater.run)
    if steps is not None and batch is not None and steps > 0:
        return steps * batch
    results = rater.run.results().get("train")
    rate = results.values.get("train_samples_per_second") if results is not None and not results.stale else None
    return rate if rate is not None and 0 < rate < math.inf and rater.run.segments == 1 else None


def _speed(rater: Rater) -> None:
    rate, runtime = rater.run.series.get("eval_samples_per_second"), rater.run.series.get("eval_runtime")
    generated = any(name.endswith("bleu-4") for name in rater.run.series)
    if rate is not None and rate.finite and not generated:
        length = runtime.tail(1)[0] if runtime is not None and runtime.finite else None
        rate_eval_speed(rater, rate.tail(1)[0], length)


def rate_evaluation(rater: Rater) -> None:
    """Ratings of eval loss, perplexity, gap and speed."""
    for part in (_evaluation, _speed):
        part(rater)
