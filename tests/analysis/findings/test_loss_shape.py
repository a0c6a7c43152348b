import math

import pytest

from tests.support.loss_curves import (
    LATER,
    SFT,
    falling_loss,
    find_finding,
    noisy_losses,
    rows_of,
    sft_run,
    the_finding,
    with_evals,
)
from tests.support.run_builder import run_of, summary, train

TIMID = {"stage": "sft", "finetuning_type": "lora"}


def constant(losses, *, lr=1e-4, epochs=1.0):
    total = 10 * len(losses)
    return [train(10 * (i + 1), value, total, epochs=epochs, lr=lr) for i, value in enumerate(losses)]


def ended(rows, **more):
    return sft_run([*rows, summary(rows[-1].step, rows[-1].total_steps)], ended=True, **more)


class TestNoLearning:
    def test_a_learning_rate_that_is_far_too_low(self):
        finding = the_finding(
            run_of(constant(noisy_losses(lambda _: 2.0, 60, 0.08), lr=1e-8), config=TIMID), "no_learning"
        )
        assert (finding.severity, finding.variant, finding.step) == ("warning", "slow", 10)
        assert finding.evidence["usual"] == 2e-5
        assert abs(finding.evidence["change"]) < 6

    def test_with_a_usual_one_only_what_is_surely_flat(self):
        assert find_finding(sft_run(constant(noisy_losses(lambda _: 2.0, 60, 0.08))), "no_learning") is None
        finding = the_finding(sft_run(constant(noisy_losses(lambda _: 2.0, 300, 0.02))), "no_learning")
        assert finding.variant == ""

    def test_a_fast_learner_has_done_its_work_in_the_first_rows(self):
        for lr in (1e-8, 1e-4):
            losses = noisy_losses(lambda share: 1.5 + math.exp(-200 * share), 300, 0.02)
            assert find_finding(run_of(constant(losses, lr=lr), config=TIMID), "no_learning") is None

    def test_not_before_a_part_of_the_run(self):
        rows = constant(noisy_losses(lambda _: 2.0, 400, 0.02), lr=1e-8)
        assert find_finding(run_of(rows[:100], config=TIMID), "no_learning") is None
        assert find_finding(run_of(rows[:180], config=TIMID), "no_learning") is not None

    def test_a_base_that_knows_it_already(self):
        assert find_finding(sft_run(constant(noisy_losses(lambda _: 0.2, 300, 0.02))), "no_learning") is None

    def test_a_resumed_run_is_judged_from_its_start(self):
        losses = [*noisy_losses(falling_loss, 150, 0.01), *noisy_losses(lambda _: 1.0, 150, 0.01, 2)]
        rows = [row._replace(elapsed_s=float(i % 150)) for i, row in enumerate(constant(losses))]
        assert find_finding(sft_run(rows), "resumed") is not None
        assert find_finding(sft_run(rows), "no_learning") is None


class TestPlateau:
    def test_level_while_the_learning_rate_is_high(self):
        finding = the_finding(
            sft_run(constant(noisy_losses(lambda share: max(1.0, 2.5 - 5 * share), 200, 0.03))), "plateau"
        )
        assert (finding.severity, finding.evidence["lr"]) == ("info", 1e-4)
        assert finding.evidence["level"] == pytest.approx(1.0, rel=0.03)
        assert 800 < finding.step < 1300

    def test_not_where_it_still_falls_nor_at_the_end_of_a_schedule(self):
        assert (
            find_finding(sft_run(constant(noisy_losses(lambda share: 2.5 - 1.5 * share, 200, 0.03))), "plateau") is None
        )
        level = noisy_losses(lambda share: max(1.0, 2.5 - 5 * share), 200, 0.03)
        assert find_finding(sft_run(rows_of(level)), "plateau") is None


class TestUnderfitted:
    def test_by_the_evaluations(self):
        rows = with_evals(constant(noisy_losses(falling_loss, 60)), [1.8, 1.6, 1.5, 1.4])
        finding = the_finding(ended(rows), "underfitted", LATER)
        assert (finding.variant, finding.evidence["drop"]) == ("eval", pytest.approx(6.7, abs=0.1))
        assert find_finding(sft_run(rows), "underfitted") is None

    def test_a_schedule_that_ends_at_zero_flattens_every_curve(self):
        losses = noisy_losses(falling_loss, 60)
        decayed = [
            row._replace(values={**row.values, "lr": 1e-4 * (1 - i / 60)}) for i, row in enumerate(constant(losses))
        ]
        evals = [1.8, 1.6, 1.5, 1.47]
        assert find_finding(ended(with_evals(constant(losses), evals)), "underfitted", LATER) is not None
        assert find_finding(ended(with_evals(decayed, evals)), "underfitted", LATER) is None

    def test_by_the_loss_without_any(self):
        losses = noisy_losses(lambda share: 3 - 1.8 * share, 120, 0.04)
        assert the_finding(ended(constant(losses)), "underfitted", LATER).variant == ""
        assert find_finding(ended(rows_of(noisy_losses(lambda _: 1.0, 120))), "underfitted", LATER) is None


class TestStaircase:
    def stairs(self, drop, epochs=4, noise=0.04):
        return constant(
            noisy_losses(lambda s: 2.5 * (1 - drop) ** int(s * epochs - 1e-9), 40 * epochs, noise), epochs=epochs
        )

    def test_falls_at_epochs(self):
        finding = the_finding(sft_run(self.stairs(0.25)), "staircase")
        assert finding.severity == "info"
        assert finding.evidence["count"] == 3
        assert finding.evidence["fall"] == pytest.approx(25, abs=4)
        assert finding.step == 400

    def test_none(self):
        assert find_finding(sft_run(self.stairs(0.03)), "staircase") is None
        assert find_finding(sft_run(constant(noisy_losses(falling_loss, 160, 0.04), epochs=4.0)), "staircase") is None
        assert find_finding(run_of(self.stairs(0.25), config={**SFT, "stage": "pt"}), "staircase") is None
