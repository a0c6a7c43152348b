"""Time left: the speed of the current process, evaluations and saves, and the width of the interval."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_tui.records.documents import ConfigDoc, ConfigValue, LogRow
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, FileDoc, FileRows, Update
from lora_tui.runs.eta import Eta, StepSchedule, TimeLeft
from lora_tui.runs.run import Run
from lora_tui.runs.step_time import StepTimeSample, expected_step_time

NOW = 1_750_000_000.0
TOTAL = 1000


class Job:
    """The rows of a made-up job; its clock has whole seconds, as LLaMA-Factory's has."""

    def __init__(self, total: int = TOTAL) -> None:
        self.total = total
        self.rows: list[LogRow] = []
        self.times: list[float] = []
        self.clock = 0.0

    def train(self, step: int, seconds: float) -> None:
        self.clock += seconds
        self._put("train", step, {"loss": 1.0})

    def evaluate(self, step: int, seconds: float, **values: float) -> None:
        self.clock += seconds
        self._put("eval", step, values or {"eval_loss": 1.0})

    def resume(self) -> None:
        self.clock = 0.0

    def _put(self, kind: str, step: int, values: dict[str, float]) -> None:
        row = LogRow(kind, step, values, self.total, 3 * step / self.total, float(int(self.clock)))  # type: ignore[arg-type]
        self.rows.append(row)
        self.times.append(NOW + self.clock)

    def run(
        self, config: dict[str, ConfigValue] | None = None, saves: tuple[int, ...] = (), *, live: bool = False
    ) -> Run:
        updates: list[Update] = []
        if config:
            updates.append(FileDoc("training_args.yaml", ConfigDoc(config, "llamafactory"), NOW - 60))
        if live:
            pairs = zip(self.rows, self.times, strict=True)
            updates += [FileRows("trainer_log.jsonl", "log", (row,), time, arrived=time) for row, time in pairs]
        else:
            updates.append(FileRows("trainer_log.jsonl", "log", tuple(self.rows), self.times[-1]))
        if saves:
            items = tuple(CheckpointDir(step, f"checkpoint-{step}", NOW, True) for step in saves)
            updates.append(CheckpointsSeen(items))
        run = Run(Path("/runs/made"))
        run.apply(updates)
        return run


def left(run: Run) -> TimeLeft:
    assert run.eta is not None
    return run.eta.left


def steady(steps: int, every_s: float = 10.0, total: int = TOTAL) -> Job:
    job = Job(total)
    for step in range(10, steps + 1, 10):
        job.train(step, every_s)
    return job


class TestStepTime:
    def test_a_steady_run_goes_on_at_its_speed(self) -> None:
        found = left(steady(500).run())
        assert found.mid == pytest.approx(500, rel=0.02)
        assert found.low < 500 < found.high
        assert found.high - found.low < 0.2 * 500

    def test_the_interval_narrows(self) -> None:
        widths = [(f.high - f.low) / f.mid for f in (left(steady(n).run()) for n in (20, 50, 100, 300, 700))]
        assert widths == sorted(widths, reverse=True)

    def test_recent_rows_count_more_after_a_lasting_change(self) -> None:
        job = steady(400)
        for step in range(410, 601, 10):
            job.train(step, 30.0)
        # The mean over the whole segment gives 667 s; at the current speed it is 1200.
        found = left(job.run())
        assert found.mid > 1000
        assert found.high > 1200
        assert found.high - found.low > 0.2 * found.mid

    def test_one_hiccup_changes_nothing(self) -> None:
        job = steady(400)
        job.train(410, 300.0)
        for step in range(420, 601, 10):
            job.train(step, 10.0)
        assert left(job.run()).mid == pytest.approx(400, rel=0.06)

    def test_noise_widens_the_interval(self) -> None:
        rng = random.Random(1)
        job = Job()
        for step in range(10, 301, 10):
            job.train(step, rng.uniform(2, 18))
        noisy, calm = left(job.run()), left(steady(300).run())
        assert noisy.high / noisy.low > 1.5 * calm.high / calm.low

    def test_the_slow_first_rows_are_left_out(self) -> None:
        job = Job()
        job.train(10, 120.0)
        job.train(20, 25.0)
        for step in range(30, 301, 10):
            job.train(step, 10.0)
        assert left(job.run()).mid == pytest.approx(700, rel=0.05)

    def test_live_rows_need_no_whole_seconds(self) -> None:
        job = Job()
        for step in range(10, 301, 10):
            job.train(step, 0.1)
        assert job.run().eta is not None
        assert left(job.run(live=True)).mid == pytest.approx(7.0, rel=0.1)
        # Three seconds on a clock that may be off by one.
        assert left(job.run()).high > left(job.run(live=True)).high

    def test_two_seconds_of_a_clock_of_whole_seconds_say_nothing(self) -> None:
        job = Job()
        for step in range(10, 101, 10):
            job.train(step, 0.2)
        assert job.run().eta is None

    def test_a_resume_starts_anew(self) -> None:
        job = steady(400)
        job.resume()
        for step in range(310, 501, 10):
            job.train(step, 40.0)
        assert left(job.run()).mid == pytest.approx(2000, rel=0.1)

    def test_the_first_row_alone_gives_a_wide_answer(self) -> None:
        found = left(steady(10).run())
        assert found.low < 990 < found.high
        assert found.high - found.low > 0.5 * found.mid


class TestPauses:
    def job(self, upto: int, every: int = 200, length: float = 300.0) -> Job:
        job = Job()
        for step in range(10, upto + 1, 10):
            job.train(step, 10.0)
            if step % every == 0:
                job.evaluate(step, length)
        return job

    def test_evaluations_to_come_are_added_by_their_number(self) -> None:
        # 590 steps and evaluations at 600, 800 and 1000; elapsed x rest / done gives 1438 - 863 = 1423.
        found = left(self.job(410).run())
        assert found.mid == pytest.approx(590 + 3 * 300, rel=0.04)
        assert found.low < 1490 < found.high

    def test_an_unfinished_evaluation_is_still_to_come(self) -> None:
        job = self.job(400)
        before = left(Job.run(self._without_last(job)))
        after = left(job.run())
        assert before.mid - after.mid == pytest.approx(300, rel=0.1)

    def _without_last(self, job: Job) -> Job:
        cut = Job()
        cut.rows, cut.times = job.rows[:-1], job.times[:-1]
        return cut

    def test_a_pause_lasts_as_long_as_the_evaluation(self) -> None:
        run = self._without_last(self.job(400)).run()
        assert run.eta is not None
        assert run.eta.pause == pytest.approx(300, rel=0.05)
        assert run.eta.after(200).mid == pytest.approx(run.eta.left.mid - 200, rel=0.01)

    def test_two_data_sets_are_one_evaluation(self) -> None:
        job = Job()
        for step in range(10, 411, 10):
            job.train(step, 10.0)
            if step % 200 == 0:
                job.evaluate(step, 100.0, eval_a_loss=1.0)
                job.evaluate(step, 200.0, eval_b_loss=1.0)
        assert left(job.run()).mid == pytest.approx(590 + 3 * 300, rel=0.04)

    def test_an_evaluation_off_the_logging_grid(self) -> None:
        job = Job()
        for step in range(10, 501, 10):
            at = step // 105 * 105
            if at <= step - 10:
                job.train(step, 10.0)
            elif at == step:
                job.train(step, 10.0)
                job.evaluate(step, 100.0)
            else:
                job.evaluate(at, at - step + 10 + 100.0)
                job.train(step, float(step - at))
        # Every 105 steps: 525, 630, 735, 840 and 945 are to come.
        assert left(job.run()).mid == pytest.approx(500 + 5 * 100, rel=0.06)

    def test_saves_are_counted_too(self) -> None:
        job = Job()
        for step in range(10, 411, 10):
            job.train(step, 10.0 + (60.0 if step % 100 == 10 and step > 10 else 0.0))
        found = left(job.run({"save_steps": 100, "save_strategy": "steps"}, saves=(100, 200, 300, 400)))
        # At 500, 600, 700, 800, 900 and at the end.
        assert found.mid == pytest.approx(590 + 6 * 60, rel=0.05)

    def test_the_distance_of_saves_is_seen_without_a_config(self) -> None:
        job = Job()
        for step in range(10, 411, 10):
            job.train(step, 10.0 + (60.0 if step % 100 == 10 and step > 10 else 0.0))
        assert left(job.run(saves=(300, 400))).mid == pytest.approx(590 + 6 * 60, rel=0.05)

    def test_a_planned_evaluation_that_was_never_seen_widens_the_interval(self) -> None:
        plan: dict[str, ConfigValue] = {"eval_strategy": "steps", "eval_steps": 400, "val_size": 0.2}
        plain, planned = left(steady(300).run()), left(steady(300).run(plan))
        assert planned.mid > plain.mid
        assert planned.high - planned.low > plain.high - plain.low

    def test_a_planned_evaluation_that_did_not_come_is_dropped(self) -> None:
        plan: dict[str, ConfigValue] = {"eval_strategy": "steps", "eval_steps": 100}
        assert left(steady(300).run(plan)) == left(steady(300).run())


class TestNone:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: steady(1000).run(),
            lambda: Run(Path("/runs/empty")),
            lambda: _without(steady(300), total_steps=None).run(),
            lambda: _without(steady(300), elapsed_s=None).run(),
            lambda: _without(steady(300), step=None).run(),
        ],
        ids=["at the last step", "no rows", "no total", "no clock", "no steps"],
    )
    def test_the_files_do_not_carry_one(self, make: Callable[[], Run]) -> None:
        assert make().eta is None


def _without(job: Job, **fields: None) -> Job:
    job.rows = [row._replace(**fields) for row in job.rows]  # type: ignore[arg-type]
    return job


def test_a_prediction_job_has_a_time_left_too() -> None:
    rows = [LogRow("progress", batch, {}, 100, None, batch * 2.0) for batch in range(5, 51, 5)]
    run = Run(Path("/runs/predict"))
    run.apply([FileRows("trainer_log.jsonl", "log", tuple(rows), NOW)])
    assert run.status(NOW + 1).state == "evaluating"
    assert run.progress(NOW + 1).remaining_s == pytest.approx(99, rel=0.05)


def test_time_goes_by_but_a_late_row_brings_the_end_no_nearer() -> None:
    eta = Eta(TimeLeft(80, 100, 130), pause=10)
    assert eta.after(4) == (76, 96, 126)
    assert eta.after(10) == eta.after(500) == (70, 90, 120)
    assert eta.after(-3) == (80, 100, 130)


def test_progress_is_the_middle_of_the_interval() -> None:
    run = steady(500).run()
    progress = run.progress(NOW + 504)
    assert run.status(NOW + 504).state == "running"
    assert progress.remaining_s == left(run).mid - 4
    assert progress.finish_at == pytest.approx(NOW + 504 + left(run).mid - 4)


@pytest.mark.parametrize("state_after", [2000.0, 40_000.0], ids=["stalled", "interrupted"])
def test_a_run_that_does_not_go_on_has_no_time_left(state_after: float) -> None:
    run = steady(500).run()
    assert run.status(NOW + 500 + state_after).state in ("stalled", "interrupted")
    assert run.progress(NOW + 500 + state_after).remaining_s is None


class TestStepSchedule:
    def test_whole_steps(self) -> None:
        schedule = StepSchedule(500, 500)
        assert [schedule.within(*span) for span in ((0, 500), (500, 501), (501, 1501), (501, 1500))] == [1, 1, 2, 1]

    def test_epochs_of_a_fractional_number_of_steps(self) -> None:
        schedule = StepSchedule(208, 208.33)
        assert [schedule.within(step, step + 1) for step in (208, 416, 417, 625)] == [1, 1, 0, 1]
        assert schedule.until_end(209, 625) == 2

    def test_the_last_one_may_seem_to_be_after_the_end(self) -> None:
        assert StepSchedule(202, 50.67).until_end(203, 252) == 1
        assert StepSchedule(202, 50.67).until_end(203, 249) == 0


class TestLevel:
    def samples(self, *rates: float) -> list[StepTimeSample]:
        return [StepTimeSample(10, rate, 0.0) for rate in rates]

    def test_a_constant(self) -> None:
        rate, error = expected_step_time(self.samples(*[2.0] * 20), 200, 400) or (0.0, 0.0)
        assert rate == pytest.approx(2.0, rel=0.001)
        assert 0 < error < 0.2

    def test_no_time_has_passed(self) -> None:
        assert expected_step_time([], 10, 20) is None
        assert expected_step_time(self.samples(0.0, 0.0), 10, 20) is None
        assert expected_step_time(self.samples(1.0), 0, 20) is None

    def test_clocks_that_jump_back_are_survived(self) -> None:
        rate, error = expected_step_time(self.samples(1.0, 1.0, -40.0, 42.0, 1.0, 1.0, 1.0, 1.0), 100, 200) or (
            0.0,
            0.0,
        )
        assert 0 < rate < 3
        assert error > 0
