"""Rate evaluations (eval loss, perplexity, gap to the train loss, speed) and every number of the results files."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.datasets import evaluated_on, overlap, trained_on
from lora_tui.analysis.judgement import Confidence, Level, Param
from lora_tui.analysis.rating_rules import Rule, find_rule
from lora_tui.analysis.ratings.collector import RatingCollector, batch_size, eval_samples
from lora_tui.analysis.stages import LANGUAGE_STAGES
from lora_tui.analysis.statistics import median
from lora_tui.runs.merged_series import perplexity
from lora_tui.runs.run import ResultSet, Run
from lora_tui.runs.series import Series

MIN_EVAL_S = 5.0
"""Seconds below which the speed of an evaluation says little, since most of it is start-up."""


def _evaluation(collector: RatingCollector) -> None:
    """Rate eval loss, perplexity and gap."""
    current = run_facts.last_eval(collector.run, collector.status)
    if current is None:
        return
    value, _, results = current
    series = collector.run.series.get("eval_loss")
    evals = max(series.finite if series is not None else 0, 1)
    few: Confidence | None = "few" if collector.status.live and evals < 3 else None
    reservations = (
        _reservations(collector) if results is None else run_facts.reservations(results, "eval", collector.run)
    )
    reservations += collector.present("evaluated_on_training_data")
    params: dict[str, Param] = {"evals": evals, "need": 2}
    if series is not None and series.finite >= 2:
        first = run_facts.head(series, 1)[0]
        params.update(first=first, lowest=series.min, change=(value - first) / abs(first) * 100 if first else 0.0)
    rule = collector.rule("eval_loss")
    banded = rule is not None and rule.thresholds is not None
    if banded and (not collector.status.live or series is None or series.finite < 2):
        _by_size(collector, value, params, few, reservations)
    elif series is not None and series.finite:
        _by_trend(collector, series, value, params, reservations)
    if not banded and "perplexity" in collector.run.series:
        unknown = collector.rule("perplexity", "stage_unknown")
        if unknown is not None:
            collector.add(unknown, "perplexity", perplexity(value), None, unknown.words["none"])
    _gap(collector, few, reservations)


def _by_size(
    collector: RatingCollector,
    value: float,
    params: dict[str, Param],
    few: Confidence | None,
    reservations: tuple[str, ...],
) -> None:
    """Rate perplexity and eval loss of a final or first evaluation by the thresholds of the perplexity."""
    for name, number in (("eval_loss", value), ("perplexity", perplexity(value))):
        rule = collector.rule(name)
        if rule is not None and rule.thresholds is not None:
            level = rule.thresholds.level(perplexity(value))
            collector.add(
                rule, name, number, level, rule.words[level], params, confidence=few, reservations=reservations
            )


def _by_trend(
    collector: RatingCollector, series: Series, value: float, params: dict[str, Param], reservations: tuple[str, ...]
) -> None:
    """Rate against the first and the best evaluation, while the run goes on and where no thresholds apply."""
    rule = collector.rule("eval_loss", "eval_trend")
    if rule is None:
        return
    if series.finite < 2:
        collector.add(
            rule, "eval_loss", value, None, rule.words["early"], params, confidence="few", reservations=reservations
        )
        return
    few: Confidence | None = "few" if series.finite < rule.limits["evals"] else None
    level, word = _trend(rule, series, value)
    if word == "falling" and not collector.status.live:
        # The loss of a run that has ended is no longer falling.
        word = "near"
    names = ("eval_loss", "perplexity") if collector.stage in LANGUAGE_STAGES else ("eval_loss",)
    for name in names:
        number = value if name == "eval_loss" else perplexity(value)
        collector.add(rule, name, number, level, rule.words[word], params, confidence=few, reservations=reservations)


def _trend(rule: Rule, series: Series, value: float) -> tuple[Level, str]:
    """Return the level of an eval loss by its trend, and the key of its words.

    It is good if near the best evaluation and below the first one, fair if above the best or no better than the first,
    and poor if above the first.
    """
    recent = series.tail(100)
    first, best = run_facts.head(series, 1)[0], series.min
    noise = 0.0
    if len(recent) >= 5:
        second = [abs(a - 2 * b + c) for a, b, c in zip(recent, recent[1:], recent[2:], strict=False)]
        noise = 1.4826 * median(second) / math.sqrt(6)
    slack = max(rule.limits["slack"] * abs(best), 3 * noise)
    if value > first + max(rule.limits["slack"] * abs(first), 3 * noise):
        return "poor", "above"
    if value > best + slack:
        return "fair", "rising"
    if value < first - max(rule.limits["fall"] * abs(first), 1.5 * noise):
        return "good", "falling" if value <= best and value < recent[-2] else "near"
    return "fair", "level"


def _reservations(collector: RatingCollector) -> tuple[str, ...]:
    """Return the codes of findings that undermine an evaluation in the rows."""
    count = eval_samples(collector.run)
    return ("few_eval_samples",) if count is not None and count < run_facts.FEW_SAMPLES else ()


def _gap(collector: RatingCollector, few: Confidence | None, reservations: tuple[str, ...]) -> None:
    """Rate the gap between eval and train loss, in percent."""
    rule = collector.rule("gap")
    if rule is None or rule.thresholds is None or collector.present("dead_run", "nan_loss"):
        return
    found = run_facts.gap(collector.run, collector.status, int(rule.limits["rows"]), rule.limits["share"])
    if found is None:
        return
    gap, error = found
    params: dict[str, Param] = {"gap": gap, "error": error}
    if error > rule.limits["error"]:
        few = "few"
    if (collector.progress.epoch or math.inf) <= 1.01:
        params["note"] = "single_epoch"
    if gap < rule.limits["below"]:
        collector.add(rule, "gap", gap, None, rule.words["below"], params, confidence=few, reservations=reservations)
        return
    level = rule.thresholds.level(gap)
    if error > rule.limits["error"] and level != "good" and gap - rule.thresholds.good < 2 * error:
        # The rows scatter too much to distinguish the gap from none.
        collector.add(rule, "gap", gap, None, "early", params, confidence="few", reservations=reservations)
        return
    collector.add(rule, "gap", gap, level, rule.words[level], params, confidence=few, reservations=reservations)


def rate_eval_speed(collector: RatingCollector, rate: float, runtime: float | None) -> None:
    """Rate the samples/s (``rate``) of an evaluation without generation against those of the training.

    ``runtime`` is the length of the evaluation in seconds, None if unknown.
    """
    rule = collector.rule("samples_per_second", "eval_speed")
    if rule is None or rate <= 0:
        return
    training = _training_speed(collector)
    if training is None:
        collector.add(rule, "eval_samples_per_second", rate, None, rule.words["none"])
        return
    share = rate / training
    word = "good" if share >= rule.limits["good"] else "between" if share >= rule.limits["fair"] else "fair"
    few: Confidence | None = "few" if runtime is None or runtime < MIN_EVAL_S else None
    collector.add(
        rule, "eval_samples_per_second", rate, "fair" if word == "fair" else "good", rule.words[word],
        {"share": share * 100, "training": training}, confidence=few,
    )  # fmt: skip


def _training_speed(collector: RatingCollector) -> float | None:
    """Return the samples/s of the training, None if unknown.

    They come from the current speed, else from the training results if the run was never resumed.
    """
    steps, batch = collector.progress.steps_per_s, batch_size(collector.run)
    if steps is not None and batch is not None and steps > 0:
        return steps * batch
    results = collector.run.results().get("train")
    rate = results.values.get("train_samples_per_second") if results is not None and not results.stale else None
    return rate if rate is not None and 0 < rate < math.inf and collector.run.segments == 1 else None


def _speed(collector: RatingCollector) -> None:
    """Rate the speed of the last evaluation in the rows."""
    rate, runtime = collector.run.series.get("eval_samples_per_second"), collector.run.series.get("eval_runtime")
    generated = any(name.endswith("bleu-4") for name in collector.run.series)
    if rate is not None and rate.finite and not generated:
        length = runtime.tail(1)[0] if runtime is not None and runtime.finite else None
        rate_eval_speed(collector, rate.tail(1)[0], length)


def rate_evaluation(collector: RatingCollector) -> None:
    """Rate eval loss, perplexity, gap and speed."""
    _evaluation(collector)
    _speed(collector)


SOME_SAMPLES = 200
"""Number of samples below which the error of a score is shown."""
_SPOILING = ("degenerate_predictions", "scores_inconsistent")
"""Codes of findings that make the scores of predictions meaningless."""


def rate_results(collector: RatingCollector) -> None:
    """Rate every number in the train, eval and predict results."""
    for split, found, source in run_facts.result_sets(collector.run):
        reservations = run_facts.reservations(found, split, source)
        for key, value in found.values.items():
            if not key.startswith(f"{split}_") or not math.isfinite(value):
                continue
            _result(collector, split, key, value, found, source, reservations)


def _result(
    collector: RatingCollector,
    split: str,
    key: str,
    value: float,
    found: ResultSet,
    source: Run,
    reservations: tuple[str, ...],
) -> None:
    """Rate one number of a results file: the value ``key`` of ``found``, in the directory of ``source``."""
    topic = key[len(split) + 1 :]
    generated = any(name.endswith("bleu-4") for name in found.values)
    # LLaMA-Factory computes BLEU and ROUGE in its sft stage alone.
    stage = "sft" if generated and run_facts.llamafactory(source) else collector.stage
    rules = collector.context.rules
    rule = find_rule(topic, stage, source.producer, rules=rules)
    if key == "train_loss":
        rule = collector.rule("train_loss")
    elif topic == "samples_per_second" and not generated:
        if split == "eval" and key not in collector.ratings:
            rate_eval_speed(collector, value, found.values.get("eval_runtime"))
            return
        rule = find_rule(topic, stage, source.producer, "train_speed", rules) if split == "train" else None
    if rule is None or key in collector.ratings:
        return
    count = run_facts.samples(found, split, source)
    params: dict[str, Param] = {} if count is None else {"samples": count}
    if rule.thresholds is not None and rule.code in ("bleu4", "rouge1", "rouge2", "rougel"):
        if count is not None and count < SOME_SAMPLES:
            params["error"] = run_facts.BLEU_ERROR / math.sqrt(count)
        trust: Confidence | None = "few" if count is None or count < run_facts.FEW_SAMPLES else None
        level = rule.thresholds.level(value)
        doubts = reservations + _data(collector, split, source) + collector.present(*_SPOILING)
        collector.add(rule, key, value, level, rule.words[level], params, confidence=trust, reservations=doubts)
    elif rule.code == "predict_speed":
        if generated and value > 0 and rule.thresholds is not None:
            level = rule.thresholds.level(1 / value)
            collector.add(rule, key, value, level, rule.words[level], {**params, "seconds": 1 / value})
    elif rule.code == "batch":
        batch = _batch(found, split, count)
        if batch is not None:
            collector.add(rule, key, value, None, rule.words["none"], {"batch": batch})
    elif rule.code == "runtime":
        if count is not None:
            scored = generated and count < SOME_SAMPLES
            if scored:
                params["error"] = run_facts.BLEU_ERROR / math.sqrt(count)
            collector.add(rule, key, value, None, rule.words["scored" if scored else "none"], params)
    elif rule.code in ("train_loss", "score_scale", "train_speed"):
        collector.add(rule, key, value, None, rule.words["none"], reservations=reservations)
    elif rule.thresholds is not None and rule.code == "reward_accuracy":
        level = rule.thresholds.level(value)
        few: Confidence | None = "few" if count is None or count < run_facts.FEW_SAMPLES else None
        collector.add(rule, key, value, level, rule.words[level], {} if count is None else {"pairs": count},
                 confidence=few, reservations=reservations)  # fmt: skip
    elif rule.thresholds is not None and rule.code == "preparation":
        level = rule.thresholds.level(value)
        collector.add(rule, key, value, level, rule.words[level], {"seconds": value})


def _data(collector: RatingCollector, split: str, source: Run) -> tuple[str, ...]:
    """Return the codes of findings about the data on which scores were computed."""
    out = collector.present("memorised")
    if split != "predict":
        return out
    if overlap(collector.run, source):
        return (*out, "evaluated_on_training_data")
    if (run_facts.number(source, "val_size") or run_facts.number(collector.run, "val_size") or 0.0) > 0:
        return out
    evaluated = evaluated_on(source)
    if evaluated is None or (not evaluated.sure and evaluated.names & trained_on(collector.run)):
        return (*out, "unknown_eval_data")
    return out


def _batch(found: ResultSet, split: str, count: int | None) -> int | None:
    """Return the batch size that fits the rates in a results file with ``count`` samples, None if unknown.

    The last batch is seldom full, so several sizes may fit. Then it is the one that is a power of two, as nearly all
    are, else the smallest.
    """
    runtime, rate = found.values.get(f"{split}_runtime"), found.values.get(f"{split}_steps_per_second")
    if split == "train":
        samples = found.values.get("train_samples_per_second")
        fits = samples is not None and rate is not None and rate > 0 and math.isfinite(samples / rate)
        return max(1, round(samples / rate)) if fits and samples is not None and rate is not None else None
    if count is None or runtime is None or rate is None or not math.isfinite(runtime * rate):
        return None
    batches = round(runtime * rate)
    if batches < 2:
        return None
    low, high = math.ceil(count / batches), math.ceil(count / (batches - 1)) - 1
    power = 1 << (low - 1).bit_length()
    return power if low <= power <= high else low
