"""What is worth knowing about a run, the worst first: codes, steps and numbers, no words.

Each function's docstring has its rule. One cause makes one finding, and a healthy run has no warning and no critical at
any moment of its life.
"""

from __future__ import annotations

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.findings import find_files, find_training
from lora_tui.analysis.findings import run_state as find_broken
from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.model import Finding, Severity
from lora_tui.runs.run import Run

CODES: tuple[str, ...] = (
    "nan_loss", "dead_run", "diverging", "worse_than_start", "out_of_memory", "failed", "stalled", "interrupted",
    "overfitting", "memorised", "no_learning", "grad_explosion", "loss_spike", "throughput_drop", "dpo_wrong_start",
    "reward_falling", "kl_off", "no_signal", "broken_base", "two_writers", "disk_full_soon", "work_at_risk",
    "best_checkpoint_lost", "best_checkpoint_at_risk", "schedule_mismatch", "evaluated_on_training_data",
    "degenerate_predictions", "scores_inconsistent", "healthy_fit", "stopped", "stale_results",
    "best_checkpoint", "better_checkpoint", "underfitted", "plateau", "gap_widening", "staircase", "saturated",
    "loss_scale_bug", "resumed", "rerun", "incomplete_checkpoint", "few_eval_samples", "few_trainable_parameters",
    "lr_unusual", "padding_waste", "no_eval", "not_logged",
)  # fmt: skip
"""Every code that :func:`find` can return, in the order in which equals are listed."""
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "good", "info")
"""From the worst on; the verdict that all is well goes before mere notes."""


def find(run: Run, now: float, context: Context = PLAIN) -> tuple[Finding, ...]:
    """The findings of a run at a moment (Unix time), the worst first, those that are over last."""
    finder = Finder(run, now, context)
    for part in (find_broken, find_training, find_files):
        part.look(finder)
    return tuple(sorted(finder.out, key=lambda one: (one.over, SEVERITIES.index(one.severity), CODES.index(one.code))))
