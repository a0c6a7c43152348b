"""Rows of a log in columns, so that a million rows take tens of megabytes instead of a gigabyte.

A :class:`Block` is an immutable series of rows, so lists and threads can share it. :class:`Rows` is a growing sequence
of :class:`~lora_tui.records.documents.LogRow` that creates the records on demand.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import eq
from typing import TypeAlias, overload

from lora_tui.records.documents import NO_VALUES, LogRow, RowKind

BLOCK_ROWS = 512
"""Number of single rows that are packed into a block."""
MIN_BLOCK_ROWS = 64
"""Minimum number of rows in a shared block; fewer rows are added one by one, since small blocks save no memory."""
MIN_COLUMN_ROWS = 4
"""Minimum number of rows that are packed into columns; fewer take less memory as records."""
KINDS: Sequence[RowKind] = ("train", "eval", "mark", "progress")
"""Kinds of rows; the code of a kind in a block is its index here."""
_CODE: Mapping[RowKind, int] = {kind: code for code, kind in enumerate(KINDS)}
"""Code of each kind of rows: its index in KINDS."""
EXACT_LIMIT = 2**53
"""Limit below which whole numbers are exact as floats."""
MAX_SPARSITY = 8
"""Maximum number of cells in columns per value; rows with emptier columns are kept as records."""

Numbers: TypeAlias = "array[float]"
"""Column of floats, nan where a row has none."""
Whole: TypeAlias = "array[int]"
"""Column of whole numbers, -1 where a row has none."""


class Column:
    """The values of one metric in a block.

    ``present`` has a 1 for each row that has a value and a 0 for each that has none; it is None if all rows have one.
    """

    __slots__ = ("name", "present", "values")

    def __init__(self, name: str, values: Numbers, present: bytes | None = None) -> None:
        self.name, self.values, self.present = name, values, present


class Block:
    """Rows that all have a step, in columns of ``count`` values.

    ``epochs``, ``clocks`` (elapsed seconds) and ``times`` (Unix seconds) are None where no row has one; a row without
    one has nan there, and -1 in ``totals``.
    """

    __slots__ = ("clocks", "columns", "count", "epochs", "kinds", "steps", "times", "totals")

    def __init__(
        self, kinds: RowKind | bytes, steps: Sequence[int], totals: int | Whole | None, epochs: Numbers | None,
        clocks: Numbers | Whole | None, times: Numbers | None, columns: Sequence[Column],
    ) -> None:  # fmt: skip
        self.count = len(steps)
        self.kinds = kinds
        """Kind of all rows, or the code of each row's kind (its index in KINDS)."""
        self.steps = as_range(steps)
        """Step of each row; a range where they are evenly spaced, as in most logs."""
        self.totals = totals
        """``total_steps`` of all rows, or of each row."""
        self.epochs, self.clocks, self.times = epochs, clocks, times
        self.columns = columns

    def kind(self, index: int) -> RowKind:
        """Return the kind of a row."""
        return self.kinds if isinstance(self.kinds, str) else KINDS[self.kinds[index]]

    def total(self, index: int) -> int | None:
        """Return ``total_steps`` of a row."""
        totals = self.totals
        total = totals if totals is None or isinstance(totals, int) else totals[index]
        return None if total == -1 else total

    def first_other(self, kind: RowKind, begin: int, end: int) -> int:
        """Return the index of the first row in [begin, end) that is not of ``kind``, ``end`` if there is none."""
        if isinstance(self.kinds, str):
            return end if self.kinds == kind else begin
        rest = self.kinds[begin:end]
        return begin + len(rest) - len(rest.lstrip(bytes([_CODE[kind]])))

    def mask(self, kind: RowKind) -> bytes:
        """Return a byte for each row: 1 if it is of ``kind``, else 0."""
        if isinstance(self.kinds, str):
            return (b"\1" if self.kinds == kind else b"\0") * self.count
        code = _CODE[kind]
        return bytes(one == code for one in self.kinds)

    def row(self, index: int) -> LogRow:
        """Return the record of a row."""
        values = {c.name: c.values[index] for c in self.columns if c.present is None or c.present[index]}
        return LogRow(
            self.kind(index), self.steps[index], values or NO_VALUES, self.total(index),
            _number_at(self.epochs, index), _number_at(self.clocks, index), _number_at(self.times, index),
        )  # fmt: skip

    def part(self, begin: int, end: int) -> Block:
        """Return a block of the rows in [begin, end)."""
        cut = slice(begin, end)
        return Block(
            self.kinds if isinstance(self.kinds, str) else self.kinds[cut],
            self.steps[cut],
            self.totals if self.totals is None or isinstance(self.totals, int) else self.totals[cut],
            self.epochs[cut] if self.epochs is not None else None,
            self.clocks[cut] if self.clocks is not None else None,
            self.times[cut] if self.times is not None else None,
            [Column(c.name, c.values[cut], c.present[cut] if c.present is not None else None) for c in self.columns],
        )

    @classmethod
    def of(cls, rows: Sequence[LogRow]) -> Block | None:
        """Return a block of ``rows``, None where they do not fit into columns (no step, an epoch that is nan)."""
        steps = [row.step for row in rows]
        if not all(step is not None and 0 <= step < EXACT_LIMIT for step in steps):
            return None
        names = {name for row in rows for name in row.values}
        if not is_dense(len(names), len(rows), sum(len(row.values) for row in rows)):
            return None
        optional: list[Numbers | None] = []
        for part in ([row.epoch for row in rows], [row.elapsed_s for row in rows], [row.time for row in rows]):
            if any(value is not None and value != value for value in part):
                return None
            known = any(value is not None for value in part)
            optional.append(array("d", [math.nan if v is None else v for v in part]) if known else None)
        totals = [-1 if row.total_steps is None else row.total_steps for row in rows]
        if not all(-1 <= total < EXACT_LIMIT for total in totals):
            return None
        same = totals.count(totals[0]) == len(totals)
        epochs, clocks, times = optional
        return cls(
            _kinds([row.kind for row in rows]),
            array("q", [step for step in steps if step is not None]),
            (None if totals[0] == -1 else totals[0]) if same else array("q", totals),
            epochs, clocks, times, _columns([row.values for row in rows]),
        )  # fmt: skip


def is_dense(names: int, rows: int, values: int) -> bool:
    """Return whether columns save memory for ``rows`` rows with ``names`` metrics and ``values`` values in total.

    Columns of rows that keep adding metrics would take memory in proportion to the square of their number.
    """
    return names * rows <= MAX_SPARSITY * values or names < MAX_SPARSITY


def as_range(steps: Sequence[int]) -> Sequence[int]:
    """Return the same steps, as a range if they are evenly spaced."""
    if isinstance(steps, array) and len(steps) > 1 and steps[1] > steps[0]:
        plain = range(steps[0], steps[-1] + 1, steps[1] - steps[0])
        if len(plain) == len(steps) and all(map(eq, plain, steps)):
            return plain
    return steps


def _number_at(numbers: Numbers | Whole | None, index: int) -> float | None:
    """Return one number of a column, None if it is nan or there is no column."""
    if numbers is None:
        return None
    value = numbers[index]
    return float(value) if value == value else None


def _kinds(kinds: Sequence[RowKind]) -> RowKind | bytes:
    """Return the kind of all rows if they have one, else the code of each row's kind."""
    return kinds[0] if kinds.count(kinds[0]) == len(kinds) else bytes(_CODE[kind] for kind in kinds)


def _columns(rows: Sequence[Mapping[str, float]]) -> list[Column]:
    """Return the values of rows as columns, one for each metric."""
    names = dict.fromkeys(name for values in rows for name in values)
    out = []
    for name in names:
        present = bytes(name in values for values in rows)
        values = array("d", [row.get(name, math.nan) for row in rows])
        out.append(Column(name, values, None if all(present) else present))
    return out


Part: TypeAlias = "Block | tuple[LogRow, ...]"
"""Consecutive rows in columns, or as records where columns would not save memory."""


class Rows(Sequence[LogRow]):
    """Mutable sequence of records that stores them in columns; it equals any sequence of equal records."""

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __init__(self, rows: Iterable[LogRow] = ()) -> None:
        self._parts: list[Part] = []
        self._starts: list[int] = []
        """Index of the first row of each part."""
        self._tail: list[LogRow] = []
        """The last rows, which are not in a part yet."""
        self._base = 0
        """Index of the first row of the tail."""
        self.extend(rows)

    def __len__(self) -> int:
        return self._base + len(self._tail)

    @overload
    def __getitem__(self, index: int) -> LogRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[LogRow]: ...

    def __getitem__(self, index: int | slice) -> LogRow | list[LogRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if at >= self._base:
            return self._tail[at - self._base]
        if at < 0:
            raise IndexError("row index out of range")
        place = bisect_right(self._starts, at) - 1
        part = self._parts[place]
        return part.row(at - self._starts[place]) if isinstance(part, Block) else part[at - self._starts[place]]

    def __iter__(self) -> Iterator[LogRow]:
        for part in self._parts:
            yield from map(part.row, range(part.count)) if isinstance(part, Block) else part
        yield from self._tail

    def __reversed__(self) -> Iterator[LogRow]:
        yield from reversed(self._tail)
        for part in reversed(self._parts):
            yield from map(part.row, reversed(range(part.count))) if isinstance(part, Block) else reversed(part)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"Rows({list(self)!r})"

    def kind(self, index: int) -> RowKind:
        """Return the kind of a row without making its record."""
        if index >= self._base:
            return self._tail[index - self._base].kind
        place = bisect_right(self._starts, index) - 1
        part = self._parts[place]
        at = index - self._starts[place]
        return part.kind(at) if isinstance(part, Block) else part[at].kind

    def first_other(self, kind: RowKind, begin: int, end: int) -> int:
        """Return the index of the first row in [begin, end) that is not of ``kind``, ``end`` if there is none."""
        while begin < min(end, self._base):
            place = bisect_right(self._starts, begin) - 1
            part, start = self._parts[place], self._starts[place]
            stop = min(end - start, len(part) if isinstance(part, tuple) else part.count)
            if isinstance(part, Block):
                found = part.first_other(kind, begin - start, stop)
            else:
                found = next((at for at in range(begin - start, stop) if part[at].kind != kind), stop)
            if found < stop:
                return start + found
            begin = start + stop
        rest = self._tail[begin - self._base : end - self._base] if begin < end else []
        return next((at for at, row in enumerate(rest, begin) if row.kind != kind), end)

    def parts(self) -> Iterator[Part]:
        """Yield all rows in their order, in blocks, or in tuples of records where they are not in columns."""
        yield from self._parts
        if self._tail:
            yield tuple(self._tail)

    def append(self, row: LogRow) -> None:
        """Append one row."""
        self._tail.append(row)
        if len(self._tail) >= BLOCK_ROWS:
            self._pack()

    def add(self, block: Block) -> None:
        """Append the rows of a block, which is shared unless it has only a few."""
        if block.count < MIN_BLOCK_ROWS:
            for index in range(block.count):
                self.append(block.row(index))
            return
        self._pack()
        self._append_part(block, block.count)

    def extend(self, rows: Iterable[LogRow]) -> None:
        """Append rows; the blocks of other Rows are shared."""
        if isinstance(rows, Rows):
            for part in rows.parts():
                if isinstance(part, Block):
                    self.add(part)
                else:
                    self.extend(part)
            return
        for row in rows:
            self.append(row)

    def cut(self, count: int) -> None:
        """Keep the first ``count`` rows."""
        while self._parts and self._starts[-1] >= count:
            self._base = self._starts.pop()
            self._parts.pop()
            self._tail.clear()
        if self._parts and count < self._base:
            part, keep = self._parts.pop(), count - self._starts[-1]
            self._parts.append(part.part(0, keep) if isinstance(part, Block) else part[:keep])
            self._base = count
            self._tail.clear()
        del self._tail[count - self._base :]

    def times(self) -> list[float | None]:
        """Return ``time`` of every row, Unix seconds or None."""
        out: list[float | None] = []
        for part in self.parts():
            if not isinstance(part, Block):
                out += [row.time for row in part]
            elif part.times is None:
                out += [None] * part.count
            else:
                out += [None if time != time else time for time in part.times]
        return out

    def _pack(self) -> None:
        """Move the rows of the tail into a part of their own."""
        if self._tail:
            rows, self._tail = self._tail, []
            self._append_part((Block.of(rows) if len(rows) >= MIN_COLUMN_ROWS else None) or tuple(rows), len(rows))

    def _append_part(self, part: Part, count: int) -> None:
        """Append a part of ``count`` rows while the tail is empty."""
        self._parts.append(part)
        self._starts.append(self._base)
        self._base += count
