"""Findings of the evaluations: overfitting, memorising, a fit that is sound. Each docstring has its rule."""

from __future__ import annotations

import math
from bisect import bisect_right

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.datasets import overlap
from lora_tui.analysis.detectors.incremental import FIRST_CHECK, followed
from lora_tui.analysis.detectors.loss import LOW, LOWISH, low_rows
from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.findings.eval_course import EvalCourse, eval_noise
from lora_tui.analysis.findings.loss_terms import course_of
from lora_tui.analysis.model import Param
from lora_tui.analysis.rating_rules import LANGUAGE_STAGES
from lora_tui.analysis.statistics import finite_before, median, rounded, spread

BETTER = 0.005
GAP_FIT = 8.0
"""Percent, the good band of the gap's rating, so that the finding and the rating never contradict each other."""
STUCK, GAIN = 0.01, -math.log(1 - 0.1)
MEMORISED_EPOCHS, UNSEEN_EPOCHS = 5.0, 3.0
ACCURACIES = ("eval_rewards/accuracies", "eval_accuracy")


def overfitting(finder: Finder) -> None:
    """At least 3 evaluations, the best not among the last 2, the last above it by 2 % and 0.005 and three times the
    noise of an evaluation, the one before by half of that, and the last by half of that above the better neighbour of
    the best (a lone dip is no turn). The train loss has not risen as well: then the run is losing what it had. In
    preference stages only where the accuracy of the evaluations has fallen too. Closed after two evaluations that are
    not above it by 80 % of this."""
    evals = finder.run.series.get("eval_loss")
    stage = finder.stage
    if evals is None or not evals.finite or stage in ("ppo", "grpo"):
        return
    if finder.has("dead_run", "nan_loss", "diverging", "worse_than_start"):
        return
    starts = tuple(float(step) for step in finder.run.resumed_at)
    course = followed(evals, EvalCourse, starts, lambda: EvalCourse(starts))
    for episode in (*course.rising.past, course.rising.now):
        if episode is None:
            continue
        over = episode.end is not None
        best_step, last_step = float(episode.evidence["best_step"]), float(episode.evidence["last_step"])
        then, now = _train_rows(finder, best_step), _train_rows(finder, last_step)
        if _risen(finder, then, now):
            continue
        if stage not in (None, *LANGUAGE_STAGES) and not _less_accurate(finder, best_step, last_step):
            continue
        evidence: dict[str, Param | None] = {**episode.evidence, "checkpoint": _checkpoint_of(finder, best_step)}
        if then and now:
            evidence.update(train_then=rounded(median(then)), train_now=rounded(median(now)))
        variant = "over" if over else "" if evidence["checkpoint"] is not None else "no_checkpoint"
        end = int(episode.end) if episode.end is not None else None
        finder.add(
            "overfitting", "warning", evidence, step=episode.begin, end_step=end, variant=variant, over=over,
        )  # fmt: skip


def _train_rows(finder: Finder, step: float) -> list[float]:
    """Train losses of the rows before a step, none where they are too few or not positive."""
    loss = finder.loss
    if loss is None:
        return []
    end = bisect_right(loss.steps, step)
    rows = finite_before(loss.values, end, max(6, min(20, end // 10)))
    return rows if len(rows) >= 3 and min(rows) > 0 else []


def _risen(finder: Finder, then: list[float], now: list[float]) -> bool:
    """The train loss has probably risen by more than 5 %, or in its last three rows by more than 15 %."""
    if not then or not now:
        return False
    return any(
        math.log(median(part) / median(then)) > max(math.log(least), sure * _error(finder, then, part))
        for part, least, sure in ((now, 1.05, 1.0), (now[-3:], 1.15, 1.5))
    )


def _error(finder: Finder, then: list[float], now: list[float]) -> float:
    """Standard error of the logarithm of the ratio of their medians."""
    course = course_of(finder)
    known = course.spread if course is not None else spread([*then, *now])
    return math.hypot(known.error(len(then)), known.error(len(now)))


def _less_accurate(finder: Finder, best_step: float, last_step: float) -> bool:
    for name in ACCURACIES:
        series = finder.run.series.get(name)
        if series is not None:
            then, now = series.at(best_step), series.at(last_step)
            return then is not None and now is not None and now < then - 0.01
    return False


def _checkpoint_of(finder: Finder, step: float) -> str | None:
    return next((item.path for item in finder.run.checkpoints() if item.complete and item.step == step), None)


def better_checkpoint(finder: Finder) -> None:
    """The best evaluation is 0.5 % and two noises better than the last, neither of the last two (of 3 at least) is the
    best, and its checkpoint is on disk."""
    evals = finder.run.series.get("eval_loss")
    if evals is None or evals.finite < 3 or not math.isfinite(evals.values[-1]) or finder.stage in ("ppo", "grpo"):
        return
    if finder.has("overfitting", "dead_run", "nan_loss"):
        return
    last, best = evals.values[-1], evals.min
    margin = max(BETTER * best, 2 * eval_noise(evals.tail(25)))
    if last - best <= margin or evals.min_step in evals.steps[-2:]:
        return
    path = _checkpoint_of(finder, evals.min_step)
    if path is not None:
        finder.add(
            "better_checkpoint", "info",
            {"checkpoint": path, "best_eval_loss": rounded(best), "last_eval_loss": rounded(last)}, step=evals.min_step,
        )  # fmt: skip


def memorised(finder: Finder) -> None:
    """sft: at least 5 epochs and a median loss of the last 20 rows (a third of a short run) below 0.05; or below 0.2
    after 3 epochs with no evaluation at all (info). Not where the eval loss is as low: such data has answers that are
    sure."""
    loss, epoch = finder.loss, finder.progress.epoch
    if finder.stage != "sft" or loss is None or not loss.finite or epoch is None or finder.has("dead_run", "nan_loss"):
        return
    now = median(loss.tail(low_rows(loss.finite)))
    course = course_of(finder) if loss.finite >= FIRST_CHECK else None
    low, lowish = (course.low.now, course.lowish.now) if course is not None else (None, None)
    if loss.finite < FIRST_CHECK:
        sure, likely = now < LOW, now < LOWISH
    else:
        sure, likely = low is not None, lowish is not None
    evals = finder.run.series.get("eval_loss")
    current = facts.last_eval(finder.run, finder.status)
    if current is not None and current[0] <= max(2 * now, 2 * LOW):
        return
    strong = epoch >= MEMORISED_EPOCHS and sure
    if not strong and not (epoch > UNSEEN_EPOCHS and likely and current is None):
        return
    evidence: dict[str, Param | None] = {"epochs": rounded(epoch), "loss": rounded(now, 3)}
    for name in ("total_tokens", "num_tokens"):
        tokens = finder.run.series.get(name)
        if tokens is not None and tokens.finite:
            evidence["tokens_per_pass"] = int(tokens.tail(1)[0] / max(epoch, 1.0))
    if current is not None:
        evidence["eval_loss"] = rounded(current[0])
        if evals is not None and evals.finite:
            evidence["best_eval_loss"] = rounded(evals.min)
    variant = ("eval" if current is not None else "") if strong else "unseen"
    since = low if strong else lowish
    finder.add(
        "memorised", "warning" if strong else "info", evidence, step=since.begin if since is not None else None,
        variant=variant,
    )  # fmt: skip


def gap_widening(finder: Finder) -> None:
    """Info, sft and pt: over the last half of at least 4 evaluations the eval loss fell by less than 1 % while the
    train loss surely fell by 10 %: what is still learned does not carry over to unseen data."""
    evals, loss = finder.run.series.get("eval_loss"), finder.loss
    if finder.stage not in LANGUAGE_STAGES or evals is None or loss is None or len(evals) < 4 or evals.nonfinite:
        return
    if finder.has("dead_run", "nan_loss", "diverging", "worse_than_start", "overfitting", "memorised"):
        return
    half = len(evals) // 2
    before, last = evals.values[-half - 1], evals.values[-1]
    then, now = (_train_rows(finder, evals.steps[row]) for row in (-half - 1, -1))
    if before <= 0 or (before - last) / before > STUCK or len(then) < 6 or len(now) < 6:
        return
    fall = math.log(median(then) / median(now))
    if fall - 2 * _error(finder, then, now) > GAIN:
        finder.add(
            "gap_widening", "info",
            {"before": rounded(before), "last": rounded(last), "train_then": rounded(median(then)),
             "train_now": rounded(median(now)), "gap": round((last / median(now) - 1) * 100, 1)},
            step=evals.steps[-half - 1],
        )  # fmt: skip


def healthy_fit(finder: Finder) -> None:
    """Ended, sft or pt, at least 3 evaluations, on 50 samples or more, the best among the last 2, gap at most
    8 % (and not below -15 %: then the two do not measure the same), and a train loss that has fallen by 5 % and is
    not rising again. Not where the evaluation is proven to have used training data."""
    evals = finder.run.series.get("eval_loss")
    if not facts.final(finder.status) or finder.stage not in LANGUAGE_STAGES or evals is None or finder.loss is None:
        return
    if evals.finite < 3 or evals.nonfinite:
        return
    if finder.has(
        "dead_run", "nan_loss", "memorised", "overfitting", "diverging", "worse_than_start", "no_learning",
    ):  # fmt: skip
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
    if overlap(finder.run, finder.run):
        # On data that was trained on, the two losses agree whatever was learned.
        return
    size = facts.window(finder.loss.finite)
    if facts.median(finder.loss.tail(size)) > 0.95 * facts.median(facts.head(finder.loss, size)):
        # Two losses that never moved agree as well.
        return
    evidence: dict[str, Param | None] = {
        "gap": round(gap, 1), "eval_loss": rounded(recent[-1]), "best_eval_loss": rounded(evals.min),
        "evals": evals.finite,
    }  # fmt: skip
    once = finder.progress.epoch is not None and finder.progress.epoch <= 1.01
    finder.add("healthy_fit", "good", evidence, variant="single_epoch" if once else "")
