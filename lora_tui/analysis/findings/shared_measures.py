"""Values that several findings need: the check of the loss, reference losses, learning rates."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.detectors.incremental import updated_check
from lora_tui.analysis.detectors.train_loss import LossCheck, LossInputs
from lora_tui.analysis.findings.collector import FindingCollector
from lora_tui.analysis.rating_rules import usual_lr_ranges
from lora_tui.analysis.stages import LANGUAGE_STAGES
from lora_tui.analysis.statistics import rounded

LR_ADVICE = 0.3
"""Factor from a learning rate with which a run diverged to the one that is advised instead."""
START_TOLERANCE = 0.13
"""Relative distance of the first loss of a preference run from its theoretical value that counts as a wrong start."""


def loss_check(collector: FindingCollector) -> LossCheck | None:
    """Return the check of the train loss, None where ratios of losses mean nothing.

    Only language model stages, and preference stages with a known loss at the start, have one.
    """
    loss = collector.loss
    if loss is None or not loss.finite:
        return None
    start: float | None = None
    if collector.stage is None:
        if loss.min < 0:
            return None
    elif collector.stage not in LANGUAGE_STAGES:
        start = reference_loss(collector)
        if start is None:
            return None
        if abs(run_facts.head(loss, 1)[0] / start - 1) > START_TOLERANCE:
            # A wrong start is another finding; the later losses are then compared with the first one.
            start = None
    inputs = LossInputs(collector.resume_steps, collector.progress.total_steps, start)
    lr = collector.run.series.get("lr")
    return updated_check(loss, LossCheck, (inputs, id(lr)), lambda: LossCheck(inputs, lr))


def reference_loss(collector: FindingCollector) -> float | None:
    """Return the loss of a policy that equals its reference, None where theory gives no value.

    It is ln 2 for the sigmoid loss of dpo and for reward models, and 1/2 for kto with weights of 1. Other losses (orpo,
    simpo, ipo, hinge, or with an sft part) start elsewhere.
    """
    run = collector.run
    if collector.stage == "rm":
        return math.log(2)
    if collector.stage == "kto":
        weights = (
            run_facts.number(run, "kto_chosen_weight") or 1.0,
            run_facts.number(run, "kto_rejected_weight") or 1.0,
        )
        return 0.5 if weights == (1.0, 1.0) and not run_facts.number(run, "pref_ftx") else None
    if collector.stage == "dpo":
        kind = run_facts.names(run, "pref_loss") | run_facts.names(run, "loss_type")
        plain = not kind or kind == {"sigmoid"}
        smoothed = run_facts.number(run, "dpo_label_smoothing") or run_facts.number(run, "pref_ftx")
        return math.log(2) if plain and not smoothed else None
    return None


def peak_lr(collector: FindingCollector) -> float | None:
    """Return the highest learning rate so far or the planned one, whichever is higher; None without both."""
    lr = collector.run.series.get("lr")
    seen = lr.max if lr is not None and lr.finite else 0.0
    planned = run_facts.number(collector.run, "learning_rate") or 0.0
    peak = max(seen, planned)
    return peak if peak > 0 else None


def usual_low(collector: FindingCollector) -> float | None:
    """Return the low end of the usual learning rates of this stage and method, None if not known.

    It is the lower of two if the method is not known.
    """
    if collector.stage is None:
        return None
    ranges = usual_lr_ranges(collector.stage, collector.run.method, collector.context.lr_ranges)
    return min((low for low, _ in ranges.values()), default=None)


def lower_lr(collector: FindingCollector) -> float | None:
    """Return the learning rate to try instead of one that was too high, None if that is not known."""
    peak = peak_lr(collector)
    return rounded(peak * LR_ADVICE, 2) if peak is not None else None
