"""Where the ratings of gradient, learning rate, epochs, tokens and speed turn, and what is said beside the level."""

import math
from dataclasses import replace

import pytest

from lora_tui.analysis.context import PLAIN
from lora_tui.analysis.rating_rules import RULES, lr_family, lr_range
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow
from tests.analysis.ratings.edges import SFT, SOON, of, rows_of, said
from tests.support.run_builder import run_of, train

DPO = {"stage": "dpo", "finetuning_type": "lora"}


def gradient(norms, losses=2.0, findings=(), first=11):
    given = losses if isinstance(losses, list) else [losses] * len(norms)
    rows = [train(first + i, given[i], 10_000, grad_norm=norm) for i, norm in enumerate(norms)]
    return of(rows, findings=findings)["grad_norm"]


class TestGradient:
    def test_all_that_is_said(self):
        rating = gradient([0.5] * 11 + [0.5, 2.0, 1.0])
        assert said(rating) == ("good", "stable", "firm")
        assert (rating.value, rating.basis, rating.rule) == (1.0, "rule", "grad_norm")
        assert rating.params == {"median": 0.5, "max": 2.0, "step": 24}

    @pytest.mark.parametrize(
        ("norm", "level", "words"),
        [
            (10.0, "good", "stable"), (10.1, "fair", "large_gradient"), (100.0, "fair", "large_gradient"),
            (100.1, "poor", "exploding"), (0.05, "good", "stable"), (0.049, "fair", "small_gradient"),
            (0.01, "fair", "small_gradient"), (0.0099, "poor", "no_gradient"),
        ],
    )  # fmt: skip
    def test_bounds(self, norm, level, words):
        assert said(gradient([norm] * 12)) == (level, words, "firm")

    def test_small_where_little_is_left_to_learn(self):
        assert said(gradient([0.02] * 12, 0.099)) == ("good", "small_stable", "firm")
        assert said(gradient([0.001] * 12, 0.099)) == ("good", "small_stable", "firm")
        assert said(gradient([0.02] * 12, 0.1)) == ("fair", "small_gradient", "firm")

    def test_the_loss_of_the_last_twenty_rows_counts(self):
        assert gradient([0.02] * 40, [3.0] * 20 + [0.05] * 20).words == "small_stable"
        assert gradient([0.02] * 40, [3.0] * 29 + [0.05] * 11).words == "small_stable"
        assert gradient([0.02] * 40, [3.0] * 31 + [0.05] * 9).words == "small_gradient"

    def test_nothing_learned_and_worse_than_untouched(self):
        assert gradient([0.04] * 40, [2.0, *[4.0] * 39]).words == "no_gradient"

    def test_without_a_loss(self):
        rows = [LogRow("train", i + 11, {"grad_norm": 0.001, "reward": 1.0}, 500) for i in range(12)]
        assert "grad_norm" not in of(rows, {"stage": "ppo"})
        rows = [LogRow("train", i + 11, {"grad_norm": 0.03, "reward": 1.0}, 500) for i in range(12)]
        assert of(rows, {"stage": "ppo"})["grad_norm"].words == "small_gradient"

    def test_a_jump_is_ten_times_the_median(self):
        assert said(gradient([0.5] * 11 + [5.1])) == ("fair", "jumpy", "firm")
        assert gradient([0.5] * 11 + [5.0]).words == "stable"
        assert gradient([0.5] * 3 + [9.0]).words == "stable"
        assert gradient([0.5] * 4 + [9.0]).words == "jumpy"

    def test_the_last_twenty_count(self):
        assert gradient([9.0] + [0.5] * 20).words == "stable"
        assert gradient([9.0] + [0.5] * 19).words == "jumpy"

    def test_few_values(self):
        assert gradient([0.5] * 4).confidence == "few"
        assert gradient([0.5] * 5).confidence == "firm"

    def test_three_that_are_no_numbers(self):
        for bad in (math.nan, math.inf):
            assert said(gradient([0.5] * 17 + [bad] * 3)) == ("poor", "gradient_nan", "firm")
            assert gradient([0.5] * 17 + [bad] * 2 + [0.5]).words == "stable"
        assert gradient([math.nan] * 3 + [0.5] * 18).words == "stable"

    def test_the_first_ten_steps_may_be_no_numbers(self):
        assert gradient([math.inf] * 3 + [0.5] * 9, first=8).words == "stable"
        assert gradient([math.inf] * 3 + [0.5] * 9, first=11).words == "gradient_nan"
        assert gradient([math.inf] * 3 + [0.5] * 9, first=10).words == "stable"

    def test_a_dead_run(self):
        assert said(gradient([0.5] * 12, findings={"dead_run"})) == ("poor", "gradient_nan", "firm")


def peak_of(rows, config, context=PLAIN):
    return of(rows, config, context=context)["lr"]


class TestLearningRate:
    @pytest.mark.parametrize(
        ("peak", "stage", "method", "level", "words"),
        [
            (2e-5, "sft", "lora", "good", "lr_usual"), (1.98e-5, "sft", "lora", "fair", "lr_low"),
            (5e-4, "sft", "lora", "good", "lr_usual"), (5.05e-4, "sft", "lora", "fair", "lr_high"),
            (1.5e-3, "sft", "lora", "fair", "lr_high"), (1.51e-3, "sft", "lora", "poor", "lr_far"),
            (2e-5 / 3, "sft", "lora", "fair", "lr_low"), (2e-5 / 3.03, "sft", "lora", "poor", "lr_far"),
            (5e-5, "pt", "full", "good", "lr_usual"), (5.05e-5, "pt", "full", "fair", "lr_high"),
            (1e-6, "sft", "freeze", "good", "lr_usual"), (0.98e-6, "sft", "full", "fair", "lr_low"),
            (2.9e-4, "rm", "lora", "good", "lr_usual"), (0.98e-5, "rm", "lora", "fair", "lr_low"),
            (2.9e-5, "rm", "full", "good", "lr_usual"), (0.98e-6, "rm", "full", "fair", "lr_low"),
            (4.9e-5, "dpo", "lora", "good", "lr_usual"), (4.9e-7, "dpo", "lora", "fair", "lr_low"),
            (4.9e-6, "dpo", "full", "good", "lr_usual"),
            (1e-5, "rm", "lora", "good", "lr_usual"), (3.05e-4, "rm", "lora", "fair", "lr_high"),
            (1e-6, "rm", "full", "good", "lr_usual"), (3.05e-5, "rm", "full", "fair", "lr_high"),
            (5e-7, "dpo", "lora", "good", "lr_usual"), (5.05e-5, "dpo", "lora", "fair", "lr_high"),
            (5e-7, "grpo", "lora", "good", "lr_usual"), (1e-7, "kto", "full", "good", "lr_usual"),
            (5.05e-6, "ppo", "full", "fair", "lr_high"), (5e-6, "simpo", "lora", "good", "lr_usual"),
            (0.98e-7, "orpo", "full", "fair", "lr_low"),
        ],
    )  # fmt: skip
    def test_bounds(self, peak, stage, method, level, words):
        config = {"stage": stage, "finetuning_type": method, "learning_rate": peak}
        rating = peak_of(rows_of([1.0] * 12, lr=peak / 2), config)
        assert (rating.level, rating.words, rating.value) == (level, words, peak)
        # Outside of what is usual the number alone proves nothing.
        assert rating.confidence == ("firm" if level == "good" else "orientation")
        assert rating.params["share"] == pytest.approx(50)

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
        assert said(rating) == (None, "warming_up", "few")
        assert rating.params == {"peak": pytest.approx(1.2e-4), "share": 100.0}
        assert peak_of(rows, {**SFT, "learning_rate": 1.2e-4}).level == "good"
        over = rows_of([1.0] * 12, lr=[1e-5 * (i + 1) for i in range(11)] + [1e-5])
        assert said(peak_of(over, SFT)) == ("good", "lr_usual", "firm")

    def test_no_learning_rate_is_none(self):
        assert "lr" not in of(rows_of([1.0] * 12, lr=0.0))

    def test_a_stage_that_is_not_known_has_no_usual_one(self):
        rows = rows_of([1.0] * 12, lr=1e-4, kl=1.0)
        assert rate(run_of(rows, config={"finetuning_type": "lora"}), SOON, ()).keys().isdisjoint({"lr", "kl"})

    def test_without_a_method_the_nearer_range_counts(self):
        adapter = peak_of(rows_of([1.0] * 12, lr=1e-4), {"stage": "sft", "learning_rate": 1e-4})
        assert said(adapter) == ("good", "lr_usual", "orientation")
        assert (adapter.params["low"], adapter.params["high"]) == (2e-5, 5e-4)
        both = peak_of(rows_of([1.0] * 12, lr=3e-5), {"stage": "sft", "learning_rate": 3e-5})
        assert (both.level, both.params["low"], both.params["high"]) == ("good", 2e-5, 5e-4)
        full = peak_of(rows_of([1.0] * 12, lr=5e-6), {"stage": "sft", "learning_rate": 5e-6})
        assert said(full) == ("good", "lr_usual", "orientation")
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
        assert lr_range("other", True) is None


class TestOwnNumbers:
    def test_what_can_be_set(self):
        """The bounds that a rule has, the best level first, then its limits: what config.toml names them by."""
        rules = {rule.code: rule for rule in RULES}
        assert list(rules["bleu4"].numbers.items()) == [("excellent", 70), ("good", 50), ("fair", 30)]
        assert list(rules["gap"].numbers.items()) == [
            ("good", 8), ("fair", 20), ("below", -15), ("rows", 3), ("share", 0.05), ("error", 6),
        ]  # fmt: skip
        assert list(rules["epochs"].numbers.items()) == [("good", 5), ("fair", 20)]

    def test_a_limit_of_the_user(self):
        mine = tuple(
            replace(rule, limits={**rule.limits, "good": 1}, own=True) if rule.code == "epochs" else rule
            for rule in RULES
        )
        rating = of([train(10, 1.0, 10, epochs=3)], context=replace(PLAIN, rules=mine))["epoch"]
        assert (rating.level, rating.words, rating.own) == ("fair", "epochs_many", True)
        assert of([train(10, 1.0, 10, epochs=3)])["epoch"].own is False


class TestEpochs:
    @pytest.mark.parametrize(
        ("epochs", "level", "words"),
        [(5.0, "good", "epochs_usual"), (5.1, "fair", "epochs_many"), (20.0, "fair", "epochs_many"),
         (20.1, "fair", "epochs_far_more")],
    )  # fmt: skip
    def test_bounds(self, epochs, level, words):
        rating = of([train(10, 1.0, 10, epochs=epochs)])["epoch"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.value, rating.params, rating.rule) == (epochs, {"epochs": epochs}, "epochs")
        assert rating.basis == "rule"
        assert rating.reservations == (("many_passes",) if words == "epochs_far_more" else ())

    @pytest.mark.parametrize(("epochs", "expected"), [(3, ()), (6, ("memorised",)), (30, ("memorised",))])
    def test_memorised(self, epochs, expected):
        rating = of([train(10, 1.0, 10, epochs=epochs)], findings={"memorised"})["epoch"]
        assert rating.reservations == expected

    def test_other_stages(self):
        rating = of([train(10, 1.0, 10, epochs=25)], DPO)["epoch"]
        assert said(rating) == (None, "no_usual_number", "firm")
        assert (rating.params, rating.basis) == ({"epochs": 25.0}, "rule")


class TestTokens:
    def test_passes(self):
        for name in ("total_tokens", "num_tokens"):
            rating = of(rows_of([1.0] * 12, None, **{name: [100 * (i + 1) for i in range(12)]}))[name]
            assert said(rating) == (None, "tokens_passes", "firm")
            assert (rating.value, rating.rule, rating.basis) == (1200, "tokens_seen", "rule")
            assert rating.params == {"tokens": 1200.0, "epochs": 3.0, "a_pass": 400.0}

    def test_a_pass_and_a_half(self):
        rows = [train(10 * (i + 1), 1.0, 120, epochs=1.5, total_tokens=100.0 * (i + 1)) for i in range(12)]
        rating = of(rows)["total_tokens"]
        assert (rating.words, rating.params["a_pass"]) == ("tokens_passes", 800.0)

    def test_nothing_of_a_pass(self):
        rows = [train(10 * (i + 1), 1.0, 120, epochs=0.0, total_tokens=100.0) for i in range(3)]
        assert of(rows)["total_tokens"].params == {"tokens": 100.0}

    def test_one_pass_or_less(self):
        for epochs in (1.0, 0.5):
            rows = [train(10 * (i + 1), 1.0, 120, epochs=epochs, total_tokens=100.0 * (i + 1)) for i in range(12)]
            rating = of(rows)["total_tokens"]
            assert rating.words == "tokens_total"
            assert rating.params == {"tokens": 1200.0, "epochs": epochs, "a_pass": 1200.0}

    def test_no_epoch_known(self):
        rows = [LogRow("train", 10 * (i + 1), {"loss": 1.0, "total_tokens": 100.0 * (i + 1)}, 120) for i in range(12)]
        rating = of(rows)["total_tokens"]
        assert (rating.words, rating.params) == ("tokens_total", {"tokens": 1200.0})


class TestTrainable:
    @pytest.mark.parametrize(
        ("share", "words"),
        [
            (0.09, "trainable_few"), (0.1, "trainable_usual"), (2.0, "trainable_usual"), (2.1, "trainable_many"),
            (20.0, "trainable_many"), (20.1, "trainable_all"),
        ],
    )  # fmt: skip
    def test_bounds(self, share, words):
        rating = of(rows_of([1.0] * 3), {**SFT, "trainable_percent": share})["trainable_percent"]
        assert said(rating) == (None, words, "firm")
        assert (rating.value, rating.params, rating.basis) == (share, {"share": share}, "rule")

    def test_how_many(self):
        config = {**SFT, "trainable_percent": 1.0, "trainable_params": 4_399_104}
        rating = of(rows_of([1.0] * 3), config)["trainable_percent"]
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
        assert ("trainable_percent" in of(rows_of([1.0] * 3), config)) is there


def paced(gaps, **more):
    """Rows of 10 steps with these seconds between them."""
    clock, rows = 0.0, []
    for i, gap in enumerate(gaps):
        clock += gap
        rows.append(train(10 * (i + 1), 1.0, 10 * len(gaps), **more)._replace(elapsed_s=clock))
    return rows


class TestSpeed:
    @pytest.mark.parametrize(
        ("slower", "level", "words"),
        [(1.1, "good", "speed_steady"), (1.12, "fair", "speed_slower"), (1.42, "fair", "speed_slower"),
         (1.45, "poor", "speed_slower")],
    )  # fmt: skip
    def test_bounds(self, slower, level, words):
        rating = of(paced([20.0] * 20 + [20.0 * slower] * 20))["steps_per_s"]
        assert said(rating) == (level, words, "firm")
        assert (rating.basis, rating.rule) == ("self", "speed_self")
        assert rating.value == pytest.approx(0.5 / slower, rel=0.02)
        assert rating.params["share"] == pytest.approx(100 / slower)
        assert rating.params["slower"] == pytest.approx(100 - 100 / slower)

    def test_ten_rows(self):
        assert said(of(paced([20.0] * 9))["steps_per_s"]) == (None, "speed_too_short", "few")
        assert said(of(paced([20.0] * 10))["steps_per_s"]) == ("good", "speed_steady", "few")

    def test_five_pieces_are_not_few(self):
        assert of(paced([20.0] * 19))["steps_per_s"].confidence == "few"
        assert of(paced([20.0] * 23))["steps_per_s"].confidence == "firm"

    def test_the_first_five_rows_are_left_out(self):
        rows = paced([200.0] * 5 + [20.0] * 40)
        assert of(rows)["steps_per_s"].params["share"] == pytest.approx(100)

    def test_pieces_of_ten_seconds(self):
        assert of(paced([1.0] * 40))["steps_per_s"].words == "speed_too_short"
        assert of(paced([10.0] * 20))["steps_per_s"].words == "speed_steady"
        assert of(paced([9.0] * 11))["steps_per_s"].words == "speed_too_short"

    def test_samples(self):
        config = {**SFT, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
        ratings = of(paced([20.0] * 40), config)
        assert ratings["samples_per_s"].value == pytest.approx(8.0)
        assert ratings["samples_per_s"].params == {"share": pytest.approx(100), "slower": pytest.approx(0)}
        for missing in config:
            less = {name: value for name, value in config.items() if name != missing}
            assert ("samples_per_s" in of(paced([20.0] * 40), less)) is (missing in SFT)

    def test_tokens_by_their_own_pace(self):
        rows = [
            row._replace(values={**row.values, "total_tokens": 1000.0 * (i if i < 20 else 20 + (i - 20) / 2)})
            for i, row in enumerate(paced([20.0] * 40))
        ]
        ratings = of(rows)
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
        rating = of(rows, {**SFT, "num_devices": devices})["throughput"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.value, rating.rule, rating.basis) == (tokens, "throughput", "orientation")
        assert rating.params == {"devices": float(devices)}
        assert of(rows)["throughput"].params == {"devices": 1.0}

    def test_the_last_row_names_the_speed(self):
        assert of(rows_of([1.0] * 4, throughput=[100.0, 200.0, 300.0, 400.0]))["throughput"].value == 400.0
        assert "throughput" not in of(rows_of([1.0] * 4, throughput=[100.0, 200.0, 300.0, 0.0]))

    def test_the_last_third_counts(self):
        rating = of(paced([20.0] * 28 + [28.0] * 12))["steps_per_s"]
        assert (rating.level, rating.params["share"]) == ("fair", pytest.approx(100 * 20 / 28))

    def test_tokens_that_are_not_counted_at_first(self):
        rows = [row._replace(values={"loss": 1.0, "total_tokens": 0.0 if i < 20 else 500.0 * (i - 19)})
                for i, row in enumerate(paced([20.0] * 40))]  # fmt: skip
        assert of(rows)["throughput"].rule == "throughput"

    def test_rows_without_a_clock(self):
        rows = [row._replace(elapsed_s=None) if i % 4 == 2 else row for i, row in enumerate(paced([20.0] * 40))]
        assert said(of(rows)["steps_per_s"]) == ("good", "speed_steady", "firm")

    def test_after_a_resume_the_present_segment_counts(self):
        first = paced([5.0] * 30)
        second = [row._replace(step=row.step + 300, total_steps=700) for row in paced([20.0] * 30)]
        ratings = of([*first, *second])
        assert said(ratings["steps_per_s"]) == ("good", "speed_steady", "firm")
        assert ratings["steps_per_s"].params["share"] == pytest.approx(100)
        short = of([*first, *second[:9]])["steps_per_s"]
        assert said(short) == (None, "speed_too_short", "few")
        enough = of([*first, *second[:10]])["steps_per_s"]
        assert said(enough) == ("good", "speed_steady", "few")

    def test_a_speed_that_a_row_names_is_of_one_segment(self):
        rows = rows_of([1.0] * 4, throughput=500.0)
        again = [row._replace(step=40 + 10 * i) for i, row in enumerate(rows, 1)]
        assert "throughput" in of(rows)
        assert "throughput" not in of([*rows, *again])
