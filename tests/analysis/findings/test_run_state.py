"""Findings of who wrote into a run's directory."""

from __future__ import annotations

import pytest

from lora_tui.analysis.findings.find import find
from lora_tui.records.documents import LogRow
from lora_tui.records.updates import FileRows
from tests.support.checkpoint_runs import (
    checkpoint_dir,
    falling_rows,
    finding_codes,
    only_finding,
    run_with_checkpoints,
    written_at,
)
from tests.support.run_builder import START, run_of, train


def written(log, now=START):
    run = run_of(log)
    return run, now + 2


def clocked(steps, began=0.0, loss=1.0, total=1000):
    """Rows of one process, ten seconds a step; ``began``: when it started, by the other's clock."""
    return [
        (began + 10.0 * i, train(step, loss, total)._replace(elapsed_s=10.0 * i)) for i, step in enumerate(steps, 1)
    ]


def together(*writers):
    return [row for _, row in sorted((item for one in writers for item in one), key=lambda item: item[0])]


class TestTwoWriters:
    def test_started_one_after_the_other(self):
        log = together(clocked(range(10, 500, 10)), clocked(range(10, 300, 10), began=205.0))
        one = only_finding(*reorder(written(log), "two_writers"))
        assert (one.severity, one.evidence["file"]) == ("warning", "trainer_log.jsonl")
        assert one.step is not None
        assert 200 < one.step < 240
        assert "resumed" not in finding_codes(*written(log))

    def test_started_together(self):
        # One log on a shared disk for two nodes: every step twice, the clocks alike.
        a, b = clocked(range(10, 300, 10)), clocked(range(10, 300, 10), began=0.2, loss=1.001)
        assert only_finding(*reorder(written(together(a, b)), "two_writers")).step == 20

    def test_a_resume_is_none(self):
        log = together(clocked(range(10, 200, 10))) + together(clocked(range(110, 400, 10)))
        assert "two_writers" not in finding_codes(*written(log))

    def test_many_restarts_are_none(self):
        log = []
        for begin in (10, 60, 60, 110, 110, 110, 160, 200):
            log += together(clocked(range(begin, begin + 100, 10)))
        run, now = written(log)
        assert "two_writers" not in finding_codes(run, now)
        assert only_finding(run, "resumed", now).evidence["count"] == 7

    def test_evaluations_between_are_none(self):
        log = []
        for at, row in clocked(range(10, 300, 10)):
            log += [row, LogRow("eval", row.step, {"eval_loss": 1.0}, 1000, 1.0, at)]
        assert "two_writers" not in finding_codes(*written(log))

    def test_seen_row_by_row_as_well(self):
        log = together(clocked(range(10, 500, 10)), clocked(range(10, 300, 10), began=205.0))
        run = run_of([])
        for number, row in enumerate(log):
            time = START + number
            run.apply([FileRows("trainer_log.jsonl", "log", (row,), time, arrived=time)])
        assert "two_writers" in finding_codes(run, START + len(log) + 1)

    def test_partial_rows_of_event_files_are_none(self):
        split = [
            part for step in range(10, 300, 10) for part in (train(step, 1.0, 300), train(step, 1.0, 300, lr=1e-4))
        ]
        run = run_of([])
        run.apply([FileRows("runs/a/events.out.tfevents.1", "events", tuple(split), START)])
        assert "two_writers" not in finding_codes(run, START + 2)


def reorder(pair, code):
    run, now = pair
    return run, code, now


class TestResumed:
    def test_with_another_plan(self):
        log = together(clocked(range(10, 200, 10), total=400)) + together(clocked(range(160, 260, 10), total=800))
        one = only_finding(*reorder(written(log), "resumed"))
        assert one.variant == "replanned"
        assert one.evidence == {"count": 1, "last": 160, "before": 400, "after": 800}

    def test_with_the_same_plan(self):
        log = together(clocked(range(10, 200, 10))) + together(clocked(range(160, 260, 10)))
        assert only_finding(*reorder(written(log), "resumed")).variant == ""


class TestRerun:
    def test_older_than_the_training(self):
        run, now = run_with_checkpoints(falling_rows(120, 600), [checkpoint_dir(50, at=written_at(0) - 5000), 100])
        one = only_finding(run, "rerun", now)
        assert (one.variant, one.evidence["checkpoint"]) == ("older", "checkpoint-50")
        assert [item.foreign for item in run.checkpoints()] == [True, False]

    def test_its_evaluations_are_not_the_new_ones(self):
        run, now = run_with_checkpoints(
            falling_rows(120, 600, {50: 1.0, 100: 1.2}), [checkpoint_dir(50, at=written_at(0) - 5000), 100]
        )
        assert [item.eval_loss for item in run.checkpoints()] == [None, 1.2]
        assert [item.best for item in run.checkpoints()] == [False, True]
        assert now > written_at(120)

    def test_a_log_that_was_touched_proves_nothing(self):
        run, now = run_with_checkpoints(
            falling_rows(600, 600),
            [checkpoint_dir(300, at=written_at(300) - 90_000), checkpoint_dir(600, at=written_at(600) - 90_000)],
        )
        from lora_tui.records.documents import TrainerState
        from lora_tui.records.updates import FileDoc

        run.apply(
            [FileDoc("trainer_state.json", TrainerState(global_step=600, max_steps=600), written_at(600) - 89_999)]
        )
        assert "rerun" not in [one.code for one in find(run, now)]


@pytest.mark.parametrize(("checkpoints", "came_from"), [((10, 20), 20), ((10, 25), 25), ((10,), 30), ((20, 30), 20)])
def test_a_resume_is_from_its_checkpoint_not_from_the_first_row_after_it(checkpoints, came_from):
    """Rows come every ``logging_steps``, so that the first one of a resume is so many steps behind the checkpoint."""
    log = [train(step, 2.0, 100) for step in (10, 20, 30, 40)]
    log += [train(step, 2.0, 100)._replace(elapsed_s=float(step - 20)) for step in (30, 40, 50)]
    one = only_finding(run_of(log, checkpoints=checkpoints), "resumed", START + 3)
    assert (one.evidence["last"], one.step) == (came_from, 30)
