"""Ratings of a run against its siblings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lora_tui.i18n import Words
from lora_tui.records.documents import Results
from lora_tui.records.updates import Batch, FileDoc, RunUpdates
from tests.support.rated_runs import finished_run, rate_beside
from tests.support.run_builder import START
from tests.support.sibling_runs import NOW, named, rated, updates, workspace


class TestRatings:
    def test_clearly_behind_the_best_is_fair_at_most(self):
        ratings = rated(workspace(updates("a", 0.8, 0), updates("b", 1.0, 100)), "b")
        for name, best in (("eval_loss", 0.8), ("perplexity", math.exp(0.8))):
            rating = ratings[name]
            assert (rating.level, rating.basis, rating.rule, rating.confidence) == (
                "fair", "sibling", "eval_sibling", "firm",
            )  # fmt: skip
            assert rating.params["sibling"] == "a"
            assert rating.params["sibling_value"] == pytest.approx(best)
            for lang in ("en", "zh"):
                words = Words(lang)
                assert "a" in words.rating(rating)
                assert "{" not in words.explanation(rating)

    def test_poor_stays_poor_and_best_raises_nothing(self):
        space = workspace(updates("a", 3.0, 0), updates("b", 2.5, 100))
        assert rated(space, "a")["eval_loss"].level == "poor"
        best = rated(space, "b")["eval_loss"]
        assert (best.level, best.basis, best.params["note"]) == ("poor", "orientation", "sibling_best")
        assert "the best" in Words("en").explanation(best)

    def test_within_noise_of_the_best(self):
        rating = rated(workspace(updates("a", 1.0, 0), updates("b", 1.003, 100)), "b")["eval_loss"]
        assert (rating.level, rating.params["note"]) == ("good", "sibling_even")

    def test_a_little_behind(self):
        rating = rated(workspace(updates("a", 1.0, 0), updates("b", 1.06, 100)), "b")["eval_loss"]
        assert (rating.level, rating.params["note"]) == ("good", "sibling_behind")

    @pytest.mark.parametrize(
        "config", [{"val_size": 0.2}, {"dataset": "x"}, {"stage": "dpo"}, {"finetuning_type": "full"}]
    )
    def test_never_against_other_samples_or_methods(self, config):
        rating = rated(workspace(updates("a", 0.5, 0, config), updates("b", 1.0, 100)), "b")["eval_loss"]
        assert (rating.level, rating.basis) == ("good", "orientation")
        assert "note" not in rating.params

    def test_what_is_not_known_is_orientation(self):
        rating = rated(workspace(updates("a", 0.5, 0, {"seed": 7}), updates("b", 1.0, 100)), "b")["eval_loss"]
        assert (rating.level, rating.confidence) == ("fair", "orientation")

    def test_a_run_under_way_is_not_measured_by_a_finished_one(self):
        live = RunUpdates(Path("/r/b"), updates("b", 1.0, 1e6 - 1, summed=False).updates[:2])
        space = workspace(updates("a", 0.5, 0), live)
        assert named(space, "b").status(NOW).live
        assert rated(space, "b")["eval_loss"].basis != "sibling"

    def test_scores(self):
        space = workspace(updates("a", 1.0, 0, bleu=(90.0, 1000)), updates("b", 1.0, 100, bleu=(72.0, 1000)))
        rating = rated(space, "b")["predict_bleu-4"]
        assert (rating.level, rating.rule) == ("fair", "score_sibling")
        assert rated(space, "a")["predict_bleu-4"].level == "excellent"

    def test_scores_of_few_samples_are_not_apart(self):
        space = workspace(updates("a", 1.0, 0, bleu=(90.0, 60)), updates("b", 1.0, 100, bleu=(82.0, 60)))
        rating = rated(space, "b")["predict_bleu-4"]
        assert (rating.level, rating.rule) == ("excellent", "bleu4")
        assert rating.params["note"] == "sibling_even"

    def test_speed_of_a_run_too_short_to_tell_itself(self):
        space = workspace(updates("a", 1.0, 0, every_s=0.1), updates("b", 1.0, 100, every_s=0.2))
        slow, fast = rated(space, "b")["steps_per_s"], rated(space, "a")["steps_per_s"]
        assert (slow.level, slow.basis, slow.confidence) == ("fair", "sibling", "firm")
        assert slow.params["slower"] == pytest.approx(50, abs=3)
        assert fast.level == "good"

    @pytest.mark.parametrize("config", [{"finetuning_type": "full"}, {"cutoff_len": 1024}, {"num_devices": 4}])
    def test_speed_never_of_another_setup(self, config):
        space = workspace(updates("a", 1.0, 0, config, every_s=0.1), updates("b", 1.0, 100, every_s=0.2))
        assert rated(space, "b")["steps_per_s"].basis != "sibling"

    def test_a_run_that_is_gone_is_not_kept(self):
        import gc
        import weakref

        space = workspace(updates("a", 0.8, 0), updates("b", 1.0, 100))
        rated(space, "b")
        gone = weakref.ref(named(space, "a"))
        space.apply(Batch((RunUpdates(Path("/r/a"), gone=True),)))
        space.index.siblings(named(space, "b"))
        gc.collect()
        assert gone() is None


SCORES = {"bleu-4": (70.0, 50.0), "rouge-1": (85.0, 65.0), "rouge-2": (75.0, 50.0), "rouge-l": (80.0, 60.0)}


def outcome(rating):
    """Return level, rule and confidence."""
    return rating.level, rating.rule, rating.confidence


class TestEvaluationBeside:
    @pytest.mark.parametrize(
        ("loss", "level", "note"),
        [(1.081, "fair", None), (0.979, "good", "sibling_best")],
    )  # fmt: skip
    def test_all_that_is_said(self, loss, level, note):
        """A fiftieth is no difference where the noise of neither is known; eight percent are clearly behind."""
        ratings = rate_beside(finished_run("mine", loss), finished_run("other", 1.0))
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
        others = finished_run("middle", 0.9), finished_run("best", 0.7), finished_run("worst", 2.0)
        assert rate_beside(finished_run("mine", 1.0), *others)["eval_loss"].params["sibling"] == "best"

    def test_excellent_falls_to_fair_too(self):
        assert rate_beside(finished_run("mine", 0.6), finished_run("other", 0.3))["eval_loss"].level == "fair"

    @pytest.mark.parametrize("loss", [1.7, 2.5])
    def test_fair_and_poor_stay(self, loss):
        alone, beside = (
            rate_beside(finished_run("mine", loss)),
            rate_beside(finished_run("mine", loss), finished_run("other", 0.5)),
        )
        assert beside["eval_loss"].level == alone["eval_loss"].level
        assert beside["eval_loss"].params["note"] == "sibling_behind"
        assert "note" not in alone["eval_loss"].params

    def test_what_undermines_it_stays(self):
        rating = rate_beside(
            finished_run("mine", 1.2), finished_run("other", 1.0), findings={"evaluated_on_training_data"}
        )["eval_loss"]
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
        rating = rate_beside(finished_run("mine", 1.2), finished_run("other", 1.0, **config))["eval_loss"]
        assert (rating.confidence if rating.rule == "eval_sibling" else None) == expected

    def test_one_of_the_same_samples_goes_before_none(self):
        rating = rate_beside(
            finished_run("mine", 1.2), finished_run("elsewhere", 0.1, val_size=0.5), finished_run("other", 1.0)
        )["eval_loss"]
        assert rating.params["sibling"] == "other"

    def test_a_sibling_under_way_says_nothing(self):
        live = finished_run("live", None, evals=(0.5,), over=False)
        assert live.status(START + 5).live
        assert "note" not in rate_beside(finished_run("mine", 1.0), live, now=START + 50)["eval_loss"].params

    def test_itself_is_no_sibling(self):
        run = finished_run("mine", 1.0)
        assert "sibling" not in rate_beside(run, run)["eval_loss"].params

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_a_broken_run_is_not_compared(self, code):
        assert (
            "sibling"
            not in rate_beside(finished_run("mine", 1.0), finished_run("other", 0.5), findings={code})[
                "eval_loss"
            ].params
        )

    @pytest.mark.parametrize("best", [0.0, -1.0, math.nan, 700.0])
    def test_no_such_loss(self, best):
        assert "sibling" not in rate_beside(finished_run("mine", 1.0), finished_run("other", best))["eval_loss"].params

    def test_a_run_without_an_evaluation(self):
        ratings = rate_beside(finished_run("mine", None), finished_run("other", 1.0))
        assert ratings.keys().isdisjoint({"eval_loss", "perplexity"})

    def test_a_loss_without_a_perplexity(self):
        ratings = rate_beside(finished_run("mine", 800.0), finished_run("other", 1.0))
        assert ratings["eval_loss"].params["note"] == "sibling_behind"
        assert "perplexity" not in ratings

    def test_pre_training(self):
        rating = rate_beside(finished_run("mine", 1.2, stage="pt"), finished_run("other", 1.0, stage="pt"))["eval_loss"]
        assert outcome(rating) == ("fair", "eval_sibling", "firm")

    def test_language_alone(self):
        ratings = rate_beside(finished_run("mine", 0.9, stage="dpo"), finished_run("other", 0.5, stage="dpo"))
        assert "sibling" not in ratings.get("eval_loss", ratings["loss"]).params

    def test_no_more_than_fifty(self):
        others = [finished_run(f"r{at}", 1.0 + at / 1000) for at in range(50)]
        rating = rate_beside(finished_run("mine", 1.2), *others, finished_run("best", 0.5))["eval_loss"]
        assert rating.params["sibling"] == "r0"

    def test_a_sibling_that_has_changed_is_asked_again(self):
        other = finished_run("other", 1.0)
        run = finished_run("mine", 1.2)
        assert rate_beside(run, other)["eval_loss"].level == "fair"
        values = {"eval_loss": 1.19, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
        other.apply([FileDoc("eval_results.json", Results("eval", values), START + 4)])
        assert rate_beside(run, other)["eval_loss"].params["note"] == "sibling_even"


class TestScoresBeside:
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
            rating = rate_beside(finished_run("mine", scores=mine), finished_run("other", scores=other))[
                f"{split}_{metric}"
            ]
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
        fewer = finished_run("other", scores=other, samples=500)
        assert "sibling" not in rate_beside(finished_run("mine", scores=mine), fewer)["predict_bleu-4"].params
        left, right = (
            finished_run("mine", scores=mine, eval_dataset="a"),
            finished_run("other", scores=other, eval_dataset="b"),
        )
        assert "sibling" not in rate_beside(left, right)["predict_bleu-4"].params
        right = finished_run("other", scores=other, eval_dataset="a")
        assert outcome(rate_beside(left, right)["predict_bleu-4"]) == ("fair", "score_sibling", "firm")

    def test_of_the_same_samples_a_smaller_difference_is_one(self):
        """1.56 instead of 2.2: twice the error of one of them."""
        for value, note in ((88.3, "sibling_behind"), (88.5, "sibling_even")):
            mine, other = ({"predict": {"bleu-4": number}} for number in (value, 90.0))
            left, right = (
                finished_run(name, scores=given, eval_dataset="a") for name, given in (("mine", mine), ("other", other))
            )
            assert rate_beside(left, right)["predict_bleu-4"].params["note"] == note

    def test_low_scores_are_compared_too(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (0.5, 0.9))
        rating = rate_beside(finished_run("mine", scores=mine), finished_run("other", scores=other))["predict_bleu-4"]
        assert (rating.level, rating.params["note"]) == ("poor", "sibling_even")

    def test_data_that_is_not_known(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (72.0, 90.0))
        rating = rate_beside(finished_run("mine", scores=mine), finished_run("other", scores=other))["predict_bleu-4"]
        assert outcome(rating) == ("fair", "score_sibling", "orientation")

    def test_few_samples_stay_few(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 90.0))
        rating = rate_beside(
            finished_run("mine", scores=mine, samples=40), finished_run("other", scores=other, samples=40)
        )["predict_bleu-4"]
        assert outcome(rating) == ("fair", "score_sibling", "few")
        assert "few_eval_samples" in rating.reservations

    def test_noise_that_is_not_known(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 90.0))
        runs = finished_run("mine", scores=mine, samples=0), finished_run("other", scores=other, samples=0)
        assert rate_beside(*runs)["predict_bleu-4"].params["note"] == "sibling_even"

    def test_a_score_of_nothing_is_no_measure(self):
        mine, other = ({"predict": {"bleu-4": value}} for value in (51.0, 0.0))
        assert (
            "sibling"
            not in rate_beside(finished_run("mine", scores=mine), finished_run("other", scores=other))[
                "predict_bleu-4"
            ].params
        )

    def test_only_one_was_predicted_with(self):
        mine = {"predict": {"bleu-4": 51.0}}
        assert (
            "sibling"
            not in rate_beside(finished_run("mine", scores=mine), finished_run("other"))["predict_bleu-4"].params
        )
        elsewhere = finished_run("other", scores={"eval": {"bleu-4": 90.0}})
        assert "sibling" not in rate_beside(finished_run("mine", scores=mine), elsewhere)["predict_bleu-4"].params

    def test_the_best(self):
        mine, middle, best = ({"predict": {"bleu-4": value}} for value in (51.0, 60.0, 90.0))
        runs = (
            finished_run("mine", scores=mine),
            finished_run("middle", scores=middle),
            finished_run("best", scores=best),
        )
        assert rate_beside(*runs)["predict_bleu-4"].params["sibling"] == "best"


class TestSpeedBeside:
    """Runs of 20 rows of a second: too short to be compared with themselves, long enough for their speed."""

    @pytest.mark.parametrize(("every_s", "level"), [(0.11, "good"), (0.5, "fair")])
    def test_all_that_is_said(self, every_s, level):
        ratings = rate_beside(finished_run("mine", every_s=every_s), finished_run("other", every_s=0.1))
        share = 100 * 0.1 / every_s
        for name in ("steps_per_s", "samples_per_s"):
            rating = ratings[name]
            assert outcome(rating) == (level, "speed_sibling", "firm")
            assert rating.words == ("speed_as_sibling" if level == "good" else "speed_below_sibling")
            assert rating.params == {
                "share": pytest.approx(share), "slower": pytest.approx(max(0.0, 100 - share)), "sibling": "other",
            }  # fmt: skip

    def test_tokens(self):
        live = finished_run("live", None, tokens=500.0, over=False)
        ratings = rate_beside(live, finished_run("other", tokens=1000.0), now=START + 5)
        assert outcome(ratings["throughput"]) == ("fair", "speed_sibling", "firm")
        assert ratings["throughput"].params["share"] == pytest.approx(50)
        assert ratings["steps_per_s"].level == "good"

    def test_the_fastest(self):
        others = (
            finished_run("slow", every_s=0.2),
            finished_run("fast", every_s=0.05),
            finished_run("middle", every_s=0.1),
        )
        assert rate_beside(finished_run("mine"), *others)["steps_per_s"].params["sibling"] == "fast"

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
        ratings = rate_beside(finished_run("mine"), finished_run("other", every_s=0.05, **config))
        for name, expected in (("steps_per_s", steps), ("samples_per_s", samples)):
            rating = ratings[name]
            assert (rating.confidence if rating.rule == "speed_sibling" else None) == expected

    def test_samples_of_another_batch(self):
        ratings = rate_beside(finished_run("mine"), finished_run("other", every_s=0.05, total_train_batch_size=16))
        assert ratings["samples_per_s"].params["share"] == pytest.approx(25)

    def test_a_run_that_is_long_enough_is_compared_with_itself(self):
        rating = rate_beside(finished_run("mine", rows=40, every_s=2.0), finished_run("other", rows=40, every_s=1.0))[
            "steps_per_s"
        ]
        assert rating.rule == "speed_self"

    def test_while_it_runs(self):
        live = finished_run("live", None, every_s=0.2, over=False)
        rating = rate_beside(live, finished_run("other", every_s=0.1), now=START + 5)["steps_per_s"]
        assert outcome(rating) == ("fair", "speed_sibling", "firm")

    def test_names_without_what_they_share(self):
        ratings = rate_beside(finished_run("a/b/mine", 1.2, every_s=0.2), finished_run("a/c/other", 1.0))
        assert ratings["steps_per_s"].params["sibling"] == "c/other"
        assert ratings["eval_loss"].params["sibling"] == "c/other"
        long = rate_beside(finished_run("mine", 1.2), finished_run("x" * 100, 1.0))["eval_loss"].params["sibling"]
        assert len(long) == 60
