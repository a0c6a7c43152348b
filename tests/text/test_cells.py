from __future__ import annotations

import random
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from lora_tui.text.cells import cell_width, clip, fit, is_narrow, wrap
from lora_tui.text.sanitize import clean


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("loss 0.902", 10),
        ("验证 loss", 9),
        ("收敛良好", 8),
        ("ｆｕｌｌ", 8),
        ("カタカナ", 8),
        ("ｶﾀｶﾅ", 4),
        ("한국", 4),
        ("e\u0301", 1),
        ("🙂", 2),
        ("● ★ ▲ ─ ◆ ⣿", 11),
        ("\x1b\x07", 0),
    ],
)
def test_cell_width_counts_terminal_cells(text, cells):
    assert cell_width(text) == cells


def test_what_is_narrow_is_one_cell_each():
    narrow = [char for char in map(chr, range(0x11000)) if is_narrow(char)]
    # With another character before, since the width of a single narrow character takes a shortcut.
    assert {sum(map(cell_width, ("é" + char, "中" + char))) for char in narrow} == {5}
    assert {cell_len(char) for char in narrow} == {1}
    assert len(narrow) > 700


def test_cell_width_agrees_with_the_table_that_lays_out_the_screen():
    differing = []
    for code in range(0x20, 0x30000):
        char = chr(code)
        # Characters that this Python does not know, and those that clean() removes, may differ.
        if unicodedata.category(char) in ("Cn", "Cs", "Cc", "Cf") or clean("x" + char) != "x" + char:
            continue
        if cell_width("x" + char) != cell_len("x" + char):
            differing.append(hex(code))
    assert differing == []


def test_fit_is_exact_and_never_splits_a_wide_character():
    assert fit("检查点", 6) == "检查点"
    assert fit("检查点", 5) == "检查…"
    assert fit("检查点", 4) == "检… "
    assert fit("检查点", 2) == "… "
    assert fit("检查点", 1) == "…"
    assert fit("检查点", 0) == ""
    assert fit("ab", 4) == "ab  "
    assert fit("abcdef", 4, "..") == "ab.."
    assert fit("检查点", 1, "..") == " "
    assert clip("abcdef", 4) == "abc…"
    assert clip("检查点", 4) == "检…"
    assert clip("abc", -1) == ""
    assert clip("e\u0301e\u0301e\u0301", 2) == "e\u0301…"


def test_fit_random():
    rng = random.Random(7)
    alphabet = "ab 检查🙂●e\u0301ｶ한"
    for _ in range(3000):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))
        width = rng.randrange(1, 14)
        assert cell_width(fit(text, width)) == width
        cut = clip(text, width)
        assert cell_width(cut) <= width
        assert cut == text if cell_width(text) <= width else text.startswith(cut.rstrip("…"))


def test_text_imports_no_terminal_toolkit():
    code = (
        "import sys, lora_tui.text.cells; print(sorted({'rich', 'textual', 'plotext', 'wcwidth'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


ANY = st.text(st.sampled_from("ab cd，。loss 训练（见）`x_y`“”,.!é\u0301 "), max_size=80)


@settings(max_examples=300)
@given(ANY, st.integers(4, 40))
def test_no_line_is_too_wide_and_nothing_is_lost(text, width):
    lines = wrap(text, width)
    # Closing marks and accents stay with the character before, however many there are, and may exceed the line.
    runs = text.split(" ")
    if all(sum(char in "，。）,.!”\u0301" for char in run) < 2 for run in runs):
        assert all(cell_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("训练 loss 只看走势，不看大小", 14, ["训练 loss 只看", "走势，不看大小"]),
        ("只看走势，不看大小。", 10, ["只看走势，", "不看大小。"]),
        ("只看走势。", 8, ["只看走", "势。"]),
        ("见（附注）", 4, ["见", "（附", "注）"]),
        ("averyverylongword", 6, ["averyv", "erylon", "gword"]),
        ("", 10, [""]),
    ],
)
def test_where_it_breaks(text, width, lines):
    assert wrap(text, width) == lines


def test_hanging():
    assert wrap("one two three four", 9, 2) == ["one two", "  three", "  four"]
