"""An error of the program itself in the thread that reads, or when a batch is applied, ends nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.i18n import Language
from lora_tui.ingest.directory_tree import DirectoryTree
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.tui import reader_thread
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.options import AppOptions
from tests.integration.faults.following import append, row
from tests.support.app_pilot import pane, settled, until

pytestmark = pytest.mark.faults
SIZE = (120, 40)


def kept() -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in Path(os.environ["LORA_TUI_STATE_DIR"]).iterdir())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        for step in (1, 2):
            append(tmp_path / name, row(step, 3.0 - step))
    return tmp_path


@asynccontextmanager
async def reading(root: Path, lang: Language = "en") -> AsyncIterator[tuple[LoraTuiApp, Pilot[Any]]]:
    """Run the app while its thread reads the runs below a directory."""
    follower = Follower([root], poll=True)
    options = AppOptions(clock=time.time, lang=lang, title="saves", run="a")
    app = LoraTuiApp(Workspace(follower.roots), follower, options)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._reader.complete, "everything is read")
        yield app, pilot
        assert app.is_running


def last(app: LoraTuiApp, name: str) -> float | None:
    run = next((run for run in app.state.runs if run.path.name == name), None)
    series = run.series.get("loss") if run is not None else None
    return series.last if series is not None else None


def fails(marker: bytes, usual: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that raises on bytes with a marker."""

    def feed(self: TrainerLogParser, data: bytes) -> object:
        if marker in data:
            raise KeyError("loss")
        return usual(self, data)

    return feed


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_a_run_that_cannot_be_read_says_so_and_the_others_are_read(
    lang: Language, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainerLogParser, "feed", fails(b"0.125", TrainerLogParser.feed))
    said = {
        "en": "Not all of this run could be read: KeyError: 'loss'.",
        "zh": "此任务未能完整读取：KeyError: 'loss'。",
    }[lang]
    short = {"en": "! not all was read", "zh": "! 未能完整读取"}[lang]
    async with reading(root, lang) as (app, pilot):
        append(root / "a", row(3, 0.125))
        await until(pilot, lambda: said in pane(app, "findings"), "the error at its run")
        await settled(pilot)
        assert short in pane(app, "runs")
        assert pane(app, "runs").count(short) == 1
        append(root / "a", row(4, 0.5))
        append(root / "b", row(3, 0.75))
        await until(pilot, lambda: (last(app, "a"), last(app, "b")) == (0.5, 0.75), "the rows that follow")
        assert kept() == ["fault-reading-run"]
        app.action_select([run.path.name for run in app.state.runs].index("b"))
        await settled(pilot)
        assert said not in pane(app, "findings")


async def test_a_run_that_cannot_be_applied_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Run.apply

    def apply(self: Run, *arguments: Any) -> None:
        if self.path.name == "a" and self.revision:
            raise KeyError("loss")
        usual(self, *arguments)

    async with reading(root) as (app, pilot):
        monkeypatch.setattr(Run, "apply", apply)
        append(root / "a", row(3, 0.125))
        await until(pilot, lambda: "Not all of this run" in pane(app, "findings"), "the error at its run")
        append(root / "b", row(3, 0.75))
        await until(pilot, lambda: last(app, "b") == 0.75, "the other run")
        assert last(app, "a") == 1.0
    assert kept() == ["fault-reading-run"]


@pytest.mark.parametrize(
    ("kind", "method"), [(DirectoryTree, "scan"), (Workspace, "_link"), (Follower, "read"), (Follower, "wait")]
)
async def test_what_belongs_to_no_run_is_said_in_the_footer(
    kind: type, method: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def fail(*_: object) -> None:
        tried.append(time.monotonic())
        raise KeyError("loss")

    monkeypatch.setattr(reader_thread, "RETRY_S", 0.2)
    async with reading(root) as (app, pilot):
        with monkeypatch.context() as patch:
            patch.setattr(kind, method, fail)
            append(root / "b", row(3, 0.75))
            await until(pilot, lambda: "! reading the runs failed: KeyError, see" in pane(app, "footer"), "the error")
            if kind is Follower:
                await until(pilot, lambda: len(tried) >= 4, "some more tries")
                pauses = [after - before for before, after in pairwise(tried)]
                assert all(pause >= 0.2 * 2**number for number, pause in enumerate(pauses[:3])), pauses
            elif method == "scan":
                assert app.follower is not None
                assert app.follower._due > time.monotonic() + 1.0, "not at once again"
            await pilot.press("right_square_bracket")
            await settled(pilot)
            assert "reading the runs failed" in pane(app, "footer")
        if method == "scan":
            app.follower._due = 0.0  # type: ignore[union-attr]
            app.follower.wake()  # type: ignore[union-attr]
        append(root / "a", row(4, 0.5))
        await until(pilot, lambda: last(app, "a") == 0.5, "reading goes on")
        await until(pilot, lambda: "reading the runs failed" not in pane(app, "footer"), "it is over")
        assert last(app, "b") == 0.75
    assert len(kept()) == 1


async def test_reading_that_works_again_without_news_is_no_longer_in_the_footer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("Stale file handle")

    monkeypatch.setattr(reader_thread, "RETRY_S", 0.05)
    async with reading(root) as (app, pilot):
        with monkeypatch.context() as patch:
            patch.setattr(Follower, "read", fail)
            await until(pilot, lambda: "Stale file handle" in pane(app, "footer"), "the error")
        await until(pilot, lambda: "Stale file handle" not in pane(app, "footer"), "it is over")
    assert kept() == []
