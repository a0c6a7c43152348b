import math
import random

import pytest

from lora_tui.analysis.detectors.spikes import Peak, outlying_peaks
from tests.support.loss_curves import (
    LATER,
    SFT,
    SOON,
    falling_loss,
    find_finding,
    noisy_losses,
    rows_of,
    sft_run,
    the_finding,
    warning_codes,
)
from tests.support.run_builder import run_of, train

TABLE = [1.7242, 1.7449, 1.7348, 1.7085, 1.6944, 1.6718, 1.6553, 1.6578, 1.6391, 1.6110, 1.6138, 1.6030]


def diverges(count=60, at=0.5, to=2.2, noise=0.05, seed=1):
    def level(share):
        return (
            falling_loss(share)
            if share < at
            else falling_loss(at) + (to - falling_loss(at)) * min(1.0, (share - at) / 0.1)
        )

    return noisy_losses(level, count, noise, seed)


class TestDiverging:
    def test_learned_and_lost(self):
        finding = the_finding(sft_run(rows_of(diverges()), checkpoints=(200, 400)), "diverging")
        assert finding.severity == "critical"
        assert 290 <= finding.step <= 350
        assert 200 <= finding.evidence["best_step"] <= 330
        assert finding.evidence["checkpoint"] == "checkpoint-200"
        assert finding.evidence["lr"] == pytest.approx(3e-5)
        assert finding.evidence["now"] > 1.8

    def test_variants(self):
        rows = rows_of(diverges())
        assert the_finding(sft_run(rows), "diverging").variant == "restart"
        full = {**SFT, "finetuning_type": "full"}
        assert the_finding(run_of(rows, config=full, checkpoints=(200,)), "diverging").variant == "full"
        bare = [row._replace(values={"loss": row.values["loss"]}) for row in rows]
        assert the_finding(run_of(bare, config={"stage": "sft"}), "diverging").variant == "plain"

    def test_one_that_came_back_is_over(self):
        losses = noisy_losses(falling_loss, 120, 0.05)
        losses[60:80] = [value * 2.5 for value in losses[60:80]]
        finding = the_finding(sft_run(rows_of(losses)), "diverging")
        assert finding.over
        assert 590 <= finding.step <= 640
        assert 790 <= finding.end_step <= 860

    def test_a_loss_that_became_nan_has_one_cause(self):
        rows = rows_of([*diverges(), *([math.nan] * 8)])
        assert warning_codes(sft_run(rows)) == ["nan_loss"]
        rows = rows_of([*diverges()[:20], math.nan, *diverges()[20:]])
        assert warning_codes(sft_run(rows)) == ["diverging", "nan_loss"]

    def test_silences_spikes(self):
        losses = diverges()
        losses[40] *= 4
        assert warning_codes(sft_run(rows_of(losses))) == ["diverging"]

    def test_a_bump_of_the_warm_up_is_none(self):
        def level(share):
            return 2.0 * (1 + 0.35 * math.exp(-(((share - 0.05) / 0.025) ** 2))) * (1 - 0.4 * share)

        for seed in range(5):
            assert warning_codes(sft_run(rows_of(noisy_losses(level, 200, 0.05, seed)))) == []

    def test_a_resume_starts_anew(self):
        low, high = noisy_losses(falling_loss, 50, 0.03), noisy_losses(lambda _: 1.8, 50, 0.03, 2)
        rows = [train(10 * (i + 1), v, 1000, lr=1e-4) for i, v in enumerate([*low, *high])]
        clock = [row._replace(elapsed_s=float(10 * (i % 50))) for i, row in enumerate(rows)]
        assert warning_codes(sft_run(rows)) == ["diverging"]
        assert warning_codes(sft_run(clock)) == []

    @pytest.mark.parametrize("stage", ["dpo", "kto", "rm", "ppo", "grpo"])
    def test_losses_of_other_stages_have_other_scales(self, stage):
        rows = rows_of([0.5 + 0.5 * (i > 40) + 0.01 * (i % 3) for i in range(80)])
        assert find_finding(run_of(rows, config={"stage": stage}), "diverging") is None


class TestWorseThanStart:
    def explodes(self, noise=0.05, seed=1):
        return noisy_losses(lambda share: 2.6 if share < 0.03 else 5.0 - share, 40, noise, seed)

    def test_from_the_start_on(self):
        finding = the_finding(sft_run(rows_of(self.explodes())), "worse_than_start")
        assert (finding.severity, finding.evidence["first"]) == ("critical", pytest.approx(2.6, rel=0.2))
        assert finding.step <= 40
        assert warning_codes(sft_run(rows_of(self.explodes()))) == ["worse_than_start"]

    def test_one_low_first_row_proves_nothing(self):
        rng = random.Random(3)
        losses = [2.4, *(3.0 * math.exp(rng.gauss(0, 0.15)) for _ in range(40))]
        assert warning_codes(sft_run(rows_of(losses))) == []

    def test_against_chance_where_it_is_known(self):
        losses = noisy_losses(lambda share: 0.693 if share < 0.05 else 1.4, 60, 0.03)
        finding = the_finding(run_of(rows_of(losses), config={"stage": "dpo"}), "worse_than_start")
        assert (finding.variant, finding.evidence["first"]) == ("reference", 0.6931)
        wrong = noisy_losses(lambda share: 1.2 if share < 0.05 else 3.0, 60, 0.03)
        finding = the_finding(run_of(rows_of(wrong), config={"stage": "dpo"}), "worse_than_start")
        assert (finding.variant, finding.evidence["first"]) == ("", pytest.approx(1.2, rel=0.1))

    def test_other_preference_losses_have_no_known_start(self):
        losses = noisy_losses(lambda share: 0.8 + share, 60, 0.02)
        for more in ({"pref_loss": "simpo"}, {"pref_ftx": 0.5}):
            assert warning_codes(run_of(rows_of(losses), config={"stage": "dpo", **more})) == []


class TestSpikes:
    def spiky(self, *places, height=2.5, count=120):
        losses = noisy_losses(falling_loss, count, 0.05)
        for place in places:
            losses[place] *= height
        return rows_of(losses)

    def test_one_is_noted(self):
        finding = the_finding(sft_run(self.spiky(70)), "loss_spike")
        assert (finding.severity, finding.step, finding.variant) == ("info", 710, "")
        assert finding.evidence["height"] == pytest.approx(2.5, rel=0.2)
        assert the_finding(sft_run(self.spiky(118)[:120]), "loss_spike").variant == "fresh"

    def test_several_are_a_warning(self):
        finding = the_finding(sft_run(self.spiky(60, 75, 80, 101)), "loss_spike")
        assert (finding.severity, finding.variant, finding.step) == ("warning", "outlying_peaks", 610)
        assert finding.evidence["steps"] == "610, 760, 810, 1020"
        assert (finding.evidence["count"], finding.evidence["last"]) == (4, 1020)

    def test_they_are_over_after_a_quiet_third(self):
        finding = the_finding(sft_run(self.spiky(60, 75, 80, 101, count=400)), "loss_spike")
        assert (finding.over, finding.end_step) == (True, 1020)

    def test_one_that_stays_is_a_warning(self):
        losses = noisy_losses(falling_loss, 160, 0.04)
        losses[80:] = [value * 1.22 for value in losses[80:]]
        losses[80] *= 1.6
        finding = the_finding(sft_run(rows_of(losses)), "loss_spike")
        assert (finding.severity, finding.variant, finding.step) == ("warning", "lasting", 810)

    def test_heavy_tails_are_noise(self):
        wrong = 0
        for seed in range(60):
            rng = random.Random(seed)
            losses = [
                2.0 * math.exp(0.1 * max(-8, min(8, rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3))))
                for _ in range(300)
            ]
            wrong += "loss_spike" in warning_codes(sft_run(rows_of(losses)))
        assert wrong <= 1

    def test_repeated(self):
        usual = [Peak(0.3 - 0.02 * i, float(i), i) for i in range(9)]
        assert outlying_peaks([Peak(0.9, 50.0, 50), Peak(0.8, 60.0, 60), *usual], 0.2) == []
        several = [Peak(0.9 - 0.05 * i, 50.0 + i, 50 + 5 * i) for i in range(4)]
        assert outlying_peaks([*several, *usual], 0.2) == several
        assert outlying_peaks([*several, *usual], 0.8) == []


class TestStart:
    def test_worse_than_guessing(self):
        rows = rows_of(noisy_losses(lambda share: 12.5 - 4 * share, 40))
        finding = the_finding(sft_run(rows), "broken_base")
        assert (finding.severity, finding.variant, finding.step) == ("warning", "unknown", 10)
        known = run_of(rows, config={**SFT, "vocab_size": 151936})
        assert the_finding(known, "broken_base").evidence["guessing"] == 11.9
        small = run_of(rows_of(noisy_losses(lambda _: 9.0, 40, 0.01)), config={**SFT, "vocab_size": 32000})
        assert the_finding(small, "broken_base").variant == ""

    def test_pre_training_may_begin_there(self):
        rows = rows_of(noisy_losses(lambda share: 11.5 - 4 * share, 40, 0.01))
        assert find_finding(run_of(rows, config={"stage": "pt"}), "broken_base") is None

    def test_a_known_fault_of_transformers(self):
        rows = rows_of(noisy_losses(lambda share: 16.0 - 8 * share, 40))
        old = {**SFT, "transformers_version": "4.46.1", "gradient_accumulation_steps": 8}
        assert the_finding(run_of(rows, config=old), "loss_scale_bug").evidence["accumulation"] == 8
        assert find_finding(run_of(rows, config=old), "broken_base") is None
        new = {**old, "transformers_version": "4.57.1"}
        assert find_finding(run_of(rows, config=new), "loss_scale_bug") is None
        assert find_finding(run_of(rows, config=new), "broken_base") is not None

    def test_a_late_first_row_says_nothing_of_the_start(self):
        rows = [train(500 * (i + 1), 13.0, 5000) for i in range(10)]
        assert find_finding(sft_run(rows), "broken_base") is None


class TestNothing:
    def test_a_table_by_500_steps(self):
        rows = [train(500 * (i + 1), loss, 6250, epochs=1.0, lr=2e-4 - i * 1e-5) for i, loss in enumerate(TABLE)]
        for count in range(1, len(rows) + 1):
            assert warning_codes(sft_run(rows[:count])) == []

    @pytest.mark.parametrize("noise", [0.03, 0.3])
    @pytest.mark.parametrize("count", [20, 40, 300])
    def test_a_healthy_curve(self, count, noise):
        for seed in range(6):
            rows = rows_of(noisy_losses(falling_loss, count, noise, seed))
            for upto in range(1, count + 1, max(1, count // 20)):
                assert warning_codes(sft_run(rows[:upto])) == [], (seed, upto)

    def test_what_is_hardly_a_curve(self):
        losses = [
            [], [1.0], [math.nan] * 3, [0.0] * 30, [1.0] * 30, [-0.1, 0.2, -0.3] * 20, [1.0, math.inf] * 20,
            [1e-300] * 30, [1e300] * 30,
        ]  # fmt: skip
        said = {"nan_loss", "broken_base", "no_learning", "dpo_wrong_start", "interrupted", "worse_than_start"}
        for values in losses:
            for stage in ("sft", "dpo", "ppo"):
                run = run_of(rows_of(values), config={"stage": stage})
                assert set(warning_codes(run, SOON)) | set(warning_codes(run, LATER)) <= said
