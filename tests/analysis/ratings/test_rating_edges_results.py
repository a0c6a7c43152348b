"""Where the ratings of results files turn, and what is said beside the level."""

import math

import pytest

from lora_tui.analysis.rating_rules import find_rule
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import ConsoleFacts, Predictions
from lora_tui.records.updates import FileDoc
from tests.analysis.ratings.edges import LATER, SFT, SOON, said
from tests.support.run_builder import START, run_of, summary, train

KNOWN = {**SFT, "dataset": "mine", "eval_dataset": "held_out"}


def predicted(values, config=KNOWN, findings=(), count=None, split="predict", **more):
    given = {f"{split}_{name}": value for name, value in values.items()}
    run = run_of([], results={split: given}, config=config, **more)
    if count is not None:
        run.apply([FileDoc("generated_predictions.jsonl", Predictions(count=count), START + 3)])
    return rate(run, LATER, findings)


class TestScores:
    @pytest.mark.parametrize(
        ("metric", "bounds", "best"),
        [
            ("bleu-4", (70, 50, 30), "bleu_excellent"), ("rouge-1", (85, 65, 40), "rouge1_excellent"),
            ("rouge-2", (75, 50, 25), "rouge2_excellent"), ("rouge-l", (80, 60, 35), "rougel_excellent"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("split", ["predict", "eval"])
    def test_bounds(self, metric, bounds, best, split):
        levels = [("excellent", best), ("good", "score_high"), ("fair", "score_part"), ("poor", "score_little")]
        for place, (level, words) in enumerate(levels):
            values = [float(bounds[place])] if place < 3 else []
            values += [bounds[place - 1] - 0.1] if place else [100.0]
            for value in values:
                given = {"bleu-4": 50.0, metric: value, "runtime": 100.0, "samples_per_second": 10.0}
                rating = predicted(given, split=split)[f"{split}_{metric}"]
                assert said(rating) == (level, words, "firm")
                assert rating.params == {"samples": 1000}
                assert (rating.basis, rating.value, rating.reservations) == ("rule", value, ())

    @pytest.mark.parametrize(
        ("count", "error", "confidence", "about"),
        [
            (49, 24.7 / 7, "few", ("few_eval_samples",)), (50, 24.7 / math.sqrt(50), "firm", ()),
            (100, 2.47, "firm", ()), (199, 24.7 / math.sqrt(199), "firm", ()), (200, None, "firm", ()),
        ],
    )  # fmt: skip
    def test_samples(self, count, error, confidence, about):
        rating = predicted({"bleu-4": 50.0}, count=count)["predict_bleu-4"]
        assert rating.confidence == confidence
        assert rating.params == (
            {"samples": count} if error is None else {"samples": count, "error": pytest.approx(error)}
        )
        assert rating.reservations == about

    def test_samples_not_known(self):
        rating = predicted({"bleu-4": 50.0})["predict_bleu-4"]
        assert (rating.params, rating.confidence) == ({}, "few")

    def test_spoiled(self):
        codes = {"memorised", "scores_inconsistent", "degenerate_predictions", "overfitting"}
        rating = predicted({"bleu-4": 50.0}, count=10, findings=codes)["predict_bleu-4"]
        assert rating.reservations == (
            "few_eval_samples", "memorised", "degenerate_predictions", "scores_inconsistent",
        )  # fmt: skip

    def test_a_held_back_part_of_the_training_data(self):
        config = {**SFT, "dataset": "mine", "do_predict": True}
        rating = predicted({"bleu-4": 50.0}, {**config, "val_size": 0.1}, count=100)["predict_bleu-4"]
        assert rating.reservations == ()
        rating = predicted({"bleu-4": 50.0}, {**config, "val_size": 0.0}, count=100)["predict_bleu-4"]
        assert rating.reservations == ("unknown_eval_data",)

    def test_data_that_is_not_known_is_no_matter_of_an_evaluation(self):
        rating = predicted({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 10.0}, SFT, split="eval")
        assert rating["eval_bleu-4"].reservations == ()

    def test_a_linked_prediction_on_training_data(self):
        run = run_of([train(10, 1.0, 10), summary(10, 10)], config={**SFT, "dataset": "mine,other"}, ended=True)
        given = {"predict": {"predict_bleu-4": 50.0}}
        run.linked = (run_of([], results=given, config={"stage": "sft", "eval_dataset": "mine"}),)
        about = rate(run, LATER, ())["predict_bleu-4"].reservations
        assert about == ("evaluated_on_training_data",)
        run.linked = (run_of([], results=given, config={"stage": "sft", "eval_dataset": "new"}),)
        assert rate(run, LATER, ())["predict_bleu-4"].reservations == ()
        run.linked = (run_of([], results=given, config={"stage": "sft"}),)
        assert rate(run, LATER, ())["predict_bleu-4"].reservations == ("unknown_eval_data",)

    def test_the_part_that_the_training_held_back(self):
        run = run_of(
            [train(10, 1.0, 10), summary(10, 10)], config={**SFT, "dataset": "mine", "val_size": 0.1}, ended=True
        )
        run.linked = (run_of([], results={"predict": {"predict_bleu-4": 50.0}}, config={"stage": "sft"}),)
        assert rate(run, LATER, ())["predict_bleu-4"].reservations == ()

    def test_a_linked_prediction_that_held_a_part_back_itself(self):
        run = run_of([train(10, 1.0, 10), summary(10, 10)], config={**SFT, "dataset": "mine"}, ended=True)
        given = {"predict": {"predict_bleu-4": 50.0}}
        run.linked = (run_of([], results=given, config={"stage": "sft", "val_size": 0.1}),)
        assert rate(run, LATER, ())["predict_bleu-4"].reservations == ()

    @pytest.mark.parametrize(
        ("loaded", "about"),
        [(("new",), ()), (("mine", "new"), ("unknown_eval_data",)), (("mine",), ("evaluated_on_training_data",))],
    )
    def test_data_sets_that_a_log_names(self, loaded, about):
        """A log names all that were loaded: where one of them is training data, what was evaluated is not certain."""
        run = run_of([train(10, 1.0, 10), summary(10, 10)], config={**SFT, "dataset": "mine"}, ended=True)
        job = run_of([], results={"predict": {"predict_bleu-4": 50.0}}, config={"stage": "sft"})
        job.apply([FileDoc("predict.log", ConsoleFacts(True, config={"dataset": loaded, "eval_examples": 100}), START)])
        run.linked = (job,)
        assert rate(run, LATER, ())["predict_bleu-4"].reservations == about

    def test_scores_mean_sft_whatever_the_stage(self):
        assert predicted({"bleu-4": 50.0}, {"stage": "dpo"})["predict_bleu-4"].level == "good"

    @pytest.mark.parametrize("metric", ["bleu", "sacrebleu", "rouge1", "rouge2", "rougeL", "rougeLsum"])
    def test_names_of_other_programs(self, metric):
        rating = predicted({metric: 0.41})[f"predict_{metric}"]
        assert (rating.level, rating.words, rating.basis, rating.rule) == (None, "scale_unknown", "rule", "score_scale")

    @pytest.mark.parametrize("metric", ["bleu-4", "rouge-1", "rouge-2", "rouge-l"])
    @pytest.mark.parametrize("stage", ["sft", "pt", "dpo", None])
    def test_the_same_names_by_another_program(self, metric, stage):
        for producer, expected in (("trl", "score_scale"), ("transformers", "score_scale")):
            rule = find_rule(metric, stage, producer)
            assert rule is not None
            assert rule.code == expected
        of_sft = find_rule(metric, stage, "llamafactory")
        assert of_sft is not None
        assert (of_sft.code == "score_scale") is (stage not in ("sft", "pt"))

    def test_unknown_scale(self):
        rating = predicted({"rouge1": 0.41}, count=100)["predict_rouge1"]
        assert said(rating) == (None, "scale_unknown", "firm")
        assert (rating.params, rating.reservations, rating.value) == ({}, (), 0.41)
        assert predicted({"rouge1": 0.41}, count=10)["predict_rouge1"].reservations == ("few_eval_samples",)

    def test_not_of_another_split(self):
        run = run_of([], results={"predict": {"bleu-4": 50.0, "predict_rouge-1": math.nan}}, config=KNOWN)
        assert rate(run, LATER, ()) == {}

    def test_a_reward_model(self):
        for value, level, words in (
            (0.75, "excellent", "accuracy_very_high"), (0.749, "good", "accuracy_high"),
            (0.65, "good", "accuracy_high"), (0.649, "fair", "accuracy_some"), (0.55, "fair", "accuracy_some"),
            (0.549, "poor", "near_coin"),
        ):  # fmt: skip
            rating = predicted({"accuracy": value}, {"stage": "rm"}, count=50)["predict_accuracy"]
            assert said(rating) == (level, words, "firm")
            assert (rating.params, rating.basis, rating.rule) == ({"pairs": 50}, "rule", "reward_accuracy")
        few = predicted({"accuracy": 0.8}, {"stage": "rm"}, count=49)["predict_accuracy"]
        assert (few.confidence, few.reservations, few.params) == ("few", ("few_eval_samples",), {"pairs": 49})
        unknown = predicted({"accuracy": 0.8}, {"stage": "rm"})["predict_accuracy"]
        assert (unknown.confidence, unknown.params) == ("few", {})


class TestOtherResults:
    @pytest.mark.parametrize(
        ("rate", "level", "words"),
        [
            (5.0, "excellent", "predict_very_fast"), (4.9, "good", "predict_fast"), (1.0, "good", "predict_fast"),
            (0.99, "fair", "predict_slow"), (0.2, "fair", "predict_slow"), (0.199, "poor", "predict_very_slow"),
        ],
    )  # fmt: skip
    def test_speed_of_generation(self, rate, level, words):
        ratings = predicted({"bleu-4": 50.0, "samples_per_second": rate, "runtime": 100.0})
        rating = ratings["predict_samples_per_second"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.value, rating.basis, rating.rule) == (rate, "orientation", "predict_speed")
        assert rating.params["seconds"] == pytest.approx(1 / rate)
        assert rating.params["samples"] == round(100 * rate)

    def test_no_generation_no_such_speed(self):
        assert "predict_samples_per_second" not in predicted({"samples_per_second": 5.0})
        assert "predict_samples_per_second" not in predicted({"bleu-4": 1.0, "samples_per_second": 0.0})

    @pytest.mark.parametrize(
        ("value", "level", "words"),
        [
            (0.99, "excellent", "preparation_very_short"), (1.0, "good", "preparation_short"),
            (9.9, "good", "preparation_short"), (10.0, "fair", "preparation_long"), (59.0, "fair", "preparation_long"),
            (60.0, "poor", "preparation_very_long"),
        ],
    )  # fmt: skip
    def test_preparation(self, value, level, words):
        rating = predicted({"model_preparation_time": value})["predict_model_preparation_time"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.params, rating.basis, rating.rule) == ({"seconds": value}, "orientation", "preparation")

    def test_runtime(self):
        plain = predicted({"runtime": 10.0, "samples_per_second": 5.0})["predict_runtime"]
        assert said(plain) == (None, "samples_of", "firm")
        assert (plain.value, plain.params, plain.rule) == (10.0, {"samples": 50}, "runtime")
        assert plain.basis == "rule"
        scored = predicted({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 10.0})["predict_runtime"]
        assert (scored.words, scored.params) == ("samples_bleu", {"samples": 100, "error": pytest.approx(2.47)})
        many = predicted({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 20.0})["predict_runtime"]
        assert (many.words, many.params) == ("samples_of", {"samples": 200})
        assert "predict_runtime" not in predicted({"runtime": 10.0})

    @pytest.mark.parametrize(
        ("count", "steps", "batch"),
        [
            (100, 25, 4),
            (98, 25, 4),
            (97, 25, 4),
            (90, 9, 10),
            (95, 10, 10),
            (33, 3, 16),
            (32, 3, 11),
            (30, 2, 16),
            (10, 10, 1),
            (9, 2, 8),
        ],
    )
    def test_batch(self, count, steps, batch):
        """Seconds times steps a second are the batches; of the sizes that fit a power of two is the likeliest."""
        values = {"runtime": 10.0, "samples_per_second": count / 10, "steps_per_second": steps / 10}
        rating = predicted(values)["predict_steps_per_second"]
        assert said(rating) == (None, "batch_of", "firm")
        assert (rating.params, rating.value, rating.rule) == ({"batch": batch}, steps / 10, "batch")
        assert rating.basis == "rule"

    @pytest.mark.parametrize(
        "values",
        [
            {"runtime": 10.0, "samples_per_second": 10.0, "steps_per_second": 0.1},
            {"runtime": 10.0, "steps_per_second": 1.0},
            {"samples_per_second": 10.0, "steps_per_second": 1.0},
        ],
    )
    def test_no_batch(self, values):
        assert "predict_steps_per_second" not in predicted(values)

    @pytest.mark.parametrize("runtime", [None, math.inf, 0.0])
    def test_no_batch_without_a_time(self, runtime):
        values = {"steps_per_second": 1.0} if runtime is None else {"steps_per_second": 1.0, "runtime": runtime}
        assert "predict_steps_per_second" not in predicted(values, count=100)
        nothing = {"steps_per_second": 0.0, "runtime": 10.0}
        assert "predict_steps_per_second" not in predicted(nothing, count=100)

    def test_batch_of_the_training(self):
        given = {"runtime": 100.0, "samples_per_second": 16.02, "steps_per_second": 1.001}
        assert predicted(given, split="train")["train_steps_per_second"].params == {"batch": 16}
        for less in ({"samples_per_second": 16.0}, {"steps_per_second": 1.0}):
            assert "train_steps_per_second" not in predicted(less, split="train")
        two = {"samples_per_second": 16.0, "steps_per_second": 2.0}
        assert predicted(two, split="train")["train_steps_per_second"].params == {"batch": 8}
        none = {"samples_per_second": 16.0, "steps_per_second": 0.0}
        assert "train_steps_per_second" not in predicted(none, split="train")
        slow = {"samples_per_second": 0.1, "steps_per_second": 1.0}
        assert predicted(slow, split="train")["train_steps_per_second"].params == {"batch": 1}

    def test_train_loss(self):
        rating = predicted({"loss": 1.25}, split="train")["train_loss"]
        assert said(rating) == (None, "mean_of_run", "firm")
        assert (rating.value, rating.rule, rating.params, rating.basis) == (1.25, "train_loss", {}, "rule")

    def test_speed_of_training(self):
        rating = predicted({"samples_per_second": 8.0}, split="train")["train_samples_per_second"]
        assert said(rating) == (None, "speed_of_runs", "firm")
        assert (rating.value, rating.rule, rating.basis) == (8.0, "train_speed", "rule")

    def test_what_has_no_rule_is_not_rated(self):
        assert "eval_perplexity" not in predicted({"perplexity": 5.0}, {"stage": "pt"}, split="eval")
        run = run_of(
            [], results={"predict": {"foreign": 1.0, "predict_odd": math.nan, "predict_rouge1": 0.4}}, config=KNOWN
        )
        assert rate(run, LATER, ()).keys() == {"predict_rouge1"}

    def test_stale(self):
        rows = [train(10 * (i + 1), 1.0, 400) for i in range(10)]
        results = {"train": {"train_loss": 1.5, "train_samples_per_second": 8.0}}
        ratings = rate(run_of(rows, results=results, config=SFT, results_age=50_000.0), SOON, ())
        assert ratings["train_loss"].reservations == ("stale_results",)
        assert ratings["train_samples_per_second"].reservations == ("stale_results",)
