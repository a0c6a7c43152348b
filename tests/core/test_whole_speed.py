"""The speed of a whole run, as people work it out: steps and tokens by the time that it took."""

from __future__ import annotations

from pathlib import Path

import pytest

import lora_tui
from lora_tui.status import progress_of, whole_speed


def of(all_runs: Path, name: str) -> tuple[float | None, float | None]:
    (run,) = [run for run in lora_tui.load_all(all_runs) if run.name == name]
    return whole_speed(run, progress_of(run, run.last_row_time or 0.0))


def test_evaluations_and_saves_count(all_runs: Path) -> None:
    (run,) = [run for run in lora_tui.load_all(all_runs) if run.name == "lora/reward"]
    steps, tokens = of(all_runs, "lora/reward")
    recent = progress_of(run, run.last_row_time or 0.0).steps_per_s
    summary = run.timeline.rows[-1]
    assert steps == pytest.approx((summary.step or 0) / (run.timeline.elapsed_s() or 1))
    assert recent is not None
    assert steps is not None
    assert steps < recent
    assert tokens == pytest.approx(run.series["total_tokens"].tail(1)[0] / (run.timeline.elapsed_s() or 1))


def test_a_resumed_run_has_none(all_runs: Path) -> None:
    assert of(all_runs, "lora/resumed") == (None, None)
