"""What the head says in each state, told by files and the clock alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import Batch
from lora_tui.runs.workspace import Workspace
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.options import AppOptions
from lora_tui.tui.reader_thread import BatchRead, ReadingFailed
from tests.support.app_pilot import make_app, pane, rows, settled, text, until

SIZE = (120, 40)
START = 1_795_300_000.0


def row(step: int, loss: float, total: int = 1000, seconds: int | None = None) -> str:
    took = seconds if seconds is not None else step
    clock = f"{took // 3600}:{took // 60 % 60:02}:{took % 60:02}"
    return (
        json.dumps(
            {
                "current_steps": step, "total_steps": total, "loss": loss, "lr": 1e-4, "epoch": round(step / 500, 3),
                "percentage": round(100 * step / total, 2), "elapsed_time": clock, "remaining_time": "0:10:00",
            }
        )
        + "\n"
    )  # fmt: skip


def write_run(path: Path, steps: int, now: float = START) -> Path:
    """A live run: ``steps`` rows of ten steps in ten seconds each, the last one at ``now``."""
    path.mkdir(parents=True, exist_ok=True)
    log = path / "trainer_log.jsonl"
    log.write_text("".join(row(10 * n, 2.5 - n / 100) for n in range(1, steps + 1)))
    os.utime(log, (now, now))
    return path


async def test_running_shows_progress_and_what_is_left(tmp_path: Path) -> None:
    write_run(tmp_path / "saves" / "a", 40)
    app = make_app(tmp_path / "saves", now=START + 2)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = pane(app, "head")
        assert "● training" in head
        assert "40 %" in head
        assert "400/1000" in head
        assert "left 9–11 min" in head
        assert "2.1000" in pane(app, "loss")


async def test_the_clock_moves_a_run_from_running_to_silent_to_cut_off(tmp_path: Path) -> None:
    write_run(tmp_path / "saves" / "a", 40)
    now = [START + 2]
    app = make_app(tmp_path / "saves", now=lambda: now[0])
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "● training" in pane(app, "head")
        now[0] = START + 400
        app._repainter.paint(charts=False)
        await settled(pilot)
        assert "◌ silent" in pane(app, "head")
        assert "silent for" in pane(app, "head")
        now[0] = START + 3600
        app._repainter.paint(charts=False)
        await settled(pilot)
        assert "◇ cut off" in pane(app, "head")
        assert "cut off at 400/1000" in pane(app, "head")
        assert app._repainter._clock is not None
        assert not app._repainter._clock._active.is_set(), "the clock stands still when no run is live"


async def test_waiting_tells_the_phase_that_the_console_tells(tmp_path: Path, all_runs: Path) -> None:
    run = tmp_path / "saves" / "w"
    run.mkdir(parents=True)
    console = (all_runs / "lora" / "sft" / "train.log").read_text(errors="replace")
    cut = console.find("Running training")
    (run / "train.log").write_text(console[: cut if cut > 0 else 2000].rsplit("\n", 1)[0] + "\n")
    os.utime(run / "train.log", (START, START))
    app = make_app(tmp_path / "saves", now=START + 5)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "○" in pane(app, "head")
        assert "waiting for the first row" in pane(app, "head")
        assert "no loss logged yet" in pane(app, "loss")


async def test_failed_shows_the_error_and_the_end_of_the_log(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="crashed")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = pane(app, "head")
        assert "✗ failed" in head
        assert "File too large" in head
        assert "150/400" in head
        assert "serialize_file" in pane(app, "excerpt")


async def test_interrupted_says_where_to_resume(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="killed")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = pane(app, "head")
        assert "◇ cut off" in head
        assert "cut off at 200/2700" in head
        assert "checkpoint-100" in head
        assert "100 steps lost" in head


async def test_a_dead_run_is_said_in_the_head(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="diverged")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "✗" in pane(app, "head").splitlines()[3]
        assert "step 15" in pane(app, "head")


async def test_a_path_that_does_not_exist_is_waited_for(tmp_path: Path) -> None:
    missing = tmp_path / "saves" / "x"
    options = AppOptions(title="saves/x", missing=((str(missing), str(tmp_path)),), clock=lambda: START)
    app = LoraTuiApp(Workspace([missing]), None, options)
    async with app.run_test(size=SIZE) as pilot:
        shown = text(app).replace("\n", "")
        assert "does not exist yet; watching for it" in " ".join(text(app).replace("│", " ").split())
        assert "nearest" in shown
        await pilot.press("j", "tab", "3", "enter", "escape")
        await settled(pilot)
        assert "does not exist yet" in " ".join(text(app).split())


async def test_new_rows_results_and_runs_appear_by_themselves(tmp_path: Path) -> None:
    root = tmp_path / "saves"
    run = write_run(root / "a", 40)
    follower = Follower([root], clock=lambda: START + 3)
    workspace = Workspace([root])
    workspace.apply(follower.read())
    app = LoraTuiApp(workspace, follower, AppOptions(clock=lambda: START + 3))
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        with (run / "trainer_log.jsonl").open("a") as log:
            log.write(row(410, 1.2345))
        await until(pilot, lambda: "1.2345" in pane(app, "loss"))
        assert "410/1000" in pane(app, "head")
        (run / "predict_results.json").write_text('{"predict_bleu-4": 61.25, "predict_rouge-l": 70.5}')
        await until(pilot, lambda: "61.25" in text(app))
        write_run(root / "b", 3)
        await until(pilot, lambda: len(app.state.runs) == 2)
        assert app.state.selected is not None
        assert app.state.selected.name == "a", "nothing steals the selection"
        await until(pilot, lambda: "╭─ Runs" in text(app))


async def test_an_evaluation_before_the_first_loss(tmp_path: Path) -> None:
    root = tmp_path / "saves"
    (root / "a").mkdir(parents=True)
    log = root / "a" / "trainer_log.jsonl"
    log.write_text(row(10, 2.75).replace('"loss"', '"eval_loss"'))
    follower = Follower([root], clock=lambda: START + 3)
    workspace = Workspace([root])
    workspace.apply(follower.read())
    app = LoraTuiApp(workspace, follower, AppOptions(clock=lambda: START + 3))
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "loss –   ◆ eval 2.7500 " in pane(app, "loss")
        with log.open("a") as file:
            file.write(row(20, 1.2345))
        await until(pilot, lambda: "loss 1.2345" in pane(app, "loss"))


async def test_a_finished_run_left_open_draws_nothing(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora" / "sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        drawn: list[str] = []
        for child in app.query_one("#dashboard").children:
            monkeypatch.setattr(child, "refresh", lambda *_, name=child.id, **__: drawn.append(name))
        app._repainter.paint(charts=False)
        app._repainter.paint(charts=True)
        await pilot.pause(1.3)  # longer than the clock takes that paints live runs
        assert drawn == []


async def test_only_changed_cells_are_repainted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "saves"
    run = write_run(root / "a", 40)
    follower = Follower([root], clock=lambda: START + 3)
    workspace = Workspace([root])
    workspace.apply(follower.read())
    app = LoraTuiApp(workspace, None, AppOptions(clock=lambda: START + 3))
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = app.query_one("#head")
        regions: list[int] = []
        monkeypatch.setattr(head, "refresh", lambda *given, **_: regions.extend(region.area for region in given))
        with (run / "trainer_log.jsonl").open("a") as log:
            log.write(row(410, 2.05))
        follower.start_watching()
        follower.wait(1.0)
        app.post_message(BatchRead(follower.read()))
        await settled(pilot)
        follower.close()
        assert regions
        assert sum(regions) < 60


async def test_an_unreadable_disk_is_said_and_survived(all_runs: Path) -> None:
    app = make_app(all_runs / "lora" / "sft")
    async with app.run_test(size=SIZE) as pilot:
        app.post_message(ReadingFailed(OSError("Stale file handle")))
        await settled(pilot)
        assert "Stale file handle" in rows(app)[-1]
        app.post_message(BatchRead(Batch()))
        await pilot.press("3")
        await settled(pilot)
        assert "37.07" in text(app)


async def test_a_picture_is_written_once_everything_is_read(all_runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "screen.svg"
    root = all_runs / "lora" / "sft"
    follower, workspace = Follower([root]), Workspace([root])
    app = LoraTuiApp(workspace, follower, AppOptions(screenshot=target, lang="zh"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, target.exists)
    svg = target.read_text()
    assert "1.0573" in svg
    assert app.return_code == 0


async def test_a_directory_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        app.post_message(BatchRead(Batch((), True, (), ((str(tmp_path / "locked"), "permission denied"),))))
        await settled(pilot)
        assert "locked" in text(app)
        assert "permission denied" in text(app)
