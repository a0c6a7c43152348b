"""What can go wrong in a simulated run: each fault with its effect sizes, the unit of its effect, and which findings
are right answers.

Where the unit is the run's own noise it is **the noise of a window median** (a twentieth of the rows, at least five)
for train loss and **the noise of the difference of two evaluations** for eval loss, but never less than what matters:
a loss that rises by a tenth of a percent in a silent run is no fault, however many standard errors it stands out. So an
effect of 2 is twice the noise *and* of a size at which people act; the sizes that matter stand at each fault, and are
those of real accidents, not a rule's bounds.

A fault needs rows to show in: at least ten follow its onset (and three evaluations, where it shows in those).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.judge import fault_loss as loss
from tools.judge import fault_other as other
from tools.judge.case import Case
from tools.judge.plan import Plan, Track
from tools.judge.recorded_run import RecordedRun


def _nothing(_: Case) -> None:
    """Leave the plan and the track as they are."""


def _rows_as_they_are(_: Case, recorded: RecordedRun) -> RecordedRun:
    """Return the run as it is."""
    return recorded


@dataclass(frozen=True)
class Fault:
    """One way to go wrong."""

    effects: tuple[float, ...]
    clear: float
    """Effect from which on it must be found (recall of 0.9 and more)."""
    unit: str
    """What an effect of 1 is."""
    right: frozenset[str]
    """Codes of findings each of which names it rightly."""
    welcome: frozenset[str] = frozenset()
    """Codes of findings that may come along."""
    vague: frozenset[str] = frozenset()
    """Codes that are wrong, but nobody could know while the effect is not clear."""
    prepare: Callable[[Case], None] = _nothing
    """Draw the plan so that the fault can happen in it."""
    bend: Callable[[Case], None] = _nothing
    """Put it into the track."""
    finish: Callable[[Case, RecordedRun], RecordedRun] = _rows_as_they_are
    """Change the finished rows, where nothing else serves."""


NOISE_EFFECTS = (0.5, 1.0, 2.0, 4.0, 8.0)


def honest(plan: Plan, track: Track) -> frozenset[str]:
    """Return codes that are true of this run at some moment, whatever is wrong with it: neither hits nor false
    alarms."""
    out = {"healthy_fit", "better_checkpoint", "best_checkpoint", "not_logged", "few_eval_samples"}
    if not plan.evals or track.eval_steps[0] > plan.total_steps / plan.epochs:
        out.add("no_eval")
    if plan.resume_at is not None:
        out.add("resumed")
    if any(track.level[row] > 0.95 * track.level[int(0.6 * row)] for row in range(20, plan.rows)):
        out.add("plateau")
    still = len(track.eval_level) > 1 and track.eval_level[-1] < 0.995 * track.eval_level[-2]
    if still or track.level[-1] < 0.995 * track.level[int(0.8 * plan.rows)]:
        out.add("underfitted")
    if plan.epoch_drop > 0.04:
        out.add("staircase")
    if plan.eval_rise or plan.epochs > 1:
        out.add("gap_widening")
    if plan.epochs > 3 and not plan.evals and min(track.level) < 0.3:
        out.add("memorised")
    if plan.stage == "dpo" and track.accuracy[-1] > 0.97:
        out.add("saturated")
    return frozenset(out)


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


_WILD = _of("grad_explosion", "loss_spike", "lr_unusual")
_DOOMED = _of("best_checkpoint_at_risk", "best_checkpoint_lost")
_WINDOW = "the noise of a window median"
_EVALS = "the noise of the difference of two evaluations"
_SPIKE = "the highest residual before (log), 20 % at least"
FAULTS: dict[str, Fault] = {
    # The loss goes the wrong way.
    "diverging": Fault(
        NOISE_EFFECTS, 2.0, f"{_WINDOW}; at least 20 % of the best level and 0.2 nats",
        right=_of("diverging", "worse_than_start"), welcome=_WILD | _DOOMED, vague=_of("overfitting"),
        prepare=loss.long_enough, bend=loss.diverging,
    ),
    "worse_than_start": Fault(
        NOISE_EFFECTS, 2.0, f"{_WINDOW}, above the first loss; at least 20 % of it and 0.2 nats",
        right=_of("worse_than_start", "diverging"), welcome=_WILD | _DOOMED, vague=_of("overfitting"),
        prepare=loss.long_enough, bend=loss.worse,
    ),
    "nan_loss": Fault(
        (1.0, 3.0, 1e6), 1.0, "a row of NaN", right=_of("nan_loss"), welcome=_WILD,
        prepare=loss.language, bend=loss.nan,
    ),
    "dead_run": Fault(
        (3.0, 1e6), 3.0, "a last row of zero", right=_of("dead_run"), welcome=_of("nan_loss"),
        prepare=loss.language, bend=loss.dead,
    ),
    "overfitting": Fault(
        NOISE_EFFECTS, 2.0, f"{_EVALS}, reached at the end; at least 1.5 % and 0.015 nats",
        right=_of("overfitting"), welcome=_of("memorised") | _DOOMED,
        prepare=loss.overfitting_plan, bend=loss.overfitting,
    ),
    "best_checkpoint_at_risk": Fault(
        NOISE_EFFECTS, 2.0, "as overfitting",
        right=_of("best_checkpoint_at_risk", "best_checkpoint_lost"), welcome=_of("overfitting"),
        prepare=loss.at_risk_plan, bend=loss.at_risk,
    ),
    # It does not learn, or too well.
    "no_learning": Fault(
        NOISE_EFFECTS, 2.0, f"{_WINDOW}, of which a fall by a tenth would be so many",
        right=_of("no_learning"), welcome=_of("lr_unusual", "plateau"),
        prepare=loss.no_learning_plan, bend=other.from_the_first_row,
    ),
    "memorised": Fault(
        (0.5, 1.0, 2.0, 3.0), 2.0, "a power of ten that the final loss lies below 1",
        right=_of("memorised"), welcome=_of("overfitting", "staircase") | _DOOMED,
        prepare=loss.memorised_plan, bend=loss.memorised,
    ),
    "staircase": Fault(
        NOISE_EFFECTS, 4.0, f"{_WINDOW}, at each epoch; at least 5 %",
        right=_of("staircase"), welcome=_of("memorised"),
        prepare=loss.staircase_plan, bend=loss.staircase,
    ),
    "plateau": Fault(
        NOISE_EFFECTS, 4.0, f"{_WINDOW}, of which a fall by a tenth would be so many",
        right=_of("plateau"), prepare=loss.plateau_plan, bend=loss.plateau,
    ),
    "underfitted": Fault(
        NOISE_EFFECTS, 4.0, f"{_EVALS}, between the last two; at least 1 %",
        right=_of("underfitted"), prepare=loss.underfitted_plan, bend=loss.underfitted,
    ),
    "saturated": Fault(
        (0.3, 1.0, 2.0, 3.0), 2.0, "a power of ten that the gradient falls by",
        right=_of("saturated"), prepare=other.saturated_plan, bend=other.saturated,
    ),
    # Single rows, speed.
    "loss_spike": Fault(
        NOISE_EFFECTS, 4.0, f"{_SPIKE}; one row", right=_of("loss_spike"),
        prepare=other.spike_plan, bend=other.spike,
    ),
    "loss_spike:repeated": Fault(
        NOISE_EFFECTS[:-1], 4.0, f"{_SPIKE}; four to seven rows, the onset is the third", right=_of("loss_spike"),
        welcome=_of("loss_spike"),
        prepare=other.spike_plan, bend=other.spikes,
    ),
    "loss_spike:unrecovered": Fault(
        NOISE_EFFECTS[:-1], 4.0, f"{_SPIKE}; half-way back after a third of the run",
        right=_of("loss_spike", "diverging", "worse_than_start"), welcome=_DOOMED, vague=_of("overfitting"),
        prepare=other.spike_plan, bend=other.jump,
    ),
    "grad_explosion": Fault(
        (3.0, 10.0, 30.0, 100.0, 1000.0), 30.0, "the usual grad_norm", right=_of("grad_explosion"),
        welcome=_of("loss_spike"), prepare=other.grad_plan, bend=other.grad,
    ),
    "throughput_drop": Fault(
        (0.1, 0.2, 0.35, 0.5, 0.8), 0.35, "the whole speed, lost", right=_of("throughput_drop"),
        welcome=_of("work_at_risk"),
        prepare=other.slow_plan, bend=other.slow,
    ),
    # The start.
    "dpo_wrong_start": Fault(
        (0.02, 0.05, 0.2, 0.5, 2.0), 0.2, "a nat above ln 2", right=_of("dpo_wrong_start"),
        prepare=other.wrong_start_plan, bend=other.from_the_first_row,
    ),
    "broken_base": Fault(
        (9.0, 11.0, 14.0, 17.0), 14.0, "a nat of the first loss", right=_of("broken_base"),
        prepare=other.broken_base_plan, bend=other.from_the_first_row,
    ),
    # Files, processes, settings.
    "work_at_risk": Fault(
        (0.5, 1.5, 3.0, 6.0), 1.5, "an hour between saves", right=_of("work_at_risk"),
        prepare=other.long_plan, bend=other.from_the_first_row,
    ),
    "two_writers": Fault(
        (8.0, 20.0, 1e6), 8.0, "a row written by a second process", right=_of("two_writers"),
        welcome=_of("resumed", "throughput_drop", "work_at_risk", "stale_results", "stalled", "interrupted", "no_eval"),
        prepare=other.long_enough, finish=other.two_writers,
    ),
    "stalled": Fault(
        (2.0, 20.0, 200.0), 20.0, "the longest pause before, a minute at least",
        right=_of("stalled", "interrupted"), prepare=other.long_enough, bend=other.silent,
    ),
    "evaluated_on_training_data": Fault(
        (1.0,), 1.0, "one dataset for both", right=_of("evaluated_on_training_data"),
        prepare=other.own_data_plan, bend=other.own_data,
    ),
    "schedule_mismatch": Fault(
        (0.05, 0.2, 0.4), 0.2, "the run, without a learning rate at its end", right=_of("schedule_mismatch"),
        prepare=other.lr_zero_plan, bend=other.lr_zero,
    ),
    "lr_unusual": Fault(
        (1.0, 3.0, 30.0, 300.0), 30.0, "the usual 2e-4 (or its inverse)", right=_of("lr_unusual"),
        prepare=other.lr_plan, bend=other.from_the_first_row,
    ),
}  # fmt: skip
"""Faults by name. A name behind a colon tells variants of one finding apart."""
