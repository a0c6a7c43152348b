"""An error of the program itself while one run is judged: the others are said, and the traceback is in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_tui.analysis.findings import find
from lora_tui.cli.main import main
from lora_tui.ingest.directory_tree import DirectoryTree
from lora_tui.ingest.file_readers import TailReader
from lora_tui.ingest.run_reader import RunReader
from lora_tui.runs.run import Run
from lora_tui.settings.fault_log import recorded

pytestmark = pytest.mark.faults


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging lora/killed raises."""
    usual = find.find

    def fail(run: Run, *arguments: object) -> object:
        if run.path.name == "killed":
            raise KeyError("loss")
        return usual(run, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(find, "find", fail)


def kept() -> list[Path]:
    return list(Path(os.environ["LORA_TUI_STATE_DIR"]).iterdir())


@pytest.mark.usefixtures("unjudged")
def test_ls_has_the_row_of_a_run_that_cannot_be_judged(all_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(all_runs), "--json"]) == 0
    said = capsys.readouterr()
    rows = {row["run"]["name"]: row for row in json.loads(said.out)}
    row = rows["lora/killed"]
    assert (row["state"], row["findings"], row["ratings"]) == ("interrupted", [], [])
    assert row["progress"]["step"] == 200
    assert row["problems"] == [{"file": ".", "reason": "This run cannot be judged: KeyError: 'loss'."}]
    assert rows["lora/sft"]["ratings"]
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("lora-tui: lora/killed: This run cannot be judged: KeyError: 'loss'.")
    (file,) = kept()
    assert str(file) in said.err


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_status_says_what_is_known_without_the_judgement(
    form: list[str], all_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(all_runs / "lora" / "killed"), "--lang", "zh", *form]) == 0
    said = capsys.readouterr()
    assert "200" in said.out
    assert "无法评估此任务" in said.err


@pytest.mark.usefixtures("unjudged")
def test_a_report_of_that_run_alone_cannot_be_made(all_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(all_runs / "lora" / "killed")]) == 1
    said = capsys.readouterr()
    (file,) = kept()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("lora-tui: Internal error: KeyError: 'loss'.")
    assert str(file) in line
    assert "Traceback (most recent call last)" in file.read_text()


@pytest.mark.parametrize("form", [["--json"], [], ["--format", "md"], ["--sort", "state"], ["--filter", "step > 1"]])
def test_ls_of_a_run_of_which_nothing_can_be_said(
    form: list[str], all_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = Run.progress, Run.status

    def fail(which: int) -> Callable[[Run, float], object]:
        def method(run: Run, now: float) -> object:
            if run.path.name == "killed":
                raise ZeroDivisionError
            return usual[which](run, now)

        return method

    monkeypatch.setattr(Run, "progress", fail(0))
    monkeypatch.setattr(Run, "status", fail(1))
    assert main(["ls", str(all_runs), *form]) == 0
    said = capsys.readouterr()
    assert ("lora/killed" in said.out) == (form != ["--filter", "step > 1"])
    assert "lora/sft" in said.out
    assert said.err.splitlines()
    assert all("lora/killed" in line and "ZeroDivisionError" in line for line in said.err.splitlines())
    if form == ["--json"]:
        row = next(row for row in json.loads(said.out) if row["run"]["name"] == "lora/killed")
        assert row["problems"] == [{"file": ".", "reason": "cannot be shown: ZeroDivisionError."}]


def test_where_no_file_can_be_kept_the_traceback_is_said(
    all_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LORA_TUI_STATE_DIR", str(tmp_path / "file" / "state"))

    def fail(*_: object) -> None:
        raise KeyError("loss")

    monkeypatch.setattr(find, "find", fail)
    assert main(["report", str(all_runs / "lora" / "sft")]) == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "could not be saved" in said.splitlines()[-1]
    assert str(tmp_path) not in said.splitlines()[-1]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the log of lora/killed raises."""
    usual = RunReader._read_tail

    def fail(reader: RunReader, tail: TailReader, *arguments: float) -> None:
        if reader.path.name == "killed" and tail.name == "trainer_log.jsonl":
            raise KeyError("loss")
        usual(reader, tail, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RunReader, "_read_tail", fail)


@pytest.mark.usefixtures("unread")
def test_a_run_that_cannot_be_read_is_named_and_the_others_are_said(
    all_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", str(all_runs), "--json"]) == 0
    said = capsys.readouterr()
    rows = {row["run"]["name"]: row for row in json.loads(said.out)}
    reasons = [problem["reason"] for problem in rows["lora/killed"]["problems"]]
    assert reasons == ["Not all of this run could be read: KeyError: 'loss'."]
    assert rows["lora/sft"]["ratings"]
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("lora-tui: lora/killed: Not all of this run could be read: KeyError: 'loss'.")
    (file,) = kept()
    assert str(file) in said.err


def test_a_search_for_runs_that_fails_ends_a_command_in_one_line(
    all_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("loss")

    monkeypatch.setattr(DirectoryTree, "scan", fail)
    for command in (["ls", str(all_runs)], ["wait", str(all_runs / "lora" / "sft")]):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("lora-tui: Internal error: KeyError: 'loss'.")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_that_is_wanted_is_no_error(
    error: type[BaseException], all_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(find, "find", fail)
    if error is SystemExit:
        with pytest.raises(SystemExit):
            main(["ls", str(all_runs), "--json"])
    else:
        assert main(["ls", str(all_runs), "--json"]) == 130
    recorded.clear()
    assert kept() == []
