"""Findings of checkpoints, unsaved work and the disk."""

from __future__ import annotations

import pytest

from lora_tui.analysis.findings.find import find
from lora_tui.i18n import Words
from lora_tui.records.updates import SpaceSeen
from tests.support.checkpoint_runs import (
    checkpoint_dir,
    falling_rows,
    finding_codes,
    only_finding,
    run_with_checkpoints,
    written_at,
)

HOUR = 3600.0
RISEN = {100: 1.5, 200: 1.0, 300: 1.2, 400: 1.3}
FALLEN = {100: 1.5, 200: 1.2, 300: 1.1, 400: 1.0}
LIMIT = {"save_steps": 100, "save_total_limit": 3}


def alarms(run, now):
    return [one.code for one in find(run, now) if one.severity in ("critical", "warning")]


class TestBest:
    def test_will_be_deleted(self):
        run, now = run_with_checkpoints(falling_rows(420, 1000, RISEN), [200, 300, 400], config=LIMIT)
        one = only_finding(run, "best_checkpoint_at_risk", now)
        assert (one.severity, one.step) == ("warning", 200)
        assert one.evidence["deleted_by"] == 500
        assert one.evidence["rise"] == 30.0
        text = Words("en").finding(one)
        assert (
            text[0]
            == "The save of step 500 will delete checkpoint-200 (eval_loss 1); since then it has become 30 % worse."
        )
        assert text[1] == "Copy it now: `cp -r '/runs/made here/checkpoint-200' '/runs/made here/best-200'`"
        assert "best_checkpoint" not in finding_codes(run, now)

    def test_one_worse_evaluation_is_none(self):
        run, now = run_with_checkpoints(falling_rows(320, 1000, RISEN), [200, 300], config=LIMIT)
        one = only_finding(run, "best_checkpoint", now)
        assert (one.severity, one.variant, one.evidence["until"]) == ("info", "until", 500)

    def test_an_improving_one_is_not_at_risk(self):
        run, now = run_with_checkpoints(falling_rows(420, 1000, FALLEN), [200, 300, 400], config=LIMIT)
        assert only_finding(run, "best_checkpoint", now).evidence["until"] == 700

    def test_wiggling_evaluations_are_not(self):
        wiggle = {100: 1.030, 200: 1.000, 300: 1.022, 400: 1.004, 500: 1.019, 600: 1.023}
        run, now = run_with_checkpoints(
            falling_rows(620, 2000, wiggle), [200, 500, 600], config={**LIMIT, "save_total_limit": 4}
        )
        assert alarms(run, now) == []

    def test_was_deleted(self):
        run, now = run_with_checkpoints(falling_rows(520, 1000, {**RISEN, 500: 1.4}), [300, 400, 500], config=LIMIT)
        one = only_finding(run, "best_checkpoint_lost", now)
        assert (one.severity, one.step) == ("warning", 200)
        assert one.evidence["checkpoint"] == "checkpoint-300"
        assert one.evidence["cost"] == 20.0

    def test_deleted_without_a_loss_is_a_note(self):
        run, now = run_with_checkpoints(
            falling_rows(520, 1000, {200: 1.0, 300: 1.012, 400: 1.013, 500: 1.012}), [300, 400, 500], config=LIMIT
        )
        assert only_finding(run, "best_checkpoint", now).variant == "gone"
        assert alarms(run, now) == []

    def test_never_saved_is_a_note(self):
        run, now = run_with_checkpoints(falling_rows(420, 900, RISEN), [150, 300], save_steps=150)
        assert "best_checkpoint_lost" not in finding_codes(run, now)
        one = only_finding(run, "best_checkpoint", now)
        assert (one.severity, one.variant, one.evidence["best_step"]) == ("info", "on_disk", 200)

    def test_while_it_is_being_saved(self):
        run, now = run_with_checkpoints(
            falling_rows(400, 900, FALLEN), [100, 200, 300, checkpoint_dir(400, whole=False)], save_steps=100
        )
        one = only_finding(run, "best_checkpoint", now)
        assert (one.severity, one.variant, one.evidence["checkpoint"]) == ("info", "ahead", "checkpoint-300")

    def test_the_end(self):
        run, _ = run_with_checkpoints(falling_rows(400, 900, FALLEN), [300, 400], save_steps=100)
        assert only_finding(run, "best_checkpoint", written_at(400) + 100_000).variant == "final"
        run, _ = run_with_checkpoints(falling_rows(400, 900, {300: 1.0, 400: 1.1}), [300, 400], save_steps=100)
        one = only_finding(run, "best_checkpoint", written_at(400) + 100_000)
        assert (one.variant, one.evidence["last"]) == ("better", "checkpoint-400")

    def test_a_higher_score_is_better(self):
        log = [row._replace(values={"eval_rouge-l": 60 - 20 * row.values["eval_loss"]}) if row.kind == "eval" else row
               for row in falling_rows(420, 1000, RISEN)]  # fmt: skip
        run, now = run_with_checkpoints(log, [200, 300, 400], config={**LIMIT, "predict_with_generate": True})
        one = only_finding(run, "best_checkpoint_at_risk", now)
        assert one.evidence["value"] == 40.0
        assert one.evidence["rise"] == 15.0

    def test_not_beside_broken_weights(self):
        evals = {100: 1.5, 200: 1.0, 300: float("nan")}
        run, now = run_with_checkpoints(falling_rows(320, 1000, evals), [100, 200, 300], config=LIMIT)
        assert not [code for code in finding_codes(run, now) if code.startswith("best_checkpoint")]


def slow(last, total, evals=None):
    """Rows of which a step takes a minute."""
    return [row._replace(elapsed_s=60.0 * (row.step or 0)) for row in falling_rows(last, total, evals)]


class TestWork:
    def at_risk(self, last, total, checkpoints=(), pause=0.0, **more):
        run, now = run_with_checkpoints(
            slow(last, total), [checkpoint_dir(s, at=written_at(last) - 60.0 * (last - s)) for s in checkpoints], **more
        )
        return run, now + pause

    def test_never_saved_though_a_save_should_have_come(self):
        run, now = self.at_risk(600, 20_000)
        one = only_finding(run, "work_at_risk", now)
        assert (one.severity, one.variant) == ("warning", "never_unknown")
        assert one.evidence["steps"] == 600
        assert one.evidence["seconds"] == pytest.approx(36_000, abs=5)

    def test_before_the_first_usual_save_nothing_is_said(self):
        assert "work_at_risk" not in finding_codes(*self.at_risk(500, 20_000))

    def test_a_large_share_of_the_run(self):
        run, now = self.at_risk(100, 400, config={"save_steps": 200})
        one = only_finding(run, "work_at_risk", now)
        assert (one.variant, one.evidence["next_save"]) == ("never", 200)

    def test_a_plan_of_the_user_is_no_alarm(self):
        # Every 90 minutes of a run of 20 hours.
        run, now = self.at_risk(170, 1200, [90], config={"save_steps": 90})
        assert "work_at_risk" not in finding_codes(run, now)

    def test_under_an_hour_nothing_is(self):
        assert "work_at_risk" not in finding_codes(*self.at_risk(50, 100))

    def test_a_missed_save(self):
        run, now = self.at_risk(190, 2000, [90], config={"save_steps": 90})
        one = only_finding(run, "work_at_risk", now)
        assert (one.variant, one.evidence["due"], one.evidence["steps"]) == ("overdue", 180, 100)

    def test_not_of_a_run_that_is_over(self):
        run, _ = self.at_risk(600, 20_000)
        assert "work_at_risk" not in finding_codes(run, written_at(600) + 30 * 24 * HOUR)


class TestDisk:
    def room(self, free, *, config=None, total=1000, size=1000, last=310):
        disk = [checkpoint_dir(100, size=10), checkpoint_dir(200, size=10), checkpoint_dir(300, size=size)]
        run, now = run_with_checkpoints(
            falling_rows(last, total), disk, config=config or {"save_steps": 100}, free=free
        )
        return run, now

    def test_not_enough_for_two_and_the_final_weights(self):
        run, now = self.room(2300)
        one = only_finding(run, "disk_full_soon", now)
        assert (one.severity, one.variant) == ("critical", "")
        assert one.evidence == {"free": 2300, "needed": 1000, "next_save": 400}
        assert Words("en").finding(one)[0] == "2.3 KB free, a checkpoint takes 1.0 KB; the next save comes at step 400."

    def test_enough_for_the_next_but_not_for_all(self):
        run, now = self.room(4500)
        one = only_finding(run, "disk_full_soon", now)
        assert (one.severity, one.variant) == ("warning", "later")
        assert (one.evidence["room"], one.evidence["saves"], one.evidence["full_at"]) == (4, 7, 800)

    def test_enough(self):
        assert "disk_full_soon" not in finding_codes(*self.room(7400))

    def test_a_limit_makes_room(self):
        config = {"save_steps": 100, "save_total_limit": 2}
        assert "disk_full_soon" not in finding_codes(*self.room(2400, config=config))
        assert "disk_full_soon" in finding_codes(*self.room(2300, config=config))

    def test_no_save_is_to_come(self):
        assert "disk_full_soon" not in finding_codes(*self.room(10, total=300, last=300))
        run, _ = self.room(10)
        assert "disk_full_soon" not in finding_codes(run, written_at(310) + 100_000)

    def test_the_plan_is_not_known(self):
        run, now = run_with_checkpoints(falling_rows(310, 1000), [checkpoint_dir(300, size=1000)], free=100)
        assert only_finding(run, "disk_full_soon", now).variant == "unknown"

    def test_room_was_made(self):
        run, now = self.room(100)
        run.apply([SpaceSeen(10**9, 10**10)])
        assert "disk_full_soon" not in finding_codes(run, now)


class TestIncomplete:
    def test_left_by_a_crash(self):
        run, _ = run_with_checkpoints(falling_rows(300, 900), [100, 200, checkpoint_dir(300, whole=False)])
        one = only_finding(run, "incomplete_checkpoint", written_at(300) + 100_000)
        assert (one.severity, one.variant, one.evidence["command"]) == (
            "info", "newest", "rm -r '/runs/made here/checkpoint-300'",
        )  # fmt: skip

    def test_one_that_is_being_written_is_not(self):
        run, now = run_with_checkpoints(falling_rows(300, 900), [100, 200, checkpoint_dir(300, whole=False)])
        assert "incomplete_checkpoint" not in finding_codes(run, now)

    def test_one_that_later_saves_have_passed(self):
        run, now = run_with_checkpoints(falling_rows(400, 900), [100, checkpoint_dir(200, whole=False), 300])
        assert only_finding(run, "incomplete_checkpoint", now).variant == ""

    def test_ppo_marks_none(self):
        run, _ = run_with_checkpoints(
            falling_rows(300, 900), [checkpoint_dir(300, whole=False)], config={"stage": "ppo"}
        )
        assert "incomplete_checkpoint" not in finding_codes(run, written_at(300) + 100_000)
