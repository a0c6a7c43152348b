"""States after the training of a LLaMA-Factory job, and evaluations that log no loss."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lora_tui.records.documents import ConfigValue, LogRow
from lora_tui.runs.results import was_evaluated
from lora_tui.runs.run import Run
from lora_tui.runs.status import status_of
from tests.support.run_builder import START, run_of, summary, train

TOTAL = 40
TRAINED = [train(step, 2.0, TOTAL) for step in range(2, TOTAL + 1, 2)]


def marked(step: int, elapsed_s: float | None = None) -> LogRow:
    """Return a row without a metric: an evaluation by generating, or the summary."""
    row = summary(step, TOTAL)
    return row if elapsed_s is None else row._replace(elapsed_s=elapsed_s)


def ended(rows: Sequence[LogRow], results: Sequence[str] = ("train",), **config: ConfigValue) -> Run:
    """Return a run whose results were written 3 s after the last row and whose model card is not there yet."""
    return run_of(rows, results={split: {f"{split}_runtime": 1.0} for split in results}, config=config or None)


class TestAfterTraining:
    def test_a_job_without_evaluations_does_not_evaluate(self) -> None:
        run = ended([*TRAINED, summary(TOTAL, TOTAL)])
        assert run.timeline.eval_s is None, "the summary closes no evaluation"
        assert status_of(run, START + 3.3).phase == "saving", "plots and the model card follow within a second or two"

    def test_a_stopped_job_without_evaluations_does_not_evaluate(self) -> None:
        run = ended([*TRAINED[:6], summary(12, TOTAL)])
        assert status_of(run, START + 3.3).phase == "saving"

    def test_a_longer_silence_is_a_prediction(self) -> None:
        run = ended([*TRAINED, summary(TOTAL, TOTAL)])
        assert status_of(run, START + 8.0).phase == "predicting"

    def test_a_requested_prediction_is_one_at_once(self) -> None:
        run = ended([*TRAINED, summary(TOTAL, TOTAL)], do_predict=True)
        assert status_of(run, START + 3.3).phase == "predicting"

    @pytest.mark.parametrize(("results", "phase"), [(["train"], "evaluating"), (["train", "eval"], "saving")])
    def test_evaluations_before_the_end_announce_one_after_it(self, results: list[str], phase: str) -> None:
        early = [row for row in TRAINED if (row.step or 0) <= 20]
        run = ended([*early, marked(20), *TRAINED[10:], marked(TOTAL), summary(TOTAL, TOTAL)], results)
        assert status_of(run, START + 3.3).phase == phase

    def test_the_length_of_an_evaluation_is_not_that_of_the_summary(self) -> None:
        rows = [
            *TRAINED[:10],
            marked(20, 27.0),
            *(row._replace(elapsed_s=(row.elapsed_s or 0) + 7) for row in TRAINED[10:]),
        ]
        assert ended([*rows, marked(TOTAL, 53.0), marked(TOTAL, 53.0)]).timeline.eval_s == 7.0


class TestEvaluated:
    def test_scores_are_an_evaluation(self) -> None:
        assert was_evaluated(run_of([*TRAINED[:10], LogRow("eval", 20, {"eval_bleu-4": 30.0}, TOTAL, 1.0, 20.0)]))

    def test_a_row_without_a_metric_is_one_unless_it_is_the_summary(self) -> None:
        assert was_evaluated(run_of([*TRAINED[:10], marked(20), TRAINED[10]]))
        assert not was_evaluated(run_of([*TRAINED, summary(TOTAL, TOTAL)]))

    def test_results_of_another_attempt_do_not_count(self) -> None:
        values = {"eval_loss": 2.0}
        assert was_evaluated(run_of(TRAINED, results={"eval": values}))
        assert not was_evaluated(run_of(TRAINED, results={"eval": values}, results_age=100.0))
