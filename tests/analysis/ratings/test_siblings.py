"""Ratings of a run against its siblings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lora_tui.i18n import Words
from lora_tui.records.updates import Batch, RunUpdates
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
