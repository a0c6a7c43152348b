"""Ratings of the training signal: what is said beside the level, and which rows and options decide."""

import math
from dataclasses import replace

import pytest

from lora_tui.analysis.context import PLAIN
from lora_tui.analysis.rating_rules import RULES, lr_family, usual_lr_ranges
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow
from tests.support.rated_runs import (
    DPO,
    KTO,
    LATER,
    SFT,
    SOON,
    halves,
    rate_gradient,
    rate_loss,
    rate_rows,
    rows_of,
    timed_rows,
    verdict,
)
from tests.support.run_builder import run_of, summary, train


class TestGradient:
    def test_all_that_is_said(self):
        rating = rate_gradient([0.5] * 11 + [0.5, 2.0, 1.0])
        assert verdict(rating) == ("good", "stable", "firm")
        assert (rating.value, rating.basis, rating.rule) == (1.0, "rule", "grad_norm")
        assert rating.params == {"median": 0.5, "max": 2.0, "step": 24}

    def test_small_where_little_is_left_to_learn(self):
        assert verdict(rate_gradient([0.02] * 12, 0.099)) == ("good", "small_stable", "firm")
        assert verdict(rate_gradient([0.001] * 12, 0.099)) == ("good", "small_stable", "firm")
        assert verdict(rate_gradient([0.02] * 12, 0.1)) == ("fair", "small_gradient", "firm")

    def test_the_loss_of_the_last_twenty_rows_counts(self):
        assert rate_gradient([0.02] * 40, [3.0] * 20 + [0.05] * 20).words == "small_stable"
        assert rate_gradient([0.02] * 40, [3.0] * 29 + [0.05] * 11).words == "small_stable"
        assert rate_gradient([0.02] * 40, [3.0] * 31 + [0.05] * 9).words == "small_gradient"

    def test_nothing_learned_and_worse_than_untouched(self):
        assert rate_gradient([0.04] * 40, [2.0, *[4.0] * 39]).words == "no_gradient"

    def test_without_a_loss(self):
        rows = [LogRow("train", i + 11, {"grad_norm": 0.001, "reward": 1.0}, 500) for i in range(12)]
        assert "grad_norm" not in rate_rows(rows, {"stage": "ppo"})
        rows = [LogRow("train", i + 11, {"grad_norm": 0.03, "reward": 1.0}, 500) for i in range(12)]
        assert rate_rows(rows, {"stage": "ppo"})["grad_norm"].words == "small_gradient"

    def test_a_jump_is_ten_times_the_median(self):
        assert verdict(rate_gradient([0.5] * 11 + [5.1])) == ("fair", "jumpy", "firm")
        assert rate_gradient([0.5] * 11 + [5.0]).words == "stable"
        assert rate_gradient([0.5] * 3 + [9.0]).words == "stable"
        assert rate_gradient([0.5] * 4 + [9.0]).words == "jumpy"

    def test_the_last_twenty_count(self):
        assert rate_gradient([9.0] + [0.5] * 20).words == "stable"
        assert rate_gradient([9.0] + [0.5] * 19).words == "jumpy"

    def test_three_that_are_no_numbers(self):
        for bad in (math.nan, math.inf):
            assert verdict(rate_gradient([0.5] * 17 + [bad] * 3)) == ("poor", "gradient_nan", "firm")
            assert rate_gradient([0.5] * 17 + [bad] * 2 + [0.5]).words == "stable"
        assert rate_gradient([math.nan] * 3 + [0.5] * 18).words == "stable"

    def test_the_first_ten_steps_may_be_no_numbers(self):
        assert rate_gradient([math.inf] * 3 + [0.5] * 9, first=8).words == "stable"
        assert rate_gradient([math.inf] * 3 + [0.5] * 9, first=11).words == "gradient_nan"
        assert rate_gradient([math.inf] * 3 + [0.5] * 9, first=10).words == "stable"

    def test_a_dead_run(self):
        assert verdict(rate_gradient([0.5] * 12, findings={"dead_run"})) == ("poor", "gradient_nan", "firm")


def peak_of(rows, config, context=PLAIN):
    return rate_rows(rows, config, context=context)["lr"]


class TestLearningRate:
    def test_all_that_is_said(self):
        rating = peak_of(rows_of([1.0] * 12, lr=[1e-4] * 11 + [2.5e-5]), {**SFT, "learning_rate": 1e-4})
        assert rating.params == {"peak": 1e-4, "share": 25.0, "low": 2e-5, "high": 5e-4}
        assert (rating.rule, rating.basis) == ("lr_peak", "rule")

    def test_the_highest_row_where_it_is_above_the_plan(self):
        rows = rows_of([1.0] * 12, lr=[3e-4] * 6 + [1e-4] * 6)
        assert peak_of(rows, {**SFT, "learning_rate": 1e-4}).value == 3e-4
        assert peak_of(rows_of([1.0] * 12, lr=1.5e-4), {**SFT, "learning_rate": 1e-4}).value == 1.5e-4
        near = rows_of([1.0] * 12, lr=[1.005e-4] * 12)
        assert peak_of(near, {**SFT, "learning_rate": 1e-4}).value == 1e-4

    def test_while_it_rises_nothing_is_said_without_a_plan(self):
        rows = rows_of([1.0] * 12, lr=[1e-5 * (i + 1) for i in range(12)])
        rating = peak_of(rows, SFT)
        assert verdict(rating) == (None, "warming_up", "few")
        assert rating.params == {"peak": pytest.approx(1.2e-4), "share": 100.0}
        assert peak_of(rows, {**SFT, "learning_rate": 1.2e-4}).level == "good"
        over = rows_of([1.0] * 12, lr=[1e-5 * (i + 1) for i in range(11)] + [1e-5])
        assert verdict(peak_of(over, SFT)) == ("good", "lr_usual", "firm")

    def test_no_learning_rate_is_none(self):
        assert "lr" not in rate_rows(rows_of([1.0] * 12, lr=0.0))

    def test_a_stage_that_is_not_known_has_no_usual_one(self):
        rows = rows_of([1.0] * 12, lr=1e-4, kl=1.0)
        assert rate(run_of(rows, config={"finetuning_type": "lora"}), SOON, ()).keys().isdisjoint({"lr", "kl"})

    def test_without_a_method_the_nearer_range_counts(self):
        adapter = peak_of(rows_of([1.0] * 12, lr=1e-4), {"stage": "sft", "learning_rate": 1e-4})
        assert verdict(adapter) == ("good", "lr_usual", "orientation")
        assert (adapter.params["low"], adapter.params["high"]) == (2e-5, 5e-4)
        both = peak_of(rows_of([1.0] * 12, lr=3e-5), {"stage": "sft", "learning_rate": 3e-5})
        assert (both.level, both.params["low"], both.params["high"]) == ("good", 2e-5, 5e-4)
        full = peak_of(rows_of([1.0] * 12, lr=5e-6), {"stage": "sft", "learning_rate": 5e-6})
        assert verdict(full) == ("good", "lr_usual", "orientation")
        assert (full.params["low"], full.params["high"]) == (1e-6, 5e-5)

    @pytest.mark.parametrize(
        ("method", "side", "own"),
        [("full", "full", True), ("full", "adapter", False), ("lora", "adapter", True), ("lora", "full", False)],
    )
    def test_ranges_of_the_user(self, method, side, own):
        context = replace(PLAIN, own_lr=frozenset({f"language.{side}"}))
        config = {"stage": "sft", "finetuning_type": method, "learning_rate": 3e-5}
        assert peak_of(rows_of([1.0] * 12, lr=3e-5), config, context).own is own

    def test_stages_without_a_usual_one(self):
        assert [lr_family(stage) for stage in ("sft", "pt", "rm", "dpo", "grpo", "other")] == [
            "language", "language", "rm", "preference", "preference", None,
        ]  # fmt: skip
        assert usual_lr_ranges("other", "lora") == usual_lr_ranges("other", None) == {}


class TestOwnNumbers:
    def test_what_can_be_set(self):
        """The bounds that a rule has, the best level first, then its limits: what config.toml names them by."""
        rules = {rule.code: rule for rule in RULES}
        assert list(rules["bleu4"].numbers.items()) == [("excellent", 70), ("good", 50), ("fair", 30)]
        assert list(rules["gap"].numbers.items()) == [
            ("good", 8), ("fair", 20), ("below", -15), ("rows", 3), ("share", 0.05), ("error", 6),
        ]  # fmt: skip
        assert list(rules["epochs"].numbers.items()) == [("good", 5), ("fair", 20)]


class TestEpochs:
    @pytest.mark.parametrize(
        ("epochs", "level", "words"),
        [(5.0, "good", "epochs_usual"), (20.1, "fair", "epochs_far_more")],
    )  # fmt: skip
    def test_all_that_is_said(self, epochs, level, words):
        rating = rate_rows([train(10, 1.0, 10, epochs=epochs)])["epoch"]
        assert verdict(rating) == (level, words, "orientation")
        assert (rating.value, rating.params, rating.rule) == (epochs, {"epochs": epochs}, "epochs")
        assert rating.basis == "rule"
        assert rating.reservations == (("many_passes",) if words == "epochs_far_more" else ())

    @pytest.mark.parametrize(("epochs", "expected"), [(3, ()), (6, ("memorised",)), (30, ("memorised",))])
    def test_memorised(self, epochs, expected):
        rating = rate_rows([train(10, 1.0, 10, epochs=epochs)], findings={"memorised"})["epoch"]
        assert rating.reservations == expected

    def test_other_stages(self):
        rating = rate_rows([train(10, 1.0, 10, epochs=25)], DPO)["epoch"]
        assert verdict(rating) == (None, "no_usual_number", "firm")
        assert (rating.params, rating.basis) == ({"epochs": 25.0}, "rule")


class TestTokens:
    def test_passes(self):
        for name in ("total_tokens", "num_tokens"):
            rating = rate_rows(rows_of([1.0] * 12, None, **{name: [100 * (i + 1) for i in range(12)]}))[name]
            assert verdict(rating) == (None, "tokens_passes", "firm")
            assert (rating.value, rating.rule, rating.basis) == (1200, "tokens_seen", "rule")
            assert rating.params == {"tokens": 1200.0, "epochs": 3.0, "a_pass": 400.0}

    def test_a_pass_and_a_half(self):
        rows = [train(10 * (i + 1), 1.0, 120, epochs=1.5, total_tokens=100.0 * (i + 1)) for i in range(12)]
        rating = rate_rows(rows)["total_tokens"]
        assert (rating.words, rating.params["a_pass"]) == ("tokens_passes", 800.0)

    def test_nothing_of_a_pass(self):
        rows = [train(10 * (i + 1), 1.0, 120, epochs=0.0, total_tokens=100.0) for i in range(3)]
        assert rate_rows(rows)["total_tokens"].params == {"tokens": 100.0}

    def test_one_pass_or_less(self):
        for epochs in (1.0, 0.5):
            rows = [train(10 * (i + 1), 1.0, 120, epochs=epochs, total_tokens=100.0 * (i + 1)) for i in range(12)]
            rating = rate_rows(rows)["total_tokens"]
            assert rating.words == "tokens_total"
            assert rating.params == {"tokens": 1200.0, "epochs": epochs, "a_pass": 1200.0}

    def test_no_epoch_known(self):
        rows = [LogRow("train", 10 * (i + 1), {"loss": 1.0, "total_tokens": 100.0 * (i + 1)}, 120) for i in range(12)]
        rating = rate_rows(rows)["total_tokens"]
        assert (rating.words, rating.params) == ("tokens_total", {"tokens": 1200.0})


class TestTrainable:
    @pytest.mark.parametrize(
        ("share", "words"),
        [(0.09, "trainable_few"), (20.1, "trainable_all")],
    )  # fmt: skip
    def test_all_that_is_said(self, share, words):
        rating = rate_rows(rows_of([1.0] * 3), {**SFT, "trainable_percent": share})["trainable_percent"]
        assert verdict(rating) == (None, words, "firm")
        assert (rating.value, rating.params, rating.basis) == (share, {"share": share}, "rule")

    def test_how_many(self):
        config = {**SFT, "trainable_percent": 1.0, "trainable_params": 4_399_104}
        rating = rate_rows(rows_of([1.0] * 3), config)["trainable_percent"]
        assert rating.params == {"share": 1.0, "count": 4_399_104.0}

    @pytest.mark.parametrize(
        ("method", "there"),
        [
            ("full", False),
            ("freeze", False),
            ("lora", True),
            ("qlora", True),
            ("dora", True),
            ("oft", True),
            ("qoft", True),
            (None, True),
        ],
    )
    def test_of_adapters_alone(self, method, there):
        config = {"stage": "sft", "finetuning_type": method, "trainable_percent": 1.0}
        assert ("trainable_percent" in rate_rows(rows_of([1.0] * 3), config)) is there


class TestSpeed:
    def test_five_pieces_are_not_few(self):
        assert rate_rows(timed_rows([20.0] * 19))["steps_per_s"].confidence == "few"
        assert rate_rows(timed_rows([20.0] * 23))["steps_per_s"].confidence == "firm"

    def test_the_first_five_rows_are_left_out(self):
        rows = timed_rows([200.0] * 5 + [20.0] * 40)
        assert rate_rows(rows)["steps_per_s"].params["share"] == pytest.approx(100)

    def test_pieces_of_ten_seconds(self):
        assert rate_rows(timed_rows([1.0] * 40))["steps_per_s"].words == "speed_too_short"
        assert rate_rows(timed_rows([10.0] * 20))["steps_per_s"].words == "speed_steady"
        assert rate_rows(timed_rows([9.0] * 11))["steps_per_s"].words == "speed_too_short"

    def test_samples(self):
        config = {**SFT, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
        ratings = rate_rows(timed_rows([20.0] * 40), config)
        assert ratings["samples_per_s"].value == pytest.approx(8.0)
        assert ratings["samples_per_s"].params == {"share": pytest.approx(100), "slower": pytest.approx(0)}
        for missing in config:
            less = {name: value for name, value in config.items() if name != missing}
            assert ("samples_per_s" in rate_rows(timed_rows([20.0] * 40), less)) is (missing in SFT)

    def test_tokens_by_their_own_pace(self):
        rows = [
            row._replace(values={**row.values, "total_tokens": 1000.0 * (i if i < 20 else 20 + (i - 20) / 2)})
            for i, row in enumerate(timed_rows([20.0] * 40))
        ]
        ratings = rate_rows(rows)
        assert ratings["steps_per_s"].level == "good"
        assert (ratings["throughput"].level, ratings["throughput"].rule) == ("poor", "speed_self")
        assert ratings["throughput"].params["share"] == pytest.approx(50)

    @pytest.mark.parametrize(
        ("tokens", "devices", "level", "words"),
        [
            (1000.0, 1, "good", "speed_high"), (999.0, 1, "fair", "speed_medium"), (300.0, 1, "fair", "speed_medium"),
            (299.0, 1, "poor", "speed_low"), (1999.0, 2, "fair", "speed_medium"), (2000.0, 2, "good", "speed_high"),
        ],
    )  # fmt: skip
    def test_tokens_of_a_short_run(self, tokens, devices, level, words):
        rows = rows_of([1.0] * 4, throughput=tokens)
        rating = rate_rows(rows, {**SFT, "num_devices": devices})["throughput"]
        assert verdict(rating) == (level, words, "orientation")
        assert (rating.value, rating.rule, rating.basis) == (tokens, "throughput", "orientation")
        assert rating.params == {"devices": float(devices)}
        assert rate_rows(rows)["throughput"].params == {"devices": 1.0}

    def test_the_last_row_names_the_speed(self):
        assert rate_rows(rows_of([1.0] * 4, throughput=[100.0, 200.0, 300.0, 400.0]))["throughput"].value == 400.0
        assert "throughput" not in rate_rows(rows_of([1.0] * 4, throughput=[100.0, 200.0, 300.0, 0.0]))

    def test_the_last_third_counts(self):
        rating = rate_rows(timed_rows([20.0] * 28 + [28.0] * 12))["steps_per_s"]
        assert (rating.level, rating.params["share"]) == ("fair", pytest.approx(100 * 20 / 28))

    def test_tokens_that_are_not_counted_at_first(self):
        rows = [row._replace(values={"loss": 1.0, "total_tokens": 0.0 if i < 20 else 500.0 * (i - 19)})
                for i, row in enumerate(timed_rows([20.0] * 40))]  # fmt: skip
        assert rate_rows(rows)["throughput"].rule == "throughput"

    def test_rows_without_a_clock(self):
        rows = [row._replace(elapsed_s=None) if i % 4 == 2 else row for i, row in enumerate(timed_rows([20.0] * 40))]
        assert verdict(rate_rows(rows)["steps_per_s"]) == ("good", "speed_steady", "firm")

    def test_after_a_resume_the_present_segment_counts(self):
        first = timed_rows([5.0] * 30)
        second = [row._replace(step=(row.step or 0) + 300, total_steps=700) for row in timed_rows([20.0] * 30)]
        ratings = rate_rows([*first, *second])
        assert verdict(ratings["steps_per_s"]) == ("good", "speed_steady", "firm")
        assert ratings["steps_per_s"].params["share"] == pytest.approx(100)
        short = rate_rows([*first, *second[:9]])["steps_per_s"]
        assert verdict(short) == (None, "speed_too_short", "few")
        enough = rate_rows([*first, *second[:10]])["steps_per_s"]
        assert verdict(enough) == ("good", "speed_steady", "few")

    def test_a_speed_that_a_row_names_is_of_one_segment(self):
        rows = rows_of([1.0] * 4, throughput=500.0)
        again = [row._replace(step=40 + 10 * i) for i, row in enumerate(rows, 1)]
        assert "throughput" in rate_rows(rows)
        assert "throughput" not in rate_rows([*rows, *again])


class TestLoss:
    def test_all_that_is_said_of_a_fall(self):
        rating = rate_loss(halves(20.0, 15.0))
        assert verdict(rating) == ("good", "converging", "firm")
        assert (rating.metric, rating.value, rating.basis, rating.rule) == ("loss", 15.0, "base", "loss_trend")
        assert rating.params == {"count": 40, "last": 15.0, "need": 8, "first": 20.0, "now": 15.0, "fall": 25.0}

    def test_eight_rows_are_enough(self):
        flat = [2.0, 2.1] * 4
        assert verdict(rate_loss(flat[:7])) == (None, "after_rows", "few")
        assert rate_loss(flat[:7]).params == {
            "count": 7, "last": 2.0, "need": 8, "first": 2.0, "now": 2.0, "fall": 0.0,
        }  # fmt: skip
        assert verdict(rate_loss(flat)) == (None, "early", "firm")

    def test_fewer_rows_that_fall_are_rated_as_few(self):
        assert verdict(rate_loss([20.0, 19.0])) == ("good", "converging", "few")
        assert verdict(rate_loss([20.0, 19.02])) == (None, "after_rows", "few")
        assert verdict(rate_loss([20.0, 10.0], DPO)) == (None, "after_rows", "few")
        assert verdict(rate_loss([0.5, 0.3, 0.2], KTO)) == (None, "after_rows", "few")

    def test_thirty_rows_make_hardly_moves_firm(self):
        assert verdict(rate_loss([2.0] * 29)) == (None, "early", "firm")
        assert verdict(rate_loss([2.0] * 30)) == ("fair", "hardly_moves", "firm")
        for count, confidence in ((29, "few"), (30, "firm")):
            rows = [*rows_of([2.0] * count), summary(10 * count, 10 * count)]
            assert verdict(rate_rows(rows, now=LATER, ended=True)["loss"]) == ("fair", "hardly_moves", confidence)

    def test_a_loss_of_nothing_falls_no_further(self):
        assert rate_loss([0.0] * 40).params["fall"] == 0.0
        assert rate_loss([0.0] * 40).level == "fair"
        assert rate_loss(halves(-1.0, -2.0)).params["fall"] == 0.0

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_broken(self, code):
        rating = rate_loss(halves(2.0, 1.0), findings={code})
        assert verdict(rating) == ("poor", "out_of_control", "firm")
        assert rating.params == {"count": 40, "last": 1.0, "need": 8}

    def test_a_jump_to_exactly_nothing_waits(self):
        for before in ([0.1] * 12, [2.0] * 6 + [0.05] * 3 + [0.11] * 3):
            rating = rate_loss([*before, 0.0])
            assert verdict(rating) == (None, "after_rows", "few")
            assert rating.params == {"count": 13, "last": 0.0, "need": 8}
        assert rate_loss([*[0.099] * 12, 0.0]).words != "after_rows"
        assert rate_loss([*[0.2] * 9, 0.05, 0.05, 0.05, 0.0]).words != "after_rows"
        assert rate_loss([*[2.0] * 12, 0.001]).words != "after_rows"

    def test_one_row_of_nothing(self):
        assert rate_loss([0.0]).params["fall"] == 0.0
        assert rate_loss([0.2, 0.0]).params == {"count": 2, "last": 0.0, "need": 8}

    def test_what_undermines_it(self):
        codes = {"memorised", "loss_scale_bug", "two_writers", "overfitting"}
        rating = rate_loss(halves(2.0, 1.0), findings=codes)
        assert rating.reservations == ("memorised", "loss_scale_bug", "two_writers")
        assert rate_loss(halves(2.0, 1.0)).reservations == ()

    def test_no_level_where_the_stage_says_nothing(self):
        rating = rate_loss(halves(2.0, 1.0), {"stage": "ppo"})
        assert verdict(rating) == (None, "look_at_reward", "firm")
        assert rating.params == {"count": 40, "last": 1.0, "need": 0}

    def test_above_the_start(self):
        rating = rate_loss([2.6, *[4.5] * 40])
        assert verdict(rating) == ("poor", "above_start", "firm")
        assert rating.params["start"] == 2.6

    def test_diverging(self):
        rating = rate_loss([*halves(3.0, 1.0, 60), *[1.5 + 0.02 * i for i in range(20)]])
        assert verdict(rating) == ("poor", "diverging", "firm")
        assert rating.params["best"] == pytest.approx(1.08, abs=0.01)

    def test_a_tenth_above_its_lowest_is_rising_again(self):
        fallen = [*[3.0] * 5, *[1.0] * 60]
        rating = rate_loss([*fallen, *[1.12] * 15])
        assert verdict(rating) == ("fair", "rising_again", "firm")
        assert rating.params["lowest"] == pytest.approx(1.0, abs=0.01)
        assert rate_loss([*fallen, *[1.09] * 15]).words == "converging"

    def test_a_tenth_of_a_small_loss(self):
        fallen = [*[3.0] * 5, *[0.5] * 75]
        assert rate_loss([*fallen, *[0.554] * 15]).words == "rising_again"
        assert rate_loss([*fallen, *[0.546] * 15]).words == "converging"

    def test_twenty_rows_can_rise_again(self):
        rating = rate_loss([*[5.0] * 5, *[1.0] * 10, *[2.6] * 5])
        assert verdict(rating) == ("fair", "rising_again", "few")
        assert rate_loss([*[5.0] * 5, *[1.0] * 9, *[2.6] * 5]).words == "converging"

    def test_a_rise_needs_rows_before_it(self):
        low = [3.0] * 5 + [1.0] * 9
        assert rate_loss([*low, *[1.3] * 5]).words == "converging"

    def test_what_its_noise_explains_is_no_rise(self):
        noisy = [1.0 + 0.2 * (-1) ** i for i in range(60)]
        # Six standard errors of a window of five are 1.12 here.
        assert rate_loss([*[3.0] * 5, *noisy, *[2.1] * 3]).words == "converging"
        assert rate_loss([*[3.0] * 5, *noisy, *[2.2] * 3]).words == "rising_again"
        assert rate_loss([*[3.0] * 5, *noisy, *[one + 0.2 for one in noisy[:15]]]).words == "converging"


class TestLossOfOtherStages:
    @pytest.mark.parametrize("stage", ["sft", "pt", "orpo", "simpo"])
    def test_the_course(self, stage):
        rating = rate_loss(halves(2.0, 1.0), {"stage": stage})
        assert (verdict(rating), rating.rule, rating.basis) == (("good", "converging", "firm"), "loss_trend", "base")

    @pytest.mark.parametrize("stage", ["dpo", "rm", "kto"])
    def test_broken(self, stage):
        assert verdict(rate_loss([0.5] * 40, {"stage": stage}, {"dead_run"})) == ("poor", "out_of_control", "firm")

    @pytest.mark.parametrize("stage", ["ppo", "grpo"])
    def test_nothing_to_tell(self, stage):
        rating = rate_loss([0.5] * 40, {"stage": stage})
        assert (verdict(rating), rating.basis) == ((None, "look_at_reward", "firm"), "rule")


class TestLossOfKto:
    def test_a_third_of_the_way_is_late(self):
        assert rate_loss([0.5] * 30, KTO, total=1000).level == "fair"
        assert (
            verdict(rate_rows([row._replace(total_steps=None) for row in rows_of([0.5] * 30)], KTO)["loss"])[1]
            == "early"
        )
        assert verdict(rate_loss([0.5] * 30, KTO, total=1001)) == (None, "early", "firm")


class TestLossOfPreferences:
    @pytest.mark.parametrize("start", [0.599, 0.781])
    def test_what_starts_elsewhere_has_its_course_alone(self, start):
        assert verdict(rate_loss(halves(start, 0.5), DPO)) == (None, "falling", "firm")
        assert verdict(rate_loss(halves(start, 0.5), {"stage": "rm"})) == ("good", "preference_learned", "firm")

    @pytest.mark.parametrize(
        "options", [{"pref_ftx": 0.1}, {"pref_loss": "ipo"}, {"pref_loss": "hinge"}, {"pref_loss": ("ipo", "hinge")}]
    )
    def test_another_loss_has_its_course_alone(self, options):
        assert verdict(rate_loss(halves(0.7, 0.5), {**DPO, **options})) == (None, "falling", "firm")
        # 3 % or less is no fall.
        assert verdict(rate_loss(halves(0.7, 0.68), {**DPO, **options})) == (None, "level", "firm")
        assert verdict(rate_loss(halves(0.7, 0.676), {**DPO, **options})) == (None, "falling", "firm")

    def test_three_percent_exactly_is_no_fall(self):
        assert rate_loss(halves(100.0, 97.0), DPO).words == "level"

    @pytest.mark.parametrize("options", [{"pref_ftx": 0.0}, {"pref_loss": "sigmoid"}, {"pref_loss": ("sigmoid",)}])
    def test_the_usual_loss_said_aloud(self, options):
        assert rate_loss(halves(0.7, 0.5), {**DPO, **options}).level == "good"
