"""Faults of single rows, gradients, speed, the start, the files and the settings."""

from __future__ import annotations

import math
from dataclasses import replace

from lora_tui.records.documents import LogRow
from tools.judge.case import Case
from tools.judge.plan import Track, usual_lr
from tools.judge.recorded_run import RecordedRun


def grad_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.grad, plan.rows = True, max(plan.rows, 40)
    plan.usual_grad = rng.uniform(0.5, 3.0)


def grad(case: Case) -> None:
    """Within twenty rows six to twelve norms are ``effect`` times the usual; the loss is a little higher there."""
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    track.onset = begin = case.onset()
    wild = rng.sample(range(begin, min(plan.rows, begin + 20)), min(rng.randint(6, 12), plan.rows - begin))
    for index in {begin, *wild}:
        track.grad[index] = plan.usual_grad * effect * math.exp(rng.gauss(0, 0.3))
        track.level[index] *= 1.1


def spike_plan(case: Case) -> None:
    plan = case.plan
    case.language()
    case.alone()
    plan.rows = max(plan.rows, 60)
    plan.noise = min(plan.noise, 0.15)


def _height(track: Track, begin: int, effect: float) -> float:
    """Log height: ``effect`` times the highest residual so far, and that counts as 20 % at least; a loss of 20 nats
    is the most that a spike reaches."""
    unit = max(0.2, max(track.factor[:begin]))
    return min(effect * unit, math.log(20 / track.level[begin]))


def spike(case: Case) -> None:
    track, effect = case.track, case.effect
    track.onset = begin = case.onset(0.4, 0.8)
    track.factor[begin] = _height(track, begin, effect)


def spikes(case: Case) -> None:
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    first = case.onset(0.4, 0.5)
    places = sorted({first, *rng.sample(range(first + 1, plan.rows - 1), rng.randint(3, 6))})
    heights = [_height(track, first, effect * rng.uniform(1.0, 1.3)) for _ in places]
    for place, height in zip(places, heights, strict=True):
        track.factor[place] = height
    track.onset = places[2]


def jump(case: Case) -> None:
    """A jump that takes a third of the run to come half-way back."""
    track, plan, effect = case.track, case.plan, case.effect
    begin = case.onset(0.4, 0.6)
    height = math.exp(_height(track, begin, effect))
    case.bend_both(begin, lambda i: 1 + (height - 1) * 0.5 ** ((i - begin) / (plan.rows / 3)))


def slow_plan(case: Case) -> None:
    plan = case.plan
    case.alone()
    plan.rows = max(plan.rows, 90)
    plan.sorted_by_length = 1.0
    plan.duration = max(plan.duration, 4.0 * plan.rows)


def slow(case: Case) -> None:
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    track.onset = begin = max(45, min(int(rng.uniform(0.3, 0.7) * plan.rows), plan.rows - 32))
    for index in range(begin, plan.rows):
        track.seconds[index] /= 1 - effect


# -- the start ---------------------------------------------------------------------------------------------------------


def wrong_start_plan(case: Case) -> None:
    plan, rng, effect = case.plan, case.rng, case.effect
    case.alone()
    plan.stage, plan.method, plan.rows, plan.yaml = "dpo", "lora", max(plan.rows, 25), True
    plan.peak_lr, plan.dash, plan.bump = usual_lr(rng, "dpo", "lora"), 0.0, 0.0
    plan.speed = rng.uniform(0.2, 0.6)
    plan.start = 0.693 + effect
    plan.floor = plan.start * rng.uniform(0.5, 0.9)
    plan.noise = min(plan.noise, 0.1)


def broken_base_plan(case: Case) -> None:
    plan, rng, effect = case.plan, case.rng, case.effect
    case.language()
    case.alone()
    plan.start = effect
    plan.floor = effect * rng.uniform(0.3, 0.8)
    plan.noise = min(plan.noise, 0.04)
    plan.bump, plan.dash, plan.speed = 0.0, 0.0, rng.uniform(0.1, 0.4)


def saturated_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.alone()
    plan.stage, plan.method, plan.rows, plan.grad, plan.rewards = "dpo", "lora", max(plan.rows, 60), True, True
    plan.peak_lr, plan.dash, plan.bump = usual_lr(rng, "dpo", "lora"), 0.0, 0.0
    plan.start, plan.floor = 0.693, 0.3
    plan.yaml = True


def saturated(case: Case) -> None:
    """All pairs are told apart; the gradient falls by ``effect`` powers of ten."""
    track, plan, effect = case.track, case.plan, case.effect
    begin = case.onset(0.3, 0.5)
    track.onset = int(0.9 * begin)
    for index in range(plan.rows):
        share = min(1.0, index / begin)
        track.level[index] = 0.693 * 10 ** (-effect * share)
        track.accuracy[index] = min(1.0, 0.5 + 0.5 * share)
        track.grad[index] *= 10 ** (-effect * share)
    for i, step in enumerate(track.eval_steps):
        track.eval_level[i] = 1.3 * track.level[case.row_of(step)]


# -- files, processes, settings ----------------------------------------------------------------------------------------


def long_plan(case: Case) -> None:
    """One save every ``effect`` hours, in a job of two to four such intervals."""
    plan, rng, effect = case.plan, case.rng, case.effect
    case.alone()
    plan.rows, plan.logging_steps = max(plan.rows, 40), max(plan.logging_steps, 10)
    parts = rng.uniform(2, 4)
    plan.duration = effect * 3600 * parts
    plan.save_steps = max(1, int((plan.rows * plan.logging_steps) / parts))
    plan.slow_start = min(plan.slow_start, 0.5)


def from_the_first_row(case: Case) -> None:
    """The plan has it all."""
    case.track.onset = 0


def two_writers(case: Case, recorded: RecordedRun) -> RecordedRun:
    """A second process writes the same steps into the same log, ``effect`` rows of them: started together with the
    first (a launcher without a distributed setting), or when a third of it is over."""
    rng, effect = case.rng, case.effect
    together = rng.random() < 0.5
    rows = [(row, time) for row, time in recorded.rows if row.kind != "mark"]
    first = 0 if together else len(rows) // 3
    usual = (rows[-1][1] - rows[0][1]) / len(rows)
    late = rng.uniform(0.1, 0.6) * usual + (0.0 if together else rows[first][1] - rows[0][1])
    second: list[tuple[LogRow, float]] = []
    for row, time in rows[: int(effect)]:
        values = dict(row.values)
        if "loss" in values:
            values["loss"] *= math.exp(rng.gauss(0, 0.0003 if together else 0.05))
        elapsed = float(int((row.elapsed_s or 0.0) + (late if together else 0.0)))
        second.append((row._replace(values=values, elapsed_s=elapsed), time + late))
    merged = sorted([*recorded.rows, *second], key=lambda item: item[1])
    end = max(recorded.end_time, merged[-1][1] + 3.0)
    return replace(recorded, rows=tuple(merged), end_time=end, onset_step=rows[first][0].step)


def long_enough(case: Case) -> None:
    plan = case.plan
    case.alone()
    plan.rows = max(plan.rows, 40)


def silent(case: Case) -> None:
    """No row comes any more; the last look is ``effect`` times the longest pause so far later (a minute at least)."""
    track, plan, effect = case.track, case.plan, case.effect
    track.onset = track.stops_after = case.onset(0.2, 0.8)
    longest = max(max(track.seconds[: track.onset + 1]), 0.03 * plan.duration)
    track.silence = effect * max(60.0, longest)


def lr_zero_plan(case: Case) -> None:
    plan = case.plan
    case.alone()
    plan.rows, plan.schedule = max(plan.rows, 40), "linear"


def lr_zero(case: Case) -> None:
    """The schedule was planned for fewer steps: its last ``effect`` (share of the run) has a learning rate of 0."""
    track, plan, effect = case.track, case.plan, case.effect
    track.onset = begin = int((1 - effect) * plan.rows)
    for index in range(plan.rows):
        track.lr[index] = max(0.0, 1 - (index + 1) / begin)


def lr_plan(case: Case) -> None:
    plan, rng, effect = case.plan, case.rng, case.effect
    case.alone()
    plan.stage, plan.method, plan.yaml = "sft", "lora", True
    plan.start, plan.floor = 2.0, 1.2
    plan.peak_lr = 2e-4 * effect if rng.random() < 0.5 else 1e-4 / effect


def own_data(case: Case) -> None:
    track = case.track
    track.config["eval_dataset"] = "train_data"
    track.onset = 0


def own_data_plan(case: Case) -> None:
    plan = case.plan
    plan.yaml, plan.stage = True, "sft"
    case.language()
    plan.evals = max(3, plan.evals)
