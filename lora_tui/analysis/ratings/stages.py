"""Ratings of what single stages log: preferences (accuracy, margins, KL), rewards, token accuracy, groups without
signal."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.model import Confidence, Level, Param
from lora_tui.analysis.ratings.collector import Rater, batch_size, eval_samples, slope
from lora_tui.runs.series import Series


def _accuracy(rater: Rater) -> None:
    for name in ("accuracy", "rewards/accuracies", "eval_rewards/accuracies"):
        series, rule = rater.run.series.get(name), rater.rule(name.removeprefix("eval_"))
        if series is None or rule is None or rule.code != "preference_accuracy" or not series.finite:
            continue
        if name.startswith("eval_"):
            value, pairs = series.tail(1)[0], eval_samples(rater.run)
        else:
            value, pairs = _recent_pairs(rater, name, rule.limits["pairs"])
        few: Confidence | None = "few" if pairs is None or pairs < rule.limits["pairs"] else None
        params: dict[str, Param] = {} if pairs is None else {"pairs": pairs}
        assert rule.bands is not None
        level = rule.bands.level(value)
        if level in ("fair", "poor") and not rater.far(rule.limits["late"]):
            # Every run begins at chance.
            rater.add(rule, name, value, None, "early", params, confidence=few)
            continue
        sure = value >= rule.limits["saturated"] and few is None and _growing(rater)
        about = rater.known("saturated") or (("saturated",) if sure else ())
        rater.add(rule, name, value, level, rule.words[level], params, confidence=few, reservations=about)


def _growing(rater: Rater) -> bool:
    """The margins go on growing."""
    series = rater.run.series.get("rewards/margins")
    if series is None or series.finite < 8:
        return False
    size = facts.window(series.finite)
    return facts.median(series.tail(size)) > 1.02 * facts.median(series.tail(3 * size)[:size])


def _recent_pairs(rater: Rater, name: str, wanted: float) -> tuple[float, int | None]:
    """Mean of a training accuracy over the last rows that hold ``wanted`` pairs, and how many they hold."""
    series = rater.run.series[name]
    batch = batch_size(rater.run)
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
        sure = -now > 2 * facts.noise(series.tail(200)) / math.sqrt(size)
        if not rater.far(limits["late"]) or not sure:
            # Every run begins around 0.
            rater.add(rule, name, series.tail(1)[0], None, words["early"], params, confidence=few)
            return
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


def _preference(rater: Rater) -> None:
    _accuracy(rater)
    for name in ("rewards/margins", "eval_rewards/margins"):
        _margins(rater, name)


def _pairs_ranked(rater: Rater) -> None:
    """The share of pairs that a reward model ranks right."""
    series, rule = rater.run.series.get("eval_accuracy"), rater.rule("eval_accuracy")
    if series is None or rule is None or rule.bands is None or not series.finite:
        return
    value, pairs = series.tail(1)[0], eval_samples(rater.run)
    few = pairs is None or pairs < facts.FEW_SAMPLES
    level = rule.bands.level(value)
    rater.add(
        rule, "eval_accuracy", value, level, rule.words[level], {} if pairs is None else {"pairs": pairs},
        confidence="few" if few else None, reservations=("few_eval_samples",) if few and pairs is not None else (),
    )  # fmt: skip


def _course(series: Series, rows: int) -> tuple[str, float]:
    """rising, falling or level over the last rows, by twice the error of the slope; and the change along the line."""
    values = series.tail(max(rows, 3))
    if len(values) < 3:
        return "level", 0.0
    found, error = slope(values)
    word = "rising" if found > 2 * error else "falling" if found < -2 * error else "level"
    return word, found * (len(values) - 1)


def _token_accuracy(rater: Rater) -> None:
    for name in ("mean_token_accuracy", "eval_mean_token_accuracy", "eval_accuracy", "accuracy"):
        series, rule = rater.run.series.get(name), rater.rule(name)
        if series is None or rule is None or rule.code != "token_accuracy" or not series.finite:
            continue
        need = 3 if name.startswith("eval_") else int(rule.limits["min_rows"])
        value = series.tail(1)[0]
        if series.finite < need:
            rater.add(rule, name, value, None, rule.words["early"], {"need": need}, confidence="few")
            continue
        word, change = _course(series, int(rule.limits["window"]))
        level: Level | None = {"rising": "good", "falling": "fair"}.get(word)  # type: ignore[assignment]
        rater.add(rule, name, value, level, rule.words[level or "level"], {"change": change})


def _reward(rater: Rater) -> None:
    series, rule = rater.run.series.get("reward"), rater.rule("reward")
    if series is None or rule is None or not series.finite:
        return
    value, need = series.tail(1)[0], int(rule.limits["min_rows"])
    if series.finite < need:
        rater.add(rule, "reward", value, None, rule.words["early"], {"need": need}, confidence="few")
        return
    course, change = _course(series, int(rule.limits["window"]))
    level: Level = "fair"
    word = "fair"
    if course == "level":
        size = facts.window(series.finite)
        sure = 2 * 1.25 * facts.noise(series.tail(200)) * math.sqrt(2 / size)
        if facts.median(series.tail(size)) - facts.median(facts.head(series, size)) > sure:
            level, word = "good", "kept"
    else:
        level = "good" if course == "rising" else "poor"
        word = level
    rater.add(rule, "reward", value, level, rule.words[word], {"change": change})


def _kl(rater: Rater) -> None:
    for name in ("kl", "objective/kl"):
        series, rule = rater.run.series.get(name), rater.rule(name)
        if series is None or rule is None or not series.finite:
            continue
        value, need = series.tail(1)[0], int(rule.limits["min_rows"])
        if series.finite < need:
            rater.add(rule, name, value, None, rule.words["early"], {"need": need}, confidence="few")
        elif rule.code == "kl_trend":
            word, change = _course(series, int(rule.limits["window"]))
            rater.add(rule, name, value, None, rule.words[word], {"change": change})
        else:
            size = facts.window(series.finite)
            start, now = facts.median(facts.head(series, size)), facts.median(series.tail(size))
            sure = 2 * 1.25 * facts.noise(series.tail(200)) / math.sqrt(size)
            word = "good"
            if now < -sure:
                word = "negative"
            elif now > rule.limits["growth"] * abs(start) and now - start > sure and now > 0.1:
                word = "growing"
            level: Level = "good" if word == "good" else "poor"
            rater.add(rule, name, value, level, rule.words[word], {"first": start, "now": now})


def _zero_std(rater: Rater) -> None:
    series, rule = rater.run.series.get("frac_reward_zero_std"), rater.rule("frac_reward_zero_std")
    if series is None or rule is None or rule.bands is None or not series.finite:
        return
    recent = series.tail(int(rule.limits["rows"]))
    value = sum(recent) / len(recent)
    level = rule.bands.level(value)
    few: Confidence | None = "few" if len(recent) < 5 else None
    rater.add(
        rule, "frac_reward_zero_std", value, level, rule.words[level], {"share": value * 100}, confidence=few
    )  # fmt: skip


def rate_stages(rater: Rater) -> None:
    """Ratings of the metrics that only some stages log."""
    for part in (_preference, _pairs_ranked, _token_accuracy, _reward, _kl, _zero_std):
        part(rater)
