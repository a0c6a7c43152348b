import math
import random

import pytest

from lora_tui.analysis.findings.eval_loss import eval_noise
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
from tests.support.run_builder import evaluation, run_of, summary, train

TURNS = [2.0, 1.6, 1.4, 1.3, 1.33, 1.38, 1.45]


def turned(values=TURNS, count=84, **more):
    return with_evals(rows_of(noisy_losses(falling_loss, count, 0.05)), values, **more)


class TestOverfitting:
    def test_the_eval_loss_rises_while_the_train_loss_falls(self):
        finding = the_finding(sft_run(turned(), checkpoints=(480, 840)), "overfitting")
        assert (finding.severity, finding.step, finding.variant) == ("warning", 600, "")
        assert (finding.evidence["best_step"], finding.evidence["checkpoint"]) == (480, "checkpoint-480")
        assert finding.evidence["rise"] == pytest.approx(11.5, abs=0.1)
        assert finding.evidence["train_now"] < finding.evidence["train_then"]
        assert the_finding(sft_run(turned(), checkpoints=(840,)), "overfitting").variant == "no_checkpoint"

    def test_not_before_two_evaluations_are_worse(self):
        rows = turned()
        seen = [find_finding(sft_run(rows[:count]), "overfitting") is not None for count in range(1, len(rows) + 1)]
        evals = [i for i, row in enumerate(rows) if row.kind == "eval"]
        assert seen.index(True) == evals[5]
        assert all(seen[evals[5] :])

    def test_one_that_falls_again_is_over(self):
        finding = the_finding(sft_run(turned([2.0, 1.4, 1.5, 1.58, 1.3, 1.2, 1.15])), "overfitting")
        assert (finding.over, finding.step, finding.end_step) == (True, 360, 600)

    def test_a_lone_dip_is_no_turn(self):
        assert find_finding(sft_run(turned([2.0, 1.6, 1.42, 1.40, 1.32, 1.40, 1.402])), "overfitting") is None

    def test_what_rises_with_the_train_loss_is_another_matter(self):
        losses = noisy_losses(lambda share: falling_loss(share) if share < 0.5 else 1.3 + 3 * (share - 0.5), 84)
        rows = with_evals(rows_of(losses), [1.9, 1.5, 1.2, 1.2, 1.5, 1.8, 2.1])
        assert find_finding(sft_run(rows), "overfitting") is None

    def test_a_resume_on_another_eval_set(self):
        rows = with_evals(rows_of(noisy_losses(falling_loss, 80)), [2.0, 1.5, 1.3, 1.2, 1.6, 1.59, 1.58, 1.57])
        clock = [row._replace(elapsed_s=float((row.step or 0) % 405)) for row in rows]
        assert find_finding(sft_run(rows), "overfitting") is not None
        assert find_finding(sft_run(clock), "resumed") is not None
        assert find_finding(sft_run(clock), "overfitting") is None

    def test_preference_runs_need_the_accuracy(self):
        def run(accuracies):
            rows = [train(10 * (i + 1), 0.5, 600, lr=1e-5) for i in range(60)]
            for i, (loss, sure) in enumerate(zip([0.6, 0.5, 0.45, 0.5, 0.55, 0.6], accuracies, strict=True)):
                row = evaluation(100 * (i + 1), loss, 600)
                rows.append(row._replace(values={**row.values, "eval_rewards/accuracies": sure}))
            return run_of(sorted(rows, key=lambda row: row.step or 0), config={"stage": "dpo"})

        assert find_finding(run([0.6, 0.65, 0.7, 0.72, 0.74, 0.75]), "overfitting") is None
        assert find_finding(run([0.6, 0.65, 0.7, 0.66, 0.64, 0.6]), "overfitting") is not None

    def test_healthy_evaluations(self):
        """That wiggle by 1 % of their value around a curve that flattens."""
        wrong = 0
        for seed in range(150):
            rng = random.Random(seed)
            count = rng.randint(3, 20)
            evals = [(1 + 0.8 * math.exp(-5 * i / count)) * math.exp(rng.gauss(0, 0.01)) for i in range(count)]
            wrong += find_finding(sft_run(turned(evals)), "overfitting") is not None
        assert wrong <= 3

    def test_noise(self):
        rng = random.Random(1)
        assert eval_noise([1 + rng.gauss(0, 0.02) for _ in range(25)]) == pytest.approx(0.02, rel=0.5)
        steep = [3.0, 2.0, 1.5, 1.3, 1.2, 1.15]
        assert eval_noise(steep) < 0.015


class TestBetterCheckpoint:
    def test_is_named(self):
        rows = turned([2.0, 1.6, 1.4, 1.30, 1.31, 1.32, 1.325])
        finding = the_finding(sft_run(rows, checkpoints=(480,)), "better_checkpoint")
        assert (finding.severity, finding.step, finding.evidence["checkpoint"]) == ("info", 480, "checkpoint-480")
        assert find_finding(sft_run(rows), "better_checkpoint") is None

    def test_overfitting_says_it_already(self):
        assert find_finding(sft_run(turned(), checkpoints=(480,)), "better_checkpoint") is None


class TestGap:
    def test_only_the_train_loss_falls(self):
        rows = rows_of(noisy_losses(lambda share: 2 - 1.5 * share, 84))
        finding = the_finding(sft_run(with_evals(rows, [2.0, 1.6, 1.41, 1.40, 1.40, 1.40, 1.40])), "gap_widening")
        assert finding.severity == "info"
        assert finding.evidence["train_now"] < finding.evidence["train_then"]

    def test_not_where_both_do_or_neither(self):
        assert find_finding(sft_run(turned([2.0, 1.7, 1.5, 1.4, 1.3, 1.2, 1.1])), "gap_widening") is None
        level = with_evals(rows_of(noisy_losses(lambda _: 1.0, 84)), [1.1] * 7)
        assert find_finding(sft_run(level), "gap_widening") is None


class TestMemorised:
    def test_opens_and_closes_slowly(self):
        """A loss that hangs around the bound does not blink."""
        losses = [
            *noisy_losses(lambda share: 2.0 * math.exp(-8 * share) + 0.04, 80, 0.1),
            *noisy_losses(lambda _: 0.05, 60, 0.15, 2),
        ]
        rows = [train(10 * (i + 1), value, 1400, epochs=20.0, lr=1e-4) for i, value in enumerate(losses)]
        seen = "".join("x" if find_finding(sft_run(rows[:count]), "memorised") else "." for count in range(20, 140))
        assert seen.count(".x") == 1
        assert seen.count("x.") == 0

    def test_step(self):
        losses = noisy_losses(lambda share: 2.0 * math.exp(-8 * share) + 0.01, 80, 0.1)
        rows = [train(10 * (i + 1), value, 800, epochs=20.0) for i, value in enumerate(losses)]
        assert 400 < the_finding(sft_run(rows), "memorised").step < 700


def test_a_diverged_run_is_no_healthy_fit():
    rows = with_evals(rows_of(noisy_losses(lambda s: falling_loss(s) if s < 0.5 else 2.6, 80)), [2.4, 2.2, 2.1, 2.0])
    run = run_of([*rows, summary(800, 800)], config=SFT, ended=True)
    assert find_finding(run, "healthy_fit", LATER) is None
    assert find_finding(run, "diverging", LATER) is not None
