"""Ratings of evaluations and results files: what is said beside the level, and which values decide."""

import math

import pytest

from lora_tui.analysis.rating_rules import find_rule
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import ConsoleFacts, LogRow
from lora_tui.records.updates import FileDoc
from tests.support.rated_runs import (
    KNOWN_DATA,
    LATER,
    SFT,
    SOON,
    eval_row,
    rate_ended,
    rate_results,
    rate_rows,
    rows_with_evals,
    verdict,
)
from tests.support.run_builder import START, evaluation, run_of, summary, train


class TestCourse:
    """Evaluations of a run under way."""

    @pytest.mark.parametrize(
        ("losses", "level", "words"),
        [((2.0, 1.75, 1.5), "good", "still_falling"), ((2.0, 2.01, 2.041), "poor", "above_first")],
    )
    def test_all_that_is_said(self, losses, level, words):
        ratings = rate_rows(rows_with_evals(*losses))
        for name, value in (("eval_loss", losses[-1]), ("perplexity", math.exp(losses[-1]))):
            rating = ratings[name]
            assert verdict(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (value, "eval_trend", "base")
            assert rating.params == {
                "evals": 3, "need": 2, "first": 2.0, "lowest": min(losses),
                "change": pytest.approx((losses[-1] - 2.0) / 2.0 * 100),
            }  # fmt: skip

    def test_two_are_few(self):
        rating = rate_rows(rows_with_evals(2.0, 1.5))["eval_loss"]
        assert verdict(rating) == ("good", "still_falling", "few")
        assert rating.params["evals"] == 2

    def test_noise_of_five_evaluations_counts(self):
        """Four of them show no noise of their own, so that a rise of a tenth is one; a fifth shows that it is noise."""
        assert rate_rows(rows_with_evals(2.0, 1.5, 1.65, 1.5, 1.64, total=2000))["eval_loss"].words == "near_its_best"
        assert rate_rows(rows_with_evals(2.0, 1.5, 1.65, 1.6, total=2000))["eval_loss"].words == "rising"

    def test_a_fall_within_the_noise_is_none(self):
        losses = (2.0, 2.2, 2.0, 2.2, 2.0, 2.2, 1.9)
        assert rate_rows(rows_with_evals(*losses, total=2000))["eval_loss"].words == "level"

    def test_a_rise_within_the_noise_is_none(self):
        losses = (2.0, 2.3, 2.0, 2.3, 2.0, 2.3)
        assert rate_rows(rows_with_evals(*losses, total=2000))["eval_loss"].words == "level"
        assert rate_rows(rows_with_evals(*losses, 4.0, total=2000))["eval_loss"].words == "above_first"

    def test_a_loss_below_nothing(self):
        assert rate_rows(rows_with_evals(-2.0, -1.9, -2.5), {"stage": "dpo"})["eval_loss"].words == "still_falling"
        assert rate_rows(rows_with_evals(-2.0, -1.5), {"stage": "dpo"})["eval_loss"].words == "above_first"

    def test_from_nothing(self):
        rating = rate_rows(rows_with_evals(0.0, 1.0), {"stage": "dpo"})["eval_loss"]
        assert rating.params["change"] == 0.0
        assert rating.words == "above_first"

    def test_noise_is_that_of_second_differences(self):
        """Up and down by 0.15 their second differences are 0.3, and the noise of one is 1.4826 x 0.3 / sqrt(6) = 0.18:
        three times that is no rise, one and a half no fall."""
        wave = (1.5, 1.65) * 3
        for last, words in ((2.04, "near_its_best"), (2.05, "rising")):
            assert rate_rows(rows_with_evals(3.0, *wave, last, total=2000))["eval_loss"].words == words
        for last, words in ((2.04, "level"), (2.05, "above_first")):
            assert rate_rows(rows_with_evals(*wave, last, total=2000))["eval_loss"].words == words
        for last, words in ((1.379, "level"), (1.376, "still_falling")):
            assert rate_rows(rows_with_evals(1.65, *wave, last, total=2000))["eval_loss"].words == words

    def test_the_last_hundred_tell_the_noise(self):
        rows = [train(1, 1.0, 1000)]
        for i in range(230):
            wild = 0.5 * (-1) ** i if 0 < i < 130 else 0.0
            rows.append(eval_row(i + 2, {"eval_loss": 3.0 if i == 0 else 1.6 if i == 229 else 1.5 + wild}, 1000))
        rating = rate_rows(rows, {"stage": "dpo"})["eval_loss"]
        assert rating.words == "rising"

    def test_one_of_a_stage_without_bands_and_few_samples(self):
        rows = rows_with_evals(0.6, eval_runtime=1.0, eval_samples_per_second=9.0)
        assert rate_rows(rows, {"stage": "dpo"})["eval_loss"].reservations == ("few_eval_samples",)

    def test_a_results_file_alone_has_no_course(self):
        ratings = rate_rows([train(10, 0.6, 10), summary(10, 10)], {"stage": "dpo"}, now=LATER, ended=True,
                     results={"eval": {"eval_loss": 0.5}})  # fmt: skip
        assert ratings.keys().isdisjoint({"perplexity", "gap"})
        assert ratings["loss"].value == 0.6

    def test_one_of_a_stage_without_bands(self):
        for now, live in ((SOON, True), (LATER, False)):
            rating = rate_rows(rows_with_evals(0.6), {"stage": "dpo"}, now=now)["eval_loss"]
            assert verdict(rating) == (None, "after_evals", "few"), live
            assert rating.params == {"evals": 1, "need": 2}

    def test_what_has_ended_falls_no_more(self):
        ratings = rate_ended(0.69, 0.6, 0.5, config={"stage": "dpo"})
        assert verdict(ratings["eval_loss"]) == ("good", "near_its_best", "firm")
        assert "perplexity" not in ratings
        assert rate_ended(0.69, 0.6, 0.65, config={"stage": "dpo"})["eval_loss"].words == "rising"

    def test_few_samples(self):
        rows = rows_with_evals(2.0, 1.5, 1.4, eval_runtime=10.0, eval_samples_per_second=4.9)
        assert rate_rows(rows)["eval_loss"].reservations == ("few_eval_samples",)
        rows = rows_with_evals(2.0, 1.5, 1.4, eval_runtime=10.0, eval_samples_per_second=5.0)
        assert rate_rows(rows)["eval_loss"].reservations == ()

    def test_the_last_evaluation_tells_how_many_samples_there_are(self):
        fast = rows_with_evals(2.0, 1.5, eval_runtime=10.0, eval_samples_per_second=10.0)
        slow = eval_row(410, {"eval_loss": 1.4, "eval_runtime": 4.0, "eval_samples_per_second": 10.0})
        assert rate_rows([*fast, slow])["eval_loss"].reservations == ("few_eval_samples",)
        more = eval_row(410, {"eval_loss": 1.4, "eval_runtime": 10.0, "eval_samples_per_second": 5.0})
        assert rate_rows([*fast, more])["eval_loss"].reservations == ()
        slower = eval_row(410, {"eval_loss": 1.4, "eval_runtime": 10.0, "eval_samples_per_second": 4.9})
        assert rate_rows([*fast, slower])["eval_loss"].reservations == ("few_eval_samples",)

    @pytest.mark.parametrize(("rate", "about"), [(4.9, ("few_eval_samples",)), (5.1, ())])
    def test_else_a_results_file_tells_it(self, rate, about):
        results = {"eval": {"eval_runtime": 10.0, "eval_samples_per_second": rate}}
        config = {**SFT, "eval_examples": 1}
        assert rate_rows(rows_with_evals(2.0, 1.5), config, results=results)["eval_loss"].reservations == about

    @pytest.mark.parametrize(("count", "about"), [(49, ("few_eval_samples",)), (50, ())])
    def test_else_the_console_tells_it(self, count, about):
        assert rate_rows(rows_with_evals(2.0, 1.5), {**SFT, "eval_examples": count})["eval_loss"].reservations == about

    def test_evaluated_on_training_data(self):
        rating = rate_rows(rows_with_evals(2.0, 1.5), findings={"evaluated_on_training_data"})["eval_loss"]
        assert rating.reservations == ("evaluated_on_training_data",)


class TestSize:
    """The last evaluation of a run that is over, and the first one of any."""

    @pytest.mark.parametrize(
        ("stage", "size", "level", "words"),
        [("sft", 1.99, "excellent", "ppl_very_low"), ("pt", 16.1, "poor", "ppl_very_high")],
    )  # fmt: skip
    def test_all_that_is_said(self, stage, size, level, words):
        loss = math.log(size)
        ratings = rate_ended(2.0, loss, config={"stage": stage})
        rule = "perplexity" if stage == "sft" else "perplexity_pt"
        for name, value in (("eval_loss", loss), ("perplexity", size)):
            assert verdict(ratings[name]) == (level, words, "orientation")
            assert (ratings[name].rule, ratings[name].basis) == (rule, "orientation")
            assert ratings[name].value == pytest.approx(value)
            assert ratings[name].params["evals"] == 2

    def test_the_first_of_a_run_under_way_is_few(self):
        rating = rate_rows(rows_with_evals(1.0))["perplexity"]
        assert verdict(rating) == ("good", "ppl_low", "few")
        assert rating.params == {"evals": 1, "need": 2}

    def test_a_results_file_alone(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 10.0, "eval_samples_per_second": 4.9}}
        ratings = rate_rows([train(10, 1.0, 10), summary(10, 10)], now=LATER, ended=True, results=results)
        assert verdict(ratings["eval_loss"]) == ("good", "ppl_low", "orientation")
        assert ratings["eval_loss"].params == {"evals": 1, "need": 2}
        assert ratings["eval_loss"].reservations == ("few_eval_samples",)

    def test_of_an_attempt_before(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 10.0, "eval_samples_per_second": 4.9}}
        rows = [train(10 * (i + 1), 1.0, 400) for i in range(10)]
        ratings = rate(run_of(rows, results=results, config=SFT, results_age=50_000.0), LATER, ())
        assert ratings["eval_loss"].reservations == ("stale_results", "few_eval_samples")

    def test_undermined(self):
        rating = rate_ended(
            2.0, 1.0, findings={"evaluated_on_training_data"}, eval_runtime=1.0, eval_samples_per_second=9.0
        )
        assert rating["perplexity"].reservations == ("few_eval_samples", "evaluated_on_training_data")

    def test_stage_unknown(self):
        rows = [eval_row(10, {"eval_loss": 1.0, "eval_accuracy": 0.5}, 10)]
        rating = rate_rows(rows, {})["perplexity"]
        assert verdict(rating) == (None, "stage_unknown", "firm")
        assert (rating.value, rating.basis) == (math.e, "rule")


class TestGap:
    @pytest.mark.parametrize(
        ("loss", "level", "words"),
        [(1.0, "good", "gap_close"), (0.849, None, "gap_eval_easier")],
    )  # fmt: skip
    def test_all_that_is_said(self, loss, level, words):
        rating = rate_ended(1.5, loss)["gap"]
        assert verdict(rating) == (level, words, "firm")
        assert (rating.rule, rating.basis) == ("gap", "self")
        assert rating.value == pytest.approx(100 * (loss - 1))
        assert rating.params == {"gap": rating.value, "error": 0.0}

    @pytest.mark.parametrize("stage", ["sft", "pt"])
    def test_stages(self, stage):
        assert rate_ended(1.5, 1.1, config={"stage": stage})["gap"].level == "fair"

    def test_against_the_last_twentieth_of_the_rows(self):
        """Of 200 rows the last ten: five of 1 and five of 2 have a median of 1.5."""
        rows = [train(10 * (i + 1), 2.0 if i < 195 else 1.0, 2000) for i in range(200)]
        assert rate_rows([*rows, evaluation(2000, 1.5, 2000)], now=LATER)["gap"].value == 0.0

    @pytest.mark.parametrize(("amplitude", "confidence"), [(0.22, "firm"), (0.24, "few")])
    def test_six_percent_of_error(self, amplitude, confidence):
        rows = [train(10 * (i + 1), 1.0 + amplitude * math.sin(2.5 * i * i), 400) for i in range(40)]
        rating = rate_rows([*rows, evaluation(400, 1.05, 400)], now=LATER)["gap"]
        assert rating.params["error"] == pytest.approx(6, abs=0.35)
        assert (rating.params["error"] > 6) is (confidence == "few")
        assert rating.confidence == confidence

    def test_under_way_with_few_evaluations(self):
        assert rate_rows(rows_with_evals(1.0, 1.0))["gap"].confidence == "few"
        assert rate_rows(rows_with_evals(1.0, 1.0, 1.0))["gap"].confidence == "firm"
        assert rate_rows(rows_with_evals(0.5, 0.5))["gap"].confidence == "few"

    @pytest.mark.parametrize(("epochs", "noted"), [(1.0, True), (1.01, True), (1.1, False), (0.5, True)])
    def test_samples_that_were_seen_once(self, epochs, noted):
        rows = [train(10 * (i + 1), 1.0, 200, epochs=epochs) for i in range(20)]
        rating = rate_rows([*rows, evaluation(200, 1.0, 200, epochs=epochs)])["gap"]
        assert (rating.params.get("note") == "single_epoch") is noted

    def test_no_epoch_known(self):
        rows = [LogRow("train", 10 * (i + 1), {"loss": 1.0}, 200) for i in range(20)]
        assert "note" not in rate_rows([*rows, LogRow("eval", 200, {"eval_loss": 1.0}, 200)])["gap"].params

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_never_of_a_broken_run(self, code):
        assert "gap" not in rate_ended(1.5, 1.0, findings={code})

    def test_language_alone(self):
        assert "gap" not in rate_ended(0.7, 0.6, config={"stage": "dpo"})

    def test_rows_that_scatter(self):
        """Rows of +- 50 % tell their level to 12 %: a gap not twice that above its bound is not told from none."""
        rows = [train(10 * (i + 1), 1.0 + 0.5 * math.sin(2.5 * i * i), 400) for i in range(40)]

        def gap(loss):
            return rate_rows([*rows, evaluation(400, loss, 400)], now=LATER)["gap"]

        assert gap(1.4).params == {"gap": pytest.approx(14.0, abs=0.1), "error": pytest.approx(11.94, abs=0.01)}
        assert verdict(gap(1.61)) == (None, "early", "few")
        assert verdict(gap(1.63)) == ("poor", "gap_far", "few")
        assert verdict(gap(1.3)) == ("good", "gap_close", "few")
        assert verdict(gap(1.0)) == (None, "gap_eval_easier", "few")

    def test_undermined(self):
        ratings = rate_ended(1.5, 1.0, eval_runtime=1.0, eval_samples_per_second=9.0)
        assert ratings["gap"].reservations == ("few_eval_samples",)
        below = rate_ended(1.5, 0.5, eval_runtime=1.0, eval_samples_per_second=9.0)["gap"]
        assert below.reservations == ("few_eval_samples",)
        noisy = [train(10 * (i + 1), 1.0 + 0.5 * math.sin(2.5 * i * i), 400) for i in range(40)]
        row = eval_row(400, {"eval_loss": 1.6, "eval_runtime": 1.0, "eval_samples_per_second": 9.0}, 400)
        assert rate_rows([*noisy, row], now=LATER)["gap"].reservations == ("few_eval_samples",)


BATCH = {**SFT, "total_train_batch_size": 10}


def speed_rows(total=400, every_s=1.0):
    return [train(10 * (i + 1), 1.0, total, every_s=every_s) for i in range(40)]


class TestEvalSpeed:
    """The training does 10 samples a second: a step a second of 10 samples."""

    @pytest.mark.parametrize(
        ("rate", "level", "words"),
        [(10.0, "good", "eval_faster"), (4.9, "fair", "eval_slower")],
    )  # fmt: skip
    def test_all_that_is_said(self, rate, level, words):
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": rate})
        rating = rate_rows([*speed_rows(), row], BATCH)["eval_samples_per_second"]
        assert verdict(rating) == (level, words, "orientation")
        assert (rating.rule, rating.basis, rating.value) == ("eval_speed", "self", rate)
        assert rating.params == {"share": pytest.approx(10 * rate), "training": pytest.approx(10.0)}

    @pytest.mark.parametrize(("length", "confidence"), [(4.9, "few"), (5.0, "orientation")])
    def test_five_seconds(self, length, confidence):
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": length, "eval_samples_per_second": 20.0})
        assert rate_rows([*speed_rows(), row], BATCH)["eval_samples_per_second"].confidence == confidence

    def test_no_length_known(self):
        row = eval_row(400, {"eval_loss": 1.0, "eval_samples_per_second": 20.0})
        assert rate_rows([*speed_rows(), row], BATCH)["eval_samples_per_second"].confidence == "few"

    def test_the_last_evaluation_counts(self):
        rows = [
            *speed_rows(),
            eval_row(200, {"eval_loss": 1.0, "eval_runtime": 1.0, "eval_samples_per_second": 1.0}),
            eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0}),
        ]
        rows.sort(key=lambda row: row.step)
        assert verdict(rate_rows(rows, BATCH)["eval_samples_per_second"]) == ("good", "eval_faster", "orientation")

    def test_with_generation_it_is_no_such_speed(self):
        more = {"eval_bleu-4": 50.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0}
        assert "eval_samples_per_second" not in rate_rows([*speed_rows(), eval_row(400, more)], BATCH)

    def test_nothing_a_second_is_no_speed(self):
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 0.0})
        assert "eval_samples_per_second" not in rate_rows([*speed_rows(), row], BATCH)

    def test_less_than_one_a_second(self):
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 0.9})
        assert rate_rows([*speed_rows(), row], BATCH)["eval_samples_per_second"].words == "eval_slower"

    def test_alone(self):
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0})
        rating = rate_rows([*speed_rows(), row], SFT)["eval_samples_per_second"]
        assert verdict(rating) == (None, "eval_alone", "orientation")
        assert rating.params == {}

    @pytest.mark.parametrize(("rate", "words"), [(40.0, "eval_near"), (20.0, "eval_faster"), (0.5, "eval_faster"),
                                                 (math.inf, "eval_alone"),
                                                 (0.0, "eval_alone")])  # fmt: skip
    def test_else_against_the_summary_of_the_training(self, rate, words):
        results = {"train": {"train_samples_per_second": rate}}
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        assert rate_rows([*speed_rows(), row], results=results)["eval_samples_per_second"].words == words

    def test_the_summary_of_a_resumed_training_is_of_its_last_part(self):
        results = {"train": {"train_samples_per_second": 20.0}}
        again = [row._replace(step=row.step + 400, total_steps=800) for row in speed_rows()]
        row = eval_row(800, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        rows = [*speed_rows(800), *again, row._replace(elapsed_s=401.0)]
        assert rate_rows(rows, results=results)["eval_samples_per_second"].words == "eval_alone"

    def test_a_stale_summary_says_nothing(self):
        results = {"train": {"train_samples_per_second": 20.0}}
        row = eval_row(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        ratings = rate_rows([*speed_rows(), row], results=results, results_age=50_000.0)
        assert ratings["eval_samples_per_second"].words == "eval_alone"

    def test_of_a_results_file(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 9.9}}
        rating = rate_rows(speed_rows(), BATCH, results=results)["eval_samples_per_second"]
        assert verdict(rating) == ("good", "eval_near", "orientation")
        short = {"eval": {"eval_loss": 1.0, "eval_runtime": 4.9, "eval_samples_per_second": 9.9}}
        assert rate_rows(speed_rows(), BATCH, results=short)["eval_samples_per_second"].confidence == "few"


class TestScores:
    @pytest.mark.parametrize(
        ("metric", "bounds", "best"),
        [("bleu-4", (70, 50, 30), "bleu_excellent"), ("rouge-l", (80, 60, 35), "rougel_excellent")],
    )  # fmt: skip
    @pytest.mark.parametrize("split", ["predict", "eval"])
    def test_all_that_is_said(self, metric, bounds, best, split):
        levels = [("excellent", best), ("good", "score_high"), ("fair", "score_part"), ("poor", "score_little")]
        for place, (level, words) in enumerate(levels):
            values = [float(bounds[place])] if place < 3 else []
            values += [bounds[place - 1] - 0.1] if place else [100.0]
            for value in values:
                given = {"bleu-4": 50.0, metric: value, "runtime": 100.0, "samples_per_second": 10.0}
                rating = rate_results(given, split=split)[f"{split}_{metric}"]
                assert verdict(rating) == (level, words, "firm")
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
        rating = rate_results({"bleu-4": 50.0}, count=count)["predict_bleu-4"]
        assert rating.confidence == confidence
        assert rating.params == (
            {"samples": count} if error is None else {"samples": count, "error": pytest.approx(error)}
        )
        assert rating.reservations == about

    def test_samples_not_known(self):
        rating = rate_results({"bleu-4": 50.0})["predict_bleu-4"]
        assert (rating.params, rating.confidence) == ({}, "few")

    def test_spoiled(self):
        codes = {"memorised", "scores_inconsistent", "degenerate_predictions", "overfitting"}
        rating = rate_results({"bleu-4": 50.0}, count=10, findings=codes)["predict_bleu-4"]
        assert rating.reservations == (
            "few_eval_samples", "memorised", "degenerate_predictions", "scores_inconsistent",
        )  # fmt: skip

    def test_a_held_back_part_of_the_training_data(self):
        config = {**SFT, "dataset": "mine", "do_predict": True}
        rating = rate_results({"bleu-4": 50.0}, {**config, "val_size": 0.1}, count=100)["predict_bleu-4"]
        assert rating.reservations == ()
        rating = rate_results({"bleu-4": 50.0}, {**config, "val_size": 0.0}, count=100)["predict_bleu-4"]
        assert rating.reservations == ("unknown_eval_data",)

    def test_data_that_is_not_known_is_no_matter_of_an_evaluation(self):
        rating = rate_results({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 10.0}, SFT, split="eval")
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
        assert rate_results({"bleu-4": 50.0}, {"stage": "dpo"})["predict_bleu-4"].level == "good"

    @pytest.mark.parametrize("metric", ["bleu", "sacrebleu", "rouge1", "rouge2", "rougeL", "rougeLsum"])
    def test_names_of_other_programs(self, metric):
        rating = rate_results({metric: 0.41})[f"predict_{metric}"]
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
        rating = rate_results({"rouge1": 0.41}, count=100)["predict_rouge1"]
        assert verdict(rating) == (None, "scale_unknown", "firm")
        assert (rating.params, rating.reservations, rating.value) == ({}, (), 0.41)
        assert rate_results({"rouge1": 0.41}, count=10)["predict_rouge1"].reservations == ("few_eval_samples",)

    def test_not_of_another_split(self):
        run = run_of([], results={"predict": {"bleu-4": 50.0, "predict_rouge-1": math.nan}}, config=KNOWN_DATA)
        assert rate(run, LATER, ()) == {}


class TestOtherResults:
    @pytest.mark.parametrize(
        ("rate", "level", "words"),
        [
            (5.0, "excellent", "predict_very_fast"), (4.9, "good", "predict_fast"), (1.0, "good", "predict_fast"),
            (0.99, "fair", "predict_slow"), (0.2, "fair", "predict_slow"), (0.199, "poor", "predict_very_slow"),
        ],
    )  # fmt: skip
    def test_speed_of_generation(self, rate, level, words):
        ratings = rate_results({"bleu-4": 50.0, "samples_per_second": rate, "runtime": 100.0})
        rating = ratings["predict_samples_per_second"]
        assert verdict(rating) == (level, words, "orientation")
        assert (rating.value, rating.basis, rating.rule) == (rate, "orientation", "predict_speed")
        assert rating.params["seconds"] == pytest.approx(1 / rate)
        assert rating.params["samples"] == round(100 * rate)

    def test_no_generation_no_such_speed(self):
        assert "predict_samples_per_second" not in rate_results({"samples_per_second": 5.0})
        assert "predict_samples_per_second" not in rate_results({"bleu-4": 1.0, "samples_per_second": 0.0})

    def test_runtime(self):
        plain = rate_results({"runtime": 10.0, "samples_per_second": 5.0})["predict_runtime"]
        assert verdict(plain) == (None, "samples_of", "firm")
        assert (plain.value, plain.params, plain.rule) == (10.0, {"samples": 50}, "runtime")
        assert plain.basis == "rule"
        scored = rate_results({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 10.0})["predict_runtime"]
        assert (scored.words, scored.params) == ("samples_bleu", {"samples": 100, "error": pytest.approx(2.47)})
        many = rate_results({"bleu-4": 50.0, "runtime": 10.0, "samples_per_second": 20.0})["predict_runtime"]
        assert (many.words, many.params) == ("samples_of", {"samples": 200})
        assert "predict_runtime" not in rate_results({"runtime": 10.0})

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
        rating = rate_results(values)["predict_steps_per_second"]
        assert verdict(rating) == (None, "batch_of", "firm")
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
        assert "predict_steps_per_second" not in rate_results(values)

    @pytest.mark.parametrize("runtime", [None, math.inf, 0.0])
    def test_no_batch_without_a_time(self, runtime):
        values = {"steps_per_second": 1.0} if runtime is None else {"steps_per_second": 1.0, "runtime": runtime}
        assert "predict_steps_per_second" not in rate_results(values, count=100)
        nothing = {"steps_per_second": 0.0, "runtime": 10.0}
        assert "predict_steps_per_second" not in rate_results(nothing, count=100)

    def test_batch_of_the_training(self):
        given = {"runtime": 100.0, "samples_per_second": 16.02, "steps_per_second": 1.001}
        assert rate_results(given, split="train")["train_steps_per_second"].params == {"batch": 16}
        for less in ({"samples_per_second": 16.0}, {"steps_per_second": 1.0}):
            assert "train_steps_per_second" not in rate_results(less, split="train")
        two = {"samples_per_second": 16.0, "steps_per_second": 2.0}
        assert rate_results(two, split="train")["train_steps_per_second"].params == {"batch": 8}
        none = {"samples_per_second": 16.0, "steps_per_second": 0.0}
        assert "train_steps_per_second" not in rate_results(none, split="train")
        slow = {"samples_per_second": 0.1, "steps_per_second": 1.0}
        assert rate_results(slow, split="train")["train_steps_per_second"].params == {"batch": 1}

    def test_train_loss(self):
        rating = rate_results({"loss": 1.25}, split="train")["train_loss"]
        assert verdict(rating) == (None, "mean_of_run", "firm")
        assert (rating.value, rating.rule, rating.params, rating.basis) == (1.25, "train_loss", {}, "rule")

    def test_speed_of_training(self):
        rating = rate_results({"samples_per_second": 8.0}, split="train")["train_samples_per_second"]
        assert verdict(rating) == (None, "speed_of_runs", "firm")
        assert (rating.value, rating.rule, rating.basis) == (8.0, "train_speed", "rule")

    def test_what_has_no_rule_is_not_rated(self):
        assert "eval_perplexity" not in rate_results({"perplexity": 5.0}, {"stage": "pt"}, split="eval")
        run = run_of(
            [], results={"predict": {"foreign": 1.0, "predict_odd": math.nan, "predict_rouge1": 0.4}}, config=KNOWN_DATA
        )
        assert rate(run, LATER, ()).keys() == {"predict_rouge1"}

    def test_stale(self):
        rows = [train(10 * (i + 1), 1.0, 400) for i in range(10)]
        results = {"train": {"train_loss": 1.5, "train_samples_per_second": 8.0}}
        ratings = rate(run_of(rows, results=results, config=SFT, results_age=50_000.0), SOON, ())
        assert ratings["train_loss"].reservations == ("stale_results",)
        assert ratings["train_samples_per_second"].reservations == ("stale_results",)
