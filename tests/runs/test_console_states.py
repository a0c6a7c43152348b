"""States of runs with a console log that is older or newer than their rows and results."""

from __future__ import annotations

import pytest

from lora_tui.records.documents import ConsoleFacts, LogRow, Phase
from lora_tui.records.updates import FileDoc, FileRows
from lora_tui.runs.run import Run
from lora_tui.runs.status import status_of
from tests.support.run_builder import START, evaluation, run_of, summary, train

TRAINED = [*(train(step, 2.0 - step / 200, 200) for step in range(10, 201, 10)), summary(200, 200)]


def with_console(run: Run, phase: Phase, at: float) -> Run:
    """Return the run with a log in ``phase`` that was last written ``at`` seconds after the last row."""
    run.apply([FileDoc("train.log", ConsoleFacts(is_training_log=True, phase=phase), START + at)])
    return run


def state(run: Run, at: float) -> tuple[str, str | None]:
    found = status_of(run, START + at)
    return found.state, found.phase


class TestNextAttempt:
    """A log newer than everything else that is still before its first step."""

    @pytest.mark.parametrize("code", ["starting", "tokenizing", "loading_model", "resuming"])
    def test_it_waits(self, code: str) -> None:
        run = with_console(run_of(TRAINED, ended=True), Phase(code), 1000.0)  # type: ignore[arg-type]
        assert state(run, 1010.0) == ("waiting", code)
        assert state(run, 1310.0) == ("stalled", code)
        assert state(run, 2000.0) == ("interrupted", code)

    def test_until_its_first_row(self) -> None:
        run = with_console(run_of(TRAINED, ended=True), Phase("loading_model"), 1000.0)
        again = FileRows("trainer_log.jsonl", "log", (train(10, 2.0, 200),), START + 1100.0, restarted=True)
        run.apply([again])
        assert state(run, 1110.0) == ("running", "training")

    def test_a_log_as_old_as_the_results_is_none(self) -> None:
        run = with_console(run_of(TRAINED, ended=True), Phase("loading_model"), 4.0)
        assert state(run, 1010.0) == ("finished", None)


class TestAfterTraining:
    def test_a_prediction_in_the_log(self) -> None:
        run = with_console(run_of(TRAINED, ended=True), Phase("predicting", 3, 10), 60.0)
        assert state(run, 120.0) == ("evaluating", "predicting")
        assert (status_of(run, START + 120.0).done, status_of(run, START + 120.0).total) == (3, 10)
        assert state(run, 370.0) == ("finished", None), "it has said nothing for five minutes"

    def test_an_evaluation_may_take_three_times_its_usual_length(self) -> None:
        log = [row._replace(elapsed_s=4.0 * (row.step or 0)) for row in TRAINED[:-1]]
        log.insert(10, evaluation(100, 1.5, 200)._replace(elapsed_s=400.0 + 200.0))
        log[11:] = [row._replace(elapsed_s=(row.elapsed_s or 0.0) + 200.0) for row in log[11:]]
        run = with_console(run_of([*log, summary(200, 200, every_s=5.0)], ended=True), Phase("evaluating", 1, 9), 60.0)
        assert run.timeline.eval_s == 200.0
        assert state(run, 60.0 + 590.0) == ("evaluating", "evaluating")
        assert state(run, 60.0 + 610.0) == ("finished", None)


class TestInTraining:
    def test_a_phase_from_before_the_last_row_is_over(self) -> None:
        for at, phase in ((-60.0, "training"), (0.0, "evaluating")):
            run = with_console(run_of(TRAINED[:7]), Phase("evaluating", 1, 9), at)
            assert state(run, 30.0)[1] == phase

    def test_a_slow_run_that_evaluates_is_given_its_own_time(self) -> None:
        """With ten minutes between rows, the first evaluation may take longer than five."""
        slow = [train(step, 2.0, 200, every_s=60.0) for step in range(10, 80, 10)]
        run = with_console(run_of(slow), Phase("evaluating", 1, 9), 0.0)
        assert state(run, 290.0) == ("evaluating", "evaluating")
        assert state(run, 3000.0) == ("evaluating", "evaluating")
        assert state(run, 6100.0) == ("stalled", "training")

    def test_evaluations_of_two_processes_keep_their_distance(self) -> None:
        log: list[LogRow] = []
        for step in range(10, 70, 10):
            log.append(train(step, 2.0, 200))
            if step % 20 == 0 and step < 60:
                log += [evaluation(step, 1.5, 200), train(step, 2.0, 200), evaluation(step, 1.5, 200)]
        assert state(run_of(log), 30.0) == ("evaluating", "evaluating")
        assert state(run_of(log[:-1]), 30.0) == ("running", "training")

    def test_the_summary_of_an_attempt_that_was_stopped_is_no_evaluation(self) -> None:
        log: list[LogRow] = []
        for step in range(10, 90, 10):
            log.append(train(step, 2.0, 200))
            if step in (20, 40, 60):
                log.append(evaluation(step, 1.5, 200))
            if step == 70:
                log.append(summary(step, 200))
        assert state(run_of(log), 30.0) == ("evaluating", "evaluating")
        again = [*log, train(90, 2.0, 200)]
        assert state(run_of(again), 30.0) == ("running", "training")


def test_the_second_data_set_of_an_evaluation_before_the_first_step() -> None:
    """With ``eval_on_start`` the metrics of the first data set are there at step 0."""
    run = with_console(run_of([LogRow("eval", 0, {"eval_a_loss": 2.0})]), Phase("evaluating", 3, 10), 5.0)
    found = status_of(run, START + 10.0)
    assert (found.state, found.phase, found.done, found.total) == ("evaluating", "evaluating", 3, 10)


def test_all_batches_of_a_prediction_are_done_and_its_scores_are_not() -> None:
    def job(done: int) -> Run:
        batches = [LogRow("progress", at, {}, 3, elapsed_s=float(at)) for at in range(1, done + 1)]
        return run_of(batches, config={"do_predict": True, "stage": "sft"})

    assert state(job(2), 10.0) == ("evaluating", "predicting")
    assert state(job(3), 10.0) == ("evaluating", "scoring")
