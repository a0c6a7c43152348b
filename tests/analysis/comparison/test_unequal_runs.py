"""Runs that have little to be compared by: other steps, no epochs, no losses, losses that are no numbers."""

from __future__ import annotations

import math

from lora_tui.analysis.comparison.compare import Place, common_evaluation, common_loss, compare
from lora_tui.analysis.comparison.measures import side_of
from lora_tui.analysis.comparison.settings import differences
from lora_tui.analysis.similarity import setup_of
from lora_tui.records.documents import ConfigDoc, LogRow
from lora_tui.records.updates import FileDoc
from lora_tui.runs.run import Run
from tests.analysis.comparison.test_compare import BASE, LATER, made, notes, outcome, predicted
from tests.support.run_builder import START, evaluation, run_of, train


def sides(*runs: Run):
    return [side_of(run, LATER, ()) for run in runs]


def stepped(*evals: int, first: int = 10, last: int = 400, epochs: bool = True, batch: int | None = None) -> Run:
    """A run of 400 steps and 3 epochs with a row every 10 steps, and evaluations at these steps."""
    rows = [train(step, 1 + 1 / step, 400) for step in range(first, last + 1, 10)]
    rows += [evaluation(step, 1 + 2 / step, 400) for step in evals]
    rows.sort(key=lambda row: row.step or 0)
    if not epochs:
        rows = [row._replace(epoch=None) for row in rows]
    return run_of(rows, config={**BASE, **({} if batch is None else {"total_train_batch_size": batch})})


class TestPlaces:
    def test_evaluations_a_step_apart_are_at_the_same_epoch(self):
        found = common_evaluation(sides(stepped(100, 200, 300), stepped(99, 202, 330)))
        assert found is not None
        place, values = found
        assert place == Place("epoch", 1.5)
        assert [value.step for value in values] == [200, 202]
        assert common_evaluation(sides(stepped(100, 200, 300), stepped(50, 150, 250))) is None

    def test_without_an_epoch_only_steps_of_the_same_data_meet(self):
        here, there = stepped(100, 200, epochs=False), stepped(100, 200)
        found = common_evaluation(sides(here, there))
        assert found is not None
        assert (found[0].by, found[0].at) == ("step", 200)
        apart = sides(stepped(100, 200, epochs=False, batch=8), stepped(100, 200, batch=16))
        assert common_evaluation(apart) is None
        assert common_loss(apart) is None
        assert common_loss(sides(stepped(epochs=True, batch=8), stepped(batch=16))) is not None

    def test_every_run_needs_a_loss(self):
        evaluated = run_of([evaluation(step, 1.5, 400) for step in (100, 200)], config=BASE)
        assert common_loss(sides(stepped(), evaluated)) is None
        assert common_evaluation(sides(stepped(100, 200), evaluated)) is not None

    def test_a_run_that_began_behind_the_end_of_the_other_has_no_level_there(self):
        assert common_loss(sides(stepped(last=100), stepped(first=200))) is None
        assert common_loss(sides(stepped(last=200), stepped(first=100))) is not None


class TestMeasures:
    def test_a_place_where_nothing_can_be_said_is_not_shown(self):
        other = {"dataset": "x"}
        found = compare([made("a", 1.0), made("b", 1.3, done=200, config=other)], LATER)
        assert found.measure("eval_at") is None
        assert outcome(found, "eval_best") == ("unfair", ())

    def test_losses_that_are_no_numbers_have_no_winner(self):
        def lost(name: str) -> Run:
            rows = [
                train(step, math.inf if step == 400 else 1.0 + 0.01 * (step % 7), 400) for step in range(10, 401, 10)
            ]
            run = run_of(rows, config=BASE, ended=True)
            run.name = name
            return run

        measure = compare([lost("a"), lost("b")], LATER).measure("loss_end")
        assert measure is not None
        assert [str(value and value.value) for value in measure.values] == ["nan", "nan"]
        assert (measure.outcome, measure.best) == ("none", ())

    def test_a_level_of_four_rows_is_shown_and_wins_nothing(self):
        def short(name: str, loss: float) -> Run:
            run = run_of([train(step, loss, 40) for step in (10, 20, 30, 40)], config=BASE, ended=True)
            run.name = name
            return run

        measure = compare([short("a", 1.0), short("b", 2.0)], LATER).measure("loss_end")
        assert measure is not None
        assert [value and value.value for value in measure.values] == [1.0, 2.0]
        assert (measure.outcome, measure.best) == ("none", ())


class TestNotes:
    def test_few_samples_of_an_evaluation(self):
        def evaluated(name: str, samples: int) -> Run:
            values = {"eval_loss": 1.2, "eval_runtime": 10.0, "eval_samples_per_second": samples / 10}
            return made(name, results={"eval": values})

        found = compare([evaluated("a", 20), evaluated("b", 200)], LATER)
        (note,) = [one for one in found.notes if one.code == "few_eval_samples"]
        assert (note.runs, note.params) == ((0,), {"samples": 20})
        assert "few_eval_samples" not in notes(compare([evaluated("a", 50), evaluated("b", 200)], LATER))

    def test_predictions_of_the_same_set_need_no_word(self):
        def on(name: str, data: str) -> Run:
            run = predicted(name, 40.0, 200)
            job = ConfigDoc({"do_predict": True, "eval_dataset": data}, "llamafactory")
            run.apply([FileDoc("training_args.yaml", ConfigDoc({**BASE, **job.values}, "llamafactory"), START + 2)])
            return run

        codes = ("other_predict_set", "unknown_predict_set")
        assert not {*notes(compare([on("a", "test"), on("b", "test")], LATER))} & {*codes}
        assert codes[0] in notes(compare([on("a", "test"), on("b", "other")], LATER))
        assert codes[1] in notes(compare([predicted("a", 40.0, 200), predicted("b", 40.0, 200)], LATER))


def test_another_evaluation_set_matters_and_how_often_it_is_used_does_not():
    runs = [made("a", config={"eval_dataset": "x", "eval_steps": 50}),
            made("b", config={"eval_dataset": "y", "eval_steps": 100})]  # fmt: skip
    found, _ = differences([setup_of(run) for run in runs])
    assert [(item.option, item.kind) for item in found] == [("eval_dataset", "matters"), ("eval_steps", "idle")]


def test_rows_without_a_step_meet_nowhere():
    counted = run_of([LogRow("train", None, {"loss": 1.0 + 0.01 * at}) for at in range(40)], config=BASE)
    assert common_loss(sides(counted, stepped())) is None
