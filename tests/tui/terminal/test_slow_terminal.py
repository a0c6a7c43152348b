"""What waits while a terminal is behind, and in which portions it is painted."""

from __future__ import annotations

from textual.geometry import Region

from lora_tui.tui.terminal.slow_terminal import MAX_POSTPONED, PORTION, PendingCells

SCREEN = Region(0, 0, 200, 50)


def line(y: int, width: int, x: int = 0) -> Region:
    return Region(x, y, width, 1)


def test_a_fast_terminal_waits_only_while_it_is_behind() -> None:
    pending = PendingCells()
    frame = [line(y, 200) for y in range(50)]
    assert not pending.must_wait(frame, slow=False, behind=False)
    assert pending.must_wait(frame, slow=False, behind=True)


def test_over_a_slow_line_a_long_frame_waits_but_not_for_ever() -> None:
    pending = PendingCells()
    assert not pending.must_wait([line(0, PORTION), line(1, PORTION)], slow=True, behind=False)
    long = [line(0, PORTION), line(1, PORTION + 1)]
    waits = [pending.must_wait(long, slow=True, behind=False) for _ in range(MAX_POSTPONED + 2)]
    assert waits == [True] * MAX_POSTPONED + [False, True]


def test_a_slow_line_gets_short_stretches_first_a_portion_at_a_time() -> None:
    pending = PendingCells()
    curves, number = [line(y, 190) for y in range(10, 15)], line(3, 8)
    pending.add([*curves, number], now=0.0)
    first = pending.take(SCREEN, slow=True, now=1.0)
    assert first[0] == number
    assert sum(stretch.width for stretch in first) <= PORTION
    painted = list(first)
    while pending:
        portion = pending.take(SCREEN, slow=True, now=2.0)
        assert portion
        painted += portion
    assert sorted(painted) == sorted([*curves, number])


def test_a_stretch_longer_than_a_portion_is_painted_by_itself() -> None:
    pending = PendingCells()
    pending.add([line(0, 2 * PORTION)], now=0.0)
    assert pending.take(Region(0, 0, 3 * PORTION, 2), slow=True, now=0.0) == [line(0, 2 * PORTION)]
    assert not pending


def test_a_terminal_that_is_not_slow_gets_all_at_once_as_it_is_now() -> None:
    pending = PendingCells()
    for _ in range(3):  # the same cells changed three times
        pending.add([line(y, 200) for y in range(50)], now=0.0)
    smaller = Region(0, 0, 80, 24)
    portion = pending.take(smaller, slow=False, now=0.0)
    assert sorted(portion) == [line(y, 80) for y in range(24)]
    assert not pending


def test_the_backlog_is_the_time_until_nothing_waits() -> None:
    pending = PendingCells()
    assert pending.backlog_s(now=5.0) == 0.0
    pending.add([line(0, 10)], now=10.0)
    assert pending.backlog_s(now=12.5) == 2.5
    pending.take(SCREEN, slow=True, now=13.0)
    assert pending.backlog_s(now=99.0) == 3.0
