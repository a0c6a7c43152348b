"""The index of a column finds what a search of all values finds, however the column grew."""

from __future__ import annotations

import math
import random
from array import array

import pytest

from lora_tui.charts.plot import decimate
from lora_tui.records.extremes import BLOCK, LARGE_BLOCK, Extremes
from lora_tui.runs.series import Series


def by_search(values: list[float], begin: int, end: int) -> tuple[int, int] | None:
    part = values[begin:end]
    if not all(map(math.isfinite, part)):
        return None
    return begin + part.index(min(part)), begin + part.index(max(part))


@pytest.mark.parametrize("seed", range(8))
def test_it_finds_what_a_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    series = Series("loss")
    bad = rng.choice([0.0, 1e-4, 0.01])
    for _ in range(40):
        for _more in range(rng.choice([1, 10, 700, BLOCK * LARGE_BLOCK // 4])):
            value = rng.choice([math.nan, math.inf]) if rng.random() < bad else float(rng.randint(0, 50))
            series.append(float(len(series)), value)
        if rng.random() < 0.3:
            series.replace_last(rng.choice([-1.0, 99.0, math.nan]))
        values = list(series.values)
        for begin in (0, rng.randrange(len(values)), rng.randrange(len(values)) // BLOCK * BLOCK):
            end = rng.randint(begin + 1, len(values))
            assert series.extremes.of(begin, end) == by_search(values, begin, end)
        wrong = [at for at, value in enumerate(values) if not math.isfinite(value)]
        assert series.extremes.not_finite(5) == wrong[:5]
        assert series.smooth_extremes.of(0, len(values)) == by_search(list(series.smooth), 0, len(values))


def test_a_finite_column_whose_sum_overflows() -> None:
    values = array("d", [1.7e308, -1.7e308, 1.7e308, 1.7e308] * BLOCK)
    assert Extremes(values).of(0, len(values)) == (1, 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_chart_is_the_same_with_it(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.choice([300, 5_000, 60_000])
    xs = array("d", sorted(rng.choice([rng.uniform(0, 1000), float(rng.randint(0, 1000))]) for _ in range(n)))
    ys = array("d", [rng.gauss(2, 1) if rng.random() > 2e-4 else math.nan for _ in range(n)])
    ys[n // 3] = 500.0
    for low, high, columns in ((0, 1000, 190), (100.5, 600.0, 7), (0, 5000, 60)):
        one, other = decimate(xs, ys, low, high, columns), decimate(xs, ys, low, high, columns, Extremes(ys))
        assert repr(one) == repr(other)


def test_the_cost_of_a_question_does_not_grow_with_the_column() -> None:
    class Counting(array):  # type: ignore[type-arg]
        looks = 0

        def __getitem__(self, at):
            Counting.looks += len(range(*at.indices(len(self)))) if isinstance(at, slice) else 1
            return super().__getitem__(at)

    costs = []
    for n in (100_000, 1_600_000):
        values = Counting("d", [float(i % 977) for i in range(n)])
        extremes = Extremes(values)
        extremes.of(0, n)
        Counting.looks = 0
        xs = range(n)
        decimate(xs, values, 0, n - 1, 190, extremes)
        costs.append(Counting.looks)
    assert costs[1] < 3 * costs[0]
    assert costs[1] < 200_000
