"""A canvas of braille dots: 2 x 4 dots in every terminal cell, in layers.

Every dot column of a layer is one integer whose bits are the dots from the top down. A line is then a few bit masks,
whatever its height, and a cell is one look-up in a table of 256 characters.
"""

from __future__ import annotations

from collections.abc import Mapping

DOTS_X = 2
"""Number of dots side by side in a cell."""
DOTS_Y = 4
"""Number of dots one above the other in a cell."""


def _braille() -> str:
    """Return the 256 cells of :data:`BRAILLE`."""
    sides = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)
    left, right = ([sum(dot for bit, dot in enumerate(side) if n >> bit & 1) for n in range(16)] for side in sides)
    return " " + "".join(chr(0x2800 + left[n & 15] + right[n >> 4]) for n in range(1, 256))


def ascii_cells(mark: str) -> str:
    """Return 256 cells for terminals without braille.

    A cell is ``mark`` where most of its height is set, else one of ``' . :`` by the place of its dots.
    """
    cells = [" "]
    for bits in range(1, 256):
        rows = bits & 15 | bits >> 4
        high, low = bool(rows & 3), bool(rows & 12)
        cells.append(mark if bin(rows).count("1") > 2 else ":" if high and low else "'" if high else ".")
    return "".join(cells)


BRAILLE = _braille()
"""Characters by their dots: bits 0-3 of the index are the left dots from the top down, bits 4-7 the right ones."""

Cell = tuple[str, int | None]
"""Character and the layer that it shows, None where nothing is drawn."""
_EMPTY: Cell = (" ", None)


class BrailleCanvas:
    """A canvas of ``width_cells`` x ``height_cells``; x counts dots to the right, y counts dots **down**, from 0.

    Coordinates may lie outside: what is not on the canvas is not drawn. A layer is any integer. Where two layers meet
    in one cell only the higher one is visible, so that a bold line stays a line on top of a noisy one.
    """

    __slots__ = ("_layers", "height", "height_cells", "width", "width_cells")

    def __init__(self, width_cells: int, height_cells: int) -> None:
        self.width_cells = max(width_cells, 0)
        self.height_cells = max(height_cells, 0)
        self.width = self.width_cells * DOTS_X
        self.height = self.height_cells * DOTS_Y
        self._layers: dict[int, list[int]] = {}

    def _columns(self, layer: int) -> list[int]:
        """Return the dot columns of a layer, from left to right; creates the layer at its first use."""
        columns = self._layers.get(layer)
        if columns is None:
            columns = self._layers[layer] = [0] * self.width
        return columns

    def dot(self, x: int, y: int, layer: int = 0) -> None:
        """Set one dot."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self._columns(layer)[x] |= 1 << y

    def line(self, x0: int, y0: int, x1: int, y1: int, layer: int = 0) -> None:
        """Set the dots of a straight line, both ends included."""
        if x0 > x1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        first, last = max(x0, 0), min(x1, self.width - 1)
        if first > last:
            return
        columns = self._columns(layer)
        height = self.height
        dx, dy = x1 - x0, y1 - y0
        steps = -dy if dy < 0 else dy
        if steps <= dx:
            double, rise = 2 * dx or 1, 2 * dy
            for x in range(first, last + 1):
                y = y0 + (rise * (x - x0) + dx) // double
                if 0 <= y < height:
                    columns[x] |= 1 << y
            return
        double = 2 * dx or 1
        for x in range(first, last + 1):
            # The part of the line that is nearer to this dot column than to its neighbours.
            along = 2 * (x - x0)
            begin = -((1 - along) * steps // double) if x > x0 else 0
            end = -((-1 - along) * steps // double) - 1 if x < x1 else steps
            top, bottom = (y0 + begin, y0 + end) if dy > 0 else (y0 - end, y0 - begin)
            if top < 0:
                top = 0
            if bottom >= height:
                bottom = height - 1
            if top <= bottom:
                columns[x] |= ((2 << (bottom - top)) - 1) << top

    def rows(self, tables: Mapping[int, str] | None = None) -> list[list[Cell]]:
        """Return the cells, the top row first.

        ``tables`` gives layers other sets of 256 characters than :data:`BRAILLE`, indexed in the same way.
        """
        grid: list[list[Cell]] = [[_EMPTY] * self.width_cells for _ in range(self.height_cells)]
        for layer in sorted(self._layers):
            table = tables.get(layer, BRAILLE) if tables else BRAILLE
            cells: list[Cell] = [(char, layer) for char in table]
            columns = self._layers[layer]
            for column in range(self.width_cells):
                left, right = columns[2 * column], columns[2 * column + 1]
                row = 0
                while left or right:
                    bits = left & 15 | (right & 15) << 4
                    if bits:
                        grid[row][column] = cells[bits]
                    left >>= 4
                    right >>= 4
                    row += 1
        return grid
