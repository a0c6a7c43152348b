"""Checkpoint directories on a disk, and the free space for the next ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lora_tui
from lora_tui.ingest.run_reader import RunReader
from lora_tui.records.updates import SpaceSeen
from lora_tui.sources.base import Space
from lora_tui.sources.local_disk import LocalDisk
from tests.support.waiting import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]
STATE = json.dumps({"global_step": 100, "max_steps": 1000, "save_steps": 100, "log_history": []}, indent=2) + "\n"


def row(step: int) -> str:
    values = {"current_steps": step, "total_steps": 1000, "loss": 2.0 - step / 1000, "lr": 1e-4, "epoch": step / 500}
    return json.dumps({**values, "percentage": step / 10, "elapsed_time": f"0:0{step // 60}:{step % 60:02d}"}) + "\n"


def make_run(path: Path, kilobytes: int = 4) -> Path:
    """A run at step 150 of 1000 with the checkpoint of step 100, written just now."""
    folder = path / "checkpoint-100"
    (folder / "global_step100").mkdir(parents=True)
    (path / "trainer_log.jsonl").write_text("".join(row(step) for step in range(10, 151, 10)))
    (folder / "adapter_model.safetensors").write_bytes(b"a" * 1000)
    (folder / "optimizer.pt").write_bytes(b"o" * 500)
    (folder / "global_step100" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"z" * (1024 * kilobytes))
    (folder / "trainer_state.json").write_text(STATE)
    return path


def test_space_of_the_disk(tmp_path: Path) -> None:
    found, usage = LocalDisk().space(tmp_path), shutil.disk_usage(tmp_path)
    assert found is not None
    assert found.total == usage.total
    assert abs(found.free - usage.free) < 0.02 * usage.total
    assert LocalDisk().space(tmp_path / "gone") is None


def test_a_checkpoint_counts_what_lies_in_its_directories(tmp_path: Path) -> None:
    run = lora_tui.load(make_run(tmp_path))
    item = run.checkpoints()[0]
    assert item.size == 1000 + 500 + 4 * 1024 + len(STATE)
    assert item.model_size == 1000
    assert run.files.space is not None
    assert run.files.space.total == shutil.disk_usage(tmp_path).total


def test_a_copy_that_keeps_the_best_one_is_no_run(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / "checkpoint-100", tmp_path / "a" / "best-100")
    assert [run.name for run in lora_tui.load_all(tmp_path)] == ["a"]
    # It is shown when it is named itself, and so is a run inside another one.
    assert len(lora_tui.load_all(tmp_path / "a" / "best-100")) == 1
    make_run(tmp_path / "a" / "nested")
    assert sorted(run.name for run in lora_tui.load_all(tmp_path)) == ["a", "a/nested"]


class Disk(LocalDisk):
    """The local disk with a free space that the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.free: int | None = 10_000
        self.asked = 0

    def space(self, path: Path) -> Space | None:
        self.asked += 1
        return Space(self.free, 100_000) if self.free is not None else None


class Looks:
    """A reader that is asked again and again, as at every heartbeat."""

    def __init__(self, path: Path, clock: float) -> None:
        from lora_tui.ingest.discovery import RunTree

        self.disk = Disk()
        self.tree = RunTree(self.disk, [path])
        self.path = path
        self.reader = RunReader(self.disk, path, lambda: clock)

    def __call__(self) -> list[SpaceSeen]:
        self.tree.scan()
        self.reader.attach(self.tree.runs()[self.path])
        updates = self.reader.read("all", time.monotonic() + DEADLINE_S, True, time.time())
        return [update for update in updates if isinstance(update, SpaceSeen)]


def test_the_free_space_is_told_when_it_has_changed(tmp_path: Path) -> None:
    look = Looks(make_run(tmp_path / "a"), time.time())
    assert look() == [SpaceSeen(10_000, 100_000)]
    for free, told in ((9_900, False), (9_810, False), (9_700, True), (9_800, False), (12_000, True)):
        look.disk.free = free
        assert bool(look()) is told, free
    look.disk.free = None
    assert look() == []


def test_a_run_that_is_over_is_not_asked_for_again(tmp_path: Path) -> None:
    look = Looks(make_run(tmp_path / "a"), time.time() + 3600)
    assert len(look()) == 1
    look.disk.free = 5_000
    assert [look() for _ in range(3)] == [[], [], []]
    assert look.disk.asked == 1
    (tmp_path / "a" / "checkpoint-200").mkdir()
    assert look() == [SpaceSeen(5_000, 100_000)]


SCRIPT = """
set -e
mount -t tmpfs -o size={size}k none {place}
cp -r {run} {place}/run
exec {python} -m lora_tui status {place}/run --json
"""


def on_small_disk(tmp_path: Path, size: int) -> subprocess.CompletedProcess[str]:
    """``status --json`` of a run that lies alone on a file system of that many KiB."""
    run, place = make_run(tmp_path / "made", kilobytes=200), tmp_path / "small"
    place.mkdir()
    script = SCRIPT.format(size=size, place=place, run=run, python=sys.executable)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=DEADLINE_S, cwd=ROOT, check=False
    )


@pytest.mark.skipif(os.name != "posix" or shutil.which("unshare") is None, reason="needs unshare")
def test_a_real_disk_that_is_nearly_full(tmp_path: Path) -> None:
    found = on_small_disk(tmp_path, 512)
    if "unshare" in found.stderr or "mount" in found.stderr:
        pytest.skip("may not mount: " + found.stderr.strip())
    told = {one["code"]: one for one in json.loads(found.stdout)["findings"]}
    assert told["disk_full_soon"]["severity"] == "critical"
    assert 0 < told["disk_full_soon"]["evidence"]["free"] < 320 * 1024
    assert told["disk_full_soon"]["evidence"]["needed"] > 200 * 1024

    shutil.rmtree(tmp_path / "made")
    (tmp_path / "small").rmdir()
    roomy = json.loads(on_small_disk(tmp_path, 8192).stdout)
    assert "disk_full_soon" not in [one["code"] for one in roomy["findings"]]
