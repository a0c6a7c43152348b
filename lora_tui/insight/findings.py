"""What is worth knowing about a run, the worst first: codes, steps and numbers, no words.

Each function's docstring has its rule. One cause makes one finding, and a healthy run has no warning and no critical at
any moment of its life.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lora_tui.insight import facts
from lora_tui.insight.bands import LANGUAGE_STAGES, PREFERENCE_STAGES
from lora_tui.insight.model import Finding, Param, Severity
from lora_tui.run import Progress, Run, Status
from lora_tui.series import Series

CODES: tuple[str, ...] = (
    "nan_loss", "dead_run", "out_of_memory", "failed", "stalled", "interrupted", "memorised", "healthy_fit", "stopped",
    "stale_results", "best_checkpoint", "resumed", "rerun", "no_eval", "not_logged",
)  # fmt: skip
"""Every code that :func:`find` can return, in the order in which equals are listed."""
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "good", "info")
"""From the worst on; the verdict that all is well goes before mere notes."""
ZEROS = 3
"""Consecutive losses of exactly 0 that mean dead weights."""
ALIVE = 0.1
"""A loss of this size does not reach 0 by learning within a row."""
MEMORISED_EPOCHS, MEMORISED_LOSS = 5.0, 0.05
UNSEEN_EPOCHS, UNSEEN_LOSS = 3.0, 0.2
"""The weaker form of the memorised rule, without an evaluation (Unsloth: < 0.2 probably overfitting)."""
GAP_FIT = 8.0
"""Percent, the good band of the gap's rating, so that the finding and the rating never contradict each other."""
_DISK = ("No space left", "File too large", "Disk quota exceeded")


class _Finder:
    """The findings of one run at one moment."""

    def __init__(self, run: Run, now: float) -> None:
        self.run = run
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.stage, _ = facts.stage(run)
        self.step = self.progress.step if self.progress.unit == "steps" else None
        self.loss: Series | None = run.series.get("loss")
        self.out: list[Finding] = []

    def add(
        self, code: str, severity: Severity, evidence: Mapping[str, Param | None], *,
        step: float | None = None, end_step: int | None = None, variant: str = "",
    ) -> None:  # fmt: skip
        """What is not known is left out of the evidence."""
        known = {key: value for key, value in evidence.items() if value is not None}
        at = None if step is None or not math.isfinite(step) else int(step)
        self.out.append(Finding(code, severity, at, end_step, known, variant))

    def has(self, *codes: str) -> bool:
        return any(finding.code in codes for finding in self.out)

    def resume(self) -> dict[str, Param | None]:
        """Where this attempt can go on, and what that costs."""
        lost = self.progress.steps_at_risk
        if lost is None or self.step is None:
            return {}
        point = facts.resume_point(self.run, self.step)
        if lost >= self.step or point is None:
            return {"lost": lost}
        return {"checkpoint": point[1], "lost": lost}

    # Broken

    def dead_run(self) -> None:
        """At least 3 losses of exactly 0 at the end, after losses of 0.1 and more, grad_norm nan or unknown; one such
        loss is enough where grad_norm is nan at its step.

        transformers' ``logging_nan_inf_filter`` prints 0.0 for a NaN loss. A smooth approach to 0, a saturated
        preference run (accuracy >= 0.95) and a finite grad_norm at those steps are not dead.
        """
        loss = self.loss
        if loss is None or len(loss) < 2 or loss.values[-1] != 0.0:
            return
        begin = _tail_begin(loss, zero=True)
        norms = self.run.series.get("grad_norm")
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
            sure = self.run.series.get(name)
            if sure is not None and sure.finite and sure.tail(1)[0] >= 0.95:
                return
        point = facts.resume_point(self.run, int(step) - 1)
        self.add(
            "dead_run", "critical",
            {"last_loss": facts.rounded(before[-1]), "rows": len(loss) - begin,
             "checkpoint": point[1] if point else None},
            step=step, variant="" if point else "restart",
        )  # fmt: skip

    def nan_loss(self) -> None:
        """A NaN or Infinity in the loss; one alone, with finite rows after it, is a warning. Or a NaN eval loss."""
        if self.has("dead_run"):
            return
        loss = self.loss
        if loss is not None and loss.nonfinite:
            lasting = not math.isfinite(loss.values[-1])
            begin = _tail_begin(loss, zero=False) if lasting else _first_nonfinite(loss)
            step = loss.steps[begin]
            point = facts.resume_point(self.run, int(step) - 1)
            critical = lasting or loss.nonfinite >= 3
            self.add(
                "nan_loss", "critical" if critical else "warning",
                {"count": loss.nonfinite, "rows": len(loss), "checkpoint": point[1] if point else None},
                step=step, end_step=None if lasting or loss.nonfinite > 1 else int(step),
                variant="" if critical else "once",
            )  # fmt: skip
            return
        evals = self.run.series.get("eval_loss")
        results = self.run.results().get("eval")
        bad_result = results is not None and not results.stale and math.isnan(results.values.get("eval_loss", 0.0))
        if loss is None or not loss.finite:
            return
        if evals is not None and evals.nonfinite and math.isnan(evals.values[-1]) and evals.steps[-1] > 0:
            begin = _tail_begin(evals, zero=False)
            self.add("nan_loss", "critical", {"count": evals.nonfinite}, step=evals.steps[begin], variant="eval")
        elif bad_result:
            self.add("nan_loss", "critical", {"count": 1}, step=loss.last_step, variant="eval")

    def ended_badly(self) -> None:
        """The run's state is failed, stalled or interrupted: what happened and where it can go on."""
        state, failure = self.status.state, self.status.failure
        step = self.step
        total = self.progress.total_steps
        if state == "failed":
            message = failure.message if failure is not None else None
            evidence: dict[str, Param | None] = {"message": message, "at": step, "total": total, **self.resume()}
            during = failure.during if failure is not None else None
            if failure is not None and failure.kind == "out_of_memory":
                variant = {"evaluating": "eval", "predicting": "predict"}.get(during or "", "")
                self.add("out_of_memory", "critical", evidence, step=step, variant=variant)
                return
            train = self.run.results().get("train")
            if self.progress.unit == "batches":
                variant = "job"
            elif step is not None and total is not None and step >= total and train is not None and not train.stale:
                variant = "after"
            elif message is not None and any(sign in message for sign in _DISK):
                variant = "disk" if evidence.get("checkpoint") is not None else "disk_no_checkpoint"
            elif self.loss is None or not len(self.loss):
                variant = "early"
            elif step is None:
                variant = "no_step"
            else:
                variant = "" if evidence.get("checkpoint") is not None else "no_checkpoint"
            self.add("failed", "critical", evidence, step=step, variant=variant)
        elif state == "stalled":
            evidence = {"silent_s": self.status.silent_s, "usual_s": self.status.usual_s, **self.resume()}
            self.add("stalled", "critical", evidence, step=step, variant="" if self.status.usual_s else "unknown")
        elif state == "interrupted":
            message = failure.message if failure is not None else None
            evidence = {
                "message": message, "at": step, "total": total, "silent_s": self.status.silent_s, **self.resume(),
            }  # fmt: skip
            kind = failure.kind if failure is not None else ""
            variant = {"interrupted": "asked", "terminated": "terminated"}.get(kind, "")
            if self.loss is None or not len(self.loss):
                variant = f"{variant}_early".lstrip("_")
            elif step is None:
                # A console log of plain metric lines counts no steps.
                variant = f"{variant}_no_step".lstrip("_")
            elif evidence.get("checkpoint") is None:
                variant = f"{variant}_no_checkpoint".lstrip("_")
            # Who pressed Ctrl-C knows it.
            severity: Severity = "info" if kind == "interrupted" else "warning"
            self.add("interrupted", severity, evidence, step=step, variant=variant)

    # The result will suffer

    def memorised(self) -> None:
        """sft: at least 5 epochs and a median loss of the last 20 rows below 0.05; or below 0.2 after 3 epochs with no
        evaluation at all (info). Not where the eval loss is as low: such data has answers that are sure."""
        loss, epoch = self.loss, self.progress.epoch
        if self.stage != "sft" or loss is None or not loss.finite or epoch is None or self.has("dead_run", "nan_loss"):
            return
        now = facts.median(loss.tail(20))
        evals = self.run.series.get("eval_loss")
        current = facts.last_eval(self.run, self.status)
        if current is not None and current[0] <= max(2 * now, 2 * MEMORISED_LOSS):
            return
        strong = epoch >= MEMORISED_EPOCHS and now < MEMORISED_LOSS
        if not strong and not (epoch > UNSEEN_EPOCHS and now < UNSEEN_LOSS and current is None):
            return
        evidence: dict[str, Param | None] = {"epochs": facts.rounded(epoch), "loss": facts.rounded(now, 3)}
        for name in ("total_tokens", "num_tokens"):
            tokens = self.run.series.get(name)
            if tokens is not None and tokens.finite:
                evidence["tokens_per_pass"] = int(tokens.tail(1)[0] / max(epoch, 1.0))
        if current is not None:
            evidence["eval_loss"] = facts.rounded(current[0])
            if evals is not None and evals.finite:
                evidence["best_eval_loss"] = facts.rounded(evals.min)
        variant = ("eval" if current is not None else "") if strong else "unseen"
        bound = MEMORISED_LOSS if strong else UNSEEN_LOSS
        self.add("memorised", "warning" if strong else "info", evidence, step=_crossing(loss, bound), variant=variant)

    # Worth knowing

    def healthy_fit(self) -> None:
        """Ended, sft or pt, at least 3 evaluations, on 50 samples or more, the best among the last 2, gap at most
        8 % (and not below -15 %: then the two do not measure the same), and a train loss that has fallen by 5 % and is
        not rising again."""
        evals = self.run.series.get("eval_loss")
        if not facts.final(self.status) or self.stage not in LANGUAGE_STAGES or evals is None or self.loss is None:
            return
        if evals.finite < 3 or evals.nonfinite or self.has("dead_run", "nan_loss", "memorised"):
            return
        recent = evals.tail(2)
        found = facts.gap(self.run, self.status)
        if found is None:
            return
        gap = found[0]
        if not -15 <= gap <= GAP_FIT or min(recent) > evals.min:
            return
        results = self.run.results().get("eval")
        count = facts.samples(results, "eval", self.run) if results is not None else None
        if count is not None and count < facts.FEW_SAMPLES:
            return
        size = facts.window(self.loss.finite)
        if facts.median(self.loss.tail(size)) > 0.95 * facts.median(facts.head(self.loss, size)):
            # Two losses that never moved agree as well.
            return
        if facts.above_start(self.loss) is not None or facts.diverging(self.loss) is not None:
            return
        evidence: dict[str, Param | None] = {
            "gap": round(gap, 1), "eval_loss": facts.rounded(recent[-1]), "best_eval_loss": facts.rounded(evals.min),
            "evals": evals.finite,
        }  # fmt: skip
        once = self.progress.epoch is not None and self.progress.epoch <= 1.01
        self.add("healthy_fit", "good", evidence, variant="single_epoch" if once else "")

    def stopped(self) -> None:
        """Ended below the planned steps with everything saved (LlamaBoard's abort, early stopping)."""
        if self.status.state != "stopped":
            return
        document = self.run.files.state
        early = document is not None and document.early_stopping
        self.add(
            "stopped", "info", {"at": self.step, "total": self.progress.total_steps}, step=self.step,
            variant="early_stopping" if early else "",
        )  # fmt: skip

    def stale_results(self) -> None:
        """A results file that is older than the last training row belongs to an earlier attempt."""
        found = self.run.results()
        stale = [split for split in ("train", "eval", "predict") if split in found and found[split].stale]
        if stale:
            self.add("stale_results", "info", {"files": ", ".join(found[split].file for split in stale)})

    def resumed(self) -> None:
        """The log holds more than one segment. Earlier rows beyond a resume point are replaced."""
        if self.run.resumed_at:
            last = int(self.run.resumed_at[-1])
            count = len(self.run.resumed_at)
            variant = "" if count == 1 else "times"
            self.add("resumed", "info", {"count": count, "last": last}, step=last, variant=variant)

    def rerun(self) -> None:
        """Checkpoints beyond both the plan and the run's own step: left by an earlier, longer attempt."""
        total = self.progress.total_steps
        if total is None or self.step is None or self.progress.unit != "steps":
            return
        foreign = [item.step for item in self.run.checkpoints() if item.step > max(total, self.step)]
        if foreign:
            self.add("rerun", "info", {"checkpoint": f"checkpoint-{max(foreign)}", "total": total})

    def best_checkpoint(self) -> None:
        """The complete checkpoint with the lowest eval loss, from the second evaluation on.

        Until when it stays: the trainer deletes the oldest once ``save_total_limit`` newer ones are there, and spares
        the best only with ``load_best_model_at_end`` (transformers, rotate_checkpoints).
        """
        evals = self.run.series.get("eval_loss")
        best = facts.best_checkpoint(self.run)
        if best is None or best[2] is None or evals is None or evals.finite < 2 or not math.isfinite(best[2]):
            return
        if self.has("dead_run", "nan_loss"):
            return
        step, path = best[:2]
        evidence: dict[str, Param | None] = {"checkpoint": path, "eval_loss": facts.rounded(best[2])}
        variant = "" if self.status.live else "final"
        limit = facts.number(self.run, "save_total_limit")
        document = self.run.files.state
        every = facts.number(self.run, "save_steps")
        if document is not None and document.save_steps:
            every = document.save_steps
        keeps_best = self.run.config.get("load_best_model_at_end")
        if (
            self.status.live and limit is not None and limit >= 1 and every is not None and every >= 1
            and not (keeps_best is not None and keeps_best.value in (True, "true", "True"))
        ):  # fmt: skip
            until = step + int(limit) * int(every)
            if self.progress.total_steps is not None and until <= self.progress.total_steps:
                evidence["until"] = until
                variant = "until"
        if best[2] > evals.min * 1.005:
            evidence.update(lowest=facts.rounded(evals.min), lowest_step=int(evals.min_step))
            variant = "on_disk"
        self.add("best_checkpoint", "info", evidence, step=step, variant=variant)

    def _evaluates(self) -> bool:
        """Any sign of an evaluation: a value, a result, or a row that marks one whose metrics are not logged."""
        if any(name.startswith("eval_") for name in self.run.series) or "eval" in self.run.results():
            return True
        if any("eval" in other.results() for other in self.run.linked):
            return True
        # With predict_with_generate an evaluation leaves a row without any metric, which is not the last one.
        recent = self.run.rows[-500:]
        last = self.step or 0
        return any(row.kind == "eval" or (row.kind == "mark" and (row.step or 0) < last) for row in recent)

    def no_eval(self) -> None:
        """More than one pass over the data, or the end, and no evaluation: overfitting could not be seen."""
        stages = LANGUAGE_STAGES | PREFERENCE_STAGES | {"rm"}
        epoch = self.progress.epoch
        if self.stage not in stages or self.loss is None or not self.loss.finite or epoch is None:
            return
        if (epoch > 1 or facts.final(self.status)) and not self._evaluates():
            self.add("no_eval", "info", {"epochs": facts.rounded(epoch)}, variant="" if epoch > 1 else "ended")

    def not_logged(self) -> None:
        """What LLaMA-Factory would log if an option were set: tokens/s, and grad_norm while the run goes on."""
        if not facts.llamafactory(self.run) or self.loss is None or not len(self.loss) or self.progress.unit != "steps":
            return
        if any(finding.severity == "critical" for finding in self.out):
            # Not now.
            return
        missing = []
        if "throughput" not in self.run.series and "total_tokens" not in self.run.series and self.stage != "ppo":
            missing.append("throughput")
        if self.status.live and "grad_norm" not in self.run.series and self.stage != "ppo":
            missing.append("grad_norm")
        if missing:
            self.add("not_logged", "info", {"missing": ",".join(missing)})

    def all(self) -> tuple[Finding, ...]:
        for part in (
            self.dead_run, self.nan_loss, self.ended_badly, self.memorised, self.healthy_fit, self.stopped,
            self.stale_results, self.best_checkpoint, self.resumed, self.rerun, self.no_eval, self.not_logged,
        ):  # fmt: skip
            part()
        return tuple(sorted(self.out, key=lambda one: (SEVERITIES.index(one.severity), CODES.index(one.code))))


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
    return next(index for index, value in enumerate(series.values) if not math.isfinite(value))


def _crossing(series: Series, bound: float) -> float | None:
    """A step at which the smoothed series went below ``bound``, where it is above at the start and below at the end."""
    low, high = 0, len(series.smooth) - 1
    if high < 0 or not series.smooth[high] < bound or not series.smooth[0] >= bound:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if series.smooth[middle] < bound:
            high = middle
        else:
            low = middle
    return series.steps[high]


def find(run: Run, now: float) -> tuple[Finding, ...]:
    """The findings of a run at a moment, the worst first."""
    return _Finder(run, now).all()
