"""Findings of a run that is broken or has ended badly. Each docstring has its rule."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.model import Param, Severity
from lora_tui.runs.series import Series

ZEROS = 3
"""Consecutive losses of exactly 0 that mean dead weights."""
ALIVE = 0.1
"""A loss of this size does not reach 0 by learning within a row."""
_DISK = ("No space left", "File too large", "Disk quota exceeded")


def dead_run(finder: Finder) -> None:
    """At least 3 losses of exactly 0 at the end, after losses of 0.1 and more, grad_norm nan or unknown; one such
    loss is enough where grad_norm is nan at its step.

    transformers' ``logging_nan_inf_filter`` prints 0.0 for a NaN loss. A smooth approach to 0, a saturated
    preference run (accuracy >= 0.95) and a finite grad_norm at those steps are not dead.
    """
    loss = finder.loss
    if loss is None or len(loss) < 2 or loss.values[-1] != 0.0:
        return
    begin = _tail_begin(loss, zero=True)
    norms = finder.run.series.get("grad_norm")
    at_zero = norms.at(loss.steps[begin]) if norms is not None else None
    if len(loss) - begin < ZEROS and not (at_zero is not None and math.isnan(at_zero)):
        return
    before = [value for value in loss.values[max(0, begin - 5) : begin] if math.isfinite(value)]
    if not before or facts.median(before) < ALIVE:
        return
    step = loss.steps[begin]
    if norms is not None and norms.steps and norms.steps[-1] >= step and 0 < norms.values[-1] < math.inf:
        return
    for name in ("accuracy", "rewards/accuracies", "mean_token_accuracy"):
        sure = finder.run.series.get(name)
        if sure is not None and sure.finite and sure.tail(1)[0] >= 0.95:
            return
    point = facts.resume_point(finder.run, int(step) - 1)
    finder.add(
        "dead_run", "critical",
        {"last_loss": facts.rounded(before[-1]), "rows": len(loss) - begin,
         "checkpoint": point[1] if point else None},
        step=step, variant="" if point else "restart",
    )  # fmt: skip


def nan_loss(finder: Finder) -> None:
    """A NaN or Infinity in the loss; one alone, with finite rows after it, is a warning. Or a NaN eval loss."""
    if finder.has("dead_run"):
        return
    loss = finder.loss
    if loss is not None and loss.nonfinite:
        lasting = not math.isfinite(loss.values[-1])
        begin = _tail_begin(loss, zero=False) if lasting else _first_nonfinite(loss)
        step = loss.steps[begin]
        point = facts.resume_point(finder.run, int(step) - 1)
        critical = lasting or loss.nonfinite >= 3
        finder.add(
            "nan_loss", "critical" if critical else "warning",
            {"count": loss.nonfinite, "rows": len(loss), "checkpoint": point[1] if point else None},
            step=step, end_step=None if lasting or loss.nonfinite > 1 else int(step),
            variant="" if critical else "once",
        )  # fmt: skip
        return
    evals = finder.run.series.get("eval_loss")
    results = finder.run.results().get("eval")
    bad_result = results is not None and not results.stale and math.isnan(results.values.get("eval_loss", 0.0))
    if loss is None or not loss.finite:
        return
    if evals is not None and evals.nonfinite and math.isnan(evals.values[-1]) and evals.steps[-1] > 0:
        begin = _tail_begin(evals, zero=False)
        finder.add("nan_loss", "critical", {"count": evals.nonfinite}, step=evals.steps[begin], variant="eval")
    elif bad_result:
        finder.add("nan_loss", "critical", {"count": 1}, step=loss.last_step, variant="eval")


def ended_badly(finder: Finder) -> None:
    """The run's state is failed, stalled or interrupted: what happened and where it can go on."""
    state, failure = finder.status.state, finder.status.failure
    step = finder.step
    total = finder.progress.total_steps
    if state == "failed":
        message = failure.message if failure is not None else None
        evidence: dict[str, Param | None] = {"message": message, "at": step, "total": total, **finder.resume()}
        during = failure.during if failure is not None else None
        if failure is not None and failure.kind == "out_of_memory":
            variant = {"evaluating": "eval", "predicting": "predict"}.get(during or "", "")
            finder.add("out_of_memory", "critical", evidence, step=step, variant=variant)
            return
        train = finder.run.results().get("train")
        if finder.progress.unit == "batches":
            variant = "job"
        elif step is not None and total is not None and step >= total and train is not None and not train.stale:
            variant = "after"
        elif message is not None and any(sign in message for sign in _DISK):
            variant = "disk" if evidence.get("checkpoint") is not None else "disk_no_checkpoint"
        elif finder.loss is None or not len(finder.loss):
            variant = "early"
        elif step is None:
            variant = "no_step"
        else:
            variant = "" if evidence.get("checkpoint") is not None else "no_checkpoint"
        finder.add("failed", "critical", evidence, step=step, variant=variant)
    elif state == "stalled":
        evidence = {"silent_s": finder.status.silent_s, "usual_s": finder.status.usual_s, **finder.resume()}
        finder.add("stalled", "critical", evidence, step=step, variant="" if finder.status.usual_s else "unknown")
    elif state == "interrupted":
        message = failure.message if failure is not None else None
        evidence = {
            "message": message, "at": step, "total": total, "silent_s": finder.status.silent_s, **finder.resume(),
        }  # fmt: skip
        kind = failure.kind if failure is not None else ""
        variant = {"interrupted": "asked", "terminated": "terminated"}.get(kind, "")
        if finder.loss is None or not len(finder.loss):
            variant = f"{variant}_early".lstrip("_")
        elif step is None:
            # A console log of plain metric lines counts no steps.
            variant = f"{variant}_no_step".lstrip("_")
        elif evidence.get("checkpoint") is None:
            variant = f"{variant}_no_checkpoint".lstrip("_")
        # Who pressed Ctrl-C knows it.
        severity: Severity = "info" if kind == "interrupted" else "warning"
        finder.add("interrupted", severity, evidence, step=step, variant=variant)


def _tail_begin(series: Series, *, zero: bool) -> int:
    """Index where the last unbroken stretch of zeros (or of non-finite values) begins, found by galloping back.

    Galloping looks at some values only, so a stretch with a rare exception inside counts as one.
    """
    values = series.values

    def bad(index: int) -> bool:
        return values[index] == 0.0 if zero else not math.isfinite(values[index])

    high, jump = len(values) - 1, 1
    while high - jump >= 0 and bad(high - jump):
        high -= jump
        jump *= 2
    low = max(-1, high - jump)
    while high - low > 1:
        middle = (low + high) // 2
        if bad(middle):
            high = middle
        else:
            low = middle
    return high


def _first_nonfinite(series: Series) -> int:
    """Index of the first non-finite value; only called where there is one."""
    values = series.values
    # The sum of a piece is NaN or infinite where one of its values is.
    begin = next(at for at in range(0, len(values), 1000) if not math.isfinite(sum(values[at : at + 1000])))
    return next(index for index in range(begin, len(values)) if not math.isfinite(values[index]))


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (dead_run, nan_loss, ended_badly):
        part(finder)
