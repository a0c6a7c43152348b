"""``status --follow``: a line per change, while another process writes."""

from __future__ import annotations

import queue
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_status import check_schema
from tests.support.live_job import Job
from tests.support.program import COMMAND, Following, environment, strict
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "lora" / "live")
    job.row(2.5)
    yield job
    job.close()


@pytest.fixture
def follow(job: Job) -> Iterator[Following]:
    following = Following(job.run)
    yield following
    following.close()


def test_a_line_per_change(job: Job, follow: Following) -> None:
    first = follow.line()
    for part in ("training", "10/400", "2.5000"):
        assert part in first
    for loss in (2.25, 2.125, 1.0625):
        job.row(loss)
        assert f"{job.step}/400" in follow.line_with(f"{loss:.4f}")
    assert follow.silent(1.0), "no change, no line"


def test_it_goes_on_when_the_run_starts_over(job: Job, follow: Following) -> None:
    follow.line_with("2.5000")
    job("remove")
    job.step = 0
    job.row(3.5)
    assert "10/400" in follow.line_with("3.5000")
    job.row(3.25)
    assert "20/400" in follow.line_with("3.2500")


def test_results_are_a_change(job: Job, follow: Following) -> None:
    follow.line_with("2.5000")
    job("json", "predict_results.json", {"predict_bleu-4": 41.75, "predict_rouge-l": 52.5})
    assert "41.7500" in follow.line_with("BLEU")


def test_json_lines(job: Job) -> None:
    following = Following(job.run, "--json")
    try:
        first = strict(following.line())
        check_schema(first)
        assert first["metrics"]["loss"]["last"] == 2.5
        job.row(2.25)
        second = strict(following.line_with('"step": 20'))
        check_schema(second)
        assert second["metrics"]["loss"]["last"] == 2.25
    finally:
        following.close()


def test_polling_sees_the_same(job: Job) -> None:
    following = Following(job.run, "--poll")
    try:
        following.line_with("2.5000")
        job.row(2.25)
        assert "20/400" in following.line_with("2.2500")
    finally:
        following.close()


def test_ctrl_c_ends_it_without_a_traceback(follow: Following) -> None:
    follow.line()
    follow.process.send_signal(signal.SIGINT)
    follow.process.wait(DEADLINE_S)
    assert follow.close() == (130, "")


def test_a_reader_that_leaves_ends_it_at_the_next_line(job: Job) -> None:
    process = subprocess.Popen(
        [*COMMAND, "status", "--follow", str(job.run)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdout.readline()
        process.stdout.close()
        for loss in (2.0, 1.5):
            job.row(loss)
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_nothing_is_written_below_the_run(job: Job, follow: Following) -> None:
    follow.line_with("2.5000")
    job.row(2.25)
    follow.line_with("2.2500")
    assert [path.name for path in job.run.rglob("*")] == ["trainer_log.jsonl"]
    with pytest.raises(queue.Empty):
        follow.line(0.5)
