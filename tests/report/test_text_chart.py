"""Text charts keep their width, draw every finite number and have round numbers on their axes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.i18n import Words
from lora_tui.report.build import build
from lora_tui.report.document import Chart, Line
from lora_tui.report.render.text_chart import HEIGHT, WIDTH, _ticks, draw, legend, top
from lora_tui.text.cells import cell_width
from tests.support.run_builder import START, run_of, train


def chart(*values, style="line", steps=None):
    xs = [float(at) for at in (steps or range(len(values)))]
    line = Line(code="loss", label="loss", style=style, steps=xs, values=list(values))
    return Chart(code="loss", title="Loss", x_label="step", x_max=xs[-1] if xs else 0.0, lines=[line], marks=[])


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("style", ["raw", "line", "points"])
def test_size_and_characters(style, ascii_only):
    text = draw(chart(*[1 / (at + 1) for at in range(100)], style=style), ascii_only=ascii_only)
    lines = text.splitlines()
    assert len(lines) <= HEIGHT
    assert {cell_width(line) for line in lines[:-1]} == {WIDTH}
    assert text.isascii() == ascii_only


def test_gaps_are_not_drawn():
    text = draw(chart(*[1.0] * 30, *[None] * 40, *[2.0] * 30))
    row = next(line for line in text.splitlines() if line.count("•") > 10)
    assert row.count("•") < 35


def test_no_finite_value_gives_no_chart():
    assert draw(chart(None, None)) == ""
    assert draw(chart()) == ""


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=40))
@settings(max_examples=100)
def test_any_numbers_can_be_drawn(values):
    for line in draw(chart(*values)).splitlines():
        assert cell_width(line) <= WIDTH


def test_a_steep_start_is_left_out_and_the_legend_says_so():
    steep = chart(9.0, *[2.0 - at / 100 for at in range(99)])
    assert top(steep) == pytest.approx(2.1, abs=0.1)
    assert legend(steep, Words("en")) == "• loss (the start, up to 9, is above the frame)"
    spike = chart(*[2.0 - at / 100 + (7 if at == 50 else 0) for at in range(100)])
    assert top(spike) is None
    assert legend(spike, Words("en")) == "• loss"


@pytest.mark.parametrize(
    ("low", "high", "about", "ticks"),
    [(10, 6250, 6, [1000, 2000, 3000, 4000, 5000, 6000]), (0.7, 2.1, 6, [0.8, 1, 1.2, 1.4, 1.6, 1.8, 2]),
     (1, 2, 6, [1, 2]), (5, 5, 6, [5])],
)  # fmt: skip
def test_ticks_are_round(low, high, about, ticks):
    assert _ticks(low, high, about, 1.0 if low == 1 else 0.0) == pytest.approx(ticks)


def test_values_that_are_not_finite_never_reach_plotext():
    values = [1.0, math.nan, 2.0, math.inf, -math.inf, 1.5] * 5
    run = run_of([train(10 * at, value, 300, grad_norm=value) for at, value in enumerate(values, 1)])
    report = build(run, START + 1, Words("en"))
    assert {found.code for found in report.charts} == {"loss", "grad_norm"}
    for found in report.charts:
        assert "•" in draw(found)
        assert "nan" in {mark.kind for mark in found.marks}
