"""File events: how few watches are taken, what happens where none are left, and that none stay behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_tui.ingest.follower import Follower
from lora_tui.sources.base import Entry
from lora_tui.sources.file_events import has_shared_descriptor
from lora_tui.sources.local_disk import LocalDisk
from tests.integration.faults.following import Watched, append, events_alone, handles, row, watched, watches
from tests.support.live_app import watching
from tests.support.program import COMMAND, environment
from tests.support.waiting import DEADLINE_S, wait_quiet

__all__ = ["events_alone", "watched"]
Watch = Callable[..., Watched]
needs_descriptor = pytest.mark.skipif(not has_shared_descriptor(), reason="needs Linux and watchdog 7.1")


def make_runs(root: Path, count: int, age_s: float = 86_400.0, checkpoints: int = 3) -> None:
    """Finished runs of some time ago, with what a job leaves behind."""
    text = "".join(json.dumps(row(step, 2.0, 100)) + "\n" for step in range(10, 101, 10))
    then = time.time() - age_s
    for number in range(count):
        run = root / f"run-{number:04}"
        for step in range(1, checkpoints + 1):
            folder = run / f"checkpoint-{step * 10}" / "global_step"
            folder.mkdir(parents=True)
            (folder / "optim_states.pt").touch()
            (folder.parent / "trainer_state.json").write_text(f'{{\n  "global_step": {step * 10}\n}}\n')
        run.mkdir(exist_ok=True)
        (run / "trainer_log.jsonl").write_text(text)
        for name in ("train_results.json", "all_results.json", "adapter_config.json", "trainer_state.json"):
            (run / name).write_text('{"train_loss": 2.0, "r": 8, "peft_type": "LORA", "global_step": 100}')
        for path in run.rglob("*"):
            os.utime(path, (then, then))


def test_old_directories_are_listed_once_and_listened_to(
    tmp_path: Path, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of directories listed before watching began only the time is looked at, and no change is missed."""
    make_runs(tmp_path / "saves/a", 20)
    (tmp_path / "saves/b/c").mkdir(parents=True)
    then = time.time() - 86_400
    for folder in (*(tmp_path / "saves").glob("*/*"), *(tmp_path / "saves").glob("*"), tmp_path / "saves"):
        os.utime(folder, (then, then))
    listed: list[Path] = []
    entries = LocalDisk.entries

    def counting(self: LocalDisk, path: Path) -> list[Entry]:
        listed.append(path)
        return entries(self, path)

    monkeypatch.setattr(LocalDisk, "entries", counting)
    follower = Follower([tmp_path / "saves"], poll=False)
    follower.read_all()
    # A change between the first listing and the first watch.
    append(tmp_path / "saves/a/early", row(1, 2.0))
    listed.clear()
    watch = watched(follower=follower)
    assert watch.run("early") is not None or watch.run("a/early") is not None
    assert len(listed) < 10, "of 83 directories"
    append(tmp_path / "saves/b/c/late", row(1, 2.0))
    watch.until(lambda: any(run.path.name == "late" for run in watch.workspace.runs))


@pytest.mark.parametrize("place", ["cache", "run/cache"])
@pytest.mark.parametrize("poll", [False, True])
def test_files_of_no_producer_cause_no_listing(
    tmp_path: Path, watched: Watch, monkeypatch: pytest.MonkeyPatch, poll: bool, place: str
) -> None:
    """A cache beside a run, or in it, gains files all the time; runs that appear there are found all the same."""
    cache, run = tmp_path / place, tmp_path / "run"
    cache.mkdir(parents=True)
    for number in range(20):
        (cache / f"old-{number}.arrow").touch()
    append(run, row(1, 2.0))
    watch = watched(tmp_path, poll=poll)
    watch.until(lambda: watch.losses("run") == [2.0])
    if not poll:
        # The first turn of a follower that watches lists everything once more.
        watch.step()
        listed: list[Path] = []
        entries = LocalDisk.entries

        def counting(self: LocalDisk, path: Path) -> list[Entry]:
            listed.append(path)
            return entries(self, path)

        monkeypatch.setattr(LocalDisk, "entries", counting)
        for number in range(20):
            (cache / f"new-{number}.arrow").touch()
            (cache / f"old-{number}.arrow").unlink()
        # Events arrive in their order: with the row's, those of the files have been dealt with.
        append(run, row(2, 1.5))
        watch.until(lambda: watch.losses("run") == [2.0, 1.5])
        assert cache not in listed
    append(cache / "below", row(1, 1.0))
    watch.until(lambda: watch.losses(f"{place}/below") == [1.0])
    append(cache, row(1, 3.0))
    watch.until(lambda: watch.losses(place) == [3.0])
    (cache / "trainer_log.jsonl").unlink()
    shutil.rmtree(cache)
    watch.until(lambda: [each.path.name for each in watch.workspace.runs] == ["run"])


# -- the limits of inotify -------------------------------------------------------------------------------------------

LIMITED = """
set -e
echo {value} > /proc/sys/user/{limit}
exec "$@"
"""


def limited(limit: str, value: int, command: list[str]) -> list[str]:
    """A command in a user namespace of its own that has no more than so many (namespaces(7): /proc/sys/user)."""
    found = shutil.which("unshare")
    if found is None:
        pytest.skip("needs unshare")
    script = LIMITED.format(limit=limit, value=value)
    whole = [found, "-Ur", "sh", "-c", script, "sh", *command]
    probe = subprocess.run([found, "-Ur", "sh", "-c", script, "sh", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"needs user namespaces: {probe.stderr.strip()}")
    return whole


LIMITS = [
    ("max_inotify_instances", 0, "No file events to be had"),
    ("max_inotify_watches", 3, "No file watches are left"),
]


@pytest.mark.parametrize(("limit", "value", "said"), LIMITS)
def test_without_watches_rows_come_all_the_same(tmp_path: Path, limit: str, value: int, said: str) -> None:
    """``wait`` says once on stderr that it polls, and hears of the row."""
    make_runs(tmp_path / "saves", 5)
    append(tmp_path / "saves/z/a", row(1, 2.0))
    command = limited(limit, value, [*COMMAND, "wait", "--until", "loss < 1", str(tmp_path / "saves/z/a")])
    process = subprocess.Popen(
        command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_quiet(process.pid)
        append(tmp_path / "saves/z/a", row(2, 0.5))
        out, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 0, error
    assert "0.5000" in out
    lines = error.splitlines()
    # One directory is within three watches; none is without an instance.
    assert [line for line in lines if said in line] == lines
    assert len(lines) == (1 if limit == "max_inotify_instances" else 0)


@pytest.mark.parametrize(("limit", "value", "said"), LIMITS)
def test_the_app_without_watches(tmp_path: Path, limit: str, value: int, said: str) -> None:
    """The footer says so for a while, and everything goes on."""
    from tests.support.live_app import PYTHON
    from tests.support.terminal import Terminal

    make_runs(tmp_path / "saves", 5)
    append(tmp_path / "saves/a", row(1, 2.0))
    command = limited(limit, value, [*COMMAND, "watch", "saves"])
    with Terminal(command, 120, 40, PYTHON, tmp_path) as terminal:
        terminal.wait_for(said)
        append(tmp_path / "saves/a", row(2, 1.5))
        terminal.wait_for("loss 1.50")
        append(tmp_path / "saves/new", row(1, 1.25))
        terminal.wait_for(r"new\s+1\.25")
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []


USED_UP = """
import math, sys
from pathlib import Path
from lora_tui.ingest import follower as following
from lora_tui.sources.file_events import DirectoryEvents
from tests.integration.faults.following import Watched, append, row
place = Path(sys.argv[1])
taken = [DirectoryEvents(), DirectoryEvents()]
append(place / "a", row(1, 2.0))
watch = Watched(place)
assert watch.notes == ("no_instance",), watch.notes
append(place / "a", row(2, 1.5))
watch.until(lambda: watch.losses("a") == [2.0, 1.5])
taken.pop().close()
watch.follower._source._refused_at -= 60  # half a minute later
watch.until(lambda: watch.notes == ())
following.HEARTBEAT_S = following.SLOW_HEARTBEAT_S = math.inf
watch.turn()
append(place / "a", row(3, 1.0))
watch.until(lambda: watch.losses("a") == [2.0, 1.5, 1.0])
"""


@needs_descriptor
def test_the_instances_are_used_up_by_others(tmp_path: Path) -> None:
    """As by an editor: every inotify instance of this user is taken, and one is given back later."""
    command = limited("max_inotify_instances", 2, [sys.executable, "-c", USED_UP, str(tmp_path)])
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("events_alone")
def test_events_that_were_lost(tmp_path: Path, watched: Watch) -> None:
    """More than the kernel keeps (max_queued_events): every watched directory is looked at."""
    for number in range(5):
        append(tmp_path / f"run-{number}", row(1, 2.0))
    watch = watched(tmp_path)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("the kernel keeps too many events here to lose some")
    names = [tmp_path / "run-0/x", tmp_path / "run-0/y"]
    for number in range(most // 2 + 100):
        # One event each for two names in turns: they are not merged.
        names[number % 2].touch()
        names[number % 2].unlink()
    append(tmp_path / "run-4", row(2, 1.5))
    watch.until(lambda: watch.losses("run-4") == [2.0, 1.5])


# -- how many --------------------------------------------------------------------------------------------------------


@needs_descriptor
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_watch_for_each_run_and_none_for_what_is_over(tmp_path: Path, watched: Watch, count: int) -> None:
    """1,000 runs with 6,000 directories of checkpoints in them, 11,000 files: one watch a run, one for their root."""
    root = tmp_path / "saves"
    make_runs(root, count)
    for junk in (".git/objects", "venv/lib", "wandb/run-1"):
        (root / junk).mkdir(parents=True)
    before = watches()
    watch = watched(root)
    watch.until(lambda: len(watch.workspace.runs) == count and watches() - before == count + 1)
    # A run that is active again is watched, and so is its newest checkpoint.
    append(root / "run-0007", row(1, 1.0))
    (root / "run-0007/checkpoint-40").mkdir()
    watch.until(lambda: watches() - before == count + 2)


# -- what is left behind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count", [pytest.param(100, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.soak)]
)
def test_nothing_is_left_of_runs_that_came_and_went(tmp_path: Path, watched: Watch, count: int) -> None:
    """Runs appear, are followed, and are deleted or renamed: no watch, thread or open file more than before."""
    root = tmp_path / "saves"
    append(root / "stays", row(1, 2.0))
    watch = watched(root)
    watch.follow(0.3)
    watched_before, threads, open_before = watches(), set(threading.enumerate()), Counter(handles())
    for number in range(count):
        run = root / f"group-{number % 3}" / f"run-{number}"
        append(run, row(1, 3.0))
        (run / "checkpoint-1").mkdir()
        (run / "checkpoint-1/trainer_state.json").write_text('{\n  "global_step": 1\n}\n')
        name = str(run.relative_to(root))
        if number % 10 == 0:
            watch.until(lambda name=name: watch.losses(name) == [3.0])  # type: ignore[misc]
        elif watch.follower.wait(0.0):
            watch.turn()
        if number % 4 == 0:
            run = run.rename(run.with_name(f"moved-{number}"))
        shutil.rmtree(run)
    for number in range(3):
        (root / f"group-{number}").rmdir()
    watch.until(lambda: [run.name for run in watch.workspace.runs] == ["stays"])
    # Other tests' leftovers in this process may go meanwhile; nothing may come.
    watch.until(lambda: watches() <= watched_before)
    watch.until(lambda: not set(threading.enumerate()) - threads)
    watch.until(lambda: not Counter(handles()) - open_before)
    follower = watch.follower
    assert follower._tree.unwatched == set()
    assert follower._tree._listed.keys() == {root, root / "stays"}
    assert len(follower._readers) == 1
    append(root / "stays", row(2, 1.0))
    watch.until(lambda: watch.losses("stays") == [2.0, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("poll", [True, False])
def test_a_row_of_one_of_a_thousand_runs_is_seen(tmp_path: Path, poll: bool) -> None:
    """However seldom the others are looked at. What that costs is measured by the bench."""
    root = tmp_path / "saves"
    make_runs(root, 1000, checkpoints=1)
    with watching(tmp_path, "saves", *(["--poll"] if poll else []), size=(120, 40)) as terminal:
        terminal.wait_for("1000|1,000")
        append(root / "run-0500", row(5, 0.125, 100))
        terminal.wait_for("● 1 ")
