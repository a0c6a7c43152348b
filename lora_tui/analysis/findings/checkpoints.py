"""Findings about checkpoints and the disk space for them. The docstring of each function states its rule."""

from __future__ import annotations

import shlex

from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.eval_loss import RISE, RISE_NATS, RISE_NOISES, eval_noise
from lora_tui.analysis.judgement import CheckpointChoice, Param
from lora_tui.analysis.save_plan import save_plan
from lora_tui.analysis.statistics import rounded

BETTER = 0.005
"""Share of the best value by which the best checkpoint must be better than another one to be named."""
UNSAVED_S = 3600.0
"""Seconds of training in no checkpoint above which work may be at risk."""
LONG_UNSAVED_S = 4 * 3600.0
"""Seconds of training in no checkpoint above which LONG_UNSAVED_SHARE applies."""
UNSAVED_SHARE = 0.15
"""Share of the whole training time that must be unsaved for the work to be at risk."""
LONG_UNSAVED_SHARE = 0.05
"""The same share where more than LONG_UNSAVED_S seconds are unsaved."""
DEFAULT_SAVE_STEPS = 500
"""Steps between two saves by transformers' default of ``save_steps``."""
BEING_DELETED_S = 60.0
"""Seconds since its last change within which a checkpoint directory may be in the course of deletion."""
OVERDUE_SHARE = 0.1
"""Share of the distance between two saves after which a save that has not come counts as missed."""


@finding("best_checkpoint_lost", "warning", rank=230)
@finding("best_checkpoint_at_risk", "warning", rank=240)
@finding("best_checkpoint", "info", rank=320)
def best_checkpoint(collector: FindingCollector) -> None:
    """Find ``best_checkpoint_lost``, ``best_checkpoint_at_risk`` or ``best_checkpoint``, from the second evaluation on.

    ``best_checkpoint_lost``: the checkpoint of the best evaluation was saved and is deleted, and the last evaluations
    and the best checkpoint left are worse. ``best_checkpoint_at_risk``: a later save will delete it, and the last
    evaluations are worse. Worse means that ``overfitting`` holds, or that the last evaluation is worse by 2 %, 0.005
    nats and 2.5 times the noise of an evaluation (RISE_NOISES), and the one before (and the best checkpoint left) by
    half of that. Otherwise ``best_checkpoint`` (info) says where the checkpoint is.

    While the evaluations still improve, the best one changes and nothing is at risk. A loss that leaves its level has
    findings of its own.
    """
    choice = collector.choice
    series = collector.run.series.get(choice.metric)
    if series is None or series.finite < 2 or choice.best_step is None or choice.best_value is None:
        return
    if collector.has("dead_run", "nan_loss"):
        return
    evidence: dict[str, Param | None] = {
        "metric": choice.metric, "value": rounded(choice.best_value), "checkpoint": choice.best_path,
    }  # fmt: skip
    sign = -1.0 if choice.higher else 1.0
    worse = [sign * (value - choice.best_value) for value in series.tail(2)]
    bound = _bound(choice, series.tail(25))
    turned = collector.has("overfitting")
    left = turned or (series.steps[-2] > choice.best_step and worse[1] > bound and worse[0] > bound / 2)
    left = left and not collector.has("diverging", "worse_than_start")
    if choice.best_path is None:
        _add_best_unsaved(collector, choice, evidence, lost=left, bound=bound)
    elif choice.deleted_by is not None and choice.take_path == choice.best_path and left:
        evidence.update(
            deleted_by=choice.deleted_by, limit=choice.limit, last=rounded(series.tail(1)[0]),
            rise=_percent(worse[1], choice.best_value), command=choice.copy,
        )  # fmt: skip
        collector.add("best_checkpoint_at_risk", evidence, step=choice.best_step)
    else:
        if collector.has("better_checkpoint"):
            return
        variant = ""
        if not collector.status.live:
            better = choice.cost is not None and choice.cost > BETTER and worse[1] > bound / 2
            variant = "better" if better else "final"
            if better and choice.last_value is not None:
                evidence.update(last=choice.last_path, last_value=rounded(choice.last_value))
        elif choice.deleted_by is not None:
            evidence.update(until=choice.deleted_by, command=choice.copy)
            variant = "until"
        collector.add("best_checkpoint", evidence, step=choice.best_step, variant=variant)


def _add_best_unsaved(
    collector: FindingCollector,
    choice: CheckpointChoice,
    evidence: dict[str, Param | None],
    *,
    lost: bool,
    bound: float,
) -> None:
    """Add a finding for a best evaluation without a complete checkpoint: not yet saved, never saved, or deleted.

    ``lost`` says whether the evaluations since are worse, ``bound`` is how much worse counts.
    """
    if choice.take_path is None or choice.take_value is None or choice.best_value is None:
        return
    sign = -1.0 if choice.higher else 1.0
    behind = sign * (choice.take_value - choice.best_value)
    evidence.update(
        checkpoint=choice.take_path, kept=rounded(choice.take_value),
        cost=_percent(behind, choice.best_value), best_step=choice.best_step,
    )  # fmt: skip
    if choice.best_gone and lost and behind > bound / 2:
        collector.add("best_checkpoint_lost", evidence, step=choice.best_step)
    elif behind > BETTER * abs(choice.best_value):
        newer = collector.status.live and (choice.best_step or 0) > (choice.last_step or 0)
        variant = "ahead" if newer else "gone" if choice.best_gone else "on_disk"
        collector.add("best_checkpoint", evidence, step=choice.take_step, variant=variant)
    else:
        evidence["value"] = evidence.pop("kept")
        variant = "" if collector.status.live else "final"
        collector.add("best_checkpoint", evidence, step=choice.take_step, variant=variant)


def _bound(choice: CheckpointChoice, values: list[float]) -> float:
    """Return the difference from the best value above which an evaluation is worse; ``values`` are the last ones."""
    best = choice.best_value or 0.0
    nats = RISE_NATS if choice.metric.endswith("loss") else 0.0
    # A score is mirrored at its best value, so that it falls like a loss.
    losses = [2 * best - value for value in values] if choice.higher else values
    return max(RISE * abs(best), nats, RISE_NOISES * eval_noise(losses))


@finding("work_at_risk", "warning", rank=220)
def work_at_risk(collector: FindingCollector) -> None:
    """Find ``work_at_risk``: too much training is in no complete checkpoint.

    More than an hour of training is unsaved, and one of these holds: it is more than 15 % of the whole training time
    (5 % if it is more than four hours); a save was missed; or there is no checkpoint after 500 steps (transformers'
    default) and no other plan is known. Saves that are merely far apart are the user's own choice.
    """
    choice = collector.choice
    risk, progress, step = choice.seconds_at_risk, collector.progress, collector.step
    if collector.status.state not in ("running", "evaluating") or risk is None or risk <= UNSAVED_S or step is None:
        return
    if collector.stage == "ppo":
        # While a PPO job runs, nothing shows that its checkpoints are complete.
        return
    plan = save_plan(collector.run)
    whole = progress.elapsed_s / progress.fraction if progress.elapsed_s and progress.fraction else None
    due = step // plan.every * plan.every if plan.every else 0
    missed = (choice.last_step or 0) < due and step - due > OVERDUE_SHARE * (plan.every or 0)
    never = choice.last_step is None and plan.every is None and step > DEFAULT_SAVE_STEPS * (1 + OVERDUE_SHARE)
    share = LONG_UNSAVED_SHARE if risk > LONG_UNSAVED_S else UNSAVED_SHARE
    if not (missed or never or (whole is not None and risk > share * whole)):
        return
    evidence: dict[str, Param | None] = {
        "seconds": round(risk), "steps": choice.steps_at_risk, "checkpoint": choice.last_path,
        "next_save": choice.next_save,
    }  # fmt: skip
    if missed:
        variant = "overdue"
        evidence["due"] = due
    else:
        variant = "never" if choice.last_step is None else ""
        variant += "" if choice.next_save is not None else "_unknown" if variant else "unknown"
    collector.add("work_at_risk", evidence, step=choice.last_step, variant=variant)


@finding("disk_full_soon", "critical", rank=210)
def disk_full_soon(collector: FindingCollector) -> None:
    """Find ``disk_full_soon``: the disk has too little space for the checkpoints to come.

    Critical: the free space is less than two checkpoints of the size of the newest one plus the final weights, and
    another save is planned. Warning: there is space for the next save, but not for all that are planned, where none is
    ever deleted.
    """
    choice = collector.choice
    free, needed = choice.free_bytes, choice.needed_bytes
    if not collector.status.live or free is None or needed is None or choice.saves_left == 0:
        return
    final = choice.model_bytes or 0
    evidence: dict[str, Param | None] = {"free": free, "needed": needed, "next_save": choice.next_save}
    if free < 2 * needed + final:
        variant = "" if choice.next_save is not None else "unknown"
        collector.add("disk_full_soon", evidence, step=collector.step, variant=variant)
        return
    if choice.limit is not None or choice.saves_left is None:
        return
    if free < choice.saves_left * needed + final:
        room = (free - final) // needed
        steps = save_plan(collector.run).coming((choice.next_save or 1) - 1, room + 1)
        evidence.update(saves=choice.saves_left, room=room, full_at=steps[-1])
        collector.add("disk_full_soon", evidence, severity="warning", step=collector.step, variant="later")


@finding("incomplete_checkpoint", "info", rank=420)
def incomplete_checkpoint(collector: FindingCollector) -> None:
    """Find ``incomplete_checkpoint``: a checkpoint directory without the file that is written last.

    It is no longer being written: the run is not live, or has saved later checkpoints. An automatic resume uses the
    directory with the highest step, complete or not (transformers, ``get_last_checkpoint``).
    """
    if collector.stage == "ppo":
        # The PPO trainer writes no such file.
        return
    items, live = collector.run.checkpoints(), collector.status.live
    whole = max((item.step for item in items if item.complete), default=-1)
    # The trainer deletes a checkpoint file by file, so it looks incomplete for a moment.
    broken = [
        item
        for item in items
        if not item.complete and (not live or (item.step < whole and collector.now - item.mtime > BEING_DELETED_S))
    ]
    if not broken:
        return
    worst = broken[-1]
    command = f"rm -r {shlex.quote(str(collector.run.path / worst.path))}"
    collector.add(
        "incomplete_checkpoint", {"checkpoint": worst.path, "count": len(broken), "command": command},
        step=worst.step, variant="newest" if worst.step > whole else "",
    )  # fmt: skip


def _percent(part: float, whole: float) -> float | None:
    """Return ``part`` as a percentage of the absolute value of ``whole``, None if that is 0."""
    return rounded(100 * part / abs(whole), 2) if whole else None
