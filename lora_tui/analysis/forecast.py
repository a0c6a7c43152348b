"""Forecast the time left, the clock time of the end, and the final train loss of a run, each as an interval.

The model is log loss = a + b g(progress) + c epochs. Progress is the sum of the learning rates so far as a share of
that of the whole plan, so that a schedule which ends at 0 flattens the curve as it does in training. For each shape g
(exponential or power law decay, slow or fast) a, b and c are fitted by Bayesian linear regression (Bishop, Pattern
Recognition and Machine Learning, chapter 3). Each shape is weighted by its evidence in the curve so far; the
disagreement between the shapes widens the interval. ``python -m tools.judge.backtest`` measures how often the
intervals hold the truth.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lora_tui.analysis import run_facts
from lora_tui.analysis.judgement import Forecast, Interval
from lora_tui.analysis.lr_schedule import Schedule
from lora_tui.analysis.statistics import median, noise, window
from lora_tui.runs.run import Progress, Run
from lora_tui.runs.series import Series
from lora_tui.runs.status import time_left

MIN_ROWS = 10
"""Minimum number of rows after the warm-up, and of pieces of the curve, for a forecast of the loss."""
MIN_SHARE_DONE = 0.15
"""Share of the planned steps that must be done for a forecast of the loss."""
POINTS = 40
"""Maximum number of pieces of the curve, each represented by its median."""
SAMPLES = 15
"""Approximate number of rows of a piece from which its median is taken."""
WINDOWS = 12
"""Number of windows from which the noise of their medians is estimated."""
HALF_WIDTH_ERRORS = 1.5
"""Half the width of the interval, in standard deviations."""
MISFIT = 0.01
"""Relative error of the loss that every simple shape has at least."""
OUTLIER_ERRORS = 4.0
"""Standard deviations from the median of the five pieces around it to which the level of a piece is clipped."""
HUBER_ERRORS = 2.0
"""Standard deviations from the fit beyond which a piece counts less (Huber)."""
END_DROP = 0.92
"""Prior mean of the loss at the end of a run as a share of that at its start."""
END_SPREAD = 0.2
"""Prior standard deviation of the logarithm of END_DROP."""
EPOCH_DROP = 0.05
"""Prior mean of the fall of the log loss when another pass over the data begins."""
EPOCH_SPREAD = 0.06
"""Prior standard deviation of EPOCH_DROP."""
MAX_PASSES_LEFT = 2
"""Number of passes yet to begin above which nothing is forecast, since the data is more and more memorised."""
EPOCH_TOLERANCE = 0.02
"""Epochs beyond a whole number (as in 3.0005) that do not count as another pass."""
MAX_LOG_LOSS = 700.0
"""Logarithm of a loss near the largest float."""
MAX_WIDTH = 0.5
"""Width of the interval as a share of the loss above which no forecast is made."""

Shape = Callable[[float], float]
"""A function from progress (0 to 1) to the decaying part of the log loss, 1 at the start."""


def _exponential(speed: float) -> Shape:
    """Return an exponential decay that falls by a factor of e within the progress ``speed``."""
    return lambda x: math.exp(-x / speed)


def _power(speed: float, exponent: float) -> Shape:
    """Return a power law decay with this exponent and the progress ``speed`` as its unit."""
    return lambda x: (1 + x / speed) ** -exponent


SHAPES: tuple[Shape, ...] = (
    *(_exponential(speed) for speed in (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)),
    *(_power(speed, 0.7) for speed in (0.01, 0.03, 0.1, 0.3)),
    _power(0.02, 0.3),
)
"""All shapes that are fitted."""


class Point(NamedTuple):
    """A piece of the curve."""

    progress: float
    """Share of the planned sum of learning rates, 0 to 1."""
    epochs: float
    """Number of passes over the data that were complete before it."""
    loss: float
    """Logarithm of the loss."""
    variance: float
    """Variance of ``loss``."""


def forecast(run: Run, now: float) -> Forecast:
    """Return the forecast at the Unix time ``now``; empty for a run that is not running or evaluating.

    The middle of its time left equals that of :class:`lora_tui.runs.run.Progress`.
    """
    status = run.status(now)
    if status.state not in ("running", "evaluating"):
        return Forecast()
    left = time_left(run, status, now)
    remaining = Interval(*left) if left is not None else None
    end = Interval(now + left.low, now + left.mid, now + left.high) if left is not None else None
    if not run.timeline.rows:
        return Forecast(remaining, end)
    loss, reason = final_loss(run, run.progress(now))
    return Forecast(remaining, end, loss, reason)


def final_loss(run: Run, progress: Progress) -> tuple[Interval | None, str]:
    """Return the expected median of the last window of train losses, else None and a code of the reason.

    The codes are stage, few_rows, early, warmup, off_course, epochs and erratic; the code is empty at the last step.
    The size of the window is that of :func:`lora_tui.analysis.statistics.window`.
    """
    loss, total, step = run.series.get("loss"), progress.total_steps, progress.step
    if run.stage in ("ppo", "grpo"):
        return None, "stage"
    if loss is None or not loss.finite or run.counted_rows or step is None or not total:
        return None, "few_rows"
    if step >= total:
        return None, ""
    if run_facts.diverging(loss) is not None or run_facts.above_start(loss) is not None or _broken(loss):
        return None, "off_course"
    plan = Schedule(run.series.get("lr"), step, total)
    if step <= plan.peak_step:
        return None, "warmup"
    first = bisect_right(loss.steps, plan.peak_step)
    if len(loss) - first < MIN_ROWS:
        return None, "few_rows"
    if step < MIN_SHARE_DONE * total:
        return None, "early"
    epochs = progress.total_epochs or 0.0
    to_come = math.ceil(epochs - EPOCH_TOLERANCE) - 1 - math.floor(epochs * step / total)
    if to_come > MAX_PASSES_LEFT:
        return None, "epochs"
    points = _points(loss, first, plan, epochs / total)
    if len(points) < MIN_ROWS:
        return None, "off_course"
    rows = len(loss) / step * total
    last = window(round(rows))
    target = Target(plan.spent(total * (1 - last / rows / 2)), max(0.0, math.ceil(epochs - EPOCH_TOLERANCE) - 1))
    mid, error = _expect(points, target)
    now = math.exp(median([point.loss for point in points[-5:]]))
    half = HALF_WIDTH_ERRORS * math.hypot(error, window_noise(loss, last) / now)
    if not 2 * half <= MAX_WIDTH or not mid + half < MAX_LOG_LOSS:
        return None, "erratic"
    return Interval(math.exp(mid - half), math.exp(mid), math.exp(mid + half)), ""


def window_noise(loss: Series, size: int) -> float:
    """Return the standard error of the median of ``size`` rows.

    It is estimated from the noise of single rows and from the scatter of such medians in this run, since neighbouring
    rows may be correlated.
    """
    values = loss.tail(size * WINDOWS)
    estimated = 1.2533 * noise(values[-200:]) / math.sqrt(size)
    medians = [median(values[end - size : end]) for end in range(len(values), size - 1, -size)]
    if len(medians) < 4:
        return estimated
    observed = noise(medians)
    return math.hypot(2 * estimated, math.sqrt(len(medians)) * observed) / math.sqrt(4 + len(medians))


def _broken(loss: Series) -> bool:
    """Return whether the last loss is not finite or exactly 0, as which the trainer prints NaN."""
    last = loss.values[-1]
    return not math.isfinite(last) or last == 0.0


def _points(loss: Series, first: int, plan: Schedule, epochs_a_step: float) -> list[Point]:
    """Return the curve from row ``first`` on in pieces of about equally many rows."""
    count = len(loss) - first
    pieces = min(POINTS, count)
    spread = min(1e6, noise(loss.tail(200)) / max(1e-12, abs(median(loss.tail(window(count))))))
    found: list[tuple[float, float, int]] = []
    for number in range(pieces):
        start, end = first + count * number // pieces, first + count * (number + 1) // pieces
        stride = max(1, (end - start) // SAMPLES)
        values = [value for value in loss.values[start:end:stride] if math.isfinite(value)]
        level = median(values) if values else 0.0
        if level <= 0:
            continue
        found.append(((loss.steps[start] + loss.steps[end - 1]) / 2, math.log(level), len(values)))
    out: list[Point] = []
    for index, (step, level, size) in enumerate(found):
        # The median of more than two rows has 1.57 times the variance of their mean.
        variance = spread * spread * (1.57 if size > 2 else 1.0) / size
        around = median([near for _, near, _ in found[max(0, index - 2) : index + 3]])
        reach = OUTLIER_ERRORS * math.sqrt(variance + MISFIT**2)
        level = min(max(level, around - reach), around + reach)
        out.append(Point(plan.spent(step), math.floor(step * epochs_a_step - 1e-6), level, variance + MISFIT**2))
    return out


# -- the regression ----------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """The place at which the loss is predicted: ``progress`` and ``epochs`` as in :class:`Point`."""

    progress: float
    epochs: float


class Prior(NamedTuple):
    """A prior: the log loss ``value`` expected at a place before the curve is known, with its variance.

    With ``one=0`` it is the expected change of the log loss over ``epochs`` epochs instead.
    """

    progress: float
    epochs: float
    value: float
    variance: float
    one: float = 1.0


class Fit(NamedTuple):
    """The fit of one shape: its log evidence, the log loss at the target, the variance of that, and a, b, c."""

    evidence: float
    value: float
    variance: float
    factors: tuple[float, float, float]


def _expect(points: Sequence[Point], target: Target) -> tuple[float, float]:
    """Return the log loss at the target and its standard error."""
    now, ahead = points[-1], max(0.0, 1 - points[-1].progress / target.progress)
    level = median([point.loss for point in points[-5:]])
    priors = (
        Prior(target.progress, target.epochs, level + math.log(END_DROP) * ahead, (0.02 + END_SPREAD * ahead) ** 2),
        Prior(points[0].progress, points[0].epochs, points[0].loss, 0.25),
        Prior(now.progress, 1.0, -EPOCH_DROP, EPOCH_SPREAD**2, one=0.0),
    )
    variances = [point.variance for point in points]
    first = Regression(points, variances)
    fits = [first.fit(shape, priors, target) for shape in SHAPES]
    best = max(range(len(fits)), key=lambda index: fits[index].evidence)
    (a, b, c), shape = fits[best].factors, SHAPES[best]
    wrong = [point.loss - a - b * shape(point.progress) - c * point.epochs for point in points]
    # Outliers count less, and all points count less where no shape fits.
    variances = [v * max(1.0, abs(w) / math.sqrt(v) / HUBER_ERRORS) for w, v in zip(wrong, variances, strict=True)]
    misfit = math.fsum(w * w / v for w, v in zip(wrong, variances, strict=True)) / max(1, len(points) - 3)
    misfit = max(1.0, misfit)
    second = Regression(points, [variance * misfit for variance in variances])
    fits = [second.fit(shape, priors, target) for shape in SHAPES]
    most = max(fit.evidence for fit in fits)
    weights = [math.exp(fit.evidence - most) for fit in fits]
    whole = math.fsum(weights)
    mid = math.fsum(w * fit.value for w, fit in zip(weights, fits, strict=True)) / whole
    variance = math.fsum(w * (f.variance + (f.value - mid) ** 2) for w, f in zip(weights, fits, strict=True)) / whole
    return mid, math.sqrt(variance + misfit * MISFIT**2)


class Regression:
    """Bayesian regression of the log loss on 1, g(progress) and epochs. Sums that all shapes share are kept."""

    def __init__(self, points: Sequence[Point], variances: Sequence[float]) -> None:
        self._progress = [point.progress for point in points]
        self._w = [1 / variance for variance in variances]
        self._we = [w * point.epochs for w, point in zip(self._w, points, strict=True)]
        self._wy = [w * point.loss for w, point in zip(self._w, points, strict=True)]
        losses = [point.loss for point in points]
        self._sums = (
            (math.fsum(self._w), math.fsum(self._we), _dot(self._we, [point.epochs for point in points])),
            (math.fsum(self._wy), _dot(self._we, losses), _dot(self._wy, losses)),
        )
        self._logs = math.fsum(map(math.log, variances))

    def fit(self, shape: Shape, priors: Sequence[Prior], target: Target) -> Fit:
        """Return the fit of one shape under the priors."""
        a = [[0.0] * 3 for _ in range(3)]
        right, squares = [0.0] * 3, 0.0
        for prior in priors:
            vector = (prior.one, prior.one * shape(prior.progress), prior.epochs)
            for i in range(3):
                right[i] += vector[i] * prior.value / prior.variance
                for j in range(3):
                    a[i][j] += vector[i] * vector[j] / prior.variance
            squares += prior.value**2 / prior.variance
        before = _determinant(a)
        g = [shape(x) for x in self._progress]
        wg = [w * x for w, x in zip(self._w, g, strict=True)]
        (w, we, wee), (wy, wey, wyy) = self._sums
        sums = ((w, math.fsum(wg), we), (0.0, _dot(wg, g), _dot(self._we, g)), (0.0, 0.0, wee))
        for i in range(3):
            for j in range(3):
                a[i][j] += sums[min(i, j)][max(i, j)]
        for i, value in enumerate((wy, _dot(self._wy, g), wey)):
            right[i] += value
        inverse, after = _inverse(a)
        theta = (_dot(inverse[0], right), _dot(inverse[1], right), _dot(inverse[2], right))
        at = (1.0, shape(target.progress), target.epochs)
        variance = math.fsum(at[i] * inverse[i][j] * at[j] for i in range(3) for j in range(3))
        rest = squares + wyy - _dot(right, theta)
        evidence = 0.5 * (math.log(before) - math.log(after) - rest - self._logs)
        return Fit(evidence, _dot(at, theta), max(0.0, variance), theta)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the scalar product of two vectors of equal length."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _determinant(a: Sequence[Sequence[float]]) -> float:
    """Return the determinant of a 3 x 3 matrix."""
    return (
        a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
        - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
        + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
    )


def _inverse(a: Sequence[Sequence[float]]) -> tuple[list[list[float]], float]:
    """Return the inverse of a symmetric 3 x 3 matrix and its determinant."""
    whole = _determinant(a)
    out = [[0.0] * 3 for _ in range(3)]
    for i in range(3):
        for j in range(3):
            b, c, d, e = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            out[j][i] = (a[b][d] * a[c][e] - a[b][e] * a[c][d]) / whole
    return out, whole
