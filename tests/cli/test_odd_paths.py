"""A path of the command line that names a pipe, a device or a directory gives one line, and holds nothing up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_tui.cli.main import main
from lora_tui.text import atomic_write


@pytest.fixture(params=["fifo", "directory", "/dev/zero", "/dev/null"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "directory":
        path.mkdir()
    return path


@pytest.mark.parametrize(("lang", "reason"), [("en", "not a regular file"), ("zh", "不是普通文件")])
@pytest.mark.parametrize("command", ["config", "ls", "status"])
def test_settings(
    command: str, lang: str, reason: str, odd: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd.parent)
    assert main([command, "--config", str(odd), "--lang", lang]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert str(odd) in line
    if not odd.is_dir():
        assert reason in line


def test_saved_choices_in_a_pipe_are_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_TUI_CONFIG_DIR", str(tmp_path))
    os.mkfifo(tmp_path / "kept.json")
    assert main(["config"]) == 0
    assert "ui" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "export"])
def test_output_into_a_pipe_that_nobody_reads(
    command: str, all_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_write, "READER_S", 0.05)
    os.mkfifo(tmp_path / "out.md")
    assert main([command, str(all_runs / "lora" / "sft"), "-o", str(tmp_path / "out.md")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("out.md cannot be written: nobody reads this pipe")
