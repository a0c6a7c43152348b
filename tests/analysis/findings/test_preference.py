import pytest

from tests.support.loss_curves import SOON, find_finding, noisy_losses, rows_of, the_finding, warning_codes
from tests.support.run_builder import run_of, train


def series(stage, values, **more):
    rows = [train(10 * (i + 1), 0.1, 10 * len(values), lr=1e-6, **value) for i, value in enumerate(values)]
    return run_of(rows, config={"stage": stage, **more})


class TestStart:
    def run(self, first, **more):
        return run_of(
            rows_of(noisy_losses(lambda share: first - 0.2 * share, 40, 0.01)), config={"stage": "dpo", **more}
        )

    @pytest.mark.parametrize("first", [0.5, 0.9, 4.9])
    def test_wrong(self, first):
        finding = the_finding(self.run(first), "dpo_wrong_start")
        assert (finding.severity, finding.step) == ("warning", 10)
        assert find_finding(self.run(first), "worse_than_start") is None

    def test_right(self):
        assert find_finding(self.run(0.693), "dpo_wrong_start") is None

    @pytest.mark.parametrize("more", [{"pref_loss": "ipo"}, {"pref_ftx": 1.0}, {"dpo_label_smoothing": 0.1}])
    def test_other_losses_start_elsewhere(self, more):
        assert find_finding(self.run(1.5, **more), "dpo_wrong_start") is None

    def test_a_late_first_row(self):
        rows = [train(100 * (i + 1), 0.4 - 0.02 * i, 1000) for i in range(10)]
        assert find_finding(run_of(rows, config={"stage": "dpo"}), "dpo_wrong_start") is None

    def test_a_short_run_may_have_learned_before_its_first_row(self):
        rows = [train(i + 1, 0.55 * 0.9**i, 12) for i in range(12)]
        assert find_finding(run_of(rows, config={"stage": "dpo"}), "dpo_wrong_start") is None


def test_saturated():
    rows = [
        train(
            10 * (i + 1), 0.69 * 0.93**i + 1e-5, 600, rewards__accuracies=min(1.0, 0.5 + i / 40), grad_norm=2.0 * 0.9**i
        )
        for i in range(60)
    ]
    finding = the_finding(run_of(rows, config={"stage": "dpo"}), "saturated")
    assert (finding.severity, finding.evidence["accuracy"]) == ("info", 100)
    assert find_finding(run_of(rows[:25], config={"stage": "dpo"}), "saturated") is None
    steady = [row._replace(values={**row.values, "grad_norm": 1.0}) for row in rows]
    assert find_finding(run_of(steady, config={"stage": "dpo"}), "saturated") is None


class TestRewards:
    def test_falling(self):
        values = [{"reward": 1.0 - 0.02 * i + 0.05 * (i % 3)} for i in range(80)]
        finding = the_finding(series("ppo", values), "reward_falling")
        assert finding.severity == "warning"
        assert finding.evidence["now"] < finding.evidence["first"]
        assert warning_codes(series("ppo", values)) == ["reward_falling"]

    def test_rising_and_level(self):
        for slope in (0.0, 0.02):
            values = [{"reward": slope * i + 0.3 * ((i * 7919) % 13 - 6) / 6} for i in range(80)]
            assert warning_codes(series("ppo", values)) == []

    def test_not_in_other_stages(self):
        values = [{"kl": -1.0} for _ in range(60)]
        assert find_finding(series("kto", values), "kl_off") is None

    def test_negative_kl(self):
        values = [{"objective__kl": -3.0 + 0.1 * (i % 5)} for i in range(60)]
        finding = the_finding(series("ppo", values), "kl_off")
        assert finding.variant == "negative"

    def test_kl_that_has_grown(self):
        values = [{"kl": 0.05 if i < 60 else 4.0} for i in range(90)]
        assert the_finding(series("grpo", values), "kl_off").variant == ""
        assert warning_codes(series("grpo", [{"kl": 0.002 * i} for i in range(90)])) == []

    def test_no_signal(self):
        values = [{"frac_reward_zero_std": 0.8 + 0.02 * (i % 5)} for i in range(60)]
        assert the_finding(series("grpo", values), "no_signal").evidence["share"] == pytest.approx(84, abs=2)
        some = [{"frac_reward_zero_std": 0.4} for _ in range(60)]
        assert find_finding(series("grpo", some), "no_signal", SOON) is None

    def test_over(self):
        values = [{"frac_reward_zero_std": 0.9 if i < 60 else 0.2} for i in range(160)]
        finding = the_finding(series("grpo", values), "no_signal")
        assert (finding.over, finding.variant) == (True, "over")
