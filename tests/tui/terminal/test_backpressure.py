"""The account of what is on its way to a terminal."""

from __future__ import annotations

from lora_tui.tui.terminal.backpressure import (
    ASK_EVERY,
    FAST_S,
    LOST_S,
    PATIENCE_S,
    SLOW_S,
    SLOWEST,
    WINDOW,
    Backpressure,
)


def out(flow: Backpressure, count: int, now: float) -> bool:
    """A frame that the kernel takes at once; whether the terminal is asked."""
    asks = flow.give(count, now)
    flow.out(count, asks, now)
    return asks


def test_what_the_writer_still_has_is_waited_for() -> None:
    flow = Backpressure()
    asks = flow.give(100, 0.0)
    assert not asks
    assert flow.behind(0.0)
    flow.out(100, asks, 5.0)
    assert not flow.behind(5.0)


def test_a_question_follows_after_a_while_and_one_at_a_time() -> None:
    flow = Backpressure()
    assert not out(flow, ASK_EVERY - 1, 0.0)
    assert out(flow, 1, 0.0)
    assert not out(flow, 10 * ASK_EVERY, 0.0), "the answer is not there yet"
    flow.answer(0.1)
    assert out(flow, 1, 0.2), "what went meanwhile was not asked for"


def test_a_terminal_that_never_answered_is_not_waited_for() -> None:
    flow = Backpressure()
    assert out(flow, 50 * WINDOW, 0.0)
    assert not flow.behind(0.0)
    assert not flow.behind(1.0)
    assert not flow.asking


def test_an_answer_is_waited_for_when_much_is_on_its_way_or_it_takes_long() -> None:
    flow = Backpressure()
    flow.talks()
    assert out(flow, ASK_EVERY, 0.0)
    assert flow.asking
    assert not flow.behind(PATIENCE_S)
    assert flow.behind(PATIENCE_S + 0.01)
    flow.answer(1.0)
    assert not flow.behind(1.0)
    assert out(flow, WINDOW + 1, 2.0)
    assert flow.behind(2.0)
    flow.answer(2.01)
    assert not flow.behind(2.01)


def test_a_lost_answer_is_not_waited_for_for_ever_and_not_again_until_one_is_heard() -> None:
    flow = Backpressure()
    flow.talks()
    out(flow, ASK_EVERY, 0.0)
    patience = LOST_S + ASK_EVERY / SLOWEST
    assert flow.behind(patience)
    assert not flow.behind(patience + 0.01)
    assert out(flow, 2 * WINDOW, 10.0), "asked again"
    assert not flow.behind(11.0)
    flow.answer(11.0)
    out(flow, WINDOW + 1, 12.0)
    assert flow.behind(12.0)


def test_an_answer_may_be_there_before_the_writer_says_that_it_asked() -> None:
    flow = Backpressure()
    flow.talks()
    asks = flow.give(ASK_EVERY, 0.0)
    flow.answer(0.001)
    flow.out(ASK_EVERY, asks, 0.002)
    assert not flow.asking
    assert not flow.behind(1.0)


def test_a_frame_that_is_cut_asks_nothing() -> None:
    flow = Backpressure()
    flow.talks()
    asks = flow.give(ASK_EVERY, 0.0)
    assert asks
    flow.cut(ASK_EVERY, asks)
    assert not flow.asking
    assert not flow.behind(9.0)


def test_a_line_is_slow_by_its_answers_until_they_are_fast() -> None:
    flow = Backpressure()
    flow.talks()
    for took, slow in ((SLOW_S - 0.1, False), (SLOW_S + 0.1, True), (FAST_S + 0.1, True), (FAST_S - 0.1, False)):
        out(flow, ASK_EVERY, 0.0)
        flow.answer(took)
        assert flow.slow is slow, took
