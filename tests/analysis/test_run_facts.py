"""The numbers that judgements are made of, where there are few of them or they are written in unusual ways."""

from __future__ import annotations

import math

import pytest

from lora_tui.analysis import run_facts
from lora_tui.analysis.checkpoint_choice import measure
from lora_tui.analysis.forecast import final_loss
from lora_tui.analysis.lr_schedule import Schedule
from lora_tui.analysis.save_plan import SavePlan, save_plan
from lora_tui.analysis.similarity import training_data
from lora_tui.analysis.statistics import noise, spread
from lora_tui.records.documents import ConfigValue, ConsoleFacts, TrainerState
from lora_tui.records.updates import FileDoc
from lora_tui.runs.series import Series
from tests.support.checkpoint_runs import falling_rows, run_with_checkpoints
from tests.support.loss_curves import SFT, SOON, falling_loss, noisy_losses, rows_of, sft_run
from tests.support.run_builder import START, evaluation, run_of, train

NAN = math.nan


def series_of(values: list[float]) -> Series:
    series = Series("x")
    for at, value in enumerate(values, 1):
        series.append(float(at), value)
    return series


def test_an_option_may_be_a_number_in_quotes() -> None:
    """YAML 1.1 reads ``1e-4`` as a text, for it has no point."""
    run = run_of([train(10, 1.0, 100)], config={"learning_rate": "1e-4", "lora_alpha": "auto", "bf16": True})
    assert run_facts.number(run, "learning_rate") == 1e-4
    assert run_facts.number(run, "lora_alpha", "learning_rate") == 1e-4
    assert run_facts.number(run, "bf16") is None


def test_the_first_values_are_the_first_that_are_numbers() -> None:
    assert run_facts.head(series_of([NAN, 3.0, math.inf, 2.0, 1.0]), 2) == [3.0, 2.0]
    assert run_facts.head(series_of([NAN, 3.0]), 5) == [3.0]


def test_few_values_have_no_noise_of_their_own() -> None:
    assert noise([1.0, 2.0]) == 0.0
    assert noise([1.0, 2.0, 1.0]) == pytest.approx(1.4826 / math.sqrt(2))
    # So that nothing in them is significant.
    assert spread([1.0, 2.0, 1.0, 2.0, 1.0]).error(3) == math.inf
    assert spread([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]).error(3) < 10


def test_a_gap_above_losses_that_are_zero_is_no_percentage() -> None:
    def gap(loss: float) -> object:
        falling_rows = [*(train(step, loss, 300) for step in range(10, 210, 10)), evaluation(200, 1.1, 300)]
        run = sft_run(falling_rows)
        return run_facts.gap(run, run.status(SOON))

    assert gap(0.0) is None
    assert gap(1.0) == pytest.approx((10.0, 0.0))


@pytest.mark.parametrize("lost", [60, 1_000, 10_000])
def test_a_loss_that_was_no_number_for_most_of_the_run_has_no_best_level_before(lost: int) -> None:
    few = [1.0 + 0.01 * (at % 3) for at in range(24)]
    found = {run_facts.diverging(series_of([NAN] * more + few)) for more in range(lost, lost + 60)}
    assert found == {None}
    best_and_now = run_facts.diverging(series_of([1.0] * 40 + [5.0] * 24))
    assert best_and_now is not None
    assert best_and_now == pytest.approx((1.0, 5.0))


class TestSchedule:
    def test_at_the_last_step_all_is_spent(self) -> None:
        lr = series_of([1e-4] * 400)
        assert Schedule(lr, 400, 400).spent(400) == 1.0
        assert Schedule(lr, 400, 400).spent(100) == pytest.approx(0.25)

    def test_rates_of_the_warm_up_alone_leave_the_usual_plan(self) -> None:
        """The last rate is no number, so none is known from the peak on: transformers' own default, a line to 0."""
        rising = [1e-6 * at for at in range(1, 90)]
        plan = Schedule(series_of([*rising, NAN]), 90, 1000)
        assert plan.peak_step == 89
        half_way = (plan.spent(500) - plan.spent(90)) / (1 - plan.spent(90))
        assert half_way == pytest.approx(0.70, abs=0.01)
        assert plan.spent(1000) == 1.0


class TestForecast:
    def test_pieces_that_are_no_numbers_are_left_out_until_too_few_are_left(self) -> None:
        def told(lost: range) -> str:
            losses = noisy_losses(falling_loss, 120, 0.02)
            for at in lost:
                losses[at] = 0.0 if at % 2 else NAN
            run = sft_run(rows_of(losses, total=2000))
            return final_loss(run, run.progress(SOON))[1]

        assert told(range(0)) == ""
        assert told(range(20, 30)) == ""
        assert told(range(10, 119)) == "off_course"


def test_saves_of_a_run_of_unknown_length_go_on() -> None:
    assert SavePlan(every=100).coming(250, 3) == [300, 400, 500]
    assert SavePlan(every=100, total=450).coming(250, 3) == [300, 400, 450]
    assert SavePlan(every=100, total=450).coming(450, 3) == []


@pytest.mark.parametrize(("epochs", "every"), [(True, 300), (False, 200)])
def test_saves_by_epoch_are_by_the_epochs_of_the_rows_or_as_far_apart_as_they_are(epochs: bool, every: int) -> None:
    log = falling_rows(410, 900)
    if not epochs:
        log = [row._replace(epoch=None) for row in log]
    run, _ = run_with_checkpoints(log, [200, 400], config={"save_strategy": "epoch", "save_steps": 500})
    assert save_plan(run).every == every


def test_a_later_log_that_names_no_data_leaves_what_the_earlier_one_named() -> None:
    run = run_of([train(10, 1.0, 100)])
    configs: list[dict[str, ConfigValue]] = [{"dataset": "a,b", "num_examples": 9}, {"num_examples": 9}]
    for number, config in enumerate(configs):
        facts_of = ConsoleFacts(is_training_log=True, config=config)
        run.apply([FileDoc(f"train{number}.log", facts_of, START + number)])
    assert training_data(run).shown == "a, b"


def test_the_best_value_of_the_trainer_names_its_metric() -> None:
    falling_rows = []
    for step, loss, accuracy in ((100, 1.5, 0.5), (200, 1.25, 0.75), (300, 1.3, 0.7)):
        row = evaluation(step, loss, 300)
        falling_rows.append(row._replace(values={**row.values, "eval_accuracy": accuracy}))
    run = run_of(falling_rows, config=SFT)

    def best(step: int, value: float) -> tuple[str, bool]:
        state = TrainerState(global_step=300, best_metric=value, best_step=step)
        run.apply([FileDoc("trainer_state.json", state, START)])
        return measure(run, state)

    assert best(200, 1.25) == ("eval_loss", False)
    assert best(200, 0.75) == ("eval_accuracy", True)
    # A value that no series has at that step says nothing: what is usual.
    assert best(200, 0.9) == ("eval_loss", False)
