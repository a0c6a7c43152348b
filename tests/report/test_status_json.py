"""The JSON of a snapshot: what is left out, how numbers and times are written, and which fields it has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from lora_tui.analysis import CheckpointChoice, Forecast, Interval, Judgement, judge
from lora_tui.i18n import Words
from lora_tui.report.status_json import iso_time, json_number, snapshot
from lora_tui.runs.run import Progress, Run
from tests.support.run_builder import START, run_of, train

EN = Words("en")
MOMENT = 1_750_000_000.0
"""2025-06-15T15:06:40Z."""


def data_of(run: Run, judgement: Judgement | None = None) -> dict[str, Any]:
    return snapshot(run, START + 60, EN, judgement or judge(run, START + 60)).to_json()


@pytest.fixture
def run() -> Run:
    return run_of([train(10 * at, 2.0 - at / 50, 200) for at in range(1, 11)])


@pytest.fixture
def progress_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[Progress], dict[str, Any]]:
    """Return ``progress_of(progress)``: the JSON of this progress."""

    def made(progress: Progress) -> dict[str, Any]:
        monkeypatch.setattr(Run, "progress", lambda *_: progress)
        found: dict[str, Any] = data_of(run, Judgement())["progress"]
        return found

    return made


@pytest.fixture
def judged(run: Run) -> Callable[..., dict[str, Any]]:
    """Return ``judged(forecast=…, choice=…)``: the JSON of the run with this judgement."""

    def made(**parts: Any) -> dict[str, Any]:
        return data_of(run, replace(Judgement(), **parts))

    return made


def test_progress_has_every_field_of_the_dataclass(progress_of: Callable[[Progress], dict[str, Any]]) -> None:
    values: dict[str, Any] = {field.name: 7 for field in fields(Progress)} | {"unit": "steps", "finish_at": MOMENT}
    made = progress_of(Progress(**values))
    assert list(made) == [field.name for field in fields(Progress)]
    assert made["finish_at"] == "2025-06-15T15:06:40Z"


def test_a_whole_number_in_a_float_field_is_written_as_a_float(
    progress_of: Callable[[Progress], dict[str, Any]],
) -> None:
    made = progress_of(Progress(step=5, elapsed_s=60, epoch=1))
    assert json.dumps(made) == '{"step": 5, "epoch": 1.0, "elapsed_s": 60.0, "segments": 1, "unit": "steps"}'


def test_what_is_not_finite_is_left_out_of_progress(progress_of: Callable[[Progress], dict[str, Any]]) -> None:
    assert progress_of(Progress(fraction=math.nan, remaining_s=math.inf, finish_at=1e300)) == {
        "segments": 1, "unit": "steps",
    }  # fmt: skip


def test_an_empty_forecast_and_choice_are_absent(judged: Callable[..., dict[str, Any]]) -> None:
    assert not {"forecast", "checkpoint_choice"} & judged().keys()


def test_a_forecast(judged: Callable[..., dict[str, Any]]) -> None:
    interval = Interval(1, 2, 3)
    times = Interval(MOMENT, MOMENT + 1, 1e300)
    assert judged(forecast=Forecast(interval, times, Interval(1.0, math.nan, 2.0), "short"))["forecast"] == {
        "remaining_s": {"low": 1.0, "mid": 2.0, "high": 3.0},
        "finish_at": {"low": "2025-06-15T15:06:40Z", "mid": "2025-06-15T15:06:41Z"},
        "reason": "short",
    }


def test_a_checkpoint_choice_without_a_metric_and_without_saves(judged: Callable[..., dict[str, Any]]) -> None:
    choice = CheckpointChoice(take_path="checkpoint-5", take_step=5, free_bytes=9, needed_bytes=1, model_bytes=1)
    assert judged(choice=choice)["checkpoint_choice"] == {"take_step": 5, "take_path": "checkpoint-5"}


def test_a_full_checkpoint_choice(judged: Callable[..., dict[str, Any]]) -> None:
    choice = CheckpointChoice(
        metric="eval_loss", best_gone=True, take_estimated=True, take_path="a\udcff", cost=math.inf, limit=2,
        limit_seen=True, copy="cp a b", next_save=10, free_bytes=9, needed_bytes=1, model_bytes=1,
    )  # fmt: skip
    assert judged(choice=choice)["checkpoint_choice"] == {
        "metric": "eval_loss", "higher": False, "best_gone": True, "take_path": "a?", "take_estimated": True,
        "limit": 2, "copy_command": "cp a b", "next_save": 10, "free_bytes": 9, "needed_bytes": 1, "model_bytes": 1,
    }  # fmt: skip


def test_numbers_and_times_that_strict_json_has_not() -> None:
    assert [json_number(value) for value in (1.5, math.nan, math.inf, -math.inf)] == [
        1.5, "NaN", "Infinity", "-Infinity",
    ]  # fmt: skip
    assert [iso_time(value) for value in (None, math.nan, 1e300, MOMENT)] == [None, None, None, "2025-06-15T15:06:40Z"]


def test_a_judgement_is_made_where_none_is_given(run: Run) -> None:
    assert data_of(run) == data_of(run, judge(run, START + 60))
