"""Columns of steps that several metrics share, and moving averages of long ones."""

from __future__ import annotations

import json
import math
import random
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.records.extremes import BLOCK
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run
from lora_tui.runs.series import CHUNK, Series

NAMES = ("loss", "lr", "eval_loss")


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["append", "extend", "again", "look"])), max_size=60))
def test_series_with_shared_steps_equal_those_without(doings: list[tuple[int, str]]) -> None:
    steps = array("d")
    shared, apart = [Series(name, steps) for name in NAMES], [Series(name) for name in NAMES]
    step = 0
    for which, what in doings:
        # Sometimes all of them at one step, as in a row.
        step += which == 0
        for one in (shared[which], apart[which]):
            last = one.last_step
            first = step if last is None else max(step, int(last) + 1)
            if what == "append":
                one.append(float(first), first / 7)
            elif what == "extend":
                one.extend([float(first + n) for n in range(3)], [first / 7 + n for n in range(3)])
            elif what == "again" and last is not None:
                one.replace_last(-1.0)
            elif what == "look":
                assert len(one.steps) == len(one.values)
        assert [series.last_step for series in shared] == [series.last_step for series in apart]
    for one, other in zip(shared, apart, strict=True):
        assert (one.steps, one.values) == (other.steps, other.values)
        assert (one.min_step, one.max_step) == pytest.approx((other.min_step, other.max_step), nan_ok=True)


def run_of(lines: list[dict[str, object]]) -> Run:
    run = Run(Path("/runs/a"))
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    run.apply([FileRows("trainer_log.jsonl", "log", TrainerLogParser().feed(text), 1.0)])
    return run


def test_metrics_of_one_row_have_one_column_of_steps() -> None:
    lines: list[dict[str, object]] = []
    for n in range(1, 2001):
        lines.append({"current_steps": n, "total_steps": 2000, "loss": 2.0, "lr": 1e-4, "epoch": n / 100})
        if n % 500 == 0:
            lines.append({"current_steps": n, "total_steps": 2000, "eval_loss": 2.1, "epoch": n / 100})
    series = run_of(lines).series
    assert series["loss"].steps is series["lr"].steps is series["epoch"].steps
    assert list(series["loss"].steps) == list(range(1, 2001))
    assert list(series["eval_loss"].steps) == list(series["perplexity"].steps) == [500, 1000, 1500, 2000]


def test_a_metric_that_is_missing_now_and_then_keeps_its_own_steps() -> None:
    lines: list[dict[str, object]] = [
        {"current_steps": n, "total_steps": 900, "loss": 2.0, "epoch": 0.1, **({"grad_norm": 1.0} if n % 3 else {})}
        for n in range(1, 901)
    ]
    series = run_of(lines).series
    assert list(series["grad_norm"].steps) == [n for n in range(1, 901) if n % 3]
    assert list(series["loss"].steps) == list(range(1, 901))


@pytest.mark.parametrize("seed", range(6))
def test_a_long_moving_average_is_that_of_single_steps(seed: int) -> None:
    rng = random.Random(seed)
    bad = rng.choice([0.0, 0.0, 1e-3, 0.02])
    values = [math.nan if rng.random() < bad else rng.gauss(2, 1) for _ in range(6 * CHUNK + rng.randrange(CHUNK))]
    one, many = Series("loss"), Series("loss")
    for step, value in enumerate(values):
        one.append(float(step), value)
        _ = one.smooth
    cuts = [0, *sorted(rng.sample(range(len(values)), rng.choice([0, 1, 5]))), len(values)]
    for begin, end in pairwise(cuts):
        many.extend([float(step) for step in range(begin, end)], values[begin:end])
        _ = many.smooth
    for _ in range(2):
        assert repr(one.smooth) == repr(many.smooth)
        one.replace_last(3.0)
        many.replace_last(3.0)


@pytest.mark.parametrize("bad", [0.0, 0.01, 0.9])
def test_the_average_at_one_place_needs_no_column(bad: float) -> None:
    rng = random.Random(1)
    series, whole = Series("loss"), Series("loss")
    for step in range(5000):
        value = math.inf if rng.random() < bad else rng.gauss(2, 1)
        series.append(float(step), value)
        whole.append(float(step), value)
    for index in (0, 1, 17, 399, 400, 401, 2500, 4999):
        assert series.smooth_at(index) == pytest.approx(whole.smooth[index], rel=1e-14, nan_ok=True)
    assert series.smooth_at(4999) == pytest.approx(whole.smoothed, rel=1e-14)
    assert Series("loss").smooth_at(0) != Series("loss").smooth_at(0), "nan, as there is nothing"


@pytest.mark.parametrize("rows", [0, 1, BLOCK, BLOCK + 1, 50 * BLOCK + 7, 999 * BLOCK])
def test_means_of_stretches_cover_all_rows(rows: int) -> None:
    series = Series("loss")
    series.extend([float(n) for n in range(rows)], [float(n) for n in range(rows)])
    means = series.extremes.means(200)
    assert len(means) <= 201
    known = [mean for mean in means if not math.isnan(mean)]
    assert known == sorted(known)
    if rows:
        assert known[0] <= rows / 100 + BLOCK
        assert known[-1] >= rows - 1 - max(BLOCK, rows / 100)


def test_a_stretch_with_values_that_are_no_numbers_has_the_mean_of_the_others() -> None:
    series = Series("loss")
    for n in range(3 * BLOCK + 1):
        series.append(float(n), math.nan if n < BLOCK or n % 2 else 4.0)
    assert repr(series.extremes.means(200)) == repr([math.nan, 4.0, 4.0, 4.0])
    huge = Series("loss")
    huge.extend([float(n) for n in range(BLOCK + 1)], [1.7e308] * (BLOCK + 1))
    assert huge.extremes.means(10) == pytest.approx([1.7e308, 1.7e308])
