"""Every line of the box ends in the same column, whatever the box contains, and nothing is cut off."""

from __future__ import annotations

import unicodedata

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from lora_tui.i18n import Words
from lora_tui.report.document import Fact
from lora_tui.report.render import box
from lora_tui.text.cells import cell_width, wrap
from tests.report import seeds


def with_facts(report, *values):
    """Return the same report with these values among its settings."""
    section = report.section("config")
    extra = [Fact(code=f"x{at}", label="Dataset", value=value) for at, value in enumerate(values)]
    parts = [part if part is not section else part.model_copy(update={"facts": [*part.facts, *extra]})
             for part in report.sections]  # fmt: skip
    return report.model_copy(update={"sections": parts})


AWKWARD = [
    "中文数据集_混合english, another_one, 第三个",
    "a" * 300,
    "很长的名字" * 40,
    "a\u0301ccents e\u0301",
    "한국어 데이터",
    "ｆｕｌｌ ｗｉｄｔｈ",
    "🎯📅 emoji",
    "",
]


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("limit", [20, 48, 64, 80, 120])
def test_every_line_ends_in_the_same_column(report, tmp_path, lang, ascii_only, limit):
    made = with_facts(report(seeds.write_summary(tmp_path), lang), *AWKWARD)
    text = box.render(made, Words(lang), limit=limit, ascii_only=ascii_only)
    lines = text.splitlines()
    assert len({cell_width(line) for line in lines}) == 1
    assert len({wcswidth(line) for line in lines}) == 1
    assert cell_width(lines[0]) <= max(limit, box.MIN_WIDTH)
    bare = "".join(line[1:-1].strip() for line in lines).replace(" ", "")
    assert "a" * 300 in bare
    assert ascii_only or "很长的名字" * 40 in bare


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_terminal_shows_the_right_border_in_one_column(report, tmp_path, lang):
    text = box.render(report(seeds.write_summary(tmp_path), lang), Words(lang))
    screen = pyte.Screen(80, 60)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    rows = [screen.buffer[at] for at in range(text.count("\n"))]
    assert [row[63].data for row in rows if row[63].data not in "╗╣╝║"] == []
    assert {row[64].data for row in rows} == {" "}


def test_the_emoji_are_two_cells_wide_without_a_selector():
    for emoji in box._EMOJI.values():
        assert len(emoji) == 1, "no variation selector"
        assert unicodedata.east_asian_width(emoji) == "W"


def test_the_ascii_form_has_only_words_beyond_ascii(report, tmp_path):
    directory = seeds.write_summary(tmp_path)
    english = with_facts(report(directory), "数据×≈")
    assert box.render(english, Words("en"), ascii_only=True).isascii()
    chinese = box.render(report(directory, "zh"), Words("zh"), ascii_only=True)
    beyond = {char for char in chinese if not char.isascii()}
    assert all(unicodedata.east_asian_width(char) in "WF" for char in beyond)
    assert "训练信息" in chinese
    assert "4 x 4 = 16" in chinese


def test_a_run_in_progress_says_so_with_the_moment(report, all_runs):
    text = box.render(report(all_runs / "lora/killed", "en", after=10.0), Words("en"))
    assert "training so far" in text
    assert "Not over yet: everything here is as of 2026-11-22 03:53." in text


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=120), st.integers(8, 60))
@settings(max_examples=200)
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    lines = wrap(text, width, 2)
    assert all(cell_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 8, ["one two", "  three"]),
        ("训练结束，没有问题。", 10, ["训练结束，", "  没有问", "  题。"]),
        ("loss（平滑）", 8, ["loss（平", "  滑）"]),
        ("abcdefghijkl", 8, ["abcdefgh", "  ijkl"]),
    ],
)
def test_where_lines_are_wrapped(text, width, lines):
    assert wrap(text, width, 2) == lines
