"""The list of runs: always a list, even of one. Applies batches, keeps names unique, links jobs to their runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lora_tui.records.updates import Batch
from lora_tui.runs.run import Run

if TYPE_CHECKING:
    from lora_tui.analysis.similarity import Data, Kin


class Workspace:
    """All runs below some paths. Only the thread that shows them may touch it."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = [Path(root).absolute() for root in roots]
        self.runs: list[Run] = []
        """Newest first; the order changes only when runs appear, vanish, or wake up."""
        self.complete = False
        """Everything that was there at the start has been read."""
        self._by_path: dict[Path, Run] = {}
        self._order: dict[Path, float] = {}
        self._kin: dict[Path, Kin | None] = {}
        self._unsorted: set[Path] = set()
        """Runs that changed since the families were last looked at."""
        self._families: dict[tuple[str | None, str], dict[Data, list[Run]]] | None = None
        """Runs by stage and model, then by data, newest first."""
        self._joined = 0
        self._plain: dict[Path, str] = {}
        """Names of all runs ever seen, before twins are told apart."""

    def apply(self, batch: Batch) -> set[Run]:
        """Take in one batch; returns the runs that changed."""
        changed: set[Run] = set()
        structure = False
        for item in batch.runs:
            if item.gone:
                gone = self._by_path.pop(item.path, None)
                self._joined += self._kin.pop(item.path, None) is not None
                self._unsorted.discard(item.path)
                structure = structure or gone is not None
                continue
            run = self._by_path.get(item.path)
            if run is None:
                run = self._by_path[item.path] = Run(item.path)
                structure = True
            run.partial, run.thinned = item.partial, item.thinned
            run.apply(item.updates)
            changed.add(run)
        self._unsorted.update(run.path for run in changed)
        self.complete = self.complete or batch.complete
        if structure:
            self._name_all()
        if structure or any(self._woke(run) for run in changed):
            self._sort()
        if changed:
            self._link()
        return changed

    def _woke(self, run: Run) -> bool:
        """A run below others shows life again after more than a minute."""
        if not self.runs or self.runs[0] is run:
            return False
        return (run.activity or 0.0) > self._order.get(self.runs[0].path, 0.0) + 60.0

    def _sort(self) -> None:
        self._order = {path: run.activity or -math.inf for path, run in self._by_path.items()}
        self.runs = sorted(self._by_path.values(), key=lambda run: (-self._order[run.path], run.name))
        self._families = None

    def _name_all(self) -> None:
        for run in self._by_path.values():
            run.name = self._plain.get(run.path) or self._plain.setdefault(run.path, self._name(run.path))
        depth = 2
        while depth < 12 and (twins := _twins(self._by_path.values())):
            for run in twins:
                run.name = "/".join(run.path.parts[-max(depth, len(PurePosixPath(run.name).parts) + 1) :])
            depth += 1

    def _name(self, path: Path) -> str:
        """The path relative to the root given; of a root itself the last two parts."""
        for root in self.roots:
            if root != path and root in path.parents:
                return str(path.relative_to(root))
        return "/".join(part for part in path.parts[-2:] if part != "/")

    def _link(self) -> None:
        """Give each run the eval and predict jobs that loaded its adapter."""
        jobs: dict[Path, list[Run]] = {}
        for run in self.runs:
            if not run.timeline.rows and (home := self._trained(run)) is not None:
                jobs.setdefault(home.path, []).append(run)
        for run in self.runs:
            linked = tuple(jobs.get(run.path, ()))
            if linked != run.linked:
                run.linked = linked
                run.revision += 1

    def _trained(self, job: Run) -> Run | None:
        """The run whose adapter ``job`` loaded: the one whose path ends most like the adapter's."""
        best: tuple[int, Run] | None = None
        tie = False
        for adapter in job.adapters:
            parts = [p for p in PurePosixPath(adapter.replace("\\", "/")).parts if not p.startswith("checkpoint-")]
            for run in self.runs:
                if run is job:
                    continue
                score = 0
                for left, right in zip(reversed(parts), reversed(run.path.parts), strict=False):
                    if left != right:
                        break
                    score += 1
                if score and (best is None or score > best[0]):
                    best, tie = (score, run), False
                elif best is not None and score == best[0] and run is not best[1]:
                    tie = True
        return best[1] if best is not None and not tie else None

    def siblings(self, run: Run) -> tuple[Run, ...]:
        """The other runs that train the same model at the same stage on the same data, as far as their files tell,
        newest first. What is not known of the data is not held against a run; a stage is."""
        families = self._sorted_into_families()
        kin = self._kin.get(run.path)
        if kin is None:
            return ()
        family = families.get((kin.stage, kin.model), {})
        known = [(data, runs) for data, runs in family.items() if kin.data.agrees(data) is not False]
        if len(known) == 1:
            return tuple(other for other in known[0][1] if other is not run)
        alike = {other.path for _, runs in known for other in runs}
        return tuple(other for other in self.runs if other.path in alike and other is not run)

    def family_changes(self) -> int:
        """How often a run has joined or left its siblings so far: while it is the same, :meth:`siblings` is."""
        self._sorted_into_families()
        return self._joined

    def _sorted_into_families(self) -> dict[tuple[str | None, str], dict[Data, list[Run]]]:
        """The index, brought up to date: only runs that changed are looked at, and it is rebuilt only if one of them
        is not what it was."""
        from lora_tui.analysis.similarity import kin_of

        for path in self._unsorted:
            run = self._by_path.get(path)
            kin = kin_of(run) if run is not None else None
            if self._kin.get(path) != kin:
                self._kin[path] = kin
                self._families = None
                self._joined += 1
        self._unsorted.clear()
        if self._families is None:
            self._families = {}
            for run in self.runs:
                if (kin := self._kin.get(run.path)) is not None:
                    self._families.setdefault((kin.stage, kin.model), {}).setdefault(kin.data, []).append(run)
        return self._families

    def find(self, name: str) -> list[Run]:
        """Runs of that name or path, else those whose path ends with it, else, once all are known, contains it."""
        parts = PurePosixPath(name).parts
        exact = [run for run in self.runs if name in (run.name, str(run.path))]
        ending = exact or [run for run in self.runs if parts and run.path.parts[-len(parts) :] == parts]
        return ending or [run for run in self.runs if self.complete and name in run.name]


def _twins(runs: Iterable[Run]) -> list[Run]:
    seen: dict[str, list[Run]] = {}
    for run in runs:
        seen.setdefault(run.name, []).append(run)
    return [run for same in seen.values() if len(same) > 1 for run in same]
