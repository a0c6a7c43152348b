"""The list of runs, which is a list even of one: applies batches, keeps names unique, links jobs to their runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lora_tui.records.updates import Batch
from lora_tui.runs.run import Run


class Workspace:
    """All runs below some paths. Only the thread that shows them may touch it."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = [Path(root).absolute() for root in roots]
        self.runs: list[Run] = []
        """Newest first. A new list whenever runs appear, vanish or become active again; else the order stays."""
        self.revision = 0
        """Grows with every batch that changes a run or the list."""
        self.complete = False
        """Whether everything that was there at the start has been read."""
        self._by_path: dict[Path, Run] = {}
        self._order: dict[Path, float] = {}
        self._plain: dict[Path, str] = {}
        """Names of all runs ever seen, before equal ones are told apart."""

    def apply(self, batch: Batch) -> set[Run]:
        """Take in one batch; return the runs that changed."""
        changed: set[Run] = set()
        structure = False
        for item in batch.runs:
            if item.gone:
                gone = self._by_path.pop(item.path, None)
                structure = structure or gone is not None
                continue
            run = self._by_path.get(item.path)
            if run is None:
                run = self._by_path[item.path] = Run(item.path)
                structure = True
            run.partial, run.sampled = item.partial, item.sampled
            run.apply(item.updates)
            changed.add(run)
        self.complete = self.complete or batch.complete
        if structure:
            self._name_all()
        if structure or any(self._became_active(run) for run in changed):
            self._sort()
        if changed:
            self._link()
        if changed or structure:
            self.revision += 1
        return changed

    def _became_active(self, run: Run) -> bool:
        """Return whether a run below others was active more than a minute after the first one was when sorted."""
        if not self.runs or self.runs[0] is run:
            return False
        return (run.activity or 0.0) > self._order.get(self.runs[0].path, 0.0) + 60.0

    def _sort(self) -> None:
        self._order = {path: run.activity or -math.inf for path, run in self._by_path.items()}
        self.runs = sorted(self._by_path.values(), key=lambda run: (-self._order[run.path], run.name))

    def _name_all(self) -> None:
        for run in self._by_path.values():
            run.name = self._plain.get(run.path) or self._plain.setdefault(run.path, self._name(run.path))
        depth = 2
        while depth < 12 and (same := _same_names(self._by_path.values())):
            for run in same:
                run.name = "/".join(run.path.parts[-max(depth, len(PurePosixPath(run.name).parts) + 1) :])
            depth += 1

    def _name(self, path: Path) -> str:
        """Return the path relative to the root given; of a root itself the last two parts."""
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
        """Return the run whose adapter ``job`` loaded: the one whose path shares the longest end with the adapter's."""
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

    def find(self, name: str) -> list[Run]:
        """Return the runs of that name or path, else those whose path ends with it, else those whose name contains it.

        The last only once all runs are known.
        """
        parts = PurePosixPath(name).parts
        exact = [run for run in self.runs if name in (run.name, str(run.path))]
        ending = exact or [run for run in self.runs if parts and run.path.parts[-len(parts) :] == parts]
        return ending or [run for run in self.runs if self.complete and name in run.name]


def _same_names(runs: Iterable[Run]) -> list[Run]:
    """Return the runs whose name another run has too."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    return [run for same in by_name.values() if len(same) > 1 for run in same]
