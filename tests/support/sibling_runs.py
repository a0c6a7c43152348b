"""Make a workspace with runs of one model, data and stage, for tests of comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_tui.analysis import judge
from lora_tui.analysis.context import Context
from lora_tui.analysis.judgement import Rating
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.records.documents import ConfigDoc, LogRow, Results
from lora_tui.records.updates import Batch, FileDoc, FileRows, RunUpdates
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.support.run_builder import START, evaluation, summary, train

NOW = START + 1e6
BASE: dict[str, Any] = {
    "stage": "sft", "model_name_or_path": "org/Base", "dataset": "d", "val_size": 0.1, "seed": 42,
    "finetuning_type": "lora", "cutoff_len": 512, "num_devices": 1, "total_train_batch_size": 8,
}  # fmt: skip


def rows(end: float, *, steps: int = 200, every_s: float = 0.1, summed: bool = True) -> list[LogRow]:
    """Return rows whose loss falls towards ``end``, with evaluations, and the summary row if ``summed``."""
    out: list[LogRow] = []
    for step in range(10, steps + 1, 10):
        out.append(train(step, end + 2 * math.exp(-step / 40), steps, every_s=every_s))
        if step % 40 == 0:
            out.append(evaluation(step, end + 2 * math.exp(-step / 40), steps, every_s=every_s))
    return [*out, summary(steps, steps, every_s=every_s)] if summed else out


def updates(
    name: str, end: float, at: float, config: Mapping[str, Any] | None = None, bleu: tuple[float, int] | None = None,
    **more: Any,
) -> RunUpdates:  # fmt: skip
    """Return the updates of a finished run.

    ``end``: its last eval loss; ``at``: seconds after START at which it ended; ``config``: options other than BASE's;
    ``bleu``: BLEU-4 of its predictions and their number.
    """
    given: dict[str, dict[str, float]] = {
        "train": {"train_loss": 1.5}, "eval": {"eval_loss": end, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
    }  # fmt: skip
    if bleu is not None:
        given["predict"] = {
            "predict_bleu-4": bleu[0], "predict_runtime": 10.0, "predict_samples_per_second": bleu[1] / 10,
        }  # fmt: skip
    found: list[FileRows | FileDoc] = [
        FileRows("trainer_log.jsonl", "log", tuple(rows(end, **more)), START + at),
        FileDoc("training_args.yaml", ConfigDoc({**BASE, **(config or {})}, "llamafactory"), START + at),
    ]
    for split, values in given.items():
        document = Results(split, values)  # type: ignore[arg-type]
        found.append(FileDoc(f"{split}_results.json", document, START + at + 3))
    return RunUpdates(Path("/r") / name, tuple(found))


class Space(Workspace):
    """A workspace with its index of siblings."""

    def __init__(self) -> None:
        super().__init__([Path("/r")])
        self.index = SiblingIndex(self)


def workspace(*runs: RunUpdates) -> Space:
    """Return a workspace with these runs."""
    made = Space()
    made.apply(Batch(runs, True))
    return made


def named(space: Space, name: str) -> Run:
    """Return the run with this name."""
    return next(run for run in space.runs if run.name == name)


def siblings(space: Space, name: str) -> list[str]:
    """Return the names of the siblings of a run."""
    return [run.name for run in space.index.siblings(named(space, name))]


def rated(space: Space, name: str) -> Mapping[str, Rating]:
    """Return the ratings of a run, judged with its siblings."""
    run = named(space, name)
    return judge(run, NOW, Context(siblings=space.index.siblings(run))).ratings
