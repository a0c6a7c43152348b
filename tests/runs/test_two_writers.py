"""Two processes that write into one log, as opposed to one that was resumed."""

from __future__ import annotations

from lora_tui.records.documents import LogRow
from lora_tui.runs.timeline import Writers, timeline_of


def rows(*pairs: tuple[int, float | None]) -> list[LogRow]:
    return [LogRow("train", step, {"loss": 1.0}, 100, 0.1, elapsed) for step, elapsed in pairs]


def of(*pairs: tuple[int, float | None]) -> Writers | None:
    return timeline_of([(row, None) for row in rows(*pairs)]).writers


def test_one_writer_is_not_tracked() -> None:
    assert of((1, 1.0), (2, 2.0), (3, 3.0)) is None


def test_a_resume_never_goes_back() -> None:
    found = of((1, 10.0), (2, 20.0), (3, 30.0), (2, 5.0), (3, 10.0), (4, 15.0), (5, 40.0), (6, 60.0))
    assert found is not None
    assert (found.started, found.returns) == (2, 0)


def test_two_in_turns() -> None:
    found = of((10, 100.0), (11, 110.0), (1, 10.0), (12, 120.0), (2, 20.0), (13, 130.0), (3, 30.0))
    assert found is not None
    assert (found.started, found.returns, found.first) == (2, 4, 12)


def test_rows_without_a_clock() -> None:
    found = of((1, None), (1, None), (2, None), (2, None), (3, None), (3, None))
    assert found is not None
    assert found.returns >= 2


def test_an_evaluation_belongs_to_no_process() -> None:
    log = rows((1, 1.0), (2, 2.0))
    log.insert(1, LogRow("eval", 1, {"eval_loss": 1.0}, 100, 0.1, 1.0))
    assert timeline_of([(row, None) for row in log]).writers is None
