"""Which checkpoint to take, and what is at stake: the trainer's own rules of saving and deleting."""

from __future__ import annotations

import pytest

from lora_tui.analysis.checkpoint_choice import choose
from lora_tui.analysis.judgement import Finding
from lora_tui.records.documents import Results
from lora_tui.records.updates import FileDoc, FileRows
from tests.support.checkpoint_runs import checkpoint_dir, falling_rows, run_with_checkpoints, written_at
from tests.support.run_builder import START, train

EVALS = {100: 1.5, 200: 1.2, 300: 1.3, 400: 1.4}


def test_the_best_evaluation_that_is_saved():
    run, now = run_with_checkpoints(falling_rows(400, 600, EVALS), [100, 200, 300, 400], save_steps=100)
    choice = choose(run, now)
    assert (choice.metric, choice.higher, choice.best_step, choice.best_value) == ("eval_loss", False, 200, 1.2)
    assert choice.best_path == choice.take_path == "checkpoint-200"
    assert (choice.last_path, choice.last_value) == ("checkpoint-400", 1.4)
    assert choice.cost == pytest.approx(0.2 / 1.2)
    assert (choice.deleted_by, choice.copy, choice.best_gone) == (None, None, False)


def test_without_an_evaluation_the_newest_whole_one():
    run, now = run_with_checkpoints(falling_rows(400, 600), [100, 200, checkpoint_dir(300, whole=False)])
    choice = choose(run, now)
    assert (choice.metric, choice.take_path, choice.take_value) == ("", "checkpoint-200", None)
    assert choice.last_path == "checkpoint-200"


def test_no_training_no_advice():
    run, now = run_with_checkpoints([train(5, 1.0, 10)._replace(kind="progress", epoch=None)])
    assert choose(run, now).take_path is None


TRAIN_ROWS = [row for row in falling_rows(400, 600) if row.kind == "train"]
KEEP_TWO = {"save_total_limit": 2, "save_steps": 100}


class TestMeasure:
    def log(self, name, values):
        extra = [row._replace(kind="eval", values={name: values[row.step]}) for row in TRAIN_ROWS if row.step in values]
        return sorted([*TRAIN_ROWS, *extra], key=lambda row: (row.step, row.kind == "eval"))

    def test_named_by_the_job(self):
        log = self.log("eval_rouge-l", {100: 30.0, 200: 40.0, 300: 35.0})
        run, now = run_with_checkpoints(log, [100, 200, 300], config={"metric_for_best_model": "rouge-l"})
        choice = choose(run, now)
        assert (choice.metric, choice.higher, choice.take_step) == ("eval_rouge-l", True, 200)
        assert choice.cost == pytest.approx(5 / 40)

    def test_lower_is_better_where_the_job_says_so(self):
        log = self.log("eval_wer", {100: 30.0, 200: 20.0, 300: 25.0})
        run, now = run_with_checkpoints(
            log, [100, 200, 300], config={"metric_for_best_model": "eval_wer", "greater_is_better": False}
        )
        assert choose(run, now).take_step == 200

    def test_by_the_value_that_the_trainer_keeps(self):
        log = self.log("eval_accuracy", {100: 0.6, 200: 0.7, 300: 0.65})
        choice = choose(*run_with_checkpoints(log, [100, 200, 300], best=(200, 0.7)))
        assert (choice.metric, choice.higher, choice.take_step) == ("eval_accuracy", True, 200)

    def test_scores_where_there_is_no_loss(self):
        # predict_with_generate logs scores in place of the eval loss.
        log = self.log("eval_rouge-l", {100: 30.0, 200: 28.0})
        assert choose(*run_with_checkpoints(log, [100, 200])).take_step == 100

    def test_the_first_of_equals_as_the_trainer_has_it(self):
        log = self.log("eval_rouge-l", {100: 30.0, 200: 30.0})
        choice = choose(*run_with_checkpoints(log, [100, 200]))
        assert (choice.best_step, choice.take_step) == (100, 100)


class TestEstimated:
    def test_the_nearest_evaluation_stands_in(self):
        run, now = run_with_checkpoints(
            falling_rows(600, 900, {100: 2.0, 200: 1.2, 300: 1.25, 400: 1.6, 500: 1.9}), [220, 450]
        )
        choice = choose(run, now)
        assert (choice.take_step, choice.take_value, choice.take_estimated) == (220, 1.2, True)
        assert choice.best_path is None

    def test_not_from_far_away(self):
        run, now = run_with_checkpoints(falling_rows(600, 900, {100: 2.0, 200: 1.2}), [500])
        choice = choose(run, now)
        assert (choice.take_step, choice.take_value) == (500, None)

    def test_between_two_the_worse_one(self):
        run, now = run_with_checkpoints(falling_rows(600, 900, {100: 2.0, 200: 1.2}), [150])
        assert choose(run, now).take_value == 2.0


class TestBroken:
    def test_a_nan_is_never_taken(self):
        evals = {100: 1.5, 200: float("nan"), 300: float("nan")}
        assert (
            choose(*run_with_checkpoints(falling_rows(300, 600, evals), [100, 200, 300])).take_path == "checkpoint-100"
        )

    def test_nothing_behind_the_step_where_the_weights_died(self):
        run, now = run_with_checkpoints(falling_rows(300, 600), [100, 200, 300])
        dead = Finding("dead_run", "critical", 250)
        assert choose(run, now, [dead]).take_path == "checkpoint-200"
        assert choose(run, now, [Finding("dead_run", "critical", 50)]).take_path is None
        assert choose(run, now, [Finding("nan_loss", "warning", 50)]).take_path == "checkpoint-300"


class TestDeleted:
    def deleted(self, last, checkpoints, config=None, total=1000, evals=EVALS, **more):
        run, now = run_with_checkpoints(
            falling_rows(last, total, evals), checkpoints, config=config or KEEP_TWO, **more
        )
        return choose(run, now)

    def test_by_the_save_that_leaves_no_room_for_it(self):
        choice = self.deleted(310, [200, 300])
        assert (choice.take_step, choice.deleted_by, choice.next_save) == (200, 400, 400)
        assert choice.copy == "cp -r '/runs/made here/checkpoint-200' '/runs/made here/best-200'"

    def test_one_more_for_each_place(self):
        config = {"save_total_limit": 4, "save_steps": 100}
        assert self.deleted(210, [100, 200], config).deleted_by == 600

    def test_the_last_step_is_a_save_too(self):
        config = {"save_total_limit": 3, "save_steps": 100}
        assert self.deleted(320, [100, 200, 300], config, total=450).deleted_by == 450
        assert self.deleted(320, [100, 200, 300], config, total=400).deleted_by is None

    def test_none_is_left_to_delete_it(self):
        assert (
            self.deleted(400, [200, 300, 400], {"save_total_limit": 3, "save_steps": 100}, total=400).deleted_by is None
        )

    @pytest.mark.parametrize(
        "more",
        [{"load_best_model_at_end": True}, {"metric_for_best_model": "loss"}, {"load_best_model_at_end": "true"}],
    )
    def test_the_best_is_spared(self, more):
        assert self.deleted(310, [200, 300], {**KEEP_TWO, **more}).deleted_by is None

    def test_the_best_is_spared_where_the_trainer_keeps_one(self):
        assert self.deleted(310, [200, 300], best=(200, 1.2)).deleted_by is None

    def test_without_a_limit_none_is_deleted(self):
        choice = self.deleted(310, [200, 300], {"save_steps": 100})
        assert (choice.deleted_by, choice.limit, choice.next_save) == (None, None, 400)

    def test_saves_that_are_gone_show_the_limit(self):
        choice = self.deleted(610, [500, 600], {"stage": "sft"}, save_steps=100, evals={500: 1.0, 600: 1.1})
        assert (choice.limit, choice.limit_seen, choice.deleted_by) == (2, True, 700)

    def test_a_single_missing_one_shows_nothing(self):
        choice = self.deleted(410, [200, 300, 400], {"stage": "sft"}, save_steps=100)
        assert (choice.limit, choice.deleted_by) == (None, None)

    def test_a_hole_in_the_middle_shows_nothing(self):
        choice = self.deleted(610, [100, 500, 600], {"stage": "sft"}, save_steps=100)
        assert choice.limit is None

    def test_a_run_that_went_on_elsewhere_shows_nothing(self):
        log = [row for row in falling_rows(1010, 2000) if (row.step or 0) > 600]
        assert choose(*run_with_checkpoints(log, [800, 1000], save_steps=200)).limit is None

    def test_old_ones_of_another_attempt_go_first(self):
        choice = self.deleted(310, [checkpoint_dir(50, at=START - 90_000), 200, 300])
        assert (choice.take_step, choice.deleted_by) == (200, 400)

    def test_a_dead_run_deletes_nothing(self):
        run, _ = run_with_checkpoints(falling_rows(310, 1000, EVALS), [200, 300], config=KEEP_TWO)
        choice = choose(run, written_at(310) + 100_000)
        assert (choice.deleted_by, choice.next_save, choice.saves_left) == (None, None, 0)


class TestSaves:
    def test_by_epoch(self):
        run, now = run_with_checkpoints(
            falling_rows(310, 900), [300], config={"save_strategy": "epoch", "save_steps": 500}
        )
        choice = choose(run, now)
        assert (choice.next_save, choice.saves_left) == (600, 2)

    def test_what_lies_there_overrules_the_option(self):
        # The trainer's state says save_steps 500 even where it saves by epoch.
        assert choose(*run_with_checkpoints(falling_rows(310, 900), [150, 300], save_steps=500)).next_save == 450

    def test_a_share_of_the_steps(self):
        assert choose(*run_with_checkpoints(falling_rows(310, 1000), config={"save_steps": 0.25})).next_save == 500

    @pytest.mark.parametrize("strategy", ["no", "best"])
    def test_irregular(self, strategy):
        config = {"save_strategy": strategy, "save_steps": 100}
        assert choose(*run_with_checkpoints(falling_rows(310, 1000), config=config)).next_save is None

    def test_one_that_is_being_written_is_the_next(self):
        run, now = run_with_checkpoints(
            falling_rows(300, 900), [100, 200, checkpoint_dir(300, whole=False)], save_steps=100
        )
        assert choose(run, now).next_save == 300

    def test_the_last_one_while_it_is_being_written(self):
        config = {"save_total_limit": 2, "save_steps": 100}
        run, now = run_with_checkpoints(
            falling_rows(350, 350, EVALS), [200, 300, checkpoint_dir(350, whole=False)], config=config
        )
        choice = choose(run, now)
        assert (choice.next_save, choice.deleted_by, choice.saves_left) == (350, 350, 1)

    def test_not_known(self):
        choice = choose(*run_with_checkpoints(falling_rows(310, 900)))
        assert (choice.next_save, choice.saves_left) == (None, None)


class TestAtRisk:
    def test_since_the_last_whole_one(self):
        run, now = run_with_checkpoints(
            falling_rows(350, 900), [100, 200, checkpoint_dir(300, whole=False)], save_steps=100
        )
        choice = choose(run, now)
        assert choice.steps_at_risk == 150
        assert choice.seconds_at_risk == pytest.approx(152, abs=1)

    def test_everything_without_one(self):
        choice = choose(*run_with_checkpoints(falling_rows(350, 900)))
        assert choice.steps_at_risk == 350
        assert choice.seconds_at_risk == pytest.approx(352, abs=1)

    def test_of_a_dead_run_what_it_had_not_saved(self):
        run, _ = run_with_checkpoints(falling_rows(350, 900), [300])
        choice = choose(run, written_at(350) + 100_000)
        assert choice.steps_at_risk == 50
        assert choice.seconds_at_risk == pytest.approx(50, abs=1)

    def test_nothing_once_it_has_ended(self):
        run, now = run_with_checkpoints(falling_rows(350, 350), [350])
        run.apply([FileDoc("train_results.json", Results("train", {"train_loss": 1.0}), now)])
        choice = choose(run, now + 100)
        assert (choice.steps_at_risk, choice.seconds_at_risk) == (None, None)

    def test_a_resume_counts_from_its_own_start(self):
        run, now = run_with_checkpoints(falling_rows(350, 900), [300])
        later = now + 50_000
        again = tuple(train(step, 1.0, 900)._replace(elapsed_s=float(step - 300)) for step in range(310, 331, 10))
        run.apply([FileRows("trainer_log.jsonl", "log", again, later)])
        assert choose(run, later).seconds_at_risk == pytest.approx(30, abs=1)

    def test_room(self):
        run, now = run_with_checkpoints(falling_rows(350, 900), [checkpoint_dir(300, size=9000)], free=50_000)
        choice = choose(run, now)
        assert (choice.free_bytes, choice.needed_bytes, choice.model_bytes) == (50_000, 9000, 3000)


class TestGone:
    def gone(self, checkpoints, **more):
        run, now = run_with_checkpoints(falling_rows(400, 900, EVALS), checkpoints, **more)
        return choose(run, now)

    def test_a_save_was_due_and_later_ones_are_there(self):
        choice = self.gone([300, 400], save_steps=100)
        assert (choice.best_gone, choice.best_path, choice.take_step) == (True, None, 300)

    def test_it_was_seen(self):
        assert self.gone([300, 400], seen=[200, 300]).best_gone

    def test_the_trainer_named_it(self):
        assert self.gone([300, 400], best=(200, 1.2)).best_gone

    def test_never_saved(self):
        assert not self.gone([150, 400], save_steps=150).best_gone

    def test_not_saved_yet(self):
        assert not self.gone([100], save_steps=100).best_gone
