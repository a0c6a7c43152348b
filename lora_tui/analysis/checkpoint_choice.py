"""Advise which checkpoint to take, how much worse the newest one is, and what would be lost if the run died now."""

from __future__ import annotations

import math
import shlex
from bisect import bisect_left
from collections.abc import Sequence

from lora_tui.analysis.judgement import CheckpointChoice, Finding
from lora_tui.analysis.save_plan import SavePlan, deleted_by, save_plan, since_save
from lora_tui.records.documents import TrainerState
from lora_tui.runs.checkpoints import attempt_start, own_state
from lora_tui.runs.run import Checkpoint, Run
from lora_tui.runs.series import Series
from lora_tui.runs.timeline import SLACK_S

BROKEN = frozenset({"dead_run", "nan_loss", "diverging"})
"""Codes of findings from whose step on checkpoints are useless."""
ESTIMATE_PENALTY = 0.005
"""Share by which a checkpoint with an estimated value must be better to be preferred to one with a measured value."""
_MEASURES = (
    ("eval_loss", False), ("eval_rouge-l", True), ("eval_bleu-4", True), ("eval_accuracy", True),
    ("eval_rewards/accuracies", True), ("eval_reward", True),
)  # fmt: skip
"""Metrics by which evaluations are compared if the job names no ``metric_for_best_model``, and whether higher is
better; the first one that was evaluated is used."""


def choose(run: Run, now: float, findings: Sequence[Finding] = ()) -> CheckpointChoice:
    """Return the advice at the Unix time ``now``; empty where there is no training.

    The value of a checkpoint is that of the evaluation at its step, else of the nearest one if that is at most half the
    distance between two evaluations away. ``findings`` are those of the run: see BROKEN.
    """
    last = run.timeline.last
    if last is None or last.step is None:
        return CheckpointChoice()
    status, progress = run.status(now), run.progress(now)
    plan, state = save_plan(run), own_state(run)
    name, higher = measure(run, state)
    series = run.series.get(name)
    best_step, best_value = _best(series, higher)
    own = [item for item in run.checkpoints() if item.complete and not item.foreign]
    usable = [item for item in own if item.step <= _broken_from(findings)]
    at_best = next((item for item in own if item.step == best_step), None)
    taken, value, estimated = _choose_from(usable, series, higher)
    newest = own[-1] if own else None
    newest_value = _eval_at(series, newest.step)[0] if newest is not None else None
    due = plan.every is not None and (last.step % plan.every == 0 or last.step == plan.total)
    pending = due and all(item.step != last.step for item in own)
    after = last.step - 1 if pending else last.step
    goes_on = status.live and (progress.total_steps is None or last.step < progress.total_steps or pending)
    doomed = None
    if goes_on and taken is not None:
        doomed = deleted_by(run, plan, taken, at_best.path if at_best is not None else None, after)
    coming = plan.coming(after, 1) if goes_on else []
    space = run.files.space
    return CheckpointChoice(
        metric=name if best_step is not None else "",
        higher=higher,
        best_step=best_step,
        best_value=best_value,
        best_path=at_best.path if at_best is not None else None,
        best_gone=best_step is not None and at_best is None and _was_saved(run, plan, best_step, own),
        take_step=taken.step if taken is not None else None,
        take_path=taken.path if taken is not None else None,
        take_value=value,
        take_estimated=estimated,
        last_step=newest.step if newest is not None else None,
        last_path=newest.path if newest is not None else None,
        last_value=newest_value,
        cost=_cost(value, newest_value, higher) if taken is not newest else None,
        deleted_by=doomed,
        limit=plan.limit,
        limit_seen=plan.limit_seen,
        copy=copy_command(run, taken) if taken is not None and doomed is not None else None,
        next_save=coming[0] if coming else None,
        saves_left=plan.left(after) if goes_on else 0,
        steps_at_risk=progress.steps_at_risk if status.state not in ("finished", "stopped") else None,
        seconds_at_risk=since_save(run, status, now),
        free_bytes=space.free if space is not None else None,
        needed_bytes=newest.size if newest is not None and newest.size else None,
        model_bytes=newest.model_size if newest is not None and newest.model_size else None,
    )


def measure(run: Run, state: TrainerState | None = None) -> tuple[str, bool]:
    """Return the metric by which checkpoints are compared, and whether higher is better; ``("", False)`` without any.

    It is the job's ``metric_for_best_model``, else the metric whose value the trainer ``state`` has as its best, else
    the first of a known list that was evaluated.
    """
    named = run.config.get("metric_for_best_model")
    if named is not None and isinstance(named.value, str) and named.value:
        name = named.value if named.value.startswith("eval_") else f"eval_{named.value}"
        greater = run.config.get("greater_is_better")
        if greater is not None and str(greater.value).lower() in ("true", "false"):
            return name, str(greater.value).lower() == "true"
        # transformers' own default.
        return name, not name.endswith("loss")
    if state is not None and state.best_metric is not None and state.best_step is not None:
        for name, series in run.series.items():
            if name.startswith("eval_") and series.at(state.best_step) == state.best_metric:
                return name, not name.endswith("loss")
    return next((pair for pair in _MEASURES if (found := run.series.get(pair[0])) and found.finite), ("", False))


def copy_command(run: Run, item: Checkpoint) -> str:
    """Return a shell command that copies a checkpoint to a name that the trainer never deletes."""
    source, target = str(run.path / item.path), str(run.path / f"best-{item.step}")
    return f"cp -r {shlex.quote(source)} {shlex.quote(target)}"


def _best(series: Series | None, higher: bool) -> tuple[int | None, float | None]:
    """Return step and value of the best evaluation, (None, None) without a finite one."""
    if series is None or not series.finite:
        return None, None
    step, value = (series.max_step, series.max) if higher else (series.min_step, series.min)
    return int(step), value


def _eval_at(series: Series | None, step: int) -> tuple[float | None, bool]:
    """Return the evaluated value for a checkpoint at ``step``, and whether the evaluation was at another step."""
    if series is None or not len(series):
        return None, False
    exact = series.at(step)
    if exact is not None:
        return exact, False
    steps = series.steps
    index = bisect_left(steps, step)
    around = [i for i in (index - 1, index) if 0 <= i < len(steps)]
    apart = steps[around[-1]] - steps[around[0]] if len(around) > 1 else steps[-1] - steps[-2] if len(steps) > 1 else 0
    near = [i for i in around if abs(steps[i] - step) <= apart / 2]
    if not near:
        return None, False
    closest = min(abs(steps[i] - step) for i in near)
    values = [series.values[i] for i in near if abs(steps[i] - step) == closest]
    # Of two equally near ones the higher loss, so that an estimate does not win by luck.
    return (max(values) if not any(math.isnan(v) for v in values) else math.nan), True


def _choose_from(
    own: Sequence[Checkpoint], series: Series | None, higher: bool
) -> tuple[Checkpoint | None, float | None, bool]:
    """Return the best of the checkpoints, its value, and whether that is estimated; else the newest without a value."""
    sign = -1.0 if higher else 1.0
    valued: list[tuple[float, Checkpoint, float, bool]] = []
    unknown: list[Checkpoint] = []
    for item in own:
        value, estimated = _eval_at(series, item.step)
        if value is None:
            unknown.append(item)
        elif math.isfinite(value):
            valued.append(
                (sign * value + (abs(value) * ESTIMATE_PENALTY if estimated else 0.0), item, value, estimated)
            )
    if not valued:
        return (unknown[-1] if unknown else None), None, False
    _, item, value, estimated = min(valued, key=lambda found: (found[0], found[1].step))
    return item, value, estimated


def _broken_from(findings: Sequence[Finding]) -> float:
    """Return the step from which on the weights are useless, infinity if they are not."""
    steps = [
        f.step for f in findings if f.code in BROKEN and f.severity == "critical" and f.step is not None and not f.over
    ]
    return min(steps, default=math.inf)


def _cost(taken: float | None, other: float | None, higher: bool) -> float | None:
    """Return how much worse ``other`` is than ``taken``, as a share of ``taken``; None if this is not defined."""
    if taken is None or other is None or not (math.isfinite(taken) and math.isfinite(other)) or taken == 0:
        return None
    return ((taken - other) if higher else (other - taken)) / abs(taken)


def _was_saved(run: Run, plan: SavePlan, step: int, own: Sequence[Checkpoint]) -> bool:
    """Return whether this attempt has saved a checkpoint at ``step``.

    It has if the checkpoint was seen, if the trainer has named it as its best, or if a save was due at that step and
    later checkpoints are on disk.
    """
    seen = run.files.saved.get(step)
    if seen is not None and seen >= attempt_start(run) - SLACK_S:
        return True
    state = own_state(run)
    if state is not None and state.best_checkpoint is not None and state.best_step == step:
        return True
    first = run.timeline.segments[0].first_step if run.timeline.segments else None
    due = plan.every is not None and step % plan.every == 0 and first is not None and first <= step
    return due and any(item.step > step for item in own)
