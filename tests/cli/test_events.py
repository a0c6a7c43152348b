"""``--on-event`` and ``--bell``: commands in a real shell, for runs that another process writes."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.live_app import start, watching
from tests.support.live_job import Job
from tests.support.processes import descendants, state
from tests.support.program import Waiting, lora_tui, strict
from tests.support.terminal import Terminal, repository_root
from tests.support.waiting import DEADLINE_S, wait_until


def meanwhile(terminal: Terminal, true: Callable[[], object]) -> None:
    """Wait until it is true, with the terminal's output taken in."""
    wait_until(true, step=lambda: terminal.drain(0.05))


def told(path: Path) -> list[dict[str, Any]]:
    """Return the events that a command has appended to a file."""
    return [strict(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


# -- wait ------------------------------------------------------------------------------------------------------------


def test_wait_runs_the_command_with_the_event(job: Job, tmp_path: Path) -> None:
    out, env = tmp_path / "out", tmp_path / "env"
    command = f'cat >> {out}; echo "$LORA_TUI_EVENT $LORA_TUI_RUN" >> {env}'
    waiting = Waiting(job.run, "--on-event", command)
    job.row(1.5)
    job.finish()
    code, lines, said = waiting.end()
    assert (code, len(lines), said) == (0, 1, "")
    (event,) = told(out)
    assert (event["schema"], event["event"], event["state"]) == (1, "finished", "finished")
    assert event["run"]["path"] == str(job.run)
    assert event["progress"]["step"] == 400
    assert event["metrics"]["loss"]["last"] == 0.75
    assert event["results"]["train"]["train_loss"] == 0.75
    assert "saves/live  finished  400/400" in event["text"]
    assert env.read_text() == "finished saves/live\n"


def test_what_was_so_before_makes_no_event(all_runs: Path, tmp_path: Path) -> None:
    done = lora_tui("wait", all_runs / "lora/sft", all_runs / "lora/crashed", "--on-event", f"cat >> {tmp_path}/out")
    assert done.returncode == 3
    assert told(tmp_path / "out") == []


def test_a_critical_finding_and_the_condition_are_events_too(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    waiting = Waiting(job.run, "--until", "epoch >= 1", "--on-event", f"cat >> {out}", "--lang", "zh")
    for _ in range(4):
        job.row(float("nan"))
    wait_until(lambda: told(out), "no event for a NaN loss")
    while job.step < 100:
        job.row(float("nan"))
    assert waiting.end()[0] == 0
    first, second = told(out)
    assert (first["event"], first["finding"]["code"], first["state"]) == ("finding", "nan_loss", "running")
    assert (second["event"], second["condition"]) == ("held", "epoch >= 1")
    assert "NaN" in first["text"]


def test_a_name_is_data_for_the_command(tmp_path: Path) -> None:
    name = "x$(touch pwned)`touch pwned`;touch pwned\x1b[31m"
    job = Job(tmp_path / name)
    job.row(2.0)
    out = tmp_path / "out"
    waiting = Waiting(job.run, "--on-event", f'echo "$LORA_TUI_RUN" >> {out}', cwd=tmp_path)
    job.fail("ValueError: $(touch pwned)")
    code, _, _ = waiting.end()
    job.close()
    assert code == 3
    assert out.read_text().strip().endswith("x$(touch pwned)`touch pwned`;touch pwned")
    assert not list(tmp_path.rglob("pwned"))


def test_a_command_that_fails_is_told_and_changes_nothing(job: Job) -> None:
    waiting = Waiting(job.run, "--on-event", "echo oops >&2; exit 7")
    job.finish()
    code, _, said = waiting.end()
    assert code == 0
    assert said == "oops\nlora-tui: an event's command has ended with 7\n"


@pytest.mark.slow
def test_wait_does_not_wait_for_ever_for_a_command(job: Job, tmp_path: Path) -> None:
    waiting = Waiting(job.run, "--on-event", f"echo $$ > {tmp_path}/pid; exec sleep 300")
    job.finish()
    begin = time.monotonic()
    waiting.process.wait(DEADLINE_S)
    took = time.monotonic() - begin
    pid = int((tmp_path / "pid").read_text())
    try:
        assert psutil.Process(pid).name() == "sleep"
    finally:
        os.kill(pid, signal.SIGKILL)
    code, _, said = waiting.end()
    assert (code, said) == (0, "lora-tui: an event's command still runs and is left to itself\n")
    assert took > 9


def test_ctrl_c_reaches_no_command(job: Job, tmp_path: Path) -> None:
    """A command that has begun may end by itself, since the terminal signals the whole foreground group."""
    started, ended = tmp_path / "started", tmp_path / "ended"
    command = [sys.executable, "-m", "lora_tui", "wait", str(job.run), str(tmp_path / "never")]
    command += ["--on-event", f"touch {started}; sleep 1; touch {ended}"]
    with Terminal(command, 200, 24, {"PYTHONPATH": str(repository_root())}, tmp_path) as terminal:
        terminal.wait_for("does not exist yet")
        job.finish()
        wait_until(started.exists)
        terminal.send("\x03")
        assert terminal.wait_exit() == 130
    assert ended.exists()


# -- watch -----------------------------------------------------------------------------------------------------------

BELL = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|(\x07)")


def bells(terminal: Terminal) -> int:
    """Count the BEL characters that end no control sequence."""
    return sum(match[1] is not None for match in BELL.finditer(terminal.raw))


@pytest.mark.pty
def test_watch_runs_the_command_and_rings(job: Job, all_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with watching(
        tmp_path, "saves", all_runs, "--bell", "--on-event", f"echo JUNK; echo JUNK >&2; cat >> {out}"
    ) as terminal:
        terminal.wait_for(r"live", "20/400")
        terminal.settle()
        assert (told(out), bells(terminal)) == ([], 0), "nothing has become so yet"
        job.row(1.5)
        terminal.wait_for("30/400")
        job.finish()
        meanwhile(terminal, lambda: told(out))
        (event,) = told(out)
        assert (event["event"], event["run"]["name"]) == ("finished", "live")
        terminal.wait_for("live  finished  400/400")
        terminal.settle()
        assert bells(terminal) == 1
        assert "JUNK" not in terminal.text
        wait_until(lambda: psutil.STATUS_ZOMBIE not in map(state, descendants(terminal)), "each command is reaped")


@pytest.mark.pty
def test_watch_tells_that_the_command_fails_and_goes_on(job: Job, tmp_path: Path) -> None:
    with watching(tmp_path, "saves", "--on-event", "echo 'no mail for you' >&2; exit 3") as terminal:
        terminal.wait_for("20/400")
        terminal.settle()
        job.fail()
        terminal.wait_for("an event's command has ended with 3: no mail for you")
        assert bells(terminal) == 0
        terminal.send("?")
        terminal.wait_for("next pane")
        terminal.send("?")


@pytest.mark.pty
def test_leaving_watch_leaves_a_command_alone(job: Job, tmp_path: Path) -> None:
    command = f"touch {tmp_path}/started; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/ended"
    with start(tmp_path, "saves", "--on-event", command) as terminal:
        terminal.wait_for("20/400")
        terminal.settle()
        job.fail()
        meanwhile(terminal, (tmp_path / "started").exists)
        terminal.send("q")
        assert terminal.wait_exit() == 0
        (tmp_path / "go").touch()  # it has not been waited for: it cannot have ended before
        wait_until((tmp_path / "ended").exists)


@pytest.mark.pty
def test_wait_rings_on_a_terminal(job: Job, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lora_tui", "wait", str(job.run), "--bell"]
    with Terminal(command, 80, 24, {"PYTHONPATH": str(repository_root())}, tmp_path) as terminal:
        terminal.settle()
        assert bells(terminal) == 0
        job.finish()
        assert terminal.wait_exit() == 0
        assert bells(terminal) == 1
        assert "finished" in terminal.text


def test_the_settings_can_say_it_too(job: Job, tmp_path: Path) -> None:
    config = tmp_path / "team.toml"
    config.write_text(f"[notify]\non_event = {json.dumps(f'cat >> {tmp_path}/out')}\n", encoding="utf-8")
    waiting = Waiting(job.run, "--config", config)
    job.finish()
    assert waiting.end()[0] == 0
    assert [event["event"] for event in told(tmp_path / "out")] == ["finished"]
