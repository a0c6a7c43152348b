"""Estimate the time to the end of a training from the time per step, evaluations and saves.

The time of evaluations and saves is subtracted from the time per step, and added for each one that is still to come.
Only the rows since the last resume count, since another process may run on another machine at another speed.
``python -m tools.judge.backtest`` measures how often the true time lies in the interval.
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
from lora_tui.runs.timeline import Span, Timeline, timeline_of

MAX_SAMPLES = 48
"""Maximum number of samples of the time per step into which the segment is divided."""
RECENT_EVENTS = 20
"""Number of last evaluations (or saves) from which their length and distance are estimated."""
Z = 1.5
"""Half the width of the interval, in standard deviations."""
WHOLE_SECONDS_VAR = 1 / 6
"""Variance (s²) of the difference between two readings of a clock that counts whole seconds."""
ARRIVAL_VAR = 4e-4
"""Variance (s²) of the difference between two arrival times of rows, which wait for a flush and a file event."""
MIN_CLOCK_SPAN_S = 3.0
"""Minimum number of seconds that a clock of whole seconds can measure."""
SKIPPED_ROWS = 3
"""Number of first rows left out if there are four times as many; they are slow (compilation, caches, a cold disk)."""
SLOW_START = 0.25
"""Extra time of the first row as a share of that of a usual row, used if there are too few rows to skip the first ones.

Published logs of GPUs show 0 to 0.1, small models on a busy CPU 0.3 to 2."""
SLOW_START_SPREAD = 0.35
"""Standard deviation of SLOW_START from run to run."""
SLOW_START_ROWS = 1.5
"""Number of rows within which the slow start decays by a factor of e."""
FORWARD_SHARE = 0.4
"""Time of a sample in an evaluation as a share of its time in training: a forward pass only, no gradient."""
EVAL_SAMPLES = 0.05
"""Samples of an evaluation as a share of those of an epoch, used if no file states their number."""
LENGTH_SPREAD = 0.25
"""Prior relative standard deviation of the lengths of evaluations and saves; it has the weight of two of them."""
UNSEEN_SPREAD = 0.7
"""Relative standard error of the guessed length of an evaluation before the first one."""
SAVE_S = 5.0
"""Guessed seconds of a save before the first one is measured."""
SAVE_SHARE = 0.01
"""Upper bound of the guessed length of a save as a share of the whole training."""


class TimeLeft(NamedTuple):
    """Seconds until the end: the most likely value ``mid``, and an interval that holds the truth in 4 of 5 cases."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Eta:
    """Time from the last row to the end of the training."""

    left: TimeLeft
    pause: float
    """Expected seconds from the last row to the next one."""

    def after(self, silent: float) -> TimeLeft:
        """Return the time left when the last row is ``silent`` seconds old.

        Time beyond the expected next row is not subtracted, since a row that is late does not bring the end nearer.
        """
        passed = max(0.0, min(silent, self.pause))
        return TimeLeft(*(max(0.0, value - passed) for value in self.left))


# -- steps of evaluations and saves ------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepSchedule:
    """Steps at which something is done: ``anchor``, and every ``every`` steps before and after it."""

    anchor: float
    every: float

    def within(self, start: float, end: float) -> int:
        """Return how many of the scheduled steps are in [start, end)."""
        # Epochs of 208.33 steps end at 208, 417, 625.
        slack = min(0.5, 0.01 * self.every)
        first = math.ceil((start - slack - self.anchor) / self.every)
        return max(0, math.ceil((end - slack - self.anchor) / self.every) - first)

    def until_end(self, start: float, total: float) -> int:
        """Return how many of the scheduled steps are in [start, total].

        The distance of events that were seen is rounded, so one that falls a little behind the end is due at the end.
        """
        return self.within(start, total + 1 + 0.02 * self.every)


def eval_schedule(run: RunData, total: int) -> StepSchedule | None:
    """Return the steps of evaluations, by those so far and by the options; None where none are expected."""
    rows = run.timeline.rows
    past = [rows[index].step or 0 for index in run.timeline.evals[-RECENT_EVENTS:]]
    if len(past) > 1:
        return StepSchedule(past[-1], max(1.0, (past[-1] - past[0]) / (len(past) - 1)))
    planned = _planned(run, "eval", total) if "eval_strategy" in run.config else None
    if past:
        step = past[0]
        if planned is not None and planned.within(step, step + 1):
            return planned
        return StepSchedule(step, step) if step > 0 else None
    # If a planned step has passed without an evaluation's row, there are no evaluations.
    return planned if planned is not None and planned.within(1, run.timeline.last_step or 0) == 0 else None


def save_schedule(run: RunData, total: int) -> StepSchedule | None:
    """Return the steps at which checkpoints are written, without the last step; None where they are not known."""
    strategy = run.config.get("save_strategy")
    if strategy is not None and strategy.value == "no":
        return None
    step = run.timeline.last_step or 0
    past = [item.step for item in list_checkpoints(run) if not item.foreign and 0 < item.step <= step]
    planned = _planned(run, "save", total)
    if planned is not None and all(planned.within(at, at + 1) for at in past[-2:]):
        return planned
    if len(past) > 1:
        return StepSchedule(past[-1], past[-1] - past[-2])
    return StepSchedule(past[0], past[0]) if past else None


def _planned(run: RunData, what: Literal["eval", "save"], total: int) -> StepSchedule | None:
    """Return the schedule that the options set, None where they set none.

    They are read as transformers reads them: a strategy of ``epoch`` or ``no``, else a number of steps.
    """
    strategy = run.config.get(f"{what}_strategy")
    if strategy is not None and strategy.value == "epoch":
        epoch, step = run.epoch, run.timeline.last_step
        if not epoch or not step or not math.isfinite(epoch) or epoch <= 0:
            return None
        return StepSchedule(0.0, max(1.0, step / epoch))
    every = positive_number(run, f"{what}_steps")
    if every is None or (strategy is not None and strategy.value == "no"):
        return None
    return StepSchedule(0.0, in_steps(every, total))


def positive_number(run: RunData, option: str) -> float | None:
    """Return an option of the job if it is a number above 0 and of a plausible size, else None."""
    entry = run.config.get(option)
    value = entry.value if entry is not None else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 1e-9 < value < 1e12 else None


def in_steps(every: float, total: int) -> float:
    """Return an option such as ``save_steps`` in steps: below 1 it is a share of ``total``, as in transformers."""
    return math.ceil(every * total) if every < 1 else every


# -- the estimate ------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Seconds that one evaluation or save takes."""

    mean: float = 0.0
    spread: float = 0.0
    """Standard deviation from one to the next."""
    error: float = 0.0
    """Standard error of the mean."""

    def variance(self, count: int) -> float:
        """Return the variance of ``count`` of them together."""
        return count * self.spread**2 + (count * self.error) ** 2


@derived
def eta_of(run: RunData) -> Eta | None:
    """Return the time left of a training, or of an eval-only or predict job, from its last row on.

    None where the files do not allow an estimate.
    """
    if run.timeline.rows:
        return _eta(run, run.timeline, run.total_steps, training=True)
    # Batches instead of steps, with neither evaluations nor saves between them.
    rows = [row for row in run.eval_job.rows if row.kind == "progress"]
    if not rows:
        return None
    return _eta(run, timeline_of((row, None) for row in rows), rows[-1].total_steps, training=False)


def _eta(run: RunData, timeline: Timeline, total: int | None, *, training: bool) -> Eta | None:
    """Return the estimate for a timeline of ``total`` steps, None without steps, a total or steps left."""
    last, first = timeline.rows[-1], timeline.rows[timeline.starts[-1]]
    if last.step is None or first.step is None or not total or last.step >= total:
        return None
    return _Estimate(run, timeline, last.step, total, training).eta()


class _Estimate:
    """One estimate of the time left at ``step`` of ``total``."""

    def __init__(self, run: RunData, timeline: Timeline, step: int, total: int, training: bool) -> None:
        self.run, self.timeline, self.rows = run, timeline, timeline.rows
        self.step, self.total, self.left = step, total, total - step
        self.first, self.end = timeline.starts[-1], len(timeline.rows) - 1
        self.start = self.first + min(SKIPPED_ROWS, (self.end - self.first) // 4)
        self.eval_rows = timeline.evals
        self.evals = eval_schedule(run, total) if training else None
        self.saves = save_schedule(run, total) if training else None
        self.ends_with_save = training
        gaps = sorted(self._steps(i, i + 1) for i in range(max(self.first, self.end - 6), self.end))
        gaps = [gap for gap in gaps if gap > 0]
        self.row_steps = gaps[len(gaps) // 2] if gaps else 1

    def eta(self) -> Eta | None:
        """Return the estimate, None where no clock is precise enough."""
        rate = self._mean_rate(0.0, 0.0)
        if rate is None:
            return self._from_first_row()
        evaluation, save = Cost(), Cost()
        for _ in range(3):
            # The three estimates depend on each other: at first the saves are still part of the time per step.
            evaluation = self._eval_cost(rate, save.mean)
            save = self._save_cost(rate, evaluation.mean)
            rate = self._mean_rate(evaluation.mean, save.mean) or rate
        found = expected_step_time(self._samples(evaluation, save), self.left, self.total)
        return self._combine(*found, evaluation, save) if found is not None else None

    def _combine(self, rate: float, error: float, evaluation: Cost, save: Cost) -> Eta:
        """Return the estimate from the seconds per step with their standard error and the costs of pauses."""
        evals, saves = self._evals_left(), self._saves_left()
        mid = self.left * rate + evals * evaluation.mean + saves * save.mean
        variance = (self.left * error) ** 2 + evaluation.variance(evals) + save.variance(saves) + WHOLE_SECONDS_VAR
        width = Z * math.sqrt(variance) / mid
        due = self.evals is not None and not self._evaluated and self.evals.within(self.step, self.step + 1) > 0
        pause = evaluation.mean if due else rate * self.row_steps
        # Times are skewed: the high end follows e^width to second order, so that it does not explode where little is
        # known.
        return Eta(TimeLeft(mid * math.exp(-width), mid, mid * (1 + width + width * width / 2)), min(pause, mid))

    # -- time per step -------------------------------------------------------------------------------------------

    def _steps(self, first: int, end: int) -> int:
        """Return the number of steps between the rows at two indexes, 0 if unknown."""
        a, b = self.rows[first].step, self.rows[end].step
        return b - a if a is not None and b is not None else 0

    def _closes(self, index: int) -> bool:
        """Return whether a row follows the training row of its own step, as that of an evaluation does."""
        return self.rows[index].kind in ("eval", "mark")

    def _pauses(self, first: int, end: int) -> tuple[int, int]:
        """Return the numbers of evaluations and of saves between the rows at two indexes."""
        evals = bisect_right(self.eval_rows, end) - bisect_right(self.eval_rows, first)
        a, b = self.rows[first].step, self.rows[end].step
        return evals, self.saves.within(a, b) if self.saves is not None and a is not None and b is not None else 0

    def _mean_rate(self, evaluation: float, save: float) -> float | None:
        """Return the mean seconds per step in this segment without pauses, None where the clock is too coarse.

        ``evaluation`` and ``save`` are the lengths of the pauses in seconds.
        """
        span, steps = self.timeline.span(self.start, self.end), self._steps(self.start, self.end)
        if span is None or steps <= 0 or span.seconds <= 0 or (span.whole_seconds and span.seconds < MIN_CLOCK_SPAN_S):
            return None
        evals, saves = self._pauses(self.start, self.end)
        return max(span.seconds - evals * evaluation - saves * save, 0.1 * span.seconds) / steps

    def _from_first_row(self) -> Eta | None:
        """Estimate from the clock of the only row, which includes the slow first steps."""
        row = self.rows[self.end]
        if self.first or row.elapsed_s is None or row.elapsed_s < MIN_CLOCK_SPAN_S or not row.step:
            return None
        rate = row.elapsed_s / row.step / (1 + SLOW_START)
        return self._combine(rate, SLOW_START_SPREAD * rate, self._eval_cost(rate, 0.0), self._save_cost(rate, 0.0))

    def _samples(self, evaluation: Cost, save: Cost) -> list[StepTimeSample]:
        """Return samples of the time per step that divide the segment, without pauses and the slow start."""
        stride = max(1.0, (self.end - self.start) / MAX_SAMPLES)
        edges = [self.start]
        for count in range(1, MAX_SAMPLES + 1):
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
            slow = math.exp(-(a - self.first + 1) / SLOW_START_ROWS) * SLOW_START_ROWS / max(SLOW_START_ROWS, b - a)
            net /= 1 + SLOW_START * slow
            pauses = evals * evaluation.spread**2 + saves * save.spread**2
            error = _clock_variance(span) + pauses + (SLOW_START_SPREAD * slow * net) ** 2
            out.append(StepTimeSample(steps, net / steps, error / steps**2))
        return out

    # -- evaluations and saves -----------------------------------------------------------------------------------

    @property
    def _evaluated(self) -> bool:
        """Whether the last step has been evaluated."""
        return bool(self.eval_rows) and (self.rows[self.eval_rows[-1]].step or 0) >= self.step

    def _evals_left(self) -> int:
        """Return the number of evaluations from now to the end."""
        return 0 if self.evals is None else self.evals.until_end(self.step + self._evaluated, self.total)

    def _saves_left(self) -> int:
        """Return the number of saves from now to the end, the final one included."""
        if self.saves is None:
            return int(self.ends_with_save)
        saved = any(item.step == self.step and item.complete for item in list_checkpoints(self.run))
        return self.saves.within(self.step + saved, self.total) + 1

    def _eval_cost(self, rate: float, save: float) -> Cost:
        """Return the time of an evaluation, measured from the last ones, else guessed."""
        lengths: list[tuple[float, float]] = []
        for last in reversed(self.eval_rows[-RECENT_EVENTS:]):
            before = last - 1
            while before > self.first and self.rows[before].step == self.rows[last].step and self._closes(before):
                before -= 1
            if before < self.first:
                break
            span = self.timeline.span(before, last)
            if span is not None:
                others = save * self._pauses(before, last)[1] + rate * self._steps(before, last)
                lengths.append((span.seconds - others, _clock_variance(span)))
        if lengths:
            return _cost(lengths)
        guess = self._guess_eval_s(rate) if self.evals is not None else 0.0
        return Cost(guess, 0.0, UNSEEN_SPREAD * guess)

    def _guess_eval_s(self, rate: float) -> float:
        """Return the guessed seconds of an evaluation, by its number of samples, else by a usual share of an epoch."""
        batch, train = positive_number(self.run, "total_train_batch_size"), positive_number(self.run, "num_examples")
        samples, share = positive_number(self.run, "eval_examples"), positive_number(self.run, "val_size")
        if samples is None and share is not None:
            samples = share if share >= 1 else share / (1 - share) * train if train is not None else None
        if samples is not None and batch:
            return min(samples / batch, self.total) * rate * FORWARD_SHARE
        epochs = self.run.epoch
        steps = self.step / epochs if epochs and epochs > 0 else self.total
        return EVAL_SAMPLES * min(steps, self.total) * rate * FORWARD_SHARE

    def _save_cost(self, rate: float, evaluation: float) -> Cost:
        """Return the time of a save, measured from the last ones, else guessed."""
        if not self.ends_with_save:
            return Cost()
        guess = min(SAVE_S, SAVE_SHARE * rate * self.total)
        if self.saves is None:
            return Cost(guess, 0.0, guess)
        if self.saves.every < 2 * self.row_steps:
            # A save between any two rows is part of the time per step.
            return Cost()
        lengths: list[tuple[float, float]] = []
        newest = math.floor((self.step - 1 - self.saves.anchor) / self.saves.every)
        for count in range(RECENT_EVENTS):
            at = self.saves.anchor + (newest - count) * self.saves.every
            index = bisect_right(self.rows, at, self.first, key=lambda row: row.step or 0) - 1
            if index <= self.first or index >= self.end:
                break
            span = self.timeline.span(index, index + 1)
            if span is not None:
                others = evaluation * self._pauses(index, index + 1)[0] + rate * self._steps(index, index + 1)
                lengths.append((span.seconds - others, _clock_variance(span)))
        if not lengths:
            return Cost(guess, 0.0, guess)
        cost = _cost(lengths)
        # A cost that is small against its own error is probably noise: shrink it towards 0.
        trust = cost.mean**2 / (cost.mean**2 + cost.error**2) if cost.mean else 0.0
        return Cost(cost.mean * trust, LENGTH_SPREAD * cost.mean * trust, cost.error)


def _clock_variance(span: Span) -> float:
    """Return the variance (s²) of a span that comes from the resolution of its clock."""
    return WHOLE_SECONDS_VAR if span.whole_seconds else ARRIVAL_VAR


def _cost(lengths: Sequence[tuple[float, float]]) -> Cost:
    """Return the cost of an event from measured lengths (s), each with the variance of its clock (s²)."""
    count = len(lengths)
    mean = max(0.0, math.fsum(length for length, _ in lengths) / count)
    clock = math.fsum(variance for _, variance in lengths) / count
    squares = math.fsum((length - mean) ** 2 for length, _ in lengths)
    variance = (squares + 2 * ((LENGTH_SPREAD * mean) ** 2 + clock)) / (count + 1)
    return Cost(mean, math.sqrt(max(variance - clock, (0.2 * LENGTH_SPREAD * mean) ** 2)), math.sqrt(variance / count))
