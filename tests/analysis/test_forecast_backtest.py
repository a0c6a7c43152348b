"""A small part of the backtest; ``python -m tools.judge.backtest`` runs all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tools.judge.backtest import FIXED, FROM, HELD, WIDE, Shot, middle, real, simulated, unsteady
from tools.judge.life import Replay
from tools.judge.simulator import simulate


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shot for shot in simulated(range(FIXED, FIXED + 40)) if shot.share >= FROM]


@pytest.mark.parametrize("kind", ["time", "loss"])
def test_the_bands_hold_the_truth_and_are_narrow(shots: list[Shot], kind: str) -> None:
    given = [shot for shot in shots if shot.kind == kind and shot.band is not None]
    assert len(given) > 80
    assert sum(shot.held for shot in given) / len(given) >= HELD
    assert middle([shot.width for shot in given]) <= WIDE


@pytest.mark.parametrize("kind", ["time", "loss"])
def test_it_is_better_than_the_naive_forecast(shots: list[Shot], kind: str) -> None:
    given = [shot for shot in shots if shot.kind == kind and shot.band is not None]
    assert middle([shot.error for shot in given]) < 0.8 * middle([shot.naive_error for shot in given])


def test_there_is_a_time_left_everywhere_and_a_loss_or_a_reason(shots: list[Shot]) -> None:
    assert all(shot.band is not None for shot in shots if shot.kind == "time")
    losses = [shot for shot in shots if shot.kind == "loss"]
    assert all((shot.band is None) == bool(shot.reason) for shot in losses)
    assert sum(shot.band is not None for shot in losses) > 0.5 * len(losses)


def test_the_real_runs_hold(all_runs: Path) -> None:
    given = [shot for shot in real(all_runs) if shot.band is not None and shot.share >= FROM]
    assert len({shot.name for shot in given}) >= 8
    for kind in ("time", "loss"):
        held = [shot.held for shot in given if shot.kind == kind]
        assert sum(held) / len(held) >= HELD


def test_an_unsteady_life_is_the_same_but_for_its_clock() -> None:
    life = simulate(FIXED + 1, resume_at=None)
    other = unsteady(life, random.Random(3))
    assert [row._replace(elapsed_s=None) for row, _ in other.rows] == [
        row._replace(elapsed_s=None) for row, _ in life.rows
    ]
    times = [time for _, time in other.rows]
    assert times == sorted(times)
    assert times != [time for _, time in life.rows]
    run, _ = Replay(other, cold=True).advance(len(other.rows))
    assert run.progress(other.end_time + 5).step == life.total_steps
