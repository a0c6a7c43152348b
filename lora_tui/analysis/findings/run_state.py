"""Findings about the state of a run: broken weights, failures, stops, resumes, earlier attempts, two jobs at once.

The docstring of each function states its rule.
"""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.judgement import Param, Severity
from lora_tui.analysis.statistics import median, rounded
from lora_tui.records.file_names import TRAINER_LOG
from lora_tui.runs.series import Series

MIN_ZEROS = 3
"""Number of consecutive losses of exactly 0 that mean NaN weights."""
_DISK_FULL = ("No space left", "File too large", "Disk quota exceeded")
"""Parts of error messages that mean a full disk."""


@finding("dead_run", "critical", rank=20)
def dead_run(collector: FindingCollector) -> None:
    """Find ``dead_run``: the weights are NaN.

    At least the last 3 losses are exactly 0 after a median loss of at least 0.1, and grad_norm is NaN, 0 or unknown.
    One such loss is enough if grad_norm is NaN at its step.

    transformers' ``logging_nan_inf_filter`` prints 0.0 for a NaN loss. A smooth approach to 0, a saturated preference
    run (accuracy of at least 0.95) or a finite grad_norm above 0 at those steps rule it out.
    """
    loss = collector.loss
    if loss is None or len(loss) < 2 or loss.values[-1] != 0.0:
        return
    begin = _tail_begin(loss, zero=True)
    norms = collector.run.series.get("grad_norm")
    at_zero = norms.at(loss.steps[begin]) if norms is not None else None
    if len(loss) - begin < MIN_ZEROS and not (at_zero is not None and math.isnan(at_zero)):
        return
    before = [value for value in loss.values[max(0, begin - 5) : begin] if math.isfinite(value)]
    if not before or median(before) < run_facts.SUDDEN_ZERO_LOSS:
        return
    step = loss.steps[begin]
    if norms is not None and norms.steps and norms.steps[-1] >= step and 0 < norms.values[-1] < math.inf:
        return
    for name in ("accuracy", "rewards/accuracies", "mean_token_accuracy"):
        accuracy = collector.run.series.get(name)
        if accuracy is not None and accuracy.finite and accuracy.tail(1)[0] >= 0.95:
            return
    point = run_facts.resume_point(collector.run, int(step) - 1)
    collector.add(
        "dead_run",
        {"last_loss": rounded(before[-1]), "rows": len(loss) - begin,
         "checkpoint": point[1] if point else None},
        step=step, variant="" if point else "restart",
    )  # fmt: skip


@finding("nan_loss", "critical", rank=10)
def nan_loss(collector: FindingCollector) -> None:
    """Find ``nan_loss``: a NaN or infinite train loss, or a NaN eval loss.

    It is a warning for fewer than 3 such train losses with a finite one after them.
    """
    if collector.has("dead_run"):
        return
    loss = collector.loss
    if loss is not None and loss.nonfinite:
        lasting = not math.isfinite(loss.values[-1])
        begin = _tail_begin(loss, zero=False) if lasting else _first_nonfinite(loss)
        step = loss.steps[begin]
        point = run_facts.resume_point(collector.run, int(step) - 1)
        critical = lasting or loss.nonfinite >= 3
        collector.add(
            "nan_loss", {"count": loss.nonfinite, "rows": len(loss), "checkpoint": point[1] if point else None},
            severity="critical" if critical else "warning",
            step=step, end_step=None if lasting or loss.nonfinite > 1 else int(step),
            variant="" if critical else "once",
        )  # fmt: skip
        return
    evals = collector.run.series.get("eval_loss")
    results = collector.run.results().get("eval")
    bad_result = results is not None and not results.stale and math.isnan(results.values.get("eval_loss", 0.0))
    if loss is None or not loss.finite:
        return
    if evals is not None and evals.nonfinite and math.isnan(evals.values[-1]) and evals.steps[-1] > 0:
        begin = _tail_begin(evals, zero=False)
        collector.add("nan_loss", {"count": evals.nonfinite}, step=evals.steps[begin], variant="eval")
    elif bad_result:
        collector.add("nan_loss", {"count": 1}, step=loss.last_step, variant="eval")


@finding("out_of_memory", "critical", rank=50)
@finding("failed", "critical", rank=60)
@finding("stalled", "critical", rank=70)
@finding("interrupted", "warning", rank=80)
def ended_badly(collector: FindingCollector) -> None:
    """Find ``out_of_memory``, ``failed``, ``stalled`` or ``interrupted`` by the state of the run.

    The evidence says what happened and how to resume. An interrupt from the keyboard is only info.
    """
    state, failure = collector.status.state, collector.status.failure
    step = collector.step
    total = collector.progress.total_steps
    if state == "failed":
        message = failure.message if failure is not None else None
        evidence: dict[str, Param | None] = {"message": message, "at": step, "total": total, **collector.resume()}
        during = failure.during if failure is not None else None
        if failure is not None and failure.kind == "out_of_memory":
            variant = {"evaluating": "eval", "predicting": "predict"}.get(during or "", "")
            collector.add("out_of_memory", evidence, step=step, variant=variant)
            return
        train = collector.run.results().get("train")
        if collector.progress.unit == "batches":
            variant = "job"
        elif step is not None and total is not None and step >= total and train is not None and not train.stale:
            variant = "after"
        elif message is not None and any(sign in message for sign in _DISK_FULL):
            variant = "disk" if evidence.get("checkpoint") is not None else "disk_no_checkpoint"
        elif collector.loss is None or not len(collector.loss):
            variant = "early"
        elif step is None:
            variant = "no_step"
        else:
            variant = "" if evidence.get("checkpoint") is not None else "no_checkpoint"
        collector.add("failed", evidence, step=step, variant=variant)
    elif state == "stalled":
        evidence = {"silent_s": collector.status.silent_s, "usual_s": collector.status.usual_s, **collector.resume()}
        collector.add("stalled", evidence, step=step, variant="" if collector.status.usual_s else "unknown")
    elif state == "interrupted":
        message = failure.message if failure is not None else None
        evidence = {
            "message": message, "at": step, "total": total, "silent_s": collector.status.silent_s, **collector.resume(),
        }  # fmt: skip
        kind = failure.kind if failure is not None else ""
        variant = {"interrupted": "asked", "terminated": "terminated"}.get(kind, "")
        if collector.loss is None or not len(collector.loss):
            variant = f"{variant}_early".lstrip("_")
        elif step is None:
            # A console log of plain metric lines counts no steps.
            variant = f"{variant}_no_step".lstrip("_")
        elif evidence.get("checkpoint") is None:
            variant = f"{variant}_no_checkpoint".lstrip("_")
        # The user knows about an interrupt from the keyboard.
        severity: Severity = "info" if kind == "interrupted" else "warning"
        collector.add("interrupted", evidence, severity=severity, step=step, variant=variant)


def _tail_begin(series: Series, *, zero: bool) -> int:
    """Return the index at which the zeros (or the non-finite values) at the end of a series begin.

    An exponential search backwards reads only some of the values, so other values in between may go unnoticed.
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
    """Return the index of the first non-finite value; the series must have one."""
    values = series.values
    # The sum of a piece is not finite if one of its values is not.
    begin = next(at for at in range(0, len(values), 1000) if not math.isfinite(sum(values[at : at + 1000])))
    return next(index for index in range(begin, len(values)) if not math.isfinite(values[index]))


MIN_RETURNS = 3
"""Minimum number of rows that continue the rows of another process than the row before, for ``two_writers``."""


@finding("stopped", "info", rank=300)
def stopped(collector: FindingCollector) -> None:
    """Find ``stopped``: the run ended before its last planned step with everything saved.

    Causes are LlamaBoard's abort button and early stopping.
    """
    if collector.status.state != "stopped":
        return
    document = collector.run.files.state
    early = document is not None and document.early_stopping
    collector.add(
        "stopped", {"at": collector.step, "total": collector.progress.total_steps}, step=collector.step,
        variant="early_stopping" if early else "",
    )  # fmt: skip


@finding("stale_results", "info", rank=310)
def stale_results(collector: FindingCollector) -> None:
    """Find ``stale_results``: a results file belongs to an earlier attempt, since the training rows are newer."""
    found = collector.run.results()
    stale = [split for split in ("train", "eval", "predict") if split in found and found[split].stale]
    if stale:
        collector.add("stale_results", {"files": ", ".join(found[split].file for split in stale)})


@finding("two_writers", "warning", rank=200)
def two_writers(collector: FindingCollector) -> None:
    """Find ``two_writers``: two trainings write into one trainer_log.jsonl at the same time.

    At least 3 rows continue, by their step and clock, the rows of another process than the row before them. A resume
    repeats steps as well, but no row of the earlier process follows it.
    """
    table, writers = collector.run.files.tables.get(TRAINER_LOG), collector.run.timeline.writers
    if table is None or not table.rows or writers is None:
        return
    if writers.returns >= MIN_RETURNS and writers.returns >= 2 * (writers.started - 1):
        collector.add("two_writers", {"returns": writers.returns, "file": table.file}, step=writers.first)


@finding("resumed", "info", rank=400)
def resumed(collector: FindingCollector) -> None:
    """Find ``resumed``: the log has more than one segment.

    Earlier rows beyond the point of a resume are replaced. If the planned steps have changed with the resume, the
    learning rate follows another schedule since.
    """
    if not collector.run.resumed_at or collector.has("two_writers"):
        return
    first = int(collector.run.resumed_at[-1])
    count = len(collector.run.resumed_at)
    timeline = collector.run.timeline
    start = timeline.starts[-1]
    # The first row comes logging_steps after the checkpoint, which is not before the last row that was kept.
    kept = (timeline.rows[start - 1].step or 0) if start else 0
    saved = [item.step for item in collector.run.checkpoints() if kept <= item.step < first]
    evidence: dict[str, Param | None] = {"count": count, "last": max(saved, default=first)}
    before = timeline.rows[start - 1].total_steps if start else None
    after = timeline.rows[start].total_steps if start < len(timeline.rows) else None
    variant = "" if count == 1 else "times"
    if before is not None and after is not None and before != after:
        evidence.update(before=before, after=after)
        variant = "replanned" if count == 1 else "times_replanned"
    collector.add("resumed", evidence, step=first, variant=variant)


@finding("rerun", "info", rank=410)
def rerun(collector: FindingCollector) -> None:
    """Find ``rerun``: checkpoints of another attempt are in the directory.

    They are older than this training, or beyond both its planned and its last step. An automatic resume uses the
    highest step, whichever attempt it belongs to.
    """
    total = collector.progress.total_steps
    if collector.step is None or collector.progress.unit != "steps":
        return
    foreign = [item for item in collector.run.checkpoints() if item.foreign]
    if not foreign:
        return
    worst = foreign[-1]
    beyond = total is not None and worst.step > max(total, collector.step)
    collector.add(
        "rerun", {"checkpoint": worst.path, "count": len(foreign), "total": total if beyond else None},
        variant="" if beyond else "older",
    )  # fmt: skip
