"""Looking at lives as a user would, again and again, and adding up what the looks said."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lora_tui.analysis.findings.find import find
from tools.judge.faults import FAULTS
from tools.judge.simulator import Life, Replay, moments, simulate

LOOKS = 20
ACCUSING = ("critical", "warning")


class Job(NamedTuple):
    """One life to draw and to look at."""

    seed: int
    fault: str = ""
    effect: float | None = None


@dataclass(frozen=True)
class Sight:
    """When a code was first seen in a life, as an index of its rows."""

    row: int
    accusing: bool
    """It was a warning or critical, at one look at least."""


@dataclass(frozen=True)
class Outcome:
    """What the looks at one life said. A sight before the onset and one from it on are told apart."""

    job: Job
    rows: int
    onset: int | None
    right: frozenset[str]
    welcome: frozenset[str]
    before: Mapping[str, Sight]
    after: Mapping[str, Sight]

    @property
    def hit(self) -> int | None:
        """Rows from the onset to the first right answer."""
        seen = [sight.row for code, sight in self.after.items() if code in self.right]
        return min(seen) - (self.onset or 0) if seen else None

    def wrong(self, code: str) -> bool:
        """The code was said though it is not so, or not yet."""
        if code in self.welcome:
            return False
        return code in self.before or (code in self.after and code not in self.right)


def jobs(base: int, healthy: int, each: int, only: str = "") -> list[Job]:
    """Healthy lives and ``each`` lives of every fault and effect, with seeds from ``base`` on. ``only``: the faults of
    this code."""
    out = [Job(base + i) for i in range(healthy)]
    for number, (name, fault) in enumerate(FAULTS.items()):
        if only and name.partition(":")[0] != only:
            continue
        first = base + 100_000 * (number + 1)
        for place, effect in enumerate(fault.effects):
            out += [Job(first + 1000 * place + i, name, effect) for i in range(each)]
    return out


def look_at(job: Job) -> Outcome:
    """Draw the life and look at it all along. One in three is opened late: what was there then has no times."""
    life = simulate(job.seed, job.fault, job.effect)
    rng = random.Random(f"looks {job}")
    looks = moments(life, LOOKS)
    onset = life.onset_row
    cold = rng.random() < 1 / 3
    if cold:
        bound = len(life.rows) // 2 if onset is None else onset
        late = [look for look in looks if look <= bound] or looks[:1]
        looks = looks[late.index(rng.choice(late)) :]
    return watch(life, looks, cold=cold, job=job)


def watch(life: Life, looks: Sequence[int], *, cold: bool, job: Job | None = None) -> Outcome:
    """What is said about a life at these looks."""
    replay = Replay(life, cold=cold)
    onset = life.onset_row
    before: dict[str, Sight] = {}
    after: dict[str, Sight] = {}
    for index in looks:
        run, now = replay.advance(index)
        seen = before if onset is not None and index < onset else after
        for finding in find(run, now):
            known = seen.get(finding.code)
            accusing = finding.severity in ACCUSING
            if known is None:
                seen[finding.code] = Sight(index, accusing)
            elif accusing and not known.accusing:
                seen[finding.code] = Sight(known.row, accusing)
    name = job or Job(life.seed, life.fault, life.effect)
    return Outcome(name, len(life.rows), onset, life.right, life.welcome, before, after)


@dataclass
class Recall:
    """How often one fault of one effect was found, and how soon."""

    lives: int = 0
    delays: list[int] = field(default_factory=list)
    """Rows from the onset to the first right answer, of those that were found."""
    shares: list[float] = field(default_factory=list)
    """The same, as a share of the rows after the onset."""

    @property
    def found(self) -> int:
        return len(self.delays)

    @property
    def share(self) -> float:
        return self.found / self.lives if self.lives else math.nan


@dataclass
class Tally:
    """What a set of outcomes adds up to."""

    healthy: int = 0
    false: dict[str, list[Job]] = field(default_factory=dict)
    """Code -> healthy lives that it accused (a warning or critical, at any look)."""
    accused: int = 0
    """Healthy lives that any code accused."""
    recall: dict[tuple[str, float], Recall] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)
    """Code -> lives of which it was rightly said."""
    wrong: dict[str, list[Job]] = field(default_factory=dict)
    """Code -> lives, healthy and faulty, of which it was wrongly said."""
    missed: list[Job] = field(default_factory=list)
    """Clear faults that were not found."""

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
        cell.lives += 1
        delay = outcome.hit
        if delay is not None:
            cell.delays.append(delay)
            cell.shares.append(delay / max(1, outcome.rows - (outcome.onset or 0)))
        elif (job.effect or 0.0) >= FAULTS[job.fault].clear:
            self.missed.append(job)

    def _add_healthy(self, outcome: Outcome) -> None:
        self.healthy += 1
        codes = [code for code, sight in outcome.after.items() if sight.accusing and code not in outcome.welcome]
        self.accused += bool(codes)
        for code in codes:
            self.false.setdefault(code, []).append(outcome.job)

    def clear(self, fault: str) -> Recall:
        """All effects of a fault that must be found."""
        out = Recall()
        for (name, effect), cell in self.recall.items():
            if name == fault and effect >= FAULTS[fault].clear:
                out.lives += cell.lives
                out.delays += cell.delays
                out.shares += cell.shares
        return out


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Add up."""
    out = Tally()
    for outcome in outcomes:
        out.add(outcome)
    return out


def at_most(count: int, total: int, share: float, *, chance: bool) -> bool:
    """At most this share; with ``chance``: or more by what chance gives in one set of twenty (binomial)."""
    if total == 0 or count <= share * total + 1e-9:
        return True
    return chance and _at_least(count, total, share) > 0.05


def at_least(count: int, total: int, share: float, *, chance: bool) -> bool:
    """At least this share, with the same allowance for ``chance``."""
    return at_most(total - count, total, 1 - share, chance=chance)


def _at_least(count: int, total: int, share: float) -> float:
    """Probability of so many or more hits among ``total``."""
    return math.fsum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count, total + 1))
