"""Every real and every odd run in the app, at three sizes and in both languages: no pane, page or screen fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lora_tui.i18n import LANGUAGES
from lora_tui.settings.fault_log import recorded
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.cards import cards_of
from lora_tui.tui.screens.explain import ExplainScreen, explain
from lora_tui.tui.screens.report import ReportScreen
from tests.support.app_pilot import make_app, settled, until
from tests.support.odd_runs import write_odd_runs

SIZES = ((80, 24), (120, 40), (200, 50))


@pytest.fixture(scope="module")
def odd_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All odd runs below one directory; read only."""
    return write_odd_runs(tmp_path_factory.mktemp("odd"))


def check(app: LoraTuiApp, where: str) -> None:
    """Nothing on the screen stands for something that failed."""
    assert app.is_running, where
    assert not recorded, where
    assert not any(pane.fault for screen in app.screen_stack for pane in screen.query(Pane)), where
    view = app.state.current()
    assert view is not None
    assert view.fault is None, where


async def press(app: LoraTuiApp, pilot: Pilot[int], key: str) -> None:
    """Press a key and draw everything that it changed. Unlike ``pilot.press`` it does not wait for the clock."""
    app.simulate_key(key)
    for _ in ("the app", "the widget with the focus, to which the app passes it on"):
        await pilot._wait_for_screen()
    for pane in app.screen.query(Pane):
        for y in range(pane.size.height):
            pane.render_line(y)


async def open_and_close(app: LoraTuiApp, pilot: Pilot[int], key: str, where: str) -> None:
    """Press a key that opens a screen, look at it, and close it."""
    await press(app, pilot, key)
    await until(pilot, lambda: len(app.screen_stack) == 2, where)
    check(app, where)
    await press(app, pilot, "escape")
    await until(pilot, lambda: len(app.screen_stack) == 1, where)


async def walk(app: LoraTuiApp, pilot: Pilot[int], every: int) -> None:
    """Go down and up the list, on each page once; build all screens of every run, and open every ``every``-th of them.

    Opening one takes forty times as long as building it, and what it shows hardly depends on the view.
    """
    number = 0
    runs = list(app.state.runs)
    for page, key, step in PAGES:
        await press(app, pilot, key)
        for place in range(len(runs)):
            run = app.state.selected
            assert run is runs[place if step == "right_square_bracket" else -1 - place]
            check(app, f"{run.name}, {page}")
            for name, choose, open_key in screens(app) if page == "overview" else ():
                number += 1
                choose()
                if number % every == 0:
                    await open_and_close(app, pilot, open_key, f"{run.name}, {name}")
                elif open_key == "enter":
                    screen = explain(app.state)
                    assert isinstance(screen, ExplainScreen)
                    assert screen.explanation(70)
            app.state.focus = "runs"
            await press(app, pilot, step)


PAGES = (
    ("overview", "1", "right_square_bracket"),
    ("results", "3", "left_square_bracket"),
    ("config", "6", "right_square_bracket"),
    ("checkpoints", "7", "left_square_bracket"),
)
"""Each page, its key, and the key that goes on to the next run."""


def screens(app: LoraTuiApp) -> Iterator[tuple[str, Callable[[], None], str]]:
    """Yield a name for each screen of the selected run, what chooses it, and the key that opens it."""
    state = app.state
    view = state.current()
    assert view is not None

    def card(index: int) -> None:
        state.focus, state.card = "cards", index

    def finding(index: int) -> None:
        state.focus, state.finding = "findings", index

    for index, each in enumerate(cards_of(state, view)):
        yield f"card {each.metric}", partial(card, index), "enter"
    for index, found in enumerate(view.judgement.findings):
        yield f"finding {found.code}", partial(finding, index), "enter"
    yield "report", lambda: None, "R"


@pytest.mark.parametrize("size", SIZES)
async def test_no_pane_fails(size: tuple[int, int], all_runs: Path, odd_runs: Path) -> None:
    await look_at_everything(size, [all_runs, odd_runs], every=40)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_report_fails(lang: str, all_runs: Path, odd_runs: Path) -> None:
    state = make_app(all_runs, odd_runs, lang=lang).state
    state.judging = True
    for run in state.runs:
        assert ReportScreen(state, state.view(run)).pane.lines, run.name


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_no_screen_fails(size: tuple[int, int], all_runs: Path, odd_runs: Path) -> None:
    await look_at_everything(size, [all_runs, odd_runs], every=1)


async def look_at_everything(size: tuple[int, int], paths: list[Path], every: int) -> None:
    """Walk through all runs below the paths in an app of this size, once in each language."""
    app = make_app(*paths)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for lang in LANGUAGES:
            assert app.state.lang == lang
            await walk(app, pilot, every)
            await press(app, pilot, "L")
