"""Find the conditions and events of a run that the user should know: codes, steps and numbers, no words.

The docstring of each function in this package states the rule of its findings. One cause makes one finding, and a
healthy run has no warning and no critical finding at any moment.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from lora_tui.analysis import findings as package
from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.findings.collector import REGISTRY, FindingCollector
from lora_tui.analysis.judgement import Finding, Severity
from lora_tui.runs.run import Run

for _module in iter_modules(package.__path__, f"{package.__name__}."):
    # A module registers its findings when it is imported.
    import_module(_module.name)

CODES: tuple[str, ...] = tuple(sorted(REGISTRY, key=lambda code: REGISTRY[code].rank))
"""Codes of all findings, in the order of their ranks."""
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "good", "info")
"""Severities in the order in which findings are listed; a good result comes before mere notes."""


def find(run: Run, now: float, context: Context = PLAIN) -> tuple[Finding, ...]:
    """Return the findings of a run at the Unix time ``now``, the worst first, those that no longer hold last."""
    collector = FindingCollector(run, now, context)
    collector.collect()
    order = {code: place for place, code in enumerate(CODES)}
    return tuple(
        sorted(collector.findings, key=lambda one: (one.over, SEVERITIES.index(one.severity), order[one.code]))
    )
