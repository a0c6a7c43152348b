"""Every state, reached by moving the clock over real runs or by cutting them to what a job had written by then."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

import lora_tui
from lora_tui.runs.run import Run

YEAR = 365 * 86400.0
CopyRun = Callable[..., Path]


def state(path: Path, now: float) -> tuple[str, str | None]:
    status = lora_tui.load(path).status(now)
    return status.state, status.phase


def mtime(path: Path) -> float:
    return path.stat().st_mtime


def cut_log(run: Path, rows: int, at: float) -> None:
    """Cut the run to its first ``rows`` rows, the last of them written at ``at`` (Unix seconds)."""
    log = run / "trainer_log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:rows]))
    os.utime(log, (at, at))


def remove(run: Path, *names: str) -> None:
    for name in names:
        for path in run.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def bare(run: Path) -> None:
    """Remove everything but the log: what a default job without its console has while it trains."""
    for path in list(run.iterdir()):
        if path.name != "trainer_log.jsonl":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("after", "expected"),
    [(0.0, "running"), (299.0, "running"), (301.0, "stalled"), (899.0, "stalled"), (901.0, "interrupted")],
)
def test_a_silence_grows_from_running_to_interrupted(copy_run: CopyRun, after: float, expected: str) -> None:
    run = copy_run("lora/default")
    bare(run)
    cut_log(run, 5, 1e9)
    assert state(run, 1e9 + after) == (expected, "training")


def test_a_slow_run_is_given_ten_and_sixty_times_its_own_interval(copy_run: CopyRun) -> None:
    run = copy_run("lora/default")
    bare(run)
    rows = [json.loads(line) for line in (run / "trainer_log.jsonl").read_text().splitlines()[:6]]
    for i, row in enumerate(rows):
        row["elapsed_time"] = f"0:{2 * i + 2:02}:00"
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(run / "trainer_log.jsonl", (1e9, 1e9))
    assert state(run, 1e9 + 1199)[0] == "running"
    assert state(run, 1e9 + 1201)[0] == "stalled"
    assert state(run, 1e9 + 7201)[0] == "interrupted"


def test_the_longest_silence_that_a_run_survived_counts(copy_run: CopyRun) -> None:
    run = copy_run("lora/default")
    bare(run)
    rows = [json.loads(line) for line in (run / "trainer_log.jsonl").read_text().splitlines()[:6]]
    for row, clock in zip(rows, ("0:00:10", "0:00:20", "0:02:20", "0:02:30", "0:02:40", "0:02:50"), strict=True):
        row["elapsed_time"] = clock
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(run / "trainer_log.jsonl", (1e9, 1e9))
    assert state(run, 1e9 + 1199)[0] == "running"
    assert state(run, 1e9 + 1201)[0] == "stalled"


def test_an_empty_directory_waits(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/training_args.yaml").write_text("stage: sft\n")
    (tmp_path / "run/trainer_log.jsonl").touch()
    assert state(tmp_path / "run", 4e9)[0] == "waiting"


def test_the_phase_of_a_console_before_the_first_row(copy_run: CopyRun) -> None:
    run = copy_run("lora/killed")
    log = (run / "train.log").read_bytes()
    cut = log[: log.index(b"training example")]
    remove(run, "*")
    (run / "train.log").write_bytes(cut)
    os.utime(run / "train.log", (1e9, 1e9))
    assert state(run, 1e9 + 10) == ("waiting", "tokenizing")
    assert state(run, 1e9 + 400)[0] == "stalled"
    assert state(run, 1e9 + 1000)[0] == "interrupted"


def test_the_next_evaluation_follows_from_earlier_ones(copy_run: CopyRun) -> None:
    run = copy_run("lora/dpo")
    lines = (run / "trainer_log.jsonl").read_text().splitlines()
    steps = [json.loads(line)["current_steps"] for line in lines]
    bare(run)
    at_60 = steps.index(60) + 1
    cut_log(run, at_60, 1e9)
    assert state(run, 1e9 + 1) == ("evaluating", "evaluating")
    assert state(run, 1e9 + 301)[0] == "stalled"
    assert state(run, 1e9 + 901)[0] == "interrupted"


def test_between_evaluations_it_trains(copy_run: CopyRun) -> None:
    run = copy_run("lora/dpo")
    steps = [json.loads(line)["current_steps"] for line in (run / "trainer_log.jsonl").read_text().splitlines()]
    bare(run)
    cut_log(run, steps.index(60) + 2, 1e9)
    assert state(run, 1e9 + 1) == ("running", "training")


def test_a_checkpoint_that_is_being_written_is_a_save(copy_run: CopyRun) -> None:
    run = copy_run("lora/crashed")
    remove(run, "train.log")
    now = mtime(run / "trainer_log.jsonl")
    assert state(run, now + 5) == ("evaluating", "saving")
    assert state(run, now + 1000)[0] == "interrupted"


def test_a_long_evaluation_may_take_three_times_its_usual_length(copy_run: CopyRun) -> None:
    run = copy_run("lora/dpo")
    rows = [json.loads(line) for line in (run / "trainer_log.jsonl").read_text().splitlines()]
    bare(run)
    late = 0
    for row in rows:
        late += 400 if "eval_loss" in row else 1
        row["elapsed_time"] = f"{late // 3600}:{late % 3600 // 60:02}:{late % 60:02}"
    cut = [row["current_steps"] for row in rows].index(60) + 1
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:cut]))
    os.utime(run / "trainer_log.jsonl", (1e9, 1e9))
    assert state(run, 1e9 + 1199) == ("evaluating", "evaluating")
    assert state(run, 1e9 + 24001)[0] == "interrupted"


def test_after_training_results_are_still_coming_for_a_minute(copy_run: CopyRun) -> None:
    run = copy_run("lora/dpo")
    remove(run, "eval_results.json", "all_results.json", "train.log")
    end = mtime(run / "train_results.json")
    os.utime(run / "README.md", (end - 0.1, end - 0.1))
    assert state(run, end + 30) == ("evaluating", "evaluating")
    assert state(run, end + 90)[0] == "finished"


def test_the_card_written_last_ends_it_at_once(copy_run: CopyRun) -> None:
    run = copy_run("lora/dpo")
    assert state(run, mtime(run / "README.md") + 0.5)[0] == "finished"


def test_a_prediction_in_the_same_directory_is_seen_and_moves_no_step(copy_run: CopyRun) -> None:
    run = copy_run("lora/sft")
    remove(run, "predict_results.json", "generated_predictions.jsonl", "predict.log")
    shutil.copy(run / "train_results.json", run / "all_results.json")
    os.utime(run / "all_results.json", (mtime(run / "train_results.json"),) * 2)
    lines = (run / "trainer_log.jsonl").read_text().splitlines()
    cut_log(run, len(lines) - 2, 1795319345.0)
    loaded = lora_tui.load(run)
    status = loaded.status(1795319345.0 + 5)
    assert (status.state, status.done, status.total) == ("evaluating", 10, 20)
    assert loaded.progress(1795319350.0).step == 810
    assert not any(result.stale for result in loaded.results().values())
    assert loaded.status(1795319345.0 + 4000).state == "finished"


def test_full_batches_without_results_are_being_scored(copy_run: CopyRun) -> None:
    run = copy_run("lora/predict_sft")
    remove(run, "*_results.json", "generated_predictions.jsonl")
    log = (run / "train.log").read_bytes()
    cut = log[: log.index(b"***** predict metrics")]
    (run / "train.log").write_bytes(cut)
    now = mtime(run / "trainer_log.jsonl")
    os.utime(run / "train.log", (now, now))
    assert state(run, now + 10) == ("evaluating", "scoring")


def test_an_aborted_board_run_stopped_early_with_its_results(copy_run: CopyRun) -> None:
    """An abort in LLaMA-Factory's web page stops at the next step, here 64 of 200, with exit code 0 and all results."""
    run = copy_run("lora/train_2026-11-22-03-50-12")
    rows = [json.loads(line) for line in (run / "trainer_log.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["current_steps"] <= 60]
    kept.append({**{k: v for k, v in kept[-1].items() if k not in ("loss", "lr")}, "current_steps": 64})
    kept[-1]["percentage"] = 32.0
    log = run / "trainer_log.jsonl"
    at = mtime(log)
    log.write_text("".join(json.dumps(row) + "\n" for row in kept))
    os.utime(log, (at, at))
    trainer_state = run / "trainer_state.json"
    at = mtime(trainer_state)
    trainer_state.write_text(json.dumps({**json.loads(trainer_state.read_text()), "global_step": 64}))
    os.utime(trainer_state, (at, at))
    remove(run, "checkpoint-*")
    loaded = lora_tui.load(run)
    assert loaded.status(4e9).state == "stopped"
    assert loaded.progress(4e9).step == 64
    assert loaded.progress(4e9).fraction == pytest.approx(0.32)


def test_a_finished_run_that_was_started_again_is_one_step_over(copy_run: CopyRun) -> None:
    """Restarting a completed run resumes and does one more step, 201 of 200."""
    run = copy_run("lora/train_2026-11-22-03-50-12")
    log = run / "trainer_log.jsonl"
    at = mtime(log)
    last = json.loads(log.read_text().splitlines()[-1])
    extra = [
        {**last, "current_steps": 201, "loss": 1.1, "lr": 0.0, "percentage": 100.5, "elapsed_time": "0:00:01"},
        {**last, "current_steps": 201, "percentage": 100.5, "elapsed_time": "0:00:01"},
    ]
    with log.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in extra)
    os.utime(log, (at, at))
    trainer_state = run / "trainer_state.json"
    at = mtime(trainer_state)
    trainer_state.write_text(json.dumps({**json.loads(trainer_state.read_text()), "global_step": 201}))
    os.utime(trainer_state, (at, at))
    loaded = lora_tui.load(run)
    progress = loaded.progress(4e9)
    assert loaded.status(4e9).state == "finished"
    assert (progress.step, progress.total_steps, progress.fraction, progress.segments) == (201, 200, 1.0, 2)


def test_sigterm_leaves_whole_rows_and_an_open_bar(copy_run: CopyRun) -> None:
    """kill -9 and SIGTERM leave the same: no results, the console ends in a bar without a newline."""
    run = copy_run("lora/killed")
    log = (run / "train.log").read_bytes()
    at = mtime(run / "train.log")
    (run / "train.log").write_bytes(log[: log.rindex(b"***** Running Evaluation")])
    os.utime(run / "train.log", (at, at))
    assert state(run, at + 5)[0] in ("running", "evaluating")
    assert state(run, at + 4000)[0] == "interrupted"


def test_a_launcher_s_signal_is_an_interruption_at_once(copy_run: CopyRun) -> None:
    run = copy_run("lora/killed")
    at = mtime(run / "train.log")
    with (run / "train.log").open("ab") as file:
        file.write(
            b"\nW1229 16:43:25.650000 190834 torch/distributed/elastic/agent/server/api.py:723] Received 1 death "
        )
        file.write(b"signal, shutting down workers\nW1229 16:43:25.65 190834 torch/x.py:900] Sending process 190951 ")
        file.write(b"closing signal SIGHUP\n")
    os.utime(run / "train.log", (at, at))
    assert state(run, at + 5)[0] == "interrupted"


def test_ctrl_c_is_an_interruption_at_once(copy_run: CopyRun) -> None:
    run = copy_run("lora/resumed")
    log = run / "trainer_log.jsonl"
    interrupted = mtime(run / "train.log")
    lines = log.read_text().splitlines()
    cut_log(run, 15, interrupted - 1)
    remove(
        run, "*_results.json", "trainer_state.json", "train_resume*", "checkpoint-200", "checkpoint-250", "README.md"
    )
    remove(run, "adapter_config.json")
    assert json.loads(lines[14])["current_steps"] == 130
    assert state(run, interrupted + 3)[0] == "interrupted"


def test_out_of_memory_during_the_evaluation_after_training(copy_run: CopyRun) -> None:
    run = copy_run("lora/default", "other")
    console = run / "train.log"
    console.write_bytes(
        b"***** Running training *****\n***** train metrics *****\n  epoch = 3.0\n"
        b'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n'
        b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 270.00 MiB. GPU 0 has a capacity of 8 GiB\n"
    )
    at = mtime(run / "train_results.json") + 5
    os.utime(console, (at, at))
    status = lora_tui.load(run).status(at + 60)
    assert status.state == "failed"
    assert status.failure is not None
    assert status.failure.kind == "out_of_memory"


def test_results_of_the_job_before_do_not_finish_a_rerun(copy_run: CopyRun) -> None:
    run = copy_run("lora/rerun")
    remove(run, "train.log")
    old = 1e9
    for path in run.rglob("*"):
        os.utime(path, (old, old))
    cut_log(run, 4, old + 600)
    loaded = lora_tui.load(run)
    assert loaded.status(old + 610).state == "running"
    assert all(result.stale for result in loaded.results().values())
    assert loaded.progress(old + 610).steps_at_risk == loaded.progress(old + 610).step


def test_the_v1_trainer_ends_at_its_last_step(tmp_path: Path) -> None:
    run = tmp_path / "v1"
    run.mkdir()
    rows = [
        {"epoch": 0, "step": s, "loss": 2 / s, "grad_norm": 1.0, "learning_rate": 1e-5, "total_steps": 4}
        for s in (1, 2, 3, 4)
    ]
    log = run / "trainer_log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    os.utime(log, (1e9, 1e9))
    loaded = lora_tui.load(run)
    assert loaded.status(1e9 + 1).state == "running"
    assert loaded.producer == "llamafactory-v1"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(log, (1e9, 1e9))
    loaded = lora_tui.load(run)
    assert loaded.status(1e9 + 1).state == "finished"
    assert loaded.series["grad_norm"].last == 1.0


def test_a_v01_and_a_v08_log_read_the_same(copy_run: CopyRun, tmp_path: Path) -> None:
    source = [json.loads(line) for line in (copy_run("lora/sft") / "trainer_log.jsonl").read_text().splitlines()[:90]]
    keys = ("loss", "eval_loss", "predict_loss", "reward", "learning_rate", "epoch")
    for version in ("v01", "v08"):
        run = tmp_path / version
        run.mkdir()
        with (run / "trainer_log.jsonl").open("w") as file:
            for row in source:
                old = {k: v for k, v in row.items() if k not in ("lr", "throughput", "total_tokens")}
                if "lr" in row:
                    old["learning_rate"] = row["lr"]
                if version == "v01":
                    old = {**dict.fromkeys(keys), **old}
                else:
                    old.update(throughput="0.00", total_tokens=0)
                file.write(json.dumps(old) + "\n")
    v01, v08 = lora_tui.load(tmp_path / "v01"), lora_tui.load(tmp_path / "v08")
    for name in ("loss", "eval_loss", "lr"):
        expected = [row[name] for row in source if name in row]
        assert list(v01.series[name].values) == expected
        assert list(v08.series[name].values) == expected
    assert "throughput" not in v08.series
    assert "total_tokens" not in v08.series


def moved(root: Path, seconds: float) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_mtime + seconds,) * 2)


def answers(run: Run, now: float) -> tuple[object, ...]:
    status, progress = run.status(now), run.progress(now)
    loss = run.series.get("loss")
    return (
        status.state,
        status.phase,
        progress.step,
        progress.total_steps,
        progress.segments,
        len(loss) if loss else 0,
        {split: result.stale for split, result in run.results().items()},
    )


def test_a_year_later_and_under_other_names_everything_is_the_same(all_runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(all_runs, copy)
    moved(copy, YEAR)
    for path in sorted(copy.glob("*/*"), reverse=True):
        if path.is_dir():
            path.rename(path.with_name(f"x-{path.name}"))
    before = {run.name: answers(run, 2e9) for run in lora_tui.load_all(all_runs)}
    after = {run.name: answers(run, 2e9 + YEAR) for run in lora_tui.load_all(copy)}
    renamed = {"/".join([n.split("/")[0], "x-" + n.split("/", 1)[1]]): v for n, v in before.items()}
    assert after == renamed


OPTIONAL = [
    "runs",
    "*.log",
    "README.md",
    "adapter_config.json",
    "checkpoint-*",
    "all_results.json",
    "eval_results.json",
    "generated_predictions.jsonl",
    "training_args.yaml",
    "running_log.txt",
]


@lru_cache
def states_of(runs: Path) -> dict[str, str]:
    return {run.name: run.status(2e9).state for run in lora_tui.load_all(runs)}


@pytest.mark.parametrize("pattern", OPTIONAL)
def test_without_an_optional_file_the_states_stay(all_runs: Path, tmp_path: Path, pattern: str) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(all_runs, copy)
    spared = {"lora/crashed", "lora/crashed-early", "hf/trl-sft", "lora/eval_sft"}
    for log in [p for p in copy.glob("*/*") if p.is_dir() and str(p.relative_to(copy)) not in spared]:
        remove(log, pattern)
    after = {run.name: run.status(2e9).state for run in lora_tui.load_all(copy)}
    assert after == states_of(all_runs)
