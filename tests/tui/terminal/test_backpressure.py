"""The account of what is on its way to a terminal."""

from __future__ import annotations

from lora_tui.tui.terminal.backpressure import (
    ASK_EVERY,
    FAST_S,
    LATE_S,
    LOST_S,
    MAX_UNANSWERED,
    SLOW_S,
    SLOWEST_LINE,
    Backpressure,
)


def out(pressure: Backpressure, count: int, now: float) -> bool:
    """A frame that the kernel takes at once; whether the terminal is asked."""
    asks = pressure.frame_queued(count, now)
    pressure.frame_written(count, asks, now)
    return asks


def test_what_the_writer_still_has_is_waited_for() -> None:
    pressure = Backpressure()
    asks = pressure.frame_queued(100, 0.0)
    assert not asks
    assert pressure.behind(0.0)
    pressure.frame_written(100, asks, 5.0)
    assert not pressure.behind(5.0)


def test_a_question_follows_after_a_while_and_one_at_a_time() -> None:
    pressure = Backpressure()
    assert not out(pressure, ASK_EVERY - 1, 0.0)
    assert out(pressure, 1, 0.0)
    assert not out(pressure, 10 * ASK_EVERY, 0.0), "the answer is not there yet"
    pressure.answered(0.1)
    assert out(pressure, 1, 0.2), "what went meanwhile was not asked for"


def test_a_terminal_that_never_answered_is_not_waited_for() -> None:
    pressure = Backpressure()
    assert out(pressure, 50 * MAX_UNANSWERED, 0.0)
    assert not pressure.behind(0.0)
    assert not pressure.behind(1.0)
    assert not pressure.answer_due


def test_an_answer_is_waited_for_when_much_is_on_its_way_or_it_takes_long() -> None:
    pressure = Backpressure()
    pressure.answers_expected()
    assert out(pressure, ASK_EVERY, 0.0)
    assert pressure.answer_due
    assert not pressure.behind(LATE_S)
    assert pressure.behind(LATE_S + 0.01)
    pressure.answered(1.0)
    assert not pressure.behind(1.0)
    assert out(pressure, MAX_UNANSWERED + 1, 2.0)
    assert pressure.behind(2.0)
    pressure.answered(2.01)
    assert not pressure.behind(2.01)


def test_a_lost_answer_is_not_waited_for_for_ever_and_not_again_until_one_is_heard() -> None:
    pressure = Backpressure()
    pressure.answers_expected()
    out(pressure, ASK_EVERY, 0.0)
    patience = LOST_S + ASK_EVERY / SLOWEST_LINE
    assert pressure.behind(patience)
    assert not pressure.behind(patience + 0.01)
    assert out(pressure, 2 * MAX_UNANSWERED, 10.0), "asked again"
    assert not pressure.behind(11.0)
    pressure.answered(11.0)
    out(pressure, MAX_UNANSWERED + 1, 12.0)
    assert pressure.behind(12.0)


def test_an_answer_may_be_there_before_the_writer_says_that_it_asked() -> None:
    pressure = Backpressure()
    pressure.answers_expected()
    asks = pressure.frame_queued(ASK_EVERY, 0.0)
    pressure.answered(0.001)
    pressure.frame_written(ASK_EVERY, asks, 0.002)
    assert not pressure.answer_due
    assert not pressure.behind(1.0)


def test_a_frame_that_is_cut_asks_nothing() -> None:
    pressure = Backpressure()
    pressure.answers_expected()
    asks = pressure.frame_queued(ASK_EVERY, 0.0)
    assert asks
    pressure.frame_cut(ASK_EVERY, asks)
    assert not pressure.answer_due
    assert not pressure.behind(9.0)


def test_a_line_is_slow_by_its_answers_until_they_are_fast() -> None:
    pressure = Backpressure()
    pressure.answers_expected()
    for took, slow in ((SLOW_S - 0.1, False), (SLOW_S + 0.1, True), (FAST_S + 0.1, True), (FAST_S - 0.1, False)):
        out(pressure, ASK_EVERY, 0.0)
        pressure.answered(took)
        assert pressure.slow is slow, took
