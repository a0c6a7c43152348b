"""Commands whose standard streams are closed, empty or no terminals: no traceback, no output in other files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live_app import write_run
from tests.support.program import environment
from tests.support.waiting import DEADLINE_S

HINT = "needs a terminal; without one use lora-tui status --follow saves"


def run(directory: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``tui`` is the program."""
    tui = f'tui() {{ {sys.executable} -m lora_tui "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", tui + line], cwd=directory, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S
    )


@pytest.fixture
def saves(tmp_path: Path) -> Path:
    write_run(tmp_path / "saves/a", [3.0, 2.5, 2.25], 10)
    return tmp_path


@pytest.mark.parametrize(
    "streams",
    ["<&-", "</dev/null", "<&- | cat", ">&-", ">out", ">/dev/full", "<&- >&-"],
)
def test_watch_says_in_one_line_what_to_do_instead(saves: Path, streams: str) -> None:
    done = run(saves, f"set -o pipefail; tui watch saves {streams}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"lora-tui: watch {HINT}"]
    assert not (saves / "out").exists() or (saves / "out").read_text() == ""


def test_nothing_can_be_said_where_everything_is_closed(saves: Path) -> None:
    done = run(saves, "tui watch saves <&- >&- 2>&-; echo $?")
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("command", ["ls saves", "status saves/a", "report saves/a", "wait saves/a --timeout 0.1"])
def test_a_closed_input_is_no_fault(saves: Path, command: str) -> None:
    usual, closed = run(saves, f"tui {command} </dev/null"), run(saves, f"tui {command} <&-")
    assert closed.returncode == usual.returncode
    assert closed.stderr == usual.stderr
    assert len(closed.stdout.splitlines()) == len(usual.stdout.splitlines())


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["ls saves", "status saves/a --json", "export saves/a", "--help"])
def test_a_closed_output_takes_nothing_and_nobody_else_gets_it(saves: Path, command: str, streams: str) -> None:
    before = {path: path.read_bytes() for path in saves.rglob("*") if path.is_file()}
    done = run(saves, f"tui {command} {streams}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path: path.read_bytes() for path in saves.rglob("*") if path.is_file()} == before


def test_a_report_is_not_written_into_what_is_closed(saves: Path) -> None:
    """The first file that is opened would get the number of the closed stream."""
    done = run(saves, "tui report saves/a -o report.md >&- 2>&-")
    assert done.returncode == 0
    assert (saves / "report.md").read_text(encoding="utf-8").count("# ") >= 1
    assert len(list(saves.iterdir())) == 2
