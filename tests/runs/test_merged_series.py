"""One metric in several files: which file counts at a step, whether they are read at once or one by one."""

from __future__ import annotations

import math
from pathlib import Path

from lora_tui.records.documents import LogRow, TrainerState
from lora_tui.records.rows import BLOCK_ROWS, MIN_BLOCK_ROWS, Block, Rows
from lora_tui.records.updates import FileDoc, FileRows
from lora_tui.runs.merged_series import MAX_SERIES
from lora_tui.runs.run import Run
from tests.support.run_builder import START, train

LOG, EVENTS, CONSOLE = "trainer_log.jsonl", "runs/events.out.tfevents.1", "train.log"
KINDS = {LOG: "log", EVENTS: "events", CONSOLE: "console"}


def rows(file: str, *found: LogRow) -> FileRows:
    """Return the update as the readers report it: many rows at once in columns."""
    several = Rows()
    several.extend(found)
    return FileRows(file, KINDS[file], several if len(found) >= MIN_BLOCK_ROWS else found, START)  # type: ignore[arg-type]


def points(run: Run) -> dict[str, list[tuple[float, float]]]:
    return {
        name: list(zip(series.steps, series.values, strict=True))
        for name, series in run.series.items()
        if name != "epoch"
    }


def followed(*updates: FileRows | FileDoc) -> Run:
    """Return a run that got the updates one by one, after comparing it with one that got them at once."""
    live, cold = Run(Path("/runs/live")), Run(Path("/runs/cold"))
    for update in updates:
        live.apply([update])
    cold.apply(list(updates))
    assert points(live) == points(cold)
    return live


def test_rows_without_a_step_are_counted_as_they_come() -> None:
    loss = [LogRow("train", None, {"loss": 2.0 - 0.5 * at}) for at in range(3)]
    run = followed(*(rows(CONSOLE, row) for row in loss))
    assert points(run)["loss"] == [(1.0, 2.0), (2.0, 1.5), (3.0, 1.0)]
    assert run.counted_rows


def test_rows_without_a_step_are_ignored_beside_a_log() -> None:
    log = [train(step, 2.0 - step / 100, 100) for step in (10, 20, 30)]
    bare = [LogRow("train", None, {"loss": 9.0, "entropy": 0.5}) for _ in range(3)]
    run = followed(rows(LOG, log[0]), rows(CONSOLE, bare[0]), rows(LOG, *log[1:]), rows(CONSOLE, *bare[1:]))
    assert points(run) == {"loss": [(10.0, 1.9), (20.0, 1.8), (30.0, 1.7)]}


def test_a_more_precise_source_that_comes_later_changes_the_past() -> None:
    """The state of a checkpoint has every digit, event files have 32 bits."""
    rounded = [train(step, 1.2346, 100) for step in (10, 20, 30)]
    exact = TrainerState(global_step=20, max_steps=100, rows=(train(10, 1.23456789, 100), train(20, 1.23459999, 100)))
    run = followed(rows(EVENTS, *rounded), FileDoc("checkpoint-20/trainer_state.json", exact, START))
    assert points(run)["loss"] == [(10.0, 1.23456789), (20.0, 1.23459999), (30.0, 1.2346)]


def test_a_source_of_less_precision_fills_only_what_is_missing() -> None:
    log = [train(step, 1.23456789, 100) for step in (10, 20)]
    events = [train(step, 1.2346, 100, grad_norm=0.5) for step in (10, 20)]
    run = followed(rows(LOG, *log), *(rows(EVENTS, row) for row in events))
    assert points(run) == {"loss": [(10.0, 1.23456789), (20.0, 1.23456789)], "grad_norm": [(10.0, 0.5), (20.0, 0.5)]}


def test_the_number_of_metrics_of_all_files_together_is_bounded() -> None:
    log = [LogRow("train", at + 1, {f"m{at}": 1.0}) for at in range(MAX_SERIES)]
    beside = LogRow("train", MAX_SERIES, {"one more": 1.0})
    live = Run(Path("/runs/live"))
    for update in (rows(LOG, *log), rows(EVENTS, LogRow("train", 1, {"m0": 1.0})), rows(EVENTS, beside)):
        live.apply([update])
    assert len(live.series) == MAX_SERIES
    assert "one more" not in live.series


def test_a_block_of_rows_adds_no_metric_beyond_the_bound() -> None:
    log = [LogRow("train", at + 1, {f"m{at}": 1.0}) for at in range(MAX_SERIES)]
    count = BLOCK_ROWS + MIN_BLOCK_ROWS
    many = [LogRow("train", MAX_SERIES + at, {"m0": 2.0, "another": 1.0}) for at in range(1, count)]
    run = followed(rows(LOG, *log), rows(LOG, *many))
    assert "another" not in run.series
    assert (len(run.series), run.series["m0"].last, len(run.series["m0"])) == (MAX_SERIES, 2.0, count)


def test_event_files_are_more_precise_than_a_longer_console_log() -> None:
    console = [train(step, 1.235, 100) for step in (10, 20, 30)]
    events = [train(step, 1.2345678, 100) for step in (10, 20)]
    run = followed(rows(CONSOLE, *console), *(rows(EVENTS, row) for row in events))
    assert points(run)["loss"] == [(10.0, 1.2345678), (20.0, 1.2345678), (30.0, 1.235)]


def test_many_rows_at_once_behind_a_job_that_trained_nothing() -> None:
    """A prediction has written its batches into the log to which a training now appends."""
    batches = [LogRow("progress", at, {}, 3, elapsed_s=float(at)) for at in (1, 2, 3)]
    trained = [train(10 * at, 2.0 - at / 1000, 10_000, lr=1e-4) for at in range(1, BLOCK_ROWS + MIN_BLOCK_ROWS)]
    run = followed(rows(LOG, *batches), rows(LOG, *trained))
    assert [row.step for row in run.timeline.rows] == [row.step for row in trained]
    assert points(run)["loss"] == [(float(row.step or 0), row.values["loss"]) for row in trained]
    assert any(isinstance(part, Block) for part in run.timeline.rows.parts())


def test_a_block_without_epochs_or_metrics_of_other_rows() -> None:
    """A block of evaluations alone has no epochs of training rows."""
    first = [train(10, 2.0, 10_000)]
    count = BLOCK_ROWS + MIN_BLOCK_ROWS
    evals = [LogRow("eval", 10 * at, {"eval_loss": 1.5}, 10_000, 0.001 * at) for at in range(1, count)]
    run = followed(rows(LOG, *first), rows(LOG, *evals))
    assert list(run.series["epoch"].steps) == [10.0]
    assert len(run.series["eval_loss"]) == len(evals)
    bare = [LogRow("train", 10 * at, {"loss": 1.0}, 10_000) for at in range(1, BLOCK_ROWS + MIN_BLOCK_ROWS)]
    assert "epoch" not in followed(rows(LOG, *bare)).series


def test_the_steps_of_a_ppo_state_are_one_behind_those_of_its_log() -> None:
    """Its trainer writes the state before it counts the step."""
    log = [train(step, math.exp(-step / 10), 20, reward=step / 10) for step in range(1, 11)]
    state = tuple(
        LogRow("train", step - 1, {"loss": math.exp(-step / 10), "reward": step / 10, "objective/kl": float(step)})
        for step in range(1, 11)
    )
    run = followed(rows(LOG, *log), FileDoc("trainer_state.json", TrainerState(global_step=10, rows=state), START))
    assert points(run)["objective/kl"] == [(float(step), float(step)) for step in range(1, 11)]
    same = tuple(row._replace(step=(row.step or 0) + 1) for row in state)
    run = followed(rows(LOG, *log), FileDoc("trainer_state.json", TrainerState(global_step=10, rows=same), START))
    assert points(run)["objective/kl"] == [(float(step), float(step)) for step in range(1, 11)]
