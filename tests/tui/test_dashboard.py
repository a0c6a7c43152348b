"""What the user changes is reactive on the dashboard: the panes follow it, with one repaint for one key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_tui.tui.dashboard import Dashboard
from tests.support.app_pilot import make_app, pane, rows, settled, text

SIZE = (140, 44)


async def test_a_value_that_is_set_is_on_the_screen(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        dashboard = app.query_one(Dashboard)
        await settled(pilot)
        other = app.state.runs[3]
        for name, value, shown, where in (
            ("selected", other, f" {other.name} ", "head"),
            ("note", "something happened", "something happened", "footer"),
            ("note", "", "q quit", "footer"),
            ("page", "config", "─ config ─", "page"),
            ("language", "zh", "配置", "page"),
            ("glyphs", "ascii", "+-", "page"),
        ):
            assert shown not in pane(app, where), "seen before it was set"
            setattr(dashboard, name, value)
            await pilot.pause()
            assert shown in pane(app, where), name
        assert not {"╭", "│"} & set(text(app))


async def test_the_drawer_and_the_chosen_finding(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(80, 24)) as pilot:
        dashboard = app.query_one(Dashboard)
        await settled(pilot)
        dashboard.drawer = True
        await pilot.pause()
        assert "╭─ Runs" in text(app)
        dashboard.drawer = False
        await pilot.pause()
        assert "╭─ Runs" not in text(app)
        dashboard.finding = 1
        dashboard.selected = app.state.runs[0]
        assert (dashboard.finding, app.state.finding) == (0, 0), "of another run the first is chosen"


async def test_one_key_is_one_repaint_and_no_change_is_none(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(2):  # open and closed once: what the list shows has been judged, and is not drawn again for that
            await settled(pilot)
            await pilot.press("tab")
        await settled(pilot)
        drawn: list[bool] = []
        renew = Dashboard.renew

        def counted(self: Dashboard, charts: bool) -> None:
            drawn.append(charts)
            renew(self, charts)

        monkeypatch.setattr(Dashboard, "renew", counted)
        await pilot.press("tab")  # opens the drawer
        await pilot.press("6")  # closes it, opens a page and takes the focus back
        await pilot.pause()
        assert drawn == [False, False]
        assert "config" in "".join(rows(app))
        await pilot.press("6")
        await pilot.pause()
        assert drawn == [False, False]
