"""Where the ratings against siblings turn: who is compared, by how much one is behind, and how sure that is."""

import math

import pytest

from lora_tui.analysis.context import Context
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow, Results
from lora_tui.records.updates import FileDoc
from tests.support.run_builder import START, run_of, summary, train

LATER = START + 1e6
BASE = {
    "stage": "sft", "model_name_or_path": "org/Base", "dataset": "d", "val_size": 0.1, "seed": 42,
    "finetuning_type": "lora", "cutoff_len": 512, "num_devices": 1, "total_train_batch_size": 8,
}  # fmt: skip
SCORES = {"bleu-4": (70.0, 50.0), "rouge-1": (85.0, 65.0), "rouge-2": (75.0, 50.0), "rouge-l": (80.0, 60.0)}


def made(
    name, loss=1.0, scores=None, rows=20, every_s=0.1, over=True, evals=(), age=0.0, samples=1000, tokens=None, **config
):
    """A finished run of 10 steps a row, with an evaluation of ``loss`` at its end; ``None`` in config: left out."""
    total = 10 * rows
    out = []
    for i in range(rows):
        more = {} if tokens is None else {"total_tokens": tokens * (i + 1)}
        out.append(train(10 * (i + 1), 1.0, total, every_s=every_s, **more))
    out += [LogRow("eval", total, {"eval_loss": value}, total, 3.0, total * every_s) for value in evals]
    results = {}
    if loss is not None:
        results["eval"] = {"eval_loss": loss, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
    for split, values in (scores or {}).items():
        given = {f"{split}_{metric}": value for metric, value in values.items()}
        more = {f"{split}_runtime": 100.0, f"{split}_samples_per_second": samples / 100}
        results[split] = {**results.get(split, {}), **given, **more}
    settings = {key: value for key, value in {**BASE, **config}.items() if value is not None}
    if over:
        out.append(summary(total, total, every_s=every_s))
    run = run_of(out, config=settings, results=results, ended=over, results_age=age)
    run.name = name
    return run


def rated(run, *others, now=LATER, findings=()):
    return rate(run, now, findings, Context(siblings=others))


def said(rating):
    return rating.level, rating.rule, rating.confidence


class TestEvaluation:
    @pytest.mark.parametrize(
        ("loss", "level", "note"),
        [
            (1.081, "fair", None), (1.079, "good", "sibling_behind"), (1.021, "good", "sibling_behind"),
            (1.019, "good", "sibling_even"), (0.981, "good", "sibling_even"), (0.979, "good", "sibling_best"),
        ],
    )  # fmt: skip
    def test_bounds(self, loss, level, note):
        """A fiftieth is no difference where the noise of neither is known; eight percent are clearly behind."""
        ratings = rated(made("mine", loss), made("other", 1.0))
        for name, value, best in (("eval_loss", loss, 1.0), ("perplexity", math.exp(loss), math.e)):
            rating = ratings[name]
            assert (rating.level, rating.value) == (level, pytest.approx(value))
            assert rating.params.get("note") == note
            assert (rating.params["sibling"], rating.params["sibling_value"]) == ("other", pytest.approx(best))
            assert rating.params["evals"] == 1
            if note is None:
                assert (rating.rule, rating.basis, rating.words) == ("eval_sibling", "sibling", "behind_sibling")
                assert rating.confidence == "firm"
            else:
                assert (rating.rule, rating.basis) == ("perplexity", "orientation")

    def test_the_best_of_several(self):
        others = made("middle", 0.9), made("best", 0.7), made("worst", 2.0)
        assert rated(made("mine", 1.0), *others)["eval_loss"].params["sibling"] == "best"

    def test_excellent_falls_to_fair_too(self):
        assert rated(made("mine", 0.6), made("other", 0.3))["eval_loss"].level == "fair"

    @pytest.mark.parametrize("loss", [1.7, 2.5])
    def test_fair_and_poor_stay(self, loss):
        alone, beside = rated(made("mine", loss)), rated(made("mine", loss), made("other", 0.5))
        assert beside["eval_loss"].level == alone["eval_loss"].level
        assert beside["eval_loss"].params["note"] == "sibling_behind"
        assert "note" not in alone["eval_loss"].params

    def test_what_undermines_it_stays(self):
        rating = rated(made("mine", 1.2), made("other", 1.0), findings={"evaluated_on_training_data"})["eval_loss"]
        assert rating.reservations == ("evaluated_on_training_data",)

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ({"val_size": 0.2}, None), ({"finetuning_type": "full"}, None), ({"eval_dataset": "x"}, "orientation"),
            ({"seed": 1}, "orientation"), ({"finetuning_type": None}, "firm"), ({"cutoff_len": 1024}, "firm"),
            ({"num_devices": 4}, "firm"), ({"total_train_batch_size": 64}, "firm"),
        ],
    )  # fmt: skip
    def test_who_is_compared(self, config, expected):
        rating = rated(made("mine", 1.2), made("other", 1.0, **config))["eval_loss"]
        assert (rating.confidence if rating.rule == "eval_sibling" else None) == expected

    def test_one_of_the_same_samples_goes_before_none(self):
        rating = rated(made("mine", 1.2), made("elsewhere", 0.1, val_size=0.5), made("other", 1.0))["eval_loss"]
        assert rating.params["sibling"] == "other"

    def test_a_sibling_under_way_says_nothing(self):
        live = made("live", None, evals=(0.5,), over=False)
        assert live.status(START + 5).live
        assert "note" not in rated(made("mine", 1.0), live, now=START + 50)["eval_loss"].params

    def test_itself_is_no_sibling(self):
        run = made("mine", 1.0)
        assert "sibling" not in rated(run, run)["eval_loss"].params

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_a_broken_run_is_not_compared(self, code):
        assert "sibling" not in rated(made("mine", 1.0), made("other", 0.5), findings={code})["eval_loss"].params

    @pytest.mark.parametrize("best", [0.0, -1.0, math.nan, 700.0])
    def test_no_such_loss(self, best):
        assert "sibling" not in rated(made("mine", 1.0), made("other", best))["eval_loss"].params

    def test_a_run_without_an_evaluation(self):
        ratings = rated(made("mine", None), made("other", 1.0))
        assert ratings.keys().isdisjoint({"eval_loss", "perplexity"})

    def test_a_loss_without_a_perplexity(self):
        ratings = rated(made("mine", 800.0), made("other", 1.0))
        assert ratings["eval_loss"].params["note"] == "sibling_behind"
        assert "perplexity" not in ratings

    def test_pre_training(self):
        rating = rated(made("mine", 1.2, stage="pt"), made("other", 1.0, stage="pt"))["eval_loss"]
        assert said(rating) == ("fair", "eval_sibling", "firm")

    def test_language_alone(self):
        ratings = rated(made("mine", 0.9, stage="dpo"), made("other", 0.5, stage="dpo"))
        assert "sibling" not in ratings.get("eval_loss", ratings["loss"]).params

    def test_no_more_than_fifty(self):
        others = [made(f"r{at}", 1.0 + at / 1000) for at in range(50)]
        rating = rated(made("mine", 1.2), *others, made("best", 0.5))["eval_loss"]
        assert rating.params["sibling"] == "r0"

    def test_a_sibling_that_has_changed_is_asked_again(self):
        other = made("other", 1.0)
        run = made("mine", 1.2)
        assert rated(run, other)["eval_loss"].level == "fair"
        values = {"eval_loss": 1.19, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
        other.apply([FileDoc("eval_results.json", Results("eval", values), START + 4)])
        assert rated(run, other)["eval_loss"].params["note"] == "sibling_even"


class TestScores:
    @pytest.mark.parametrize("metric", sorted(SCORES))
    @pytest.mark.parametrize("split", ["predict", "eval"])
    def test_a_tenth_behind(self, metric, split):
        """Of 1,000 samples scores are known to 0.78, and of other samples for each a difference of 2.2 is one."""
        best = SCORES[metric][0] + 10
        for value, level, note in (
            (best * 0.899, "fair", None), (best * 0.901, None, "sibling_behind"), (best - 2.1, None, "sibling_even"),
            (best + 2.1, "excellent", "sibling_even"), (best + 2.3, "excellent", "sibling_best"),
        ):  # fmt: skip
            more = {"bleu-4": 50.0} if metric != "bleu-4" else {}
            mine, other = ({split: {**more, metric: number}} for number in (value, best))
            rating = rated(made("mine", scores=mine), made("other", scores=other))[f"{split}_{metric}"]
            assert rating.params.get("note") == note
            assert rating.params["sibling"] == "other"
            assert rating.params["sibling_value"] == best
            if level is not None:
                assert rating.level == level
            if note is None:
                assert (rating.rule, rating.basis, rating.words) == ("score_sibling", "sibling", "behind_sibling")
                assert rating.value == value

    def test_of_other_data(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (72.0, 90.0))
        fewer = made("other", scores=other, samples=500)
        assert "sibling" not in rated(made("mine", scores=mine), fewer)["predict_bleu-4"].params
        left, right = made("mine", scores=mine, eval_dataset="a"), made("other", scores=other, eval_dataset="b")
        assert "sibling" not in rated(left, right)["predict_bleu-4"].params
        right = made("other", scores=other, eval_dataset="a")
        assert said(rated(left, right)["predict_bleu-4"]) == ("fair", "score_sibling", "firm")

    def test_of_the_same_samples_a_smaller_difference_is_one(self):
        """1.56 instead of 2.2: twice the error of one of them."""
        for value, note in ((88.3, "sibling_behind"), (88.5, "sibling_even")):
            mine, other = ({"predict": {"bleu-4": number}} for number in (value, 90.0))
            left, right = (
                made(name, scores=given, eval_dataset="a") for name, given in (("mine", mine), ("other", other))
            )
            assert rated(left, right)["predict_bleu-4"].params["note"] == note

    def test_low_scores_are_compared_too(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (0.5, 0.9))
        rating = rated(made("mine", scores=mine), made("other", scores=other))["predict_bleu-4"]
        assert (rating.level, rating.params["note"]) == ("poor", "sibling_even")

    def test_data_that_is_not_known(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (72.0, 90.0))
        rating = rated(made("mine", scores=mine), made("other", scores=other))["predict_bleu-4"]
        assert said(rating) == ("fair", "score_sibling", "orientation")

    def test_few_samples_stay_few(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 90.0))
        rating = rated(made("mine", scores=mine, samples=40), made("other", scores=other, samples=40))["predict_bleu-4"]
        assert said(rating) == ("fair", "score_sibling", "few")
        assert "few_eval_samples" in rating.reservations

    def test_noise_that_is_not_known(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 90.0))
        runs = made("mine", scores=mine, samples=0), made("other", scores=other, samples=0)
        assert rated(*runs)["predict_bleu-4"].params["note"] == "sibling_even"

    def test_a_score_of_nothing_is_no_measure(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 0.0))
        assert "sibling" not in rated(made("mine", scores=mine), made("other", scores=other))["predict_bleu-4"].params

    def test_only_one_was_predicted_with(self):
        mine = {"predict": {"bleu-4": 51.0}}
        assert "sibling" not in rated(made("mine", scores=mine), made("other"))["predict_bleu-4"].params
        elsewhere = made("other", scores={"eval": {"bleu-4": 90.0}})
        assert "sibling" not in rated(made("mine", scores=mine), elsewhere)["predict_bleu-4"].params

    def test_the_best(self):
        mine, middle, best = ({"predict": {"bleu-4": value}} for value in (51.0, 60.0, 90.0))
        runs = made("mine", scores=mine), made("middle", scores=middle), made("best", scores=best)
        assert rated(*runs)["predict_bleu-4"].params["sibling"] == "best"


class TestSpeed:
    """Runs of 20 rows of a second: too short to be compared with themselves, long enough for their pace."""

    @pytest.mark.parametrize(("every_s", "level"), [(0.11, "good"), (0.112, "fair"), (0.09, "good"), (0.5, "fair")])
    def test_bounds(self, every_s, level):
        ratings = rated(made("mine", every_s=every_s), made("other", every_s=0.1))
        share = 100 * 0.1 / every_s
        for name in ("steps_per_s", "samples_per_s"):
            rating = ratings[name]
            assert said(rating) == (level, "speed_sibling", "firm")
            assert rating.words == ("speed_as_sibling" if level == "good" else "speed_below_sibling")
            assert rating.params == {
                "share": pytest.approx(share), "slower": pytest.approx(max(0.0, 100 - share)), "sibling": "other",
            }  # fmt: skip

    def test_tokens(self):
        live = made("live", None, tokens=500.0, over=False)
        ratings = rated(live, made("other", tokens=1000.0), now=START + 5)
        assert said(ratings["throughput"]) == ("fair", "speed_sibling", "firm")
        assert ratings["throughput"].params["share"] == pytest.approx(50)
        assert ratings["steps_per_s"].level == "good"

    def test_the_fastest(self):
        others = made("slow", every_s=0.2), made("fast", every_s=0.05), made("middle", every_s=0.1)
        assert rated(made("mine"), *others)["steps_per_s"].params["sibling"] == "fast"

    @pytest.mark.parametrize(
        ("config", "steps", "samples"),
        [
            ({"finetuning_type": "full"}, None, None), ({"cutoff_len": 1024}, None, None),
            ({"num_devices": 2}, None, None),
            ({"total_train_batch_size": 16}, None, "firm"), ({"total_train_batch_size": None}, None, None),
            ({"cutoff_len": None}, "orientation", "orientation"), ({"num_devices": None}, "orientation", "orientation"),
            ({"finetuning_type": None}, "orientation", "orientation"), ({"val_size": 0.3}, "firm", "firm"),
        ],
    )  # fmt: skip
    def test_who_is_compared(self, config, steps, samples):
        ratings = rated(made("mine"), made("other", every_s=0.05, **config))
        for name, expected in (("steps_per_s", steps), ("samples_per_s", samples)):
            rating = ratings[name]
            assert (rating.confidence if rating.rule == "speed_sibling" else None) == expected

    def test_samples_of_another_batch(self):
        ratings = rated(made("mine"), made("other", every_s=0.05, total_train_batch_size=16))
        assert ratings["samples_per_s"].params["share"] == pytest.approx(25)

    def test_ten_rows(self):
        other = made("other", every_s=0.1)
        assert rated(made("mine", rows=8, every_s=0.2), other)["steps_per_s"].rule != "speed_sibling"
        assert rated(made("mine", rows=9, every_s=0.2), other)["steps_per_s"].rule == "speed_sibling"

    def test_a_run_that_is_long_enough_is_compared_with_itself(self):
        rating = rated(made("mine", rows=40, every_s=2.0), made("other", rows=40, every_s=1.0))["steps_per_s"]
        assert rating.rule == "speed_self"

    def test_while_it_runs(self):
        live = made("live", None, every_s=0.2, over=False)
        rating = rated(live, made("other", every_s=0.1), now=START + 5)["steps_per_s"]
        assert said(rating) == ("fair", "speed_sibling", "firm")

    def test_names_without_what_they_share(self):
        ratings = rated(made("a/b/mine", 1.2, every_s=0.2), made("a/c/other", 1.0))
        assert ratings["steps_per_s"].params["sibling"] == "c/other"
        assert ratings["eval_loss"].params["sibling"] == "c/other"
        long = rated(made("mine", 1.2), made("x" * 100, 1.0))["eval_loss"].params["sibling"]
        assert len(long) == 60
