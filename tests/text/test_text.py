from __future__ import annotations

import math
import random
import subprocess
import sys
import unicodedata

import pytest
from rich.cells import cell_len

from lora_tui.text.cells import (
    cell_width,
    clean,
    clip,
    count,
    fit,
    fixed4,
    is_narrow,
    json_seen,
    markdown,
    number,
    seconds,
)


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
    # Doubled, since a single character could be told by a shortcut of its own.
    assert {sum(map(cell_width, ("é" + char, "中" + char))) for char in narrow} == {5}
    assert {cell_len(char) for char in narrow} == {1}
    assert len(narrow) > 700


def test_cell_width_agrees_with_the_table_that_lays_out_the_screen():
    differing = []
    for code in range(0x20, 0x30000):
        char = chr(code)
        # What this Python does not know, and what clean() removes, may differ.
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


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("[red]not markup[/red] [link=x]", "[red]not markup[/red] [link=x]"),
        ("\x1b]52;c;cm0gLXJmIH4=\x07after", "after"),
        ("\x1b]52;c;cm0gLXJmIH4=\x1b\\after", "after"),
        ("\x1b]52;c;cm0gLXJmIH4=\x9cafter", "after"),
        ("\x9d52;c;cm0=\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\!", "text!"),
        ("\x1b]0;title\nnext line", " next line"),
        ("\x1bPtmux;\x1b\x1b]52;c;AAAA\x07\x1b\\after", "after"),
        ("\x1b_payload\x1b\\a\x1b^b\x07c\x1bXd\x9ce", "ace"),
        ("\x1bc\x1b(B\x1b7reset", "reset"),
        ("\x1b\x1b[2Ja", "a"),
        ("\x9b31mred", "red"),
        ("\x1b[31", "31"),
        ("\x1b", ""),
        ("a\r\nb\tc\u2028d\x85e", "a b c d e"),
        ("a\x00\x08\x7fb", "ab"),
        ("abc\u202edcba\u202c \u2066x\u2069\u200e\u200f\u061c", "abcdcba x"),
        ("zero\u200bwidth\u200d\ufeff\u2060\xad", "zerowidth"),
        ("\ud83dx\udc00", "?x?"),
        ("\u0301\u0302start", "start"),
        ("👩\u200d👩🏽 ❤\ufe0f", "👩👩 ❤"),
        ("\U000e0041\U000e007ftag", "tag"),
        ("验证 é ё ไทย नमस्ते", "验证 é ё ไทย नमस्ते"),
        # A wrongly decoded quote is not an escape sequence: the words between stay.
        ("\xe2\x80\x9cquoted\xe2\x80\x9d and more \xe2\x80\x9cagain", "\xe2quoted\xe2 and more \xe2again"),
    ],
)
def test_clean_makes_text_harmless(dirty, expected):
    assert clean(dirty) == expected


def test_clean_limits_length_and_time():
    assert clean("x" * 5000) == "x" * 999 + "…"
    assert clean("abcdef", limit=3) == "ab…"
    assert clean("abc", limit=3) == "abc"
    assert clean("abc", limit=0) == ""
    assert clean("x" * 5000, limit=None) == "x" * 5000
    assert clean("\x1b]" * 200_000 + "x") == ""
    assert clean("\x1b]8;;" + "A" * 5_000_000) == ""


def test_clean_is_idempotent_and_leaves_nothing_that_acts():
    rng = random.Random(11)
    pieces = [
        "\x1b", "[", "]", "52;c;", "AAAA", "\x07", "\\", "\x9c", "\x9b", "\x9d", "P", "31m", "\n", "\t", "\u202e",
        "\u2066", "\u200b", "\ufe0f", "\u0301", "\ud800", "\udc00", "检", "🙂", "x", " ", "[red]", "\x00", "\x85", "(",
        "B", "\u3164",
    ]  # fmt: skip
    for _ in range(5000):
        dirty = "".join(rng.choice(pieces) for _ in range(rng.randrange(14)))
        limit = rng.choice([None, 1000, 5, 1])
        once = clean(dirty, limit)
        assert clean(once, limit) == once
        assert limit is None or len(once) <= limit
        assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in once)
        assert cell_width(once) == cell_len(once)
    for code in range(0x110000):
        once = clean(chr(code))
        assert len(once) <= 1
        assert not once or unicodedata.category(once) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0573, "1.057"), (90.87, "90.87"), (1.5, "1.5"), (0, "0"), (-0.0, "0"), (2e-4, "2e-4"),
        (0.000118, "1.18e-4"), (4.566e-05, "4.566e-5"), (0.001, "0.001"), (0.00099996, "0.001"), (344093.2, "344093"),
        (100.0, "100"), (9999.6, "10000"), (-0.25, "-0.25"), (9.9996, "10"), (2e7, "2e7"), (1e300, "1e300"),
        (5e-324, "4.941e-324"),
        (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_number_of_digits():
    assert number(1.0573, 2) == "1.1"
    assert number(0.856, 3) == "0.856"
    assert number(1234.5, 0) == "1234"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.6679, "1.6679"), (0.0008, "0.0008"), (344093.2, "344093.2"), (0, "0.0000"), (-0.0, "0.0000"),
        (1.5, "1.5000"), (999.99999, "1000.0000"), (1234.5678, "1234.568"), (0.00001234, "1.23e-5"), (1e300, "1e300"),
        (-2.5, "-2.5000"), (math.nan, "NaN"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_fixed4(value, text):
    assert fixed4(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1k"), (24_700, "24.7k"), (999_999, "1M"), (1_234_567, "1.23M"),
        (7_615_616_512, "7.62B"), (1.2e12, "1.2T"), (999.4e12, "999T"),
        (1e15, "1e15"), (-1500, "-1.5k"), (10**30, "1e30"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_count(value, text):
    assert count(value) == text


def test_text_imports_no_terminal_toolkit():
    code = (
        "import sys, lora_tui.text.cells; print(sorted({'rich', 'textual', 'plotext', 'wcwidth'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("typed", "found"),
    [("90", 90.0), ("90s", 90.0), (" 1.5h ", 5400.0), ("2d", 172800.0), ("0", 0.0), ("30m", 1800.0), ("1e3s", 1000.0)]
    + [(text, None) for text in ("", "m", "-1s", "nan", "nand", "inf", "infh", "1e11", "soon", "1h30m")],
)
def test_durations_as_people_type_them(typed, found):
    assert seconds(typed) == found


def test_markdown_escapes_what_means_something_there():
    assert markdown("a_b|c") == "a\\_b\\|c"
    assert markdown("lora/sft-1 (2) 1.5") == "lora/sft-1 (2) 1.5"
    assert markdown("http://x www.y a@b") == "http\\://x www\\.y a\\@b"


def test_json_is_seen_as_it_is():
    import json

    odd = "训练\x9b\u202e\ud800\U000e0041\x7f ok"
    text = json_seen(json.dumps(odd, ensure_ascii=False))
    assert text == r'"训练\u009b\u202e\ud800\udb40\udc41\u007f ok"'
    assert json.loads(text) == odd
