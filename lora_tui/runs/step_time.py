"""Estimate the expected seconds per step from past samples as a level that may drift or jump.

The model is the local level model (Durbin and Koopman, Time Series Analysis by State Space Methods, chapter 2),
filtered for several sizes of drift, each weighted by its likelihood given the run so far. So the weight of recent
samples depends on the run, and a run that has changed its speed gets a wider interval than one that never did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

DRIFTS = ((0.02, 0.35), (0.06, 0.28), (0.15, 0.21), (0.4, 0.11), (1.0, 0.05))
"""Relative change of the step time over a whole run, each with its prior probability."""
LEVEL_PRIOR = 0.7
"""Relative standard deviation of the step time at the start around the mean of all samples."""
SAMPLE_NOISE = 0.1
"""Prior relative noise of the time of one sample."""
PRIOR_WEIGHT = 3
"""Weight of SAMPLE_NOISE in number of samples."""
OUTLIER = 2.5
"""Standard deviations beyond which a sample counts less (Huber), so that one slow sample changes the speed little."""


class StepTimeSample(NamedTuple):
    """Mean step time over consecutive steps of a run."""

    steps: float
    """Number of steps."""
    rate: float
    """Seconds per step."""
    error: float
    """Variance of ``rate`` (s²) from other causes than the speed: clocks and subtracted pauses."""


def expected_step_time(samples: Sequence[StepTimeSample], ahead: float, total: float) -> tuple[float, float] | None:
    """Return the mean seconds per step over the next ``ahead`` steps and its standard error.

    ``samples`` are in order and without gaps, from a run of ``total`` planned steps. None where they span no time.
    """
    steps = math.fsum(sample.steps for sample in samples)
    if steps <= 0 or ahead <= 0:
        return None
    mean = math.fsum(sample.steps * sample.rate for sample in samples) / steps
    if mean <= 0:
        return None
    noise = _noise(samples, mean)
    found: list[tuple[float, float, float]] = []
    for drift, prior in DRIFTS:
        walk = drift**2 / total
        likelihood, level, variance = _filter(samples, noise, walk, mean)
        # The mean of a random walk over n steps has a third of the variance of its end.
        total_variance = variance + level * level * (walk * ahead / 3 + noise / ahead)
        found.append((likelihood + math.log(prior), level, total_variance))
    best = max(item[0] for item in found)
    weights = [math.exp(item[0] - best) for item in found]
    whole = math.fsum(weights)
    rate = math.fsum(w * item[1] for w, item in zip(weights, found, strict=True)) / whole
    variance = math.fsum(w * (item[2] + (item[1] - rate) ** 2) for w, item in zip(weights, found, strict=True)) / whole
    return rate, math.sqrt(variance)


def _noise(samples: Sequence[StepTimeSample], mean: float) -> float:
    """Return the relative variance of the time of one step.

    It is estimated from differences of neighbouring samples, which a slow drift does not affect.
    """
    parts: list[float] = []
    for a, b in pairwise(samples):
        usual = max((a.rate + b.rate) / 2, 0.1 * mean)
        own = max(0.0, (b.rate - a.rate) ** 2 - a.error - b.error) / usual**2
        parts.append(own / (1 / a.steps + 1 / b.steps))
    prior = SAMPLE_NOISE**2 * math.fsum(sample.steps for sample in samples) / len(samples)
    if not parts:
        return prior
    parts.sort()
    # 0.455 is the median of chi square with one degree of freedom. The mean takes heavy tails into account.
    observed = max(parts[len(parts) // 2] / 0.455, 0.25 * math.fsum(parts) / len(parts))
    return (PRIOR_WEIGHT * prior + len(parts) * observed) / (PRIOR_WEIGHT + len(parts))


def _filter(samples: Sequence[StepTimeSample], noise: float, walk: float, mean: float) -> tuple[float, float, float]:
    """Run the Kalman filter; return the log likelihood, the level after the last sample and its variance.

    ``noise`` and ``walk`` are relative variances per step.
    """
    level, variance = mean, (LEVEL_PRIOR * mean) ** 2
    likelihood, steps_before = 0.0, 0.0
    for sample in samples:
        scale = max(level, 0.1 * mean) ** 2
        variance += scale * walk * (steps_before + sample.steps) / 2
        expected = variance + scale * noise / sample.steps + sample.error
        residual = sample.rate - level
        deviation = abs(residual) / math.sqrt(expected)
        weight = min(1.0, OUTLIER / deviation) if deviation else 1.0
        likelihood -= 0.5 * (math.log(expected) + deviation * deviation * weight * (2 - weight))
        gain = variance / expected * weight
        level = max(level + gain * residual, 0.02 * mean)
        variance *= 1 - gain
        steps_before = sample.steps
    return likelihood, level, variance + level * level * walk * steps_before / 2
