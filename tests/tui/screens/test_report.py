"""The report in the app: read by a key, written by another, in the current directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lora_tui.tui.screens.report import ReportScreen, free_path
from tests.support.app_pilot import make_app, settled, text


@pytest.mark.parametrize(("lang", "word"), [("en", "training summary"), ("zh", "训练结果摘要")])
async def test_R_shows_what_the_command_prints(all_runs: Path, lang: str, word: str) -> None:
    app = make_app(all_runs / "lora", run="lora/sft", lang=lang)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("R")
        await settled(pilot)
        assert isinstance(app.screen, ReportScreen)
        assert word in text(app)
        await pilot.press("G")
        await settled(pilot)
        assert "╚" in text(app)
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, ReportScreen)


async def test_each_form_is_written_and_nothing_is_overwritten(
    all_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app(all_runs / "lora", run="lora/sft")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("R")
        await pilot.press("h", "m", "t", "J", "t")
        await settled(pilot)
        assert "sft-report-2.txt" in text(app).replace("\n", "")
    found = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert sorted(found) == [
        "sft-report-2.txt", "sft-report.html", "sft-report.json", "sft-report.md", "sft-report.txt",
    ]  # fmt: skip
    assert found["sft-report.html"].startswith("<!doctype html>")
    assert found["sft-report.md"].startswith("# ")
    assert "37.07" in found["sft-report.txt"]
    assert json.loads(found["sft-report.json"])["results"]["predict"]["predict_bleu-4"] == pytest.approx(
        37.07, abs=0.01
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs a directory in which nobody writes, not even root")
async def test_where_nothing_can_be_written_it_says_so(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc/self")
    app = make_app(all_runs / "lora", run="lora/sft")
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("R", "h")
        await settled(pilot)
        assert "could not be written" in text(app)


def test_the_name_of_a_run_makes_a_plain_file_name(all_runs: Path, tmp_path: Path) -> None:
    app = make_app(all_runs / "lora", run="lora/sft")
    run = app.state.runs[0]
    before = run.name
    try:
        for name, file in (
            ("a/../b c", "a-..-b-c-report.md"),
            ("中文/run", "中文-run-report.md"),
            ("\x1b[31m", "31m-report.md"),
        ):
            run.name = name
            assert free_path(tmp_path, run, "md") == tmp_path / file
        run.name = "../.."
        assert free_path(tmp_path, run, "md").parent == tmp_path
    finally:
        run.name = before
