"""Every size that a terminal can have, changes of it while rows come in, and terminals that can do less."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from lora_tui.text.cells import cell_width
from tests.support.job_writer import Writer
from tests.support.live_app import DOTS, loss_chart, make_old, row, start, watching, write_run
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.pty, pytest.mark.slow]

SIZES = [(60, 18), (80, 24), (120, 40), (200, 50), (300, 80)]
WIDE_CHARS = re.compile("[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]")


def runs(directory: Path) -> None:
    write_run(directory / "saves/b", [2.0, 1.9, 1.8, 1.7], 8)
    write_run(directory / "saves/a", [3.0 - step / 20 for step in range(30)], 60)


def check_whole(terminal: Terminal) -> None:
    """Nothing went beyond the right edge, and the frames are whole."""
    text = terminal.settle()
    assert terminal.screen.wraps == 0, f"a line was longer than the screen\n{terminal.shown()}"
    assert len(terminal.screen.lines) == terminal.screen.rows
    assert {cell_width(line) for line in terminal.screen.lines} == {terminal.screen.columns}
    for left, right in ("╭╮", "╰╯"):
        assert text.count(left) == text.count(right), terminal.shown()


@pytest.mark.parametrize(
    ("size", "lang"),
    [*((size, "en") for size in SIZES), ((60, 18), "zh"), ((120, 40), "zh")],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_head_and_loss_are_there_at_every_size(tmp_path: Path, size: tuple[int, int], lang: str) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", "--lang", lang, size=size) as terminal:
        terminal.wait_for(r"30/60", r"1\.5500", DOTS.pattern)
        terminal.settle()
        assert loss_chart(terminal.text) is not None, terminal.shown()
        assert ("training" if lang == "en" else "训练中") in terminal.text
        check_whole(terminal)
        for page in ("3", "6", "7") if lang == "en" and size != (300, 80) else ("6",):
            terminal.send(page)
            check_whole(terminal)


@pytest.mark.parametrize("size", [(20, 5), (59, 30), (100, 17), (12, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_below_60_by_18_there_is_one_line(tmp_path: Path, size: tuple[int, int]) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", size=size) as terminal:
        first, *rest = terminal.text.split("\n")
        assert first.strip().startswith(("a", "● a")), terminal.shown()
        if size[0] >= 20:
            assert "1.5500" in first, terminal.shown()
        assert not "".join(rest).strip()
        check_whole(terminal)


def test_a_storm_of_sizes_while_rows_come_in(tmp_path: Path) -> None:
    write_run(tmp_path / "saves/a", [3.0], 500)
    random.seed(4)
    with watching(tmp_path, "saves") as terminal, Writer(tmp_path / "saves/a") as job:
        for step in range(2, 42):
            job("row", row(step, 3 - step / 50, 500))
            terminal.resize(
                random.choice((1, 20, 60, 61, 80, 99, 100, 120, 200, 300)), random.choice((1, 2, 5, 18, 19, 24, 40, 80))
            )
            terminal.drain(random.choice((0.0, 0.01, 0.05)))
        for size in ((80, 24), (20, 5), (120, 40)):
            terminal.resize(*size)
            terminal.settle()
            terminal.screen.wraps = 0
            job("row", row(step := step + 1, 2 - step / 100, 500))
            terminal.wait_for(f"{2 - (step - 1) / 100:.4f}|{2 - step / 100:.4f}")
            check_whole(terminal)
        assert loss_chart(terminal.text) is not None, terminal.shown()


def test_after_200_sizes_in_seconds_the_screen_is_that_of_a_fresh_start(tmp_path: Path) -> None:
    """The rows that come meanwhile make frames of every size; the last of each size must not outlive it."""
    write_run(tmp_path / "saves/a", [3.0], 500)
    random.seed(7)
    with watching(tmp_path, "saves") as terminal, Writer(tmp_path / "saves/a") as job:
        step = 1
        for _ in range(200):
            terminal.resize(
                random.choice((1, 2, 7, 59, 60, *range(1, 250, 9))), random.choice((1, 2, 5, *range(1, 70, 7)))
            )
            if random.random() < 0.25:
                job("row", row(step := step + 1, 3 - step / 100, 500))
            terminal.drain(random.choice((0.0, 0.005, 0.02)))
        # No more rows: what is shown depends on nothing but the size.
        make_old(tmp_path / "saves/a")
        for size in ((100, 30), (1, 1), (20, 5), (120, 40)):
            terminal.resize(*size)
            terminal.settle()
            terminal.screen.wraps = 0
        if step > 1:
            terminal.wait_for(f"loss {3 - step / 100:.4f}", rf"\b{step}/500")
        # The clock draws anew once a second what changes by time alone.
        terminal.drain(1.5)
        after = terminal.settle()
        check_whole(terminal)
        with watching(tmp_path, "saves") as fresh:
            fresh.wait_for(f"loss {3 - step / 100:.4f}")
            fresh.wait_until(lambda text: text == after, f"the same as\n{after}")


MONOCHROME = {"NO_COLOR": {"NO_COLOR": "1"}, "vt100": {"TERM": "vt100"}, "xterm-mono": {"TERM": "xterm-mono"}}


@pytest.mark.parametrize("env", MONOCHROME.values(), ids=MONOCHROME)
def test_without_colour(tmp_path: Path, env: dict[str, str]) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", env=env) as terminal:
        terminal.wait_for("loss 1.5500", "training")
        for key in ("6", "1", "?"):
            terminal.send(key)
            terminal.settle()
        terminal.send("\x1b")
        terminal.wait_gone("esc close")
        sent = {
            int(number or 0)
            for codes in re.findall(rb"\x1b\[([0-9;:]*)m", terminal.raw)
            for number in re.split(rb"[;:]", codes)
        }
        assert sent <= {0, 1, 2, 3, 4, 7, 22, 23, 24, 27, 39, 49}, "the terminal's own colours and no others"
        assert 7 in sent, "the selected row is reversed"


def test_without_a_name_of_the_terminal(tmp_path: Path) -> None:
    """TERM is unset: what a terminal without a name understands is not known, so no more than 16 colours are used."""
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", env={"TERM": "", "COLORTERM": ""}) as terminal:
        terminal.wait_for("loss 1.5500", "training")
        check_whole(terminal)
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;2;", terminal.raw)


def test_an_encoding_without_the_glyphs_gets_ascii(tmp_path: Path) -> None:
    runs(tmp_path)
    env = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    with start(tmp_path, "saves", "--run", "a", env=env) as terminal:
        terminal.wait_for("1.5500", r"\+- ", "quit")
        terminal.settle()
        assert terminal.raw.isascii()
        assert "\\u" not in terminal.text


def test_ascii_glyphs_alone(tmp_path: Path) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", "--glyphs", "ascii") as terminal:
        terminal.wait_for("1.5500", r"\+- ")
        for key in ("", "3", "6", "7", "1", "\t", "\r", "\x1b", "?", "\x1b", "L", "?"):
            terminal.send(key)
            terminal.settle()
            odd = sorted({char for char in WIDE_CHARS.sub("", terminal.text) if ord(char) > 126})
            assert odd == [], f"after {key!r}: {odd}\n{terminal.shown()}"
        terminal.send("\x1b")
        terminal.wait_gone("esc 关闭")


def test_ascii_glyphs_in_the_palette(tmp_path: Path) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", "--glyphs", "ascii") as terminal:
        terminal.wait_for("loss 1.5500")
        terminal.send(":")
        terminal.wait_for("half a page down")
        terminal.settle()
        odd = sorted({char for char in WIDE_CHARS.sub("", terminal.text) if ord(char) > 126})
        shown = terminal.shown()
        terminal.send("\x1b")
        terminal.settle()
        assert odd == [], shown


def test_chinese_from_the_environment(tmp_path: Path) -> None:
    runs(tmp_path)
    with watching(tmp_path, "saves", "--run", "a", env={"LANG": "zh_CN.UTF-8", "LC_ALL": "zh_CN.UTF-8"}) as terminal:
        terminal.wait_for("训练中", "退出", r"1\.5500")
