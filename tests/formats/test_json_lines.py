from __future__ import annotations

import math

import pytest

from lora_tui.formats.json_lines import LineSplitter, Problems, as_count, as_number, load_json, load_json_object
from lora_tui.records.documents import FormatError, Problem, TornError


def test_splits_numbers_and_keeps_the_unfinished_line() -> None:
    splitter = LineSplitter(Problems())
    assert splitter.feed(b"one\ntw") == [(1, b"one")]
    assert splitter.pending == b"tw"
    assert splitter.feed(b"") == []
    assert splitter.feed(b"o\r\n\nfour") == [(2, b"two\r"), (3, b"")]
    assert (splitter.pending, splitter.next_line) == (b"four", 4)
    assert splitter.feed(b"\n") == [(4, b"four")]
    assert splitter.pending == b""


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_chunk_boundaries_do_not_matter(size: int) -> None:
    data = "α\nbb\n\n世界 ccc\r\nlast".encode()
    splitter = LineSplitter(Problems())
    lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert lines == [(n, text) for n, text in enumerate(data.split(b"\n")[:-1], 1)]
    assert splitter.pending == b"last"


@pytest.mark.parametrize("size", [1, 7, 10, 11, 1000])
def test_a_line_over_the_limit_is_dropped_and_told_once(size: int) -> None:
    problems = Problems()
    splitter = LineSplitter(problems, limit=10)
    data = b"short\n" + b"x" * 10 + b"\n" + b"y" * 11 + b"\n" + b"z" * 95 + b"\nend\n"
    lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert lines == [(1, b"short"), (2, b"x" * 10), (5, b"end")]
    assert [problem.line for problem in problems.take()] == [3, 4]


def test_ten_megabytes_in_one_line_are_not_held() -> None:
    problems = Problems()
    splitter = LineSplitter(problems)
    for _ in range(160):
        assert splitter.feed(b"x" * 65536) == []
        assert len(splitter.pending) <= 4 * 1024 * 1024
    assert splitter.pending == b""
    assert splitter.feed(b"\nnext\n") == [(2, b"next")]
    assert problems.take() == [Problem(1, "line longer than 4096 KiB")]


def test_problems_are_bounded_and_counted() -> None:
    problems = Problems()
    assert problems.take() == []
    for line in range(1, 51):
        problems.add(line, "bad")
    taken = problems.take()
    assert len(taken) == 21
    assert taken[19] == Problem(20, "bad")
    assert taken[20] == Problem(0, "30 more")
    assert problems.take() == []
    problems.add(7, "again")
    assert problems.take() == [Problem(7, "again")]


def test_numbers() -> None:
    assert as_number("0.25") == 0.25
    assert as_number(3) == 3.0
    assert math.isnan(as_number("nan") or 0)
    assert as_number(10**400) == math.inf
    assert as_number(-(10**400)) == -math.inf
    no_numbers: tuple[object, ...] = (True, None, [], {}, "", "x", "1_000")
    for other in no_numbers:
        assert as_number(other) is None
    assert [as_count(value) for value in (0, 7, 5.0, "5", " 5 ")] == [0, 7, 5, 5, 5]
    no_counts: tuple[object, ...] = (-1, 5.5, "x", math.nan, math.inf, True, None, 2**53, 10**400, "1e400")
    for other in no_counts:
        assert as_count(other) is None


def test_integers_of_any_length_are_read() -> None:
    assert load_json('{"a": ' + "9" * 5000 + "}") == {"a": math.inf}
    assert load_json("-" + "9" * 5000) == -math.inf


@pytest.mark.parametrize(
    "text", ["", " \n", "\0\0\0", '{"a": 1', '{"a": [{}', '{"a": tru', '{"a": "}', '{"a": "\\u12', "{"]
)
def test_half_written_objects_are_torn(text: str) -> None:
    with pytest.raises(TornError):
        load_json_object(text.encode())


@pytest.mark.parametrize(
    "text", ["[]", "7", "nonsense", '{"a": 1}}', '{"a": 1} {', '{"a" 1}', "[" * 100_000, '{"a":' * 100_000]
)
def test_damaged_objects_are_not_read(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        load_json_object(text.encode())
    assert "\n" not in str(caught.value)
