"""Ratings of what single stages log: preferences, rewards, KL, token accuracy, groups."""

import math
from dataclasses import replace

import pytest

from lora_tui.analysis.context import PLAIN
from lora_tui.analysis.rating_rules import RULES
from lora_tui.analysis.ratings.collector import slope
from tests.support.rated_runs import (
    KTO,
    SFT,
    eval_row,
    metric_rows,
    rate_rows,
    verdict,
)
from tests.support.run_builder import train

PAIRS = {"stage": "dpo", "total_train_batch_size": 10}
PPO, GRPO = {"stage": "ppo"}, {"stage": "grpo"}


def test_slope_of_a_straight_line():
    assert slope([1.0, 3.0, 5.0, 7.0]) == (2.0, 0.0)
    assert slope([4.0, 4.0, 4.0]) == (0.0, 0.0)


def test_slope_of_three_points():
    """Sxx = 2, residuals 2/3 with one degree of freedom."""
    assert slope([0.0, 1.0, 0.0])[1] == pytest.approx(math.sqrt(1 / 3))


def test_slope_of_points_beside_a_line():
    """The textbook's numbers: Sxx = 10, Sxy = 8, residuals 3.6, so the error is sqrt(3.6 / 3 / 10)."""
    found, error = slope([1.0, 2.0, 1.3, 3.75, 2.25])
    assert found == pytest.approx(0.425)
    assert error == pytest.approx(math.sqrt(2.787 / 3 / 10), rel=1e-3)


class TestTokenAccuracy:
    @pytest.mark.parametrize("stage", ["sft", "pt"])
    @pytest.mark.parametrize("name", ["mean_token_accuracy", "accuracy"])
    def test_course(self, name, stage):
        for values, level, words in (
            ([0.4 + 0.01 * i for i in range(20)], "good", "token_rising"),
            ([0.6 - 0.01 * i for i in range(20)], "fair", "token_falling"),
            ([0.5, 0.6] * 10, None, "level"),
        ):
            rating = rate_rows(metric_rows(20, **{name: values}), {"stage": stage})[name]
            assert verdict(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (values[-1], "token_accuracy", "self")
            if level:
                assert rating.params == {"change": pytest.approx(values[-1] - values[0])}

    @pytest.mark.parametrize("name", ["eval_mean_token_accuracy", "eval_accuracy"])
    def test_three_evaluations(self, name):
        rows = [*metric_rows(20), eval_row(100, {name: 0.5}), eval_row(150, {name: 0.6})]
        early = rate_rows(rows, SFT)[name]
        assert verdict(early) == (None, "after_rows", "few")
        assert early.params == {"need": 3}
        rating = rate_rows([*rows, eval_row(200, {name: 0.7})], SFT)[name]
        assert verdict(rating) == ("good", "token_rising", "firm")
        assert rating.params == {"change": pytest.approx(0.2)}

    def test_one_that_needs_more_rows_is_no_reason_to_leave_out_another(self):
        rows = metric_rows(7, mean_token_accuracy=0.5)
        rows += [eval_row(100 + at, {"eval_accuracy": 0.5 + at / 10}) for at in (1, 2, 3)]
        ratings = rate_rows(rows, SFT)
        assert ratings["mean_token_accuracy"].words == "after_rows"
        assert ratings["eval_accuracy"].words == "token_rising"

    def test_two_rows_have_no_course_even_where_the_user_wants_one(self):
        limits = {"min_rows": 1, "window": 200}
        mine = tuple(replace(rule, limits=limits) if rule.code == "token_accuracy" else rule for rule in RULES)
        rating = rate_rows(metric_rows(2, accuracy=[0.1, 0.9]), SFT, context=replace(PLAIN, rules=mine))["accuracy"]
        assert (verdict(rating), rating.params) == ((None, "level", "firm"), {"change": 0.0})

    def test_the_last_two_hundred(self):
        values = [1.0 - 0.004 * i for i in range(100)] + [0.2 + 0.001 * i for i in range(200)]
        assert rate_rows(metric_rows(300, accuracy=values), SFT)["accuracy"].words == "token_rising"
        values = [1.0 - 0.004 * i for i in range(120)] + [0.2 + 0.0001 * i for i in range(180)]
        assert rate_rows(metric_rows(300, accuracy=values), SFT)["accuracy"].words == "token_falling"

    def test_twice_the_error_of_the_slope(self):
        """Steps of 0.1 up and down, on a slope of 1.84 and of 2.09 of its errors."""
        for tilt, words in ((0.0045, "level"), (0.005, "token_rising")):
            values = [0.5 + 0.05 * (-1) ** i + tilt * i for i in range(20)]
            found, error = slope(values)
            assert (found > 2 * error) is (words == "token_rising")
            assert rate_rows(metric_rows(20, accuracy=values), SFT)["accuracy"].words == words
            down = [1 - value for value in values]
            assert rate_rows(metric_rows(20, accuracy=down), SFT)["accuracy"].words == words.replace(
                "rising", "falling"
            )


class TestReward:
    def of(self, values, stage="ppo"):
        return rate_rows(metric_rows(len(values), reward=list(values)), {"stage": stage})["reward"]

    def test_course(self):
        up = self.of([0.1 * i for i in range(40)])
        assert verdict(up) == ("good", "reward_rising", "firm")
        assert (up.value, up.rule, up.basis) == (pytest.approx(3.9), "reward_trend", "self")
        assert up.params == {"change": pytest.approx(3.9)}
        down = self.of([4 - 0.1 * i for i in range(40)])
        assert verdict(down) == ("poor", "reward_falling", "firm")
        assert down.params == {"change": pytest.approx(-3.9)}
        assert verdict(self.of([1.0, 1.1] * 20)) == ("fair", "level", "firm")
        assert verdict(self.of([1.0] * 40)) == ("fair", "level", "firm")

    def test_twenty_rows(self):
        early = self.of([0.1 * i for i in range(19)])
        assert verdict(early) == (None, "after_rows", "few")
        assert (early.params, early.value) == ({"need": 20}, pytest.approx(1.8))
        assert verdict(self.of([0.1 * i for i in range(20)])) == ("good", "reward_rising", "firm")

    def test_the_last_two_hundred(self):
        assert self.of([5.0 - 0.05 * i for i in range(100)] + [0.01 * i for i in range(200)]).words == "reward_rising"
        late = self.of([5.0 - 0.05 * i for i in range(100)] + [0.01 * i for i in range(200)])
        assert late.params == {"change": pytest.approx(1.99)}

    def test_what_was_won_early_is_kept(self):
        wave = [0.05 * (-1) ** i for i in range(200)]
        assert verdict(self.of([0.0] * 40 + [1.0 + one for one in wave])) == ("good", "reward_kept", "firm")
        assert verdict(self.of([1.0] * 40 + [1.0 + one for one in wave])) == ("fair", "level", "firm")
        assert verdict(self.of([2.0] * 40 + [1.0 + one for one in wave])) == ("fair", "level", "firm")

    def test_what_noise_explains_is_not_kept(self):
        """Alternating by 2 they have a noise of 2.1; a difference of two windows of 12 rows is known to 2 x 1.07."""
        wave = [1.0 * (-1) ** i for i in range(200)]
        assert verdict(self.of([0.0] * 40 + [2.12 + one for one in wave])) == ("fair", "level", "firm")
        assert verdict(self.of([0.0] * 40 + [2.16 + one for one in wave])) == ("good", "reward_kept", "firm")


class TestKl:
    def of(self, values, config=PPO, name="kl"):
        return rate_rows(metric_rows(len(values), **{name.replace("/", "__"): list(values)}), config)[name]

    def test_of_kto_its_course_alone(self):
        for values, words in (
            ([1.0 + i for i in range(20)], "rising"), ([30.0 - i for i in range(20)], "falling"),
            ([1.0, 2.0] * 10, "level"),
        ):  # fmt: skip
            rating = self.of(values, KTO)
            assert verdict(rating) == (None, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (values[-1], "kl_trend", "self")
        assert self.of([1.0 + i for i in range(20)], KTO).params == {"change": pytest.approx(19.0)}
        early = self.of([1.0] * 7, KTO)
        assert (verdict(early), early.params) == ((None, "after_rows", "few"), {"need": 8})
        assert self.of([1.0] * 8, KTO).words == "level"
        late = [400.0 - i for i in range(100)] + [300.0 + i for i in range(200)]
        assert self.of(late, KTO).words == "rising"

    @pytest.mark.parametrize("name", ["kl", "objective/kl"])
    @pytest.mark.parametrize("config", [PPO, GRPO])
    def test_ten_times_its_start(self, name, config):
        for end, level, words in ((1.0, "good", "kl_bounded"), (1.01, "poor", "kl_exploding")):
            rating = self.of([0.1] * 20 + [end] * 20, config, name)
            assert verdict(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (end, "kl_bounded", "self")
            assert rating.params == {"first": 0.1, "now": end}

    def test_a_tenth_is_little(self):
        assert self.of([0.001] * 20 + [0.1] * 20).words == "kl_bounded"
        assert self.of([0.001] * 20 + [0.11] * 20).words == "kl_exploding"
        assert self.of([-0.001] * 20 + [0.11] * 20).words == "kl_exploding"
        assert self.of([-0.1] * 20 + [0.5] * 20).words == "kl_bounded"

    def test_negative(self):
        assert verdict(self.of([-0.01] * 40)) == ("poor", "kl_negative", "firm")
        assert verdict(self.of([0.0] * 40)) == ("good", "kl_bounded", "firm")
        wave = [0.1 * (-1) ** i for i in range(40)]
        # Its noise is 0.21 and a window of five known to 2 x 0.117; its median is 0.1 below the middle.
        assert self.of([one - 0.13 for one in wave]).words == "kl_bounded"
        assert self.of([one - 0.14 for one in wave]).words == "kl_negative"

    def test_a_rise_within_its_noise(self):
        wave = [1.0 * (-1) ** i for i in range(20)]
        assert self.of([0.05] * 20 + [3.36 + one for one in wave]).words == "kl_bounded"
        assert self.of([0.05] * 20 + [3.43 + one for one in wave]).words == "kl_exploding"


class TestGroups:
    @pytest.mark.parametrize(
        ("share", "level", "words"),
        [(0.29, "good", "groups_differ"), (0.601, "poor", "groups_no_signal")],
    )  # fmt: skip
    def test_all_that_is_said(self, share, level, words):
        values = [0.0] * 10 + [share] * 20
        rating = rate_rows(metric_rows(30, frac_reward_zero_std=values), GRPO)["frac_reward_zero_std"]
        assert verdict(rating) == (level, words, "orientation")
        assert (rating.value, rating.rule, rating.basis) == (pytest.approx(share), "zero_std", "orientation")
        assert rating.params == {"share": pytest.approx(100 * share)}

    def test_the_last_twenty(self):
        values = [1.0] * 1 + [0.0] * 19
        assert rate_rows(metric_rows(20, frac_reward_zero_std=values), GRPO)["frac_reward_zero_std"].value == 0.05
        assert (
            rate_rows(metric_rows(21, frac_reward_zero_std=[*values, 0.0]), GRPO)["frac_reward_zero_std"].value == 0.0
        )

    def test_five_rows(self):
        assert rate_rows(metric_rows(4, frac_reward_zero_std=0.1), GRPO)["frac_reward_zero_std"].confidence == "few"
        assert (
            rate_rows(metric_rows(5, frac_reward_zero_std=0.1), GRPO)["frac_reward_zero_std"].confidence
            == "orientation"
        )

    def test_grpo_alone(self):
        assert "frac_reward_zero_std" not in rate_rows(metric_rows(30, frac_reward_zero_std=0.1), PPO)


def test_numbers_that_are_none_are_not_rated():
    values = {
        "accuracy": math.nan, "rewards__accuracies": math.inf, "rewards__margins": math.nan, "kl": math.nan,
        "reward": math.nan, "frac_reward_zero_std": math.nan, "mean_token_accuracy": math.nan,
        "objective__kl": math.nan, "grad_norm": math.nan, "lr": math.nan, "total_tokens": math.nan,
    }  # fmt: skip
    for stage in ("sft", "dpo", "kto", "ppo", "grpo", "rm"):
        ratings = rate_rows(metric_rows(30, **values), {"stage": stage})
        assert ratings.keys() <= {"loss", "epoch", "steps_per_s", "samples_per_s"}


RM = {"stage": "rm"}


class TestPreferenceAccuracy:
    def test_the_last_hundred_pairs(self):
        """At least five rows, here of 10 steps of 1 pair; a row of more steps holds more."""
        config = {"stage": "dpo", "total_train_batch_size": 1}
        rating = rate_rows(metric_rows(40, accuracy=[0.0] * 30 + [1.0] * 10), config)["accuracy"]
        assert (rating.value, rating.params, rating.confidence) == (1.0, {"pairs": 100}, "firm")
        rating = rate_rows(metric_rows(9, accuracy=1.0), config)["accuracy"]
        assert (rating.params, rating.confidence) == ({"pairs": 90}, "few")
        many = rate_rows(
            metric_rows(40, accuracy=[0.0] * 35 + [1.0] * 5), {"stage": "dpo", "total_train_batch_size": 64}
        )
        assert (many["accuracy"].value, many["accuracy"].params) == (1.0, {"pairs": 3200})

    def test_of_a_batch_that_is_not_known(self):
        rating = rate_rows(metric_rows(20, accuracy=0.7), {"stage": "dpo"})["accuracy"]
        assert (rating.params, rating.confidence) == ({"pairs": 100}, "firm")

    def test_no_more_than_two_hundred_rows(self):
        rows = [train(i + 1, 0.5, 400, accuracy=0.0 if i < 200 else 1.0) for i in range(400)]
        rating = rate_rows(rows, {"stage": "dpo", "total_train_batch_size": 0.25})["accuracy"]
        assert rating.params == {"pairs": 50}
        assert rating.value == 1.0

    def test_one_row(self):
        rating = rate_rows([train(10, 0.5, 10, accuracy=0.7)], PAIRS)["accuracy"]
        assert (rating.value, rating.params, rating.confidence) == (0.7, {"pairs": 10}, "few")
        two = rate_rows(metric_rows(2, accuracy=0.7), {"stage": "dpo", "total_train_batch_size": 1})["accuracy"]
        assert two.params == {"pairs": 20}

    @pytest.mark.parametrize(
        ("samples", "confidence", "params"),
        [(99, "few", {"pairs": 99}), (100, "firm", {"pairs": 100}), (None, "few", {})],
    )
    def test_of_an_evaluation(self, samples, confidence, params):
        config = {"stage": "dpo", "eval_examples": samples}
        rows = [*metric_rows(20), eval_row(100, {"eval_rewards/accuracies": 0.1})]
        rows += [eval_row(200, {"eval_rewards/accuracies": 0.7})]
        rating = rate_rows(rows, config)["eval_rewards/accuracies"]
        assert verdict(rating) == ("good", "accuracy_high", confidence)
        assert (rating.value, rating.params) == (0.7, params)


class TestSaturated:
    def of(self, accuracy, margins, findings=(), count=40):
        rows = metric_rows(count, rewards__accuracies=accuracy, rewards__margins=margins)
        return rate_rows(rows, PAIRS, findings)["rewards/accuracies"].reservations

    def test_all_right_and_still_growing(self):
        growing = [0.1 * i for i in range(40)]
        assert self.of(0.98, growing) == ("saturated",)
        assert self.of(0.979, growing) == ()
        assert self.of(1.0, 4.0) == ()
        assert self.of(1.0, list(reversed(growing))) == ()

    def test_two_percent_is_growth(self):
        assert self.of(1.0, [1.0] * 35 + [1.021] * 5) == ("saturated",)
        assert self.of(1.0, [1.0] * 35 + [1.02] * 5) == ()

    def test_against_what_it_was_two_windows_before(self):
        assert self.of(1.0, [1.0] * 25 + [2.0] * 5 + [1.5] * 10) == ()
        assert self.of(1.0, [5.0] * 25 + [1.0] * 5 + [1.5] * 10) == ("saturated",)

    def test_eight_margins(self):
        assert self.of(1.0, [0.1 * i for i in range(7)], count=7) == ()
        assert self.of(1.0, [0.1 * i for i in range(8)], count=8) == ("saturated",)

    def test_of_few_pairs_nothing_is_sure(self):
        rows = metric_rows(9, rewards__accuracies=1.0, rewards__margins=[0.1 * i for i in range(9)])
        assert rate_rows(rows, {"stage": "dpo"})["rewards/accuracies"].reservations == ()

    def test_the_finding_counts_too(self):
        assert self.of(0.9, 1.0, {"saturated", "memorised"}) == ("saturated",)

    def test_without_margins(self):
        assert rate_rows(metric_rows(40, accuracy=1.0), PAIRS)["accuracy"].reservations == ()


class TestMargins:
    def of(self, margins, total=None, **config):
        rows = metric_rows(len(margins), total, rewards__margins=list(margins))
        return rate_rows(rows, {"stage": "dpo", **config})["rewards/margins"]

    def test_all_that_is_said(self):
        rating = self.of([0.1 * i for i in range(40)])
        assert verdict(rating) == ("good", "margins_grow", "firm")
        assert (rating.value, rating.basis, rating.rule) == (pytest.approx(3.9), "self", "margins")
        assert rating.params == {"margin": pytest.approx(3.7)}

    @pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "simpo"])
    def test_stages(self, stage):
        rows = metric_rows(40, rewards__margins=[0.1 * i for i in range(40)])
        assert rate_rows(rows, {"stage": stage})["rewards/margins"].words == "margins_grow"

    def test_growth_is_two_percent(self):
        assert verdict(self.of([1.0] * 35 + [1.021] * 5)) == ("good", "margins_grow", "firm")
        assert verdict(self.of([1.0] * 35 + [1.019] * 5)) == ("good", "margins_level", "firm")

    def test_a_fifth_less_is_shrinking(self):
        assert verdict(self.of([1.0] * 35 + [0.79] * 5)) == ("fair", "margins_shrink", "firm")
        assert verdict(self.of([1.0] * 35 + [0.81] * 5)) == ("good", "margins_level", "firm")
        assert verdict(self.of([1.0] * 9 + [0.5] * 5)) == ("good", "margins_level", "firm")
        assert verdict(self.of([1.0] * 10 + [0.5] * 5)) == ("fair", "margins_shrink", "firm")
        assert verdict(self.of([5.0] * 25 + [1.0] * 10 + [0.9] * 5)) == ("good", "margins_level", "firm")

    def test_negative(self):
        assert verdict(self.of([-0.4] * 40)) == ("poor", "margins_negative", "firm")
        assert verdict(self.of([-0.4] * 40, 1334)) == (None, "early", "firm")
        assert verdict(self.of([-0.4] * 40, 1333)) == ("poor", "margins_negative", "firm")
        early = self.of([-0.4] * 6 + [-0.1], 1333)
        assert verdict(early) == (None, "early", "few")
        assert (early.value, early.params) == (-0.1, {"margin": -0.4})
        assert verdict(self.of([0.0] * 40)) == ("good", "margins_level", "firm")

    def test_negative_within_the_noise(self):
        """Alternating by 0.2 their noise is 0.21, so a window of five is known to 0.094."""
        noisy = [0.1 * (-1) ** i for i in range(40)]
        assert verdict(self.of([value - 0.08 for value in noisy]))[:2] == (None, "early")
        assert verdict(self.of([value - 0.09 for value in noisy]))[:2] == ("poor", "margins_negative")

    def test_evaluations_need_two(self):
        rows = metric_rows(20)
        for values, words in (([0.5], "few"), ([0.5, 0.6], "firm")):
            evals = [eval_row(200 + 10 * i, {"eval_rewards/margins": value}) for i, value in enumerate(values)]
            rating = rate_rows([*rows, *evals], {"stage": "dpo"})["eval_rewards/margins"]
            assert (rating.level, rating.confidence, rating.value) == ("good", words, values[-1])


class TestRewardModel:
    def test_few(self):
        rows = [*metric_rows(20), eval_row(200, {"eval_accuracy": 0.7})]
        rating = rate_rows(rows, {**RM, "eval_examples": 49})["eval_accuracy"]
        assert (rating.confidence, rating.params, rating.reservations) == ("few", {"pairs": 49}, ("few_eval_samples",))
        rating = rate_rows(rows, RM)["eval_accuracy"]
        assert (rating.confidence, rating.params, rating.reservations) == ("few", {}, ())

    def test_at_least_one_pair_was_evaluated(self):
        values = {"eval_accuracy": 0.7, "eval_runtime": 0.1, "eval_samples_per_second": 2.0}
        assert rate_rows([*metric_rows(20), eval_row(200, values)], RM)["eval_accuracy"].params == {"pairs": 1}
