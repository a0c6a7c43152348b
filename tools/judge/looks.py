"""Look at runs again and again, as a user would, and add up what the findings said."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lora_tui.analysis.findings.find import find
from tools.judge.faults import FAULTS
from tools.judge.simulator import RecordedRun, Replay, moments, simulate

LOOKS = 20
ACCUSING = ("critical", "warning")


class Job(NamedTuple):
    """One run to draw and to look at."""

    seed: int
    fault: str = ""
    effect: float | None = None


@dataclass(frozen=True)
class FirstSeen:
    """When a code was first seen in a run, as an index of its rows."""

    row: int
    accusing: bool
    """Whether it was a warning or critical at one look at least."""


@dataclass(frozen=True)
class Outcome:
    """What the looks at one run said; codes first seen before the onset and from it on are kept apart."""

    job: Job
    rows: int
    onset: int | None
    right: frozenset[str]
    welcome: frozenset[str]
    before: Mapping[str, FirstSeen]
    after: Mapping[str, FirstSeen]

    @property
    def hit(self) -> int | None:
        """Rows from the onset to the first right finding, or None."""
        seen = [seen_at.row for code, seen_at in self.after.items() if code in self.right]
        return min(seen) - (self.onset or 0) if seen else None

    def wrong(self, code: str) -> bool:
        """Return whether the code was said though it is not so, or not yet."""
        if code in self.welcome:
            return False
        return code in self.before or (code in self.after and code not in self.right)


def jobs(base: int, healthy: int, each: int, only: str = "") -> list[Job]:
    """Return healthy runs and ``each`` runs of every fault and effect, with seeds from ``base`` on.

    ``only``: the faults of this code.
    """
    out = [Job(base + i) for i in range(healthy)]
    for number, (name, fault) in enumerate(FAULTS.items()):
        if only and name.partition(":")[0] != only:
            continue
        first = base + 100_000 * (number + 1)
        for place, effect in enumerate(fault.effects):
            out += [Job(first + 1000 * place + i, name, effect) for i in range(each)]
    return out


def look_at(job: Job) -> Outcome:
    """Draw a run and look at it all along. One in three is opened late: what was there then has no times."""
    recorded = simulate(job.seed, job.fault, job.effect)
    rng = random.Random(f"looks {job}")
    looks = moments(recorded, LOOKS)
    onset = recorded.onset_row
    cold = rng.random() < 1 / 3
    if cold:
        bound = len(recorded.rows) // 2 if onset is None else onset
        late = [look for look in looks if look <= bound] or looks[:1]
        looks = looks[late.index(rng.choice(late)) :]
    return watch(recorded, looks, cold=cold, job=job)


def watch(recorded: RecordedRun, looks: Sequence[int], *, cold: bool, job: Job | None = None) -> Outcome:
    """Return what is said about a run at these looks."""
    replay = Replay(recorded, cold=cold)
    onset = recorded.onset_row
    before: dict[str, FirstSeen] = {}
    after: dict[str, FirstSeen] = {}
    for index in looks:
        run, now = replay.advance(index)
        seen = before if onset is not None and index < onset else after
        for finding in find(run, now):
            known = seen.get(finding.code)
            accusing = finding.severity in ACCUSING
            if known is None:
                seen[finding.code] = FirstSeen(index, accusing)
            elif accusing and not known.accusing:
                seen[finding.code] = FirstSeen(known.row, accusing)
    name = job or Job(recorded.seed, recorded.fault, recorded.effect)
    return Outcome(name, len(recorded.rows), onset, recorded.right, recorded.welcome, before, after)


@dataclass
class Recall:
    """How often one fault of one effect was found, and how soon."""

    runs: int = 0
    delays: list[int] = field(default_factory=list)
    """Rows from the onset to the first right answer, of those that were found."""
    shares: list[float] = field(default_factory=list)
    """The same, as a share of the rows after the onset."""

    @property
    def found(self) -> int:
        return len(self.delays)

    @property
    def share(self) -> float:
        return self.found / self.runs if self.runs else math.nan


@dataclass
class Tally:
    """What a set of outcomes adds up to."""

    healthy: int = 0
    false: dict[str, list[Job]] = field(default_factory=dict)
    """Healthy runs that a code accused (a warning or critical, at any look), by code."""
    accused: int = 0
    """Number of healthy runs that any code accused."""
    recall: dict[tuple[str, float], Recall] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)
    """Number of runs of which a code was rightly said, by code."""
    wrong: dict[str, list[Job]] = field(default_factory=dict)
    """Runs, healthy and faulty, of which a code was wrongly said, by code."""
    missed: list[Job] = field(default_factory=list)
    """Runs with a clear fault that was not found."""

    def add(self, outcome: Outcome) -> None:
        job = outcome.job
        for code in {*outcome.before, *outcome.after}:
            if outcome.wrong(code):
                self.wrong.setdefault(code, []).append(job)
            elif code in outcome.right:
                self.right[code] = self.right.get(code, 0) + 1
        if not job.fault:
            self._add_healthy(outcome)
            return
        cell = self.recall.setdefault((job.fault, job.effect or 0.0), Recall())
        cell.runs += 1
        delay = outcome.hit
        if delay is not None:
            cell.delays.append(delay)
            cell.shares.append(delay / max(1, outcome.rows - (outcome.onset or 0)))
        elif (job.effect or 0.0) >= FAULTS[job.fault].clear:
            self.missed.append(job)

    def _add_healthy(self, outcome: Outcome) -> None:
        self.healthy += 1
        codes = [code for code, seen_at in outcome.after.items() if seen_at.accusing and code not in outcome.welcome]
        self.accused += bool(codes)
        for code in codes:
            self.false.setdefault(code, []).append(outcome.job)

    def clear(self, fault: str) -> Recall:
        """Return the sum over all effects of a fault that must be found."""
        out = Recall()
        for (name, effect), cell in self.recall.items():
            if name == fault and effect >= FAULTS[fault].clear:
                out.runs += cell.runs
                out.delays += cell.delays
                out.shares += cell.shares
        return out


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Add up outcomes."""
    out = Tally()
    for outcome in outcomes:
        out.add(outcome)
    return out


def at_most(count: int, total: int, share: float, *, chance: bool) -> bool:
    """Return whether the share is at most this; with ``chance``: or more by what chance gives in one set of twenty
    (binomial)."""
    if total == 0 or count <= share * total + 1e-9:
        return True
    return chance and _at_least(count, total, share) > 0.05


def at_least(count: int, total: int, share: float, *, chance: bool) -> bool:
    """Return whether the share is at least this, with the same allowance for ``chance``."""
    return at_most(total - count, total, 1 - share, chance=chance)


def _at_least(count: int, total: int, share: float) -> float:
    """Return the probability of so many or more hits among ``total``."""
    return math.fsum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count, total + 1))
