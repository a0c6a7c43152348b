"""Line charts as inline SVG: thinning loses no spike, gaps and outliers are marked, the values are in the page."""

from __future__ import annotations

import html
import json
import math
import re

import pytest

from lora_tui.report.render.html_page import esc, page, table, tag
from lora_tui.report.render.svg import Curve, Mark, figure, thin
from tests.support.call_count import calls_of

NAN = math.nan


def curves_of(markup: str) -> dict[str, list[list[float]]]:
    match = re.search(r'data-curves="([^"]*)"', markup)
    assert match is not None
    return {curve["name"]: curve["points"] for curve in json.loads(html.unescape(match[1]))["curves"]}


def places(markup: str) -> list[float]:
    """Return every y of every path of a curve."""
    paths = re.findall(r'<path class="s\d[^"]*"[^>]* d="([^"]*)"', markup)
    return [float(y) for path in paths for _, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def test_a_spike_is_never_thinned_away():
    values = [1.0 + 0.001 * (at % 7) for at in range(100_000)]
    values[54_321] = 9.0
    points = thin(range(100_000), values)
    assert (54_321, 9.0) in points
    assert points[0][0] == 0
    assert points[-1][0] == 99_999
    assert len(points) <= 802
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_values_that_are_not_finite_are_gaps_with_a_mark():
    markup = figure("Loss", [Curve("loss", [1, 2, 3, 4, 5], [2.0, 1.5, NAN, 1.2, 1.0])], "step")
    assert markup.count('class="nan"') == 1
    assert "loss: NaN (3)" in markup
    (path,) = re.findall(r'<path class="s1"[^>]* d="([^"]*)"', markup)
    assert path.count("M") == 2
    assert curves_of(markup)["loss"] == [[1, 2.0], [2, 1.5], [4, 1.2], [5, 1.0]]


def test_an_outlier_does_not_flatten_the_rest():
    values = [1 + 0.1 * math.sin(at / 9) for at in range(300)]
    values[150] = 500.0
    markup = figure("Loss", [Curve("loss", range(300), values)], "step")
    heights = [y for y in places(markup) if y > 20]
    assert max(heights) - min(heights) > 100
    assert "loss: 500 (150)" in markup
    assert markup.count('class="beyond"') == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1], [NAN]), ([1, 2], [math.inf, -math.inf])],
)
def test_no_finite_value_gives_no_chart(x, y):
    assert figure("t", [Curve("loss", x, y)], "step") == ""


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([5], [2.5]), ([1, 2, 3], [0.0, 0.0, 0.0]), ([1, 2], [1e-300, 2e-300]), ([1, 2, 3], [1e14, -1e14, 0]),
        ([0, 1e9], [5, 5.0000001]), ([1, 2, 3], [1e300, 1.0, 2.0]), ([7, 7, 7], [1, 2, 3]),
    ],
)  # fmt: skip
def test_any_numbers_give_finite_coordinates(x, y):
    markup = figure("Loss", [Curve("loss", x, y)], "step")
    assert "nan" not in re.sub(r"<title>.*?</title>|class=\"nan\"", "", markup)
    assert "inf" not in markup.replace("<title>loss: inf", "")
    assert all(0 <= place <= 300 for place in places(markup))


def test_curves_differ_by_more_than_colour():
    curves = [Curve(f"run {at}", [1, 2], [at, at + 1], at + 1, tag=chr(65 + at)) for at in range(10)]
    markup = figure("t", curves, "step")
    assert re.findall(r'class="end f\d"[^>]*>([A-Z])<', markup)
    assert sorted(re.findall(r'class="end f\d"[^>]*>([A-Z])<', markup)) == list("ABCDEFGHIJ")
    assert markup.count("stroke-dasharray") == 4
    assert "A · run 0" in markup


def test_marks_lie_inside_and_do_not_cover_each_other():
    marks = [Mark(10, "epoch 1"), Mark(10.5, "saved"), Mark(500, "outside")]
    markup = figure("Loss", [Curve("loss", [1, 100], [1, 2])], "step", marks=marks)
    assert markup.count('class="at"') == 2
    assert markup.count(">epoch 1</text>") == 1
    assert ">saved</text>" not in markup
    assert "<title>saved</title>" in markup


def test_the_axis_can_reach_beyond_the_data():
    match = re.search(r'data-curves="([^"]*)"', figure("Loss", [Curve("loss", [1, 50], [1, 2])], "step", x_max=100))
    assert match is not None
    data = json.loads(html.unescape(match[1]))
    assert (data["from"], data["to"]) == (0, 100)


def test_markup_does_not_grow_with_the_rows():
    """100,000 rows give no more markup than 10,000 rows, and cost at most ten times the calls."""

    def drawn(rows):
        steps = [float(at) for at in range(rows)]
        values = [2 + math.sin(at * at) for at in range(rows)]
        return figure("loss", [Curve("raw", steps, values, 1, "raw"), Curve("loss", steps, values, 1)], "step")

    few, many = [], []
    assert calls_of(lambda: many.append(drawn(100_000))) < 10 * calls_of(lambda: few.append(drawn(10_000)))
    assert len(many[0]) < 1.1 * len(few[0]) < 120_000


def test_names_are_no_markup():
    markup = figure("<b>", [Curve('"><script>', [1, 2], [1, 2], tag="<")], "</svg>", marks=[Mark(1.5, "<i>")])
    assert "<script" not in markup
    assert markup.count("</svg>") == 2
    assert "<i>" not in markup
    assert "<b>" not in markup


def test_the_content_security_policy():
    import base64
    import hashlib

    made = page("t", [tag("p", esc("x"))], "zh", "end")
    script = made.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in made
    assert "default-src 'none'" in made
    assert '<html lang="zh-CN">' in made


def test_tables_align_their_numbers():
    made = table([esc("a"), esc("b")], [[esc("<x>"), esc("1")]], {1})
    assert '<th class="n">b</th>' in made
    assert "<td>&lt;x&gt;</td>" in made
    assert '<td class="n">1</td>' in made
