"""Where the ratings of rewards, KL, token accuracy and groups turn, and what is said beside the level."""

import math
from dataclasses import replace

import pytest

from lora_tui.analysis.context import PLAIN
from lora_tui.analysis.rating_rules import RULES
from lora_tui.analysis.ratings.collector import slope
from lora_tui.records.documents import LogRow
from tests.analysis.ratings import edges
from tests.analysis.ratings.edges import of, said

KTO, PPO, GRPO, SFT = ({"stage": stage} for stage in ("kto", "ppo", "grpo", "sft"))


def rows_of(count, total=None, **more):
    return edges.rows_of([0.5] * count, total, **more)


def evaluated(step, values, total=400):
    return LogRow("eval", step, values, total, 1.0, float(step))


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
            rating = of(rows_of(20, **{name: values}), {"stage": stage})[name]
            assert said(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (values[-1], "token_accuracy", "self")
            if level:
                assert rating.params == {"change": pytest.approx(values[-1] - values[0])}

    def test_eight_rows(self):
        values = [0.4 + 0.01 * i for i in range(8)]
        early = of(rows_of(7, accuracy=values[:7]), SFT)["accuracy"]
        assert said(early) == (None, "after_rows", "few")
        assert (early.params, early.value) == ({"need": 8}, pytest.approx(0.46))
        assert said(of(rows_of(8, accuracy=values), SFT)["accuracy"]) == ("good", "token_rising", "firm")

    @pytest.mark.parametrize("name", ["eval_mean_token_accuracy", "eval_accuracy"])
    def test_three_evaluations(self, name):
        rows = [*rows_of(20), evaluated(100, {name: 0.5}), evaluated(150, {name: 0.6})]
        early = of(rows, SFT)[name]
        assert said(early) == (None, "after_rows", "few")
        assert early.params == {"need": 3}
        rating = of([*rows, evaluated(200, {name: 0.7})], SFT)[name]
        assert said(rating) == ("good", "token_rising", "firm")
        assert rating.params == {"change": pytest.approx(0.2)}

    def test_one_that_needs_more_rows_is_no_reason_to_leave_out_another(self):
        rows = rows_of(7, mean_token_accuracy=0.5)
        rows += [evaluated(100 + at, {"eval_accuracy": 0.5 + at / 10}) for at in (1, 2, 3)]
        ratings = of(rows, SFT)
        assert ratings["mean_token_accuracy"].words == "after_rows"
        assert ratings["eval_accuracy"].words == "token_rising"

    def test_two_rows_have_no_course_even_where_the_user_wants_one(self):
        limits = {"min_rows": 1, "window": 200}
        mine = tuple(replace(rule, limits=limits) if rule.code == "token_accuracy" else rule for rule in RULES)
        rating = of(rows_of(2, accuracy=[0.1, 0.9]), SFT, context=replace(PLAIN, rules=mine))["accuracy"]
        assert (said(rating), rating.params) == ((None, "level", "firm"), {"change": 0.0})

    def test_the_last_two_hundred(self):
        values = [1.0 - 0.004 * i for i in range(100)] + [0.2 + 0.001 * i for i in range(200)]
        assert of(rows_of(300, accuracy=values), SFT)["accuracy"].words == "token_rising"
        values = [1.0 - 0.004 * i for i in range(120)] + [0.2 + 0.0001 * i for i in range(180)]
        assert of(rows_of(300, accuracy=values), SFT)["accuracy"].words == "token_falling"

    def test_twice_the_error_of_the_slope(self):
        """Steps of 0.1 up and down, on a slope of 1.84 and of 2.09 of its errors."""
        for tilt, words in ((0.0045, "level"), (0.005, "token_rising")):
            values = [0.5 + 0.05 * (-1) ** i + tilt * i for i in range(20)]
            found, error = slope(values)
            assert (found > 2 * error) is (words == "token_rising")
            assert of(rows_of(20, accuracy=values), SFT)["accuracy"].words == words
            down = [1 - value for value in values]
            assert of(rows_of(20, accuracy=down), SFT)["accuracy"].words == words.replace("rising", "falling")


class TestReward:
    def of(self, values, stage="ppo"):
        return of(rows_of(len(values), reward=list(values)), {"stage": stage})["reward"]

    def test_course(self):
        up = self.of([0.1 * i for i in range(40)])
        assert said(up) == ("good", "reward_rising", "firm")
        assert (up.value, up.rule, up.basis) == (pytest.approx(3.9), "reward_trend", "self")
        assert up.params == {"change": pytest.approx(3.9)}
        down = self.of([4 - 0.1 * i for i in range(40)])
        assert said(down) == ("poor", "reward_falling", "firm")
        assert down.params == {"change": pytest.approx(-3.9)}
        assert said(self.of([1.0, 1.1] * 20)) == ("fair", "level", "firm")
        assert said(self.of([1.0] * 40)) == ("fair", "level", "firm")

    def test_twenty_rows(self):
        early = self.of([0.1 * i for i in range(19)])
        assert said(early) == (None, "after_rows", "few")
        assert (early.params, early.value) == ({"need": 20}, pytest.approx(1.8))
        assert said(self.of([0.1 * i for i in range(20)])) == ("good", "reward_rising", "firm")

    def test_the_last_two_hundred(self):
        assert self.of([5.0 - 0.05 * i for i in range(100)] + [0.01 * i for i in range(200)]).words == "reward_rising"
        late = self.of([5.0 - 0.05 * i for i in range(100)] + [0.01 * i for i in range(200)])
        assert late.params == {"change": pytest.approx(1.99)}

    def test_what_was_won_early_is_kept(self):
        wave = [0.05 * (-1) ** i for i in range(200)]
        assert said(self.of([0.0] * 40 + [1.0 + one for one in wave])) == ("good", "reward_kept", "firm")
        assert said(self.of([1.0] * 40 + [1.0 + one for one in wave])) == ("fair", "level", "firm")
        assert said(self.of([2.0] * 40 + [1.0 + one for one in wave])) == ("fair", "level", "firm")

    def test_what_noise_explains_is_not_kept(self):
        """Alternating by 2 they have a noise of 2.1; a difference of two windows of 12 rows is known to 2 x 1.07."""
        wave = [1.0 * (-1) ** i for i in range(200)]
        assert said(self.of([0.0] * 40 + [2.12 + one for one in wave])) == ("fair", "level", "firm")
        assert said(self.of([0.0] * 40 + [2.16 + one for one in wave])) == ("good", "reward_kept", "firm")


class TestKl:
    def of(self, values, config=PPO, name="kl"):
        return of(rows_of(len(values), **{name.replace("/", "__"): list(values)}), config)[name]

    def test_of_kto_its_course_alone(self):
        for values, words in (
            ([1.0 + i for i in range(20)], "rising"), ([30.0 - i for i in range(20)], "falling"),
            ([1.0, 2.0] * 10, "level"),
        ):  # fmt: skip
            rating = self.of(values, KTO)
            assert said(rating) == (None, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (values[-1], "kl_trend", "self")
        assert self.of([1.0 + i for i in range(20)], KTO).params == {"change": pytest.approx(19.0)}
        early = self.of([1.0] * 7, KTO)
        assert (said(early), early.params) == ((None, "after_rows", "few"), {"need": 8})
        assert self.of([1.0] * 8, KTO).words == "level"
        late = [400.0 - i for i in range(100)] + [300.0 + i for i in range(200)]
        assert self.of(late, KTO).words == "rising"

    @pytest.mark.parametrize("name", ["kl", "objective/kl"])
    @pytest.mark.parametrize("config", [PPO, GRPO])
    def test_ten_times_its_start(self, name, config):
        for end, level, words in ((1.0, "good", "kl_bounded"), (1.01, "poor", "kl_exploding")):
            rating = self.of([0.1] * 20 + [end] * 20, config, name)
            assert said(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (end, "kl_bounded", "self")
            assert rating.params == {"first": 0.1, "now": end}

    def test_a_tenth_is_little(self):
        assert self.of([0.001] * 20 + [0.1] * 20).words == "kl_bounded"
        assert self.of([0.001] * 20 + [0.11] * 20).words == "kl_exploding"
        assert self.of([-0.001] * 20 + [0.11] * 20).words == "kl_exploding"
        assert self.of([-0.1] * 20 + [0.5] * 20).words == "kl_bounded"

    def test_negative(self):
        assert said(self.of([-0.01] * 40)) == ("poor", "kl_negative", "firm")
        assert said(self.of([0.0] * 40)) == ("good", "kl_bounded", "firm")
        wave = [0.1 * (-1) ** i for i in range(40)]
        # Its noise is 0.21 and a window of five known to 2 x 0.117; its median is 0.1 below the middle.
        assert self.of([one - 0.13 for one in wave]).words == "kl_bounded"
        assert self.of([one - 0.14 for one in wave]).words == "kl_negative"

    def test_a_rise_within_its_noise(self):
        wave = [1.0 * (-1) ** i for i in range(20)]
        assert self.of([0.05] * 20 + [3.36 + one for one in wave]).words == "kl_bounded"
        assert self.of([0.05] * 20 + [3.43 + one for one in wave]).words == "kl_exploding"

    def test_twenty_rows(self):
        early = self.of([0.1] * 19)
        assert (said(early), early.params, early.value) == ((None, "after_rows", "few"), {"need": 20}, 0.1)
        assert self.of([0.1] * 20).words == "kl_bounded"


class TestGroups:
    @pytest.mark.parametrize(
        ("share", "level", "words"),
        [(0.29, "good", "groups_differ"), (0.301, "fair", "groups_alike"), (0.59, "fair", "groups_alike"),
         (0.601, "poor", "groups_no_signal")],
    )  # fmt: skip
    def test_bounds(self, share, level, words):
        values = [0.0] * 10 + [share] * 20
        rating = of(rows_of(30, frac_reward_zero_std=values), GRPO)["frac_reward_zero_std"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.value, rating.rule, rating.basis) == (pytest.approx(share), "zero_std", "orientation")
        assert rating.params == {"share": pytest.approx(100 * share)}

    def test_a_bound_belongs_to_the_worse_side(self):
        for share, level in ((0.3, "fair"), (0.6, "poor")):
            assert of(rows_of(1, frac_reward_zero_std=share), GRPO)["frac_reward_zero_std"].level == level

    def test_the_last_twenty(self):
        values = [1.0] * 1 + [0.0] * 19
        assert of(rows_of(20, frac_reward_zero_std=values), GRPO)["frac_reward_zero_std"].value == 0.05
        assert of(rows_of(21, frac_reward_zero_std=[*values, 0.0]), GRPO)["frac_reward_zero_std"].value == 0.0

    def test_five_rows(self):
        assert of(rows_of(4, frac_reward_zero_std=0.1), GRPO)["frac_reward_zero_std"].confidence == "few"
        assert of(rows_of(5, frac_reward_zero_std=0.1), GRPO)["frac_reward_zero_std"].confidence == "orientation"

    def test_grpo_alone(self):
        assert "frac_reward_zero_std" not in of(rows_of(30, frac_reward_zero_std=0.1), PPO)


def test_numbers_that_are_none_are_not_rated():
    values = {
        "accuracy": math.nan, "rewards__accuracies": math.inf, "rewards__margins": math.nan, "kl": math.nan,
        "reward": math.nan, "frac_reward_zero_std": math.nan, "mean_token_accuracy": math.nan,
        "objective__kl": math.nan, "grad_norm": math.nan, "lr": math.nan, "total_tokens": math.nan,
    }  # fmt: skip
    for stage in ("sft", "dpo", "kto", "ppo", "grpo", "rm"):
        ratings = of(rows_of(30, **values), {"stage": stage})
        assert ratings.keys() <= {"loss", "epoch", "steps_per_s", "samples_per_s"}
