"""Text broken into lines of a width in terminal cells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.text.cells import cell_width, wrap

ANY = st.text(st.sampled_from("ab cd，。loss 训练（见）`x_y`“”,.!é\u0301 "), max_size=80)


@settings(max_examples=300, deadline=None)
@given(ANY, st.integers(4, 40))
def test_no_line_is_too_wide_and_nothing_is_lost(text, width):
    lines = wrap(text, width)
    # Closing marks and accents stay with what they follow, however many there are; a line holds two cells at least.
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
