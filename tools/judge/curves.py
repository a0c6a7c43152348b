"""The shapes that training curves are made of: schedules, decays, noise, clocks. The caller brings the randomness."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

Schedule = str
SCHEDULES: tuple[Schedule, ...] = (
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt",
)  # fmt: skip


def learning_rate(name: Schedule, share: float, warmup: float) -> float:
    """Return the learning rate at ``share`` of the steps, as a fraction of its peak (transformers'
    ``get_scheduler``)."""
    if name == "constant":
        return 1.0
    if share < warmup:
        return share / warmup
    rest = (share - warmup) / max(1e-9, 1 - warmup)
    if name == "constant_with_warmup":
        return 1.0
    if name == "linear":
        return max(0.0, 1 - rest)
    if name == "polynomial":
        return max(1e-3, (1 - rest) ** 2)
    if name == "inverse_sqrt":
        # transformers shifts by the warm-up, or by 10,000 steps without one; the share of the plan stands for both.
        shift = max(warmup, 0.05)
        return math.sqrt(shift / (shift + max(0.0, share - warmup)))
    turns = 3 if name == "cosine_with_restarts" else 1
    return 0.5 * (1 + math.cos(math.pi * (turns * rest % 1.0))) if rest < 1 else 0.0


def decay(kind: str, progress: float, speed: float) -> float:
    """Return a value that falls from 1 at progress 0 to 0 at progress 1, by a power law or exponentially; a small
    ``speed`` is a fast fall."""

    def raw(x: float) -> float:
        return math.exp(-x / speed) if kind == "exponential" else (1 + x / speed) ** -0.7

    end = raw(1.0)
    return (raw(progress) - end) / (1 - end)


def heavy(rng: random.Random, freedom: float) -> float:
    """Return one value of Student's t, scaled so that its median absolute deviation is a normal's."""
    scale = {3: 1.134, 4: 1.098, 5: 1.077}[round(freedom)]
    return rng.gauss(0, 1) / math.sqrt(rng.gammavariate(freedom / 2, 2) / freedom) / scale


def noise(rng: random.Random, count: int, size: float, tails: float, memory: float) -> list[float]:
    """Log factors around 1: of ``size``, a share ``tails`` of them from Student's t of 3 to 5 degrees of freedom, with
    the autocorrelation ``memory``. No row goes beyond a factor of 2.7 up (a row is a mean over a batch)."""
    out: list[float] = []
    state = 0.0
    freedom = rng.choice((3, 4, 5))
    for _ in range(count):
        fresh = heavy(rng, freedom) if rng.random() < tails else rng.gauss(0, 1)
        state = memory * state + math.sqrt(1 - memory * memory) * fresh
        out.append(max(-2.0, min(1.0, size * state)))
    return out


def window_noise(rows: int, size: float, memory: float) -> float:
    """Return the relative noise of the median over a twentieth of the rows (at least five)."""
    width = max(5, rows // 20)
    return 1.2533 * size / math.sqrt(width) * math.sqrt((1 + memory) / (1 - memory))


def intervals(rng: random.Random, count: int, mean: float, jitter: float, slow_start: float) -> list[float]:
    """Seconds between rows: jitter with a memory, a slow wander within about a tenth (heat, neighbours on the box), a
    slow start (compilation, caches), and a rare hiccup."""
    out: list[float] = []
    state = 0.0
    swing, phase, turns = rng.uniform(0, 0.08), rng.uniform(0, 2 * math.pi), rng.uniform(1, 6)
    for index in range(count):
        state = 0.6 * state + 0.8 * rng.gauss(0, jitter)
        wander = swing * math.sin(phase + 2 * math.pi * turns * index / count)
        seconds = mean * math.exp(state + wander)
        # Both are a matter of minutes, however long a row takes.
        seconds += min(mean * slow_start, 120.0) * math.exp(-index / 1.5)
        if rng.random() < 0.003:
            seconds += min(mean * rng.uniform(0.5, 5), 600.0)
        out.append(seconds)
    return out


def gradients(rng: random.Random, lr: Sequence[float], usual: float, spread: float) -> list[float]:
    """Return lognormal norms around ``usual``, two to eight times as high in the first rows, with a rare jump."""
    high = math.exp(rng.uniform(0, 2))
    length = max(2.0, rng.uniform(0.01, 0.1) * len(lr))
    out: list[float] = []
    for index in range(len(lr)):
        early = 1 + high * math.exp(-index / length)
        value = usual * early * math.exp(rng.gauss(0, spread))
        if rng.random() < 0.004:
            value *= rng.uniform(2, 6)
        out.append(value)
    return out
