"""Rate metrics that only some stages log: accuracy, margins and KL of preferences, rewards, token accuracy."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.judgement import Confidence, Level, Param
from lora_tui.analysis.ratings.collector import RatingCollector, batch_size, eval_samples, slope
from lora_tui.analysis.statistics import MEDIAN_ERROR, median, noise, window
from lora_tui.runs.series import Series


def _accuracy(collector: RatingCollector) -> None:
    """Rate the accuracy on preference pairs."""
    for name in ("accuracy", "rewards/accuracies", "eval_rewards/accuracies"):
        series, rule = collector.run.series.get(name), collector.rule(name.removeprefix("eval_"))
        if series is None or rule is None or rule.code != "preference_accuracy" or not series.finite:
            continue
        if name.startswith("eval_"):
            value, pairs = series.tail(1)[0], eval_samples(collector.run)
        else:
            value, pairs = _recent_pairs(collector, name, rule.limits["pairs"])
        few: Confidence | None = "few" if pairs is None or pairs < rule.limits["pairs"] else None
        params: dict[str, Param] = {} if pairs is None else {"pairs": pairs}
        assert rule.thresholds is not None
        level = rule.thresholds.level(value)
        if level in ("fair", "poor") and not collector.progressed(rule.limits["late"]):
            # Every run starts at chance level.
            collector.add(rule, name, value, None, "early", params, confidence=few)
            continue
        is_saturated = value >= rule.limits["saturated"] and few is None and _growing(collector)
        reservations = collector.present("saturated") or (("saturated",) if is_saturated else ())
        collector.add(rule, name, value, level, rule.words[level], params, confidence=few, reservations=reservations)


def _growing(collector: RatingCollector) -> bool:
    """Return whether the margins are still growing."""
    series = collector.run.series.get("rewards/margins")
    if series is None or series.finite < 8:
        return False
    size = window(series.finite)
    return median(series.tail(size)) > 1.02 * median(series.tail(3 * size)[:size])


def _recent_pairs(collector: RatingCollector, name: str, wanted: float) -> tuple[float, int | None]:
    """Return the mean of an accuracy over the last rows with about ``wanted`` pairs, and their number of pairs."""
    series = collector.run.series[name]
    batch = batch_size(collector.run)
    apart = series.steps[-1] - series.steps[-2] if len(series) > 1 else 1.0
    each = (batch or 1.0) * max(apart, 1.0)
    recent = series.tail(min(max(5, math.ceil(wanted / each)), 200))
    return sum(recent) / len(recent), int(len(recent) * each)


def _margins(collector: RatingCollector, name: str) -> None:
    """Rate the margins between chosen and rejected answers."""
    series, rule = collector.run.series.get(name), collector.rule("rewards/margins")
    if series is None or rule is None or not series.finite:
        return
    limits, words = rule.limits, rule.words
    count = series.finite
    least = 2 if name.startswith("eval_") else int(limits["min_rows"])
    size = window(count)
    now = median(series.tail(size))
    params: dict[str, Param] = {"margin": now}
    few: Confidence | None = "few" if count < least else None
    beta = run_facts.number(collector.run, "pref_beta", "beta")
    level: Level = "good"
    word = "good"
    if now < 0:
        beyond_noise = -now > 2 * noise(series.tail(200)) / math.sqrt(size)
        if not collector.progressed(limits["late"]) or not beyond_noise:
            # Every run starts around 0.
            collector.add(rule, name, series.tail(1)[0], None, words["early"], params, confidence=few)
            return
        level, word = "poor", "poor"
    elif beta is not None and now < limits["beta_share"] * beta and collector.progressed(limits["late"]):
        level, word = "fair", "fair"
    elif count >= least:
        middle = median(series.tail(3 * size)[:size])
        if now < middle * (1 - limits["fall"]) and count >= 3 * size:
            level, word = "fair", "shrinking"
        elif now <= middle * 1.02:
            word = "level"
    collector.add(rule, name, series.tail(1)[0], level, words[word], params, confidence=few)


def _pairs_ranked(collector: RatingCollector) -> None:
    """Rate the share of pairs that a reward model ranks correctly."""
    series, rule = collector.run.series.get("eval_accuracy"), collector.rule("eval_accuracy")
    if series is None or rule is None or rule.thresholds is None or not series.finite:
        return
    value, pairs = series.tail(1)[0], eval_samples(collector.run)
    few = pairs is None or pairs < run_facts.FEW_SAMPLES
    level = rule.thresholds.level(value)
    collector.add(
        rule, "eval_accuracy", value, level, rule.words[level], {} if pairs is None else {"pairs": pairs},
        confidence="few" if few else None, reservations=("few_eval_samples",) if few and pairs is not None else (),
    )  # fmt: skip


def _trend(series: Series, rows: int) -> tuple[str, float]:
    """Return "rising", "falling" or "level" for the last ``rows`` rows, and the change along the fitted line.

    A slope counts if it exceeds twice its standard error.
    """
    values = series.tail(max(rows, 3))
    if len(values) < 3:
        return "level", 0.0
    found, error = slope(values)
    word = "rising" if found > 2 * error else "falling" if found < -2 * error else "level"
    return word, found * (len(values) - 1)


def _token_accuracy(collector: RatingCollector) -> None:
    """Rate the share of tokens that are predicted correctly by its trend."""
    for name in ("mean_token_accuracy", "eval_mean_token_accuracy", "eval_accuracy", "accuracy"):
        series, rule = collector.run.series.get(name), collector.rule(name)
        if series is None or rule is None or rule.code != "token_accuracy" or not series.finite:
            continue
        need = 3 if name.startswith("eval_") else int(rule.limits["min_rows"])
        value = series.tail(1)[0]
        if series.finite < need:
            collector.add(rule, name, value, None, rule.words["early"], {"need": need}, confidence="few")
            continue
        word, change = _trend(series, int(rule.limits["window"]))
        level: Level | None = {"rising": "good", "falling": "fair"}.get(word)  # type: ignore[assignment]
        collector.add(rule, name, value, level, rule.words[level or "level"], {"change": change})


def _reward(collector: RatingCollector) -> None:
    """Rate the reward by its trend."""
    series, rule = collector.run.series.get("reward"), collector.rule("reward")
    if series is None or rule is None or not series.finite:
        return
    value, need = series.tail(1)[0], int(rule.limits["min_rows"])
    if series.finite < need:
        collector.add(rule, "reward", value, None, rule.words["early"], {"need": need}, confidence="few")
        return
    trend, change = _trend(series, int(rule.limits["window"]))
    level: Level = "fair"
    word = "fair"
    if trend == "level":
        size = window(series.finite)
        margin = 2 * MEDIAN_ERROR * noise(series.tail(200)) * math.sqrt(2 / size)
        if median(series.tail(size)) - median(run_facts.head(series, size)) > margin:
            level, word = "good", "kept"
    else:
        level = "good" if trend == "rising" else "poor"
        word = level
    collector.add(rule, "reward", value, level, rule.words[word], {"change": change})


def _kl(collector: RatingCollector) -> None:
    """Rate the KL divergence from the reference model by its trend or growth."""
    for name in ("kl", "objective/kl"):
        series, rule = collector.run.series.get(name), collector.rule(name)
        if series is None or rule is None or not series.finite:
            continue
        value, need = series.tail(1)[0], int(rule.limits["min_rows"])
        if series.finite < need:
            collector.add(rule, name, value, None, rule.words["early"], {"need": need}, confidence="few")
        elif rule.code == "kl_trend":
            word, change = _trend(series, int(rule.limits["window"]))
            collector.add(rule, name, value, None, rule.words[word], {"change": change})
        else:
            size = window(series.finite)
            start, now = median(run_facts.head(series, size)), median(series.tail(size))
            margin = 2 * MEDIAN_ERROR * noise(series.tail(200)) / math.sqrt(size)
            word = "good"
            if now < -margin:
                word = "negative"
            elif now > rule.limits["growth"] * abs(start) and now - start > margin and now > 0.1:
                word = "growing"
            level: Level = "good" if word == "good" else "poor"
            collector.add(rule, name, value, level, rule.words[word], {"first": start, "now": now})


def _zero_std(collector: RatingCollector) -> None:
    """Rate the share of groups whose answers all have the same reward."""
    series, rule = collector.run.series.get("frac_reward_zero_std"), collector.rule("frac_reward_zero_std")
    if series is None or rule is None or rule.thresholds is None or not series.finite:
        return
    recent = series.tail(int(rule.limits["rows"]))
    value = sum(recent) / len(recent)
    level = rule.thresholds.level(value)
    few: Confidence | None = "few" if len(recent) < 5 else None
    collector.add(
        rule, "frac_reward_zero_std", value, level, rule.words[level], {"share": value * 100}, confidence=few
    )  # fmt: skip


def rate_stages(collector: RatingCollector) -> None:
    """Rate the metrics that only some stages log."""
    _accuracy(collector)
    for name in ("rewards/margins", "eval_rewards/margins"):
        _margins(collector, name)
    for part in (_pairs_ranked, _token_accuracy, _reward, _kl, _zero_std):
        part(collector)
