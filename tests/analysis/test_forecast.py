"""The loss to expect at the end, why there is none, and the forecast as a whole."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from lora_tui.analysis import Forecast, judge
from lora_tui.analysis.forecast import final_loss, forecast, window_noise
from lora_tui.analysis.lr_schedule import Schedule
from lora_tui.records.documents import LogRow
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series
from tests.support.run_builder import START, evaluation, run_of, summary, train

NOW = START + 1.0


def curve(
    upto: float, rows: int = 100, *, end: float = 1.0, start: float = 3.0, noise: float = 0.05, epochs: float = 1.0,
    warmup: float = 0.0, drop: float = 0.0, seed: int = 1,
) -> list[LogRow]:  # fmt: skip
    """A run of ``rows`` rows with a linear schedule, up to a share of it; its loss decays exponentially in the
    learning rate spent, and falls by ``drop`` where an epoch begins."""
    rng = random.Random(seed)
    total, out, spent = rows * 10, [], 0.0
    whole = sum(_rate(i / rows, warmup) for i in range(1, rows + 1))
    for i in range(1, rows + 1):
        share = i / rows
        spent += _rate(share, warmup) / whole
        level = end + (start - end) * (math.exp(-spent / 0.2) - math.exp(-5)) / (1 - math.exp(-5))
        level *= (1 - drop) ** max(0, math.ceil(share * epochs) - 1)
        loss = level * math.exp(rng.gauss(0, noise))
        if share <= upto:
            out.append(train(10 * i, loss, total, epochs=epochs, lr=1e-4 * _rate(share, warmup)))
    return out


def _rate(share: float, warmup: float) -> float:
    return share / warmup if share < warmup else (1 - share) / (1 - warmup)


def told(rows: list[LogRow], **run: object) -> Forecast:
    return forecast(run_of(rows, **run), NOW)  # type: ignore[arg-type]


class TestFinalLoss:
    @pytest.mark.parametrize("upto", [0.3, 0.5, 0.8, 0.95])
    def test_the_curve_goes_on_as_it_began(self, upto: float) -> None:
        found = told(curve(upto)).final_loss
        assert found is not None
        assert found.low <= 1.0 <= found.high
        assert found.mid == pytest.approx(1.0, rel=0.15)

    def test_it_grows_surer(self) -> None:
        intervals = [told(curve(upto)).final_loss for upto in (0.3, 0.5, 0.7, 0.95)]
        widths = [one.high - one.low for one in intervals if one is not None]
        assert len(widths) == 4
        assert widths == sorted(widths, reverse=True)

    def test_noise_makes_it_less_sure(self) -> None:
        calm, noisy = told(curve(0.6, noise=0.01)).final_loss, told(curve(0.6, noise=0.15)).final_loss
        assert calm is not None
        assert noisy is not None
        assert noisy.high - noisy.low > 1.5 * (calm.high - calm.low)

    def test_a_steep_curve_is_not_taken_to_end_where_it_is(self) -> None:
        rows = curve(0.5, start=4.0, noise=0.02)
        found = told(rows).final_loss
        assert found is not None
        assert found.mid < 0.9 * sum(row.values["loss"] for row in rows[-5:]) / 5

    def test_what_repeated_data_did_before_it_will_do_again(self) -> None:
        rows = curve(0.65, 300, epochs=3, drop=0.2, start=1.1, noise=0.03)
        found = told(rows).final_loss
        assert found is not None
        # Two of the three epochs have begun; the last one brings another fifth.
        assert found.low <= 0.64 <= found.high
        assert found.mid < 0.75

    def test_one_wild_row_does_not_matter(self) -> None:
        rows = curve(0.6, noise=0.03)
        spike = rows[-8]._replace(values={**rows[-8].values, "loss": 9.0})
        plain, spiked = told(rows).final_loss, told([*rows[:-8], spike, *rows[-7:]]).final_loss
        assert plain is not None
        assert spiked is not None
        assert spiked.mid == pytest.approx(plain.mid, rel=0.03)

    def test_rows_that_are_no_number_are_left_out(self) -> None:
        rows = curve(0.6)
        rows[10] = rows[10]._replace(values={**rows[10].values, "loss": math.nan})
        assert told(rows).final_loss is not None

    def test_without_a_learning_rate_in_the_rows(self) -> None:
        rows = [row._replace(values={"loss": row.values["loss"]}) for row in curve(0.6)]
        found = told(rows).final_loss
        assert found is not None
        assert found.low <= 1.0 <= found.high


class TestReason:
    @pytest.mark.parametrize(
        ("reason", "make"),
        [
            ("few_rows", lambda: curve(0.5, 16)),
            ("early", lambda: curve(0.12)),
            ("warmup", lambda: curve(0.3, warmup=0.4)),
            ("epochs", lambda: curve(0.5, epochs=10)),
            ("erratic", lambda: curve(0.3, 60, noise=0.9)),
            ("off_course", lambda: _rising(curve(0.6))),
            ("off_course", lambda: _last(curve(0.6), math.nan)),
            ("off_course", lambda: _last(curve(0.6), 0.0)),
        ],
    )
    def test_the_curve_does_not_support_one(self, reason: str, make: Callable[[], list[LogRow]]) -> None:
        found = told(make())
        assert (found.final_loss, found.reason) == (None, reason)

    @pytest.mark.parametrize("stage", ["ppo", "grpo"])
    def test_a_stage_whose_loss_says_nothing(self, stage: str) -> None:
        found = told(curve(0.6), config={"stage": stage})
        assert (found.final_loss, found.reason) == (None, "stage")

    def test_no_plan(self) -> None:
        rows = [row._replace(total_steps=None) for row in curve(0.6)]
        assert told(rows).reason == "few_rows"

    def test_only_evaluations(self) -> None:
        assert told([evaluation(10, 1.0, 100)]).reason == "few_rows"

    def test_never_both(self) -> None:
        for upto in (0.05, 0.2, 0.4, 0.9):
            found = told(curve(upto))
            assert (found.final_loss is None) == bool(found.reason)


def _rising(rows: list[LogRow]) -> list[LogRow]:
    middle = len(rows) // 2
    return rows[:middle] + [row._replace(values={**row.values, "loss": 4.0}) for row in rows[middle:]]


def _last(rows: list[LogRow], loss: float) -> list[LogRow]:
    return [*rows[:-1], rows[-1]._replace(values={**rows[-1].values, "loss": loss})]


class TestWhole:
    def test_a_live_run_has_everything(self) -> None:
        run = run_of(curve(0.5))
        found = forecast(run, NOW)
        assert found.remaining_s is not None
        assert found.finish_at is not None
        assert found.finish_at.mid == pytest.approx(NOW + found.remaining_s.mid)
        assert found.remaining_s.mid == run.progress(NOW).remaining_s
        assert found.finish_at.mid == run.progress(NOW).finish_at
        assert judge(run, NOW).forecast == found

    def test_a_run_that_has_ended_has_nothing(self) -> None:
        rows = curve(1.0)
        run = run_of([*rows, summary(1000, 1000)], ended=True)
        assert run.status(NOW + 4).state == "evaluating"
        assert forecast(run, NOW + 4) == forecast(run, NOW + 4000) == Forecast()

    def test_nor_has_one_that_is_cut_off(self) -> None:
        assert forecast(run_of(curve(0.5)), NOW + 90_000) == Forecast()

    def test_nor_an_empty_one(self) -> None:
        assert told([]) == Forecast()

    def test_a_prediction_has_a_time_and_no_loss(self) -> None:
        rows = [LogRow("progress", batch, {}, 100, None, batch * 2.0) for batch in range(5, 51, 5)]
        run = Run(run_of([]).path)
        run.apply([FileRows("trainer_log.jsonl", "log", tuple(rows), START)])
        found = forecast(run, NOW)
        assert found.remaining_s is not None
        assert (found.final_loss, found.reason) == (None, "")

    def test_without_a_clock_there_is_still_a_loss(self) -> None:
        found = told([row._replace(elapsed_s=None) for row in curve(0.5)])
        assert found.remaining_s is None
        assert found.final_loss is not None


def rates(*values: float, step: int = 10) -> Series:
    series = Series("lr")
    for number, value in enumerate(values, 1):
        series.append(number * step, value)
    return series


class TestSchedule:
    def test_linear(self) -> None:
        plan = Schedule(rates(*(1 - i / 100 for i in range(1, 51))), 500, 1000)
        assert plan.peak_step == 0
        assert plan.spent(500) == pytest.approx(0.75, abs=0.01)
        assert plan.spent(1000) == 1.0

    def test_cosine_with_a_warm_up(self) -> None:
        values = [i / 10 for i in range(1, 11)] + [0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(1, 41)]
        plan = Schedule(rates(*values), 500, 1000)
        assert plan.peak_step == 100
        exact = sum(i / 10 for i in range(1, 11)) + sum(0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(1, 91))
        assert plan.spent(500) == pytest.approx(sum(values) / exact, abs=0.02)

    def test_constant(self) -> None:
        assert Schedule(rates(*[1e-4] * 20), 200, 1000).spent(200) == pytest.approx(0.2, abs=0.01)

    def test_one_that_no_schedule_follows_stays_where_it_is(self) -> None:
        steps = [1.0] * 20 + [0.1] * 20
        # 200 at the peak, 200 at a tenth of it, 600 more at a tenth.
        assert Schedule(rates(*steps), 400, 1000).spent(400) == pytest.approx(220 / 280, abs=0.03)

    def test_it_never_goes_back(self) -> None:
        for series in (None, rates(1.0), rates(*(i / 30 for i in range(1, 20))), rates(math.nan, 1.0, 0.9)):
            plan = Schedule(series, 100, 400)
            seen = [plan.spent(step) for step in range(0, 401, 10)]
            assert seen == sorted(seen)
            assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_rows_that_are_alike_make_a_window_less_sure() -> None:
    rng = random.Random(5)
    alike, apart = Series("loss"), Series("loss")
    state = 0.0
    for step in range(2000):
        state = 0.8 * state + 0.6 * rng.gauss(0, 0.1)
        alike.append(step, 1 + state)
        apart.append(step, 1 + rng.gauss(0, 0.1))
    assert window_noise(alike, 50) > 1.5 * window_noise(apart, 50)
    assert window_noise(apart, 50) == pytest.approx(1.25 * 0.1 / math.sqrt(50), rel=0.5)


def test_the_loss_is_the_same_however_the_run_was_read() -> None:
    rows = curve(0.6)
    whole, grown = run_of(rows), Run(run_of([]).path)
    for row in rows:
        grown.apply([FileRows("trainer_log.jsonl", "log", (row,), START, arrived=START)])
    assert final_loss(whole, whole.progress(NOW)) == final_loss(grown, grown.progress(NOW))
