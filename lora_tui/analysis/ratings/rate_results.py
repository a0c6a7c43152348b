"""Ratings of the results files."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.datasets import evaluated_on, overlap, trained_on
from lora_tui.analysis.model import Confidence, Param
from lora_tui.analysis.rating_rules import find_rule
from lora_tui.analysis.ratings.collector import Rater
from lora_tui.analysis.ratings.evaluation import rate_eval_speed
from lora_tui.runs.run import ResultSet, Run

SOME_SAMPLES = 200
"""Under this many samples the error of a score is shown."""
BLEU_ERROR = 24.7
"""Error of BLEU-4 is this divided by the root of the number of samples (measured)."""

_SPOILED = ("degenerate_predictions", "scores_inconsistent")
"""Findings about the predictions that leave their scores without meaning."""


def rate_results(rater: Rater) -> None:
    """Ratings of every number in train, eval and predict results."""
    for split, found, source in facts.result_sets(rater.run):
        about = facts.reservations(found, split, source)
        for key, value in found.values.items():
            if not key.startswith(f"{split}_") or not math.isfinite(value):
                continue
            _result(rater, split, key, value, found, source, about)


def _result(
    rater: Rater, split: str, key: str, value: float, found: ResultSet, source: Run, about: tuple[str, ...]
) -> None:
    topic = key[len(split) + 1 :]
    generated = any(name.endswith("bleu-4") for name in found.values)
    # LLaMA-Factory computes BLEU and ROUGE in its sft stage alone.
    stage = "sft" if generated and facts.llamafactory(source) else rater.stage
    rules = rater.context.rules
    rule = find_rule(topic, stage, source.producer, rules=rules)
    if key == "train_loss":
        rule = rater.rule("train_loss")
    elif topic == "samples_per_second" and not generated:
        if split == "eval" and key not in rater.out:
            rate_eval_speed(rater, value, found.values.get("eval_runtime"))
            return
        rule = find_rule(topic, stage, source.producer, "train_speed", rules) if split == "train" else None
    if rule is None or key in rater.out:
        return
    count = facts.samples(found, split, source)
    params: dict[str, Param] = {} if count is None else {"samples": count}
    if rule.bands is not None and rule.code in ("bleu4", "rouge1", "rouge2", "rougel"):
        if count is not None and count < SOME_SAMPLES:
            params["error"] = BLEU_ERROR / math.sqrt(count)
        trust: Confidence | None = "few" if count is None or count < facts.FEW_SAMPLES else None
        level = rule.bands.level(value)
        rater.add(rule, key, value, level, rule.words[level], params, confidence=trust,
                 reservations=about + _data(rater, split, source) + rater.known(*_SPOILED))  # fmt: skip
    elif rule.code == "predict_speed":
        if generated and value > 0 and rule.bands is not None:
            level = rule.bands.level(1 / value)
            rater.add(rule, key, value, level, rule.words[level], {**params, "seconds": 1 / value})
    elif rule.code == "batch":
        batch = _batch(found, split, count)
        if batch is not None:
            rater.add(rule, key, value, None, rule.words["none"], {"batch": batch})
    elif rule.code == "runtime":
        if count is not None:
            scored = generated and count < SOME_SAMPLES
            if scored:
                params["error"] = BLEU_ERROR / math.sqrt(count)
            rater.add(rule, key, value, None, rule.words["scored" if scored else "none"], params)
    elif rule.code in ("train_loss", "score_scale", "train_speed"):
        rater.add(rule, key, value, None, rule.words["none"], reservations=about)
    elif rule.bands is not None and rule.code == "reward_accuracy":
        level = rule.bands.level(value)
        few: Confidence | None = "few" if count is None or count < facts.FEW_SAMPLES else None
        rater.add(rule, key, value, level, rule.words[level], {} if count is None else {"pairs": count},
                 confidence=few, reservations=about)  # fmt: skip
    elif rule.bands is not None and rule.code == "preparation":
        level = rule.bands.level(value)
        rater.add(rule, key, value, level, rule.words[level], {"seconds": value})


def _data(rater: Rater, split: str, source: Run) -> tuple[str, ...]:
    """Reservations about what the scores were computed on."""
    out = rater.known("memorised")
    if split != "predict":
        return out
    if overlap(rater.run, source):
        return (*out, "evaluated_on_training_data")
    if (facts.number(source, "val_size") or facts.number(rater.run, "val_size") or 0.0) > 0:
        return out
    evaluated = evaluated_on(source)
    if evaluated is None or (not evaluated.sure and evaluated.names & trained_on(rater.run)):
        return (*out, "unknown_eval_data")
    return out


def _batch(found: ResultSet, split: str, count: int | None) -> int | None:
    """Batch size that fits a results file. The last batch is seldom full, so several sizes may fit: then the one that
    is a power of two, as nearly all are, else the smallest."""
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
