"""The page of the checkpoints: which one to take, and what is at stake."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_tui.analysis import judge
from lora_tui.i18n import Language, Words
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.tui.options import AppOptions
from lora_tui.tui.pages.checkpoints import checkpoint_lines
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import width_of
from lora_tui.wording.sentences import checkpoint_advice
from tests.support.app_pilot import make_app, pane, settled
from tests.support.checkpoint_runs import checkpoint_dir, falling_rows, run_with_checkpoints, written_at

RISEN = {100: 1.5, 200: 1.0, 300: 1.2, 400: 1.3}
LIMIT = {"save_steps": 100, "save_total_limit": 3}


def page(run: Run, now: float, lang: Language = "en", width: int = 76) -> list[str]:
    options = AppOptions(clock=lambda: now, lang=lang, title="saves")
    state = AppState(Workspace([Path("/runs")]), options)
    view = RunView(run, now, run.status(now), run.progress(now), judge(run, now))
    lines = checkpoint_lines(state, view, width)
    assert max(width_of(line) for line in lines) <= width
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_what_to_take_and_what_is_at_stake() -> None:
    disk = [
        checkpoint_dir(50, at=written_at(0) - 9000),
        checkpoint_dir(200),
        checkpoint_dir(300),
        checkpoint_dir(400, size=2 * 10**9),
    ]
    run, now = run_with_checkpoints(falling_rows(420, 1000, RISEN), disk, config=LIMIT, free=50 * 10**9)
    text = page(run, now)
    assert text[:3] == [
        "Take checkpoint-200: eval_loss 1, the best evaluation.",
        "The newest, checkpoint-400, is 30 % worse (1.3).",
        "The save of step 500 will delete it: the newest 3 are kept.",
    ]
    # The whole command is there, however narrow the page.
    assert "cp -r '/runs/made here/checkpoint-200' '/runs/made here/best-200'" in " ".join(text)
    assert "50.0 GB free, a checkpoint takes 2.0 GB." in text
    assert any(line.startswith("★ checkpoint-200") for line in text)
    assert any("checkpoint-50 " in line and line.endswith("of another attempt") for line in text)


def test_in_chinese() -> None:
    run, now = run_with_checkpoints(falling_rows(420, 1000, RISEN), [300, 400], config=LIMIT)
    text = page(run, now, "zh")
    assert text[:2] == [
        "选用 checkpoint-300：eval_loss 1.2，磁盘上最佳。",
        "最佳为第 200 步（eval_loss 1），其检查点已被删除。",
    ]


def test_before_the_first_one() -> None:
    run, now = run_with_checkpoints(falling_rows(50, 1000), config={"save_steps": 100})
    assert page(run, now)[0] == "no checkpoint yet"
    assert "The next save comes at step 100." in page(run, now)


def test_nothing_is_known() -> None:
    run = Run(Path("/runs/empty"))
    assert page(run, 1.0) == ["no checkpoint yet"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_dead_run(lang: Language) -> None:
    run, _ = run_with_checkpoints(falling_rows(350, 900), [300])
    said = checkpoint_advice(Words(lang), judge(run, written_at(350) + 100_000).choice, live=False)
    assert [advice.kind for advice in said] == ["take", "note"]
    assert "50" in said[1].text


def test_a_name_from_the_disk_is_text() -> None:
    item = checkpoint_dir(200)._replace(path="checkpoint-200\x1b[31m\x07")
    run, now = run_with_checkpoints(falling_rows(220, 1000, RISEN), [item], config={**LIMIT, "save_total_limit": 1})
    assert not any("\x1b" in line or "\x07" in line for line in page(run, now))


async def test_in_the_app(all_runs: Path) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("7")
        await settled(pilot)
        shown = pane(app, "page")
    assert "Take checkpoint-810: eval_loss 0.9954, the best evaluation." in shown
