"""What is drawn for a run (:class:`Plan`) and the run that follows from it, before noise (:class:`Track`).

Where the ranges come from stands in :mod:`tools.judge.simulator`.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from lora_tui.records.documents import ConfigValue
from tools.judge.curves import SCHEDULES, decay, gradients, intervals, learning_rate, noise, window_noise

PREFERENCE = ("dpo", "kto", "rm")


@dataclass
class Plan:
    """The parameters of one run, as drawn. Sizes of noise are relative (0.1 = 10 %)."""

    stage: str
    method: str
    rows: int
    logging_steps: int
    total_steps: int
    epochs: float
    schedule: str
    warmup: float
    peak_lr: float
    start: float
    floor: float
    """Loss at the end, before the steps at epochs."""
    shape: str
    speed: float
    dash: float
    """Share of the fall that is over within the first few percent of the steps, whatever the schedule."""
    dash_speed: float
    """Share of the steps within which that part of the fall is over."""
    noise: float
    tails: float
    memory: float
    epoch_drop: float
    """Share that the loss falls by at each epoch boundary."""
    bump: float
    """Share that the loss is higher by while the learning rate rises."""
    rounded: bool
    evals: int
    eval_samples: int
    eval_noise: float
    """Relative noise of an evaluation at the peak of the learning rate; a third of it where the rate has come down to
    0."""
    eval_offset: float
    gap: float
    eval_flattens: float
    """Share of the run from which on the eval loss falls no more; 1: never."""
    eval_rise: float
    """Relative rise after that, healthy ones below 0.01."""
    grad: bool
    usual_grad: float
    tokens: bool
    sorted_by_length: float
    """Longest over shortest sample within an epoch; 1: shuffled."""
    duration: float
    jitter: float
    slow_start: float
    save_steps: int
    save_limit: int | None
    load_best: bool
    yaml: bool
    resume_at: float | None
    """Share of the rows at which the job is killed and resumed from its last checkpoint."""
    rewards: bool

    @property
    def window_noise(self) -> float:
        """Relative noise of a window median of this run."""
        return window_noise(self.rows, self.noise, self.memory)

    @property
    def eval_difference(self) -> float:
        """Relative noise of the difference of two evaluations."""
        return self.eval_noise * math.sqrt(2)


@dataclass
class Track:
    """What the run does, before noise: one entry for each row, and one for each evaluation. A fault changes these
    lists."""

    steps: list[int]
    lr: list[float]
    level: list[float]
    factor: list[float]
    """Noise of each row, as a log factor."""
    grad: list[float]
    seconds: list[float]
    tokens: list[float]
    eval_steps: list[int]
    eval_level: list[float]
    eval_factor: list[float]
    accuracy: list[float]
    onset: int | None = None
    """Index of the first row that the fault touches."""
    literal: dict[int, float] = field(default_factory=dict)
    """Losses of rows that are written as they are (NaN, 0)."""
    eval_literal: dict[int, float] = field(default_factory=dict)
    stops_after: int | None = None
    """The last row; the job dies there."""
    silence: float = 0.0
    """Seconds between its last row and the last look."""
    config: dict[str, ConfigValue] = field(default_factory=dict)
    """Options beside those that the plan gives."""
    traits: dict[str, float | str] = field(default_factory=dict)


def draw(rng: random.Random) -> Plan:
    """Draw a healthy plan."""
    stage = rng.choices(("sft", "pt", "dpo", "kto", "rm"), (70, 10, 10, 5, 5))[0]
    method = rng.choices(("lora", "full"), (85, 15))[0]
    short = rng.random() < 1 / 3
    rows = rng.randint(20, 40) if short else round(_log_uniform(rng, 15, 6000))
    logging_steps = rng.choice((1, 2, 5, 10, 10, 10, 20, 25, 50))
    samples = round(_log_uniform(rng, 30, 2000))
    starts = {"dpo": (0.690, 0.696), "rm": (0.675, 0.72), "kto": (0.495, 0.503), "pt": (1.5, 4.5)}
    floors = {"dpo": (0.35, 0.92), "rm": (0.3, 0.85), "kto": (0.6, 0.95)}
    start = rng.uniform(*starts.get(stage, (0.8, 4.0)))
    evals = 0 if rng.random() < 0.3 else rng.randint(1, 25) if rng.random() < 0.5 else rng.randint(2, 8)
    size = _log_uniform(rng, 0.02, 0.30) if rng.random() < 0.9 else _log_uniform(rng, 0.002, 0.02)
    plan = Plan(
        stage=stage, method=method, rows=rows, logging_steps=logging_steps,
        total_steps=rows * logging_steps + rng.randrange(logging_steps),
        epochs=float(rng.choice((1, 1, 1, 2, 3, 3, 3, 4, 5, 10, 20) if stage in ("sft", "rm") else (1, 1, 2, 3))),
        schedule=rng.choices(SCHEDULES, (50, 18, 5, 8, 5, 7, 7))[0],
        warmup=rng.choice((0.0, 0.03, 0.05, 0.1, rng.uniform(0, 0.1))),
        peak_lr=usual_lr(rng, stage, method),
        start=start, floor=start * rng.uniform(*floors.get(stage, (0.25, 0.93))),
        shape=rng.choice(("power", "exponential")),
        speed=_log_uniform(rng, 0.2, 1.0) if stage in PREFERENCE else _log_uniform(rng, 0.02, 0.4),
        dash=rng.uniform(0.3, 0.9) if rng.random() < 0.3 and stage not in PREFERENCE else 0.0,
        dash_speed=_log_uniform(rng, 0.003, 0.03),
        noise=size * (0.5 if stage in PREFERENCE else 1.0), tails=rng.choice((0.0, 0.1, 0.3, 1.0)),
        memory=rng.uniform(0.1, 0.5) if rng.random() < 1 / 3 else 0.0,
        epoch_drop=rng.uniform(0, 0.05) if rng.random() < 0.85 else rng.uniform(0.05, 0.2),
        bump=rng.uniform(0.03, 0.25) if rng.random() < 0.2 and stage not in PREFERENCE else 0.0,
        rounded=rng.random() < 0.5,
        evals=min(evals, max(1, rows // 2)) if evals else 0,
        eval_samples=samples, eval_noise=rng.uniform(0.04, 0.12) / math.sqrt(samples),
        eval_offset=rng.gauss(0, 0.5) / math.sqrt(samples), gap=rng.uniform(-0.12, 0.12),
        eval_flattens=rng.uniform(0.5, 0.9) if rng.random() < 0.3 else 1.0,
        eval_rise=rng.uniform(0, 0.012) if rng.random() < 0.5 else 0.0,
        grad=rng.random() < 0.5,
        usual_grad=_log_uniform(rng, 0.2, 4.0) if method == "lora" else _log_uniform(rng, 0.5, 8.0),
        tokens=rng.random() < 0.5 and stage != "rm",
        sorted_by_length=rng.uniform(1.5, 4.0) if rng.random() < 0.04 else 1.0,
        duration=_log_uniform(rng, 240, 144_000) if rng.random() < 0.95 else _log_uniform(rng, 144_000, 864_000),
        jitter=rng.uniform(0.01, 0.10), slow_start=rng.uniform(0, 2.0),
        save_steps=0, save_limit=rng.choice((None, None, 1, 2, 3)), load_best=False,
        yaml=rng.random() < 0.6,
        resume_at=rng.uniform(0.2, 0.9) if rng.random() < 0.06 else None,
        rewards=rng.random() < 0.5,
    )  # fmt: skip
    if stage == "sft" and rng.random() < 0.04:
        _sure_answers(plan, rng)
    return plan


def usual_lr(rng: random.Random, stage: str, method: str) -> float:
    """Return a peak learning rate that people use: the producer's examples and what is around them."""
    low, high = {"sft": (3e-5, 4e-4), "pt": (3e-5, 4e-4), "rm": (2e-5, 2e-4)}.get(stage, (1e-6, 3e-5))
    value = _log_uniform(rng, low, high)
    return value if method == "lora" else value / 10


def _sure_answers(plan: Plan, rng: random.Random) -> None:
    """Make answers of one or two tokens (a class, a verdict): nearly no loss is left, on unseen samples neither."""
    plan.epochs, plan.evals = float(rng.randint(1, 4)), max(3, min(plan.evals, plan.rows // 3))
    plan.start, plan.floor = rng.uniform(0.6, 2.0), rng.uniform(0.012, 0.08)
    plan.dash, plan.dash_speed = rng.uniform(0.8, 0.95), rng.uniform(0.02, 0.06)
    plan.gap, plan.epoch_drop, plan.bump, plan.eval_rise = rng.uniform(0.0, 0.8), 0.0, 0.0, 0.0
    plan.eval_flattens, plan.noise = 1.0, max(plan.noise, 0.1)


def settle(plan: Plan) -> None:
    """Make the parts of a plan agree with each other."""
    plan.total_steps = plan.rows * plan.logging_steps + plan.total_steps % plan.logging_steps
    plan.duration = min(plan.duration, 600.0 * plan.total_steps)
    if plan.start > plan.floor:
        # A run whose whole fall is over before its first row cannot be told from one that learns nothing.
        plan.dash = min(plan.dash, max(0.0, 1 - 0.06 * plan.floor / (plan.start - plan.floor)))
    if plan.stage == "sft" and plan.floor > 0.15 and plan.floor * (1 - plan.epoch_drop) ** (plan.epochs - 1) < 0.15:
        plan.epoch_drop = max(0.0, 1 - (0.15 / plan.floor) ** (1 / max(1.0, plan.epochs - 1)))
    if not plan.save_steps:
        apart = max(2400.0, 0.015 * plan.duration)
        saves = max(3, math.ceil(plan.duration / apart), 6 if plan.duration > 1500 else 1)
        plan.save_steps = max(1, plan.total_steps // saves)


def follow(plan: Plan, rng: random.Random) -> Track:
    """Return the run that a plan describes, before anything goes wrong."""
    steps = [plan.logging_steps * (i + 1) for i in range(plan.rows)]
    lr = [learning_rate(plan.schedule, step / plan.total_steps, plan.warmup) for step in steps]
    spent = math.fsum(lr) or 1.0
    done = 0.0
    progress: list[float] = []
    for value in lr:
        # A row is the mean since the row before.
        progress.append((done + value / 2) / spent)
        done += value
    half = plan.logging_steps / 2
    level = [_level(plan, (step - half) / plan.total_steps, progress[i]) for i, step in enumerate(steps)]
    eval_steps = sorted(
        {round(plan.total_steps * (i + 1) / plan.evals) for i in range(plan.evals)} if plan.evals else ()
    )
    eval_level = _eval_levels(plan, eval_steps, level)
    accuracy = [_sure(plan, value) for value in level]
    rate = plan.duration / plan.rows
    tokens = _tokens(plan, rng)
    seconds = [
        interval * (count if plan.sorted_by_length > 1 else 1.0)
        for interval, count in zip(intervals(rng, plan.rows, rate, plan.jitter, plan.slow_start), tokens, strict=True)
    ]
    return Track(
        steps=steps, lr=lr, level=level,
        factor=noise(rng, plan.rows, plan.noise, plan.tails, plan.memory),
        grad=gradients(rng, lr, plan.usual_grad, rng.uniform(0.2, 0.45)),
        seconds=seconds, tokens=tokens, eval_steps=eval_steps, eval_level=eval_level,
        # Where the weights hardly move any more, neither does what is measured on the same samples.
        eval_factor=[rng.gauss(0, plan.eval_noise) * (0.3 + 0.7 * lr[_row_of(plan, step)]) for step in eval_steps],
        accuracy=accuracy,
    )  # fmt: skip


def _level(plan: Plan, share: float, progress: float) -> float:
    """Return the loss without noise."""
    slow = decay(plan.shape, progress, plan.speed)
    fast = math.exp(-share / plan.dash_speed)
    value = plan.floor + (plan.start - plan.floor) * (plan.dash * fast + (1 - plan.dash) * slow)
    if plan.stage not in PREFERENCE:
        value *= (1 - plan.epoch_drop) ** _passes(plan, share)
    if plan.bump and plan.warmup:
        value *= 1 + plan.bump * math.exp(-(((share - plan.warmup) / (0.5 * plan.warmup)) ** 2))
    return value


def _eval_levels(plan: Plan, eval_steps: list[int], level: list[float]) -> list[float]:
    """Eval loss: the level of the nearest row with a gap that grows, flat or rising from ``eval_flattens`` on."""
    out: list[float] = []
    lowest = math.inf
    for step in eval_steps:
        share = step / plan.total_steps
        until = min(share, plan.eval_flattens)
        base = level[_row_of(plan, until * plan.total_steps)]
        if plan.stage not in PREFERENCE:
            # A pass over the same samples again helps the training loss more than that of unseen ones.
            passes = _passes(plan, until)
            base *= ((1 - 0.2 * plan.epoch_drop) / (1 - plan.epoch_drop)) ** passes
        base *= 1 + plan.gap * until + plan.eval_offset
        # The gap alone makes no eval loss rise again.
        lowest = min(lowest, base)
        late = max(0.0, share - plan.eval_flattens) / max(1e-9, 1 - plan.eval_flattens)
        out.append(lowest * (1 + plan.eval_rise * late))
    return out


def _passes(plan: Plan, share: float) -> int:
    """Epoch boundaries that were passed at a share of the steps."""
    return max(0, math.ceil(share * plan.epochs - 1e-9) - 1)


def _row_of(plan: Plan, step: float) -> int:
    return max(0, min(plan.rows - 1, math.ceil(step / plan.logging_steps) - 1))


def _sure(plan: Plan, level: float) -> float:
    """Return the accuracy of a preference run whose loss is at ``level``: chance at the start, 0.95 where it has
    halved."""
    return min(1.0, 0.5 + 0.45 * max(0.0, plan.start - level) / (0.5 * plan.start))


def _tokens(plan: Plan, rng: random.Random) -> list[float]:
    """Tokens of each row, relative to the mean."""
    spread = rng.uniform(0.02, 0.15)
    ratio = math.log(plan.sorted_by_length)
    out: list[float] = []
    for index in range(plan.rows):
        phase = (index + 0.5) / plan.rows * plan.epochs % 1.0
        out.append(math.exp(ratio * (0.5 - phase) + rng.gauss(0, spread)))
    return out


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
