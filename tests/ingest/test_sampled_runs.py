"""Long logs that are quiet: a list of many runs reads their ends; a requested run is read whole."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import lora_tui
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.ingest.test_long_logs import row

ROWS = 2000


def write(directory: Path, age_s: float) -> None:
    directory.mkdir(parents=True)
    path = directory / "trainer_log.jsonl"
    with path.open("w") as log:
        for step in range(1, ROWS + 1):
            log.write(row(step))
            if step % 100 == 0:
                evaluation = {"current_steps": step, "eval_loss": 3.0 - (step == 700), "epoch": step / ROWS}
                log.write(json.dumps(evaluation) + "\n")
    os.utime(path, (time.time() - age_s,) * 2)


def values_of(run: Run) -> dict[str, list[float]]:
    return {name: list(series.values) for name, series in run.series.items()}


@pytest.fixture
def saves(tmp_path: Path) -> Path:
    """Three runs: of now, of an hour ago, of a day ago."""
    for number, age in enumerate((10.0, 3600.0, 86400.0)):
        write(tmp_path / f"run{number}", age)
    return tmp_path


def apply_all(follower: Follower, workspace: Workspace) -> None:
    while True:
        batch = follower.read(1.0)
        workspace.apply(batch)
        if batch.complete:
            return


def test_only_what_is_quiet_and_not_first_is_thinned(saves: Path) -> None:
    follower = Follower([saves], sample=True)
    workspace = Workspace(follower.roots)
    apply_all(follower, workspace)
    assert {run.name: run.sampled for run in workspace.runs} == {"run0": False, "run1": True, "run2": True}
    whole = {run.name: run for run in lora_tui.load_all(saves)}
    for run in workspace.runs:
        other = whole[run.name]
        assert (run.progress(0.0).step, run.total_steps, run.epoch) == (ROWS, 60_000, other.epoch)
        assert run.series["loss"].last == other.series["loss"].last
        assert list(run.series["eval_loss"].values) == list(other.series["eval_loss"].values)
        assert run.timeline.median_gap() == pytest.approx(other.timeline.median_gap(), abs=0.01)
        assert run.timeline.longest_gap <= other.timeline.longest_gap
        assert run.status(time.time()).state == other.status(time.time()).state
    # The full reading voids the sample, and gives exactly the run.
    follower.request_full_read([run.path for run in workspace.runs])
    apply_all(follower, workspace)
    for run in workspace.runs:
        other = whole[run.name]
        assert not run.sampled
        assert run.rows == other.rows
        assert {n: list(s.values) for n, s in run.series.items()} == {
            n: list(s.values) for n, s in other.series.items()
        }


def test_the_newest_is_read_whole_though_it_is_quiet(tmp_path: Path) -> None:
    write(tmp_path / "old", 3600.0)
    write(tmp_path / "older", 7200.0)
    follower = Follower([tmp_path], sample=True)
    workspace = Workspace(follower.roots)
    apply_all(follower, workspace)
    assert [run.sampled for run in workspace.runs] == [False, True]


def test_a_thinned_run_that_goes_on_is_read_whole(saves: Path) -> None:
    follower = Follower([saves], sample=True)
    workspace = Workspace(follower.roots)
    apply_all(follower, workspace)
    with (saves / "run2/trainer_log.jsonl").open("a") as log:
        log.write(row(ROWS + 1))
    follower.start_watching()
    try:
        apply_all(follower, workspace)
    finally:
        follower.close()
    run = workspace.find("run2")[0]
    assert not run.sampled
    assert len([r for r in run.rows if r.kind == "train"]) == ROWS + 1


def test_without_being_told_everything_is_read(saves: Path) -> None:
    assert not any(run.sampled for run in lora_tui.load_all(saves))
