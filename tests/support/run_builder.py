"""Build runs from numbers for tests, through the updates that the follower would report, without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lora_tui.records.documents import ConfigDoc, ConfigValue, ConsoleFacts, Failure, LogRow, Results
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, FileDoc, FileRows, Update
from lora_tui.runs.run import Run

START = 1_750_000_000.0
"""Unix time at which the last row of a run was written."""


def train(step: int, loss: float, total: int, *, epochs: float = 3.0, every_s: float = 1.0, **more: float) -> LogRow:
    """Return a training row; ``more``: other metrics, with ``__`` for a slash in a name."""
    values = {"loss": loss, **{name.replace("__", "/"): value for name, value in more.items()}}
    return LogRow("train", step, values, total, epochs * step / total, step * every_s)


def evaluation(step: int, loss: float, total: int, *, epochs: float = 3.0, every_s: float = 1.0) -> LogRow:
    """Return the row of an evaluation."""
    return LogRow("eval", step, {"eval_loss": loss}, total, epochs * step / total, step * every_s)


def summary(step: int, total: int, *, epochs: float = 3.0, every_s: float = 1.0) -> LogRow:
    """Return the row that a job writes at its end, without metrics."""
    return LogRow("mark", step, {}, total, epochs * step / total, step * every_s)


def run_of(
    rows: Sequence[LogRow],
    *,
    results: Mapping[str, Mapping[str, float]] | None = None,
    config: Mapping[str, ConfigValue] | None = None,
    checkpoints: Sequence[int] = (),
    failure: Failure | None = None,
    ended: bool = False,
    results_age: float = 0.0,
) -> Run:
    """Return a LLaMA-Factory run whose last row was written at START.

    ``ended``: add the results of training; ``results_age``: seconds by which the results are older than usual.
    """
    updates: list[Update] = [FileRows("trainer_log.jsonl", "log", tuple(rows), START)] if rows else []
    if config:
        updates.append(FileDoc("training_args.yaml", ConfigDoc(dict(config), "llamafactory"), START))
    given = dict(results or {})
    if ended:
        given.setdefault("train", {"train_loss": 1.0})
    for split, values in given.items():
        document = Results(split, dict(values))  # type: ignore[arg-type]
        updates.append(FileDoc(f"{split}_results.json", document, START + 3.0 - results_age))
    if failure is not None:
        facts = ConsoleFacts(is_training_log=True, failure=failure)
        updates.append(FileDoc("train.log", facts, START + 1.0))
    if checkpoints:
        items = tuple(CheckpointDir(step, f"checkpoint-{step}", START - 1.0, True) for step in checkpoints)
        updates.append(CheckpointsSeen(items))
    run = Run(Path("/runs/made"))
    run.apply(updates)
    return run
