"""A job in another process writes; the screen of a real terminal shows it. How soon is measured by ``tools/bench``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.job_writer import Writer
from tests.support.live_app import DOTS, Chart, eval_row, loss_chart, make_old, predict_row, row, watching, write_run
from tests.support.terminal import Screen, Terminal
from tests.support.waiting import wait_passes

pytestmark = pytest.mark.pty

SIZES = [(120, 40), (80, 24)]


def after(
    terminal: Terminal,
    what: str,
    do: Callable[[], object],
    *patterns: str,
    gone: str = "",
    also: Callable[[str], object] = bool,
) -> None:
    """After ``do()``, and not before, the screen matches ``patterns``, not ``gone``, and is ``also`` as it should."""

    def seen(screen: str) -> bool:
        return (
            all(re.search(p, screen) for p in patterns)
            and not (gone and re.search(gone, screen))
            and bool(also(screen))
        )

    assert not seen(terminal.text), f"{what}: it was there before\n{terminal.shown()}"
    do()
    terminal.wait_until(seen, f"{what}: {patterns} but not {gone!r} on the screen")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_run_from_before_it_exists_to_its_results(tmp_path: Path, size: tuple[int, int]) -> None:
    wide = size[0] >= 100
    with watching(tmp_path, "saves", size=size) as terminal, Writer(tmp_path / "saves/a") as job:
        terminal.wait_for("no runs|does not exist yet")

        # The first rows.
        after(terminal, "new run", lambda: job("row", row(1, 3.1234)), r"loss 3\.1234", "1/100", "training")
        for step, loss in ((3, 2.9345), (5, 2.6543)):
            value = re.escape(f"{loss:.4f}")
            after(
                terminal,
                "row",
                partial(job, "row", row(step, loss)),
                rf"loss {value}",
                rf"\b{step}/100",
                rf"\b{step} %",
            )

        # An evaluation.
        after(terminal, "eval row", lambda: job("row", eval_row(5, 2.7177)), r"eval 2\.7177", "◆")

        # The log starts over: nothing of the old attempt is left.
        old = r"(loss|eval|min|smoothed) (3\.1234|2\.\d{4})|5/100"
        job("delete")
        terminal.settle()
        after(
            terminal,
            "restart, new row",
            lambda: job("row", row(1, 1.5151, 50)),
            r"loss 1\.5151",
            "1/50",
            gone=old,
            also=one_dot,
        )
        after(terminal, "row", lambda: job("row", row(2, 1.4242, 50)), r"loss 1\.4242", "2/50")

        # A second run beside it.
        with Writer(tmp_path / "saves/deep/second") as other:
            sight = (r"╭─ Runs", r"second +0\.77") if wide else (r"2/2",)
            after(terminal, "second run", lambda: other("row", row(1, 0.7654)), *sight)
            if not wide:
                terminal.send("\t")
                terminal.wait_for(r"second +0\.77")
                terminal.send("\x1b")
                terminal.wait_gone("second")
            assert re.search(r"loss 1\.4242", terminal.text), "nothing steals the selection"

        # The end of training.
        job("row", row(49, 1.1111, 50))
        job("row", row(50, 1.0101, 50))
        results = {"epoch": 2.0, "train_loss": 1.25, "train_runtime": 50.0, "train_steps_per_second": 1.0}
        job("json", "train_results.json", results)
        state = {
            "global_step": 50,
            "max_steps": 50,
            "epoch": 2.0,
            "log_history": [{"step": 50, "loss": 1.0101, "epoch": 2.0}],
        }
        job("json", "trainer_state.json", state)
        # The model card is the last file of a job.
        after(terminal, "finished", lambda: job("torn", "README.md", "card"), "finished", "50/50", "100 %")
        if wide:
            terminal.wait_for("mean train loss 1.2500")

        # A prediction into the same directory.
        after(terminal, "predict row", lambda: job("row", predict_row(5, 12)), r"(predict|evaluat)ing 5/12")
        after(terminal, "predict row", lambda: job("row", predict_row(10, 12)), r"(predict|evaluat)ing 10/12")
        scores = {
            "predict_bleu-4": 52.7643, "predict_rouge-1": 71.0054, "predict_rouge-2": 57.8209,
            "predict_rouge-l": 70.3014,
            "predict_runtime": 232.7, "predict_samples_per_second": 5.157, "predict_steps_per_second": 0.645,
        }  # fmt: skip
        told = (r"╭─ results ─", "1200 samples") if wide else ()
        sight = (r"BLEU-4", r"\b52\.76", r"\b70\.30", *told)
        after(terminal, "results", lambda: job("json", "predict_results.json", scores), *sight)
        terminal.wait_for("loss 1.0101", "finished")


def test_rows_that_come_ten_a_second_and_a_restart_among_them(tmp_path: Path) -> None:
    with watching(tmp_path, "saves") as terminal, Writer(tmp_path / "saves/a") as job:
        for step in range(1, 13):
            loss = 3 - step / 100
            after(
                terminal,
                "row, 10 a second",
                partial(job, "row", row(step, loss)),
                rf"loss {loss:.4f}",
                rf"\b{step}/100",
            )
        job("delete")
        after(
            terminal,
            "restart without a pause",
            lambda: job("row", row(1, 1.2345)),
            r"loss 1\.2345",
            gone=r"2\.\d\d\d\d",
        )
        # Under load a curve is drawn once in two seconds; only the numbers are sooner.
        terminal.wait_until(one_dot, "a curve of one dot")


def one_dot(screen: str) -> bool:
    """The chart shows a single point."""
    chart = loss_chart(screen)
    return chart is not None and len(DOTS.findall("".join(chart.cells))) == 1


def chart_of(terminal: Terminal) -> Chart:
    chart = loss_chart(terminal.text)
    assert chart is not None, terminal.shown()
    return chart


def wave(steps: int) -> list[float]:
    """Losses whose greatest and least values stand away from their mean, but not so far that the chart cuts them."""
    return [
        round(2.0 + 0.5 * math.sin(step * 2.4) + (0.03 if step == 23 else -0.03 if step == 15 else 0.0), 4)
        for step in range(1, steps + 1)
    ]


def check_curve(terminal: Terminal, losses: list[float]) -> None:
    """The curve on the screen is that of the file: its extent to the dot, its telling points to the cell."""
    chart, shown = chart_of(terminal), terminal.shown()
    # What lies beyond the last row is the forecast's.
    ended = chart.x_labels[-1][1] <= len(losses)
    dots = [(x, y) for x, y in chart.dots if ended or x / 2 <= chart.column_of(len(losses)) + 0.5]
    rows = [chart.dot_of(value) for value in (max(losses), min(losses), losses[-1])]
    assert min(y for _, y in dots) == rows[0], f"the highest dot is the greatest loss\n{shown}"
    assert max(y for _, y in dots) == rows[1], f"the lowest dot is the least loss\n{shown}"
    last = max(x for x, _ in dots)
    assert any(abs(y - rows[2]) <= 1 for x, y in dots if x >= last - 1), f"the last dot is the last loss\n{shown}"
    assert abs(last / 2 - chart.column_of(len(losses))) <= 1.5, shown
    assert abs(min(x for x, _ in dots) / 2 - chart.column_of(1)) <= 1.5, shown
    for value in (max(losses), min(losses), losses[-1]):
        assert DOTS.search(chart.char_at(losses.index(value) + 1, value)), f"{value} is not drawn\n{shown}"
    for step, value in enumerate(losses, 1):
        near = [y for x, y in dots if abs(x / 2 - chart.column_of(step)) <= 1.5]
        assert any(abs(y - chart.dot_of(value)) <= 4 for y in near), f"row {step}, {value}\n{shown}"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_restart_leaves_no_number_of_the_old_attempt_anywhere(tmp_path: Path, size: tuple[int, int]) -> None:
    write_run(tmp_path / "saves/a", [2.75, 2.6875, 2.625], 100)
    with watching(tmp_path, "saves", size=size) as terminal, Writer(tmp_path / "saves/a") as job:
        terminal.wait_for(r"loss 2\.6250", r"╭─ loss ─.*\n│ 2\.6250")
        job("row", eval_row(3, 2.5625))
        terminal.wait_for(r"╭─ eval loss ─.*│ 2\.5625")
        job("delete")
        terminal.wait_gone(r"2\.6250")
        what, now = "restart, all panes", partial(job, "row", row(1, 1.5151))
        after(terminal, what, now, r"╭─ loss ─.*\n│ 1\.5151", gone=r"2\.(75|68|62|56)")


@pytest.mark.parametrize("size", [*SIZES, (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_curve_on_the_screen_is_the_curve_in_the_file(tmp_path: Path, size: tuple[int, int]) -> None:
    losses = wave(40)
    with (
        Writer(write_run(tmp_path / "saves/a", losses[:30], 40)) as job,
        watching(tmp_path, "saves/a", size=size) as terminal,
    ):
        terminal.wait_for(f"loss {losses[29]:.4f}", DOTS.pattern)
        terminal.settle()
        check_curve(terminal, losses[:30])
        for step in range(31, 41):
            job("row", row(step, losses[step - 1], 40))
        # Of rows that come fast the curve is drawn every two seconds.
        terminal.wait_for(f"loss {losses[39]:.4f}")
        wait_passes(lambda: check_curve(terminal, losses), terminal.settle)
        # A finished evaluation has its mark where its value is.
        job("row", eval_row(40, 2.05, 40))
        terminal.wait_for("◆ eval 2.0500")
        terminal.wait_until(lambda screen: (chart := loss_chart(screen)) and "◆" in "".join(chart.cells), "the mark")
        terminal.settle()
        chart = chart_of(terminal)
        assert [chart.dot_of(2.05) // 4] == [y for y, line in enumerate(chart.cells) if "◆" in line], terminal.shown()


def test_a_directory_that_does_not_exist_is_named_and_waited_for(tmp_path: Path) -> None:
    with watching(tmp_path, "saves/not/yet") as terminal:
        shown = " ".join(terminal.text.replace("│", " ").split())
        assert "saves/not/yet does not exist yet; watching for it" in shown
        assert str(tmp_path) in shown


def test_no_frame_of_a_rerun_mixes_both_attempts(tmp_path: Path) -> None:
    """A job over a finished run: the step, the loss and the state of a frame are of the same attempt."""
    run = write_run(tmp_path / "saves/a", [3.0 + step / 1000 for step in range(24)])
    (run / "train_results.json").write_text('{"train_loss": 3.01}', encoding="utf-8")
    (run / "README.md").write_text("# card", encoding="utf-8")
    make_old(run)
    with watching(tmp_path, "saves", size=(160, 50)) as terminal, Writer(run) as job:
        terminal.wait_for("✓ finished", "24/24")
        terminal.settle()
        sent = len(terminal.raw)
        screen = Screen(160, 50)
        screen.feed(terminal.raw.decode())
        job("delete")
        terminal.wait_for("waiting")
        for step in range(1, 17):
            job("row", row(step, 1.0 + step / 1000, 16))
        terminal.wait_for("16/16", r"1\.0160")
        terminal.settle()
        frames = []
        for piece in re.split(r"(?<=\x1b\[\?2026l)", terminal.raw[sent:].decode()):
            screen.feed(piece)
            frames.append(screen.text)
    assert len(frames) > 3
    for frame in frames:
        steps, losses = re.findall(r"\d+ %  \d+/(\d+)", frame), re.findall(r"loss (\d)\.\d{4}", frame)
        attempts = {{"24": "old", "16": "new"}[total] for total in steps}
        attempts |= {{"3": "old", "1": "new"}[whole] for whole in losses}
        if " waiting ─╮" in frame:
            attempts.add("waiting")
        assert len(attempts) == 1, frame
