"""Findings of what lies on disk: results, checkpoints, settings. Each docstring has its rule."""

from __future__ import annotations

import math

from lora_tui.insight import facts
from lora_tui.insight.bands import LANGUAGE_STAGES, PREFERENCE_STAGES
from lora_tui.insight.finder import Finder
from lora_tui.insight.model import Param


def stopped(finder: Finder) -> None:
    """Ended below the planned steps with everything saved (LlamaBoard's abort, early stopping)."""
    if finder.status.state != "stopped":
        return
    document = finder.run.files.state
    early = document is not None and document.early_stopping
    finder.add(
        "stopped", "info", {"at": finder.step, "total": finder.progress.total_steps}, step=finder.step,
        variant="early_stopping" if early else "",
    )  # fmt: skip


def stale_results(finder: Finder) -> None:
    """A results file that is older than the last training row belongs to an earlier attempt."""
    found = finder.run.results()
    stale = [split for split in ("train", "eval", "predict") if split in found and found[split].stale]
    if stale:
        finder.add("stale_results", "info", {"files": ", ".join(found[split].file for split in stale)})


def resumed(finder: Finder) -> None:
    """The log holds more than one segment. Earlier rows beyond a resume point are replaced."""
    if finder.run.resumed_at:
        last = int(finder.run.resumed_at[-1])
        count = len(finder.run.resumed_at)
        variant = "" if count == 1 else "times"
        finder.add("resumed", "info", {"count": count, "last": last}, step=last, variant=variant)


def rerun(finder: Finder) -> None:
    """Checkpoints beyond both the plan and the run's own step: left by an earlier, longer attempt."""
    total = finder.progress.total_steps
    if total is None or finder.step is None or finder.progress.unit != "steps":
        return
    foreign = [item.step for item in finder.run.checkpoints() if item.step > max(total, finder.step)]
    if foreign:
        finder.add("rerun", "info", {"checkpoint": f"checkpoint-{max(foreign)}", "total": total})


def best_checkpoint(finder: Finder) -> None:
    """The complete checkpoint with the lowest eval loss, from the second evaluation on.

    Until when it stays: the trainer deletes the oldest once ``save_total_limit`` newer ones are there, and spares
    the best only with ``load_best_model_at_end`` (transformers, rotate_checkpoints).
    """
    evals = finder.run.series.get("eval_loss")
    best = facts.best_checkpoint(finder.run)
    if best is None or best[2] is None or evals is None or evals.finite < 2 or not math.isfinite(best[2]):
        return
    if finder.has("dead_run", "nan_loss"):
        return
    step, path = best[:2]
    evidence: dict[str, Param | None] = {"checkpoint": path, "eval_loss": facts.rounded(best[2])}
    variant = "" if finder.status.live else "final"
    limit = facts.number(finder.run, "save_total_limit")
    document = finder.run.files.state
    every = facts.number(finder.run, "save_steps")
    if document is not None and document.save_steps:
        every = document.save_steps
    keeps_best = finder.run.config.get("load_best_model_at_end")
    if (
        finder.status.live and limit is not None and limit >= 1 and every is not None and every >= 1
        and not (keeps_best is not None and keeps_best.value in (True, "true", "True"))
    ):  # fmt: skip
        until = step + int(limit) * int(every)
        if finder.progress.total_steps is not None and until <= finder.progress.total_steps:
            evidence["until"] = until
            variant = "until"
    if best[2] > evals.min * 1.005:
        evidence.update(lowest=facts.rounded(evals.min), lowest_step=int(evals.min_step))
        variant = "on_disk"
    finder.add("best_checkpoint", "info", evidence, step=step, variant=variant)


def _evaluates(finder: Finder) -> bool:
    """Any sign of an evaluation: a value, a result, or a row that marks one whose metrics are not logged."""
    if any(name.startswith("eval_") for name in finder.run.series) or "eval" in finder.run.results():
        return True
    if any("eval" in other.results() for other in finder.run.linked):
        return True
    # With predict_with_generate an evaluation leaves a row without any metric, which is not the last one.
    recent = finder.run.rows[-500:]
    last = finder.step or 0
    return any(row.kind == "eval" or (row.kind == "mark" and (row.step or 0) < last) for row in recent)


def no_eval(finder: Finder) -> None:
    """More than one pass over the data, or the end, and no evaluation: overfitting could not be seen."""
    stages = LANGUAGE_STAGES | PREFERENCE_STAGES | {"rm"}
    epoch = finder.progress.epoch
    if finder.stage not in stages or finder.loss is None or not finder.loss.finite or epoch is None:
        return
    if (epoch > 1 or facts.final(finder.status)) and not _evaluates(finder):
        finder.add("no_eval", "info", {"epochs": facts.rounded(epoch)}, variant="" if epoch > 1 else "ended")


def not_logged(finder: Finder) -> None:
    """What LLaMA-Factory would log if an option were set: tokens/s, and grad_norm while the run goes on."""
    if (
        not facts.llamafactory(finder.run)
        or finder.loss is None
        or not len(finder.loss)
        or finder.progress.unit != "steps"
    ):
        return
    if any(finding.severity == "critical" for finding in finder.out):
        # Not now.
        return
    missing = []
    if "throughput" not in finder.run.series and "total_tokens" not in finder.run.series and finder.stage != "ppo":
        missing.append("throughput")
    if finder.status.live and "grad_norm" not in finder.run.series and finder.stage != "ppo":
        missing.append("grad_norm")
    if missing:
        finder.add("not_logged", "info", {"missing": ",".join(missing)})


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (stopped, stale_results, resumed, rerun, best_checkpoint, no_eval, not_logged):
        part(finder)
