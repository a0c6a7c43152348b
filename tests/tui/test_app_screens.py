"""Pictures of real runs at the sizes that people have, in both languages: what they say, and that they are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_tui.text.cells import cell_width
from lora_tui.tui.layout import Content, place_panes
from tests.support.app_pilot import make_app, pane, rows, settled, text

SIZES = [(80, 24), (120, 40), (200, 50)]
EVERY_SIZE = [(60, 18), (72, 20), (80, 22), *SIZES, (99, 30), (100, 30), (132, 34), (160, 45), (300, 80)]
RUNS = ["sft", "sft-long", "default", "diverged", "killed", "resumed", "crashed", "dpo"]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_a_finished_run(all_runs: Path, size: tuple[int, int], lang: str) -> None:
    app = make_app(all_runs / "lora", run="sft", lang=lang)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        words = app.state.words
        assert "810/810" in pane(app, "head")
        assert words.t("state.finished") in pane(app, "head")
        assert "1.0573" in pane(app, "loss"), "the last loss, to four decimals"
        assert "0.9954" in pane(app, "loss"), "the last evaluation"
        assert "◆" in pane(app, "loss")
        assert "37.07" in text(app), "BLEU-4, in its own pane or as a card"
        assert "54.12" in text(app)
        assert words.t("pane.findings") in text(app)
        if size[0] >= 120:
            assert "2.71" in pane(app, "cards"), "perplexity"
            assert "-0.6 %" in pane(app, "cards"), "gap"
            assert "BLEU ±3.9" in pane(app, "results")
            assert "40" in pane(app, "results"), "samples, from runtime and rate"


@pytest.mark.parametrize("size", EVERY_SIZE, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", RUNS)
async def test_every_line_is_whole_at_every_size(all_runs: Path, size: tuple[int, int], name: str) -> None:
    app = make_app(all_runs / "lora", run=name, lang="zh" if len(name) % 2 else "en")
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        lines = rows(app)
        assert len(lines) == size[1]
        assert {cell_width(line) for line in lines} == {size[0]}
        shown = "".join(lines)
        for left, right in ("╭╮", "╰╯"):
            assert shown.count(left) == shown.count(right)
        run = app.state.selected
        assert run is not None
        assert run.name == name
        last = run.series["loss"].last
        assert last is not None
        assert f"{last:.4f}" in shown


async def test_the_loss_curve_is_the_largest_thing(all_runs: Path) -> None:
    for size in EVERY_SIZE:
        app = make_app(all_runs / "lora", run="sft-long")
        async with app.run_test(size=size):
            regions = {child.id: child.region for child in app.query_one("#dashboard").children}
            largest = max((r.area, name or "") for name, r in regions.items() if name not in ("runs", "page"))
            assert largest[1] == "loss", size


async def test_below_60_by_18_there_is_one_line(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(58, 10)) as pilot:
        lines = rows(app)
        assert "sft" in lines[0]
        assert "1.0573" in lines[0]
        assert "100%" in lines[0]
        assert not "".join(lines[1:]).strip()
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        assert "smoothed" in pane(app, "loss")
        await pilot.resize_terminal(40, 5)
        await settled(pilot)
        assert "1.0573" in rows(app)[0]


async def test_elements_leave_in_order_as_the_screen_gets_lower() -> None:
    content = Content(runs=3, cards=5, findings=3, charts=2)
    seen = {height: set(place_panes(80, height, content)) for height in range(18, 45)}
    assert {"head", "loss", "findings", "footer"} <= seen[18]
    assert "cards" not in seen[18]
    assert "cards" in seen[24]
    for lower, higher in zip(range(18, 44), range(19, 45), strict=True):
        assert seen[lower] <= seen[higher], f"{lower}: taller shows no less"


async def test_one_run_takes_the_whole_width(all_runs: Path) -> None:
    app = make_app(all_runs / "lora" / "sft")
    async with app.run_test(size=(120, 40)):
        assert app.query_one("#loss").region.width == 120
        assert "╭─ Runs" not in text(app)


async def test_a_default_job_has_no_empty_cards_and_says_what_would_add_more(all_runs: Path) -> None:
    app = make_app(all_runs / "lora" / "default")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        cards = pane(app, "cards")
        assert "2.8302" in cards
        assert "eval loss" not in cards
        assert "–" not in cards
        assert "val_size" in text(app) or "no evaluation" in text(app)
        assert "include_num_input_tokens_seen" in text(app)


async def test_dpo_shows_its_margins(all_runs: Path) -> None:
    app = make_app(all_runs / "lora" / "dpo")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "margin" in text(app)
        assert "0.4871" in pane(app, "loss")


async def test_nan_is_counted_and_marked(all_runs: Path) -> None:
    app = make_app(all_runs / "lora" / "diverged-nan-nofilter")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "NaN" in pane(app, "loss").splitlines()[0]
        # On the axis, or right above it where a number stands.
        assert "×" in "".join(pane(app, "loss").splitlines()[-3:-1])
        assert "✗" in pane(app, "findings")


async def test_ascii_glyphs_alone_where_asked(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft", glyphs="ascii")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        odd = {char for char in text(app) if ord(char) > 126} - set("中文α")
        assert not odd


async def test_without_colour_every_style_is_colourless(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert app.theme == "ansi"
        assert "★" in text(app) or "●" in text(app)
        assert app.state.words.t("state.finished") in text(app)


async def test_text_from_files_is_never_markup(tmp_path: Path, all_runs: Path) -> None:
    run = tmp_path / "saves" / "[red]x[/red]"
    run.mkdir(parents=True)
    source = (all_runs / "lora" / "default" / "trainer_log.jsonl").read_bytes()
    (run / "trainer_log.jsonl").write_bytes(source)
    (run / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "m/[bold]evil[/]\\u001b[31m", "peft_type": "LORA", "r": 8, "lora_alpha": 16}'
    )
    app = make_app(tmp_path / "saves")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "[red]x[/red]" in text(app)
        assert "\x1b" not in text(app)
        await pilot.press("6")
        await settled(pilot)
        assert "[bold]evil[/]" in text(app)
        assert "\x1b" not in text(app)
