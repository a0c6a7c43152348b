"""``compare`` as a program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_tui.text.cells import cell_width
from tests.support.program import lora_tui, strict


def test_two_runs_by_name(all_runs: Path) -> None:
    done = lora_tui("compare", "lora/sft", "lora/resumed", cwd=all_runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert "A  sft " in done.stdout
    assert "By best eval loss sft is better: 0.9954 against 1.1148 of resumed" in done.stdout
    assert "num_train_epochs" in done.stdout


def test_paths_and_the_width_of_the_terminal(all_runs: Path) -> None:
    for columns in (60, 80, 160):
        done = lora_tui("compare", all_runs / "lora/sft", all_runs / "lora/sft-long", env={"COLUMNS": str(columns)})
        assert done.returncode == 0
        assert max(cell_width(line) for line in done.stdout.splitlines()) <= columns


def test_json_is_strict_and_speaks_codes(all_runs: Path) -> None:
    done = lora_tui("compare", all_runs / "lora/sft", all_runs / "lora/dpo", "--json")
    data = strict(done.stdout)
    assert data["schema"] == 1
    assert [run["stage"] for run in data["runs"]] == ["sft", "dpo"]
    assert data["verdict_codes"] == ["not_comparable"]
    assert "other_stage" in [note["code"] for note in data["notes"]]
    assert next(item for item in data["settings"] if item["option"] == "stage")["values"] == ["sft", "dpo"]


def test_a_page_by_the_name_of_the_file(all_runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "sweep.html"
    done = lora_tui("compare", all_runs / "lora/sft", all_runs / "lora/resumed", "-o", target, "--lang", "zh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = target.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert '<html lang="zh-CN">' in page
    assert "2 个运行的对比" in page
    assert list(tmp_path.iterdir()) == [target]


def test_all_that_train_below_a_directory(all_runs: Path, tmp_path: Path) -> None:
    for name in ("sft", "dpo", "default"):
        shutil.copytree(all_runs / "lora" / name, tmp_path / "sweep" / name)
    done = lora_tui("compare", "sweep", "--json", cwd=tmp_path)
    assert {run["name"] for run in strict(done.stdout)["runs"]} == {"sft", "dpo", "default"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["lora/sft"], "needs at least two runs"),
        (["lora/sft", "lora/sft"], "needs at least two runs"),
        (["lora/sft", "nowhere"], "nowhere"),
        (["lora/sft", "empty"], "no training runs"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(all_runs: Path, tmp_path: Path, args: list[str], said: str) -> None:
    shutil.copytree(all_runs, tmp_path / "runs")
    (tmp_path / "runs" / "empty").mkdir()
    done = lora_tui("compare", *args, cwd=tmp_path / "runs")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written(all_runs: Path, tmp_path: Path) -> None:
    done = lora_tui("compare", all_runs / "lora/sft", all_runs / "lora/dpo", "-o", tmp_path / "no" / "x.html")
    assert done.returncode == 1
    assert "x.html" in done.stderr
    assert done.stderr.count("\n") == 1
