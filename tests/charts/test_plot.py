from __future__ import annotations

import math
import random
import re
import subprocess
import sys

import pytest

from lora_tui.charts import plot as chart
from lora_tui.charts.plot import (
    ASCII,
    UNICODE,
    Curve,
    Frame,
    Glyphs,
    Mark,
    View,
    decimate,
    draw,
    draw_spark,
    limits,
)
from lora_tui.text.cells import cell_width

NAN, INF = math.nan, math.inf
UNIT = View(0, 100, 0, 1)

LOOK = [
    "1.00┤⠑⠤⡀     ╎                      ┊        ",
    "    │  ⠈⠒⢄   ╎                      ┊        ",
    "    │     ⠉⠢⣀╎                      ┊        ",
    "0.50┤        ⠑⠤⣀         ◆          ┊        ",
    "    │        ╎  ⠉⠒⠢⢄⣀               ┊        ",
    "    │        ╎       ⠉⠒⠢⢄⣀⡀         ┊        ",
    "    │        ╎            ⠈⠉⠉⠒⠒⠤⠤⢄⣀⣀┊        ",
    "0.00┤        »                      ⠉⠉⠑⠒⠒⠤⠤⢄⣀",
    "    └0──────20───×──40─────60───┴──80─────100",
]


def line(ys, xs=None, role="smooth"):
    return Curve(role, role, list(range(len(ys))) if xs is None else xs, ys)


def points(ys, xs=None, role="eval"):
    return Curve(role, role, list(range(len(ys))) if xs is None else xs, ys, "points")


def cells(frame):
    """Return the frame as rows of ``(char, role)``, one for each cell of a chart without wide characters."""
    return [[(char, role) for text, role in row for char in text] for row in frame.rows]


def at(frame: Frame, x: float) -> int:
    column = frame.column(x)
    assert column is not None
    return column


def columns_with(frame, role):
    return {column for row in cells(frame) for column, (_, its) in enumerate(row) if its == role}


def rows_with(frame, role):
    return {index for index, row in enumerate(cells(frame)) if any(its == role for _, its in row)}


def assert_whole(frame, width, height):
    assert (frame.width, frame.height) == (width, height)
    assert [cell_width(row) for row in frame.to_plain()] == [width] * height


# --- the drawing -----------------------------------------------------------------------------------------------------


def test_a_chart_looks_like_this():
    frame = draw(
        [line([1, 0.5, 0.25, 0.125, 0], [0, 25, 50, 75, 100]), points([0.5], [50])],
        [Mark(80, "epoch"), Mark(30, "nan"), Mark(70, "checkpoint"), Mark(20, "resume")],
        UNIT,
        45,
        9,
    )
    assert frame.to_plain() == LOOK
    assert_whole(frame, 45, 9)


def test_ends_and_extremes_land_in_their_cells():
    rng = random.Random(5)
    for _ in range(300):
        n = rng.randrange(1, 60)
        ys = [rng.uniform(-5, 5) for _ in range(n)]
        width, height = rng.randrange(20, 90), rng.randrange(5, 30)
        glyphs = rng.choice([UNICODE, ASCII])
        frame = draw([line(ys)], [], View(0, max(n - 1, 1), min(ys), max(ys)), width, height, glyphs)
        assert_whole(frame, width, height)
        drawn = cells(frame)
        if min(ys) < max(ys):
            assert drawn[0][at(frame, ys.index(max(ys)))][1] == "smooth"
            assert drawn[frame.plot_height - 1][at(frame, ys.index(min(ys)))][1] == "smooth"
        assert any(drawn[row][at(frame, n - 1)][1] == "smooth" for row in range(frame.plot_height))
        assert at(frame, 0) == frame.plot_left
        assert n == 1 or at(frame, n - 1) == width - 1


def test_a_nan_leaves_a_gap():
    xs = [0, 10, 20, 30, 70, 80, 90, 100]
    whole = draw([line([0.5] * 8, xs)], [], UNIT, 60, 8)
    assert columns_with(whole, "smooth") == set(range(5, 60))
    for hole in (NAN, INF, -INF):
        ys = [0.5, 0.5, 0.5, 0.5, hole, 0.5, 0.5, 0.5]
        frame = draw([line(ys, xs)], [], UNIT, 60, 8)
        drawn = columns_with(frame, "smooth")
        assert at(frame, 30) in drawn
        assert at(frame, 80) in drawn
        assert not drawn & set(range(at(frame, 30) + 1, at(frame, 80)))


def test_nan_alone_has_no_numbers_beside_it():
    frame = draw([line([NAN, INF, NAN], [0, 50, 100])], [Mark(50, "nan")], UNIT, 60, 8)
    assert not any(character.isdigit() for row in frame.to_plain()[:-1] for character in row)
    assert "×" in frame.to_plain()[-2] + frame.to_plain()[-1]


def test_a_point_between_two_gaps_is_seen():
    frame = draw([line([NAN, 0.5, NAN], [0, 50, 100])], [], UNIT, 60, 8)
    assert columns_with(frame, "smooth") == {at(frame, 50)}


def test_raw_lies_under_smooth_and_points_lie_on_top():
    smooth, raw = line([0.5, 0.5], [0, 100]), line([0.5, 0.5], [0, 100], "raw")
    for order in ([raw, smooth], [smooth, raw]):
        frame = draw([points([0.5], [50]), *order], [], UNIT, 60, 8)
        assert columns_with(frame, "raw") == set()
        assert columns_with(frame, "eval") == {at(frame, 50)}
        assert columns_with(frame, "smooth") == set(range(5, 60)) - {at(frame, 50)}


def test_what_is_out_of_the_view_shows_as_an_arrow():
    frame = draw([line([9, 0.5, 0.5, -9], [10, 11, 49, 50]), points([7], [90])], [], UNIT, 60, 8)
    drawn = cells(frame)
    assert drawn[0][at(frame, 10)] == ("▲", "clip")
    assert drawn[0][at(frame, 90)] == ("▲", "clip")
    assert drawn[6][at(frame, 50)] == ("▼", "clip")
    assert sum(role == "clip" for row in drawn for _, role in row) == 3
    assert columns_with(frame, "eval") == set()


def test_points_on_the_limits_are_not_out_of_the_view():
    frame = draw([points([1, 0], [20, 80]), line([1.0, 0.0], [30, 70])], [], UNIT, 60, 8)
    assert rows_with(frame, "clip") == set()
    assert rows_with(frame, "eval") == {0, 6}


def test_epochs_and_resumes_pass_through_empty_cells_only():
    frame = draw([line([0.5, 0.5], [0, 100])], [Mark(45, "epoch"), Mark(65, "resume")], UNIT, 60, 9)
    drawn = cells(frame)
    for x, kind, char in ((45, "epoch", "┊"), (65, "resume", "╎")):
        column = [row[at(frame, x)] for row in drawn[:8]]
        assert column.count((char, kind)) == 7
        assert [role for _, role in column].count("smooth") == 1
    assert columns_with(frame, "smooth") == set(range(5, 60))
    assert draw([], [Mark(-1, "epoch"), Mark(101, "epoch"), Mark(NAN, "epoch")], UNIT, 60, 9) == draw(
        [], [], UNIT, 60, 9
    )


def test_marks_are_on_the_axis_but_not_over_its_numbers():
    marks = [Mark(x / 2, kind) for x in range(201) for kind in ("checkpoint", "nan")]
    bare = draw([], [], UNIT, 60, 9).to_plain()
    frame = draw([], marks, UNIT, 60, 9)
    assert [c for c in frame.to_plain()[8] if c.isdigit()] == [c for c in bare[8] if c.isdigit()]
    drawn = cells(frame)
    for column in range(5, 60):
        stands_on_number = drawn[8][column][1] == "label"
        assert drawn[7 if stands_on_number else 8][column] == ("×", "nan")
    assert "┴" in draw([], [Mark(33, "checkpoint")], UNIT, 60, 9).to_plain()[8]
    assert "»" in draw([], [Mark(33, "resume")], UNIT, 60, 9).to_plain()[8]


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_glyph_is_one_cell_wide(glyphs):
    text = "".join(value for value in vars(glyphs).values())
    assert all(cell_width(char) == 1 for char in text)
    assert len(glyphs.axis) == 4


def test_ascii_glyphs_emit_ascii_only():
    marks = [Mark(10, "epoch"), Mark(20, "nan"), Mark(30, "resume"), Mark(40, "checkpoint")]
    rng = random.Random(1)
    curves = [
        line([rng.random() * 3 - 1 for _ in range(101)], role="raw"),
        line([rng.random() for _ in range(101)]),
        points([0.1, 0.9], [20, 90]),
    ]
    plain = draw(curves, marks, UNIT, 70, 15, ASCII).to_plain()
    assert "".join(plain).isascii()
    assert {"o", "|", "x", ">", "^", "v", "#", ":"} <= set("".join(plain))
    assert draw_spark([1, 2, NAN, 3], 4, ASCII).isascii()


def test_a_mark_of_two_cells_does_not_break_the_row():
    curve = Curve("e", "eval", [50], [0.5], "points", mark="点")
    assert_whole(draw([curve], [], UNIT, 40, 8), 40, 8)


def test_x_label_at_the_right_end():
    frame = draw([], [], View(0, 70, 0, 1, x_label="步数"), 50, 8)
    assert frame.to_plain()[-1].endswith("─ 步数")
    assert_whole(frame, 50, 8)
    crowded = draw([], [], View(0, 60, 0, 1, x_label="a label that is far too long"), 20, 8)
    assert_whole(crowded, 20, 8)


# --- robustness ------------------------------------------------------------------------------------------------------

ODD = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e300,
    -1e300,
    1.7e308,
    -1.7e308,
    5e-324,
    1e-300,
    1e15,
    1e15 + 1,
    2e-4,
    3.3,
    NAN,
    INF,
    -INF,
]


def test_nothing_makes_it_fail():
    rng = random.Random(13)
    for _ in range(1500):
        n = rng.choice([0, 1, 2, 3, 30])
        xs = sorted(rng.choice([rng.uniform(0, 100), rng.choice([0, 1, 1e300, 50])]) for _ in range(n))
        curves = [
            Curve("c", rng.choice(["raw", "smooth", "lr", "grad"]), xs, [rng.choice(ODD) for _ in range(n)], style)
            for style in ("line", "points")
        ]
        log_y = rng.random() < 0.4
        found = limits(curves, log_y=log_y, full=rng.random() < 0.3)
        assert math.isfinite(found.y_min)
        assert math.isfinite(found.y_max)
        assert found.y_min < found.y_max
        assert not log_y or found.y_min > 0
        low, high = rng.choice([(found.y_min, found.y_max), (rng.choice(ODD), rng.choice(ODD))])
        view = View(rng.choice(ODD), rng.choice(ODD), low, high, log_y, "步", rng.choice(["number", "duration"]))
        width, height = rng.randrange(-1, 60), rng.randrange(-1, 14)
        marks = [Mark(rng.choice(ODD), rng.choice(["epoch", "resume", "nan", "checkpoint"])) for _ in range(4)]
        frame = draw(curves, marks, view, width, height, rng.choice([UNICODE, ASCII]))
        assert_whole(frame, max(width, 0), max(height, 0))
        for x in ODD:
            column = frame.column(x)
            assert column is None or frame.plot_left <= column < frame.width
        decimate(xs, curves[0].ys, view.x_min, view.x_max, rng.randrange(-1, 30))


def test_log_scale():
    curve = line([1000.0, 10.0, 0.1, 0.0, -5.0, 0.1], [0, 20, 40, 60, 80, 100])
    view = View(0, 100, 0.1, 1000, log_y=True)
    frame = draw([curve], [], view, 60, 14)
    drawn = cells(frame)
    assert drawn[0][at(frame, 0)][1] == "smooth"
    assert drawn[6][at(frame, 20)][1] == "smooth"
    assert drawn[12][at(frame, 40)][1] == "smooth"
    assert not columns_with(frame, "smooth") & set(range(at(frame, 40) + 1, at(frame, 100)))
    labels = [row[:4].strip() for row in frame.to_plain()[:13]]
    assert [label for label in labels if label] == ["1000", "100", "10", "1", "0.1"]


def test_without_room_the_rows_are_blank():
    assert draw([line([1, 2])], [], UNIT, 6, 8).to_plain() == [" " * 6] * 8
    assert draw([line([1, 2])], [], UNIT, 0, 2).to_plain() == ["", ""]
    assert draw([line([1, 2])], [], UNIT, 40, 0).to_plain() == []
    low = draw([line([0.1, 0.9], [0, 100])], [], UNIT, 40, 3)
    assert low.plot_left == 0
    assert columns_with(low, "smooth") == set(range(40))


# --- axes ------------------------------------------------------------------------------------------------------------


def y_labels(low, high, height=17, log_y=False):
    frame = draw([], [], View(0, 1, low, high, log_y), 60, height)
    return [label for label in (row[: frame.plot_left - 1].strip() for row in frame.to_plain()[:-1]) if label]


def test_y_labels_are_round_and_short():
    assert y_labels(0.7, 1.5) == ["1.50", "1.30", "1.10", "0.90", "0.70"]
    assert y_labels(0.6, 1.3) == ["1.30", "1.20", "1.00", "0.80", "0.60"]
    assert y_labels(0, 2e-4, 9) == ["2e-4", "1e-4", "0"]
    assert y_labels(0, 6) == ["6", "4", "2", "0"]
    assert y_labels(0, 344_000)[0] in ("344k", "300k")
    assert y_labels(0.1, 1000, log_y=True) == ["1000", "100", "10", "1", "0.1"]
    rng = random.Random(17)
    for _ in range(500):
        low = rng.choice([0, rng.uniform(-1, 1) * 10 ** rng.randrange(-8, 12)])
        high = low + 10 ** rng.uniform(-3, 3) * max(abs(low), 1e-6)
        labels = y_labels(low, high, rng.randrange(5, 40))
        assert labels
        assert len(set(labels)) == len(labels)
        assert all(len(label) <= 9 and label.isascii() for label in labels)


def test_a_label_stands_in_the_row_of_its_value():
    rng = random.Random(19)
    for _ in range(200):
        low = rng.uniform(-3, 3)
        high = low + rng.uniform(0.5, 9)
        height = rng.randrange(6, 40)
        frame = draw([], [], View(0, 100, low, high), 60, height)
        for index, row in enumerate(frame.to_plain()[:-1]):
            label = row[: frame.plot_left - 1].strip()
            assert (row[frame.plot_left - 1] == "┤") == bool(label)
            if label:
                value = float(label)
                there = draw([points([min(max(value, low), high)], [50])], [], View(0, 100, low, high), 60, height)
                assert abs(min(rows_with(there, "eval")) - index) <= (0 if low <= value <= high else 1)


def test_x_numbers_stand_at_their_places():
    frame = draw([], [], View(0, 6250, 0, 1), 86, 8)
    axis = frame.to_plain()[-1]
    assert axis.startswith("    └0──")
    for number in ("1000", "2000", "3000", "4000", "5000", "6000"):
        assert abs(axis.index(number) + 2 - at(frame, float(number))) <= 1
    assert "30m" in draw([], [], View(0, 7000, 0, 1, x_kind="duration"), 86, 8).to_plain()[-1]
    assert "2d" in draw([], [], View(0, 9 * 86400, 0, 1, x_kind="duration"), 86, 8).to_plain()[-1]
    given = View(0, 100, 0, 1, x_ticks=[(50, "18:40"), (500, "no"), (75, "时")])
    assert "18:40" in draw([], [], given, 60, 8).to_plain()[-1]
    assert_whole(draw([], [], given, 60, 8), 60, 8)


def test_the_gutter_aligns_charts():
    assert draw([], [], View(0, 1, 0, 1, gutter=8), 60, 8).plot_left == 9
    assert draw([], [], View(0, 1, 0, 2e-4, gutter=0), 60, 8).plot_left == 5


def plotext_axes(columns, rows, y_ticks, x_ticks, gutter):
    """Return plotext's drawing of the empty chart: ``rows``, the x-axis, its numbers."""
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.theme("clear")
    plotext.plotsize(gutter + 1 + columns, rows + 2)
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    plotext.xlim(0, columns - 1)
    plotext.ylim(0, rows - 1)
    plotext.xticks([x for x, _ in x_ticks], [label for _, label in x_ticks])
    plotext.yticks([y for y, _ in y_ticks], [label.rjust(gutter) for _, label in y_ticks])
    plotext.scatter([0], [0], marker=" ")
    return plotext.uncolorize(plotext.build()).replace("┬", "─").split("\n")[: rows + 2]


def test_the_axes_are_those_of_plotext():
    rng = random.Random(23)
    for _ in range(60):
        view = View(0, 10 ** rng.uniform(0, 6), rng.uniform(-1, 0), rng.uniform(1, 500))
        width, height, gutter = rng.randrange(20, 200), rng.randrange(5, 50), 9
        plane = chart._Plane(view, width, height)
        y_ticks, x_ticks = tuple(plane.y_ticks()), tuple(chart._x_columns(view, plane))
        within = [(min(max(x, len(label) // 2), width - (len(label) + 1) // 2), label) for x, label in x_ticks]
        *theirs, line, numbers = plotext_axes(width, height, y_ticks, within, gutter)
        *ours, axis = chart._axes(width, height, y_ticks, x_ticks, gutter)
        assert ours == theirs
        assert re.sub(r"[^└─ ]", "─", axis) == line
        # plotext moves a number that is near the right end by a cell or two.
        found, placed = (list(re.finditer(r"[^└─ ]+", text)) for text in (axis, numbers))
        assert [one.group() for one in found] == [one.group() for one in placed]
        assert all(abs(one.start() - other.start()) <= 2 for one, other in zip(found, placed, strict=True))


def test_the_app_draws_without_plotext():
    code = "import sys\nfrom lora_tui.charts.plot import View, draw\ndraw([], [], View(0, 1, 0, 1), 40, 8)\n"
    code += "print('plotext' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("False\n", "")


# --- limits ----------------------------------------------------------------------------------------------------------


def fine_tuning(n=600, seed=1, noise=0.1):
    rng = random.Random(seed)
    return [3 * math.exp(-i / 12) + 0.9 - 0.2 * i / n + rng.gauss(0, noise) for i in range(n)]


def test_limits_leave_out_the_cliff_of_a_fine_tuning_run():
    ys = fine_tuning()
    found = limits([line(ys, role="raw")])
    assert found.y_max < 1.6
    assert found.y_min <= min(ys)
    assert 0 < found.above < 60
    assert found.above == sum(y > found.y_max for y in ys)
    assert found.below == 0
    whole = limits([line(ys, role="raw")], full=True)
    assert whole.y_min <= min(ys)
    assert whole.y_max >= max(ys)
    assert (whole.above, whole.below) == (0, 0)


def test_limits_are_robust_against_a_spike_and_keep_a_divergence():
    ys = fine_tuning()
    ys[400] = 1e9
    assert limits([line(ys)]).y_max < 2
    diverged = fine_tuning()[:500] + [8.0] * 60
    assert limits([line(diverged)]).y_max >= 8


def test_limits_keep_the_last_point_and_the_evals():
    ys = [*fine_tuning(), 1.9]
    assert limits([line(ys)]).y_max >= 1.9
    overfit = limits([line(fine_tuning()), points([1.0, 1.5, 3.0, 6.0], [100, 200, 400, 599])])
    assert overfit.y_max >= 6
    ruined = limits([line(fine_tuning()), points([1.0, 1.1, 1e12, 1.2], [100, 200, 400, 599])])
    assert ruined.y_max < 2


def test_limits_do_not_cut_where_it_would_save_little():
    ys = [1.4 - 0.4 * i / 40 for i in range(40)]
    assert limits([line(ys)])[2:] == (0, 0)


def test_limits_of_a_learning_rate_are_whole_and_from_zero():
    ys = [2e-4 * min(i / 10, 1) * (1 if i < 50 else 0.6) for i in range(100)]
    assert limits([line(ys, role="lr")]) == (0.0, 2e-4, 0, 0)
    assert limits([line([0.7, 0.8, 0.9], role="grad")]).y_min == 0.0


def test_limits_of_little_data():
    for nothing in ([], [line([])], [line([NAN, INF])]):
        assert limits(nothing) == (-0.5, 0.5, 0, 0)
        assert limits(nothing, log_y=True) == (0.1, 10.0, 0, 0)
    one = limits([line([1.5])])
    assert one.y_min < 1.5 < one.y_max
    assert one.y_max - one.y_min < 0.5
    flat = limits([line([2e-4] * 50)])
    assert 1.5e-4 < flat.y_min < 2e-4 < flat.y_max < 2.5e-4
    zero = limits([line([0.0] * 5)])
    assert zero.y_min < 0 < zero.y_max
    assert limits([line([0.0, -3.0])], log_y=True) == (0.1, 10.0, 0, 0)


def test_log_limits_are_round():
    found = limits([line([300.0, 30.0, 3.0, 0.7])], log_y=True, full=True)
    assert found == (0.5, 500.0, 0, 0)
    narrow = limits([line([1.0, 2.0, 3.0, 2.2])], log_y=True, full=True)
    assert 0 < narrow.y_min <= 1.0
    assert 3.0 <= narrow.y_max <= 4.0


def test_limits_seldom_move_while_a_run_grows():
    ys = fine_tuning(2000)
    seen = {tuple(limits([line(ys[:n], role="raw")])[:2]) for n in range(1000, 2000, 10)}
    assert len(seen) <= 8


# --- decimate --------------------------------------------------------------------------------------------------------


def test_decimate_keeps_what_is_seen():
    rng = random.Random(29)
    for _ in range(200):
        n = rng.randrange(0, 3000)
        xs = sorted(rng.uniform(0, 1000) for _ in range(n))
        ys = [rng.gauss(0, 1) for _ in range(n)]
        columns = rng.randrange(1, 120)
        some_x, some_y = decimate(xs, ys, 0, 1000, columns)
        assert len(some_x) == len(some_y) <= 4 * columns + 2
        assert some_x == sorted(some_x)
        assert set(zip(some_x, some_y, strict=True)) <= set(zip(xs, ys, strict=True))
        if not n:
            continue
        assert {min(ys), max(ys), ys[0], ys[-1]} <= set(some_y)


def test_a_decimated_curve_is_drawn_as_the_whole_one():
    rng = random.Random(31)
    for _ in range(20):
        n = 4000
        xs = [float(i) for i in range(n)]
        ys = [math.sin(i / 300) + rng.gauss(0, 0.2) for i in range(n)]
        view = View(0, n - 1, min(ys), max(ys))
        width = rng.randrange(30, 120)
        theirs = draw([line(ys, xs)], [], view, width, 20)
        ours = draw([line(*reversed(decimate(xs, ys, view.x_min, view.x_max, theirs.plot_width)))], [], view, width, 20)
        drawn, whole = cells(ours), cells(theirs)
        for column in range(theirs.plot_left, width):
            # The lowest and the highest cell of every column are those of all the points.
            for order in (range(19), range(18, -1, -1)):
                first = next(row for row in order if whole[row][column][1] == "smooth")
                assert drawn[first][column][1] == "smooth"


def test_decimate_keeps_gaps():
    xs = [float(i) for i in range(1000)]
    ys = [1.0] * 1000
    ys[500] = NAN
    ys[700:720] = [INF] * 20
    ys[999] = NAN
    some_x, some_y = decimate(xs, ys, 0, 999, 20)
    assert some_x == sorted(some_x)
    assert not any(math.isinf(y) for y in some_y)
    holes = [x for x, y in zip(some_x, some_y, strict=True) if math.isnan(y)]
    assert 500 in holes
    assert 999 in holes
    assert any(700 <= x < 720 for x in holes)
    assert len(some_x) < 120
    assert decimate(xs, [NAN] * 1000, 0, 999, 20)[0] != []
    assert all(math.isnan(y) for y in decimate(xs, [NAN] * 1000, 0, 999, 20)[1])


def test_decimate_keeps_the_neighbours_of_the_view():
    xs = [float(i) for i in range(100)]
    some_x, _ = decimate(xs, xs, 40.5, 59.5, 50)
    assert some_x == [float(i) for i in range(40, 61)]
    assert decimate(xs, xs, 40.2, 40.8, 50)[0] == [40.0, 41.0]
    frame = draw([line([0.2, 0.8], [-100, 200])], [], UNIT, 60, 10)
    assert columns_with(frame, "smooth") == set(range(5, 60))
    assert decimate([], [], 0, 1, 10) == ([], [])
    assert decimate(xs, xs, 0, 99, 0) == ([], [])


# --- frame -----------------------------------------------------------------------------------------------------------


def test_columns_and_back():
    frame = draw([], [], View(0, 1000, 0, 1), 80, 10)
    assert frame.column(0) == 5
    assert frame.column(1000) == 79
    assert frame.column(-1) is None
    assert frame.column(1001) is None
    assert frame.column(NAN) is None
    assert frame.x_at(4) is None
    assert frame.x_at(80) is None
    for column in range(5, 80):
        x = frame.x_at(column)
        assert x is not None
        assert frame.column(x) == column


def test_frames_that_look_the_same_are_equal():
    curves = [line([1, 0.5], [0, 100])]
    assert draw(curves, [], UNIT, 60, 9) == draw(curves, [], UNIT, 60, 9)
    assert draw(curves, [], UNIT, 60, 9) == draw([line([1, 0.5001], [0, 100])], [], UNIT, 60, 9)
    assert draw(curves, [], UNIT, 60, 9) != draw([line([1, 0.2], [0, 100])], [], UNIT, 60, 9)


# --- sparkline -------------------------------------------------------------------------------------------------------


def test_spark():
    assert draw_spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert draw_spark([0, NAN, 7], 5) == "  ▁ █"
    assert draw_spark([0, 0, 7, 7], 2) == "▁█"
    assert draw_spark([0, INF, 7, 7], 2) == "▁█"
    assert draw_spark([3, 3], 4) == "  ▄▄"
    assert draw_spark([], 3) == "   "
    assert draw_spark([NAN, INF], 3) == "   "
    assert draw_spark([1, 2], 0) == ""
    assert draw_spark([0, 7], 2, ASCII) == "_#"
    assert draw_spark([0, 1], 2, Glyphs(spark="ab")) == "ab"


def test_spark_is_always_as_wide_as_asked():
    rng = random.Random(37)
    for _ in range(500):
        values = [rng.choice(ODD) for _ in range(rng.randrange(40))]
        width = rng.randrange(20)
        assert cell_width(draw_spark(values, width)) == width
