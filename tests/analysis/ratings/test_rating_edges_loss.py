"""Where the ratings of the loss turn: on each side of every bound, with all that is said beside the level."""

import pytest

from tests.analysis.ratings.edges import LATER, of, rows_of, said
from tests.support.run_builder import summary

DPO = {"stage": "dpo", "finetuning_type": "lora"}
KTO = {"stage": "kto", "finetuning_type": "lora"}
SFT = {"stage": "sft", "finetuning_type": "lora"}


def loss_of(losses, config=SFT, findings=(), total=None):
    return of(rows_of(losses, total), config, findings)["loss"]


def halves(before, after, count=40):
    return [before] * (count // 2) + [after] * (count - count // 2)


class TestLoss:
    def test_all_that_is_said_of_a_fall(self):
        rating = loss_of(halves(20.0, 15.0))
        assert said(rating) == ("good", "converging", "firm")
        assert (rating.metric, rating.value, rating.basis, rating.rule) == ("loss", 15.0, "base", "loss_trend")
        assert rating.params == {"count": 40, "last": 15.0, "need": 8, "first": 20.0, "now": 15.0, "fall": 25.0}

    def test_five_percent_is_a_fall(self):
        assert loss_of(halves(20.0, 19.0)).words == "converging"
        assert said(loss_of(halves(20.0, 19.02))) == ("fair", "hardly_moves", "firm")

    def test_eight_rows_are_enough(self):
        flat = [2.0, 2.1] * 4
        assert said(loss_of(flat[:7])) == (None, "after_rows", "few")
        assert loss_of(flat[:7]).params == {
            "count": 7, "last": 2.0, "need": 8, "first": 2.0, "now": 2.0, "fall": 0.0,
        }  # fmt: skip
        assert said(loss_of(flat)) == (None, "early", "firm")

    def test_fewer_rows_that_fall_are_rated_as_few(self):
        assert said(loss_of([20.0, 19.0])) == ("good", "converging", "few")
        assert said(loss_of([20.0, 19.02])) == (None, "after_rows", "few")
        assert said(loss_of([20.0, 10.0], DPO)) == (None, "after_rows", "few")
        assert said(loss_of([0.5, 0.3, 0.2], KTO)) == (None, "after_rows", "few")

    def test_thirty_rows_make_hardly_moves_firm(self):
        assert said(loss_of([2.0] * 29)) == (None, "early", "firm")
        assert said(loss_of([2.0] * 30)) == ("fair", "hardly_moves", "firm")
        for count, confidence in ((29, "few"), (30, "firm")):
            rows = [*rows_of([2.0] * count), summary(10 * count, 10 * count)]
            assert said(of(rows, now=LATER, ended=True)["loss"]) == ("fair", "hardly_moves", confidence)

    def test_a_quarter_of_the_way_is_late(self):
        assert said(loss_of([2.0] * 40, total=1600)) == ("fair", "hardly_moves", "firm")
        assert said(loss_of([2.0] * 40, total=1601)) == (None, "early", "firm")
        assert said(loss_of([2.0] * 29, total=580)) == (None, "early", "firm")

    def test_a_loss_of_nothing_falls_no_further(self):
        assert loss_of([0.0] * 40).params["fall"] == 0.0
        assert loss_of([0.0] * 40).level == "fair"
        assert loss_of(halves(-1.0, -2.0)).params["fall"] == 0.0

    @pytest.mark.parametrize("code", ["dead_run", "nan_loss"])
    def test_broken(self, code):
        rating = loss_of(halves(2.0, 1.0), findings={code})
        assert said(rating) == ("poor", "out_of_control", "firm")
        assert rating.params == {"count": 40, "last": 1.0, "need": 8}

    def test_a_jump_to_exactly_nothing_waits(self):
        for before in ([0.1] * 12, [2.0] * 6 + [0.05] * 3 + [0.11] * 3):
            rating = loss_of([*before, 0.0])
            assert said(rating) == (None, "after_rows", "few")
            assert rating.params == {"count": 13, "last": 0.0, "need": 8}
        assert loss_of([*[0.099] * 12, 0.0]).words != "after_rows"
        assert loss_of([*[0.2] * 9, 0.05, 0.05, 0.05, 0.0]).words != "after_rows"
        assert loss_of([*[2.0] * 12, 0.001]).words != "after_rows"

    def test_one_row_of_nothing(self):
        assert loss_of([0.0]).params["fall"] == 0.0
        assert loss_of([0.2, 0.0]).params == {"count": 2, "last": 0.0, "need": 8}

    def test_what_undermines_it(self):
        codes = {"memorised", "loss_scale_bug", "two_writers", "overfitting"}
        rating = loss_of(halves(2.0, 1.0), findings=codes)
        assert rating.reservations == ("memorised", "loss_scale_bug", "two_writers")
        assert loss_of(halves(2.0, 1.0)).reservations == ()

    def test_no_level_where_the_stage_says_nothing(self):
        rating = loss_of(halves(2.0, 1.0), {"stage": "ppo"})
        assert said(rating) == (None, "look_at_reward", "firm")
        assert rating.params == {"count": 40, "last": 1.0, "need": 0}

    def test_above_the_start(self):
        rating = loss_of([2.6, *[4.5] * 40])
        assert said(rating) == ("poor", "above_start", "firm")
        assert rating.params["start"] == 2.6

    def test_diverging(self):
        rating = loss_of([*halves(3.0, 1.0, 60), *[1.5 + 0.02 * i for i in range(20)]])
        assert said(rating) == ("poor", "diverging", "firm")
        assert rating.params["best"] == pytest.approx(1.08, abs=0.01)

    def test_a_tenth_above_its_lowest_is_rising_again(self):
        fallen = [*[3.0] * 5, *[1.0] * 60]
        rating = loss_of([*fallen, *[1.12] * 15])
        assert said(rating) == ("fair", "rising_again", "firm")
        assert rating.params["lowest"] == pytest.approx(1.0, abs=0.01)
        assert loss_of([*fallen, *[1.09] * 15]).words == "converging"

    def test_a_tenth_of_a_small_loss(self):
        fallen = [*[3.0] * 5, *[0.5] * 75]
        assert loss_of([*fallen, *[0.554] * 15]).words == "rising_again"
        assert loss_of([*fallen, *[0.546] * 15]).words == "converging"

    def test_twenty_rows_can_rise_again(self):
        rating = loss_of([*[5.0] * 5, *[1.0] * 10, *[2.6] * 5])
        assert said(rating) == ("fair", "rising_again", "few")
        assert loss_of([*[5.0] * 5, *[1.0] * 9, *[2.6] * 5]).words == "converging"

    def test_a_rise_needs_rows_before_it(self):
        low = [3.0] * 5 + [1.0] * 9
        assert loss_of([*low, *[1.3] * 5]).words == "converging"

    def test_what_its_noise_explains_is_no_rise(self):
        noisy = [1.0 + 0.2 * (-1) ** i for i in range(60)]
        # Six standard errors of a window of five are 1.12 here.
        assert loss_of([*[3.0] * 5, *noisy, *[2.1] * 3]).words == "converging"
        assert loss_of([*[3.0] * 5, *noisy, *[2.2] * 3]).words == "rising_again"
        assert loss_of([*[3.0] * 5, *noisy, *[one + 0.2 for one in noisy[:15]]]).words == "converging"


class TestLossOfOtherStages:
    @pytest.mark.parametrize("stage", ["sft", "pt", "orpo", "simpo"])
    def test_the_course(self, stage):
        rating = loss_of(halves(2.0, 1.0), {"stage": stage})
        assert (said(rating), rating.rule, rating.basis) == (("good", "converging", "firm"), "loss_trend", "base")

    @pytest.mark.parametrize(("stage", "basis"), [("dpo", "rule"), ("rm", "rule"), ("kto", "base")])
    def test_eight_rows(self, stage, basis):
        for count, words in ((7, "after_rows"), (8, "early")):
            rating = loss_of([0.51] * count if stage == "kto" else [0.69] * count, {"stage": stage}, total=10_000)
            assert (rating.words, rating.basis, rating.params["need"]) == (words, basis, 8)

    @pytest.mark.parametrize("stage", ["dpo", "rm", "kto"])
    def test_broken(self, stage):
        assert said(loss_of([0.5] * 40, {"stage": stage}, {"dead_run"})) == ("poor", "out_of_control", "firm")

    @pytest.mark.parametrize("stage", ["ppo", "grpo"])
    def test_nothing_to_tell(self, stage):
        rating = loss_of([0.5] * 40, {"stage": stage})
        assert (said(rating), rating.basis) == ((None, "look_at_reward", "firm"), "rule")


class TestLossOfKto:
    def test_three_percent_is_a_fall(self):
        assert said(loss_of(halves(0.5, 0.485), KTO)) == ("good", "falling", "firm")
        assert said(loss_of(halves(0.5, 0.486), KTO)) == ("fair", "level", "firm")

    def test_above_what_knows_nothing(self):
        assert said(loss_of(halves(0.5, 0.5501), KTO)) == ("poor", "worse_than_reference", "firm")
        assert said(loss_of(halves(0.57, 0.55), KTO)) == ("good", "falling", "firm")

    def test_a_third_of_the_way_is_late(self):
        assert loss_of([0.5] * 30, KTO, total=1000).level == "fair"
        assert said(of([row._replace(total_steps=None) for row in rows_of([0.5] * 30)], KTO)["loss"])[1] == "early"
        assert said(loss_of([0.5] * 30, KTO, total=1001)) == (None, "early", "firm")


class TestLossOfPreferences:
    @pytest.mark.parametrize(
        ("end", "level", "words"),
        [
            (0.649, "good", "preference_learned"), (0.65, "fair", "near_chance"),
            (0.75, "fair", "near_chance"), (0.751, "poor", "worse_than_reference"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("stage", ["dpo", "rm"])
    def test_bounds(self, end, level, words, stage):
        rating = loss_of(halves(0.69, end), {"stage": stage})
        assert said(rating) == (level, words, "firm")
        assert (rating.basis, rating.rule) == ("rule", "loss_preference")

    def test_late(self):
        assert loss_of([0.69] * 30, DPO, total=1000).level == "fair"
        assert said(loss_of([0.69] * 30, DPO, total=1001)) == (None, "early", "firm")

    @pytest.mark.parametrize("start", [0.6, 0.78])
    def test_it_starts_at_the_logarithm_of_two(self, start):
        assert loss_of([start, *[0.5] * 39], DPO).level == "good"

    @pytest.mark.parametrize("start", [0.599, 0.781])
    def test_what_starts_elsewhere_has_its_course_alone(self, start):
        assert said(loss_of(halves(start, 0.5), DPO)) == (None, "falling", "firm")
        assert said(loss_of(halves(start, 0.5), {"stage": "rm"})) == ("good", "preference_learned", "firm")

    @pytest.mark.parametrize(
        "options", [{"pref_ftx": 0.1}, {"pref_loss": "ipo"}, {"pref_loss": "hinge"}, {"pref_loss": ("ipo", "hinge")}]
    )
    def test_another_loss_has_its_course_alone(self, options):
        assert said(loss_of(halves(0.7, 0.5), {**DPO, **options})) == (None, "falling", "firm")
        # 3 % or less is no fall.
        assert said(loss_of(halves(0.7, 0.68), {**DPO, **options})) == (None, "level", "firm")
        assert said(loss_of(halves(0.7, 0.676), {**DPO, **options})) == (None, "falling", "firm")

    def test_three_percent_exactly_is_no_fall(self):
        assert loss_of(halves(100.0, 97.0), DPO).words == "level"

    @pytest.mark.parametrize("options", [{"pref_ftx": 0.0}, {"pref_loss": "sigmoid"}, {"pref_loss": ("sigmoid",)}])
    def test_the_usual_loss_said_aloud(self, options):
        assert loss_of(halves(0.7, 0.5), {**DPO, **options}).level == "good"
