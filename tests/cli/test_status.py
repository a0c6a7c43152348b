"""``status``: one run as text and as JSON, schema 1."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import lora_tui, strict

TOP = {
    "schema",
    "run",
    "state",
    "phase",
    "updated_at",
    "progress",
    "metrics",
    "findings",
    "results",
    "ratings",
    "config",
}
TOP |= {"config_sources", "checkpoints", "problems", "forecast", "checkpoint_choice"}
TOP_OPTIONAL = {"phase", "updated_at", "forecast", "checkpoint_choice"}
RUN = {"name", "path", "stage", "method", "model", "producer"}
RUN_OPTIONAL = {"stage", "method", "model"}
PROGRESS = {"step", "total_steps", "fraction", "epoch", "total_epochs", "elapsed_s", "remaining_s", "finish_at"}
PROGRESS |= {"steps_per_s", "tokens_per_s", "segments", "unit", "steps_at_risk"}
METRIC = {"count", "first", "last", "smoothed", "min", "min_step", "max", "nonfinite", "rating"}
FINDING = {"code", "severity", "step", "end_step", "over", "evidence", "text", "advice"}
FORECAST = {"remaining_s", "finish_at", "final_loss", "reason"}
CHOICE = {f"{place}_{part}" for place in ("best", "take", "last") for part in ("step", "path", "value")}
CHOICE |= {"metric", "higher", "best_gone", "take_estimated", "cost", "deleted_by", "limit", "copy_command"}
CHOICE |= {"next_save", "saves_left", "steps_at_risk", "seconds_at_risk", "free_bytes", "needed_bytes", "model_bytes"}
RATING = {"metric", "value", "level", "basis", "confidence", "reservations", "rule", "text"}
CHECKPOINT = {"step", "path", "complete", "best", "eval_loss"}
PROBLEM = {"file", "line", "reason"}
STATES = {"waiting", "running", "evaluating", "stalled", "interrupted", "failed", "stopped", "finished"}
LEVELS = {"excellent", "good", "fair", "poor"}
NON_FINITE = {"NaN", "Infinity", "-Infinity"}


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_keys(part: dict[str, Any], allowed: set[str], optional: set[str]) -> None:
    assert part.keys() <= allowed
    assert allowed - optional <= part.keys()
    assert None not in part.values(), "what is not known is absent"


def check_schema(data: dict[str, Any]) -> None:
    """Check a snapshot against the contract of schema 1."""
    check_keys(data, TOP, TOP_OPTIONAL)
    assert next(iter(data)) == "schema"
    assert data["schema"] == 1
    check_keys(data["run"], RUN, RUN_OPTIONAL)
    assert Path(data["run"]["path"]).is_absolute()
    assert data["state"] in STATES
    for time in (data.get("updated_at"), data["progress"].get("finish_at")):
        assert time is None or datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    progress = data["progress"]
    check_keys(progress, PROGRESS, PROGRESS - {"segments", "unit"})
    assert 0 <= progress.get("fraction", 0) <= 1
    assert progress["unit"] in ("steps", "batches")
    assert all(is_number(value) for key, value in progress.items() if key not in ("unit", "finish_at"))
    for name, metric in data["metrics"].items():
        check_keys(metric, METRIC, METRIC - {"count", "nonfinite"})
        assert metric.get("rating") in LEVELS | {None}
        for key in ("count", "smoothed", "min", "min_step", "max", "nonfinite"):
            assert key not in metric or is_number(metric[key]), f"{name}.{key}"
        for key in ("first", "last"):
            assert key not in metric or is_number(metric[key]) or metric[key] in NON_FINITE, f"{name}.{key}"
    for finding in data["findings"]:
        check_keys(finding, FINDING, {"step", "end_step", "over", "advice"})
        assert finding["severity"] in ("info", "good", "warning", "critical")
        assert finding["text"]
    assert data["results"].keys() <= {"train", "eval", "predict"}
    for result in data["results"].values():
        assert isinstance(result.pop("stale"), bool)
        assert all(is_number(value) or value in NON_FINITE for value in result.values())
    for rating in data["ratings"]:
        check_keys(rating, RATING, {"level"})
        assert rating.get("level") in LEVELS | {None}
        assert is_number(rating["value"])
        assert rating["text"]
    assert data["config"].keys() == data["config_sources"].keys()
    for checkpoint in data["checkpoints"]:
        check_keys(checkpoint, CHECKPOINT, {"eval_loss"})
        assert checkpoint["path"] == f"checkpoint-{checkpoint['step']}"
        assert is_number(checkpoint.get("eval_loss", 0))
    forecast = data.get("forecast", {})
    check_keys(forecast, FORECAST, FORECAST)
    assert ("forecast" in data) <= (data["state"] in ("running", "evaluating"))
    for band in (forecast.get("remaining_s"), forecast.get("finish_at"), forecast.get("final_loss")):
        assert band is None or band["low"] <= band["mid"] <= band["high"]
    check_keys(data.get("checkpoint_choice", {}), CHOICE, CHOICE)
    for problem in data["problems"]:
        check_keys(problem, PROBLEM, {"line"})


def test_every_real_run_keeps_the_contract(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    runs = strict(done.stdout)
    assert len(runs) >= 9
    for data in runs:
        check_schema(data)


def test_it_says_what_the_files_say(all_runs: Path) -> None:
    done = lora_tui("status", all_runs / "lora/sft", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    data = strict(done.stdout)
    assert data["run"] == {
        "name": "lora/sft",
        "path": str((all_runs / "lora/sft").resolve()),
        "stage": "sft",
        "method": "lora",
        "model": "tiny-qwen2",
        "producer": "llamafactory",
    }
    assert data["state"] == "finished"
    assert data["progress"]["step"] == data["progress"]["total_steps"] == 810
    assert data["progress"]["fraction"] == 1
    assert data["metrics"]["loss"]["count"] == 81
    assert data["metrics"]["loss"]["last"] == pytest.approx(1.0573, abs=1e-4)
    assert data["metrics"]["eval_loss"]["min_step"] == 810
    assert data["results"]["predict"]["predict_bleu-4"] == pytest.approx(37.069135)
    assert data["config"]["lora_rank"] == 8
    assert data["config_sources"]["lora_rank"] == "adapter_config.json"
    assert [item["step"] for item in data["checkpoints"] if item["best"]] == [810]
    check_schema(data)


def test_not_a_number_is_a_string_where_it_may_be_one(all_runs: Path) -> None:
    data = strict(lora_tui("status", all_runs / "lora/diverged", "--json").stdout)
    assert data["metrics"]["eval_loss"]["last"] == "NaN"
    assert data["metrics"]["eval_loss"]["nonfinite"] == data["metrics"]["eval_loss"]["count"]
    assert "min" not in data["metrics"]["eval_loss"]
    assert data["results"]["eval"]["eval_loss"] == "NaN"
    assert all("eval_loss" not in item for item in data["checkpoints"])


def test_the_json_of_ls_is_the_same_as_that_of_status(all_runs: Path) -> None:
    """The snapshots are equal except for the name, which is relative to the path of the command line."""
    listed = {run["run"]["path"]: run for run in strict(lora_tui("ls", all_runs, "--json").stdout)}
    alone = strict(lora_tui("status", all_runs / "lora/resumed", "--json").stdout)
    assert listed[alone["run"]["path"]] == alone


def test_json_speaks_english_unless_asked_otherwise(all_runs: Path) -> None:
    chinese = {"LC_ALL": "zh_CN.UTF-8"}
    english = strict(lora_tui("status", all_runs / "lora/sft", "--json", env=chinese).stdout)
    assert all(item["text"].isascii() for item in english["findings"])
    asked = strict(lora_tui("status", all_runs / "lora/sft", "--json", "--lang", "zh").stdout)
    assert any("检查点" in item["advice"] for item in asked["findings"])
    for data in (english, asked):
        for part in ("findings", "ratings"):
            for item in data[part]:
                item.pop("text", None)
                item.pop("advice", None)
    assert english == asked  # codes, numbers and keys have no language


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["finished", "810/810", "eval loss", "0.9954", "BLEU-4", "37.0691", "ROUGE-L", "checkpoint-810"]),
        ("zh", ["已完成", "810/810", "验证 loss", "0.9954", "BLEU-4", "37.0691", "学习率", "该检查点完整可用"]),
    ],
)
def test_the_short_text(all_runs: Path, lang: str, words: list[str]) -> None:
    done = lora_tui("status", all_runs / "lora/sft", "--lang", lang)
    assert (done.returncode, done.stderr) == (0, "")
    for word in words:
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 200


def test_the_locale_and_the_kept_choice_decide_the_language(all_runs: Path, tmp_path: Path) -> None:
    run = all_runs / "lora/sft"
    assert "已完成" in lora_tui("status", run, env={"LC_ALL": "zh_CN.UTF-8"}).stdout
    (tmp_path / "kept.json").write_text('{"lang": "zh"}', encoding="utf-8")
    assert "已完成" in lora_tui("status", run, env={"LORA_TUI_CONFIG_DIR": str(tmp_path)}).stdout
    (tmp_path / "kept.json").write_text("{broken", encoding="utf-8")
    assert "finished" in lora_tui("status", run, env={"LORA_TUI_CONFIG_DIR": str(tmp_path)}).stdout


def test_a_failed_run_that_can_be_read_is_exit_0(all_runs: Path) -> None:
    done = lora_tui("status", all_runs / "lora/crashed")
    assert done.returncode == 0
    assert "failed" in done.stdout
    assert "File too large" in done.stdout


class TestWhichRunIsMeant:
    def step(self, all_runs: Path, name: str, folder: str = "") -> int:
        done = lora_tui("status", name, "--json", cwd=all_runs / folder)
        assert (done.returncode, done.stderr) == (0, "")
        found = strict(done.stdout)["progress"]["step"]
        assert isinstance(found, int)
        return found

    def test_a_path(self, all_runs: Path) -> None:
        assert self.step(all_runs, "lora/sft") == 810
        assert self.step(all_runs, "./lora/sft/") == 810
        assert self.step(all_runs, "../sft", "lora/dpo") == 810

    def test_the_current_directory(self, all_runs: Path) -> None:
        assert self.step(all_runs, ".", "lora/sft") == 810

    def test_a_console_log(self, all_runs: Path) -> None:
        assert self.step(all_runs, "lora/killed/train.log") == 200

    def test_the_last_part_of_a_name(self, all_runs: Path) -> None:
        assert self.step(all_runs, "killed") == 200
        assert self.step(all_runs, "sft-long") == 6250

    def test_a_part_of_a_name_that_only_one_has(self, all_runs: Path) -> None:
        assert self.step(all_runs, "kille") == 200

    def test_a_directory_with_one_run_below_it(self, all_runs: Path) -> None:
        assert self.step(all_runs, "hf") == 80

    def test_several_are_an_error_that_lists_them(self, all_runs: Path) -> None:
        for name in ("lora", "ft"):
            done = lora_tui("status", name, cwd=all_runs)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.count("\n") == 1
            assert "sft-long" in done.stderr

    def test_none_is_an_error(self, all_runs: Path, tmp_path: Path) -> None:
        done = lora_tui("status", "nowhere", cwd=all_runs)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"lora-tui: no run is called nowhere in {all_runs}\n"
        done = lora_tui("status", ".", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert "nowhere" in lora_tui("status", "nowhere", "--lang", "zh", cwd=all_runs).stderr


def test_a_log_kept_elsewhere_is_joined(copy_run: Callable[..., Path], tmp_path: Path) -> None:
    run = copy_run("lora/killed")
    elsewhere = tmp_path / "elsewhere.txt"
    shutil.move(run / "train.log", elsewhere)
    shutil.rmtree(run / "runs")  # the other place that has the gradient norms
    without = strict(lora_tui("status", run, "--json", cwd=run).stdout)
    joined = strict(lora_tui("status", run, "--json", "--log", elsewhere, cwd=run).stdout)
    assert without["metrics"].get("grad_norm", {"count": 0})["count"] < joined["metrics"]["grad_norm"]["count"] == 20
    done = lora_tui("status", run, "--log", tmp_path / "missing.out")
    assert (done.returncode, done.stdout) == (1, "")
    assert "missing.out" in done.stderr


def test_problems_are_told_and_the_rest_works(copy_run: Callable[..., Path]) -> None:
    run = copy_run("lora/sft")
    lines = (run / "trainer_log.jsonl").read_text().splitlines()
    lines[16] = "<<<< \x1b[31m[red] not JSON"
    (run / "trainer_log.jsonl").write_text("\n".join(lines) + "\n")
    (run / "eval_results.json").write_bytes(b"\x00\xff\xfe junk")
    data = strict(lora_tui("status", run, "--json").stdout)
    assert {(item["file"], item.get("line")) for item in data["problems"]} >= {("trainer_log.jsonl", 17)}
    assert "eval_results.json" in {item["file"] for item in data["problems"]}
    text = lora_tui("status", run).stdout
    assert "trainer_log.jsonl:17" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("args", [["--bogus"], ["a", "b"], ["--lang", "fr"], ["--log"]])
def test_usage_errors_are_exit_2(args: list[str]) -> None:
    done = lora_tui("status", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: lora-tui")
