"""Ratings of what is logged beside training: eval loss, gap, preference metrics, reward."""

from __future__ import annotations

import math

from lora_tui.insight import facts
from lora_tui.insight.model import Confidence, Level, Param
from lora_tui.insight.rater import Rater


def _evaluation(rater: Rater) -> None:
    rule = rater.rule("eval_loss")
    current = facts.last_eval(rater.run, rater.status)
    if current is None:
        return
    value, _, results = current
    series = rater.run.series.get("eval_loss")
    evals = max(series.finite if series is not None else 0, 1)
    few: Confidence | None = "few" if rater.status.live and evals < 3 else None
    reservations = facts.reservations(results, "eval", rater.run) if results is not None else ()
    if rule is not None and rule.bands is not None:
        params: dict[str, Param] = {"evals": evals}
        if series is not None and series.finite >= 2:
            first = facts.head(series, 1)[0]
            params["change"] = (value - first) / first * 100 if first > 0 else 0.0
        try:
            perplexity = math.exp(value)
        except OverflowError:
            perplexity = math.inf
        level = rule.bands.level(perplexity)
        for name, number in (("eval_loss", value), ("perplexity", perplexity)):
            word = rule.words[level]
            if name == "eval_loss" and series is not None and rater.status.live and series.finite >= 2:
                word = _direction(series.min, value, series.tail(2)[0])
            rater.add(rule, name, number, level, word, params, confidence=few, reservations=reservations)
    _gap(rater, few, reservations)


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


def _preference(rater: Rater) -> None:
    for name in ("accuracy", "rewards/accuracies", "eval_rewards/accuracies"):
        series, rule = rater.run.series.get(name), rater.rule(name.removeprefix("eval_"))
        if series is None or rule is None or rule.bands is None or not series.finite:
            continue
        if name.startswith("eval_"):
            value = series.tail(1)[0]
            pairs = _eval_samples(rater)
        else:
            value, pairs = _recent_pairs(rater, name, rule.limits["pairs"])
        few: Confidence | None = "few" if pairs is None or pairs < rule.limits["pairs"] else None
        params: dict[str, Param] = {} if pairs is None else {"pairs": pairs}
        level = rule.bands.level(value)
        if level in ("fair", "poor") and not rater.far(rule.limits["late"]):
            # Every run begins at chance.
            rater.add(rule, name, value, None, "early", params, confidence=few)
            continue
        rater.add(rule, name, value, level, rule.words[level], params, confidence=few)
    for name in ("rewards/margins", "eval_rewards/margins"):
        _margins(rater, name)
    series, rule = rater.run.series.get("eval_accuracy"), rater.rule("eval_accuracy")
    if series is not None and rule is not None and rule.bands is not None and series.finite:
        value = series.tail(1)[0]
        level = rule.bands.level(value)
        pairs = _eval_samples(rater)
        trust: Confidence | None = "few" if pairs is None or pairs < facts.FEW_SAMPLES else None
        rater.add(rule, "eval_accuracy", value, level, rule.words[level], {"pairs": pairs or 0}, confidence=trust)


def _eval_samples(rater: Rater) -> int | None:
    """Size of the evaluation set: said by the console, or runtime x samples/s of the last evaluation."""
    known = facts.number(rater.run, "eval_examples")
    if known is not None:
        return int(known)
    results = rater.run.results().get("eval")
    if results is not None:
        return facts.samples(results, "eval", rater.run)
    runtime, rate = rater.run.series.get("eval_runtime"), rater.run.series.get("eval_samples_per_second")
    if runtime is None or rate is None or not runtime.finite or not rate.finite:
        return None
    return max(1, round(runtime.tail(1)[0] * rate.tail(1)[0]))


def _recent_pairs(rater: Rater, name: str, wanted: float) -> tuple[float, int | None]:
    """Mean of a training accuracy over the last rows that hold ``wanted`` pairs, and how many they hold."""
    series = rater.run.series[name]
    batch = facts.number(rater.run, "total_train_batch_size")
    if batch is None:
        device = facts.number(rater.run, "per_device_train_batch_size")
        steps = facts.number(rater.run, "gradient_accumulation_steps")
        batch = device * steps if device is not None and steps is not None else None
    apart = series.steps[-1] - series.steps[-2] if len(series) > 1 else 1.0
    each = (batch or 1.0) * max(apart, 1.0)
    recent = series.tail(min(max(5, math.ceil(wanted / each)), 200))
    return sum(recent) / len(recent), int(len(recent) * each)


def _margins(rater: Rater, name: str) -> None:
    series, rule = rater.run.series.get(name), rater.rule("rewards/margins")
    if series is None or rule is None or not series.finite:
        return
    limits, words = rule.limits, rule.words
    count = series.finite
    least = 2 if name.startswith("eval_") else int(limits["min_rows"])
    size = facts.window(count)
    now = facts.median(series.tail(size))
    params: dict[str, Param] = {"margin": now}
    few: Confidence | None = "few" if count < least else None
    beta = facts.number(rater.run, "pref_beta", "beta")
    level: Level = "good"
    word = "good"
    if now < 0:
        level, word = "poor", "poor"
    elif beta is not None and now < limits["beta_share"] * beta and rater.far(limits["late"]):
        level, word = "fair", "fair"
    elif count >= least:
        middle = facts.median(series.tail(3 * size)[:size])
        if now < middle * (1 - limits["fall"]) and count >= 3 * size:
            level, word = "fair", "shrinking"
        elif now <= middle * 1.02:
            word = "level"
    rater.add(rule, name, series.tail(1)[0], level, words[word], params, confidence=few)


def _reward(rater: Rater) -> None:
    series, rule = rater.run.series.get("reward"), rater.rule("reward")
    if series is None or rule is None or series.finite < rule.limits["min_rows"]:
        return
    values = series.tail(int(rule.limits["window"]))
    slope, error = _slope(values)
    level: Level = "good" if slope > 2 * error else "poor" if slope < -2 * error else "fair"
    rater.add(rule, "reward", values[-1], level, rule.words[level], {"change": slope * len(values)})


def _direction(best: float, value: float, previous: float) -> str:
    """Words for an eval loss while the run goes on."""
    if value <= best and value < previous:
        return "still_falling"
    return "rising" if value > best * 1.02 else "level"


def _slope(values: list[float]) -> tuple[float, float]:
    """Least-squares slope per row and its standard error."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((x - middle) ** 2 for x in range(count))
    slope = sum((x - middle) * (y - mean) for x, y in enumerate(values)) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in enumerate(values))
    return slope, math.sqrt(rest / max(1, count - 2) / spread)


def rate_evaluation(rater: Rater) -> None:
    """Ratings of eval loss, perplexity and gap, of the preference metrics and of the reward."""
    for part in (_evaluation, _preference, _reward):
        part(rater)
