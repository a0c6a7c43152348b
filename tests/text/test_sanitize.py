from __future__ import annotations

import json
import random
import unicodedata

import pytest
from rich.cells import cell_len

from lora_tui.text.cells import cell_width
from lora_tui.text.sanitize import clean, escape_json, escape_markdown


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
        # A quotation mark decoded as Latin-1 is not an escape sequence: the words between two stay.
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


def test_markdown_escapes_what_means_something_there():
    assert escape_markdown("a_b|c") == "a\\_b\\|c"
    assert escape_markdown("lora/sft-1 (2) 1.5") == "lora/sft-1 (2) 1.5"
    assert escape_markdown("http://x www.y a@b") == "http\\://x www\\.y a\\@b"


def test_json_is_seen_as_it_is():
    odd = "训练\x9b\u202e\ud800\U000e0041\x7f ok"
    text = escape_json(json.dumps(odd, ensure_ascii=False))
    assert text == r'"训练\u009b\u202e\ud800\udb40\udc41\u007f ok"'
    assert json.loads(text) == odd
