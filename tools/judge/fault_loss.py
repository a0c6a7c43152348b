"""Faults that show in the losses: how each is planned (``*_plan``) and put into the track."""

from __future__ import annotations

import math

from tools.judge.case import Case, ramp


def long_enough(case: Case) -> None:
    plan = case.plan
    case.language()
    case.alone()
    plan.rows = max(plan.rows, 24)


def diverging(case: Case) -> None:
    """The loss climbs within 2 to 15 % of the run and stays up; the gradient jumps first, then is small."""
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    begin = case.onset()
    level = track.level[begin]
    rise = effect * max(plan.window_noise, 0.2, 0.2 / level)
    length = rng.uniform(0.02, 0.15) * plan.rows
    high = level * (1 + min(rise, 12 / level))
    case.bend_both(begin, lambda i: 1 + (high / track.level[i] - 1) * ramp(i, begin, length))
    for index in range(begin, plan.rows):
        track.grad[index] *= 1 + 4 * math.exp(-(index - begin) / max(2.0, length))


def worse(case: Case) -> None:
    """The loss climbs over its own start, early in the run, and never comes back."""
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    begin = case.onset(0.1, 0.4)
    high = plan.start * (1 + min(effect * max(plan.window_noise, 0.2, 0.2 / plan.start), 12 / plan.start))
    length = rng.uniform(0.02, 0.15) * plan.rows
    case.bend_both(begin, lambda i: 1 + (high / track.level[i] - 1) * ramp(i, begin, length))


def nan(case: Case) -> None:
    track, plan, effect = case.track, case.plan, case.effect
    track.onset = begin = case.onset(0.1, 0.7)
    end = min(plan.rows, begin + int(effect))
    track.literal.update(dict.fromkeys(range(begin, end), math.nan))
    if end == plan.rows:
        first = track.steps[begin]
        track.eval_literal.update({i: math.nan for i, step in enumerate(track.eval_steps) if step >= first})


def dead(case: Case) -> None:
    track, plan, effect = case.track, case.plan, case.effect
    begin = plan.rows - int(effect)
    if effect >= plan.rows - 3:
        # Many such runs die at once: one real loss, or two, and zeros to the end.
        begin = case.rng.choice((case.rng.randint(1, 3), case.onset(0.05, 0.6)))
    track.onset = begin
    track.literal.update(dict.fromkeys(range(begin, plan.rows), 0.0))
    first = track.steps[begin]
    track.eval_literal.update({i: math.nan for i, step in enumerate(track.eval_steps) if step >= first})


def language(case: Case) -> None:
    case.language()
    case.alone()


# -- it does not learn, or learns too well -----------------------------------------------------------------------------


def resolution(case: Case) -> None:
    """Noise such that a fall by a tenth would stand out by ``effect`` times the noise of a window median."""
    plan, effect = case.plan, case.effect
    plan.memory = 0.0
    width = max(5, plan.rows // 20)
    plan.noise = max(0.02, min(0.3, 0.1 / effect * math.sqrt(width) / 1.2533))


def no_learning_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.rows = max(plan.rows, 60)
    plan.start, plan.bump, plan.epoch_drop = rng.uniform(0.8, 4.0), 0.0, 0.0
    plan.floor = plan.start * rng.uniform(0.997, 1.003)
    plan.peak_lr = 10 ** rng.uniform(-9, -6.5)
    resolution(case)


def plateau_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.rows = max(plan.rows, 60)
    plan.schedule = rng.choice(("constant", "constant_with_warmup"))
    plan.floor, plan.epoch_drop = plan.start * rng.uniform(0.4, 0.75), 0.0
    resolution(case)


def plateau(case: Case) -> None:
    track, plan = case.track, case.plan
    track.onset = begin = case.onset(0.2, 0.4)
    for index in range(plan.rows):
        track.level[index] = plan.floor + (plan.start - plan.floor) * max(0.0, 1 - index / begin) ** 2


def underfitted_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.schedule = rng.choice(("constant", "constant_with_warmup", "inverse_sqrt"))
    plan.evals, plan.rows = rng.randint(3, 10), max(plan.rows, 24)
    plan.epochs, plan.eval_flattens, plan.bump = 1.0, 1.0, 0.0


def underfitted(case: Case) -> None:
    """Train and eval loss fall at a steady rate to the very end."""
    track, plan, effect = case.track, case.plan, case.effect
    drop = min(effect * max(plan.eval_difference, 0.01), 1.6 / plan.evals)
    track.onset = plan.rows - 1
    for index in range(plan.rows):
        track.level[index] = plan.start * math.exp(-drop * plan.evals * (index + 1) / plan.rows)
    for i, step in enumerate(track.eval_steps):
        track.eval_level[i] = (
            plan.start * (1 + plan.eval_offset) * math.exp(-drop * plan.evals * step / plan.total_steps)
        )


def staircase_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.stage, plan.epochs = "sft", float(rng.randint(3, 6))
    plan.rows = max(plan.rows, int(20 * plan.epochs))
    plan.start, plan.bump = rng.uniform(1.5, 4.0), 0.0
    plan.memory = 0.0
    plan.noise = min(plan.noise, 0.15)


def staircase(case: Case) -> None:
    """Level within an epoch but for a fall at its very start, a step down where the next one begins."""
    track, plan, effect = case.track, case.plan, case.effect
    per_epoch = plan.rows / plan.epochs
    drop = min(effect * max(plan.window_noise, 0.05), 0.6)
    track.onset = min(plan.rows - 1, int(2 * per_epoch) + 3)
    for index in range(plan.rows):
        epoch = int(index / per_epoch)
        settled = 1 + 0.3 * math.exp(-index / (0.15 * per_epoch))
        track.level[index] = plan.start * settled * math.exp(-drop * epoch)


def memorised_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.stage, plan.epochs = "sft", float(rng.choice((8, 10, 20, 50, 175)))
    plan.rows = max(plan.rows, 30)
    plan.start, plan.epoch_drop, plan.bump = rng.uniform(1.0, 4.5), 0.0, 0.0


def memorised(case: Case) -> None:
    """The train loss falls to 10 ** -effect, pass by pass; the eval loss turns early, if there is one."""
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    goal = 10.0**-effect
    speed = rng.uniform(0.15, 0.3)
    track.onset = min(plan.rows - 1, int(plan.rows / plan.epochs) + 1)
    for index in range(plan.rows):
        share = int((index + 1) / plan.rows * plan.epochs) / plan.epochs
        track.level[index] = goal + (plan.start - goal) * math.exp(-share / speed * (1 + share))
        track.grad[index] *= max(0.003, min(1.0, track.level[index]))
    low = plan.start * rng.uniform(0.6, 0.85)
    for i, step in enumerate(track.eval_steps):
        share = step / plan.total_steps
        turn = rng.uniform(0.1, 0.12)
        fallen = plan.start - (plan.start - low) * min(1.0, share / turn)
        track.eval_level[i] = fallen * (1 + 0.6 * max(0.0, share - turn))


def overfitting_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    case.language()
    case.alone()
    plan.evals = max(plan.evals, rng.randint(5, 10))
    plan.rows = max(plan.rows, 2 * plan.evals)
    plan.eval_flattens, plan.eval_rise = 1.0, 0.0


def overfitting(case: Case) -> None:
    """From an evaluation on, the eval loss rises to the end while the train loss goes on falling."""
    track, plan, rng, effect = case.track, case.plan, case.rng, case.effect
    count = len(track.eval_steps)
    turn = max(1, min(count - 4, int(rng.uniform(0.15, 0.6) * count)))
    best = track.eval_level[turn]
    rise = effect * max(plan.eval_difference, 0.015, 0.015 / best)
    power = rng.uniform(0.8, 1.5)
    for i in range(turn + 1, count):
        track.eval_level[i] = best * (1 + rise * ((i - turn) / (count - 1 - turn)) ** power)
    track.onset = case.row_of(track.eval_steps[turn + 1])


def at_risk_plan(case: Case) -> None:
    plan, rng = case.plan, case.rng
    overfitting_plan(case)
    plan.evals = max(plan.evals, 8)
    plan.rows = max(plan.rows, 2 * plan.evals)
    plan.total_steps = plan.rows * plan.logging_steps
    plan.save_steps = max(1, round(plan.total_steps / plan.evals))
    plan.evals = plan.total_steps // plan.save_steps
    plan.save_limit, plan.load_best, plan.yaml = rng.choice((2, 3, 4)), False, True
    plan.duration = min(plan.duration, 2400.0 * plan.evals)


def at_risk(case: Case) -> None:
    """As overfitting, and the checkpoints of the evaluations are deleted one after the other."""
    track, plan = case.track, case.plan
    track.eval_steps[:] = [plan.save_steps * (i + 1) for i in range(len(track.eval_steps))]
    overfitting(case)
