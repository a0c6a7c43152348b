"""Every rule on numbers that show it: what it says, on what basis, how sure, and why it says nothing."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from lora_tui.analysis.context import PLAIN
from lora_tui.analysis.rating_rules import LR_RANGES, RULES, Thresholds, find_rule
from lora_tui.analysis.ratings.rate import rate
from lora_tui.i18n import Words
from lora_tui.records.documents import LogRow
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run
from tests.support.run_builder import START, evaluation, run_of, summary, train

SOON, LATER = START + 5, START + 100_000
SFT = {"stage": "sft", "finetuning_type": "lora"}


def rows_of(values, total=None, every_s=1.0, **more):
    """Rows of 10 steps each; ``more``: other metrics, each a list as long as the losses or one number."""
    total = total or 10 * len(values)
    out = []
    for i, value in enumerate(values):
        extra = {name: given[i] if isinstance(given, list) else given for name, given in more.items()}
        out.append(train(10 * (i + 1), value, total, every_s=every_s, **extra))
    return out


def curve(count, start=3.0, end=1.0):
    return [end + (start - end) * math.exp(-4 * i / count) for i in range(count)]


def of(rows, config=SFT, now=SOON, findings=(), context=PLAIN, **more):
    return rate(run_of(rows, config=config, **more), now, findings, context)


def said(rating):
    return rating.level, rating.words, rating.confidence


class TestLoss:
    def test_rising_again_is_not_called_converging(self):
        fallen = [*curve(60), *[1.04 + 0.005 * i for i in range(40)]]
        rating = of(rows_of(fallen))["loss"]
        assert said(rating) == ("fair", "rising_again", "firm")
        assert rating.params["lowest"] == pytest.approx(1.05, abs=0.03)

    def test_noise_is_not_a_rise(self):
        dice = random.Random(5)
        for noise in (0.02, 0.1, 0.3):
            for _ in range(40):
                count = dice.choice([20, 40, 200])
                values = [value * math.exp(dice.gauss(0, noise)) for value in curve(count)]
                assert of(rows_of(values))["loss"].words != "rising_again"

    @pytest.mark.parametrize("stage", ["orpo", "simpo"])
    def test_losses_that_start_elsewhere_are_rated_by_their_course(self, stage):
        assert said(of(rows_of(curve(40, 2.0, 1.2)), {"stage": stage})["loss"]) == ("good", "converging", "firm")

    def test_no_stage_no_level(self):
        row = LogRow("train", 10, {"loss": 2.0}, 100, 1.0, 10.0)
        run = Run(Path("/runs/plain"))
        run.apply([FileRows("runs/events.out.tfevents.1", "events", (row,), START)])
        rating = rate(run, SOON)["loss"]
        assert said(rating) == (None, "stage_unknown", "firm")
        assert "stage" in Words("en").rating_text(rating)


class TestGradient:
    def test_the_scaler_of_fp16_begins_with_infinities(self):
        norms = [math.inf] * 5 + [0.8] * 7
        rows = [train(i + 1, 2.0, 100, grad_norm=norm) for i, norm in enumerate(norms)]
        assert of(rows)["grad_norm"].words == "stable"
        late = [train(i + 31, 2.0, 100, grad_norm=norm) for i, norm in enumerate(norms)]
        assert of(late)["grad_norm"].words == "gradient_nan"


class TestEpochs:
    @pytest.mark.parametrize(
        ("epochs", "level", "reservations"), [(3, "good", ()), (12, "fair", ()), (25, "fair", ("many_passes",))]
    )
    def test_sft(self, epochs, level, reservations):
        rows = [train(10, 1.0, 10, epochs=epochs)]
        rating = of(rows)["epoch"]
        assert (rating.level, rating.reservations) == (level, reservations)

    @pytest.mark.parametrize("stage", ["pt", "dpo", "ppo"])
    def test_other_stages(self, stage):
        rating = of([train(10, 1.0, 10, epochs=25)], {"stage": stage})["epoch"]
        assert (rating.level, rating.words) == (None, "no_usual_number")


class TestSpeed:
    def test_a_default_job_of_thirty_rows(self):
        rows = rows_of(curve(30), every_s=2.0)
        ratings = of(rows, {**SFT, "total_train_batch_size": 16})
        assert said(ratings["steps_per_s"]) == ("good", "speed_steady", "firm")
        assert ratings["steps_per_s"].basis == "self"
        assert ratings["samples_per_s"].value == pytest.approx(8.0, rel=0.05)

    def test_too_short(self):
        assert said(of(rows_of(curve(9), every_s=2.0))["steps_per_s"]) == (None, "speed_too_short", "few")

    def test_slower_by_a_quarter(self):
        clock, rows = 0.0, []
        for i in range(40):
            clock += 20.0 if i < 20 else 27.0
            rows.append(train(10 * (i + 1), 1.0, 400)._replace(elapsed_s=clock))
        rating = of(rows)["steps_per_s"]
        assert (rating.level, rating.words) == ("fair", "speed_slower")
        assert rating.params["slower"] == pytest.approx(26, abs=1)

    def test_evaluations_do_not_slow_the_training(self):
        clock, rows = 0.0, []
        for i in range(40):
            clock += 20.0
            rows.append(train(10 * (i + 1), 1.0, 400)._replace(elapsed_s=clock))
            if i > 20:
                clock += 60.0
                rows.append(evaluation(10 * (i + 1), 1.0, 400)._replace(elapsed_s=clock))
        assert of(rows)["steps_per_s"].level == "good"

    @pytest.mark.parametrize(("rate", "level", "words"), [(20, "good", "eval_faster"), (6, "good", "eval_near"),
                                                          (3, "fair", "eval_slower")])  # fmt: skip
    def test_evaluation_against_training(self, rate, level, words):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 20.0, "eval_samples_per_second": rate}}
        rows = rows_of(curve(30), every_s=2.0)
        rating = of(rows, {**SFT, "total_train_batch_size": 16}, LATER, results=results)["eval_samples_per_second"]
        assert said(rating) == (level, words, "orientation")

    def test_a_moment_of_evaluation_says_little(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 0.5, "eval_samples_per_second": 80.0}}
        rows = rows_of(curve(30), every_s=2.0)
        ratings = of(rows, {**SFT, "total_train_batch_size": 16}, LATER, results=results)
        assert ratings["eval_samples_per_second"].confidence == "few"

    def test_nothing_to_compare_the_evaluation_with(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 20.0, "eval_samples_per_second": 8.0}}
        assert of([], SFT, LATER, results=results)["eval_samples_per_second"].words == "eval_alone"

    def test_the_speed_of_training_is_for_comparing_runs(self):
        results = {"train": {"train_samples_per_second": 8.0}}
        assert of(rows_of(curve(9)), SFT, LATER, results=results)["train_samples_per_second"].words == "speed_of_runs"


def with_evals(*losses, rows=40, done=False):
    out = rows_of(curve(rows), 10 * rows if done else 40 * rows)
    apart = rows // len(losses)
    for place, loss in enumerate(losses):
        out.insert((place + 1) * apart + place, evaluation(10 * (place + 1) * apart, loss, out[0].total_steps))
    return [*out, summary(10 * rows, 10 * rows)] if done else out


class TestEvaluation:
    @pytest.mark.parametrize(
        ("losses", "level", "words"),
        [
            ((2.0, 1.8, 1.6), "good", "still_falling"),
            ((2.0, 1.6, 1.61), "good", "near_its_best"),
            ((2.0, 1.5, 1.7), "fair", "rising"),
            ((2.0, 1.995, 2.0), "fair", "level"),
            ((2.0, 1.8, 2.2), "poor", "above_first"),
        ],
    )
    def test_while_it_runs_the_course_is_rated(self, losses, level, words):
        ratings = of(with_evals(*losses))
        for name in ("eval_loss", "perplexity"):
            assert said(ratings[name]) == (level, words, "firm")
            assert (ratings[name].basis, ratings[name].rule) == ("base", "eval_trend")
        assert ratings["perplexity"].value == pytest.approx(math.exp(losses[-1]))
        assert ratings["eval_loss"].params["change"] == pytest.approx((losses[-1] / losses[0] - 1) * 100)

    def test_two_evaluations_are_few(self):
        assert of(with_evals(2.0, 1.8))["eval_loss"].confidence == "few"

    def test_at_the_end_the_size_is_rated(self):
        rows = with_evals(2.0, 1.8, 1.6, done=True)
        rating = of(rows, now=LATER, ended=True)["perplexity"]
        assert (rating.level, rating.basis, rating.confidence) == ("fair", "orientation", "orientation")
        assert "-20.0 %" in Words("en").explanation(rating)

    @pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "rm"])
    def test_where_no_band_fits_the_course_is_rated_at_the_end_too(self, stage):
        rows = with_evals(0.69, 0.6, 0.5, done=True)
        ratings = of(rows, {"stage": stage}, LATER, ended=True)
        assert said(ratings["eval_loss"]) == ("good", "near_its_best", "firm")
        assert "perplexity" not in ratings

    def test_noise_of_the_evaluations_counts(self):
        losses = (2.0, 1.9, 1.7, 1.8, 1.65, 1.75, 1.6, 1.72)
        assert of(with_evals(*losses, rows=80))["eval_loss"].level == "good"

    def test_few_samples_are_told_while_it_runs(self):
        rows = with_evals(2.0, 1.8, 1.6)
        assert of(rows, {**SFT, "eval_examples": 12})["eval_loss"].reservations == ("few_eval_samples",)
        assert of(rows, {**SFT, "eval_examples": 120})["eval_loss"].reservations == ()

    def test_evaluated_on_training_data(self):
        rows = with_evals(2.0, 1.8, 1.6)
        assert "evaluated_on_training_data" in of(rows, findings={"evaluated_on_training_data"})["gap"].reservations


class TestScores:
    def test_other_names_have_no_scale(self):
        results = {"predict": {"predict_rouge1": 0.41, "predict_bleu": 17.0}}
        ratings = of([], SFT, LATER, results=results)
        assert {ratings[name].words for name in results["predict"]} == {"scale_unknown"}
        assert {ratings[name].level for name in results["predict"]} == {None}

    def test_the_unit_is_told_by_the_producer_never_by_the_size(self):
        for producer, code in (("llamafactory", "bleu4"), ("llamafactory-v1", "bleu4"), ("trl", "score_scale")):
            rule = find_rule("bleu-4", "sft", producer)
            assert rule is not None
            assert rule.code == code
        low = {"predict": {"predict_bleu-4": 0.9}}
        assert of([], SFT, LATER, results=low)["predict_bleu-4"].level == "poor"

    def test_spoiled_predictions(self):
        results = {"predict": {"predict_bleu-4": 90.0, "predict_rouge-l": 3.0}}
        ratings = of([], SFT, LATER, {"scores_inconsistent"}, results=results)
        assert ratings["predict_bleu-4"].level == "excellent"
        assert "scores_inconsistent" in ratings["predict_bleu-4"].reservations


DPO = {"stage": "dpo", "total_train_batch_size": 8, "pref_beta": 0.1}


class TestPreference:
    def test_saturated(self):
        rows = rows_of([0.3] * 40, accuracy=1.0, rewards__accuracies=1.0, rewards__margins=[0.1 * i for i in range(40)])
        rating = of(rows, DPO)["rewards/accuracies"]
        assert (rating.level, rating.reservations) == ("excellent", ("saturated",))
        flat = rows_of([0.3] * 40, rewards__accuracies=1.0, rewards__margins=4.0)
        assert of(flat, DPO)["rewards/accuracies"].reservations == ()

    def test_margins_begin_around_nothing(self):
        early = rows_of([0.69] * 10, 1000, rewards__margins=[-0.002, 0.001, -0.003, -0.001, 0.002] * 2)
        assert of(early, DPO)["rewards/margins"].level is None
        late = rows_of([0.8] * 40, 400, rewards__margins=-0.4)
        assert of(late, DPO)["rewards/margins"].level == "poor"

    def test_kl_of_kto_has_a_course_alone(self):
        rows = rows_of([0.4] * 20, kl=[1.0 + i for i in range(20)])
        rating = of(rows, {"stage": "kto"})["kl"]
        assert (rating.level, rating.words) == (None, "rising")
        assert of(rows[:4], {"stage": "kto"})["kl"].words == "after_rows"

    def test_reward_model(self):
        rows = [*rows_of([0.69] * 20), LogRow("eval", 200, {"eval_accuracy": 0.7}, 200, 3.0, 200.0)]
        assert said(of(rows, {"stage": "rm", "eval_examples": 400})["eval_accuracy"]) == (
            "good", "accuracy_high", "firm",
        )  # fmt: skip
        few = of(rows, {"stage": "rm", "eval_examples": 20})["eval_accuracy"]
        assert (few.confidence, few.reservations) == ("few", ("few_eval_samples",))
        predicted = {"predict": {"predict_accuracy": 0.8}}
        assert of([], {"stage": "rm"}, LATER, results=predicted)["predict_accuracy"].level == "excellent"

    def test_token_accuracy_of_sft_is_not_that_of_a_reward_model(self):
        rows = rows_of(curve(20), mean_token_accuracy=[0.4 + 0.01 * i for i in range(20)])
        rows += [LogRow("eval", 200, {"eval_accuracy": 0.7}, 200, 3.0, 200.0)]
        ratings = of(rows)
        assert said(ratings["mean_token_accuracy"]) == ("good", "token_rising", "firm")
        assert said(ratings["eval_accuracy"]) == (None, "after_rows", "few")


class TestRewards:
    @pytest.mark.parametrize(
        ("rewards", "level", "words"),
        [
            ([0.1 * i for i in range(40)], "good", "reward_rising"),
            ([4 - 0.1 * i for i in range(40)], "poor", "reward_falling"),
            ([1.0, 1.1] * 20, "fair", "level"),
            ([0.1 * min(i, 20) + 0.05 * (-1) ** i for i in range(400)], "good", "reward_kept"),
        ],
    )
    def test_reward(self, rewards, level, words):
        rows = rows_of([0.1] * len(rewards), reward=rewards)
        assert said(of(rows, {"stage": "ppo"})["reward"]) == (level, words, "firm")

    def test_needs_rows(self):
        assert said(of(rows_of([0.1] * 5, reward=1.0), {"stage": "grpo"})["reward"]) == (None, "after_rows", "few")

    @pytest.mark.parametrize(
        ("name", "values", "words"),
        [
            ("kl", [0.5 + 0.01 * (i % 3) for i in range(40)], "kl_bounded"),
            ("objective__kl", [0.5 * 1.2**i for i in range(40)], "kl_exploding"),
            ("objective__kl", [-2.0 - 0.01 * (i % 3) for i in range(40)], "kl_negative"),
        ],
    )
    def test_kl(self, name, values, words):
        rows = rows_of([0.1] * 40, reward=1.0, **{name: values})
        rating = of(rows, {"stage": "ppo"})[name.replace("__", "/")]
        assert rating.words == words
        assert rating.level == ("good" if words == "kl_bounded" else "poor")

    @pytest.mark.parametrize(("share", "level"), [(0.1, "good"), (0.4, "fair"), (0.9, "poor")])
    def test_groups_without_signal(self, share, level):
        rows = rows_of([0.1] * 30, reward=1.0, frac_reward_zero_std=share)
        rating = of(rows, {"stage": "grpo"})["frac_reward_zero_std"]
        assert said(rating)[::2] == (level, "orientation")
        assert f"{share:.0%}".replace("%", " %") in Words("en").rating(rating)


class TestOwnNumbers:
    """What the user's config.toml has changed."""

    def test_bounds(self):
        bleu = next(rule for rule in RULES if rule.code == "bleu4")
        mine = replace(bleu, thresholds=Thresholds(30, 20, 10), own=True)
        context = replace(PLAIN, rules=tuple(mine if rule is bleu else rule for rule in RULES))
        results = {"predict": {"predict_bleu-4": 37.07}}
        rating = of([], SFT, LATER, context=context, results=results)["predict_bleu-4"]
        assert (rating.level, rating.own) == ("excellent", True)
        assert "your config.toml" in Words("en").explanation(rating)
        assert of([], SFT, LATER, results=results)["predict_bleu-4"].own is False

    def test_learning_rates(self):
        ranges = {**LR_RANGES, "language": {"adapter": (1e-3, 5e-3), "full": (1e-6, 5e-5)}}
        context = replace(PLAIN, lr_ranges=ranges, own_lr=frozenset({"language.adapter"}))
        rows = rows_of(curve(20), lr=3e-3)
        config = {**SFT, "learning_rate": 3e-3}
        rating = of(rows, config, context=context)["lr"]
        assert (rating.level, rating.own, rating.confidence) == ("good", True, "firm")
        assert of(rows, config)["lr"].level == "poor"


def test_codes_are_unique_and_every_metric_finds_its_rule():
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    for rule in RULES:
        for metric in rule.metrics:
            stages = rule.stages or {None}
            producer = "llamafactory" if rule.producers else "trl"
            for stage in stages:
                assert find_rule(metric, stage, producer, rule.code) is rule


def test_bands_and_ordered_limits_are_in_order():
    for rule in RULES:
        if rule.thresholds is not None:
            bounds = list(rule.thresholds.bounds.values())
            assert bounds == sorted(bounds, reverse=rule.thresholds.higher), rule.code
        limits = [rule.limits[name] for name in rule.order]
        assert limits == sorted(limits), rule.code
