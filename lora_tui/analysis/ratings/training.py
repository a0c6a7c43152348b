"""Rate the numbers of the training: loss, gradient norm, learning rate, epochs, tokens, speed, trainable share."""

from __future__ import annotations

import math
from dataclasses import replace

from lora_tui.analysis import run_facts
from lora_tui.analysis.judgement import Confidence, Level, Param
from lora_tui.analysis.rating_rules import Rule, lr_family, usual_lr_ranges
from lora_tui.analysis.ratings.collector import RatingCollector, batch_size
from lora_tui.analysis.stages import ADAPTER_METHODS
from lora_tui.analysis.statistics import median, noise, window
from lora_tui.records.documents import LogRow
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series


def _loss(collector: RatingCollector) -> None:
    """Rate the train loss."""
    series = collector.run.series.get("loss")
    rule = collector.rule("loss")
    if series is None or rule is None or not series.finite:
        return
    recent = series.tail(1)
    last, count = recent[0], series.finite
    limits, words = rule.limits, rule.words
    params: dict[str, Param] = {"count": count, "last": last, "need": int(limits.get("min_rows", 0))}
    if "none" in words:
        collector.add(rule, "loss", last, None, words["none"], params)
        return
    if collector.present("dead_run", "nan_loss"):
        collector.add(rule, "loss", last, "poor", words["broken"], params)
        return
    if last == 0.0 and count > 1 and median(series.tail(6)[:-1]) >= run_facts.SUDDEN_ZERO_LOSS:
        # The trainer prints NaN as exactly 0; until the next rows show whether it is NaN, there is no level.
        collector.add(rule, "loss", last, None, "after_rows", params, confidence="few")
        return
    size = window(count)
    start, now = median(run_facts.head(series, size)), median(series.tail(size))
    fall = (start - now) / start if start > 0 else 0.0
    params.update(first=start, now=now, fall=fall * 100)
    few = count < limits["min_rows"]
    if few and (count < 2 or rule.code != "loss_trend" or fall < limits["fall"]):
        collector.add(rule, "loss", last, None, "after_rows", params, confidence="few")
        return
    level, word = {"loss_trend": _trend, "loss_kto": _kto}.get(rule.code, _preference)(collector, rule, params)
    trust: Confidence | None = "few" if few or (level == "fair" and count < limits.get("fair_rows", 0)) else None
    collector.add(
        rule, "loss", last, level, words[word], params, confidence=trust,
        reservations=collector.present("memorised", "loss_scale_bug", "two_writers"),
    )  # fmt: skip


def _trend(collector: RatingCollector, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
    """Return the level of a language model's loss by its trend, and the key of its words; add numbers to ``params``."""
    series = collector.run.series["loss"]
    worse = run_facts.above_start(series)
    if worse is not None:
        params["start"] = worse[0]
        return "poor", "above_start"
    leaving = run_facts.diverging(series)
    if leaving is not None:
        params["best"] = leaving[0]
        return "poor", "diverging"
    if float(params["fall"]) >= rule.limits["fall"] * 100:
        lowest = _lowest_before_rise(series, rule.limits["rise"])
        if lowest is not None:
            params["lowest"] = lowest
            return "fair", "rising"
        return "good", "good"
    done = run_facts.final(collector.status)
    if done or (collector.progressed(rule.limits["late"]) and series.finite >= rule.limits["fair_rows"]):
        return "fair", "fair"
    return None, "early"


def _lowest_before_rise(series: Series, rise: float) -> float | None:
    """Return the lowest level if the last window is above it by the share ``rise`` and beyond noise, else None."""
    size = window(series.finite)
    if series.finite < 4 * size:
        return None
    recent = series.tail(200)
    now = median(recent[-size:])
    # The moving average at up to 200 rows stands for the earlier windows, whose medians would take time in proportion
    # to the length of the run.
    end = len(series) - size
    levels = [level for level in series.smooth[size : end : max(1, (end - size) // 200)] if math.isfinite(level)]
    lowest = min(levels, default=now)
    margin = 6 * noise(recent) / math.sqrt(size)
    return lowest if lowest > 0 and now - lowest > max(rise * lowest, margin) else None


def _kto(collector: RatingCollector, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
    """Return the level of a kto loss, and the key of its words."""
    now = float(params["now"])
    if now > rule.limits["poor"]:
        return "poor", "poor"
    if float(params["fall"]) >= rule.limits["fall"] * 100:
        return "good", "good"
    return ("fair", "fair") if collector.progressed(rule.limits["late"]) else (None, "early")


def _preference(collector: RatingCollector, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
    """Return the level of a dpo or rm loss, and the key of its words."""
    limits, now = rule.limits, float(params["now"])
    start = run_facts.head(collector.run.series["loss"], 1)[0]
    mixed = (run_facts.number(collector.run, "pref_ftx") or 0.0) > 0
    kind = run_facts.names(collector.run, "pref_loss")
    sigmoid = not kind or "sigmoid" in kind
    if collector.stage == "dpo" and (mixed or not sigmoid or not limits["start_low"] <= start <= limits["start_high"]):
        # Other losses start elsewhere and pref_ftx adds a second loss, so the bounds around ln 2 do not apply.
        return None, "falling" if float(params["fall"]) > 3 else "level"
    if now > limits["poor"]:
        return "poor", "poor"
    if now < limits["good"]:
        return "good", "good"
    return ("fair", "fair") if collector.progressed(limits["late"]) else (None, "early")


def _grad_norm(collector: RatingCollector) -> None:
    """Rate the gradient norm, which is logged before clipping."""
    series, rule = collector.run.series.get("grad_norm"), collector.rule("grad_norm")
    if series is None or rule is None or not series.finite:
        return
    limits, words = rule.limits, rule.words
    recent = series.tail(20)
    middle, top = median(recent), max(recent)
    loss = collector.run.series.get("loss")
    level_now = median(loss.tail(20)) if loss is not None and loss.finite else None
    few: Confidence | None = "few" if series.finite < limits["min_values"] else None
    params: dict[str, Param] = {"median": middle, "max": top, "step": series.last_step or 0}
    bad = sum(
        not math.isfinite(value) and step > limits["warm"]
        for step, value in zip(series.steps[-20:], series.values[-20:], strict=True)
    )
    level: Level
    if "dead_run" in collector.finding_codes or bad >= 3:
        level, word = "poor", "nan"
    elif middle > limits["fair"]:
        level, word = "poor", "poor"
    elif middle < limits["small"]:
        if loss is not None and run_facts.above_start(loss) is not None:
            level, word = "poor", "none"
        elif level_now is not None and level_now < limits["low_loss"]:
            level, word = "good", "small"
        elif middle < limits["none"]:
            level, word = "poor", "none"
        else:
            level, word = "fair", "weak"
    elif middle > limits["good"]:
        level, word = "fair", "fair"
    elif len(recent) >= limits["min_values"] and top > limits["jump"] * middle:
        level, word = "fair", "jumpy"
    else:
        level, word = "good", "good"
    if word == "none" and level_now is None:
        return
    collector.add(rule, "grad_norm", recent[-1], level, words[word], params, confidence=few)


def _lr(collector: RatingCollector) -> None:
    """Rate the peak learning rate by the usual ones of stage and method."""
    series, rule = collector.run.series.get("lr"), collector.rule("lr")
    if series is None or rule is None or collector.stage is None or not series.finite:
        return
    planned = run_facts.number(collector.run, "learning_rate")
    seen = series.max
    over = series.last_step is not None and series.max_step < series.last_step
    peak = planned if planned is not None and seen <= planned * 1.01 else seen
    if peak <= 0:
        return
    params: dict[str, Param] = {"peak": peak, "share": (series.tail(1)[0]) / peak * 100}
    if planned is None and not over:
        collector.add(rule, "lr", peak, None, rule.words["early"], params, confidence="few")
        return
    method = collector.run.method
    best: tuple[int, Level, str] | None = None
    family = lr_family(collector.stage)
    for side, (low, high) in usual_lr_ranges(collector.stage, method, collector.context.lr_ranges).items():
        factor = max(low / peak, peak / high)
        # The first logged rate may have decayed a little below the peak.
        rank: tuple[int, Level, str]
        if factor <= 1.0001:
            rank = (0, "good", "good")
        elif factor <= rule.limits["beyond"] * 1.0001:
            rank = (1, "fair", "high" if peak > high else "low")
        else:
            rank = (2, "poor", "poor")
        if best is None or rank < best:
            best = rank
            params.update(low=low, high=high)
            rule = replace(rule, own=rule.own or f"{family}.{side}" in collector.context.own_lr)
    if best is not None:
        # Outside the usual range the number alone proves nothing, since small models train well far above it.
        trust: Confidence | None = None if (best[0] == 0 and method is not None) or rule.own else "orientation"
        collector.add(rule, "lr", peak, best[1], rule.words[best[2]], params, confidence=trust)


def _epoch(collector: RatingCollector) -> None:
    """Rate the number of epochs so far."""
    rule, value = collector.rule("epoch"), collector.progress.epoch
    if rule is None or value is None:
        return
    if "none" in rule.words:
        collector.add(rule, "epoch", value, None, rule.words["none"], {"epochs": value})
        return
    word = "good" if value <= rule.limits["good"] else "fair" if value <= rule.limits["fair"] else "more"
    level: Level = "good" if word == "good" else "fair"
    reservations = collector.present("memorised") if level == "fair" else ()
    if word == "more" and not reservations:
        reservations = ("many_passes",)
    collector.add(rule, "epoch", value, level, rule.words[word], {"epochs": value}, reservations=reservations)


def _tokens(collector: RatingCollector) -> None:
    """Add the number of tokens, which has no level."""
    for name in ("total_tokens", "num_tokens"):
        series, rule = collector.run.series.get(name), collector.rule(name)
        if series is None or rule is None or not series.finite:
            continue
        total, epoch = series.tail(1)[0], collector.progress.epoch
        params: dict[str, Param] = {"tokens": total}
        if epoch is not None and epoch > 0:
            params.update(epochs=epoch, a_pass=total / max(epoch, 1.0))
        collector.add(rule, name, total, None, rule.words["none" if epoch and epoch > 1 else "total"], params)


def _speed(collector: RatingCollector) -> None:
    """Rate tokens, steps and samples per second by the earlier speed of the run, tokens else by usual ones."""
    steps, batch = collector.progress.steps_per_s, batch_size(collector.run)
    samples = steps * batch if steps is not None and batch is not None else None
    for name, value in (
        ("throughput", collector.progress.tokens_per_s), ("steps_per_s", steps), ("samples_per_s", samples),
    ):  # fmt: skip
        series = collector.run.series.get(name)
        if value is None and series is not None and series.finite and collector.run.segments == 1:
            value = series.tail(1)[0]
        if value is None or value <= 0:
            continue
        own, general = collector.rule(name, "speed_self"), collector.rule(name, "throughput")
        if own is None or own.thresholds is None:
            continue
        column = "total_tokens" if name == "throughput" else None
        change = _speed_change(collector.run, column, int(own.limits["min_rows"]))
        if change is not None:
            share, pieces = change
            level = own.thresholds.level(share)
            few: Confidence | None = "few" if pieces < 5 else None
            collector.add(own, name, value, level, own.words[level],
                      {"share": share * 100, "slower": 100 - share * 100}, confidence=few)  # fmt: skip
        elif general is not None and general.thresholds is not None:
            devices = run_facts.number(collector.run, "num_devices") or 1.0
            level = general.thresholds.level(value / devices)
            collector.add(general, name, value, level, general.words[level], {"devices": devices})
        else:
            collector.add(own, name, value, None, own.words["early"], confidence="few")


def _trainable(collector: RatingCollector) -> None:
    """Add the share of parameters that an adapter trains, which has no level."""
    rule, share = collector.rule("trainable_percent"), run_facts.number(collector.run, "trainable_percent")
    if (
        rule is None
        or share is None
        or (collector.run.method is not None and collector.run.method not in ADAPTER_METHODS)
    ):
        return
    limits = rule.limits
    word = (
        "few" if share < limits["few"] else "usual" if share <= limits["usual"]
        else "many" if share <= limits["many"] else "all"
    )  # fmt: skip
    params: dict[str, Param] = {"share": share}
    count = run_facts.number(collector.run, "trainable_params")
    if count is not None:
        params["count"] = count
    collector.add(rule, "trainable_percent", share, None, rule.words[word], params)


def _speed_change(run: Run, name: str | None, least: int) -> tuple[float, int] | None:
    """Return the speed of the last rows divided by that of the first third of the current segment.

    The second number is that of the measurements on the side that has fewer. ``name`` is the metric that is counted,
    None for steps. The first rows of the segment are left out. None with fewer than ``least`` rows or with too few
    measurements.
    """
    rows, starts = run.rows, run.timeline.starts
    begin = starts[-1] if starts else 0
    count = len(rows) - begin
    if count < least:
        return None
    skipped = min(5, count // 4)
    third = max(4, (count - skipped) // 3)
    early = _rates(list(rows[begin + skipped : begin + skipped + min(third, 150)]), name)
    late = _rates(list(rows[-min(third, 60) :]), name)
    if len(early) < 3 or len(late) < 3:
        return None
    before = median(early)
    return (median(late) / before, min(len(early), len(late))) if before > 0 else None


def _rates(rows: list[LogRow], name: str | None) -> list[float]:
    """Return the steps per second (or ``name`` per second) over pieces of at least 10 s.

    Shorter pieces are not precise, since the clocks in the files count whole seconds.
    """
    out: list[float] = []
    start: tuple[float, float] | None = None
    for row in rows:
        amount = row.step if name is None else row.values.get(name)
        if row.elapsed_s is None or amount is None:
            continue
        here = (row.elapsed_s, float(amount))
        if row.kind != "train" or start is None or here[0] < start[0]:
            # The time before an eval row was spent in the evaluation.
            start = here
        elif here[0] - start[0] >= 10:
            out.append((here[1] - start[1]) / (here[0] - start[0]))
            start = here
    return out


def rate_training(collector: RatingCollector) -> None:
    """Rate loss, gradient norm, learning rate, epochs, tokens, speed and trainable share."""
    for part in (_loss, _grad_norm, _lr, _epoch, _tokens, _speed, _trainable):
        part(collector)
