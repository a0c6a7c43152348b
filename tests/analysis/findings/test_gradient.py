import math
import random

import pytest

from tests.support.loss_curves import falling_loss, find_finding, noisy_losses, sft_run, the_finding, warning_codes
from tests.support.run_builder import train


def rows_with(norms, losses=None):
    losses = losses or noisy_losses(falling_loss, len(norms))
    total = 10 * len(norms)
    return [
        train(10 * (i + 1), loss, total, lr=1e-4, grad_norm=norm)
        for i, (loss, norm) in enumerate(zip(losses, norms, strict=True))
    ]


def usual(count, level=1.0, spread=0.4, seed=1):
    rng = random.Random(seed)
    return [level * math.exp(rng.gauss(0, spread)) for _ in range(count)]


class TestExplosion:
    def test_many_far_above_the_usual(self):
        norms = usual(80)
        for row in (50, 53, 54, 58):
            norms[row] = 60.0
        finding = the_finding(sft_run(rows_with(norms)[:62]), "grad_explosion")
        assert (finding.severity, finding.step, finding.evidence["count"]) == ("warning", 510, 4)
        assert finding.evidence["usual"] == pytest.approx(1.0, rel=0.3)
        assert finding.evidence["highest"] == 60.0
        assert finding.evidence["lr"] == pytest.approx(3e-5)
        over = the_finding(sft_run(rows_with([*norms, *usual(60, seed=2)])), "grad_explosion")
        assert (over.over, over.step) == (True, 510)
        assert 700 < over.end_step < 900

    def test_a_level_that_has_risen(self):
        norms = [*usual(60), *usual(60, 40.0, seed=2)]
        assert not the_finding(sft_run(rows_with(norms)), "grad_explosion").over

    def test_two_are_chance(self):
        norms = usual(80)
        norms[50] = norms[53] = 60.0
        assert find_finding(sft_run(rows_with(norms)), "grad_explosion") is None

    def test_norms_below_ten_are_clipped_at_worst(self):
        norms = usual(80, 0.1)
        for row in (50, 53, 54, 58):
            norms[row] = 6.0
        assert find_finding(sft_run(rows_with(norms)), "grad_explosion") is None

    def test_the_start_is_wild(self):
        norms = [*usual(6, 40.0), *usual(114)]
        assert warning_codes(sft_run(rows_with(norms))) == []

    def test_nan_counts(self):
        norms = usual(80)
        norms[60:64] = [math.nan] * 4
        assert the_finding(sft_run(rows_with(norms)[:70]), "grad_explosion").evidence["count"] == 4

    def test_a_diverged_run_has_one_cause(self):
        norms = [*usual(50), *usual(50, 50.0)]
        losses = [*noisy_losses(falling_loss, 50), *noisy_losses(lambda _: 4.0, 50)]
        assert warning_codes(sft_run(rows_with(norms, losses))) == ["diverging"]

    def test_healthy(self):
        wrong = sum(
            "grad_explosion" in warning_codes(sft_run(rows_with(usual(200, 2.0, 0.5, seed)))) for seed in range(40)
        )
        assert wrong == 0
