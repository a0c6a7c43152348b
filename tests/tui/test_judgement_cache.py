"""Many runs in the list: they are judged in pieces, and what is pending is not forgotten."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from lora_tui import load_all
from lora_tui.analysis.judgement import Judgement
from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import Batch
from lora_tui.runs.run import Run, Status
from lora_tui.runs.workspace import Workspace
from lora_tui.tui import judgement_cache
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.judgement_cache import JudgementCache
from lora_tui.tui.options import AppOptions
from lora_tui.tui.panes.run_list import RunListPane
from tests.support.app_pilot import LATER, make_app, pane, settled, until

ENDED, LIVE = Status("finished"), Status("running")


class Judge:
    """Takes as long as a run of some thousand rows does, and remembers which runs it saw.

    ``monotonic`` is the clock of the module under test: seconds pass only while something is judged.
    """

    def __init__(self) -> None:
        self.seen: list[Run] = []
        self.now = 0.0

    def __call__(self, run: Run) -> Judgement:
        self.seen.append(run)
        self.now += judgement_cache.FRAME_BUDGET_S * 0.6
        return Judgement()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge()
    monkeypatch.setattr(judgement_cache, "time", judge)
    return judge


@pytest.fixture
def runs(all_runs: Path) -> list[Run]:
    return load_all(all_runs)[:8]


def test_a_frame_waits_for_two_of_eight(judge: Judge, runs: list[Run]) -> None:
    kept = JudgementCache(judge)
    assert [kept.get(run, ENDED, at_once=False) is not None for run in runs] == [True, True] + [False] * 6
    # The selected one is always judged.
    assert kept.get(runs[7], ENDED, at_once=True) is not None
    pieces = 0
    while kept.pending:
        before = len(judge.seen)
        kept.judge_some()
        pieces += 1
        assert 1 <= len(judge.seen) - before <= 2
    assert pieces >= 3
    kept.next_frame()
    assert all(kept.get(run, ENDED, at_once=False) is not None for run in runs)
    assert {run.path for run in judge.seen} == {run.path for run in runs}


def test_what_is_scrolled_out_of_sight_is_not_pending(judge: Judge, runs: list[Run]) -> None:
    kept = JudgementCache(judge)
    for run in runs:
        kept.get(run, ENDED, at_once=False)
    assert kept.pending
    kept.next_frame()
    assert not kept.pending
    kept.judge_some()
    assert len(judge.seen) == 2


def test_a_live_run_keeps_its_judgement_for_a_moment(
    judge: Judge, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = JudgementCache(judge)
    run = runs[0]
    first = kept.get(run, LIVE, at_once=True)
    run.revision += 1
    assert kept.get(run, LIVE, at_once=True) is first
    # Another state, or no time left to keep it: judged anew.
    assert kept.get(run, ENDED, at_once=True) is not first
    monkeypatch.setattr(judgement_cache, "JUDGE_EVERY_S", 0.0)
    kept.get(run, LIVE, at_once=True)
    run.revision += 1
    kept.get(run, LIVE, at_once=True)
    assert len(judge.seen) == 4
    assert kept.last_known(runs[1]).findings == ()


async def judged(pilot: Pilot[Any], app: LoraTuiApp) -> None:
    """Wait until every run in sight is judged and drawn."""
    await settled(pilot)
    await until(pilot, lambda: not app.state.judgements.pending and not app._repainter._judging)
    await settled(pilot)


async def test_the_list_catches_up_by_itself(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all before a frame the list shows in the end what it shows with enough."""
    shown = []
    for at_once in (60.0, 0.0):
        monkeypatch.setattr(judgement_cache, "FRAME_BUDGET_S", at_once)
        app = make_app(all_runs)
        async with app.run_test(size=(200, 80)) as pilot:
            await settled(pilot)
            app._repainter.paint(charts=False)
            await judged(pilot, app)
            shown.append(pane(app, "runs"))
    assert shown[0] == shown[1]
    assert "overfitting" in shown[0].lower()


async def test_runs_that_the_wheel_brings_into_sight_are_judged_too(
    all_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are finished, so no clock paints them; and the wheel moves the list alone."""
    monkeypatch.setattr(judgement_cache, "FRAME_BUDGET_S", 0.0)
    app = make_app(all_runs)
    async with app.run_test(size=(120, 30)) as pilot:
        await judged(pilot, app)
        app.screen.query_one(RunListPane).scroll_by(12)
        await judged(pilot, app)
        scrolled = pane(app, "runs")
        monkeypatch.setattr(judgement_cache, "FRAME_BUDGET_S", 60.0)
        app._repainter.paint(charts=False)
        await settled(pilot)
        assert scrolled == pane(app, "runs")


def test_listed_runs_wait_while_the_first_reading_goes_on(judge: Judge, runs: list[Run]) -> None:
    kept = JudgementCache(judge)
    kept.postpone(60.0)
    assert [kept.get(run, ENDED, at_once=run is runs[0]) is not None for run in runs] == [True] + [False] * 7
    assert not kept.pending
    kept.postpone(0.0)
    assert kept.get(runs[1], ENDED, at_once=False) is not None


async def test_a_reading_without_an_end_does_not_keep_the_list_waiting(
    all_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One log that grows faster than it is read must not hide what is wrong with the other runs."""
    monkeypatch.setattr("lora_tui.tui.app.POSTPONED_S", 0.3)
    read = Follower.read

    def never_complete(self: Follower, budget_s: float = 0.1, each_s: float = math.inf) -> Batch:
        return read(self, budget_s, each_s)._replace(complete=False)

    monkeypatch.setattr(Follower, "read", never_complete)
    follower = Follower([all_runs], cwd=all_runs)
    app = LoraTuiApp(Workspace(follower.roots), follower, AppOptions(clock=lambda: LATER, title="saves"))
    async with app.run_test(size=(200, 80)) as pilot:
        await until(pilot, lambda: "overfitting" in pane(app, "runs").lower())


@pytest.mark.parametrize("already", [True, False], ids=["read before", "read while shown"])
async def test_listed_runs_are_judged_once_all_is_read(all_runs: Path, already: bool) -> None:
    """Also where everything was read before the first frame, so that the reading finds nothing new."""
    follower = Follower([all_runs], cwd=all_runs)
    workspace = Workspace(follower.roots)
    for batch in follower.read_all() if already else [follower.read(0.0)]:
        workspace.apply(batch)
    app = LoraTuiApp(workspace, follower, AppOptions(clock=lambda: LATER, title="saves"))
    whole = make_app(all_runs)
    async with whole.run_test(size=(200, 80)) as pilot:
        await judged(pilot, whole)
        wanted = sorted(pane(whole, "runs").splitlines())
    async with app.run_test(size=(200, 80)) as pilot:
        await until(pilot, lambda: sorted(pane(app, "runs").splitlines()) == wanted)
    assert "overfitting" in "".join(wanted).lower()
