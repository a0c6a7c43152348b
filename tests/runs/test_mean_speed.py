"""The speed of a whole run, as people work it out: steps and tokens by the time that it took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lora_tui
from lora_tui.runs.run import Run
from lora_tui.runs.status import mean_speed, progress_of


def of(run: Run) -> tuple[float | None, float | None]:
    return mean_speed(run, progress_of(run, run.last_row_time or 0.0))


def test_it_is_what_was_done_by_the_time_it_took(all_runs: Path) -> None:
    counted = 0
    for run in lora_tui.load_all(all_runs):
        log = all_runs / run.name / "trainer_log.jsonl"
        if not log.exists() or len(run.timeline.segments) != 1:
            continue
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        tokens = [row["total_tokens"] for row in rows if "total_tokens" in row]
        hours, minutes, seconds = map(int, rows[-1]["elapsed_time"].split(":"))
        took = hours * 3600 + minutes * 60 + seconds
        steps_per_s, tokens_per_s = of(run)
        # The file's time is cut to whole seconds.
        assert steps_per_s == pytest.approx(rows[-1]["current_steps"] / took, rel=1.5 / took)
        assert tokens_per_s == (pytest.approx(tokens[-1] / took, rel=1.5 / took) if tokens else None)
        counted += bool(tokens)
    assert counted >= 2


def test_a_resumed_run_has_none(all_runs: Path) -> None:
    (run,) = [run for run in lora_tui.load_all(all_runs) if run.name == "lora/resumed"]
    assert of(run) == (None, None)
