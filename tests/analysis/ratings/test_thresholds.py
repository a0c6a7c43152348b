"""Every rating rule turns exactly at its thresholds.

Three tables stand against each other. RULES (the product) has the thresholds. EXPECTED repeats them by hand, from the
project's page on judgement, so that a changed rule is noticed. PROBES say for each threshold how to make a run whose
decisive number is ``x`` and what is said on either side: they are tried just below, at and just above the threshold
that RULES has, and once more with the threshold moved, so that a rating which compares with another number, the other
way round, or with a number of its own is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.rating_rules import COUNTS, LR_RANGES, RULES, Rule, find_rule
from lora_tui.analysis.ratings.rate import rate
from tests.support.rated_runs import (
    DPO,
    KTO,
    LATER,
    SFT,
    SOON,
    eval_row,
    finished_run,
    halves,
    metric_rows,
    rows_of,
    rows_with_evals,
    timed_rows,
)
from tests.support.run_builder import START, evaluation, run_of, summary, train

LANGUAGE, PREFERENCES = "pt sft", "dpo kto orpo simpo"
LLAMAFACTORY = "llamafactory"

EXPECTED: dict[str, tuple[str, str | None, str | None, str, str, dict[str, float]]] = {
    # code: metrics, stages, producers, basis, confidence, thresholds
    "loss_trend": ("loss", "orpo pt sft simpo", None, "base", "firm",
                   {"min_rows": 8, "fall": 0.05, "late": 0.25, "fair_rows": 30, "rise": 0.10}),
    "loss_preference": ("loss", "dpo rm", None, "rule", "firm",
                        {"min_rows": 8, "good": 0.65, "late": 0.3, "poor": 0.75, "start_low": 0.6, "start_high": 0.78}),
    "loss_kto": ("loss", "kto", None, "base", "firm", {"min_rows": 8, "fall": 0.03, "late": 0.3, "poor": 0.55}),
    "loss_no_progress": ("loss", "grpo ppo", None, "rule", "firm", {}),
    "grad_norm": ("grad_norm", None, None, "rule", "firm",
                  {"min_values": 5, "none": 0.01, "small": 0.05, "good": 10, "fair": 100, "jump": 10, "low_loss": 0.1,
                   "warm": 10}),
    "lr_peak": ("lr", "dpo grpo kto orpo ppo pt rm sft simpo", None, "rule", "firm", {"beyond": 3}),
    "epochs": ("epoch", "sft", None, "rule", "orientation", {"good": 5, "fair": 20}),
    "epochs_other": ("epoch", None, None, "rule", "firm", {}),
    "tokens_seen": ("total_tokens num_tokens", None, None, "rule", "firm", {}),
    "speed_self": ("throughput steps_per_s samples_per_s", None, None, "self", "firm",
                   {"good": 0.9, "fair": 0.7, "min_rows": 10}),
    "throughput": ("throughput", None, None, "orientation", "orientation", {"good": 1000, "fair": 300}),
    "trainable_share": ("trainable_percent", None, None, "rule", "firm", {"few": 0.1, "usual": 2, "many": 20}),
    "perplexity": ("perplexity eval_loss", "sft", None, "orientation", "orientation",
                   {"excellent": 2, "good": 4, "fair": 8}),
    "perplexity_pt": ("perplexity eval_loss", "pt", None, "orientation", "orientation",
                      {"excellent": 4, "good": 8, "fair": 16}),
    "eval_trend": ("eval_loss perplexity", None, None, "base", "firm", {"evals": 3, "fall": 0.01, "slack": 0.02}),
    "gap": ("gap", LANGUAGE, None, "self", "firm",
            {"good": 8, "fair": 20, "below": -15, "rows": 3, "share": 0.05, "error": 6}),
    "bleu4": ("bleu-4", LANGUAGE, LLAMAFACTORY, "rule", "firm", {"excellent": 70, "good": 50, "fair": 30}),
    "rouge1": ("rouge-1", LANGUAGE, LLAMAFACTORY, "rule", "firm", {"excellent": 85, "good": 65, "fair": 40}),
    "rouge2": ("rouge-2", LANGUAGE, LLAMAFACTORY, "rule", "firm", {"excellent": 75, "good": 50, "fair": 25}),
    "rougel": ("rouge-l", LANGUAGE, LLAMAFACTORY, "rule", "firm", {"excellent": 80, "good": 60, "fair": 35}),
    "score_scale": ("bleu-4 rouge-1 rouge-2 rouge-l bleu sacrebleu rouge1 rouge2 rougeL rougeLsum", None, None, "rule",
                    "firm", {}),
    "preparation": ("model_preparation_time", None, None, "orientation", "orientation",
                    {"excellent": 1, "good": 10, "fair": 60}),
    "predict_speed": ("samples_per_second", LANGUAGE, None, "orientation", "orientation",
                      {"excellent": 0.2, "good": 1, "fair": 5}),
    "eval_speed": ("samples_per_second", None, None, "self", "orientation", {"fair": 0.5, "good": 1}),
    "train_speed": ("samples_per_second", None, None, "rule", "firm", {}),
    "batch": ("steps_per_second", None, None, "rule", "firm", {}),
    "runtime": ("runtime", None, None, "rule", "firm", {}),
    "train_loss": ("train_loss", None, None, "rule", "firm", {}),
    "preference_accuracy": ("accuracy rewards/accuracies", PREFERENCES, None, "rule", "firm",
                            {"excellent": 0.8, "good": 0.65, "fair": 0.55, "pairs": 100, "late": 0.3,
                             "saturated": 0.98}),
    "margins": ("rewards/margins", PREFERENCES, None, "self", "firm",
                {"min_rows": 8, "late": 0.3, "beta_share": 0.5, "fall": 0.2}),
    "reward_accuracy": ("eval_accuracy accuracy", "rm", None, "rule", "firm",
                        {"excellent": 0.75, "good": 0.65, "fair": 0.55}),
    "token_accuracy": ("mean_token_accuracy eval_mean_token_accuracy eval_accuracy accuracy", LANGUAGE, None, "self",
                       "firm", {"min_rows": 8, "window": 200}),
    "reward_trend": ("reward", "grpo ppo", None, "self", "firm", {"min_rows": 20, "window": 200}),
    "kl_trend": ("kl", "kto", None, "self", "firm", {"min_rows": 8, "window": 200}),
    "kl_bounded": ("kl objective/kl", "grpo ppo", None, "self", "firm", {"min_rows": 20, "growth": 10}),
    "zero_std": ("frac_reward_zero_std", "grpo", None, "orientation", "orientation",
                 {"good": 0.3, "fair": 0.6, "rows": 20}),
    "stage_unknown": ("loss perplexity", None, None, "rule", "firm", {}),
    "speed_sibling": ("throughput steps_per_s samples_per_s", None, None, "sibling", "firm",
                      {"min_rows": 10, "good": 0.9}),
    "eval_sibling": ("eval_loss perplexity", LANGUAGE, None, "sibling", "firm", {"behind": 0.08}),
    "score_sibling": ("bleu-4 rouge-1 rouge-2 rouge-l", LANGUAGE, LLAMAFACTORY, "sibling", "firm", {"behind": 0.1}),
}  # fmt: skip
"""The rules as they are meant to be, in the order in which they are tried."""
EXPECTED_LR = {
    "language": {"adapter": (2e-5, 5e-4), "full": (1e-6, 5e-5)},
    "rm": {"adapter": (1e-5, 3e-4), "full": (1e-6, 3e-5)},
    "preference": {"adapter": (5e-7, 5e-5), "full": (1e-7, 5e-6)},
}
"""Usual peak learning rates: LLaMA-Factory's examples, Unsloth's guide, the QLoRA paper, "LoRA Without Regret"."""

Make = Callable[[float, Context], Any]
"""Rate a run whose decisive number is the first argument; None where the metric is not rated."""


@dataclass(frozen=True)
class Probe:
    """One threshold of a rule, a run for each number around it, and what is said there."""

    rule: str
    threshold: str
    make: Make
    below: str
    """What is said below the threshold: the level and words, or what ``read`` returns."""
    above: str
    at: Literal["below", "above", "unknown"]
    """The side that the threshold itself belongs to; unknown where rounding decides."""
    step: float = 0.0
    """Distance that counts as just beside; 0: 1 for what counts rows, else a hundredth of the threshold."""
    movable: bool = True
    """The run can be made for another threshold as well."""
    read: Callable[[Any], str] = lambda rating: f"{rating.level} {rating.words}"

    def said(self, x: float, context: Context) -> str:
        """Return what is said of ``x``."""
        rating = self.make(x, context)
        return "absent" if rating is None else self.read(rating)


def confidence(rating: Any) -> str:
    """Read the confidence of a rating."""
    return str(rating.confidence)


def rated(metric: str, rows: Any, config: Any, context: Context, now: float = SOON, **more: Any) -> Any:
    """Return the rating of a metric, or None."""
    return rate(run_of(rows, config=config, **more), now, (), context).get(metric)


def of_loss(
    losses: Callable[[float], list[float]],
    config: Any = SFT,
    total: Callable[[float], int | None] = lambda _: None,
) -> Make:
    """Rate a run of these losses, and as many planned steps."""
    return lambda x, context: rated("loss", rows_of(losses(x), total(x)), config, context)


def of_metric(metric: str, values: Callable[[float], list[float]], config: Any = SFT, total: Any = None) -> Make:
    """Rate a metric of the rows with these values."""

    def make(x: float, context: Context) -> Any:
        given = values(x)
        rows = metric_rows(len(given), total(x) if total else None, **{metric.replace("/", "__"): given})
        return rated(metric, rows, config, context)

    return make


def of_gradient(norms: Callable[[float], list[float]], loss: Callable[[float], float] = lambda _: 2.0) -> Make:
    """Rate gradient norms of one row a step from step 11 on."""

    def make(x: float, context: Context) -> Any:
        rows = [train(11 + i, loss(x), 10_000, grad_norm=norm) for i, norm in enumerate(norms(x))]
        return rated("grad_norm", rows, SFT, context)

    return make


def of_warm_up(x: float, context: Context) -> Any:
    """Rate three infinite norms, the first at step ``x``."""
    norms = [math.inf] * 3 + [0.5] * 9
    rows = [train(int(x) + i, 2.0, 10_000, grad_norm=norm) for i, norm in enumerate(norms)]
    return rated("grad_norm", rows, SFT, context)


def of_config(metric: str, option: str, rows: Callable[[], Any]) -> Make:
    """Rate a number that is an option."""
    return lambda x, context: rated(metric, rows(), {**SFT, option: x}, context)


def of_evals(
    losses: Callable[[float], list[float]], metric: str, config: Any = SFT, base: float = 1.0, ended: bool = True
) -> Make:
    """Rate a run with these evaluations, each after 20 rows of loss ``base``; finished, or under way."""

    def make(x: float, context: Context) -> Any:
        given = losses(x)
        total = 200 * len(given) if ended else 800
        rows = rows_with_evals(*given, base=base, total=total)
        if not ended:
            return rated(metric, rows, config, context)
        return rated(metric, [*rows, summary(total, total)], config, context, LATER, ended=True)

    return make


def of_results(values: Callable[[float], dict[str, float]], metric: str, config: Any = SFT) -> Make:
    """Rate a prediction of 1,000 samples."""

    def make(x: float, context: Context) -> Any:
        given = {"runtime": 100.0, "samples_per_second": 10.0, **values(x)}
        results = {"predict": {f"predict_{name}": value for name, value in given.items()}}
        return rated(f"predict_{metric}", [], config, context, LATER, results=results)

    return make


def of_sibling(
    mine: Callable[[float], dict[str, Any]], other: dict[str, Any], metric: str, config: dict[str, Any] | None = None
) -> Make:
    """Rate a finished run beside a sibling."""

    def make(x: float, context: Context) -> Any:
        run = finished_run("mine", **mine(x), **(config or {}))
        beside = replace(context, siblings=[finished_run("other", **other)])
        return rate(run, START + 1e6, (), beside).get(metric)

    return make


def of_gap_rows(x: float, context: Context) -> Any:
    """Rate the gap after ``x`` rows."""
    rows = [train(10 * (i + 1), 1.0, 100) for i in range(int(x))]
    return rated("gap", [*rows, evaluation(10 * int(x), 1.0, 100)], SFT, context)


def of_eval_speed(x: float, context: Context) -> Any:
    """Rate an evaluation ``x`` times as fast as the training, which does 10 samples a second."""
    rows = [train(10 * (i + 1), 1.0, 400) for i in range(40)]
    row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 10 * x})
    return rated("eval_samples_per_second", [*rows, row], {**SFT, "total_train_batch_size": 10}, context)


def of_peak_lr(x: float, context: Context) -> Any:
    """Rate a peak ``x`` times above the usual range."""
    return rated("lr", rows_of([1.0] * 12, lr=1e-4), {**SFT, "learning_rate": 5e-4 * x}, context)


def of_saturated(x: float, context: Context) -> Any:
    """Rate an accuracy of ``x`` while the margins grow."""
    rows = metric_rows(40, rewards__accuracies=x, rewards__margins=rising(40))
    return rated("rewards/accuracies", rows, PAIRS, context)


def share_done(x: float, rows: int) -> int:
    """Return the planned steps of which this many rows of 10 steps are a share of ``x``."""
    return round(10 * rows / x)


def rising(count: float) -> list[float]:
    """Return as many numbers, each above the one before."""
    return [0.1 * i for i in range(int(count))]


GROUPS = ("good groups_differ", "fair groups_alike", "poor groups_no_signal")
ACCURACY = ("poor near_coin", "fair accuracy_some", "good accuracy_high", "excellent accuracy_very_high")
PPL = ("excellent ppl_very_low", "good ppl_low", "fair ppl_high", "poor ppl_very_high")
PT = {"stage": "pt"}
PAIRS = {"stage": "dpo", "total_train_batch_size": 10}
PPO, GRPO = {"stage": "ppo"}, {"stage": "grpo"}


def stairs(rule: str, make: Make, names: tuple[str, ...], words: tuple[str, ...], at: str, **more: Any) -> list[Probe]:
    """Return probes of thresholds in ascending order; ``words``: what is said below the first, …, above the last."""
    return [
        Probe(rule, name, make, words[place], words[place + 1], at, **more)  # type: ignore[arg-type]
        for place, name in enumerate(names)
    ]


def score_probes() -> list[Probe]:
    """Return probes of BLEU and ROUGE, whose bounds belong to the better level."""
    found = []
    for rule, metric, best in (
        ("bleu4", "bleu-4", "bleu_excellent"), ("rouge1", "rouge-1", "rouge1_excellent"),
        ("rouge2", "rouge-2", "rouge2_excellent"), ("rougel", "rouge-l", "rougel_excellent"),
    ):  # fmt: skip
        words = ("poor score_little", "fair score_part", "good score_high", f"excellent {best}")
        make = of_results(lambda x, metric=metric: {"bleu-4": 50.0, metric: x}, metric)  # type: ignore[misc]
        found += stairs(rule, make, ("fair", "good", "excellent"), words, "above")
    return found


PROBES: list[Probe] = [
    Probe("loss_trend", "min_rows", of_loss(lambda x: [2.0] * int(x)), "None after_rows", "None early", "above"),
    Probe("loss_trend", "fall", of_loss(lambda x: halves(20.0, 20.0 * (1 - x))), "fair hardly_moves", "good converging",
          "above"),
    Probe("loss_trend", "late", of_loss(lambda _: [2.0] * 40, total=lambda x: share_done(x, 40)), "None early",
          "fair hardly_moves", "above"),
    Probe("loss_trend", "fair_rows", of_loss(lambda x: [2.0] * int(x)), "None early", "fair hardly_moves", "above"),
    Probe("loss_trend", "rise", of_loss(lambda x: [*[3.0] * 5, *[1.0] * 60, *[1 + x] * 15]), "good converging",
          "fair rising_again", "unknown", step=0.02),
    Probe("loss_preference", "min_rows", of_loss(lambda x: [0.69] * int(x), DPO, lambda _: 10_000), "None after_rows",
          "None early", "above"),
    *stairs("loss_preference", of_loss(lambda x: halves(0.69, x), DPO), ("good",),
            ("good preference_learned", "fair near_chance"), "above"),
    *stairs("loss_preference", of_loss(lambda x: halves(0.69, x), DPO), ("poor",),
            ("fair near_chance", "poor worse_than_reference"), "below"),
    Probe("loss_preference", "late", of_loss(lambda _: [0.69] * 30, DPO, lambda x: share_done(x, 30)), "None early",
          "fair near_chance", "above"),
    Probe("loss_preference", "start_low", of_loss(lambda x: halves(x, 0.4), DPO), "None falling",
          "good preference_learned", "above"),
    Probe("loss_preference", "start_high", of_loss(lambda x: halves(x, 0.5), DPO), "good preference_learned",
          "None falling", "below"),
    Probe("loss_kto", "min_rows", of_loss(lambda x: [0.51] * int(x), KTO, lambda _: 10_000), "None after_rows",
          "None early", "above"),
    Probe("loss_kto", "fall", of_loss(lambda x: halves(0.5, 0.5 * (1 - x)), KTO), "fair level", "good falling",
          "unknown"),
    Probe("loss_kto", "late", of_loss(lambda _: [0.5] * 30, KTO, lambda x: share_done(x, 30)), "None early",
          "fair level", "above"),
    Probe("loss_kto", "poor", of_loss(lambda x: halves(0.5, x), KTO), "fair level", "poor worse_than_reference",
          "below"),
    Probe("grad_norm", "min_values", of_gradient(lambda x: [0.5] * int(x)), "few", "firm", "above", read=confidence),
    *stairs("grad_norm", of_gradient(lambda x: [x] * 12), ("none", "small"),
            ("poor no_gradient", "fair small_gradient", "good stable"), "above"),
    *stairs("grad_norm", of_gradient(lambda x: [x] * 12), ("good", "fair"),
            ("good stable", "fair large_gradient", "poor exploding"), "below"),
    Probe("grad_norm", "jump", of_gradient(lambda x: [0.5] * 11 + [0.5 * x]), "good stable", "fair jumpy", "below"),
    Probe("grad_norm", "low_loss", of_gradient(lambda _: [0.02] * 12, lambda x: x), "good small_stable",
          "fair small_gradient", "above"),
    Probe("grad_norm", "warm", of_warm_up, "good stable", "poor gradient_nan", "below"),
    Probe("lr_peak", "beyond", of_peak_lr, "fair lr_high", "poor lr_far", "below"),
    *stairs("epochs", lambda x, context: rated("epoch", [train(10, 1.0, 10, epochs=x)], SFT, context), ("good", "fair"),
            ("good epochs_usual", "fair epochs_many", "fair epochs_far_more"), "below"),
    Probe("speed_self", "min_rows",
          lambda x, context: rated("steps_per_s", timed_rows([20.0] * int(x)), SFT, context), "None speed_too_short",
          "good speed_steady", "above"),
    *stairs("speed_self",
            lambda x, context: rated("steps_per_s", timed_rows([20.0] * 20 + [20.0 / x] * 20), SFT, context),
            ("fair", "good"), ("poor speed_slower", "fair speed_slower", "good speed_steady"), "unknown"),
    *stairs("throughput", lambda x, context: rated("throughput", rows_of([1.0] * 4, throughput=x), SFT, context),
            ("fair", "good"), ("poor speed_low", "fair speed_medium", "good speed_high"), "above"),
    Probe("trainable_share", "few", of_config("trainable_percent", "trainable_percent", lambda: rows_of([1.0] * 3)),
          "None trainable_few", "None trainable_usual", "above"),
    *stairs("trainable_share", of_config("trainable_percent", "trainable_percent", lambda: rows_of([1.0] * 3)),
            ("usual", "many"), ("None trainable_usual", "None trainable_many", "None trainable_all"), "below"),
    *stairs("perplexity", of_evals(lambda x: [2.0, math.log(x)], "perplexity"), ("excellent", "good"), PPL, "above"),
    *stairs("perplexity", of_evals(lambda x: [2.0, math.log(x)], "perplexity"), ("fair",), PPL[2:], "unknown"),
    *stairs("perplexity", of_evals(lambda x: [2.0, math.log(x)], "eval_loss"), ("excellent", "good", "fair"), PPL,
            "unknown"),
    *stairs("perplexity_pt", of_evals(lambda x: [2.0, math.log(x)], "perplexity", PT), ("excellent",), PPL, "above"),
    *stairs("perplexity_pt", of_evals(lambda x: [2.0, math.log(x)], "perplexity", PT), ("good", "fair"), PPL[1:],
            "unknown"),
    Probe("eval_trend", "evals", of_evals(lambda x: [2.0 - 0.1 * i for i in range(int(x))], "eval_loss", ended=False),
          "few", "firm", "above", read=confidence),
    Probe("eval_trend", "fall", of_evals(lambda x: [2.0, 1.995, 2.0 * (1 - x)], "eval_loss", ended=False), "fair level",
          "good still_falling", "below"),
    Probe("eval_trend", "slack", of_evals(lambda x: [2.0, 1.5, 1.5 * (1 + x)], "eval_loss", ended=False),
          "good near_its_best", "fair rising", "below"),
    *stairs("gap", of_evals(lambda x: [40.0, 25.0 * (1 + x / 100)], "gap", base=25.0), ("good", "fair"),
            ("good gap_close", "fair gap_apart", "poor gap_far"), "below"),
    Probe("gap", "below", of_evals(lambda x: [40.0, 20.0 * (1 + x / 100)], "gap", base=20.0), "None gap_eval_easier",
          "good gap_close", "above"),
    Probe("gap", "rows", of_gap_rows, "absent", "good gap_close", "above"),
    *score_probes(),
    *stairs("preparation", of_results(lambda x: {"model_preparation_time": x}, "model_preparation_time"),
            ("excellent", "good", "fair"),
            ("excellent preparation_very_short", "good preparation_short", "fair preparation_long",
             "poor preparation_very_long"), "above"),
    *stairs("predict_speed", of_results(lambda x: {"bleu-4": 50.0, "samples_per_second": 1 / x}, "samples_per_second"),
            ("excellent", "good", "fair"),
            ("excellent predict_very_fast", "good predict_fast", "fair predict_slow", "poor predict_very_slow"),
            "below"),
    *stairs("eval_speed", of_eval_speed, ("fair", "good"), ("fair eval_slower", "good eval_near", "good eval_faster"),
            "above"),
    *stairs("preference_accuracy", of_metric("accuracy", lambda x: [x] * 20, PAIRS), ("fair", "good", "excellent"),
            ACCURACY, "above"),
    *stairs("preference_accuracy", of_metric("rewards/accuracies", lambda x: [x] * 20, PAIRS),
            ("fair", "good", "excellent"), ACCURACY, "unknown"),
    Probe("preference_accuracy", "pairs",
          of_metric("accuracy", lambda x: [0.7] * int(x / 10), {"stage": "dpo", "total_train_batch_size": 1}), "few",
          "firm", "above", step=10, movable=False, read=confidence),
    Probe("preference_accuracy", "late",
          of_metric("accuracy", lambda _: [0.5] * 30, PAIRS, lambda x: share_done(x, 30)), "None early",
          "poor near_coin", "above"),
    Probe("preference_accuracy", "saturated", of_saturated, "()", "('saturated',)", "above",
          read=lambda rating: str(rating.reservations)),
    Probe("margins", "min_rows", of_metric("rewards/margins", lambda x: [1.0] * int(x), {"stage": "dpo"}), "few",
          "firm", "above", read=confidence),
    Probe("margins", "late", of_metric("rewards/margins", lambda _: [-0.4] * 40, DPO, lambda x: share_done(x, 40)),
          "None early", "poor margins_negative", "above"),
    Probe("margins", "beta_share", of_metric("rewards/margins", lambda x: [0.1 * x] * 40, {**DPO, "pref_beta": 0.1}),
          "fair margins_small", "good margins_level", "above"),
    Probe("margins", "fall", of_metric("rewards/margins", lambda x: [1.0] * 35 + [1 - x] * 5, DPO),
          "good margins_level", "fair margins_shrink", "unknown"),
    *stairs("reward_accuracy", of_results(lambda x: {"accuracy": x}, "accuracy", {"stage": "rm"}),
            ("fair", "good", "excellent"), ACCURACY, "above"),
    Probe("token_accuracy", "min_rows", of_metric("accuracy", rising), "None after_rows", "good token_rising", "above"),
    Probe("reward_trend", "min_rows", of_metric("reward", rising, PPO), "None after_rows", "good reward_rising",
          "above"),
    Probe("kl_trend", "min_rows", of_metric("kl", rising, KTO), "None after_rows", "None rising", "above"),
    Probe("kl_bounded", "min_rows", of_metric("kl", lambda x: [0.1] * int(x), PPO), "None after_rows",
          "good kl_bounded", "above"),
    Probe("kl_bounded", "growth", of_metric("kl", lambda x: [0.1] * 20 + [0.1 * x] * 20, PPO), "good kl_bounded",
          "poor kl_exploding", "below"),
    *stairs("zero_std", of_metric("frac_reward_zero_std", lambda x: [x], GRPO), ("good", "fair"), GROUPS, "above"),
    Probe("speed_sibling", "min_rows",
          of_sibling(lambda x: {"rows": int(x) - 1, "every_s": 0.2}, {"every_s": 0.1}, "steps_per_s"), "speed_self",
          "speed_sibling", "above", read=lambda rating: rating.rule, movable=False),
    Probe("speed_sibling", "good", of_sibling(lambda x: {"every_s": 0.1 / x}, {"every_s": 0.1}, "steps_per_s"),
          "fair speed_below_sibling", "good speed_as_sibling", "unknown"),
    Probe("eval_sibling", "behind", of_sibling(lambda x: {"loss": 1 + x}, {"loss": 1.0}, "eval_loss"), "good ppl_low",
          "fair behind_sibling", "unknown"),
    Probe("score_sibling", "behind",
          of_sibling(lambda x: {"scores": {"predict": {"bleu-4": 60 * (1 - x)}}},
                     {"scores": {"predict": {"bleu-4": 60.0}}}, "predict_bleu-4"), "good score_high",
          "fair behind_sibling", "unknown"),
]  # fmt: skip
ELSEWHERE = {
    "gap share": "test_evaluation.py: against the last twentieth of the rows",
    "gap error": "test_evaluation.py: six percent of error",
    "token_accuracy window": "test_stages.py: the last two hundred",
    "reward_trend window": "test_stages.py: the last two hundred",
    "kl_trend window": "test_stages.py: of kto its course alone",
    "zero_std rows": "test_stages.py: the last twenty",
}
"""Thresholds that decide which rows are looked at, not what is said of a number, and the tests that show them."""


def rule_of(code: str) -> Rule:
    """Return the rule of a code."""
    return next(rule for rule in RULES if rule.code == code)


def moved(rule: Rule, name: str, value: float) -> Context:
    """Return a context in which one threshold of a rule is another."""
    change: dict[str, Any] = {name: value}
    if rule.thresholds is not None and name in rule.thresholds.bounds:
        mine = replace(rule, thresholds=replace(rule.thresholds, **change))
    else:
        mine = replace(rule, limits={**rule.limits, **change})
    return replace(PLAIN, rules=tuple(mine if other is rule else other for other in RULES))


@pytest.mark.parametrize("code", EXPECTED)
def test_a_rule_is_as_it_is_meant_to_be(code: str) -> None:
    metrics, stages, producers, basis, trust, numbers = EXPECTED[code]
    rule = find_rule(metrics.split()[0], (stages or "sft").split()[0], producers or "trl", code)
    assert rule is not None
    found = (" ".join(rule.metrics), _names(rule.stages), _names(rule.producers), rule.basis, rule.confidence)
    assert found == (metrics, stages, producers, basis, trust)
    assert dict(rule.numbers) == numbers


def test_there_are_no_other_rules() -> None:
    assert [rule.code for rule in RULES] == list(EXPECTED)
    assert {family: dict(sides) for family, sides in LR_RANGES.items()} == EXPECTED_LR


def _names(found: frozenset[str] | None) -> str | None:
    return None if found is None else " ".join(sorted(found))


def test_every_threshold_has_a_probe() -> None:
    all_of_them = {f"{rule.code} {name}" for rule in RULES for name in rule.numbers}
    probed = {f"{probe.rule} {probe.threshold}" for probe in PROBES}
    assert all_of_them == probed | ELSEWHERE.keys()
    assert not probed & ELSEWHERE.keys()


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{probe.rule}-{probe.threshold}")
def test_the_rating_turns_at_the_threshold(probe: Probe) -> None:
    rule = rule_of(probe.rule)
    value = rule.numbers[probe.threshold]
    beside = probe.step or (1 if probe.threshold in COUNTS else abs(value) / 100)
    assert probe.said(value - beside, PLAIN) == probe.below
    assert probe.said(value + beside, PLAIN) == probe.above
    if probe.at != "unknown":
        assert probe.said(value, PLAIN) == getattr(probe, probe.at)


@pytest.mark.parametrize(
    "probe", [probe for probe in PROBES if probe.movable], ids=lambda probe: f"{probe.rule}-{probe.threshold}"
)
def test_the_rating_follows_the_rule(probe: Probe) -> None:
    """A threshold of the user's own, two hundredths (or one row) away on either side, moves what is said with it."""
    rule = rule_of(probe.rule)
    value = rule.numbers[probe.threshold]
    away = 2 * (probe.step or (1 if probe.threshold in COUNTS else abs(value) / 100))
    assert probe.said(value, moved(rule, probe.threshold, value + away)) == probe.below
    assert probe.said(value, moved(rule, probe.threshold, value - away)) == probe.above


@pytest.mark.parametrize("stage", ["sft", "pt", "rm", "dpo", "kto", "orpo", "simpo", "ppo", "grpo"])
@pytest.mark.parametrize("method", ["lora", "full", "freeze"])
def test_learning_rates_turn_at_the_usual_range(stage: str, method: str) -> None:
    family = "language" if stage in LANGUAGE.split() else stage if stage == "rm" else "preference"
    low, high = EXPECTED_LR[family]["adapter" if method == "lora" else "full"]
    for peak, said in (
        (low / 3.03, "poor lr_far"), (low / 3, "fair lr_low"), (low * 0.98, "fair lr_low"), (low, "good lr_usual"),
        (high, "good lr_usual"), (high * 1.01, "fair lr_high"), (high * 3, "fair lr_high"),
        (high * 3.03, "poor lr_far"),
    ):  # fmt: skip
        config = {"stage": stage, "finetuning_type": method, "learning_rate": peak}
        rating = rated("lr", rows_of([1.0] * 12, lr=peak / 2), config, PLAIN)
        assert f"{rating.level} {rating.words}" == said
        assert rating.value == peak
        # Outside of the usual range the number alone proves nothing.
        assert rating.confidence == ("firm" if rating.level == "good" else "orientation")
