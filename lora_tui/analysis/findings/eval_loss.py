"""Findings about evaluations: overfitting, memorised data, a healthy fit.

The docstring of each function states its rule.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from lora_tui.analysis import run_facts
from lora_tui.analysis.datasets import overlap
from lora_tui.analysis.detectors.incremental import FIRST_CHECK, Hysteresis, SeriesCheck, updated_check
from lora_tui.analysis.detectors.levels import CLOSING_WIDTH
from lora_tui.analysis.detectors.train_loss import LIKELY_MEMORISED_LOSS, MEMORISED_LOSS, low_rows
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.shared_measures import loss_check
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.stages import LANGUAGE_STAGES
from lora_tui.analysis.statistics import finite_before, median, rounded, spread, window
from lora_tui.runs.series import Series

RISE = 0.02
"""Share of the best eval loss by which an evaluation must exceed it to be worse."""
RISE_NATS = 0.005
"""Nats by which an evaluation must exceed the best one to be worse."""
RISE_NOISES = 2.5
"""Multiple of the noise of an evaluation by which one must exceed the best of 5 to be worse. It grows by 0.5 each time
the number of evaluations grows by a factor of e, since the best of more is lower by chance."""
USUAL_NOISE = 0.01
"""Usual noise of an evaluation as a share of its value: real runs, which evaluate the same samples each time, have 0.1
to 1.5 %."""
PRIOR = 3
"""Weight of USUAL_NOISE in number of second differences."""
OTHER_SET = 0.1
"""Share by which the first eval loss after a resume must differ to be of another evaluation set."""


def eval_noise(values: Sequence[float]) -> float:
    """Return the noise (standard deviation) of one eval loss, from second differences (variance 6 s^2) and USUAL_NOISE.

    Second differences before the lowest value count only where the curve changes direction, since the falling curve is
    bent without any noise.
    """
    best = values.index(min(values))
    total, count = PRIOR * (USUAL_NOISE * values[best]) ** 2, float(PRIOR)
    for at in range(1, len(values) - 1):
        a, b, c = values[at - 1 : at + 2]
        if at > best or (at < best and (b - a) * (c - b) < 0):
            total += (a - 2 * b + c) ** 2 / 6
            count += 1
    return math.sqrt(total / count)


class EvalLossCheck(SeriesCheck):
    """Checks at each evaluation whether the eval loss has started to rise.

    ``starts`` are the first steps of the segments after the first.
    """

    def __init__(self, starts: tuple[float, ...]) -> None:
        super().__init__()
        self.rising = Hysteresis(opens=1)
        self.best_row = 0
        """Index of the best evaluation."""
        self._starts = starts
        self._begin = 0
        """Index of the first evaluation of the current evaluation set."""

    def next_check(self, done: int) -> int:
        """Return the next row: every evaluation is checked."""
        return done + 1

    def check(self, column: Series, end: int) -> None:
        """Check the evaluations before row ``end``."""
        self._restart_on_other_set(column, end)
        if not math.isfinite(column.values[end - 1]):
            return
        if column.values[end - 1] < column.values[self.best_row] or not math.isfinite(column.values[self.best_row]):
            self.best_row = end - 1
        values = finite_before(column.values, end, 25, self._begin)
        best = column.values[self.best_row]
        if len(values) < 3 or best <= 0:
            return
        rise = values[-1] - best
        noises = RISE_NOISES + 0.5 * math.log(max(1.0, len(values) / 5))
        bound = max(RISE * best, RISE_NATS, noises * eval_noise(values))
        behind = self.best_row < end - 2
        fires = behind and rise > bound and min(values[-2], best + self._above_beside(column, end)) > best + bound / 2
        holds = behind and rise > CLOSING_WIDTH * bound
        begin = column.steps[min(self.best_row + 1, end - 1)]
        evidence: dict[str, Param] = {
            "best_step": int(column.steps[self.best_row]), "best_eval_loss": rounded(best),
            "last_eval_loss": rounded(values[-1]), "last_step": int(column.steps[end - 1]),
            "rise": rounded(rise / best * 100, 3),
        }  # fmt: skip
        self.rising.feed(column.steps[end - 1], fires=fires, holds=holds, begin=begin, evidence=evidence)

    def _above_beside(self, column: Series, end: int) -> float:
        """Return how far the last evaluation is above the lower neighbour of the best one.

        A single low evaluation between higher ones does not mean that the loss rises.
        """
        around = (row for row in (self.best_row - 1, self.best_row + 1) if self._begin <= row < end)
        beside = [value for row in around if math.isfinite(value := column.values[row])]
        return column.values[end - 1] - min(beside, default=column.values[self.best_row])

    def _restart_on_other_set(self, column: Series, end: int) -> None:
        """Start again after a resume with another evaluation set, whose first loss is far from the last one before."""
        if end < 2:
            return
        step, before = column.steps[end - 1], column.steps[end - 2]
        crossed = bisect_left(self._starts, step + 1) > bisect_left(self._starts, before + 1)
        a, b = column.values[end - 2], column.values[end - 1]
        if crossed and not abs(b - a) <= OTHER_SET * abs(a):
            self.rising.close(step)
            self._begin = self.best_row = end - 1


BETTER = 0.005
"""Share by which the best eval loss must be below the last one for ``better_checkpoint``."""
MAX_GAP = 8.0
"""Gap in percent up to which a fit is healthy. It equals the good threshold of the rule ``gap``, so that finding and
rating agree."""
EVAL_STUCK = 0.01
"""Maximum share by which the eval loss may have fallen for ``gap_widening``."""
TRAIN_FALL = -math.log(1 - 0.1)
"""Minimum fall of the logarithm of the train loss (10 %) for ``gap_widening``."""
MEMORISED_EPOCHS = 5.0
"""Number of epochs from which a very low loss means that the data is memorised."""
UNEVALUATED_EPOCHS = 3.0
"""Number of epochs above which a low loss without any evaluation may mean that the data is memorised."""
ACCURACIES = ("eval_rewards/accuracies", "eval_accuracy")
"""Accuracies of evaluations in preference stages; the first one that is logged counts."""


@finding("overfitting", "warning", rank=90)
def overfitting(collector: FindingCollector) -> None:
    """Find ``overfitting``: the eval loss rises while the train loss does not.

    There are at least 3 evaluations, and the best is not among the last 2. The last one exceeds it by 2 %, 0.005 nats
    and 2.5 to 3.3 times the noise of an evaluation (RISE_NOISES). The one before exceeds it by half of that, and the
    last exceeds the lower neighbour of the best by half of that, since a single low evaluation is no turning point. If
    the train loss has risen as well, the run is losing what it had learned, which is no overfitting. In preference
    stages the accuracy of the evaluations must have fallen too. It closes after two evaluations that do not exceed the
    best by 80 % of the bounds.
    """
    evals = collector.run.series.get("eval_loss")
    stage = collector.stage
    if evals is None or not evals.finite or stage in ("ppo", "grpo"):
        return
    if collector.has("dead_run", "nan_loss", "diverging", "worse_than_start"):
        return
    starts = collector.resume_steps
    check = updated_check(evals, EvalLossCheck, starts, lambda: EvalLossCheck(starts))
    for episode in check.rising.episodes:
        best_step, last_step = float(episode.evidence["best_step"]), float(episode.evidence["last_step"])
        then, now = _train_rows(collector, best_step), _train_rows(collector, last_step)
        if _train_has_risen(collector, then, now):
            continue
        if stage not in (None, *LANGUAGE_STAGES) and not _less_accurate(collector, best_step, last_step):
            continue
        evidence: dict[str, Param | None] = {**episode.evidence, "checkpoint": _checkpoint_of(collector, best_step)}
        if then and now:
            evidence.update(train_then=rounded(median(then)), train_now=rounded(median(now)))
        variant = "" if evidence["checkpoint"] is not None else "no_checkpoint"
        collector.add_episode("overfitting", episode, evidence, variant="over" if episode.end is not None else variant)


def _train_rows(collector: FindingCollector, step: float) -> list[float]:
    """Return the train losses of the last 6 to 20 rows up to a step, none if they are fewer than 3 or not positive."""
    loss = collector.loss
    if loss is None:
        return []
    end = bisect_right(loss.steps, step)
    rows = finite_before(loss.values, end, max(6, min(20, end // 10)))
    return rows if len(rows) >= 3 and min(rows) > 0 else []


def _train_has_risen(collector: FindingCollector, then: list[float], now: list[float]) -> bool:
    """Return whether the median train loss has risen by 5 %, or that of the last three rows by 15 %, beyond noise."""
    if not then or not now:
        return False
    return any(
        math.log(median(part) / median(then)) > max(math.log(least), sure * _error(collector, then, part))
        for part, least, sure in ((now, 1.05, 1.0), (now[-3:], 1.15, 1.5))
    )


def _error(collector: FindingCollector, then: list[float], now: list[float]) -> float:
    """Return the standard error of the logarithm of the ratio of the medians of two parts of the train loss."""
    check = loss_check(collector)
    known = check.spread if check is not None else spread([*then, *now])
    return math.hypot(known.error(len(then)), known.error(len(now)))


def _less_accurate(collector: FindingCollector, best_step: float, last_step: float) -> bool:
    """Return whether the accuracy of the evaluations has fallen by more than 0.01 between two steps."""
    for name in ACCURACIES:
        series = collector.run.series.get(name)
        if series is not None:
            then, now = series.at(best_step), series.at(last_step)
            return then is not None and now is not None and now < then - 0.01
    return False


def _checkpoint_of(collector: FindingCollector, step: float) -> str | None:
    """Return the path of the complete checkpoint at a step, None without one."""
    return next((item.path for item in collector.run.checkpoints() if item.complete and item.step == step), None)


@finding("better_checkpoint", "info", rank=330)
def better_checkpoint(collector: FindingCollector) -> None:
    """Find ``better_checkpoint`` (info): the checkpoint of the best evaluation is on disk and better than the last one.

    There are at least 3 evaluations, and the best is not among the last 2. It is below the last one by 0.5 % and by
    twice the noise of an evaluation.
    """
    evals = collector.run.series.get("eval_loss")
    if evals is None or evals.finite < 3 or not math.isfinite(evals.values[-1]) or collector.stage in ("ppo", "grpo"):
        return
    if collector.has("overfitting", "dead_run", "nan_loss"):
        return
    last, best = evals.values[-1], evals.min
    margin = max(BETTER * best, 2 * eval_noise(evals.tail(25)))
    if last - best <= margin or evals.min_step in evals.steps[-2:]:
        return
    path = _checkpoint_of(collector, evals.min_step)
    if path is not None:
        collector.add(
            "better_checkpoint",
            {"checkpoint": path, "best_eval_loss": rounded(best), "last_eval_loss": rounded(last)}, step=evals.min_step,
        )  # fmt: skip


@finding("memorised", "warning", rank=100)
def memorised(collector: FindingCollector) -> None:
    """Find ``memorised``: the model has memorised the training data (sft).

    The median loss of the last 20 rows (a third of a short run) is below 0.05 nats after at least 5 epochs, or (info)
    below 0.2 nats after 3 epochs without any evaluation. It is not found if the eval loss is as low, since the answers
    of the task can then be predicted with certainty.
    """
    loss, epoch = collector.loss, collector.progress.epoch
    if (
        collector.stage != "sft"
        or loss is None
        or not loss.finite
        or epoch is None
        or collector.has("dead_run", "nan_loss")
    ):
        return
    now = median(loss.tail(low_rows(loss.finite)))
    check = loss_check(collector) if loss.finite >= FIRST_CHECK else None
    low, lowish = (check.memorised.current, check.likely_memorised.current) if check is not None else (None, None)
    if loss.finite < FIRST_CHECK:
        sure, likely = now < MEMORISED_LOSS, now < LIKELY_MEMORISED_LOSS
    else:
        sure, likely = low is not None, lowish is not None
    evals = collector.run.series.get("eval_loss")
    current = run_facts.last_eval(collector.run, collector.status)
    if current is not None and current[0] <= max(2 * now, 2 * MEMORISED_LOSS):
        return
    strong = epoch >= MEMORISED_EPOCHS and sure
    if not strong and not (epoch > UNEVALUATED_EPOCHS and likely and current is None):
        return
    evidence: dict[str, Param | None] = {"epochs": rounded(epoch), "loss": rounded(now, 3)}
    for name in ("total_tokens", "num_tokens"):
        tokens = collector.run.series.get(name)
        if tokens is not None and tokens.finite:
            evidence["tokens_per_pass"] = int(tokens.tail(1)[0] / max(epoch, 1.0))
    if current is not None:
        evidence["eval_loss"] = rounded(current[0])
        if evals is not None and evals.finite:
            evidence["best_eval_loss"] = rounded(evals.min)
    variant = ("eval" if current is not None else "") if strong else "unseen"
    since = low if strong else lowish
    collector.add(
        "memorised", evidence, severity="warning" if strong else "info",
        step=since.begin if since is not None else None, variant=variant,
    )  # fmt: skip


@finding("gap_widening", "info", rank=360)
def gap_widening(collector: FindingCollector) -> None:
    """Find ``gap_widening`` (info, sft and pt): what is still learned does not generalise to unseen data.

    Over the last half of at least 4 evaluations, the eval loss fell by less than 1 % while the train loss fell by 10 %
    plus two standard errors.
    """
    evals, loss = collector.run.series.get("eval_loss"), collector.loss
    if collector.stage not in LANGUAGE_STAGES or evals is None or loss is None or len(evals) < 4 or evals.nonfinite:
        return
    if collector.has("dead_run", "nan_loss", "diverging", "worse_than_start", "overfitting", "memorised"):
        return
    half = len(evals) // 2
    before, last = evals.values[-half - 1], evals.values[-1]
    then, now = (_train_rows(collector, evals.steps[row]) for row in (-half - 1, -1))
    if before <= 0 or (before - last) / before > EVAL_STUCK or len(then) < 6 or len(now) < 6:
        return
    fall = math.log(median(then) / median(now))
    if fall - 2 * _error(collector, then, now) > TRAIN_FALL:
        collector.add(
            "gap_widening",
            {"before": rounded(before), "last": rounded(last), "train_then": rounded(median(then)),
             "train_now": rounded(median(now)), "gap": round((last / median(now) - 1) * 100, 1)},
            step=evals.steps[-half - 1],
        )  # fmt: skip


@finding("healthy_fit", "good", rank=290)
def healthy_fit(collector: FindingCollector) -> None:
    """Find ``healthy_fit`` (good): the run has ended, and train and eval loss agree (sft or pt).

    There are at least 3 evaluations on at least 50 samples, and the best is among the last 2. The gap is at most 8 %
    and at least -15 %, below which the two losses do not measure the same. The train loss has fallen by 5 %. It is not
    found if the evaluation is proven to have used training data.
    """
    evals = collector.run.series.get("eval_loss")
    if (
        not run_facts.final(collector.status)
        or collector.stage not in LANGUAGE_STAGES
        or evals is None
        or collector.loss is None
    ):
        return
    if evals.finite < 3 or evals.nonfinite:
        return
    if collector.has(
        "dead_run", "nan_loss", "memorised", "overfitting", "diverging", "worse_than_start", "no_learning",
    ):  # fmt: skip
        return
    recent = evals.tail(2)
    found = run_facts.gap(collector.run, collector.status)
    if found is None:
        return
    gap = found[0]
    if not -15 <= gap <= MAX_GAP or min(recent) > evals.min:
        return
    results = collector.run.results().get("eval")
    count = run_facts.samples(results, "eval", collector.run) if results is not None else None
    if count is not None and count < run_facts.FEW_SAMPLES:
        return
    if overlap(collector.run, collector.run):
        # If training data was evaluated, the two losses agree whatever was learned.
        return
    size = window(collector.loss.finite)
    if median(collector.loss.tail(size)) > 0.95 * median(run_facts.head(collector.loss, size)):
        # Two losses that never moved agree as well.
        return
    evidence: dict[str, Param | None] = {
        "gap": round(gap, 1), "eval_loss": rounded(recent[-1]), "best_eval_loss": rounded(evals.min),
        "evals": evals.finite,
    }  # fmt: skip
    once = collector.progress.epoch is not None and collector.progress.epoch <= 1.01
    collector.add("healthy_fit", evidence, variant="single_epoch" if once else "")
