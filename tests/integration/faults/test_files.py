"""Files that are written badly, moved, hidden and rewritten while they are followed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lora_tui
from lora_tui.analysis import judge
from lora_tui.demo.samples import sample_dir
from lora_tui.ingest.file_readers import CHUNK
from lora_tui.records.updates import FileRows
from tests.integration.faults.following import Watched, append, events_alone, permissions_count, row, watched
from tests.integration.faults.fuse import Faulty
from tests.support.job_writer import Writer
from tests.support.waiting import DEADLINE_S, wait_until

__all__ = ["events_alone", "watched"]
Watch = Callable[..., Watched]
CopyRun = Callable[..., Path]


def test_a_last_line_that_stays_torn_for_minutes(tmp_path: Path, watched: Watch) -> None:
    """It is no row and no fault however long it takes, and a row once it is whole."""
    run = tmp_path / "a"
    append(run, *(row(step, 2.0) for step in range(1, 30)))
    watch = watched(tmp_path)
    text = json.dumps(row(30, 1.5)) + "\n"
    with (run / "trainer_log.jsonl").open("a") as file:
        file.write(text[:40])
    watch.follow(0.5)
    for minutes in (1, 4, 10):
        watch.ahead = 60.0 * minutes
        watch.follower._changed = None  # the heartbeat, which would come in some seconds
        watch.turn()
        assert len(watch.losses("a")) == 29
        assert watch.problems("a") == []
    assert watch.the("a").status(time.time() + watch.ahead).state == "stalled"
    with (run / "trainer_log.jsonl").open("a") as file:
        file.write(text[40:])
    watch.until(lambda: watch.losses("a")[-1] == 1.5)
    assert watch.problems("a") == []


def test_a_read_that_fails_after_the_first_chunk_loses_no_row(tmp_path: Path, watched: Watch) -> None:
    """An input/output error in the middle of a long log: what came before it is shown, the rest once it can be read."""
    run = tmp_path / "source/a"
    rows = [row(step, 1 + step / 1e6, 10_000) for step in range(1, 3001)]
    run.mkdir(parents=True)
    (run / "trainer_log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert (run / "trainer_log.jsonl").stat().st_size > 1.9 * CHUNK
    with Faulty(tmp_path / "source", tmp_path / "mount") as mount:
        mount(f"fail {CHUNK + 5000}")
        watch = watched(tmp_path / "mount")
        first = len(watch.losses("a"))
        assert 1000 < first < 1700
        assert watch.problems("a") == [("trainer_log.jsonl", "input/output error")]
        mount("go")
        watch.until(lambda: len(watch.losses("a")) == 3000)
        assert watch.losses("a") == [each["loss"] for each in rows]
        assert watch.problems("a") == []


def test_a_log_that_grows_faster_than_it_is_read(tmp_path: Path) -> None:
    """More was read than the size that was seen before: that is no truncation."""
    from lora_tui.ingest.file_readers import TailReader
    from lora_tui.sources.local_disk import LocalDisk

    log = tmp_path / "trainer_log.jsonl"
    append(tmp_path, row(1, 2.0))
    disk = LocalDisk()
    entry = disk.stat(log)
    assert entry is not None
    tail = TailReader(log.name, entry, "log")
    with log.open("a") as file:
        file.writelines(json.dumps(row(step, 2.0, 10_000)) + "\n" for step in range(2, 6001))
    steps: list[int] = []
    whole = False
    while not whole:
        # No time is left after each chunk.
        told, whole = tail.read(disk, 0.0, False, time.time())
        for update in told:
            assert isinstance(update, FileRows)
            assert not update.restarted
            steps.extend(each.step or 0 for each in update.rows)
    assert steps == list(range(1, 6001))


REWRITER = """
import json, os, sys, time
path, count = sys.argv[1], 0
while not os.path.exists(sys.argv[2]):
    count += 1
    text = json.dumps({"train_loss": float(count), "train_runtime": 10.0 * count, "epoch": 3.0}, indent=4)
    with open(path, "w") as file:              # 0 bytes
        file.flush(); time.sleep(0.002)
        file.write(text[: len(text) // 2])     # half
        file.flush(); time.sleep(0.002)
        file.write(text[len(text) // 2 :])
    time.sleep(0.002)
print(count)
"""


@pytest.mark.parametrize("poll", [False, True])
def test_a_document_that_is_rewritten_without_end(tmp_path: Path, watched: Watch, poll: bool) -> None:
    """Truncated, half written and whole by turns, 150 times a second: only whole values are ever seen."""
    run = tmp_path / "a"
    append(run, row(1000, 1.0))
    watch = watched(tmp_path, poll=poll)
    writer = subprocess.Popen(
        [sys.executable, "-c", REWRITER, str(run / "train_results.json"), str(tmp_path / "enough")],
        stdout=subprocess.PIPE,
        text=True,
    )
    seen: set[float] = set()

    def look() -> None:
        if watch.follower.wait(0.05):
            watch.turn()
        assert watch.problems("a") == []
        result = watch.the("a").results().get("train")
        if result is not None:
            assert result.values["train_runtime"] == 10 * result.values["train_loss"]
            seen.add(result.values["train_loss"])

    begin = time.monotonic()
    # How often it is met whole is chance: when it is polled, perhaps never.
    wait_until(lambda: time.monotonic() - begin > 1 if poll else len(seen) > 3, "whole values", look)
    (tmp_path / "enough").touch()
    last = float(writer.communicate()[0])

    def is_last() -> bool:
        result = watch.the("a").results().get("train")
        return result is not None and result.values["train_loss"] == last

    watch.until(is_last)
    assert watch.problems("a") == []


def test_two_jobs_that_write_into_one_log(tmp_path: Path, watched: Watch) -> None:
    """No row is lost or mixed up, and it is said that there are two."""
    run = tmp_path / "a"
    append(run, row(1, 2.0))
    watch = watched(tmp_path)
    both = threading.Barrier(2)

    def write(loss: float) -> None:
        with Writer(run) as job:
            for step in range(1, 61):
                job("row", row(step, loss))
                if step % 5 == 0:
                    both.wait(DEADLINE_S)

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(write, loss) for loss in (2.0, 3.0)]
        watch.until(lambda: all(job.done() for job in jobs))
        for job in jobs:
            job.result()
    lines = (run / "trainer_log.jsonl").read_text().splitlines()
    assert len(lines) == 121
    cold = lora_tui.load(run)
    watch.until(lambda: [r.step for r in watch.the("a").rows] == [r.step for r in cold.rows])
    assert watch.problems("a") == []
    assert watch.losses("a") == list(cold.series["loss"].values)
    assert "two_writers" in {finding.code for finding in judge(watch.the("a"), time.time()).findings}


def test_file_times_in_the_future(tmp_path: Path, watched: Watch) -> None:
    """A server whose clock is a day ahead: the run goes on, nothing is negative."""
    run = tmp_path / "a"
    append(run, *(row(step, 2.0) for step in range(1, 61)))
    ahead = time.time() + 86_400
    os.utime(run / "trainer_log.jsonl", (ahead, ahead))
    watch = watched(tmp_path)
    append(run, row(61, 1.9))
    os.utime(run / "trainer_log.jsonl", (ahead + 1, ahead + 1))
    watch.until(lambda: len(watch.losses("a")) == 61)
    now = time.time()
    status, progress = watch.the("a").status(now), watch.the("a").progress(now)
    assert status.state == "running"
    assert (status.silent_s or 0) >= 0
    assert progress.remaining_s is None or 0 <= progress.remaining_s < 2000
    assert progress.finish_at is None or now <= progress.finish_at < now + 2000


def test_a_clock_that_jumps(tmp_path: Path, watched: Watch) -> None:
    """An hour back, as when the time is set: rows go on to come, and the run goes on."""
    run = tmp_path / "a"
    append(run, *(row(step, 2.0) for step in range(1, 61)))
    watch = watched(tmp_path)
    for step, ahead in ((61, 0.0), (62, -3600.0), (63, -3600.0), (64, 7200.0)):
        watch.ahead = ahead
        append(run, row(step, 1.9))
        then = time.time() + ahead
        os.utime(run / "trainer_log.jsonl", (then, then))
        watch.until(lambda: len(watch.losses("a")) == step)  # noqa: B023
        status, progress = watch.the("a").status(then), watch.the("a").progress(then)
        assert status.state == "running", ahead
        assert progress.remaining_s is None or progress.remaining_s >= 0
        assert [each.step for each in watch.the("a").rows][-1] == step


def test_copied_runs_with_fresh_times(all_runs: Path, tmp_path: Path) -> None:
    """``cp -r`` without ``-p``, in any order of the files: what ended well or badly is told all the same."""
    before = {run.name: run for run in lora_tui.load_all(all_runs)}
    copy = tmp_path / "runs"
    shutil.copytree(all_runs, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    random.Random(7).shuffle(files)
    now = time.time()
    for place, path in enumerate(files):
        # The files of a run are not copied at once, nor in the order in which they were written.
        os.utime(path, (now - 1 + place / len(files),) * 2)
    after = {run.name: run for run in lora_tui.load_all(copy)}
    assert after.keys() == before.keys()
    told = {name: (run.status(2e9).state, after[name].status(now + 61).state) for name, run in before.items()}
    # For a minute results might still be coming. A killed job shows by its silence alone, which begins anew.
    changed = {name: states for name, states in told.items() if states[0] != states[1]}
    assert {states[0] for states in changed.values()} <= {"interrupted"}, changed
    later = {name: run.status(now + 86_400).state for name, run in after.items()}
    assert later == {name: states[0] for name, states in told.items()}


# -- what is taken away and given back -------------------------------------------------------------------------------


@pytest.mark.parametrize("poll", [False, True])
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_run_whose_directory_loses_its_permission(tmp_path: Path, watched: Watch, poll: bool, mode: int) -> None:
    """It keeps its known values, reports why nothing new comes, and goes on when it can be read again."""
    for name in "ab":
        append(tmp_path / "saves" / name, row(1, 2.0), row(2, 1.5))
    (tmp_path / "saves/a/train_results.json").write_text('{"train_loss": 1.75}')
    run = tmp_path / "saves/a"
    watch = watched(tmp_path / "saves", poll=poll)
    with permissions_count():
        try:
            run.chmod(mode)
            watch.until(lambda: watch.problems("a") == [("a/", "permission denied")])
            assert watch.errors == {str(run): "permission denied"}
            assert watch.losses("a") == [2.0, 1.5]
            assert watch.the("a").results()["train"].values == {"train_loss": 1.75}
            append(tmp_path / "saves/b", row(3, 1.25))
            watch.until(lambda: watch.losses("b") == [2.0, 1.5, 1.25])
        finally:
            run.chmod(0o755)
        append(run, row(3, 1.0))
        watch.until(lambda: watch.losses("a") == [2.0, 1.5, 1.0])
        assert watch.problems("a") == []
        assert watch.errors == {}


def test_a_lost_permission_of_which_no_event_comes(tmp_path: Path, watched: Watch) -> None:
    """The files are looked at before their directory: the directory alone is named in the end."""
    run = tmp_path / "saves/a"
    append(run, row(1, 2.0))
    watch = watched(tmp_path / "saves", poll=True)
    reader = watch.follower._readers[run]
    with permissions_count():
        try:
            run.chmod(0)
            assert not reader.check()
            watch.until(lambda: watch.problems("a") == [("a/", "permission denied")])
        finally:
            run.chmod(0o755)
        append(run, row(2, 1.5))
        watch.until(lambda: watch.losses("a") == [2.0, 1.5] and watch.problems("a") == [])


@pytest.mark.parametrize("name", ["trainer_log.jsonl", "train_results.json"])
def test_a_file_that_loses_its_permission(tmp_path: Path, watched: Watch, name: str) -> None:
    run = tmp_path / "a"
    append(run, row(1, 2.0))
    (run / name).touch()
    with permissions_count():
        (run / name).chmod(0)
        watch = watched(tmp_path)
        assert watch.problems("a") == [(name, "permission denied")]
        if name == "train_results.json":
            # Written by its owner meanwhile, to whom it is open.
            (run / name).chmod(0o644)
            (run / name).write_text('{"train_loss": 1.75}')
            (run / name).chmod(0)
        # A permission makes no new version of a file.
        (run / name).chmod(0o644)
        watch.until(lambda: not watch.problems("a"))
    assert watch.losses("a") == [2.0]
    assert ("train" in watch.the("a").results()) == (name == "train_results.json")


@pytest.mark.usefixtures("events_alone")
def test_a_tree_that_is_deleted_and_made_anew(tmp_path: Path, watched: Watch) -> None:
    """``rm -r`` of everything and a new start at once: the old run's numbers are gone, the new one's come by events."""
    saves = tmp_path / "saves"
    shutil.copytree(sample_dir() / "lora/sft", saves / "x/sft")
    watch = watched(saves)
    assert len(watch.losses("x/sft")) == 81
    shutil.rmtree(saves / "x")
    append(saves / "x/sft", row(1, 9.0))
    watch.until(lambda: watch.losses("x/sft") == [9.0])
    assert watch.the("x/sft").results() == {}
    append(saves / "x/sft", row(2, 8.0))
    watch.until(lambda: watch.losses("x/sft") == [9.0, 8.0])


@pytest.mark.usefixtures("events_alone")
def test_a_tree_that_is_renamed_under_the_run(tmp_path: Path, watched: Watch) -> None:
    """The directory above it gets another name while rows come in."""
    append(tmp_path / "saves/x/a", row(1, 2.0))
    watch = watched(tmp_path / "saves")
    (tmp_path / "saves/x").rename(tmp_path / "saves/y")
    append(tmp_path / "saves/y/a", row(2, 1.0))
    watch.until(lambda: watch.losses("y/a") == [2.0, 1.0] and watch.run("x/a") is None)
    append(tmp_path / "saves/y/a", row(3, 0.5))
    watch.until(lambda: watch.losses("y/a") == [2.0, 1.0, 0.5])
    append(tmp_path / "saves/x/a", row(1, 7.0))
    watch.until(lambda: watch.losses("x/a") == [7.0])
