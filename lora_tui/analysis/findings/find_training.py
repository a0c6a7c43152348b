"""Findings of the training signal, in the order in which one silences the next: what the curves say."""

from __future__ import annotations

from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.findings.evaluation import better_checkpoint, gap_widening, healthy_fit, memorised, overfitting
from lora_tui.analysis.findings.gradient import grad_explosion
from lora_tui.analysis.findings.loss import absurd_start, loss_spike, lost_levels
from lora_tui.analysis.findings.loss_shape import flat_loss, staircase, underfitted
from lora_tui.analysis.findings.preference import dpo_wrong_start, rewards, saturated
from lora_tui.analysis.findings.speed import throughput_drop

PARTS = (
    dpo_wrong_start, lost_levels, loss_spike, grad_explosion, overfitting, memorised, flat_loss, underfitted,
    absurd_start, staircase, saturated, rewards, throughput_drop, gap_widening, better_checkpoint, healthy_fit,
)  # fmt: skip


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in PARTS:
        part(finder)
