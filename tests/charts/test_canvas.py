from __future__ import annotations

import random

import pytest

from lora_tui.charts.canvas import BRAILLE, BrailleCanvas, ascii_cells
from lora_tui.text.cells import cell_width

DOT_BITS = {
    (0, 0): 0x01,
    (0, 1): 0x02,
    (0, 2): 0x04,
    (1, 0): 0x08,
    (1, 1): 0x10,
    (1, 2): 0x20,
    (0, 3): 0x40,
    (1, 3): 0x80,
}


def dots(canvas):
    found = set()
    for row, cells in enumerate(canvas.rows()):
        for column, (char, layer) in enumerate(cells):
            assert (layer is None) == (char == " ")
            for (x, y), bit in DOT_BITS.items():
                if char != " " and ord(char) - 0x2800 & bit:
                    found.add((2 * column + x, 4 * row + y))
    return found


def test_every_dot_has_its_place():
    for x in range(6):
        for y in range(8):
            canvas = BrailleCanvas(3, 2)
            canvas.dot(x, y)
            assert dots(canvas) == {(x, y)}


def test_dots_outside_are_not_drawn():
    canvas = BrailleCanvas(2, 1)
    for x, y in ((-1, 0), (4, 0), (0, -1), (0, 4)):
        canvas.dot(x, y)
    canvas.line(-5, -5, -1, 9)
    canvas.line(0, 10, 3, 12)
    assert dots(canvas) == set()


def test_lines_without_slope():
    canvas = BrailleCanvas(3, 2)
    canvas.line(4, 3, 1, 3)
    assert dots(canvas) == {(1, 3), (2, 3), (3, 3), (4, 3)}
    canvas = BrailleCanvas(3, 2)
    canvas.line(2, 6, 2, 1)
    assert dots(canvas) == {(2, y) for y in range(1, 7)}
    canvas = BrailleCanvas(3, 2)
    canvas.line(2, 6, 2, 6)
    assert dots(canvas) == {(2, 6)}


def test_lines_are_whole_and_thin():
    rng = random.Random(3)
    for _ in range(2000):
        canvas = BrailleCanvas(20, 10)
        x0, x1 = rng.randrange(40), rng.randrange(40)
        y0, y1 = rng.randrange(40), rng.randrange(40)
        canvas.line(x0, y0, x1, y1)
        found = dots(canvas)
        assert {(x0, y0), (x1, y1)} <= found
        assert len(found) == max(abs(x1 - x0), abs(y1 - y0)) + 1
        length = max(abs(x1 - x0), abs(y1 - y0)) or 1
        for x, y in found:
            # No dot is further than half a dot from the true line, along the axis in which it is thin.
            off = abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
            assert off <= 0.5


def test_a_line_that_leaves_the_canvas_keeps_its_slope():
    inside, beyond = BrailleCanvas(10, 10), BrailleCanvas(10, 10)
    inside.line(0, 39, 10, 9)
    beyond.line(-10, 69, 30, -51)
    assert dots(inside) <= dots(beyond)
    assert max(x for x, y in dots(beyond) if y == 0) in (13, 14)


def test_far_away_ends_take_no_time():
    canvas = BrailleCanvas(10, 10)
    canvas.line(-(10**9), -(10**12), 10**9, 10**12)
    canvas.line(3, -(10**15), 3, 10**15)
    assert {(3, y) for y in range(40)} <= dots(canvas)


def test_the_higher_layer_is_seen_whatever_the_order():
    for order in ((0, 5), (5, 0)):
        canvas = BrailleCanvas(2, 1)
        for layer in order:
            canvas.line(0, layer % 4, 3 if layer else 1, layer % 4, layer)
        canvas.dot(0, 3, -1)
        assert canvas.rows() == [[("⠒", 5), ("⠒", 5)]]


def test_tables_by_layer():
    canvas = BrailleCanvas(2, 1)
    canvas.line(0, 0, 0, 3, 0)
    canvas.dot(2, 3, 1)
    assert canvas.rows({0: ascii_cells("#"), 1: ascii_cells("*")}) == [[("#", 0), (".", 1)]]
    assert canvas.rows({0: ascii_cells("#")}) == [[("#", 0), ("⡀", 1)]]


@pytest.mark.parametrize("table", [BRAILLE, ascii_cells("#")])
def test_tables_hold_256_characters_of_one_cell(table):
    assert len(table) == 256
    assert [cell_width(char) for char in table] == [1] * 256
    assert table[0] == " "
    assert " " not in table[1:]


def test_no_room():
    assert BrailleCanvas(0, 0).rows() == []
    assert BrailleCanvas(0, 2).rows() == [[], []]
    empty = BrailleCanvas(-3, 1)
    empty.line(0, 0, 5, 5)
    assert empty.rows() == [[]]
