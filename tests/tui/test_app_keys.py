"""Every key does something that can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.keys import COMMANDS, commands_of
from lora_tui.tui.panes.run_list import RunListPane
from tests.support.app_pilot import make_app, pane, rows, settled, text

WIDE = (140, 44)
NARROW = (80, 24)


def names(app: LoraTuiApp) -> list[str]:
    return [run.name for run in app.state.runs]


def selected(app: LoraTuiApp) -> str:
    assert app.state.selected is not None
    return app.state.selected.name


async def press(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await settled(pilot)


async def test_the_newest_run_is_selected_and_j_k_move(all_runs: Path) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=WIDE) as pilot:
        order = names(app)
        assert selected(app) == order[0]
        await press(pilot, "j")
        assert selected(app) == order[1]
        assert f" {order[1]} " in pane(app, "head")
        await press(pilot, "down", "k")
        assert selected(app) == order[1]
        await press(pilot, "up", "k", "k")
        assert selected(app) == order[0]


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_half_a_page_of_the_list_is_half_of_the_runs_that_fit(all_runs: Path, size: tuple[int, int]) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=size) as pilot:
        await press(pilot, *(["tab"] if size == NARROW else []))
        half = app.query_one("#runs", RunListPane).capacity // 2
        assert 2 <= half < len(names(app)) - 1
        await press(pilot, "ctrl+d")
        assert selected(app) == names(app)[half]
        await press(pilot, "pageup")
        assert selected(app) == names(app)[0]


async def test_gg_and_G_reach_both_ends_and_the_list_follows(all_runs: Path) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "G")
        assert selected(app) == names(app)[-1]
        assert f"/{len(names(app))} " in pane(app, "runs").splitlines()[0]
        assert names(app)[-1][-8:] in pane(app, "runs")
        await press(pilot, "g")
        assert selected(app) == names(app)[-1], "one g alone does nothing"
        await press(pilot, "g")
        assert selected(app) == names(app)[0]


async def test_brackets_walk_through_the_runs_from_any_page(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft-long")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "6")
        at = names(app).index("sft-long")
        await press(pilot, "left_square_bracket")
        assert selected(app) == names(app)[at - 1]
        assert app.state.page == "config"
        await press(pilot, "right_square_bracket")
        assert "128" in pane(app, "page"), "lora_alpha of sft-long"


async def test_pages_open_by_number_and_esc_goes_back(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "3")
        assert "predict_results.json" in pane(app, "page")
        assert "37.07" in pane(app, "page")
        await press(pilot, "6")
        assert "adapter_config.json" in pane(app, "page")
        await press(pilot, "7")
        assert "checkpoint-" in pane(app, "page")
        await press(pilot, "escape")
        assert app.state.page == "overview"
        assert "smoothed" in pane(app, "loss")
        await press(pilot, "escape")
        assert app.is_running, "esc never quits"
        await press(pilot, "7", "1")
        assert app.state.page == "overview"


async def test_only_what_is_built_has_a_key(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot)
        before = text(app)
        for key in ("2", "4", "5", "8", "x", "y"):
            await press(pilot, key)
            assert text(app) == before
        footer = rows(app)[-1]
        assert "3 results" in footer
        assert "2 charts" not in footer
        assert "4 pred" not in footer


async def test_pages_scroll_with_keys_and_wheel(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(100, 24)) as pilot:
        await press(pilot, "6")
        inside = pane(app, "page").splitlines()[1:-1]
        top, middle = inside[0], inside[len(inside) // 2]
        await press(pilot, "j")
        assert pane(app, "page").splitlines()[1] != top
        await press(pilot, "g", "g")
        assert pane(app, "page").splitlines()[1] == top
        await press(pilot, "ctrl+d")
        assert pane(app, "page").splitlines()[1] == middle
        await press(pilot, "ctrl+u")
        assert pane(app, "page").splitlines()[1] == top


async def test_language_changes_at_once_and_is_kept(all_runs: Path) -> None:
    kept: list[tuple[str, str]] = []
    app = make_app(all_runs / "lora", run="sft", save_choice=lambda key, value: kept.append((key, value)))
    async with app.run_test(size=WIDE) as pilot:
        assert "finished" in pane(app, "head")
        await press(pilot, "L")
        assert "已完成" in pane(app, "head")
        assert "平滑" in pane(app, "loss")
        await press(pilot, "L")
        assert "finished" in pane(app, "head")
    assert kept == [("lang", "zh"), ("lang", "en")]


async def test_theme_goes_round_and_is_kept(all_runs: Path) -> None:
    kept: list[tuple[str, str]] = []
    app = make_app(all_runs / "lora", run="sft", save_choice=lambda key, value: kept.append((key, value)))
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot)
        before = text(app)
        style = app.state.palette["text"]
        await press(pilot, "T")
        assert app.state.palette["text"] != style
        await press(pilot, "T", "T")
        assert app.state.palette["text"] == style
        assert text(app) == before, "a theme changes colours alone"
    assert [value for _, value in kept] == ["light", "ansi", "dark"]


async def test_the_help_lists_the_keys_of_this_place_and_only_those(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "question_mark")
        shown = text(app)
        for command in commands_of("overview"):
            if command.shown:
                assert app.state.words.t(f"keys.{command.code}") in shown
        assert app.state.words.t("keys.charts") not in shown.split("help")[0].split("quit")[0]
        await press(pilot, "escape")
        assert "next pane" not in "\n".join(rows(app)[:-1])


async def test_every_command_has_words_in_both_languages() -> None:
    from lora_tui.i18n import Words

    for lang in ("en", "zh"):
        words = Words(lang)
        for command in COMMANDS:
            assert words.has(f"keys.{command.code}"), command.code


async def test_palette_offers_the_commands_and_runs_them(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "colon")
        await settled(pilot)
        await press(pilot, *"checkpoi")
        await settled(pilot)
        await press(pilot, "enter")
        await settled(pilot)
        assert app.state.page == "checkpoints"


async def test_the_list_is_a_drawer_when_narrow(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=NARROW) as pilot:
        assert "╭─ Runs" not in text(app)
        await press(pilot, "tab")
        assert "╭─ Runs" in text(app)
        await press(pilot, "k")
        now = selected(app)
        await press(pilot, "enter")
        assert "╭─ Runs" not in text(app)
        assert selected(app) == now != "sft"
        await press(pilot, "tab", "escape")
        assert "╭─ Runs" not in text(app)


async def test_focus_walks_and_enter_explains(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "tab")
        assert app.state.focus == "cards"
        await press(pilot, "enter")
        assert "How far the predictions are" in text(app)
        await press(pilot, "escape", "tab", "enter")
        assert app.state.words.t("pane.findings") in text(app)
        await press(pilot, "escape", "escape")
        assert app.state.focus == "runs"
        await press(pilot, "shift+tab")
        assert app.state.focus == "findings"


async def test_mouse_selects_a_run_scrolls_the_list_and_clicks_keys(all_runs: Path) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=WIDE) as pilot:
        await pilot.click("#runs", offset=(5, 6))
        await settled(pilot)
        assert selected(app) == names(app)[2]
        footer = rows(app)[-1]
        await pilot.click("#footer", offset=(footer.index("6 config") + 3, 0))
        await settled(pilot)
        assert app.state.page == "config"
        await press(pilot, "1")
        first = pane(app, "runs")
        app.query_one("#runs").post_message(_wheel(app))
        await settled(pilot)
        assert pane(app, "runs") != first
        assert selected(app) == names(app)[2], "the wheel moves the window, not the selection"


async def test_shift_tab_from_a_list_without_a_place_goes_to_the_last_pane(all_runs: Path) -> None:
    """The list of a single run has no place in a narrow terminal."""
    app = make_app(all_runs / "lora/dpo")
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        assert "runs" not in app.state.places
        for key, focus in (("shift+tab", "findings"), ("shift+tab", "cards"), ("tab", "findings"), ("tab", "cards")):
            await press(pilot, key)
            assert app.state.focus == focus


async def test_a_click_between_two_keys_of_the_footer_does_nothing(all_runs: Path) -> None:
    app = make_app(all_runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        footer = rows(app)[-1]
        for gap in (footer.index("6 config") - 1, footer.index("6 config") + len("6 config")):
            assert footer[gap] == " "
            await pilot.click("#footer", offset=(gap, 0))
            await settled(pilot)
            assert app.state.page == "overview"
        assert app.state.focus == "runs"


async def test_a_click_focuses_a_card_or_a_finding_and_a_second_one_explains_it(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        for name, index, place in (("cards", 1, (25, 1)), ("findings", 1, (30, 2))):
            await pilot.click(f"#{name}", offset=place)
            await settled(pilot)
            assert app.screen.focused is app.query_one(f"#{name}")
            assert app.query_one(f"#{name}").has_focus
            assert getattr(app.state, name[:-1]) == index
            assert len(app.screen_stack) == 1
            await pilot.click(f"#{name}", offset=place)
            await settled(pilot)
            assert len(app.screen_stack) == 2
            await press(pilot, "escape")
        await pilot.click("#loss", offset=(20, 3))
        await settled(pilot)
        assert app.state.focus == "findings", "a chart has nothing to click on"


async def test_a_click_far_down_a_scrolled_list_selects_what_is_there(all_runs: Path) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=(140, 30)) as pilot:
        await press(pilot, "G")
        top = app.query_one("#runs", RunListPane).top
        assert top > 0
        await pilot.click("#runs", offset=(5, 4))
        await settled(pilot)
        assert selected(app) == names(app)[top + 1]


async def test_the_focus_stays_where_it_is_while_the_window_has_none(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "tab")
        before = text(app)
        app.post_message(events.AppBlur())
        await settled(pilot)
        assert text(app) == before
        app.post_message(events.AppFocus())
        await settled(pilot)
        assert text(app) == before
        await press(pilot, "tab")
        assert app.state.focus == "findings"


async def test_an_input_beside_the_panes_takes_the_keys_while_it_has_the_focus(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot)
        field = Input(id="field")
        await app.screen.mount(field)
        app.screen.set_focus(field)
        await press(pilot, "j", "3")
        assert field.value == "j3"
        assert selected(app) == "sft"
        assert "border-focus" not in {
            role for row in app.query_one("#runs", RunListPane).draw(30, 20) for _, role in row
        }
        await press(pilot, "tab", "6")
        assert app.state.page == "config"
        assert field.value == "j3"


def _wheel(app: LoraTuiApp):
    return events.MouseScrollDown(app.query_one("#runs"), 4, 6, 0, 1, 0, False, False, False, 4, 6)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit_leaves_with_0(all_runs: Path, key: str) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(key)
    assert app.return_code == 0
