"""Findings of the training signal, in the order in which one silences the next: what the curves say."""

from __future__ import annotations

from lora_tui.insight.find_evals import better_checkpoint, gap_widening, healthy_fit, memorised, overfitting
from lora_tui.insight.find_gradient import grad_explosion
from lora_tui.insight.find_loss import absurd_start, loss_spike, lost_levels
from lora_tui.insight.find_preference import dpo_wrong_start, rewards, saturated
from lora_tui.insight.find_shape import flat_loss, staircase, underfitted
from lora_tui.insight.find_speed import throughput_drop
from lora_tui.insight.finder import Finder

PARTS = (
    dpo_wrong_start, lost_levels, loss_spike, grad_explosion, overfitting, memorised, flat_loss, underfitted,
    absurd_start, staircase, saturated, rewards, throughput_drop, gap_widening, better_checkpoint, healthy_fit,
)  # fmt: skip


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in PARTS:
        part(finder)
