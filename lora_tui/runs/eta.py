"""How long a training still takes: the steps to come at the pace of the present process, evaluations and saves on top.

An evaluation and a save cost time of their own, so they are taken out of the pace and put back as often as they are
still to come. A resume begins anew, since a process on another machine has another pace. Whether the bands hold the
truth is measured by ``python -m tools.judge.backtest``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from lora_tui.runs.checkpoints import list_checkpoints
from lora_tui.runs.run_data import RunData, derived
from lora_tui.runs.step_time import StepTimeSample, expected_step_time
from lora_tui.runs.timeline import Span, Timeline, build

RECENT = 20
"""Evaluations whose distance counts."""
BLOCKS = 48
"""The segment is looked at in at most this many pieces."""
EVENTS = 20
"""Evaluations and saves whose lengths are looked at: the last ones."""
Z = 1.5
"""Half the width of the band in standard deviations."""
WHOLE_VAR, LIVE_VAR = 1 / 6, 4e-4
"""Variance of the difference of two clocks that are cut to whole seconds, and of two arrivals, which wait for a flush
and a file event."""
LEAST_SPAN_S = 3.0
"""A clock of whole seconds says nothing about a shorter span."""
SKIP = 3
"""Rows left out at the start where there are four times as many: compilation, caches, a cold disk."""
SLOW, SLOW_SPREAD, SLOW_ROWS = 0.25, 0.35, 1.5
"""Where there are fewer: how much longer the first row takes than a usual one, the spread of that, and within how many
rows it fades. Published logs of GPUs show 0 to 0.1, small models on a busy CPU 0.3 to 2."""
FORWARD_SHARE = 0.4
"""Time of a sample in an evaluation as a share of its time in training: forward only, no gradient."""
EVAL_SAMPLES = 0.05
"""Samples of an evaluation as a share of the training's, where the files do not tell."""
SPREAD, UNSEEN = 0.25, 0.7
"""Relative spread of lengths of evaluations and saves before there are a few, and before there is any."""
SAVE_S, SAVE_SHARE = 5.0, 0.01
"""A save that was not seen yet takes this long, but no larger share of the run than this."""


class TimeLeft(NamedTuple):
    """Seconds: the most likely, and where the truth is to be expected in four cases of five or more."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Eta:
    """The time from the last row to the end of training."""

    left: TimeLeft
    pause: float
    """Seconds from the last row to the next one, as expected."""

    def after(self, silent: float) -> TimeLeft:
        """What is left when the last row is this old. A row that is late does not bring the end nearer."""
        gone = max(0.0, min(silent, self.pause))
        return TimeLeft(*(max(0.0, value - gone) for value in self.left))


class Cost(NamedTuple):
    """Seconds that one evaluation or save takes."""

    mean: float = 0.0
    spread: float = 0.0
    """Standard deviation from one to the next."""
    error: float = 0.0
    """Standard error of the mean."""

    def variance(self, count: int) -> float:
        """Variance of ``count`` of them together."""
        return count * self.spread**2 + (count * self.error) ** 2


@derived
def eta_of(run: RunData) -> Eta | None:
    """The time left of a training, or of an eval-only or predict job, from its last row on; ``None`` where the files
    do not carry an answer."""
    if run.timeline.rows:
        return _of(run, run.timeline, run.total_steps, training=True)
    # Batches instead of steps, with neither evaluations nor saves between them.
    rows = [row for row in run.eval_job.rows if row.kind == "progress"]
    return _of(run, build((row, None) for row in rows), rows[-1].total_steps, training=False) if rows else None


def _of(run: RunData, timeline: Timeline, total: int | None, *, training: bool) -> Eta | None:
    last, first = timeline.rows[-1], timeline.rows[timeline.starts[-1]]
    if last.step is None or first.step is None or not total or last.step >= total:
        return None
    return _Estimate(run, timeline, last.step, total, training).eta()


class _Estimate:
    """One estimate, part by part."""

    def __init__(self, run: RunData, timeline: Timeline, step: int, total: int, training: bool) -> None:
        self.run, self.timeline, self.rows = run, timeline, timeline.rows
        self.step, self.total, self.left = step, total, total - step
        self.first, self.end = timeline.starts[-1], len(timeline.rows) - 1
        self.start = self.first + min(SKIP, (self.end - self.first) // 4)
        self.seen = timeline.evals
        self.evals = eval_schedule(run, total) if training else None
        self.saves = save_schedule(run, total) if training else None
        self.ends_with_save = training
        gaps = sorted(self._steps(i, i + 1) for i in range(max(self.first, self.end - 6), self.end))
        gaps = [gap for gap in gaps if gap > 0]
        self.row_steps = gaps[len(gaps) // 2] if gaps else 1

    def eta(self) -> Eta | None:
        rate = self._mean_rate(0.0, 0.0)
        if rate is None:
            return self._from_start()
        evaluation, save = Cost(), Cost()
        for _ in range(3):
            # Each needs the others: at first the saves are still in the pace.
            evaluation = self._eval_cost(rate, save.mean)
            save = self._save_cost(rate, evaluation.mean)
            rate = self._mean_rate(evaluation.mean, save.mean) or rate
        found = expected_step_time(self._blocks(evaluation, save), self.left, self.total)
        return self._answer(*found, evaluation, save) if found is not None else None

    def _answer(self, rate: float, error: float, evaluation: Cost, save: Cost) -> Eta:
        evals, saves = self._evals_left(), self._saves_left()
        mid = self.left * rate + evals * evaluation.mean + saves * save.mean
        variance = (self.left * error) ** 2 + evaluation.variance(evals) + save.variance(saves) + WHOLE_VAR
        width = Z * math.sqrt(variance) / mid
        due = self.evals is not None and not self._evaluated and self.evals.within(self.step, self.step + 1) > 0
        pause = evaluation.mean if due else rate * self.row_steps
        # Times are skewed: the high end is as far as e^width, but without its explosion where little is known.
        return Eta(TimeLeft(mid * math.exp(-width), mid, mid * (1 + width + width * width / 2)), min(pause, mid))

    # -- the pace ------------------------------------------------------------------------------------------------

    def _steps(self, first: int, end: int) -> int:
        a, b = self.rows[first].step, self.rows[end].step
        return b - a if a is not None and b is not None else 0

    def _closes(self, index: int) -> bool:
        """A row that closes a step: an evaluation's."""
        return self.rows[index].kind in ("eval", "mark")

    def _pauses(self, first: int, end: int) -> tuple[int, int]:
        """Evaluations and saves between two rows."""
        evals = bisect_right(self.seen, end) - bisect_right(self.seen, first)
        a, b = self.rows[first].step, self.rows[end].step
        return evals, self.saves.within(a, b) if self.saves is not None and a is not None and b is not None else 0

    def _mean_rate(self, evaluation: float, save: float) -> float | None:
        """Mean seconds per step in this segment, pauses taken out."""
        span, steps = self.timeline.span(self.start, self.end), self._steps(self.start, self.end)
        if span is None or steps <= 0 or span.seconds <= 0 or (span.whole and span.seconds < LEAST_SPAN_S):
            return None
        evals, saves = self._pauses(self.start, self.end)
        return max(span.seconds - evals * evaluation - saves * save, 0.1 * span.seconds) / steps

    def _from_start(self) -> Eta | None:
        """From the clock of the only row, which holds the slow first steps as well."""
        row = self.rows[self.end]
        if self.first or row.elapsed_s is None or row.elapsed_s < LEAST_SPAN_S or not row.step:
            return None
        rate = row.elapsed_s / row.step / (1 + SLOW)
        return self._answer(rate, SLOW_SPREAD * rate, self._eval_cost(rate, 0.0), self._save_cost(rate, 0.0))

    def _blocks(self, evaluation: Cost, save: Cost) -> list[StepTimeSample]:
        stride = max(1.0, (self.end - self.start) / BLOCKS)
        edges = [self.start]
        for count in range(1, BLOCKS + 1):
            index = min(self.end, self.start + round(count * stride))
            # An evaluation's row closes the step of the row before it.
            while index < self.end and self._closes(index):
                index += 1
            if index > edges[-1]:
                edges.append(index)
        out: list[StepTimeSample] = []
        for a, b in pairwise(edges):
            span, steps = self.timeline.span(a, b), self._steps(a, b)
            if span is None or steps <= 0:
                continue
            evals, saves = self._pauses(a, b)
            net = span.seconds - evals * evaluation.mean - saves * save.mean
            slow = math.exp(-(a - self.first + 1) / SLOW_ROWS) * SLOW_ROWS / max(SLOW_ROWS, b - a)
            net /= 1 + SLOW * slow
            error = (
                _clock(span) + evals * evaluation.spread**2 + saves * save.spread**2 + (SLOW_SPREAD * slow * net) ** 2
            )
            out.append(StepTimeSample(steps, net / steps, error / steps**2))
        return out

    # -- evaluations and saves -----------------------------------------------------------------------------------

    @property
    def _evaluated(self) -> bool:
        """The evaluation of the last step, if there is one, is over."""
        return bool(self.seen) and (self.rows[self.seen[-1]].step or 0) >= self.step

    def _evals_left(self) -> int:
        return 0 if self.evals is None else self.evals.until_end(self.step + self._evaluated, self.total)

    def _saves_left(self) -> int:
        if self.saves is None:
            return int(self.ends_with_save)
        saved = any(item.step == self.step and item.complete for item in list_checkpoints(self.run))
        return self.saves.within(self.step + saved, self.total) + 1

    def _eval_cost(self, rate: float, save: float) -> Cost:
        lengths: list[tuple[float, float]] = []
        for last in reversed(self.seen[-EVENTS:]):
            before = last - 1
            while before > self.first and self.rows[before].step == self.rows[last].step and self._closes(before):
                before -= 1
            if before < self.first:
                break
            span = self.timeline.span(before, last)
            if span is not None:
                others = save * self._pauses(before, last)[1] + rate * self._steps(before, last)
                lengths.append((span.seconds - others, _clock(span)))
        if lengths:
            return _cost(lengths)
        guess = self._unseen_eval(rate) if self.evals is not None else 0.0
        return Cost(guess, 0.0, UNSEEN * guess)

    def _unseen_eval(self, rate: float) -> float:
        """Seconds of an evaluation by its samples, else by a usual share of an epoch."""
        batch, train = number(self.run, "total_train_batch_size"), number(self.run, "num_examples")
        samples, share = number(self.run, "eval_examples"), number(self.run, "val_size")
        if samples is None and share is not None:
            samples = share if share >= 1 else share / (1 - share) * train if train is not None else None
        if samples is not None and batch:
            return min(samples / batch, self.total) * rate * FORWARD_SHARE
        epochs = self.run.epoch
        steps = self.step / epochs if epochs and epochs > 0 else self.total
        return EVAL_SAMPLES * min(steps, self.total) * rate * FORWARD_SHARE

    def _save_cost(self, rate: float, evaluation: float) -> Cost:
        if not self.ends_with_save:
            return Cost()
        guess = min(SAVE_S, SAVE_SHARE * rate * self.total)
        if self.saves is None:
            return Cost(guess, 0.0, guess)
        if self.saves.every < 2 * self.row_steps:
            # A save between any two rows is part of the pace.
            return Cost()
        lengths: list[tuple[float, float]] = []
        newest = math.floor((self.step - 1 - self.saves.anchor) / self.saves.every)
        for count in range(EVENTS):
            at = self.saves.anchor + (newest - count) * self.saves.every
            index = bisect_right(self.rows, at, self.first, key=lambda row: row.step or 0) - 1
            if index <= self.first or index >= self.end:
                break
            span = self.timeline.span(index, index + 1)
            if span is not None:
                others = evaluation * self._pauses(index, index + 1)[0] + rate * self._steps(index, index + 1)
                lengths.append((span.seconds - others, _clock(span)))
        if not lengths:
            return Cost(guess, 0.0, guess)
        cost = _cost(lengths)
        # What does not stand out of the noise of the pace around it is believed by its share only.
        trust = cost.mean**2 / (cost.mean**2 + cost.error**2) if cost.mean else 0.0
        return Cost(cost.mean * trust, SPREAD * cost.mean * trust, cost.error)


def _clock(span: Span) -> float:
    """Variance of a span by its clock."""
    return WHOLE_VAR if span.whole else LIVE_VAR


def _cost(lengths: Sequence[tuple[float, float]]) -> Cost:
    """Mean of the lengths, each with the variance of its clocks."""
    count = len(lengths)
    mean = max(0.0, math.fsum(length for length, _ in lengths) / count)
    clock = math.fsum(variance for _, variance in lengths) / count
    seen = math.fsum((length - mean) ** 2 for length, _ in lengths)
    variance = (seen + 2 * ((SPREAD * mean) ** 2 + clock)) / (count + 1)
    return Cost(mean, math.sqrt(max(variance - clock, (0.2 * SPREAD * mean) ** 2)), math.sqrt(variance / count))


# --- when a training evaluates and saves ----


@dataclass(frozen=True)
class StepSchedule:
    """Steps at which something is done: ``anchor``, and every ``every`` steps before and behind it."""

    anchor: float
    every: float

    def within(self, start: float, end: float) -> int:
        """How many of them are in [start, end)."""
        # Epochs of 208.33 steps end at 208, 417, 625.
        slack = min(0.5, 0.01 * self.every)
        first = math.ceil((start - slack - self.anchor) / self.every)
        return max(0, math.ceil((end - slack - self.anchor) / self.every) - first)

    def until_end(self, start: float, total: float) -> int:
        """How many of them are in [start, total]. The distance of those seen is rounded, so that one which falls a
        little behind the end is due at the end."""
        return self.within(start, total + 1 + 0.02 * self.every)


def eval_schedule(run: RunData, total: int) -> StepSchedule | None:
    """When evaluations take place, ``None`` where none is expected."""
    rows = run.timeline.rows
    seen = [rows[index].step or 0 for index in run.timeline.evals[-RECENT:]]
    if len(seen) > 1:
        return StepSchedule(seen[-1], max(1.0, (seen[-1] - seen[0]) / (len(seen) - 1)))
    planned = _planned(run, "eval", total) if "eval_strategy" in run.config else None
    if seen:
        step = seen[0]
        if planned is not None and planned.within(step, step + 1):
            return planned
        return StepSchedule(step, step) if step > 0 else None
    # A planned step that was passed without a row: there are none.
    return planned if planned is not None and planned.within(1, _step(run)) == 0 else None


def save_schedule(run: RunData, total: int) -> StepSchedule | None:
    """When checkpoints are written, ``None`` where it is not known. The trainer saves at its last step besides."""
    strategy = run.config.get("save_strategy")
    if strategy is not None and strategy.value == "no":
        return None
    step = _step(run)
    seen = [item.step for item in list_checkpoints(run) if not item.foreign and 0 < item.step <= step]
    planned = _planned(run, "save", total)
    if planned is not None and all(planned.within(at, at + 1) for at in seen[-2:]):
        return planned
    if len(seen) > 1:
        return StepSchedule(seen[-1], seen[-1] - seen[-2])
    return StepSchedule(seen[0], seen[0]) if seen else None


def number(run: RunData, key: str) -> float | None:
    """An option that is a number above 0, and of a size that means something."""
    setting = run.config.get(key)
    value = setting.value if setting is not None else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 1e-9 < value < 1e12 else None


def in_steps(every: float, total: int) -> float:
    """``save_steps`` and the like in steps: below 1 it is a share of all of them."""
    return math.ceil(every * total) if every < 1 else every


def _planned(run: RunData, what: Literal["eval", "save"], total: int) -> StepSchedule | None:
    strategy = run.config.get(f"{what}_strategy")
    if strategy is not None and strategy.value == "epoch":
        epoch, step = run.epoch, _step(run)
        return (
            StepSchedule(0.0, max(1.0, step / epoch)) if epoch and step and math.isfinite(epoch) and epoch > 0 else None
        )
    every = number(run, f"{what}_steps")
    if every is None or (strategy is not None and strategy.value == "no"):
        return None
    return StepSchedule(0.0, in_steps(every, total))


def _step(run: RunData) -> int:
    last = run.timeline.last
    return last.step if last is not None and last.step is not None else 0
