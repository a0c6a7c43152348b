"""Where the ratings of preferences and reward models turn, and what is said beside the level."""

import pytest

from lora_tui.records.documents import LogRow
from tests.analysis.ratings import edges
from tests.analysis.ratings.edges import of, said
from tests.support.run_builder import train

DPO = {"stage": "dpo", "total_train_batch_size": 10}
RM = {"stage": "rm"}


def rows_of(count, total=None, **more):
    return edges.rows_of([0.5] * count, total, **more)


def evaluated(step, values, total=400):
    return LogRow("eval", step, values, total, 1.0, float(step))


ACCURACY = [
    (0.8, "excellent", "accuracy_very_high"), (0.79, "good", "accuracy_high"), (0.65, "good", "accuracy_high"),
    (0.64, "fair", "accuracy_some"), (0.55, "fair", "accuracy_some"), (0.54, "poor", "near_coin"),
]  # fmt: skip


class TestPreferenceAccuracy:
    @pytest.mark.parametrize(("value", "level", "words"), ACCURACY)
    @pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "simpo"])
    def test_bounds(self, value, level, words, stage):
        config = {"stage": stage, "total_train_batch_size": 10}
        for name in ("accuracy", "rewards__accuracies"):
            rating = of(rows_of(20, **{name: value}), config)[name.replace("__", "/")]
            assert said(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (pytest.approx(value), "preference_accuracy", "rule")
            assert rating.params == {"pairs": 500}

    def test_a_third_of_the_way(self):
        """Every run begins at chance: until it is late, only what is high is rated."""
        for value in (0.5, 0.6):
            ratings = of(rows_of(20, 667, accuracy=value, rewards__accuracies=value), DPO)
            for name in ("accuracy", "rewards/accuracies"):
                assert said(ratings[name]) == (None, "early", "firm")
                assert ratings[name].params == {"pairs": 500}
            few = of(rows_of(5, 667, accuracy=value), {"stage": "dpo"})["accuracy"]
            assert said(few) == (None, "early", "few")
            assert of(rows_of(20, 666, accuracy=value), DPO)["accuracy"].level is not None
        assert of(rows_of(20, 2000, accuracy=0.7), DPO)["accuracy"].level == "good"

    def test_the_last_hundred_pairs(self):
        """At least five rows, here of 10 steps of 1 pair; a row of more steps holds more."""
        config = {"stage": "dpo", "total_train_batch_size": 1}
        rating = of(rows_of(40, accuracy=[0.0] * 30 + [1.0] * 10), config)["accuracy"]
        assert (rating.value, rating.params, rating.confidence) == (1.0, {"pairs": 100}, "firm")
        rating = of(rows_of(9, accuracy=1.0), config)["accuracy"]
        assert (rating.params, rating.confidence) == ({"pairs": 90}, "few")
        many = of(rows_of(40, accuracy=[0.0] * 35 + [1.0] * 5), {"stage": "dpo", "total_train_batch_size": 64})
        assert (many["accuracy"].value, many["accuracy"].params) == (1.0, {"pairs": 3200})

    def test_of_a_batch_that_is_not_known(self):
        rating = of(rows_of(20, accuracy=0.7), {"stage": "dpo"})["accuracy"]
        assert (rating.params, rating.confidence) == ({"pairs": 100}, "firm")

    def test_no_more_than_two_hundred_rows(self):
        rows = [train(i + 1, 0.5, 400, accuracy=0.0 if i < 200 else 1.0) for i in range(400)]
        rating = of(rows, {"stage": "dpo", "total_train_batch_size": 0.25})["accuracy"]
        assert rating.params == {"pairs": 50}
        assert rating.value == 1.0

    def test_one_row(self):
        rating = of([train(10, 0.5, 10, accuracy=0.7)], DPO)["accuracy"]
        assert (rating.value, rating.params, rating.confidence) == (0.7, {"pairs": 10}, "few")
        two = of(rows_of(2, accuracy=0.7), {"stage": "dpo", "total_train_batch_size": 1})["accuracy"]
        assert two.params == {"pairs": 20}

    @pytest.mark.parametrize(
        ("samples", "confidence", "params"),
        [(99, "few", {"pairs": 99}), (100, "firm", {"pairs": 100}), (None, "few", {})],
    )
    def test_of_an_evaluation(self, samples, confidence, params):
        config = {"stage": "dpo", "eval_examples": samples}
        rows = [*rows_of(20), evaluated(100, {"eval_rewards/accuracies": 0.1})]
        rows += [evaluated(200, {"eval_rewards/accuracies": 0.7})]
        rating = of(rows, config)["eval_rewards/accuracies"]
        assert said(rating) == ("good", "accuracy_high", confidence)
        assert (rating.value, rating.params) == (0.7, params)


class TestSaturated:
    def of(self, accuracy, margins, findings=(), count=40):
        rows = rows_of(count, rewards__accuracies=accuracy, rewards__margins=margins)
        return of(rows, DPO, findings)["rewards/accuracies"].reservations

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
        rows = rows_of(9, rewards__accuracies=1.0, rewards__margins=[0.1 * i for i in range(9)])
        assert of(rows, {"stage": "dpo"})["rewards/accuracies"].reservations == ()

    def test_the_finding_counts_too(self):
        assert self.of(0.9, 1.0, {"saturated", "memorised"}) == ("saturated",)

    def test_without_margins(self):
        assert of(rows_of(40, accuracy=1.0), DPO)["accuracy"].reservations == ()


class TestMargins:
    def of(self, margins, total=None, **config):
        rows = rows_of(len(margins), total, rewards__margins=list(margins))
        return of(rows, {"stage": "dpo", **config})["rewards/margins"]

    def test_all_that_is_said(self):
        rating = self.of([0.1 * i for i in range(40)])
        assert said(rating) == ("good", "margins_grow", "firm")
        assert (rating.value, rating.basis, rating.rule) == (pytest.approx(3.9), "self", "margins")
        assert rating.params == {"margin": pytest.approx(3.7)}

    @pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "simpo"])
    def test_stages(self, stage):
        rows = rows_of(40, rewards__margins=[0.1 * i for i in range(40)])
        assert of(rows, {"stage": stage})["rewards/margins"].words == "margins_grow"

    def test_growth_is_two_percent(self):
        assert said(self.of([1.0] * 35 + [1.021] * 5)) == ("good", "margins_grow", "firm")
        assert said(self.of([1.0] * 35 + [1.019] * 5)) == ("good", "margins_level", "firm")

    def test_a_fifth_less_is_shrinking(self):
        assert said(self.of([1.0] * 35 + [0.79] * 5)) == ("fair", "margins_shrink", "firm")
        assert said(self.of([1.0] * 35 + [0.81] * 5)) == ("good", "margins_level", "firm")
        assert said(self.of([1.0] * 9 + [0.5] * 5)) == ("good", "margins_level", "firm")
        assert said(self.of([1.0] * 10 + [0.5] * 5)) == ("fair", "margins_shrink", "firm")
        assert said(self.of([5.0] * 25 + [1.0] * 10 + [0.9] * 5)) == ("good", "margins_level", "firm")

    def test_eight_rows(self):
        assert said(self.of([1.0] * 7)) == ("good", "margins_grow", "few")
        assert said(self.of([1.0] * 8)) == ("good", "margins_level", "firm")

    @pytest.mark.parametrize("option", ["pref_beta", "beta"])
    def test_half_of_beta(self, option):
        assert said(self.of([0.049] * 40, **{option: 0.1})) == ("fair", "margins_small", "firm")
        assert said(self.of([0.05] * 40, **{option: 0.1})) == ("good", "margins_level", "firm")
        assert self.of([0.01] * 40).words == "margins_level"
        assert self.of([0.049] * 40, 1333, **{option: 0.1}).words == "margins_small"
        assert self.of([0.049] * 40, 1334, **{option: 0.1}).words == "margins_level"

    def test_negative(self):
        assert said(self.of([-0.4] * 40)) == ("poor", "margins_negative", "firm")
        assert said(self.of([-0.4] * 40, 1334)) == (None, "early", "firm")
        assert said(self.of([-0.4] * 40, 1333)) == ("poor", "margins_negative", "firm")
        early = self.of([-0.4] * 6 + [-0.1], 1333)
        assert said(early) == (None, "early", "few")
        assert (early.value, early.params) == (-0.1, {"margin": -0.4})
        assert said(self.of([0.0] * 40)) == ("good", "margins_level", "firm")

    def test_negative_within_the_noise(self):
        """Alternating by 0.2 their noise is 0.21, so a window of five is known to 0.094."""
        noisy = [0.1 * (-1) ** i for i in range(40)]
        assert said(self.of([value - 0.08 for value in noisy]))[:2] == (None, "early")
        assert said(self.of([value - 0.09 for value in noisy]))[:2] == ("poor", "margins_negative")

    def test_evaluations_need_two(self):
        rows = rows_of(20)
        for values, words in (([0.5], "few"), ([0.5, 0.6], "firm")):
            evals = [evaluated(200 + 10 * i, {"eval_rewards/margins": value}) for i, value in enumerate(values)]
            rating = of([*rows, *evals], {"stage": "dpo"})["eval_rewards/margins"]
            assert (rating.level, rating.confidence, rating.value) == ("good", words, values[-1])


class TestRewardModel:
    @pytest.mark.parametrize(
        ("value", "level", "words"),
        [
            (0.75, "excellent", "accuracy_very_high"), (0.74, "good", "accuracy_high"), (0.65, "good", "accuracy_high"),
            (0.64, "fair", "accuracy_some"), (0.55, "fair", "accuracy_some"), (0.54, "poor", "near_coin"),
        ],
    )  # fmt: skip
    def test_bounds(self, value, level, words):
        rows = [*rows_of(20), evaluated(100, {"eval_accuracy": 0.1}), evaluated(200, {"eval_accuracy": value})]
        rating = of(rows, {**RM, "eval_examples": 50})["eval_accuracy"]
        assert said(rating) == (level, words, "firm")
        assert (rating.value, rating.params, rating.reservations) == (value, {"pairs": 50}, ())
        assert (rating.rule, rating.basis) == ("reward_accuracy", "rule")

    def test_few(self):
        rows = [*rows_of(20), evaluated(200, {"eval_accuracy": 0.7})]
        rating = of(rows, {**RM, "eval_examples": 49})["eval_accuracy"]
        assert (rating.confidence, rating.params, rating.reservations) == ("few", {"pairs": 49}, ("few_eval_samples",))
        rating = of(rows, RM)["eval_accuracy"]
        assert (rating.confidence, rating.params, rating.reservations) == ("few", {}, ())

    def test_at_least_one_pair_was_evaluated(self):
        values = {"eval_accuracy": 0.7, "eval_runtime": 0.1, "eval_samples_per_second": 2.0}
        assert of([*rows_of(20), evaluated(200, values)], RM)["eval_accuracy"].params == {"pairs": 1}
