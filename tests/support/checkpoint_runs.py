"""Build runs with checkpoints for tests: the directories, the times at which they were written, the free space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lora_tui.analysis import Finding
from lora_tui.analysis.findings.find import find
from lora_tui.i18n import Words
from lora_tui.records.documents import ConfigDoc, ConfigValue, LogRow, TrainerState
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, FileDoc, FileRows, SpaceSeen, Update
from lora_tui.runs.run import Run
from tests.support.run_builder import START, evaluation, train

BEGIN = START - 10_000.0
"""Unix time at which the runs below began; a step takes one second."""


def written_at(step: int) -> float:
    """Return the Unix time at which the checkpoint of a step was written."""
    return BEGIN + step


def falling_rows(last: int, total: int, evals: Mapping[int, float] | None = None, every: int = 10) -> list[LogRow]:
    """Return training rows with a falling loss, and evaluations."""
    found = [train(step, 2.0 - step / total, total) for step in range(every, last + 1, every)]
    found += [evaluation(step, value, total) for step, value in (evals or {}).items() if step <= last]
    return sorted(found, key=lambda row: (row.step or 0, row.kind == "eval"))


def checkpoint_dir(step: int, *, whole: bool = True, size: int = 0, at: float | None = None) -> CheckpointDir:
    """Return a checkpoint directory; ``whole``: it contains the trainer's state, which is written last."""
    return CheckpointDir(
        step, f"checkpoint-{step}", written_at(step) if at is None else at, whole, size=size, model_size=size // 3
    )


def run_with_checkpoints(
    log: Sequence[LogRow],
    checkpoints: Sequence[CheckpointDir | int] = (),
    *,
    config: Mapping[str, ConfigValue] | None = None,
    save_steps: int | None = None,
    best: tuple[int, float] | None = None,
    free: int | None = None,
    seen: Sequence[int] = (),
) -> tuple[Run, float]:
    """Return a run whose last row was written just now, and the Unix time 2 s after that row.

    ``save_steps`` and ``best`` (step, metric) are in the state of the newest checkpoint; ``free``: bytes free on the
    disk; ``seen``: steps of checkpoints that existed before.
    """
    items = tuple(checkpoint_dir(item) if isinstance(item, int) else item for item in checkpoints)
    last = max((row.step or 0) for row in log)
    now = written_at(last)
    updates: list[Update] = [FileRows("trainer_log.jsonl", "log", tuple(log), now)]
    if config:
        updates.append(FileDoc("training_args.yaml", ConfigDoc(dict(config), "llamafactory"), BEGIN - 60))
    if seen:
        updates.append(CheckpointsSeen(tuple(checkpoint_dir(step) for step in seen)))
    updates.append(CheckpointsSeen(items))
    whole = [item for item in items if item.has_state]
    if whole and (save_steps or best):
        newest = max(whole, key=lambda item: item.mtime)
        state = TrainerState(
            global_step=newest.step, max_steps=log[-1].total_steps,
            save_steps=float(save_steps) if save_steps else None, best_step=best[0] if best else None,
            best_metric=best[1] if best else None,
            best_checkpoint=f"saves/x/checkpoint-{best[0]}" if best else None,
        )  # fmt: skip
        updates.append(FileDoc(f"{newest.path}/trainer_state.json", state, newest.mtime))
    if free is not None:
        updates.append(SpaceSeen(free, 10 * free))
    run = Run(Path("/runs/made here"))
    run.apply(updates)
    return run, now + 2.0


def only_finding(run: Run, code: str, now: float) -> Finding:
    """Return the only finding of that code; check that its texts are complete in both languages."""
    found = [one for one in find(run, now) if one.code == code]
    assert len(found) == 1, [one.code for one in find(run, now)]
    for lang in ("en", "zh"):
        words = Words(lang)
        for text in (words.finding_name(found[0]), *words.finding(found[0])):
            assert text
            assert "{" not in text, text
            assert not text.startswith("finding."), text
    return found[0]


def finding_codes(run: Run, now: float) -> list[str]:
    """Return the codes of all findings."""
    return [one.code for one in find(run, now)]
