"""Findings of a job's settings."""

from __future__ import annotations

import pytest

from tests.support.checkpoint_runs import finding_codes, only_finding
from tests.support.run_builder import START, evaluation, run_of, summary, train

NOW = START + 3
ENDED = START + 100_000


def log(count=30, total=300, lr=lambda share: 1e-4 * (1 - share), **more):
    found = []
    for i in range(1, count + 1):
        extra = {name: make(i) for name, make in more.items()}
        found.append(train(10 * i, 2.0 - i / count, total, lr=lr(i / (total / 10)), **extra))
    return found


def setting(lr, method="lora", stage="sft", **more):
    rows = log(lr=lambda share: lr * (1 - share))
    return run_of(rows, config={"learning_rate": lr, "finetuning_type": method, "stage": stage, **more})


class TestLearningRate:
    @pytest.mark.parametrize(
        ("lr", "method", "stage", "variant"),
        [(3e-3, "lora", "sft", "high"), (1e-6, "lora", "sft", "low"), (1e-3, "full", "sft", "high"),
         (5e-4, "lora", "dpo", "high"), (1e-3, "lora", "rm", "high")],
    )  # fmt: skip
    def test_far_outside(self, lr, method, stage, variant):
        one = only_finding(setting(lr, method, stage), "lr_unusual", NOW)
        assert (one.severity, one.variant, one.evidence["lr"]) == ("info", variant, lr)

    @pytest.mark.parametrize(
        ("lr", "method", "stage"),
        [
            (1e-4, "lora", "sft"),
            (2e-4, "qlora", "sft"),
            (1e-3, "lora", "sft"),
            (1e-5, "full", "sft"),
            (5e-6, "lora", "dpo"),
        ],
    )
    def test_usual(self, lr, method, stage):
        assert "lr_unusual" not in finding_codes(setting(lr, method, stage), NOW)

    def test_not_while_it_warms_up(self):
        for count in (1, 2, 5):
            rising = log(count, 300, lr=lambda share: 1e-6 * share)
            assert "lr_unusual" not in finding_codes(
                run_of(rising, config={"finetuning_type": "lora", "stage": "sft"}), NOW
            )

    def test_too_high_already_while_it_warms_up(self):
        rising = log(3, 300, lr=lambda share: 0.3 * share)
        assert "lr_unusual" in finding_codes(run_of(rising, config={"finetuning_type": "lora", "stage": "sft"}), NOW)

    def test_the_peak_that_was_seen(self):
        run = run_of(log(lr=lambda share: 4e-3 * (1 - share)), config={"finetuning_type": "lora", "stage": "sft"})
        assert only_finding(run, "lr_unusual", NOW).evidence["times"] == pytest.approx(7.7, abs=0.1)

    def test_of_a_method_that_is_not_known_both_ranges_count(self):
        run = run_of(log(lr=lambda share: 2e-6 * (1 - share)), config={"learning_rate": 2e-6, "stage": "sft"})
        assert "lr_unusual" not in finding_codes(run, NOW)

    def test_beside_what_it_explains_it_is_a_warning(self):
        rows = [train(10 * i, 2.0, 400, lr=0.3) for i in range(1, 5)]
        rows += [train(10 * i, 6.0 + 0.1 * (i % 3), 400, lr=0.3) for i in range(5, 40)]
        run = run_of(rows, config={"learning_rate": 0.3, "finetuning_type": "lora", "stage": "sft"})
        assert "worse_than_start" in finding_codes(run, NOW)
        assert only_finding(run, "lr_unusual", NOW).severity == "warning"

    def test_nothing_where_it_has_ended_well(self):
        rows = [*log(60, 600, lr=lambda share: 3e-3 * (1 - share)), summary(600, 600)]
        rows += [evaluation(step, value, 600) for step, value in ((200, 1.8), (400, 1.4), (600, 1.02))]
        rows.sort(key=lambda row: (row.step, row.kind))
        run = run_of(rows, ended=True, config={"learning_rate": 3e-3, "finetuning_type": "lora", "stage": "sft"})
        assert "healthy_fit" in finding_codes(run, ENDED)
        assert "lr_unusual" not in finding_codes(run, ENDED)


class TestSchedule:
    def test_down_before_the_end(self):
        run = run_of(log(30, 600, lr=lambda share: max(0.0, 1e-4 * (1 - share * 2.5))))
        one = only_finding(run, "schedule_mismatch", NOW)
        assert (one.severity, one.variant, one.step) == ("warning", "", 240)

    def test_never_above_zero(self):
        one = only_finding(run_of(log(20, 100, lr=lambda _: 0.0)), "schedule_mismatch", NOW)
        assert (one.severity, one.variant) == ("warning", "never")

    @pytest.mark.parametrize(
        "lr",
        [
            lambda share: 1e-4 * (1 - share),
            lambda _: 1e-4,
            lambda share: 1e-4 * max(0.0, 1 - share) if share < 0.99 else 0.0,
            lambda share: 1e-4 * abs(1 - 4 * share % 2) if share % 0.25 else 0.0,
            lambda share: max(1e-6, 1e-4 * (1 - 2 * share)),
        ],
        ids=["linear", "constant", "zero at the end", "restarts", "lower bound"],
    )
    def test_usual_ones(self, lr):
        for count in (3, 10, 20, 30):
            assert "schedule_mismatch" not in finding_codes(run_of(log(count, 300, lr=lr)), NOW)

    def test_a_warm_up_that_begins_at_zero(self):
        assert "schedule_mismatch" not in finding_codes(run_of(log(3, 300, lr=lambda _: 0.0)), NOW)


class TestParameters:
    def of(self, tokens, params, stage="pt", method="lora", **more):
        rows = log(total_tokens=lambda i: tokens * 3 * i / 30)
        config = {"stage": stage, "finetuning_type": method, "trainable_params": params, **more}
        return run_of(rows, config=config)

    def test_too_few_for_a_pass(self):
        one = only_finding(self.of(90_000_000, 20_000_000), "few_trainable_parameters", NOW)
        assert one.severity == "info"
        assert one.evidence["tokens"] == pytest.approx(9e7, rel=0.01)

    def test_enough(self):
        assert "few_trainable_parameters" not in finding_codes(self.of(39_000_000, 20_000_000), NOW)

    def test_a_small_share_of_parameters_alone_says_nothing(self):
        run = self.of(1_000_000, 4_000_000, trainable_percent=0.05)
        assert "few_trainable_parameters" not in finding_codes(run, NOW)

    def test_prompts_are_not_learned(self):
        assert "few_trainable_parameters" not in finding_codes(self.of(150_000, 27_000, stage="sft"), NOW)
        assert "few_trainable_parameters" in finding_codes(self.of(300_000, 27_000, stage="sft"), NOW)

    def test_no_adapter(self):
        assert "few_trainable_parameters" not in finding_codes(self.of(90_000_000, 20_000_000, method="full"), NOW)


class TestPadding:
    def of(self, effective, devices=1):
        rows = [*log(total_tokens=lambda i: 100_000.0 * i), summary(300, 300)]
        results = {"train": {"train_loss": 1.0, "train_runtime": 300.0, "effective_tokens_per_sec": effective}}
        return run_of(rows, ended=True, results=results, config={"num_devices": devices})

    def test_most_is_padding(self):
        one = only_finding(self.of(3000.0), "padding_waste", ENDED)
        assert (one.severity, one.evidence["percent"]) == ("info", 70)

    def test_the_rate_is_of_one_device(self):
        assert "padding_waste" not in finding_codes(self.of(3000.0, devices=2), ENDED)

    def test_little_is(self):
        assert "padding_waste" not in finding_codes(self.of(6000.0), ENDED)
