"""A long log is read piece by piece, and its first rows are not taken for its present state meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import FileRows
from lora_tui.runs.workspace import Workspace
from tests.support.app_pilot import LATER, make_app, settled, text

ROWS = 30_000


def row(step: int) -> str:
    return json.dumps({
        "current_steps": step, "total_steps": 2 * ROWS, "loss": 9.0 if step == 777 else 2.0, "lr": 1e-4,
        "epoch": step / ROWS, "percentage": 1.0, "elapsed_time": f"{step // 3600}:{step // 60 % 60:02}:{step % 60:02}",
    }) + "\n"  # fmt: skip


def write(directory: Path) -> Path:
    directory.mkdir()
    path = directory / "trainer_log.jsonl"
    path.write_text("".join(row(step) for step in range(1, ROWS + 1)))
    os.utime(path, (LATER - 86_400, LATER - 86_400))  # a day before the clock of the app: the run has ended
    return path


def test_a_run_is_partial_until_its_log_was_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    follower = Follower([tmp_path])
    workspace = Workspace(follower.roots)
    seen = []
    while True:
        batch = follower.read(0.0)
        workspace.apply(batch)
        seen.append((len(workspace.runs[0].rows), workspace.runs[0].partial))
        if batch.complete:
            break
    assert [partial for _, partial in seen].count(True) >= 3
    assert seen[-1] == (ROWS, False)
    # What floods in later is the present, however long it takes to read.
    with path.open("a") as log:
        log.writelines(row(step) for step in range(ROWS + 1, 2 * ROWS))
    follower.start_watching()
    while len(workspace.runs[0].rows) < 2 * ROWS - 1:
        workspace.apply(follower.read(0.0))
        assert not workspace.runs[0].partial
    follower.close()


async def test_the_app_says_that_it_reads_and_judges_nothing(tmp_path: Path) -> None:
    write(tmp_path / "run")
    app = make_app(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        run = app.state.runs[0]
        for partial in (True, False):
            run.partial, run.revision = partial, run.revision + 1
            app.state.judging = True
            app._repainter.paint(charts=True)
            await settled(pilot)
            assert ("30,000 rows read so far" in text(app)) == partial
            assert ("reading its files" in text(app)) == partial
            assert ("Cut off at step 30000" in text(app)) != partial


def test_one_row_of_a_million_is_not_lost(tmp_path: Path) -> None:
    """It counts in the bounds and shows on the chart, though it is one row of many in its column of cells."""
    write(tmp_path / "run")
    follower = Follower([tmp_path])
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    series = workspace.runs[0].series["loss"]
    assert (series.max, series.max_step) == (9.0, 777.0)
    assert series.extremes.of(0, len(series)) == (0, 776)


def test_a_turn_takes_no_more_of_one_run_than_was_asked_for(tmp_path: Path) -> None:
    """A turn reads a long log in steps and leaves it where it was, so that the runs behind it have their turn too."""
    for name in ("a", "b"):
        write(tmp_path / name)
    follower = Follower([tmp_path])
    batch = follower.read(60.0, 0.0)
    found = {run.path.name: [update for update in run.updates if isinstance(update, FileRows)] for run in batch.runs}
    assert {name: len(updates) for name, updates in found.items()} == {"a": 1, "b": 1}
    assert all(0 < len(updates[0].rows) < 10_000 for updates in found.values())
    assert not batch.complete
