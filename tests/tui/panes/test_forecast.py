"""The forecast on the screen: bands in the head and the list, the end of the loss in its chart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.support.app_pilot import make_app, pane, settled
from tools.judge.recorded_run import LOG, write
from tools.judge.simulator import simulate

SIZE = (160, 50)
NOW = 1_790_000_000.0


def half_way(folder: Path, share: float = 0.6) -> float:
    """A simulated run, 60 % done; returns the moment."""
    life = simulate(
        11, stage="sft", rows=400, logging_steps=10, epochs=2.0, noise=0.06, evals=8, duration=7200.0, save_steps=500,
        schedule="cosine", resume_at=None,
    )  # fmt: skip
    return write(life, folder, int(share * len(life.rows)))


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", ["left 4", " min", "ends ", "at the end "]), ("zh", ["还剩 4", " 分钟", "结束", "预计结束时 "])],
)
async def test_bands_in_both_languages(tmp_path: Path, lang: str, words: list[str]) -> None:
    now = half_way(tmp_path / "saves" / "a")
    app = make_app(tmp_path / "saves", now=now, lang=lang)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head, loss = pane(app, "head"), pane(app, "loss")
        assert all(word in head + loss for word in words)
        assert "–" in head
        assert words[0].replace("left ", "") in pane(app, "runs")


def clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


async def test_while_it_evaluates_the_evaluation_is_counted_in(tmp_path: Path) -> None:
    """Ten seconds a row, a minute an evaluation, one every ten rows: the fourth of ten goes on."""
    lines, seconds = [], 0
    for step in range(10, 401, 10):
        seconds += 10
        row = {"current_steps": step, "total_steps": 1000, "epoch": step / 1000, "elapsed_time": clock(seconds)}
        lines.append(json.dumps({**row, "loss": 2.0, "lr": 1e-4}))
        if step % 100 == 0 and step < 400:
            seconds += 60
            lines.append(json.dumps({**row, "eval_loss": 2.0, "elapsed_time": clock(seconds)}))
    run = tmp_path / "saves" / "a"
    run.mkdir(parents=True)
    (run / LOG).write_text("\n".join(lines) + "\n")
    os.utime(run / LOG, (NOW, NOW))
    app = make_app(tmp_path / "saves", now=NOW + 20)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = pane(app, "head")
        assert "evaluating" in head
        # 600 steps and seven evaluations, of which 20 seconds are over: 16 min 40 s.
        found = re.search(r"left (\d+)–(\d+) min", head)
        assert found is not None
        assert int(found[1]) <= 16
        assert int(found[2]) >= 17
        assert int(found[2]) - int(found[1]) <= 5


async def test_the_chart_reaches_out_to_where_the_loss_is_expected(tmp_path: Path) -> None:
    now = half_way(tmp_path / "saves" / "a")
    app = make_app(tmp_path / "saves", now=now)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        # Behind the last row there is nothing but the two lines of the forecast.
        ends = [line[-14:-2] for line in pane(app, "loss").splitlines()[1:-2]]
        drawn = [end for end in ends if any("⠀" < char <= "⣿" for char in end)]
        assert 1 <= len(drawn) <= 6
    early = half_way(tmp_path / "early" / "a", 0.05)
    app = make_app(tmp_path / "early", now=early)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "at the end" not in pane(app, "loss")
