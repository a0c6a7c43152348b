"""``wait``: wait until runs have ended or a condition holds, while another process writes."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_job import TRACEBACK, Job
from tests.support.program import Waiting, lora_tui


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "saves" / "other")
    job.row(3.5)
    yield job
    job.close()


Start = Callable[..., Waiting]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Waiting] = []

    def make(*args: str | Path, **more: Any) -> Waiting:
        started.append(Waiting(*args, **more))
        return started[-1]

    yield make
    for waiting in started:
        waiting.close()


# -- runs that have ended already ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "lines"),
    [
        (["lora/sft"], 0, 1),
        (["sft-long", "lora/dpo"], 0, 2),
        (["lora/crashed"], 3, 1),
        (["lora/killed"], 3, 1),
        (["lora/sft", "lora/crashed"], 3, 2),
        (["lora/killed/train.log"], 3, 1),
        (["hf"], 0, 1),
        (["lora/sft", "lora/sft", "./lora/sft/"], 0, 1),
        (["lora/sft", "--until", "eval_loss < 1.2"], 0, 1),
        (["lora/sft", "--until", "predict_bleu-4 > 30 and state == finished"], 0, 1),
        (["lora/sft", "--until", "eval_loss < 0.1"], 3, 1),
        (["lora/sft", "lora/default", "--until", "eval_loss < 1.2"], 3, 2),
        (["lora/sft", "lora/default", "--until", "eval_loss < 1.2", "--any"], 0, 2),
        (["lora/crashed", "--until", "state == failed"], 0, 1),
        (["lora/sft", "lora/nowhere", "--any"], 0, 1),
    ],
)
def test_what_has_ended_counts_at_once(all_runs: Path, args: list[str], code: int, lines: int) -> None:
    done = lora_tui("wait", *args, cwd=all_runs)
    assert (done.returncode, len(done.stdout.splitlines())) == (code, lines), done.stderr


def test_with_any_the_one_that_ended_first_decides(all_runs: Path) -> None:
    """The interrupted run ended before the finished one, the failed one after it."""
    assert lora_tui("wait", "lora/dpo", "lora/crashed", "--any", cwd=all_runs).returncode == 3
    assert lora_tui("wait", "lora/sft", "lora/crashed", "--any", cwd=all_runs).returncode == 0


def test_the_line_says_name_state_and_last_numbers(all_runs: Path) -> None:
    (line,) = lora_tui("wait", "sft-long", cwd=all_runs).stdout.splitlines()
    assert re.fullmatch(r"\d\d:\d\d  lora/sft-long  finished  6250/6250  loss 0\.9422  eval loss 0\.8097  .*", line)
    (line,) = lora_tui("wait", "crashed", "--lang", "zh", cwd=all_runs).stdout.splitlines()
    assert "失败" in line
    assert "File too large" in line


def test_what_cannot_be_waited_for(all_runs: Path) -> None:
    for args, says in [
        (["nowhere"], "no run is called nowhere"),
        (["lora"], "several runs"),
        (["sft", "ft"], "several runs"),
        (["lora/sft", "--log", "none.out"], "none.out"),
    ]:
        done = lora_tui("wait", *args, cwd=all_runs)
        assert (done.returncode, done.stdout) == (1, ""), args
        assert done.stderr.count("\n") == 1
        assert says in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--until", "eval_loss <"], "--until, column 12: expected a name, a number"),
        (["--until", "eval_los < 1"], "did you mean eval_loss?"),
        (["--until", "state == done"], "expected one of waiting, running"),
        (["--timeout", "soon"], "no duration"),
        (["--all", "--any"], "not allowed with"),
    ],
)
def test_usage_errors_are_exit_2(all_runs: Path, args: list[str], says: str) -> None:
    done = lora_tui("wait", "lora/sft", *args, cwd=all_runs)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_name_that_no_run_knows_yet_is_told(job: Job) -> None:
    done = lora_tui("wait", job.run, "--until", "my_score > 1", "--timeout", "0")
    assert done.returncode == 4
    assert "no run here knows my_score" in done.stderr


# -- runs that go on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--poll"]])
def test_it_ends_when_the_run_does(start: Start, job: Job, options: list[str]) -> None:
    waiting = start(job.run, *options)
    assert waiting.waits()
    job.row(1.5)
    assert waiting.waits()
    job.finish()
    code, (line,), said = waiting.end()
    assert (code, said) == (0, "")
    assert "saves/live  finished  400/400  loss 0.7500" in line


def test_a_failure_is_3(start: Start, job: Job) -> None:
    waiting = start(job.run)
    assert waiting.waits()
    job.fail()
    code, (line,), said = waiting.end()
    assert (code, said) == (3, "")
    assert "failed  20/400" in line
    assert line.endswith("RuntimeError: boom")


def test_the_clock_alone_ends_it(start: Start, job: Job, tmp_path: Path) -> None:
    """A run that is silent for five minutes is stalled, without any write at that moment."""
    ahead, new = tmp_path / "ahead", tmp_path / "new"
    ahead.write_text("0")
    waiting = start(job.run, command=[sys.executable, "-m", "tests.support.shifted_clock", ahead])
    assert waiting.waits()
    new.write_text("310")
    new.replace(ahead)
    code, (line,), _ = waiting.end()
    assert code == 3
    assert "silent" in line


def test_all_waits_for_the_last(start: Start, job: Job, other: Job) -> None:
    waiting = start(job.run, other.run)
    job.finish()
    assert "live  finished" in waiting.line()
    assert waiting.waits()
    other.finish()
    code, (line,), _ = waiting.end()
    assert code == 0
    assert "other  finished" in line


def test_any_waits_for_the_first(start: Start, job: Job, other: Job) -> None:
    waiting = start("--any", "live", "other", cwd=job.run.parent.parent)
    assert waiting.waits()
    other.fail()
    code, (line,), _ = waiting.end()
    assert code == 3
    assert "other" in line


def test_a_stalled_run_that_goes_on_is_waited_for_again(start: Start, job: Job, other: Job) -> None:
    job.silent_for(400.0)
    waiting = start(job.run, other.run)
    assert "live  silent" in waiting.line()
    job.row(1.5)
    assert waiting.waits()
    other.finish()
    assert "other  finished" in waiting.line()
    assert waiting.waits()
    job.finish()
    code, (line,), _ = waiting.end()
    assert code == 0
    assert "live  finished" in line


def test_until_it_holds(start: Start, job: Job) -> None:
    waiting = start(job.run, "--until", "loss < 1 or eval_loss < 1.2")
    assert waiting.waits()
    job.row(1.25)
    assert waiting.waits(0.5)
    job.row(1.25, eval_loss=1.125)
    code, (line,), said = waiting.end()
    assert (code, said) == (0, "")
    assert "saves/live  loss < 1 or eval_loss < 1.2  training  40/400" in line


def test_until_can_never_hold_any_more(start: Start, job: Job) -> None:
    waiting = start(job.run, "--until", "eval_loss < 1.2", "--lang", "zh")
    assert waiting.waits(0.5)
    job.finish()
    code, (line,), said = waiting.end()
    assert code == 3
    assert "已完成" in line
    assert said == "lora-tui: saves/live 已结束，始终未满足 eval_loss < 1.2\n"


def test_until_for_all_counts_each_once(start: Start, job: Job, other: Job) -> None:
    waiting = start(job.run, other.run, "--until", "loss < 2.5")
    assert "live  loss < 2.5" in waiting.line()
    job.row(5.0)
    assert waiting.waits(0.7)
    other.row(1.0)
    code, (line,), _ = waiting.end()
    assert code == 0
    assert "other  loss < 2.5" in line


def test_it_waits_for_a_run_that_is_not_there_yet(start: Start, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    waiting = start("saves/live", "empty", cwd=tmp_path)
    jobs = [Job(tmp_path / "saves/live"), Job(tmp_path / "empty")]
    try:
        assert waiting.waits()
        for job in jobs:
            job.row(2.5)
        assert waiting.waits()
        for job in jobs:
            job.finish()
        code, lines, said = waiting.end()
    finally:
        for job in jobs:
            job.close()
    assert code == 0
    assert len(lines) == 2
    assert said.splitlines() == [
        f"lora-tui: {tmp_path}/saves/live does not exist yet; waiting for it",
        f"lora-tui: no training run in {tmp_path}/empty yet; waiting for it",
    ]


def test_a_job_that_dies_before_its_directory_is_there_is_known_by_its_log(tmp_path: Path) -> None:
    (tmp_path / "nohup.out").write_text(TRACEBACK.format(message="ValueError: no such dataset"))
    done = lora_tui("wait", "saves/sft", "--log", "nohup.out", "--timeout", "10", cwd=tmp_path)
    assert done.returncode == 3
    assert "failed  ValueError: no such dataset" in done.stdout


def test_a_path_is_not_taken_for_an_old_run_elsewhere(tmp_path: Path) -> None:
    old = Job(tmp_path / "archive/saves/sft")
    try:
        old.row(1.0)
        old.finish()
    finally:
        old.close()
    (tmp_path / "saves").mkdir()
    assert lora_tui("wait", "saves/sft", "--timeout", "0", cwd=tmp_path).returncode == 4
    assert lora_tui("wait", "./sft", "--timeout", "0", cwd=tmp_path).returncode == 4
    assert lora_tui("wait", "sft", "--timeout", "0", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_run_that_is_removed_is_waited_for_again(start: Start, job: Job) -> None:
    waiting = start(job.run)
    assert waiting.waits(0.5)
    shutil.rmtree(job.run)
    assert waiting.waits(4.5)  # what is lost among the events is found by the heartbeat
    job.step = 0
    job.row(3.0)
    assert waiting.waits(0.5)
    job.finish()
    code, (line,), said = waiting.end()
    assert code == 0
    assert "finished" in line
    assert said == "lora-tui: saves/live is gone; waiting for it to come back\n"


def test_the_timeout_is_4_and_names_what_is_left(job: Job, all_runs: Path) -> None:
    begin = time.monotonic()
    done = lora_tui("wait", job.run, all_runs / "lora/sft", "--timeout", "1s")
    assert time.monotonic() - begin > 1
    assert done.returncode == 4
    assert "lora/sft  finished" in done.stdout
    assert done.stderr == "lora-tui: gave up after 1s; still waiting for saves/live\n"
    assert lora_tui("wait", job.run, "--timeout", "0").returncode == 4


def test_ctrl_c_is_130_without_a_traceback(start: Start, job: Job) -> None:
    waiting = start(job.run)
    assert waiting.waits()
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.end() == (130, [], "")


def test_a_hostile_name_cannot_reach_the_terminal(tmp_path: Path) -> None:
    job = Job(tmp_path / "\x1b]52;c;QQ==\x07[red]\u202efish")
    try:
        job.row(1.0)
        job.fail("ValueError: \x1b[31m\u202ered")
        done = lora_tui("wait", job.run)
        (tmp_path / "empty").mkdir()
        missing = lora_tui("wait", f"{tmp_path}/no\x1b[31m", "--timeout", "0")
    finally:
        job.close()
    assert done.returncode == 3
    assert "[red]fish" in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr + missing.stderr)
