"""Real jobs, watched while they run: the states on the way, and the numbers at the end against the files."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.e2e.cockpit import QUIET, SETTING_UP, Watch, status, watching
from tests.integration.e2e.conftest import Start
from tests.integration.e2e.producer import DPO, EVALUATED, PREDICT, Job, Options

pytestmark = pytest.mark.e2e

LAG_S = 5.0
"""A row must be on the screen by then. It takes 0.1 to 0.4 s; two jobs leave a small machine nothing."""
AGED_S = 20 * 60.0
"""Silence after which a job that says nothing more has been cut off: 15 minutes, and some."""


# -- what is held against what ---------------------------------------------------------------------------------------


def check_way(watch: Watch, since: float = 0.0, end: str = "finished", accused: bool = False) -> None:
    """It was set up, trained, and ended, in this order; nothing was accused that was right, and no row was late."""
    states = watch.states(since)
    told = watch.told()
    assert states[-1] == end, told
    assert end not in states[:-1], f"it was over and then was not\n{told}"
    assert "training" in states, told
    begun = states.index("training")
    assert set(states[:begun]) <= SETTING_UP, told
    assert not set(states[begun:]) & SETTING_UP, told
    if not accused:
        assert set(states) <= SETTING_UP | QUIET | {"training", end}, told
        assert not watch.alarms, told
    steps = [sight.step for sight in watch.sights if sight.at >= since and sight.step is not None]
    assert steps == sorted(steps), told
    assert watch.behind <= LAG_S, f"{watch.behind:.1f} s late\n{told}"


def check_metric(said: Mapping[str, Any], rows: list[dict[str, Any]], key: str, name: str | None = None) -> None:
    """Every figure of one metric in the status against the rows of the log."""
    values = [(row["current_steps"], row[key]) for row in rows if key in row]
    metric = said["metrics"][name or key]
    assert metric["count"] == len(values)
    assert metric["first"] == values[0][1]
    assert metric["last"] == values[-1][1]
    assert metric["min"] == min(value for _, value in values)
    assert metric["max"] == max(value for _, value in values)
    assert metric["min_step"] == min(values, key=lambda found: found[1])[0]
    assert metric["nonfinite"] == 0


def check_status(job: Job, rows: list[dict[str, Any]], splits: str, state: str = "finished") -> dict[str, Any]:
    """``status --json`` against the files: progress, metrics, results, checkpoints, options."""
    said = status(job.directory, str(job.output.relative_to(job.directory)))
    assert said["state"] == state
    trained = [row for row in rows if "epoch" in row]
    last, progress = trained[-1], said["progress"]
    assert progress["step"] == last["current_steps"]
    assert progress["total_steps"] == last["total_steps"]
    assert progress["epoch"] == pytest.approx(last["epoch"])
    check_metric(said, trained, "loss")
    check_metric(said, trained, "lr")
    if any("eval_loss" in row for row in trained):
        check_metric(said, trained, "eval_loss")
        if said["run"]["stage"] == "sft":
            perplexity = math.exp(said["metrics"]["eval_loss"]["last"])
            assert said["metrics"]["perplexity"]["last"] == pytest.approx(perplexity)
    assert set(said.get("results", {})) == set(splits.split())
    for split in splits.split():
        found = said["results"][split]
        assert found.pop("stale") is False
        assert found == job.results(split)
    assert [item["step"] for item in said["checkpoints"]] == job.checkpoints()
    assert all(item["complete"] for item in said["checkpoints"])
    # No file of the default options says it.
    assert said["run"].get("stage", job.options["stage"]) == job.options["stage"]
    assert said["config"]["lora_rank"] == job.options["lora_rank"]
    assert said["problems"] == []
    return said


def check_screen(watch: Watch, job: Job, rows: list[dict[str, Any]]) -> None:
    """The overview against the files: the last loss, the mean loss, the last evaluation, steps and percent."""
    losses = [row["loss"] for row in rows if "loss" in row]
    evals = [row["eval_loss"] for row in rows if "eval_loss" in row]
    last = [row for row in rows if "epoch" in row][-1]
    expected = [
        rf"100 %  {last['current_steps']}/{last['total_steps']}",
        rf"mean train loss {job.results('train')['train_loss']:.4f}",
        rf"last {losses[-1]:.4f}",
        rf"loss {losses[-1]:.4f} ",
        rf"min {min(losses):.4f}@",
    ]
    if evals:
        expected += [rf"eval {evals[-1]:.4f}", rf"◆ eval {evals[-1]:.4f}"]
        assert "not evaluated" not in watch.terminal.text
    for pattern in expected:
        assert re.search(pattern, watch.terminal.text), f"{pattern}\n{watch.terminal.shown()}"


def check_scores(watch: Watch, *results: Mapping[str, float]) -> None:
    """The page of results has all scores of these files."""
    page = watch.page("3")
    labels = {"bleu-4": "BLEU-4", "rouge-1": "ROUGE-1", "rouge-2": "ROUGE-2", "rouge-l": "ROUGE-L"}
    for values in results:
        for key, value in values.items():
            label = labels.get(key.partition("_")[2])
            if label is not None:
                assert re.search(rf"{label} +{value:.2f}\b", page), f"{key} {value}\n{page}"
    watch.page("1")


def check_checkpoints(watch: Watch, job: Job, evals: Mapping[int, float] | None = None) -> None:
    """The page of checkpoints lists those that are there, the newest first, each with the evaluation of its step."""
    page = watch.page("7")
    shown = re.findall(r"│ *(?:[^\w│ ]+ +)?checkpoint-(\d+) +(\S+)", page.partition("path ")[2])
    assert [int(step) for step, _ in shown] == job.checkpoints()[::-1], page
    for step, value in shown:
        if evals and int(step) in evals:
            assert value == f"{evals[int(step)]:.4f}", page
    watch.page("1")


def eval_losses(rows: list[dict[str, Any]]) -> dict[int, float]:
    return {row["current_steps"]: row["eval_loss"] for row in rows if "eval_loss" in row}


def written(path: Path) -> float:
    return path.stat().st_mtime


def aged(run: Path, target: Path) -> Path:
    """A copy of a run that fell silent a while ago: that it was cut off shows only then."""
    shutil.copytree(run, target)
    for path in [*target.rglob("*"), target]:
        stat = path.stat()
        original = run / path.relative_to(target)
        os.utime(path, (stat.st_atime, written(original) - AGED_S))
    return target


# -- jobs that go well -----------------------------------------------------------------------------------------------


def test_train_evaluate_and_predict_in_one_job(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start(
            "saves/sft", EVALUATED, PREDICT, {"do_eval": True, "val_size": None, "eval_steps": 20},
            {"report_to": "tensorboard"}, console="nohup.out",
        )  # fmt: skip
        watch.until_end(job)
        watch.until_state("finished")
        assert job.process.returncode == 0
        check_way(watch)
        over = watch.sights[-1].at
        assert over >= written(job.output / "predict_results.json"), "finished is said after the last result"
        assert "evaluating" in watch.states()
        watch.until(lambda: "BLEU-4" in watch.terminal.text, "the scores")
        # Evaluations by generating log no loss, but scores.
        assert "not evaluated" not in watch.terminal.text, watch.terminal.shown()
        assert "eval loss (val_size" not in watch.terminal.text, watch.terminal.shown()
        check_screen(watch, job, job.rows())
        check_scores(watch, job.results("predict"), job.results("eval"))
        check_checkpoints(watch, job)
    said = check_status(job, job.rows(), "train eval predict")
    history = json.loads((job.output / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    for name in ("grad_norm", "eval_bleu-4", "eval_rouge-l"):
        values = [row[name] for row in history if name in row]
        assert said["metrics"][name]["count"] == len(values) >= 2
        assert said["metrics"][name]["last"] == pytest.approx(values[-1])


def test_the_default_options_and_then_a_prediction_with_the_adapter(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start("saves/sft")
        watch.until_end(job)
        watch.until_state("finished")
        check_way(watch)
        assert "evaluating" not in watch.states(), watch.told()
        check_screen(watch, job, job.rows())
        assert "not evaluated" in watch.terminal.text
        check_checkpoints(watch, job)
        begun = time.time()
        tested = start(
            "saves/predict", PREDICT, {"do_train": False, "adapter_name_or_path": "saves/sft", "max_steps": None},
            console="saves/predict/train.log",
        )  # fmt: skip
        watch.until_end(tested)
        watch.until(lambda: "BLEU-4" in watch.terminal.text, "the scores beside the run that was tested")
        assert set(watch.states(begun, "sft")) <= {"finished"}, watch.told()
        check_scores(watch, tested.results("predict"))
        assert not watch.alarms, watch.told()
    check_status(job, job.rows(), "train")
    said = status(tmp_path, "saves/predict")
    assert said["state"] == "finished"
    assert said["results"]["predict"].items() >= tested.results("predict").items()
    assert said["progress"]["unit"] == "batches"


def test_preference_training(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start("saves/dpo", EVALUATED, DPO, {"do_eval": True}, console="saves/dpo/train.log")
        watch.until_end(job)
        watch.until_state("finished")
        check_way(watch)
        assert watch.sights[-1].at >= written(job.output / "eval_results.json")
        check_screen(watch, job, job.rows())
        check_checkpoints(watch, job, eval_losses(job.rows()))
    said = check_status(job, job.rows(), "train eval")
    check_metric(said, job.rows(), "accuracy")
    history = json.loads((job.output / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    margins = [row["rewards/margins"] for row in history if "rewards/margins" in row]
    assert said["metrics"]["rewards/margins"]["last"] == pytest.approx(margins[-1])


def test_a_job_of_llamaboard(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start("saves/train_1", EVALUATED, {"include_num_input_tokens_seen": True, "do_eval": True}, board=True)
        watch.until_end(job)
        watch.until_state("finished")
        check_way(watch)
        assert watch.states()[0] != "training", "it is there before its first row"
        assert watch.sights[-1].at >= written(job.output / "eval_results.json")
        check_screen(watch, job, job.rows())
        check_checkpoints(watch, job, eval_losses(job.rows()))
    said = check_status(job, job.rows(), "train eval")
    assert said["config"]["dataset"] == "sft_demo"
    assert said["config_sources"]["learning_rate"].endswith("training_args.yaml")
    check_metric(said, [row for row in job.rows() if "loss" in row], "total_tokens")


def test_the_abort_of_llamaboard(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start("saves/train_1", {"max_steps": 400}, board=True)
        watch.until_step(12)
        job.signal(signal.SIGABRT)  # what its stop button sends
        watch.until_end(job)
        watch.until_state("stopped early")
        assert job.process.returncode == 0
        check_way(watch, end="stopped early")
    said = check_status(job, job.rows(), "train", "stopped")
    assert said["progress"]["step"] < said["progress"]["total_steps"] == 400
    assert [item["code"] for item in said["findings"] if item["severity"] in ("warning", "critical")] == []


def test_a_rerun_over_an_old_attempt(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        first = start("saves/sft", EVALUATED, {"max_steps": 24, "save_steps": 12, "do_eval": True})
        watch.until_end(first)
        watch.until_state("finished")
        check_way(watch)
        old = first.rows()
        begun = time.time()
        second = start("saves/sft", {"overwrite_output_dir": True, "max_steps": 16, "save_steps": 8, "seed": 7})
        watch.until_end(second)
        watch.until(lambda: watch.sights[-1][2:] == ("finished", 16, 16), "the end of the second attempt")
        # The old attempt has ended until the producer deletes its log.
        states = watch.states(begun)
        began = states.index("waiting")
        assert set(states[:began]) <= {"finished"}, watch.told()
        check_way(watch, since=next(s.at for s in watch.sights if s.at >= begun and s.state == "waiting"))
        rows = second.rows()
        assert rows[0]["loss"] != old[0]["loss"]
        check_screen(watch, second, rows)
        shown = watch.terminal.text
        assert "not evaluated" in shown
        # Of the old attempt only its evaluation's results are left, and they are called so.
        left = f"{second.results('eval')['eval_loss']:.4f}"
        assert re.search(rf" {left} .*\n.*! from an earlier attempt", shown), shown
        for row in old:
            for key in ("loss", "eval_loss"):
                value = f"{row[key]:.4f}" if key in row else left
                assert value == left or value not in shown, f"{row}\n{shown}"
    said = status(tmp_path, "saves/sft")
    assert said["state"] == "finished"
    check_metric(said, rows, "loss")
    assert "eval_loss" not in said["metrics"]
    assert said["results"]["eval"]["stale"] is True
    assert said["results"]["train"]["stale"] is False
    assert [item["step"] for item in said["checkpoints"]] == second.checkpoints()


# -- jobs that do not ------------------------------------------------------------------------------------------------


def test_kill_9_and_a_resume_from_the_last_checkpoint(start: Start, tmp_path: Path) -> None:
    options: Options = {"save_steps": 10, "max_steps": 50}
    with watching(tmp_path, "saves") as watch:
        job = start("saves/sft", options, console="saves/sft/train.log")
        watch.until_step(24)
        job.kill_between_saves()
        before = job.rows()
        died = before[-1]["current_steps"]
        watch.until(lambda: watch.sights[-1].step == died, "the last row")
        # Nothing was said, so nothing can be known yet.
        end = time.monotonic() + 3
        watch.until(lambda: time.monotonic() > end, "")
        assert set(watch.states()) <= SETTING_UP | QUIET | {"training"}, watch.told()
        saved = job.checkpoints()[-1]
        aged(job.output, tmp_path / "later/sft")
        with watching(tmp_path, "later") as later:
            later.until_state("cut off")
            shown = later.terminal.text
            assert f"{died}/50" in shown
            assert re.search(rf"resume: checkpoint-{saved} \({died - saved} steps? lost\)", shown), shown
        said = status(tmp_path, "later/sft")
        assert said["state"] == "interrupted"
        assert said["progress"]["steps_at_risk"] == died - saved
        begun = time.time()
        again = start("saves/sft", options, console="saves/sft/train.log")
        watch.until_end(again)
        watch.until_state("finished")
        states = watch.states(begun)
        assert set(states) <= SETTING_UP | QUIET | {"training", "finished"}, watch.told()
        assert states.count("finished") == 1, watch.told()
        assert not watch.alarms, watch.told()
        assert watch.behind <= LAG_S, watch.told()
        rows = again.rows()
        resumed = rows[len(before)]["current_steps"]
        assert resumed == saved + 2, "the producer went on from the last checkpoint"
        kept = [row for row in before if row["current_steps"] < resumed] + rows[len(before) :]
        losses = [row["loss"] for row in kept if "loss" in row]
        assert f"loss {losses[-1]:.4f} " in watch.terminal.text
        assert f"Went on from step {saved};" in watch.terminal.text
        # The producer divides the sum over the steps since the resume by all steps: its mean is no mean.
        assert job.results("train")["train_loss"] < min(losses)
        assert "mean train loss" not in watch.terminal.text, watch.terminal.shown()
        check_checkpoints(watch, again)
    said = check_status(again, kept, "train")
    assert said["progress"]["segments"] == 2
    assert said["progress"]["steps_at_risk"] == 0
    assert "resumed" in [item["code"] for item in said["findings"]]


def test_a_full_disk_at_a_checkpoint(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        job = start("saves/sft", {"save_steps": 10}, console="nohup.out")
        watch.until(lambda: (job.output / "checkpoint-10/trainer_state.json").exists(), "the first checkpoint", 200.0)
        job.fill_disk(200_000)
        watch.until_end(job)
        watch.until_state("failed")
        assert job.process.returncode == 1
        check_way(watch, end="failed", accused=True)
        message = (tmp_path / "nohup.out").read_text(encoding="utf-8").rstrip().splitlines()
        error = next(line for line in reversed(message) if re.match(r"\w*(Error|Exception)\b", line))
        shown = watch.terminal.text
        assert error[:60] in shown, f"{error}\n{shown}"
        assert re.search(r"failed at 20/40", shown), shown
        assert "resume: checkpoint-10 (10 steps lost)" in shown, shown
        assert "checkpoint-20 is incomplete" in shown, shown
        assert [alarm for alarm in watch.alarms if not alarm.startswith("✗ failed")] == [], watch.told()
    said = status(tmp_path, "saves/sft")
    assert said["state"] == "failed"
    assert {item["step"]: item["complete"] for item in said["checkpoints"]} == {10: True, 20: False}
    check_metric(said, job.rows(), "loss")


def test_a_crash_before_the_first_step_and_the_same_again_put_right(start: Start, tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as watch:
        wrong = start("saves/sft", {"dataset": "no_such_data"}, console="saves/sft/train.log")
        watch.until_end(wrong)
        watch.until_state("failed")
        assert "Undefined dataset no_such_data" in watch.terminal.text, watch.terminal.shown()
        assert status(tmp_path, "saves/sft")["state"] == "failed"
        begun = time.time()
        right = start("saves/sft", {"max_steps": 20}, console="saves/sft/train.log")
        watch.until_end(right)
        watch.until_state("finished")
        # The failure is the last word until the second attempt says something.
        states = list(itertools.dropwhile(lambda state: state == "failed", watch.states(begun)))
        assert set(states) <= SETTING_UP | QUIET | {"training", "finished"}, watch.told()
        assert states[-1] == "finished"
        assert "no_such_data" not in watch.terminal.text
        check_screen(watch, right, right.rows())
    said = check_status(right, right.rows(), "train")
    assert "failed" not in [item["code"] for item in said["findings"]]
