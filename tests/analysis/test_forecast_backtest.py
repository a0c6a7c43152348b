"""A small part of the backtest; ``python -m tools.judge.backtest`` runs all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tools.judge.backtest import (
    FIXED_SEEDS,
    GOALS_FROM,
    MAX_WIDTH,
    MIN_HELD,
    ForecastCase,
    main,
    middle,
    real,
    simulated,
    unsteady,
)
from tools.judge.recorded_run import Replay
from tools.judge.simulator import simulate


@pytest.fixture(scope="module")
def cases() -> list[ForecastCase]:
    return [case for case in simulated(range(FIXED_SEEDS, FIXED_SEEDS + 24)) if case.share >= GOALS_FROM]


@pytest.mark.parametrize("kind", ["time", "loss"])
def test_the_intervals_hold_the_truth_and_are_narrow(cases: list[ForecastCase], kind: str) -> None:
    given = [case for case in cases if case.kind == kind and case.interval is not None]
    assert len(given) > 50
    assert sum(case.held for case in given) / len(given) >= MIN_HELD
    assert middle([case.width for case in given]) <= MAX_WIDTH


@pytest.mark.parametrize("kind", ["time", "loss"])
def test_it_is_better_than_the_naive_forecast(cases: list[ForecastCase], kind: str) -> None:
    given = [case for case in cases if case.kind == kind and case.interval is not None]
    assert middle([case.error for case in given]) < 0.8 * middle([case.naive_error for case in given])


def test_there_is_a_time_left_everywhere_and_a_loss_or_a_reason(cases: list[ForecastCase]) -> None:
    assert all(case.interval is not None for case in cases if case.kind == "time")
    losses = [case for case in cases if case.kind == "loss"]
    assert all((case.interval is None) == bool(case.reason) for case in losses)
    assert sum(case.interval is not None for case in losses) > 0.5 * len(losses)


def test_the_real_runs_hold(all_runs: Path) -> None:
    given = [case for case in real(all_runs) if case.interval is not None and case.share >= GOALS_FROM]
    assert len({case.name for case in given}) >= 8
    for kind in ("time", "loss"):
        held = [case.held for case in given if case.kind == kind]
        assert sum(held) / len(held) >= MIN_HELD


def test_an_unsteady_run_is_the_same_but_for_its_clock() -> None:
    recorded = simulate(FIXED_SEEDS + 1, resume_at=None)
    other = unsteady(recorded, random.Random(3))
    assert [row._replace(elapsed_s=None) for row, _ in other.rows] == [
        row._replace(elapsed_s=None) for row, _ in recorded.rows
    ]
    times = [time for _, time in other.rows]
    assert times == sorted(times)
    assert times != [time for _, time in recorded.rows]
    run, _ = Replay(other, cold=True).advance(len(other.rows))
    assert run.progress(other.end_time + 5).step == recorded.total_steps


def test_the_options_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--simulated" in capsys.readouterr().out
