"""The answers for each real run, recomputed here by simple means from the same files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import lora_tui
from lora_tui.analysis import judge
from lora_tui.i18n import Words
from lora_tui.report.status_json import snapshot
from lora_tui.runs.run import Run

LATER = 4_000_000_000.0

STATES = {
    "lora/sft": "finished", "lora/sft-long": "finished", "lora/default": "finished", "lora/diverged": "finished",
    "lora/killed": "interrupted", "lora/resumed": "finished", "lora/crashed": "failed", "lora/dpo": "finished",
    "hf/trl-sft": "finished", "full/sft": "finished", "lora/kto": "finished", "lora/reward": "finished",
    "lora/pretrain": "finished", "lora/rerun": "finished", "lora/sft-one-yaml": "finished",
    "lora/overfit": "finished", "lora/sft-tf4": "finished", "lora/sft-epochlog": "finished",
    "lora/train_2026-11-22-03-50-12": "finished", "lora/eval_sft": "finished", "lora/predict_sft": "finished",
    "lora/crashed-early": "failed", "lora/diverged-nan-nofilter": "finished", "lora/sft-qlora": "finished",
    "lora/sweep/lr5e-3_r16": "finished", "lora/sweep/lr5e-5_r4": "finished",
}  # fmt: skip
STAGES = {
    "lora/sft": "sft", "lora/dpo": "dpo", "lora/kto": "kto", "lora/reward": "rm", "lora/pretrain": "pt",
    "lora/default": "sft", "full/sft": "sft", "lora/train_2026-11-22-03-50-12": "sft", "hf/trl-sft": "sft",
}  # fmt: skip
METHODS = {
    "lora/sft": "lora",
    "full/sft": "full",
    "lora/sft-qlora": "qlora",
    "lora/crashed": "lora",
    "hf/trl-sft": "lora",
}


@pytest.fixture(scope="module")
def runs(all_runs: Path) -> dict[str, Run]:
    return {run.name: run for run in lora_tui.load_all(all_runs)}


def test_exactly_the_runs_are_found(runs: dict[str, Run]) -> None:
    assert set(runs) == set(STATES)


@pytest.mark.parametrize("name", STATES)
def test_the_state_is_how_the_job_ended(runs: dict[str, Run], name: str) -> None:
    assert runs[name].status(LATER).state == STATES[name]


@pytest.mark.parametrize("name", STAGES)
def test_the_stage(runs: dict[str, Run], name: str) -> None:
    assert runs[name].stage == STAGES[name]


@pytest.mark.parametrize("name", METHODS)
def test_the_method(runs: dict[str, Run], name: str) -> None:
    assert runs[name].method == METHODS[name]


def training_rows(path: Path) -> tuple[list[dict[str, object]], int]:
    """Return the rows that remain after resumes, straight from the file, and the number of segments."""
    kept: list[dict[str, object]] = []
    segments, clock = 1, ""
    for line in (path / "trainer_log.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "epoch" not in row or row["current_steps"] == 0:
            continue
        back = kept and (row["current_steps"] < kept[-1]["current_steps"] or row["elapsed_time"] < clock)
        if back:
            segments += 1
            kept = [r for r in kept if r["current_steps"] < row["current_steps"]]
        clock = row["elapsed_time"]
        kept.append(row)
    return kept, segments


@pytest.mark.parametrize("name", [n for n in STATES if n not in ("hf/trl-sft", "lora/crashed-early")])
def test_rows_segments_and_losses_are_the_log_s(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    rows, segments = training_rows(run.path)
    progress = run.progress(LATER)
    if not rows:
        assert progress.unit == "batches"
        assert (progress.step, progress.total_steps) == (20, 20)
        assert "loss" not in run.series
        return
    assert progress.segments == segments
    assert progress.step == rows[-1]["current_steps"]
    assert progress.total_steps == rows[-1]["total_steps"]
    for key in ("loss", "eval_loss"):
        values = [float(str(r[key])) for r in rows if key in r]
        if not values:
            assert key not in run.series
            continue
        series = run.series[key]
        finite = [v for v in values if math.isfinite(v)]
        assert len(series) == len(values)
        assert series.nonfinite == len(values) - len(finite)
        assert str(series.first) == str(values[0])
        assert str(series.last) == str(values[-1])
        if finite:
            assert (series.min, series.max) == (min(finite), max(finite))
            assert series.at(series.min_step) == min(finite)


@pytest.mark.parametrize("name", STATES)
def test_results_are_the_files_and_none_is_stale(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    for split in ("train", "eval", "predict"):
        path = run.path / f"{split}_results.json"
        if path.exists():
            result = run.results()[split]
            assert not result.stale
            assert str(dict(result.values)) == str(json.loads(path.read_text()))
        else:
            assert split not in run.results()


def test_grad_norm_comes_from_the_checkpoint_at_every_logged_step(runs: dict[str, Run]) -> None:
    history = json.loads((runs["lora/default"].path / "trainer_state.json").read_text())["log_history"]
    expected = [(row["step"], row["grad_norm"]) for row in history if "grad_norm" in row]
    series = runs["lora/default"].series["grad_norm"]
    assert list(zip(series.steps, series.values, strict=True)) == expected


def test_an_evaluation_without_eval_loss_gets_its_scores_from_the_state(runs: dict[str, Run]) -> None:
    run = runs["lora/sft-one-yaml"]
    history = json.loads((run.path / "trainer_state.json").read_text())["log_history"]
    expected = [row["eval_bleu-4"] for row in history if "eval_bleu-4" in row]
    assert expected
    assert list(run.series["eval_bleu-4"].values) == expected


def test_a_plain_trainer_s_values_are_those_of_its_newest_checkpoint(runs: dict[str, Run]) -> None:
    run = runs["hf/trl-sft"]
    history = json.loads((run.path / "checkpoint-80/trainer_state.json").read_text())["log_history"]
    assert list(run.series["loss"].values) == [row["loss"] for row in history if "loss" in row]
    assert list(run.series["eval_loss"].values) == [row["eval_loss"] for row in history if "eval_loss" in row]
    assert run.producer == "trl"
    assert run.progress(LATER).total_steps == 80


def test_ranks_and_where_they_were_found(runs: dict[str, Run]) -> None:
    for name, run in runs.items():
        path = run.path / "adapter_config.json"
        if path.exists():
            assert run.config["lora_rank"].value == json.loads(path.read_text())["r"], name
            assert run.config["lora_rank"].source == "adapter_config.json"
    assert "lora_rank" not in runs["full/sft"].config


def test_the_board_s_own_arguments_win(runs: dict[str, Run]) -> None:
    setting = runs["lora/train_2026-11-22-03-50-12"].config["learning_rate"]
    assert (setting.value, setting.source) == (0.003, "training_args.yaml")


def test_an_unfinished_checkpoint_is_not_complete(runs: dict[str, Run]) -> None:
    assert [(c.step, c.complete) for c in runs["lora/crashed"].checkpoints()] == [(150, False)]
    sft = runs["lora/sft"].checkpoints()
    assert [c.step for c in sft if c.complete] == [200, 400, 600, 800, 810]
    assert [c.step for c in sft if c.best] == [810]
    overfit = [c for c in runs["lora/overfit"].checkpoints() if c.best]
    assert [c.step for c in overfit] == [350]


def test_steps_at_risk_are_those_since_the_last_whole_checkpoint(runs: dict[str, Run]) -> None:
    assert runs["lora/killed"].progress(LATER).steps_at_risk == 100
    assert runs["lora/crashed"].progress(LATER).steps_at_risk == 150
    assert runs["lora/sft"].progress(LATER).steps_at_risk == 0


def test_eval_and_predict_jobs_are_linked_to_the_run_whose_adapter_they_loaded(runs: dict[str, Run]) -> None:
    assert {job.name for job in runs["lora/sft"].linked} == {"lora/eval_sft", "lora/predict_sft"}
    assert not runs["full/sft"].linked


def test_the_console_beside_the_directory_is_joined_to_its_run(runs: dict[str, Run]) -> None:
    sources = {setting.source for setting in runs["lora/default"].config.values()}
    assert any(source.endswith("default.nohup.out") for source in sources)


def test_the_failure_is_the_line_of_the_exception_although_a_bar_follows(runs: dict[str, Run]) -> None:
    failure = runs["lora/crashed"].status(LATER).failure
    assert failure is not None
    assert failure.message.startswith("safetensors._safetensors_rust.SafetensorError: Error while serializing")
    early = runs["lora/crashed-early"].status(LATER).failure
    assert early is not None
    assert early.message == "ValueError: Undefined dataset no_such_dataset in dataset_info.json."


def test_an_interrupt_of_an_earlier_attempt_is_over(runs: dict[str, Run]) -> None:
    assert runs["lora/resumed"].status(LATER).failure is None
    assert list(runs["lora/resumed"].resumed_at) == [110, 160]


def test_perplexity_is_the_exponential_and_only_where_it_means_something(runs: dict[str, Run]) -> None:
    sft = runs["lora/sft"].series
    last = sft["eval_loss"].last
    assert last is not None
    assert sft["perplexity"].last == pytest.approx(math.exp(last))
    for name in ("lora/dpo", "lora/kto", "lora/reward"):
        assert "perplexity" not in runs[name].series


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", STATES)
def test_the_snapshot_is_strict_json_with_nothing_unknown_in_it(runs: dict[str, Run], name: str, lang: str) -> None:
    run = runs[name]
    data = json.loads(json.dumps(snapshot(run, LATER, Words(lang), judge(run, LATER)).to_json(), allow_nan=False))
    assert data["schema"] == 1
    assert data["state"] == STATES[name]
    assert Path(data["run"]["path"]).is_absolute()

    def no_nulls(value: object) -> None:
        assert value is not None
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            no_nulls(part)

    no_nulls({k: v for k, v in data.items() if k != "config"})
    for metric, part in data["metrics"].items():
        assert part["count"] == len(run.series[metric])


def test_a_value_that_is_not_finite_is_spelt_out(runs: dict[str, Run]) -> None:
    run = runs["lora/diverged-nan-nofilter"]
    data = snapshot(run, LATER, Words("en"), judge(run, LATER)).to_json()
    metrics = data["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["loss"]["last"] == "NaN"
    assert metrics["loss"]["nonfinite"] == 16
    assert "min" not in metrics["loss"]


def test_smoothed_is_a_debiased_moving_average(runs: dict[str, Run]) -> None:
    values = runs["lora/sft"].series["loss"].values
    top = sum(v * 0.9 ** (len(values) - 1 - i) for i, v in enumerate(values))
    bottom = sum(0.9 ** (len(values) - 1 - i) for i in range(len(values)))
    assert runs["lora/sft"].series["loss"].smoothed == pytest.approx(top / bottom)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("lora/diverged", {"dead_run"}),
        ("lora/diverged-nan-nofilter", {"nan_loss"}),
        ("lora/overfit", {"memorised", "overfitting"}),
        ("lora/crashed", {"failed"}),
        ("lora/crashed-early", {"failed"}),
        ("lora/killed", {"interrupted"}),
        ("lora/sft", set()),
        ("lora/sft-long", set()),
        ("lora/default", set()),
        ("lora/dpo", set()),
    ],
)
def test_warnings_and_worse_are_those_of_a_careful_engineer(runs: dict[str, Run], name: str, codes: set[str]) -> None:
    found = {f.code for f in judge(runs[name], LATER).findings if f.severity in ("warning", "critical")}
    assert found == codes


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_checkpoint_whose_state_is_cut_after_an_inner_brace_is_not_complete(
    copy_run: Callable[..., Path], cut: float
) -> None:
    run = copy_run("lora/killed")
    state = run / "checkpoint-100/trainer_state.json"
    data = state.read_bytes()
    state.write_bytes(data[: data.index(b"}", int(len(data) * cut)) + 1])
    assert [(c.step, c.complete) for c in lora_tui.load(run).checkpoints()] == [(100, False)]
    state.write_bytes(json.dumps(json.loads(data)).encode())
    assert [(c.step, c.complete) for c in lora_tui.load(run).checkpoints()] == [(100, True)]
