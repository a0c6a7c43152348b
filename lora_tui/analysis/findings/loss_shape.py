"""Findings about the shape of the loss curve: flat, still falling at the end, or falling in steps.

The docstring of each function states its rule.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from lora_tui.analysis import run_facts
from lora_tui.analysis.detectors.levels import LevelChange
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.eval_loss import eval_noise
from lora_tui.analysis.findings.shared_measures import loss_check, peak_lr, usual_low
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.stages import LANGUAGE_STAGES
from lora_tui.analysis.statistics import median, rounded, spread
from lora_tui.runs.series import Series

HARDLY_MOVED = 0.02
"""Change of the logarithm of the loss, without noise, below which a curve is flat."""
SLOW_LR = 3.0
"""Factor below the usual range at which a learning rate explains a flat loss, which then needs less evidence."""
LEVEL_WITHIN = 0.09
"""Bound on the change of the logarithm of the loss in a plateau, including the uncertainty."""
STILL_FALLING = 0.03
"""Fall of the logarithm of the loss over the last fifth of the rows above which a run ended too early."""
STAIR_FALL = -math.log(1 - 0.08)
"""Fall of the logarithm of the loss (8 %) at the start of an epoch that counts as a step."""


@finding("no_learning", "warning", rank=110)
@finding("plateau", "info", rank=350)
def flat_loss(collector: FindingCollector) -> None:
    """Find ``no_learning`` and ``plateau``: the train loss of a language model is flat.

    ``no_learning``: after half of the steps, the median of the last third of the rows differs from that of the first
    third (or of the first 3, 5, 10 or 20 rows if these are clearly higher) by less than 2 % apart from noise, and with
    certainty by less than 2.5 %, at two checks. If the learning rate is three times below the usual range, less than
    15 % after 30 % of the steps is enough. At least 30 rows, and a first loss of at least 0.3.

    ``plateau`` (info): the loss has fallen by 5 %, but over the last 60 % or 40 % of the rows it is level within 9 %
    with certainty, while the learning rate is above 30 % of its peak. At least 40 rows.
    """
    check, loss = loss_check(collector), collector.loss
    if check is None or loss is None or collector.stage not in LANGUAGE_STAGES:
        return
    if collector.has("dead_run", "nan_loss", "diverging", "worse_than_start", "memorised", "overfitting"):
        return
    changes = check.changes
    first, low, peak = run_facts.head(loss, 1)[0], usual_low(collector), peak_lr(collector)
    slow = low is not None and peak is not None and peak * SLOW_LR < low
    bound, since, errors = (0.15, 0.3, 1.5) if slow else (0.025, 0.5, 2.0)
    done = collector.progress.fraction or (1.0 if run_facts.final(collector.status) else 0.0)
    whole = changes.whole
    if (
        whole is not None
        and first >= 0.3
        and done >= since
        and _flat(whole, changes.whole_before, bound, errors, errors / 2)
    ):
        evidence: dict[str, Param | None] = {
            "first": rounded(first), "now": rounded(whole.level), "change": round((math.exp(-whole.fall) - 1) * 100, 1),
            "lr": peak, "usual": low if slow else None,
        }  # fmt: skip
        collector.add("no_learning", evidence, step=whole.step, variant="slow" if slow else "")
        return
    lr = collector.run.series.get("lr")
    if loss.finite < 40 or lr is None or not lr.finite or peak is None or lr.tail(1)[0] < 0.3 * peak:
        return
    for now, before in ((changes.longer, changes.longer_before), (changes.late, changes.late_before)):
        if now is not None and _flat(now, before, LEVEL_WITHIN, 1.5, 1.0) and _has_fallen(collector, now.level):
            collector.add("plateau", {"level": rounded(now.level), "lr": lr.tail(1)[0]}, step=now.step)
            return


def _flat(now: LevelChange, before: LevelChange | None, bound: float, errors: float, chance: float) -> bool:
    """Return whether both changes are small.

    The size of each is below HARDLY_MOVED plus ``chance`` standard errors, and below ``bound`` even if ``errors``
    standard errors are added. False if there is no earlier change.
    """
    return before is not None and all(
        abs(one.fall) < HARDLY_MOVED + chance * one.error and abs(one.fall) + errors * one.error < bound
        for one in (now, before)
    )


def _has_fallen(collector: FindingCollector, level: float) -> bool:
    """Return whether the level is 5 % below the median of the first 5 rows."""
    return collector.loss is not None and level < 0.95 * median(run_facts.head(collector.loss, 5))


@finding("underfitted", "info", rank=340)
def underfitted(collector: FindingCollector) -> None:
    """Find ``underfitted`` (info, sft and pt): the run has ended while the loss was still falling.

    With at least 3 evaluations, the last one is below the one before by 1 % and by twice the noise of an evaluation,
    and no earlier one is lower. Without any, the loss of the last 20 % of the rows is below that of the 20 % before by
    3 % and by two standard errors. The last learning rate must be above 10 % of its peak, since a schedule that ends at
    0 flattens every curve; otherwise the evaluation must have fallen by 3 %.
    """
    if not run_facts.final(collector.status) or collector.stage not in LANGUAGE_STAGES:
        return
    if collector.has(
        "dead_run", "nan_loss", "diverging", "worse_than_start", "memorised", "overfitting", "no_learning"
    ):
        return
    evals = collector.run.series.get("eval_loss")
    lr, peak = collector.run.series.get("lr"), peak_lr(collector)
    moving = lr is not None and lr.finite > 0 and peak is not None and lr.tail(1)[0] > 0.1 * peak
    if evals is not None and evals.finite >= 3 and not evals.nonfinite:
        before, last = evals.tail(2)
        drop = (before - last) / before * 100 if before > 0 else 0.0
        noise = 200 * eval_noise(evals.tail(25)) / last if last > 0 else math.inf
        if drop > max(1 if moving else 3, noise) and last <= evals.min:
            collector.add(
                "underfitted", {"drop": rounded(drop, 2), "before": rounded(before), "last": rounded(last)},
                step=evals.last_step, variant="eval",
            )  # fmt: skip
        return
    check = loss_check(collector)
    late = check.changes.late if check is not None else None
    if evals is None and late is not None and moving and late.fall > max(STILL_FALLING, 2 * late.error):
        collector.add(
            "underfitted", {"drop": rounded((1 - math.exp(-late.fall)) * 100, 2), "last": rounded(late.level)},
            step=late.step,
        )  # fmt: skip


@finding("staircase", "info", rank=370)
def staircase(collector: FindingCollector) -> None:
    """Find ``staircase`` (info, sft): the loss falls at the start of each epoch, since samples are recognised.

    At least at 2 of the last 8 epoch boundaries the loss fell by 8 % within a few rows. On average these falls exceed
    the noise, and twice the fall in the middle of the epochs before them.
    """
    loss, epochs = collector.loss, collector.run.series.get("epoch")
    if collector.stage != "sft" or loss is None or epochs is None or not len(epochs) or collector.run.resumed_at:
        return
    done = int(epochs.values[-1])
    if done < 2 or collector.has("dead_run", "nan_loss", "diverging", "worse_than_start", "memorised"):
        return
    rows = min(10, int(len(loss) / epochs.values[-1]) // 2 - 1)
    if rows < 3:
        return
    error = spread([value for value in loss.tail(100) if value > 0]).error(rows) * math.sqrt(2)
    falls: list[tuple[float, float, float]] = []
    for boundary in range(max(1, done - 7), done + 1):
        fall, middle = (_fall_at(loss, epochs, place, rows) for place in (boundary, boundary - 0.5))
        if fall is not None and middle is not None and fall > max(STAIR_FALL, error):
            falls.append((fall, middle, float(boundary)))
    if len(falls) < 2:
        return
    mean = sum(fall for fall, _, _ in falls) / len(falls)
    usual = sum(middle for _, middle, _ in falls) / len(falls)
    if mean > max(2 * usual, 2.5 * error / math.sqrt(len(falls))):
        at = loss.steps[min(len(loss) - 1, bisect_left(epochs.values, falls[0][2]))]
        collector.add(
            "staircase", {"count": len(falls), "fall": rounded((1 - math.exp(-mean)) * 100, 2)}, step=at,
        )  # fmt: skip


def _fall_at(loss: Series, epochs: Series, place: float, rows: int) -> float | None:
    """Return the fall of the log loss from the ``rows`` rows before an epoch (``place``) to those after it.

    The row at that place is left out. None if too many of the values are missing.
    """
    at = bisect_right(epochs.values, place)
    before, after = loss.values[max(0, at - 1 - rows) : max(0, at - 1)], loss.values[at + 1 : at + 1 + rows]
    parts = [[value for value in part if 0 < value < math.inf] for part in (before, after)]
    if any(len(part) < rows - 1 for part in parts):
        return None
    return math.log(median(parts[0]) / median(parts[1]))
