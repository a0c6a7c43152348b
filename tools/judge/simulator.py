"""A simulator of LLaMA-Factory training runs: what their files would say, row by row, with the times of writing.

It is here to measure how often a finding is right, so it must not know what the rules look for: no number below is a
rule's bound. The ranges were chosen from what real runs do:

* **Real runs looked at**: some thirty LLaMA-Factory 0.9.5 jobs of a small model (some are in ``sample_runs``); logs of
  jobs on GPUs that people have published: medical answers on a 7B model (6,750 steps in 5.7 hours: 2.2 to 1.85 within
  100 steps and nearly level for the next 700, noise 3.5 %, 2 % down at each epoch, eval 10 % *below* train, the time of
  a step wandering by 12 % over hours), continued pre-training for nine days (noise 0.2 %), for four days (3 %, no
  warm-up), a translator (2.8 to 1.0 within 70 of 8,660 steps), a verifier of one-word answers (1.28 to 0.02 in three
  epochs and eval at twice that, noise 30 %, grad_norm from 33 to 2), ten epochs of summaries (eval 1.3 % above its best
  at the end while its ROUGE still rose); and hand-written reports (100 k samples, one epoch, 1.72 to 1.60 from
  step 500 on). Measured on the first: noise of a row 3 to 24 % of the loss, largest residual 2 to 7 robust deviations,
  autocorrelation 0 to 0.4, evaluations that wiggle by 0.1 to 1.5 %, a loss that falls by 9 % only as the run is short.
* **Length**: a third of the runs has 20 to 40 rows (the producer's example: 125 steps an epoch, a row every 10), the
  others 15 to 6,000 (log-uniform). A row every 1 to 50 steps. Wall time 4 minutes to 40 hours (log-uniform), up to ten
  days in one of twenty, but no step longer than ten minutes.
* **Loss**: start 0.8 to 4 (pt up to 4.5; dpo and rm from ln 2, kto from 0.5), decays by a power law or exponentially
  in the learning rate spent so far, in three of ten with a first dash that is over within 3 % of the steps, to 25 to
  93 % of the start; noise 2 to 30 % of the loss (log-uniform; 0.2 to 2 % in a tenth), a share of 0 to 100 % of it
  Student t, autocorrelated in a third; small steps down at epoch boundaries; a bump of the warm-up in a fifth; four
  decimals in half (transformers up to 4.57 rounds). One in 25 sft runs has one-word answers and ends at 0.01 to 0.08.
* **Evaluation**: 0 to 25, on 30 to 2000 samples. The same samples are evaluated each time, so the sampling error is
  one constant offset, and what wiggles from one evaluation to the next is a fraction of it. Eval follows train with a
  gap from -12 to +12 %; it flattens earlier in some runs, and may rise again by up to 1.2 %.
* **grad_norm**: lognormal around 0.2 to 4 (LoRA) or 0.5 to 8 (full), two to eight times that at the start. It stands in
  the rows of half of the runs, though LLaMA-Factory's log does not carry it: in a real run the console's rows bring it.
* **Clock**: jitter of 1 to 10 %, a wander of up to 8 %, a slow start, hiccups, pauses for evaluations and saves;
  samples sorted by length in a few runs (the time of a step then follows its tokens).
* **Files**: training_args.yaml in 60 % (LlamaBoard writes it, a plain CLI job does not); checkpoints as ``save_steps``
  and ``save_total_limit`` say, each with the trainer's state.

A healthy run is one in which a careful engineer would see nothing to act on. So saves are at most 40 minutes or 1.5 %
of the run apart; no loss ends below 0.15 (a lower one asks whether the data was memorised) but that of one-word
answers, at most four epochs of them and with evaluations that agree; a loss falls by some percent after its first row;
and a run of several epochs without an evaluation is healthy, though overfitting could not be seen.

The simulator is ours: it proves that a rule is not naive, not that it is right.
"""

from __future__ import annotations

import random
from dataclasses import replace

from tools.judge import faults
from tools.judge.case import Case
from tools.judge.plan import draw, follow, settle
from tools.judge.recorded_run import RecordedRun, Replay, moments, write
from tools.judge.render import render

__all__ = ["RecordedRun", "Replay", "moments", "simulate", "write"]

START_TIME = 1_750_000_000.0


def simulate(seed: int, fault: str = "", effect: float | None = None, **fixed: object) -> RecordedRun:
    """Return the run of a seed: the same for the same arguments, on every machine.

    ``fixed`` overrides fields of :class:`tools.judge.plan.Plan` after they were drawn. Without ``effect`` a fault has
    its clearest one.
    """
    rng = random.Random(f"{seed} {fault} {effect}")
    recipe = faults.FAULTS[fault] if fault else None
    size = 0.0 if recipe is None else recipe.effects[-1] if effect is None else effect
    plan = draw(rng)
    case = Case(plan, rng, size)
    if recipe is not None:
        recipe.prepare(case)
    for key, value in fixed.items():
        if not hasattr(plan, key):
            raise TypeError(f"no such parameter: {key}")
        setattr(plan, key, value)
    settle(plan)
    case.track = track = follow(plan, rng)
    if recipe is not None:
        recipe.bend(case)
    name = f"{fault or 'healthy'}-{size:g}-{seed}" if fault else f"healthy-{seed}"
    recorded = render(plan, track, rng, START_TIME + seed % 1000, seed, name)
    right = recipe.right if recipe is not None else frozenset()
    welcome = recipe.welcome if recipe is not None else frozenset()
    if recipe is not None and size < recipe.clear:
        welcome |= recipe.vague
    if recipe is not None:
        recorded = recipe.finish(case, recorded)
    return replace(recorded, fault=fault, effect=size, right=right, welcome=welcome | faults.honest(plan, track))
