"""The registry of findings, and the argument of the functions that search for them.

A module of this package registers each of its findings at the function that searches for it::

    @finding("overfitting", "warning", rank=90)
    def overfitting(collector: FindingCollector) -> None:
        ...
        collector.add("overfitting", {"rise": 4.2}, step=120)

``severity`` is the highest that the finding can have; a call of :meth:`FindingCollector.add` may lower it. ``rank``
orders findings of equal severity in lists, the lowest first. The words of a finding are its entries
``finding.<code>.*`` in the catalogues. The functions run in no fixed order. One that depends on another finding calls
:meth:`FindingCollector.has`, which runs the function of that finding first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from lora_tui.analysis import run_facts
from lora_tui.analysis.checkpoint_choice import BROKEN, choose
from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.detectors.incremental import Episode
from lora_tui.analysis.judgement import CheckpointChoice, Finding, Param, Severity
from lora_tui.runs.run import Progress, Run, Status
from lora_tui.runs.series import Series


@dataclass(frozen=True)
class Registration:
    """One code and the function that searches for it."""

    code: str
    severity: Severity
    """Highest severity of the finding, and its severity if the function gives no other."""
    rank: int
    """Place among findings of equal severity, the lowest first."""
    function: FindingFunction


REGISTRY: dict[str, Registration] = {}
"""Registrations by code, filled while the modules of this package are imported."""


def finding(code: str, severity: Severity, *, rank: int) -> Callable[[FindingFunction], FindingFunction]:
    """Register the decorated function for ``code``. A function that finds several codes is decorated once for each.

    Raises ValueError if the code or the rank is taken.
    """

    def register(function: FindingFunction) -> FindingFunction:
        if code in REGISTRY or any(other.rank == rank for other in REGISTRY.values()):
            raise ValueError(f"finding {code!r}: its code or its rank {rank} is taken")
        REGISTRY[code] = Registration(code, severity, rank, function)
        return function

    return register


class FindingCollector:
    """One run at one moment (``now``, Unix time), and its findings so far."""

    def __init__(self, run: Run, now: float, context: Context = PLAIN) -> None:
        self.run = run
        self.now = now
        self.context = context
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.stage, _ = run_facts.stage(run)
        self.step = self.progress.step if self.progress.unit == "steps" else None
        """Last step of the run, None where its progress is counted in batches."""
        self.resume_steps: tuple[float, ...] = tuple(float(step) for step in run.resumed_at)
        """First step of every segment after the first."""
        self.loss: Series | None = run.series.get("loss")
        """Series of the train loss, None without one."""
        self.findings: list[Finding] = []
        """Findings so far."""
        self._begun: set[FindingFunction] = set()
        """Functions that have run or are running."""
        self._running: list[FindingFunction] = []
        """Functions that are running, the innermost one last."""

    def collect(self) -> None:
        """Run the function of every registered finding."""
        for registration in REGISTRY.values():
            self._run(registration.function)

    def add(
        self, code: str, evidence: Mapping[str, Param | None], *, severity: Severity | None = None,
        step: float | None = None, end_step: int | None = None, variant: str = "", over: bool = False,
    ) -> None:  # fmt: skip
        """Add a finding of a registered code; entries of ``evidence`` that are None are left out.

        Raises ValueError if it is critical but registered with a lower severity, since :meth:`has_critical` runs only
        the functions that are registered as critical.
        """
        known = {key: value for key, value in evidence.items() if value is not None}
        at = None if step is None or not math.isfinite(step) else int(step)
        registered = REGISTRY[code].severity
        if severity == "critical" != registered:
            raise ValueError(f"finding {code!r} is critical, but registered as {registered}")
        severity = registered if severity is None else severity
        self.findings.append(Finding(code, severity, at, end_step, known, variant, over))

    def add_episode(self, code: str, episode: Episode, evidence: Mapping[str, Param | None], *, variant: str) -> None:
        """Add a finding that began with an episode, and ended with it or still holds."""
        end = int(episode.end) if episode.end is not None else None
        self.add(code, evidence, step=episode.begin, end_step=end, variant=variant, over=end is not None)

    def has(self, *codes: str) -> bool:
        """Return whether one of these findings holds now; the functions that search for them run first."""
        return bool(self.current(*codes))

    def current(self, *codes: str) -> list[Finding]:
        """Return those of these findings that hold now; the functions that search for them run first."""
        for code in codes:
            self._run(REGISTRY[code].function)
        return [found for found in self.findings if found.code in codes and not found.over]

    def has_critical(self) -> bool:
        """Return whether any finding is critical, even one that no longer holds."""
        for registration in REGISTRY.values():
            if registration.severity == "critical":
                self._run(registration.function)
        return any(found.severity == "critical" for found in self.findings)

    def _run(self, function: FindingFunction) -> None:
        """Run a function unless it has run. Raises RuntimeError if two functions depend on each other's findings."""
        if function not in self._begun:
            self._begun.add(function)
            self._running.append(function)
            function(self)
            self._running.pop()
        elif function in self._running[:-1]:
            raise RuntimeError(f"findings that ask for each other: {[one.__name__ for one in self._running]}")

    @cached_property
    def choice(self) -> CheckpointChoice:
        """Advice on checkpoints; those with broken weights by the findings are left out."""
        return choose(self.run, self.now, self.current(*BROKEN))

    def resume(self) -> dict[str, Param | None]:
        """Return evidence on how to resume: ``checkpoint`` (path) and ``lost`` (steps to repeat), as far as known."""
        lost = self.progress.steps_at_risk
        if lost is None or self.step is None:
            return {}
        point = run_facts.resume_point(self.run, self.step)
        if lost >= self.step or point is None:
            return {"lost": lost}
        return {"checkpoint": point[1], "lost": lost}


FindingFunction = Callable[[FindingCollector], None]
"""A function that searches for one or several findings and adds those that it finds."""
