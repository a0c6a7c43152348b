"""Findings of what lies on disk: results, checkpoints, settings, and who wrote there."""

from __future__ import annotations

from lora_tui.analysis.findings import (
    checkpoints as find_checkpoints,
)
from lora_tui.analysis.findings import (
    find_attempts,
)
from lora_tui.analysis.findings import (
    job_settings as find_settings,
)
from lora_tui.analysis.findings import (
    results as find_results,
)
from lora_tui.analysis.findings.collector import Finder


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (find_attempts, find_checkpoints, find_results, find_settings):
        part.look(finder)
