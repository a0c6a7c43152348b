"""The results of a run: whether they are of the current attempt, and whether they show that training is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_tui.runs.run_data import RunData, derived
from lora_tui.runs.timeline import SLACK_S


@dataclass(frozen=True)
class ResultSet:
    """The contents of one ``<split>_results.json``, or the part of ``all_results.json`` that replaces it."""

    values: Mapping[str, float]
    """Metrics by name, as written."""
    stale: bool
    """Whether it is from an earlier attempt in the same directory."""
    mtime: float
    """Modification time of the file, Unix seconds."""
    file: str
    """Path of the file, relative to the directory of the run."""


@derived
def results_of(run: RunData) -> Mapping[str, ResultSet]:
    """Return the results by split (train, eval, predict); those of an earlier attempt are marked as stale."""
    out: dict[str, ResultSet] = {}
    found = run.files.results
    for split in ("train", "eval", "predict"):
        doc, file = found.get(split) or found.get("all") or (None, None)
        if doc is None or file is None:
            continue
        # all_results.json is the union of the others, so it replaces one that was deleted.
        values = {k: v for k, v in doc.values.items() if doc.split == split or k.startswith(f"{split}_")}
        if values:
            out[split] = ResultSet(values, _is_stale(run, file.mtime), file.mtime, file.file)
    return out


def was_evaluated(run: RunData) -> bool:
    """Return whether this attempt has evaluated: it has a metric, a result or a row of an evaluation.

    With ``predict_with_generate`` an evaluation has scores and no loss; LLaMA-Factory logs it as a row without a
    metric, as it does the end of training.
    """
    if any(name.startswith("eval_") for name in run.series):
        return True
    result = results_of(run).get("eval")
    if result is not None and not result.stale:
        return True
    rows, step = run.timeline.rows, run.timeline.last_step or 0
    marks = (rows[index] for index in run.timeline.evals[-2:])
    return any(row.kind == "eval" or (row.step or 0) < step for row in marks)


def _is_stale(run: RunData, mtime: float) -> bool:
    """Return whether a results file is of an earlier attempt, by its modification time (Unix seconds).

    It is if a training row is newer, if the root state ends at another step, or if the log was deleted since.
    """
    if run.log_deleted or not run.timeline.rows:
        return run.log_deleted
    last_time = run.last_row_time
    return (last_time is not None and last_time > mtime + SLACK_S) or _root_step_differs(run)


def _root_step_differs(run: RunData) -> bool:
    """Return whether the trainer_state.json in the root ends at another step than the timeline."""
    root, last = run.files.root_state, run.timeline.last
    # LLaMA-Factory's PPO loop counts steps differently in the state and in the log.
    if run.stage == "ppo" or root is None or root[0].global_step is None or last is None or last.step is None:
        return False
    return root[0].global_step != last.step


def has_final_results(run: RunData) -> bool:
    """Return whether a file that is written after training (results, the root's state) is as new as the last row."""
    if run.log_deleted:
        return False
    if any(not result.stale for result in results_of(run).values()):
        return True
    last_time, root = run.last_row_time, run.files.root_state
    return root is not None and not _root_step_differs(run) and (last_time is None or root[1] >= last_time - SLACK_S)


def has_final_model(run: RunData) -> bool:
    """Return whether the final model is in the root, or the console log shows that training is over.

    Only this shows the end of a training whose results files were deleted. In a running job the results files follow
    within moments.
    """
    last_time, console = run.last_row_time, run.console
    if last_time is None or run.log_deleted:
        return False
    completed = console is not None and console.completed and run.console_time >= last_time - SLACK_S
    return completed or run.files.has_model_since(last_time - SLACK_S)
