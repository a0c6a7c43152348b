"""Findings of the training signal: what the curves say. Each docstring has its rule."""

from __future__ import annotations

from lora_tui.insight import facts
from lora_tui.insight.bands import LANGUAGE_STAGES
from lora_tui.insight.finder import Finder
from lora_tui.insight.model import Param
from lora_tui.series import Series

MEMORISED_EPOCHS, MEMORISED_LOSS = 5.0, 0.05
UNSEEN_EPOCHS, UNSEEN_LOSS = 3.0, 0.2
"""The weaker form of the memorised rule, without an evaluation (Unsloth: < 0.2 probably overfitting)."""
GAP_FIT = 8.0
"""Percent, the good band of the gap's rating, so that the finding and the rating never contradict each other."""


def memorised(finder: Finder) -> None:
    """sft: at least 5 epochs and a median loss of the last 20 rows below 0.05; or below 0.2 after 3 epochs with no
    evaluation at all (info). Not where the eval loss is as low: such data has answers that are sure."""
    loss, epoch = finder.loss, finder.progress.epoch
    if finder.stage != "sft" or loss is None or not loss.finite or epoch is None or finder.has("dead_run", "nan_loss"):
        return
    now = facts.median(loss.tail(20))
    evals = finder.run.series.get("eval_loss")
    current = facts.last_eval(finder.run, finder.status)
    if current is not None and current[0] <= max(2 * now, 2 * MEMORISED_LOSS):
        return
    strong = epoch >= MEMORISED_EPOCHS and now < MEMORISED_LOSS
    if not strong and not (epoch > UNSEEN_EPOCHS and now < UNSEEN_LOSS and current is None):
        return
    evidence: dict[str, Param | None] = {"epochs": facts.rounded(epoch), "loss": facts.rounded(now, 3)}
    for name in ("total_tokens", "num_tokens"):
        tokens = finder.run.series.get(name)
        if tokens is not None and tokens.finite:
            evidence["tokens_per_pass"] = int(tokens.tail(1)[0] / max(epoch, 1.0))
    if current is not None:
        evidence["eval_loss"] = facts.rounded(current[0])
        if evals is not None and evals.finite:
            evidence["best_eval_loss"] = facts.rounded(evals.min)
    variant = ("eval" if current is not None else "") if strong else "unseen"
    bound = MEMORISED_LOSS if strong else UNSEEN_LOSS
    finder.add("memorised", "warning" if strong else "info", evidence, step=_crossing(loss, bound), variant=variant)


def healthy_fit(finder: Finder) -> None:
    """Ended, sft or pt, at least 3 evaluations, on 50 samples or more, the best among the last 2, gap at most
    8 % (and not below -15 %: then the two do not measure the same), and a train loss that has fallen by 5 % and is
    not rising again."""
    evals = finder.run.series.get("eval_loss")
    if not facts.final(finder.status) or finder.stage not in LANGUAGE_STAGES or evals is None or finder.loss is None:
        return
    if evals.finite < 3 or evals.nonfinite or finder.has("dead_run", "nan_loss", "memorised"):
        return
    recent = evals.tail(2)
    found = facts.gap(finder.run, finder.status)
    if found is None:
        return
    gap = found[0]
    if not -15 <= gap <= GAP_FIT or min(recent) > evals.min:
        return
    results = finder.run.results().get("eval")
    count = facts.samples(results, "eval", finder.run) if results is not None else None
    if count is not None and count < facts.FEW_SAMPLES:
        return
    size = facts.window(finder.loss.finite)
    if facts.median(finder.loss.tail(size)) > 0.95 * facts.median(facts.head(finder.loss, size)):
        # Two losses that never moved agree as well.
        return
    if facts.above_start(finder.loss) is not None or facts.diverging(finder.loss) is not None:
        return
    evidence: dict[str, Param | None] = {
        "gap": round(gap, 1), "eval_loss": facts.rounded(recent[-1]), "best_eval_loss": facts.rounded(evals.min),
        "evals": evals.finite,
    }  # fmt: skip
    once = finder.progress.epoch is not None and finder.progress.epoch <= 1.01
    finder.add("healthy_fit", "good", evidence, variant="single_epoch" if once else "")


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


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (memorised, healthy_fit):
        part(finder)
