import math

import pytest

from lora_tui.analysis.metrics import METRICS, metric
from lora_tui.analysis.rating_rules import RULES, SOURCES, Thresholds
from lora_tui.analysis.ratings.rate import rate
from lora_tui.i18n import Words
from tests.support.run_builder import START, evaluation, run_of, summary, train

SOON = START + 5
LATER = START + 100_000
SFT = {"stage": "sft", "finetuning_type": "lora"}


def rows_of(values, total=None, epochs=3.0, **more):
    total = total or 10 * len(values)
    return [train(10 * (i + 1), value, total, epochs=epochs, **more) for i, value in enumerate(values)]


def of(values, *, config=SFT, total=None, now=SOON, **more):
    return rate(run_of(rows_of(values, total, **more), config=config), now)


def curve(count, start=3.0, end=1.0):
    return [end + (start - end) * math.exp(-4 * i / count) for i in range(count)]


class TestLoss:
    def test_falls(self):
        assert (of(curve(40))["loss"].level, of(curve(40))["loss"].confidence) == ("good", "firm")

    def test_needs_rows(self):
        early = of([2.0])["loss"]
        assert (early.level, early.words) == (None, "after_rows")
        assert Words("en").rating(early) == "after 8 rows"
        assert of([2.0, 1.0, 0.9])["loss"].confidence == "few"
        assert of([2.0, 2.1, 2.0])["loss"].level is None

    def test_never_excellent(self):
        assert of([0.001 / (i + 1) for i in range(60)])["loss"].level == "good"

    def test_flat_is_fair_only_when_late(self):
        flat = [1.0 + 0.01 * (-1) ** i for i in range(40)]
        assert of(flat, total=4000)["loss"].level is None
        assert of(flat, total=800)["loss"].level == "fair"

    def test_worse_than_at_the_start(self):
        rating = of([2.6, *[4.5 + 0.1 * (-1) ** i for i in range(40)]])["loss"]
        assert (rating.level, rating.words) == ("poor", "above_start")

    def test_diverging(self):
        rating = of([*curve(60), *[1.8 + 0.02 * i for i in range(20)]])["loss"]
        assert (rating.level, rating.words) == ("poor", "diverging")

    def test_assumed_stage_is_orientation_at_most(self):
        assert of(curve(40), config=None)["loss"].confidence == "orientation"

    def test_unknown_stage_with_a_preference_start_is_not_rated(self):
        rating = of([0.69, 0.68, 0.6, *[0.5] * 20], config=None)["loss"]
        assert (rating.level, rating.words) == (None, "stage_unknown")

    @pytest.mark.parametrize("stage", ["ppo", "grpo"])
    def test_no_level_where_it_means_nothing(self, stage):
        rating = of(curve(40), config={"stage": stage})["loss"]
        assert (rating.level, rating.words) == (None, "look_at_reward")

    @pytest.mark.parametrize(
        ("values", "level"),
        [(curve(40, 0.69, 0.45), "good"), ([0.69] * 40, "fair"), ([0.69, *[0.9] * 39], "poor")],
    )
    def test_dpo(self, values, level):
        assert of(values, config={"stage": "dpo"})["loss"].level == level

    def test_dpo_with_another_loss_has_no_level(self):
        assert of(curve(40, 0.69, 0.45), config={"stage": "dpo", "pref_ftx": 0.5})["loss"].level is None
        assert of(curve(40, 25.0, 10.0), config={"stage": "dpo", "pref_loss": "ipo"})["loss"].level is None

    @pytest.mark.parametrize(("end", "level"), [(0.44, "good"), (0.4995, "fair"), (0.6, "poor")])
    def test_kto(self, end, level):
        assert of([0.5 + (end - 0.5) * i / 40 for i in range(41)], config={"stage": "kto"})["loss"].level == level


class TestGradient:
    @pytest.mark.parametrize(
        ("norms", "losses", "level", "words"),
        [
            ([0.8] * 30, curve(30), "good", "stable"),
            ([0.0025] * 30, [0.0007] * 30, "good", "small_stable"),
            ([0.005] * 30, [1.5] * 30, "poor", "no_gradient"),
            ([0.05 - 0.01] * 30, [2.6, *[4.5] * 29], "poor", "no_gradient"),
            ([30.0] * 30, curve(30), "fair", "large_gradient"),
            ([0.5] * 29 + [8.0], curve(30), "fair", "jumpy"),
            ([500.0] * 30, curve(30), "poor", "exploding"),
            ([1.0] * 20 + [math.nan] * 10, curve(30), "poor", "gradient_nan"),
        ],
    )
    def test_levels(self, norms, losses, level, words):
        rows = [
            train(10 * (i + 1), loss, 300, grad_norm=norm)
            for i, (loss, norm) in enumerate(zip(losses, norms, strict=True))
        ]
        rating = rate(run_of(rows, config=SFT), SOON)["grad_norm"]
        assert (rating.level, rating.words) == (level, words)


class TestLearningRate:
    @pytest.mark.parametrize(
        ("peak", "stage", "method", "level"),
        [
            (2e-4, "sft", "lora", "good"), (1e-3, "sft", "lora", "fair"), (3e-3, "sft", "lora", "poor"),
            (1e-5, "sft", "full", "good"), (1e-5, "sft", "lora", "fair"), (2e-4, "sft", "full", "poor"),
            (5e-6, "dpo", "lora", "good"), (1e-4, "dpo", "lora", "fair"), (1e-4, "rm", "lora", "good"),
        ],
    )  # fmt: skip
    def test_peak(self, peak, stage, method, level):
        config = {"stage": stage, "finetuning_type": method, "learning_rate": peak}
        rating = rate(run_of(rows_of(curve(20), lr=peak / 3), config=config), SOON)["lr"]
        assert (rating.value, rating.level) == (peak, level)

    def test_not_the_present_value(self):
        rows = [train(10 * (i + 1), 1.0, 200, lr=2e-4 * (1 - i / 20)) for i in range(21)]
        assert rate(run_of(rows, config=SFT), SOON)["lr"].value == 2e-4

    def test_not_during_warm_up(self):
        rows = [train(10 * (i + 1), 1.0, 1000, lr=1e-6 * (i + 1)) for i in range(5)]
        rating = rate(run_of(rows, config=SFT), SOON)["lr"]
        assert (rating.level, rating.words) == (None, "warming_up")

    def test_unknown_method_gets_the_benefit_of_the_doubt(self):
        rows = [train(10 * (i + 1), 1.0, 200, lr=1e-5) for i in range(20)]
        rating = rate(run_of(rows, config={"stage": "sft"}), SOON)["lr"]
        assert (rating.level, rating.confidence) == ("good", "orientation")


class TestEvaluation:
    @pytest.mark.parametrize(("value", "level"), [(0.5, "excellent"), (1.0, "good"), (1.7, "fair"), (2.5, "poor")])
    def test_perplexity_and_loss_agree(self, value, level):
        rows = [*rows_of(curve(20)), evaluation(200, value, 200)]
        ratings = rate(run_of(rows, config=SFT), SOON)
        assert (ratings["perplexity"].level, ratings["eval_loss"].level) == (level, level)
        assert ratings["eval_loss"].confidence == "few"

    def test_pretraining_has_its_own_bands(self):
        rows = [*rows_of(curve(20)), evaluation(200, 1.7, 200)]
        assert rate(run_of(rows, config={"stage": "pt"}), SOON)["perplexity"].level == "good"

    def test_no_perplexity_band_for_preferences(self):
        rows = [*rows_of([0.69] * 20), evaluation(200, 0.6, 200)]
        ratings = rate(run_of(rows, config={"stage": "dpo"}), SOON)
        assert (ratings["eval_loss"].level, ratings["eval_loss"].words) == (None, "after_evals")
        assert "perplexity" not in ratings

    def test_gap(self):
        rows = [*rows_of([1.0] * 40), evaluation(400, 1.1, 400)]
        assert rate(run_of(rows, config=SFT), SOON)["gap"].value == pytest.approx(10)
        assert rate(run_of(rows, config=SFT), SOON)["gap"].level == "fair"
        easier = [*rows_of([1.0] * 40), evaluation(400, 0.7, 400)]
        assert rate(run_of(easier, config=SFT), SOON)["gap"].level is None

    def test_overflow_is_survived(self):
        rows = [*rows_of(curve(20)), evaluation(200, 2000.0, 200)]
        ratings = rate(run_of(rows, config=SFT), SOON)
        assert ratings["eval_loss"].level == "poor"
        assert "perplexity" not in ratings


class TestResults:
    PREDICT = {"predict_bleu-4": 37.07, "predict_runtime": 3.2732, "predict_samples_per_second": 12.22}  # noqa: RUF012

    def test_few_samples(self):
        run = run_of([], results={"predict": self.PREDICT})
        rating = rate(run, LATER)["predict_bleu-4"]
        assert (rating.level, rating.confidence) == ("fair", "few")
        assert rating.reservations == ("few_eval_samples", "unknown_eval_data")

    def test_data_is_known(self):
        config = {**SFT, "eval_dataset": "held_out", "dataset": "mine"}
        assert rate(run_of([], results={"predict": self.PREDICT}, config=config), LATER)[
            "predict_bleu-4"
        ].reservations == ("few_eval_samples",)
        same = {**SFT, "eval_dataset": "mine,other", "dataset": "mine"}
        assert "evaluated_on_training_data" in rate(
            run_of([], results={"predict": self.PREDICT}, config=same), LATER
        )["predict_bleu-4"].reservations  # fmt: skip

    def test_linked_jobs(self):
        run = run_of([*rows_of(curve(20)), summary(200, 200)], ended=True, config=SFT)
        run.linked = (run_of([], results={"predict": self.PREDICT}),)
        assert rate(run, LATER)["predict_bleu-4"].level == "fair"

    def test_every_value_is_finite(self):
        run = run_of([], results={"eval": {"eval_loss": math.nan, "eval_runtime": math.inf}}, config=SFT)
        assert all(math.isfinite(rating.value) for rating in rate(run, LATER).values())


class TestPreference:
    def test_accuracy_is_a_mean(self):
        rows = [train(10 * (i + 1), 0.5, 400, accuracy=0.5 + 0.5 * (i % 2)) for i in range(40)]
        rating = rate(run_of(rows, config={"stage": "dpo", "total_train_batch_size": 4}), SOON)["accuracy"]
        assert 0.65 < rating.value < 0.85
        assert rating.confidence == "firm"

    def test_margins(self):
        grow = [train(10 * (i + 1), 0.5, 400, rewards__margins=0.01 * i) for i in range(40)]
        assert rate(run_of(grow, config={"stage": "dpo"}), SOON)["rewards/margins"].words == "margins_grow"
        negative = [train(10 * (i + 1), 0.8, 400, rewards__margins=-0.5) for i in range(40)]
        assert rate(run_of(negative, config={"stage": "dpo"}), SOON)["rewards/margins"].level == "poor"
        small = [train(10 * (i + 1), 0.69, 400, rewards__margins=0.01) for i in range(40)]
        assert (
            rate(run_of(small, config={"stage": "dpo", "pref_beta": 0.1}), SOON)["rewards/margins"].words
            == "margins_small"
        )

    def test_reward(self):
        rows = [train(10 * (i + 1), 0.1, 400, reward=0.1 * i) for i in range(40)]
        assert rate(run_of(rows, config={"stage": "ppo"}), SOON)["reward"].level == "good"


def test_speed_against_itself():
    rows = [train(10 * (i + 1), 1.0, 6000, every_s=0.5) for i in range(200)]
    assert rate(run_of(rows, config=SFT), SOON)["steps_per_s"].level == "good"
    clock = 0.0
    slow = []
    for i in range(200):
        clock += 5.0 if i < 100 else 10.0
        slow.append(train(10 * (i + 1), 1.0, 6000)._replace(elapsed_s=clock))
    rating = rate(run_of(slow, config=SFT), SOON)["steps_per_s"]
    assert (rating.level, rating.words) == ("poor", "speed_slower")


def test_bands():
    thresholds = Thresholds(70, 50, 30)
    assert [thresholds.level(v) for v in (70, 69.9, 50, 30, 29.9)] == ["excellent", "good", "good", "fair", "poor"]
    assert Thresholds(None, 8, 20, higher=False, closed=True).level(8) == "good"
    assert Thresholds(2, 4, 8, higher=False).level(2) == "good"


def test_every_rule_has_words_in_both_languages():
    for lang in ("en", "zh"):
        words = Words(lang)
        for rule in RULES:
            assert words.has(f"rule.{rule.code}"), rule.code
            assert set(rule.sources) <= set(SOURCES), rule.code
            assert rule.sources, rule.code
            for code in rule.words.values():
                assert words.has(f"rating.{code}"), code
        for code in ("after_rows", "still_falling", "rising", "level"):
            assert words.has(f"rating.{code}")
        for one in METRICS.values():
            assert words.has(one.label), one.label
            assert words.has(one.meaning), one.meaning
            assert not one.unit or words.has(f"unit.{one.unit}")


def test_convention_is_never_firm():
    for rule in RULES:
        if "convention" in rule.sources and rule.thresholds is not None and rule.basis == "orientation":
            assert rule.confidence == "orientation", rule.code


def test_glossary_of_an_unknown_key():
    assert not metric("my/own").known
    assert Words("en").metric("my/own") == "my/own"
    assert Words("zh").metric("eval_loss") == "验证 loss"
