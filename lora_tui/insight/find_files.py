"""Findings of what lies on disk: results, checkpoints, settings, and who wrote there."""

from __future__ import annotations

from lora_tui.insight import find_attempts, find_checkpoints, find_results, find_settings
from lora_tui.insight.finder import Finder


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (find_attempts, find_checkpoints, find_results, find_settings):
        part.look(finder)
