"""Rows in columns are the rows that were added, whatever they hold and however many are read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.records.documents import LogRow
from lora_tui.records.rows import BLOCK_ROWS, MIN_BLOCK_ROWS, Block, Rows

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
CLOCKS = st.one_of(st.none(), st.floats(0, 1e9))
ROWS = st.builds(
    LogRow,
    st.sampled_from(["train", "eval", "mark", "progress"]),
    st.one_of(st.none(), st.integers(0, 2**53 - 1)),
    st.dictionaries(st.sampled_from(["loss", "lr", "eval_loss", "a", "b"]), NUMBERS, max_size=5),
    st.one_of(st.none(), st.integers(1, 2**53 - 1)),
    st.one_of(st.none(), NUMBERS),
    CLOCKS,
    CLOCKS,
)


def as_text(rows: object) -> str:
    return repr([row._replace(values=dict(sorted(row.values.items()))) for row in rows])  # type: ignore[attr-defined]


@settings(max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=6), st.integers(1, 3 * BLOCK_ROWS), st.data())
def test_rows_come_back_unchanged(some: list[LogRow], count: int, data: st.DataObject) -> None:
    many = (some * (count // len(some) + 1))[:count]
    rows = Rows(many)
    assert len(rows) == count
    assert as_text(rows) == as_text(many)
    assert as_text(reversed(rows)) == as_text(reversed(many))
    at = data.draw(st.integers(-count, count - 1))
    assert as_text([rows[at]]) == as_text([many[at]])
    assert rows.kind(at % count) == many[at].kind
    end = data.draw(st.integers(at % count, count))
    others = [place for place in range(at % count, end) if many[place].kind != "train"]
    assert rows.first_other("train", at % count, end) == (others or [end])[0]
    assert as_text(rows[at:]) == as_text(many[at:])
    assert [time is None for time in rows.times()] == [row.time is None for row in many]
    rows.cut(at % count)
    assert as_text(rows) == as_text(many[: at % count])
    rows.extend(Rows(many[at % count :]))
    assert as_text(rows) == as_text(many)


def test_few_rows_make_no_block() -> None:
    block = Block.of([LogRow("train", step, {"loss": 1.0}) for step in range(MIN_BLOCK_ROWS - 1)])
    assert block is not None
    rows = Rows()
    rows.add(block)
    assert [type(part) for part in rows.parts()] == [tuple]
    assert as_text(rows) == as_text(map(block.row, range(block.count)))


@pytest.mark.parametrize(
    "row",
    [LogRow("train", None), LogRow("train", 2**53), LogRow("train", 1, total_steps=2**53),
     LogRow("train", 1, epoch=math.nan), LogRow("train", 1, time=math.nan)],
)  # fmt: skip
def test_what_columns_cannot_hold_stays_a_record(row: LogRow) -> None:
    assert Block.of([LogRow("train", 1), row]) is None
    assert as_text(Rows([row] * 2 * BLOCK_ROWS)) == as_text([row] * 2 * BLOCK_ROWS)


def test_rows_behave_as_other_sequences() -> None:
    rows = Rows([LogRow("train", 1)])
    assert rows == [LogRow("train", 1)]
    assert rows != [LogRow("train", 2)]
    assert rows != []
    assert rows != 5
    assert repr(rows) == f"Rows({[LogRow('train', 1)]!r})"
    for outside in (1, -2):
        with pytest.raises(IndexError):
            rows[outside]
    rows.cut(0)
    assert rows == []
