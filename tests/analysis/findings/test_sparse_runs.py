"""Findings of runs whose files tell little: no losses, no steps, no stage, values that are no numbers."""

from __future__ import annotations

import math

import pytest

from lora_tui.analysis.findings.find import find
from lora_tui.records.documents import ConsoleFacts, Failure, LogRow, TrainerState
from lora_tui.records.updates import FileDoc, FileRows
from lora_tui.runs.run import Run
from tests.analysis.findings.test_train_loss import diverges
from tests.support.checkpoint_runs import falling_rows, finding_codes, run_with_checkpoints
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
    with_evals,
)
from tests.support.run_builder import START, evaluation, run_of, summary, train

TURNS = [2.0, 1.6, 1.4, 1.3, 1.33, 1.38, 1.45]


class TestOverfitting:
    def test_by_the_evaluations_alone(self):
        evals = [evaluation(120 * (at + 1), value, 840) for at, value in enumerate(TURNS)]
        evidence = the_finding(sft_run(evals), "overfitting").evidence
        assert evidence["best_step"] == 480
        assert not {"train_then", "train_now"} & set(evidence)

    def test_an_evaluation_that_is_no_number_is_left_out(self):
        # Of two evaluations that are not above the best there is only one: it is not over yet.
        goes_on = with_evals(rows_of(noisy_losses(falling_loss, 120)), [*TURNS, 1.31, math.nan, 1.5])
        turned = [one for one in find(sft_run(goes_on), SOON) if one.code == "overfitting"]
        assert [(one.over, one.step, one.evidence["last_eval_loss"]) for one in turned] == [(False, 600, 1.5)]
        values = [*TURNS[:4], math.nan, *TURNS[4:]]
        evidence = the_finding(
            sft_run(with_evals(rows_of(noisy_losses(falling_loss, 96)), values)), "overfitting"
        ).evidence
        assert (evidence["best_eval_loss"], evidence["last_eval_loss"]) == (1.3, 1.45)

    @pytest.mark.parametrize(("stage", "metric"), [("dpo", "eval_rewards/accuracies"), ("rm", "eval_accuracy")])
    def test_preferences_are_accused_only_where_an_accuracy_says_so(self, stage, metric):
        def run(*accuracies):
            log = [train(10 * (i + 1), 0.5, 600, lr=1e-5) for i in range(60)]
            for i, loss in enumerate([0.6, 0.5, 0.45, 0.5, 0.55, 0.6]):
                row = evaluation(100 * (i + 1), loss, 600)
                told = {metric: accuracies[i]} if accuracies else {}
                log.append(row._replace(values={**row.values, **told}))
            return run_of(sorted(log, key=lambda row: row.step or 0), config={"stage": stage})

        assert find_finding(run(), "overfitting") is None
        assert find_finding(run(0.6, 0.65, 0.7, 0.72, 0.74, 0.75), "overfitting") is None
        assert find_finding(run(0.6, 0.65, 0.7, 0.66, 0.64, 0.6), "overfitting") is not None


class TestMemorised:
    def test_with_an_evaluation_after_training_only(self):
        log = rows_of(noisy_losses(lambda share: 0.02 + math.exp(-8 * share), 100, 0.02), epochs=8.0)
        run = sft_run([*log, summary(1000, 1000, epochs=8.0)], results={"eval": {"eval_loss": 2.5}}, ended=True)
        finding = the_finding(run, "memorised", LATER)
        assert (finding.variant, finding.evidence["eval_loss"]) == ("eval", 2.5)
        assert "best_eval_loss" not in finding.evidence


def test_no_gap_no_healthy_fit():
    """Two train rows are no level that the evaluation could be near."""

    def run(every):
        log = [train(step, 2 - step / 400, 300) for step in range(every, 301, every)]
        log += [evaluation(step, 2.02 - step / 400, 300) for step in (100, 200, 300)]
        return sft_run([*sorted(log, key=lambda row: row.step or 0), summary(300, 300)], ended=True)

    assert find_finding(run(10), "healthy_fit", LATER) is not None
    assert find_finding(run(150), "healthy_fit", LATER) is None


class TestWithoutAStage:
    def run(self, **more: float) -> Run:
        log = [row._replace(values={**row.values, **more}) for row in rows_of(diverges())]
        run = Run(run_of([]).path)
        run.apply([FileDoc("trainer_state.json", TrainerState(max_steps=1200, rows=tuple(log)), START)])
        return run

    def test_a_loss_is_judged_as_that_of_a_language_model(self):
        assert self.run().stage is None
        assert find_finding(self.run(), "diverging") is not None

    def test_but_not_beside_a_reward(self):
        """The loss of reinforcement learning has no level."""
        assert self.run(reward=0.5).stage == "ppo"
        assert find_finding(self.run(reward=0.5), "diverging") is None

    def test_a_loss_below_zero_has_no_ratios(self):
        lower = [value - 1.5 for value in diverges()]
        run = Run(run_of([]).path)
        run.apply([FileDoc("trainer_state.json", TrainerState(max_steps=1200, rows=tuple(rows_of(lower))), START)])
        assert find_finding(run, "diverging") is None
        assert find_finding(self.run(), "diverging") is not None


def test_a_loss_that_began_as_no_number():
    """Nothing is known of the untouched model, and what came after is judged."""
    losses = [math.nan] * 5 + noisy_losses(
        lambda share: falling_loss(share) if share < 0.5 else 1.0 + 6 * (share - 0.5), 115, 0.03
    )
    seen = {one.code for one in find(sft_run(rows_of(losses)), SOON)}
    assert "nan_loss" in seen
    assert "worse_than_start" not in seen


def test_rewards_of_a_resumed_run_are_measured_from_there():
    def log(*values: tuple[int, float, float]) -> Run:
        made = [
            train(step, 0.1, 2000, lr=1e-6, reward=reward)._replace(elapsed_s=clock) for step, reward, clock in values
        ]
        return run_of(made, config={"stage": "ppo"})

    falls = [(10 * (i + 1), 1.0 - 0.02 * i + 0.05 * (i % 3), 10.0 * i) for i in range(80)]
    level = [(800 + 10 * (i + 1), -0.6 + 0.05 * (i % 3), 10.0 * i) for i in range(40)]
    assert not the_finding(log(*falls), "reward_falling").over
    resumed = the_finding(log(*falls, *level), "reward_falling")
    assert (resumed.over, resumed.end_step) == (True, 810)
    without = [(step, reward, 800.0 + clock) if step > 800 else (step, reward, clock) for step, reward, clock in level]
    assert not the_finding(log(*falls, *without), "reward_falling").over


class TestWithoutSteps:
    """A console log of plain metric lines counts no steps."""

    def run(self, failure: Failure) -> Run:
        log = [LogRow("train", None, {"loss": 2.0 - 0.01 * at}, epoch=0.01 * at) for at in range(30)]
        run = Run(run_of([]).path)
        run.apply([FileRows("train.log", "console", tuple(log), START)])
        run.apply([FileDoc("train.log", ConsoleFacts(is_training_log=True, failure=failure), START)])
        return run

    @pytest.mark.parametrize(
        ("failure", "code", "variant"),
        [
            (Failure("exception", "RuntimeError: boom"), "failed", "no_step"),
            (Failure("interrupted", "KeyboardInterrupt"), "interrupted", "asked_no_step"),
            (Failure("terminated", "SIGTERM"), "interrupted", "terminated_no_step"),
        ],
    )
    def test_how_it_ended(self, failure, code, variant):
        finding = the_finding(self.run(failure), code)
        assert (finding.variant, finding.step) == (variant, None)


def test_nobody_can_tell_whether_a_checkpoint_of_ppo_is_whole_so_none_is_missed():
    def missed(stage):
        log = [row._replace(elapsed_s=60.0 * (row.step or 0)) for row in falling_rows(600, 20_000)]
        run, now = run_with_checkpoints(log, config={"stage": stage})
        return "work_at_risk" in finding_codes(run, now)

    assert missed("sft")
    assert not missed("ppo")


def test_a_version_with_the_fault_whose_loss_is_usual():
    """transformers 4.46 to 4.49 multiplied the loss by the accumulation; not in every trainer."""

    def run(first: float) -> Run:
        log = with_evals(
            rows_of(noisy_losses(lambda share: first * falling_loss(share) / falling_loss(0), 40)), [2.2, 1.9]
        )
        return run_of(log, config={**SFT, "transformers_version": "4.46.1", "gradient_accumulation_steps": 8})

    assert find_finding(run(2.5), "loss_scale_bug") is None
    assert find_finding(run(9.5), "loss_scale_bug") is not None
