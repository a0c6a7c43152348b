"""Where the ratings of evaluations turn, and what is said beside the level."""

import math

import pytest

from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow
from tests.analysis.ratings.edges import LATER, SFT, SOON, measured, of, said
from tests.support.run_builder import evaluation, run_of, summary, train


def with_evals(*losses, base=1.0, total=800, **more):
    """20 rows of ``base`` before each evaluation."""
    out = []
    for place, loss in enumerate(losses):
        for i in range(20):
            out.append(train(200 * place + 10 * (i + 1), base, total))
        out.append(measured(200 * (place + 1), {"eval_loss": loss, **more}, total))
    return out


def ended(*losses, base=1.0, config=SFT, findings=(), results=None, **more):
    total = 200 * len(losses)
    rows = [*with_evals(*losses, base=base, total=total, **more), summary(total, total)]
    return of(rows, config, findings, now=LATER, ended=True, results=results)


class TestCourse:
    """Evaluations of a run under way."""

    @pytest.mark.parametrize(
        ("losses", "level", "words"),
        [
            ((2.0, 1.75, 1.5), "good", "still_falling"),
            ((2.0, 1.5, 1.5), "good", "near_its_best"),
            ((2.0, 1.5, 1.53), "good", "near_its_best"),
            ((2.0, 1.5, 1.531), "fair", "rising"),
            ((2.0, 1.99, 1.981), "fair", "level"),
            ((2.0, 1.99, 1.979), "good", "still_falling"),
            ((2.0, 2.01, 2.04), "fair", "level"),
            ((2.0, 2.01, 2.041), "poor", "above_first"),
        ],
    )
    def test_bounds(self, losses, level, words):
        ratings = of(with_evals(*losses))
        for name, value in (("eval_loss", losses[-1]), ("perplexity", math.exp(losses[-1]))):
            rating = ratings[name]
            assert said(rating) == (level, words, "firm")
            assert (rating.value, rating.rule, rating.basis) == (value, "eval_trend", "base")
            assert rating.params == {
                "evals": 3, "need": 2, "first": 2.0, "lowest": min(losses),
                "change": pytest.approx((losses[-1] - 2.0) / 2.0 * 100),
            }  # fmt: skip

    def test_two_are_few(self):
        rating = of(with_evals(2.0, 1.5))["eval_loss"]
        assert said(rating) == ("good", "still_falling", "few")
        assert rating.params["evals"] == 2

    def test_noise_of_five_evaluations_counts(self):
        """Four of them show no noise of their own, so that a rise of a tenth is one; a fifth shows that it is noise."""
        assert of(with_evals(2.0, 1.5, 1.65, 1.5, 1.64, total=2000))["eval_loss"].words == "near_its_best"
        assert of(with_evals(2.0, 1.5, 1.65, 1.6, total=2000))["eval_loss"].words == "rising"

    def test_a_fall_within_the_noise_is_none(self):
        losses = (2.0, 2.2, 2.0, 2.2, 2.0, 2.2, 1.9)
        assert of(with_evals(*losses, total=2000))["eval_loss"].words == "level"

    def test_a_rise_within_the_noise_is_none(self):
        losses = (2.0, 2.3, 2.0, 2.3, 2.0, 2.3)
        assert of(with_evals(*losses, total=2000))["eval_loss"].words == "level"
        assert of(with_evals(*losses, 4.0, total=2000))["eval_loss"].words == "above_first"

    def test_a_loss_below_nothing(self):
        assert of(with_evals(-2.0, -1.9, -2.5), {"stage": "dpo"})["eval_loss"].words == "still_falling"
        assert of(with_evals(-2.0, -1.5), {"stage": "dpo"})["eval_loss"].words == "above_first"

    def test_from_nothing(self):
        rating = of(with_evals(0.0, 1.0), {"stage": "dpo"})["eval_loss"]
        assert rating.params["change"] == 0.0
        assert rating.words == "above_first"

    def test_noise_is_that_of_second_differences(self):
        """Up and down by 0.15 their second differences are 0.3, and the noise of one is 1.4826 x 0.3 / sqrt(6) = 0.18:
        three times that is no rise, one and a half no fall."""
        wave = (1.5, 1.65) * 3
        for last, words in ((2.04, "near_its_best"), (2.05, "rising")):
            assert of(with_evals(3.0, *wave, last, total=2000))["eval_loss"].words == words
        for last, words in ((2.04, "level"), (2.05, "above_first")):
            assert of(with_evals(*wave, last, total=2000))["eval_loss"].words == words
        for last, words in ((1.379, "level"), (1.376, "still_falling")):
            assert of(with_evals(1.65, *wave, last, total=2000))["eval_loss"].words == words

    def test_the_last_hundred_tell_the_noise(self):
        rows = [train(1, 1.0, 1000)]
        for i in range(230):
            wild = 0.5 * (-1) ** i if 0 < i < 130 else 0.0
            rows.append(measured(i + 2, {"eval_loss": 3.0 if i == 0 else 1.6 if i == 229 else 1.5 + wild}, 1000))
        rating = of(rows, {"stage": "dpo"})["eval_loss"]
        assert rating.words == "rising"

    def test_one_percent_exactly_is_no_fall(self):
        assert of(with_evals(2.0, 1.99, 1.98))["eval_loss"].words == "level"

    def test_one_of_a_stage_without_bands_and_few_samples(self):
        rows = with_evals(0.6, eval_runtime=1.0, eval_samples_per_second=9.0)
        assert of(rows, {"stage": "dpo"})["eval_loss"].reservations == ("few_eval_samples",)

    def test_a_results_file_alone_has_no_course(self):
        ratings = of([train(10, 0.6, 10), summary(10, 10)], {"stage": "dpo"}, now=LATER, ended=True,
                     results={"eval": {"eval_loss": 0.5}})  # fmt: skip
        assert ratings.keys().isdisjoint({"perplexity", "gap"})
        assert ratings["loss"].value == 0.6

    def test_one_of_a_stage_without_bands(self):
        for now, live in ((SOON, True), (LATER, False)):
            rating = of(with_evals(0.6), {"stage": "dpo"}, now=now)["eval_loss"]
            assert said(rating) == (None, "after_evals", "few"), live
            assert rating.params == {"evals": 1, "need": 2}

    def test_what_has_ended_falls_no_more(self):
        ratings = ended(0.69, 0.6, 0.5, config={"stage": "dpo"})
        assert said(ratings["eval_loss"]) == ("good", "near_its_best", "firm")
        assert "perplexity" not in ratings
        assert ended(0.69, 0.6, 0.65, config={"stage": "dpo"})["eval_loss"].words == "rising"

    def test_few_samples(self):
        rows = with_evals(2.0, 1.5, 1.4, eval_runtime=10.0, eval_samples_per_second=4.9)
        assert of(rows)["eval_loss"].reservations == ("few_eval_samples",)
        rows = with_evals(2.0, 1.5, 1.4, eval_runtime=10.0, eval_samples_per_second=5.0)
        assert of(rows)["eval_loss"].reservations == ()

    def test_the_last_evaluation_tells_how_many_samples_there_are(self):
        fast = with_evals(2.0, 1.5, eval_runtime=10.0, eval_samples_per_second=10.0)
        slow = measured(410, {"eval_loss": 1.4, "eval_runtime": 4.0, "eval_samples_per_second": 10.0})
        assert of([*fast, slow])["eval_loss"].reservations == ("few_eval_samples",)
        more = measured(410, {"eval_loss": 1.4, "eval_runtime": 10.0, "eval_samples_per_second": 5.0})
        assert of([*fast, more])["eval_loss"].reservations == ()
        slower = measured(410, {"eval_loss": 1.4, "eval_runtime": 10.0, "eval_samples_per_second": 4.9})
        assert of([*fast, slower])["eval_loss"].reservations == ("few_eval_samples",)

    @pytest.mark.parametrize(("rate", "about"), [(4.9, ("few_eval_samples",)), (5.1, ())])
    def test_else_a_results_file_tells_it(self, rate, about):
        results = {"eval": {"eval_runtime": 10.0, "eval_samples_per_second": rate}}
        config = {**SFT, "eval_examples": 1}
        assert of(with_evals(2.0, 1.5), config, results=results)["eval_loss"].reservations == about

    @pytest.mark.parametrize(("count", "about"), [(49, ("few_eval_samples",)), (50, ())])
    def test_else_the_console_tells_it(self, count, about):
        assert of(with_evals(2.0, 1.5), {**SFT, "eval_examples": count})["eval_loss"].reservations == about

    def test_evaluated_on_training_data(self):
        rating = of(with_evals(2.0, 1.5), findings={"evaluated_on_training_data"})["eval_loss"]
        assert rating.reservations == ("evaluated_on_training_data",)


class TestSize:
    """The last evaluation of a run that is over, and the first one of any."""

    @pytest.mark.parametrize(
        ("stage", "size", "level", "words"),
        [
            ("sft", 1.99, "excellent", "ppl_very_low"), ("sft", 2.01, "good", "ppl_low"),
            ("sft", 3.99, "good", "ppl_low"), ("sft", 4.01, "fair", "ppl_high"),
            ("sft", 7.99, "fair", "ppl_high"), ("sft", 8.01, "poor", "ppl_very_high"),
            ("pt", 3.99, "excellent", "ppl_very_low"), ("pt", 4.01, "good", "ppl_low"), ("pt", 7.99, "good", "ppl_low"),
            ("pt", 8.01, "fair", "ppl_high"), ("pt", 15.9, "fair", "ppl_high"), ("pt", 16.1, "poor", "ppl_very_high"),
        ],
    )  # fmt: skip
    def test_bounds(self, stage, size, level, words):
        loss = math.log(size)
        ratings = ended(2.0, loss, config={"stage": stage})
        rule = "perplexity" if stage == "sft" else "perplexity_pt"
        for name, value in (("eval_loss", loss), ("perplexity", size)):
            assert said(ratings[name]) == (level, words, "orientation")
            assert (ratings[name].rule, ratings[name].basis) == (rule, "orientation")
            assert ratings[name].value == pytest.approx(value)
            assert ratings[name].params["evals"] == 2

    @pytest.mark.parametrize(
        ("stage", "size", "level"), [("sft", 2.0, "good"), ("sft", 4.0, "fair"), ("pt", 4.0, "good")]
    )
    def test_a_bound_belongs_to_the_worse_side(self, stage, size, level):
        assert math.exp(math.log(size)) == size
        assert ended(2.0, math.log(size), config={"stage": stage})["perplexity"].level == level

    def test_the_first_of_a_run_under_way_is_few(self):
        rating = of(with_evals(1.0))["perplexity"]
        assert said(rating) == ("good", "ppl_low", "few")
        assert rating.params == {"evals": 1, "need": 2}

    def test_a_results_file_alone(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 10.0, "eval_samples_per_second": 4.9}}
        ratings = of([train(10, 1.0, 10), summary(10, 10)], now=LATER, ended=True, results=results)
        assert said(ratings["eval_loss"]) == ("good", "ppl_low", "orientation")
        assert ratings["eval_loss"].params == {"evals": 1, "need": 2}
        assert ratings["eval_loss"].reservations == ("few_eval_samples",)

    def test_of_an_attempt_before(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 10.0, "eval_samples_per_second": 4.9}}
        rows = [train(10 * (i + 1), 1.0, 400) for i in range(10)]
        ratings = rate(run_of(rows, results=results, config=SFT, results_age=50_000.0), LATER, ())
        assert ratings["eval_loss"].reservations == ("stale_results", "few_eval_samples")

    def test_undermined(self):
        rating = ended(2.0, 1.0, findings={"evaluated_on_training_data"}, eval_runtime=1.0, eval_samples_per_second=9.0)
        assert rating["perplexity"].reservations == ("few_eval_samples", "evaluated_on_training_data")

    def test_stage_unknown(self):
        rows = [measured(10, {"eval_loss": 1.0, "eval_accuracy": 0.5}, 10)]
        rating = of(rows, {})["perplexity"]
        assert said(rating) == (None, "stage_unknown", "firm")
        assert (rating.value, rating.basis) == (math.e, "rule")


class TestGap:
    @pytest.mark.parametrize(
        ("loss", "level", "words"),
        [
            (1.0, "good", "gap_close"), (1.079, "good", "gap_close"), (1.081, "fair", "gap_apart"),
            (1.2, "fair", "gap_apart"), (1.201, "poor", "gap_far"), (0.851, "good", "gap_close"),
            (0.849, None, "gap_eval_easier"),
        ],
    )  # fmt: skip
    def test_bounds(self, loss, level, words):
        rating = ended(1.5, loss)["gap"]
        assert said(rating) == (level, words, "firm")
        assert (rating.rule, rating.basis) == ("gap", "self")
        assert rating.value == pytest.approx(100 * (loss - 1))
        assert rating.params == {"gap": rating.value, "error": 0.0}

    @pytest.mark.parametrize(
        ("base", "loss", "words"), [(20.0, 17.0, "gap_close"), (25.0, 27.0, "gap_close"), (25.0, 30.0, "gap_apart")]
    )
    def test_a_bound_belongs_to_the_better_side(self, base, loss, words):
        assert ended(40.0, loss, base=base)["gap"].words == words

    @pytest.mark.parametrize("stage", ["sft", "pt"])
    def test_stages(self, stage):
        assert ended(1.5, 1.1, config={"stage": stage})["gap"].level == "fair"

    def test_against_the_last_twentieth_of_the_rows(self):
        """Of 200 rows the last ten: five of 1 and five of 2 have a median of 1.5."""
        rows = [train(10 * (i + 1), 2.0 if i < 195 else 1.0, 2000) for i in range(200)]
        assert of([*rows, evaluation(2000, 1.5, 2000)], now=LATER)["gap"].value == 0.0

    @pytest.mark.parametrize(("amplitude", "confidence"), [(0.22, "firm"), (0.24, "few")])
    def test_six_percent_of_error(self, amplitude, confidence):
        rows = [train(10 * (i + 1), 1.0 + amplitude * math.sin(2.5 * i * i), 400) for i in range(40)]
        rating = of([*rows, evaluation(400, 1.05, 400)], now=LATER)["gap"]
        assert rating.params["error"] == pytest.approx(6, abs=0.35)
        assert (rating.params["error"] > 6) is (confidence == "few")
        assert rating.confidence == confidence

    def test_under_way_with_few_evaluations(self):
        assert of(with_evals(1.0, 1.0))["gap"].confidence == "few"
        assert of(with_evals(1.0, 1.0, 1.0))["gap"].confidence == "firm"
        assert of(with_evals(0.5, 0.5))["gap"].confidence == "few"

    @pytest.mark.parametrize(("epochs", "noted"), [(1.0, True), (1.01, True), (1.1, False), (0.5, True)])
    def test_samples_that_were_seen_once(self, epochs, noted):
        rows = [train(10 * (i + 1), 1.0, 200, epochs=epochs) for i in range(20)]
        rating = of([*rows, evaluation(200, 1.0, 200, epochs=epochs)])["gap"]
        assert (rating.params.get("note") == "single_epoch") is noted

    def test_no_epoch_known(self):
        rows = [LogRow("train", 10 * (i + 1), {"loss": 1.0}, 200) for i in range(20)]
        assert "note" not in of([*rows, LogRow("eval", 200, {"eval_loss": 1.0}, 200)])["gap"].params

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_never_of_a_broken_run(self, code):
        assert "gap" not in ended(1.5, 1.0, findings={code})

    def test_language_alone(self):
        assert "gap" not in ended(0.7, 0.6, config={"stage": "dpo"})

    def test_three_rows_before_it(self):
        rows = [train(10, 1.0, 100), train(20, 1.0, 100)]
        assert "gap" not in of([*rows, evaluation(20, 1.0, 100)])
        assert "gap" in of([*rows, train(30, 1.0, 100), evaluation(30, 1.0, 100)])

    def test_rows_that_scatter(self):
        """Rows of +- 50 % tell their level to 12 %: a gap not twice that above its bound is not told from none."""
        rows = [train(10 * (i + 1), 1.0 + 0.5 * math.sin(2.5 * i * i), 400) for i in range(40)]

        def gap(loss):
            return of([*rows, evaluation(400, loss, 400)], now=LATER)["gap"]

        assert gap(1.4).params == {"gap": pytest.approx(14.0, abs=0.1), "error": pytest.approx(11.94, abs=0.01)}
        assert said(gap(1.61)) == (None, "early", "few")
        assert said(gap(1.63)) == ("poor", "gap_far", "few")
        assert said(gap(1.3)) == ("good", "gap_close", "few")
        assert said(gap(1.0)) == (None, "gap_eval_easier", "few")

    def test_undermined(self):
        ratings = ended(1.5, 1.0, eval_runtime=1.0, eval_samples_per_second=9.0)
        assert ratings["gap"].reservations == ("few_eval_samples",)
        below = ended(1.5, 0.5, eval_runtime=1.0, eval_samples_per_second=9.0)["gap"]
        assert below.reservations == ("few_eval_samples",)
        noisy = [train(10 * (i + 1), 1.0 + 0.5 * math.sin(2.5 * i * i), 400) for i in range(40)]
        row = measured(400, {"eval_loss": 1.6, "eval_runtime": 1.0, "eval_samples_per_second": 9.0}, 400)
        assert of([*noisy, row], now=LATER)["gap"].reservations == ("few_eval_samples",)


BATCH = {**SFT, "total_train_batch_size": 10}


def speed_rows(total=400, every_s=1.0):
    return [train(10 * (i + 1), 1.0, total, every_s=every_s) for i in range(40)]


class TestEvalSpeed:
    """The training does 10 samples a second: a step a second of 10 samples."""

    @pytest.mark.parametrize(
        ("rate", "level", "words"),
        [(10.0, "good", "eval_faster"), (9.9, "good", "eval_near"), (5.0, "good", "eval_near"),
         (4.9, "fair", "eval_slower")],
    )  # fmt: skip
    def test_bounds(self, rate, level, words):
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": rate})
        rating = of([*speed_rows(), row], BATCH)["eval_samples_per_second"]
        assert said(rating) == (level, words, "orientation")
        assert (rating.rule, rating.basis, rating.value) == ("eval_speed", "self", rate)
        assert rating.params == {"share": pytest.approx(10 * rate), "training": pytest.approx(10.0)}

    @pytest.mark.parametrize(("length", "confidence"), [(4.9, "few"), (5.0, "orientation")])
    def test_five_seconds(self, length, confidence):
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": length, "eval_samples_per_second": 20.0})
        assert of([*speed_rows(), row], BATCH)["eval_samples_per_second"].confidence == confidence

    def test_no_length_known(self):
        row = measured(400, {"eval_loss": 1.0, "eval_samples_per_second": 20.0})
        assert of([*speed_rows(), row], BATCH)["eval_samples_per_second"].confidence == "few"

    def test_the_last_evaluation_counts(self):
        rows = [
            *speed_rows(),
            measured(200, {"eval_loss": 1.0, "eval_runtime": 1.0, "eval_samples_per_second": 1.0}),
            measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0}),
        ]
        rows.sort(key=lambda row: row.step)
        assert said(of(rows, BATCH)["eval_samples_per_second"]) == ("good", "eval_faster", "orientation")

    def test_with_generation_it_is_no_such_speed(self):
        more = {"eval_bleu-4": 50.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0}
        assert "eval_samples_per_second" not in of([*speed_rows(), measured(400, more)], BATCH)

    def test_nothing_a_second_is_no_speed(self):
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 0.0})
        assert "eval_samples_per_second" not in of([*speed_rows(), row], BATCH)

    def test_less_than_one_a_second(self):
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 0.9})
        assert of([*speed_rows(), row], BATCH)["eval_samples_per_second"].words == "eval_slower"

    def test_alone(self):
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 20.0})
        rating = of([*speed_rows(), row], SFT)["eval_samples_per_second"]
        assert said(rating) == (None, "eval_alone", "orientation")
        assert rating.params == {}

    @pytest.mark.parametrize(("rate", "words"), [(40.0, "eval_near"), (20.0, "eval_faster"), (0.5, "eval_faster"),
                                                 (math.inf, "eval_alone"),
                                                 (0.0, "eval_alone")])  # fmt: skip
    def test_else_against_the_summary_of_the_training(self, rate, words):
        results = {"train": {"train_samples_per_second": rate}}
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        assert of([*speed_rows(), row], results=results)["eval_samples_per_second"].words == words

    def test_the_summary_of_a_resumed_training_is_of_its_last_part(self):
        results = {"train": {"train_samples_per_second": 20.0}}
        again = [row._replace(step=row.step + 400, total_steps=800) for row in speed_rows()]
        row = measured(800, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        rows = [*speed_rows(800), *again, row._replace(elapsed_s=401.0)]
        assert of(rows, results=results)["eval_samples_per_second"].words == "eval_alone"

    def test_a_stale_summary_says_nothing(self):
        results = {"train": {"train_samples_per_second": 20.0}}
        row = measured(400, {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 30.0})
        ratings = of([*speed_rows(), row], results=results, results_age=50_000.0)
        assert ratings["eval_samples_per_second"].words == "eval_alone"

    def test_of_a_results_file(self):
        results = {"eval": {"eval_loss": 1.0, "eval_runtime": 9.0, "eval_samples_per_second": 9.9}}
        rating = of(speed_rows(), BATCH, results=results)["eval_samples_per_second"]
        assert said(rating) == ("good", "eval_near", "orientation")
        short = {"eval": {"eval_loss": 1.0, "eval_runtime": 4.9, "eval_samples_per_second": 9.9}}
        assert of(speed_rows(), BATCH, results=short)["eval_samples_per_second"].confidence == "few"
