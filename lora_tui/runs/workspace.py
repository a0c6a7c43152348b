"""The list of runs: applies batches of updates, keeps names unique, and links eval and predict jobs to runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lora_tui.records.updates import Batch
from lora_tui.runs.run import Run


class Workspace:
    """All runs below some paths. Not thread-safe: only the thread that displays the runs may use it.

    An error in this program itself that one run raises is kept in the run (:attr:`RunData.faults`); the others go on.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = [Path(root).absolute() for root in roots]
        """Paths that the user gave, absolute."""
        self.runs: list[Run] = []
        """Runs, the last active first. A new list replaces it when runs appear, vanish or become active again."""
        self.revision = 0
        """Number that increases with every batch that changes a run or the list."""
        self.complete = False
        """Whether everything that was there at the start has been read."""
        self._by_path: dict[Path, Run] = {}
        self._order: dict[Path, float] = {}
        """Activity (Unix seconds) of each run when the list was last sorted."""
        self._plain: dict[Path, str] = {}
        """Names of all runs ever seen, before equal names are made unique."""

    def apply(self, batch: Batch) -> set[Run]:
        """Apply one batch of updates; return the runs that changed."""
        changed: set[Run] = set()
        list_changed = False
        for item in batch.runs:
            if item.gone:
                gone = self._by_path.pop(item.path, None)
                list_changed = list_changed or gone is not None
                continue
            run = self._by_path.get(item.path)
            if run is None:
                run = self._by_path[item.path] = Run(item.path)
                list_changed = True
            run.partial, run.sampled = item.partial, item.sampled
            try:
                run.apply(item.updates)
            except Exception as error:  # kept with the run, which shows it; the other runs go on
                run.note_fault(":updates", error)
            changed.add(run)
        self.complete = self.complete or batch.complete
        if list_changed:
            self._name_all()
        if list_changed or any(self._became_active(run) for run in changed):
            self._sort()
        if changed:
            self._link()
        if changed or list_changed:
            self.revision += 1
        return changed

    def _became_active(self, run: Run) -> bool:
        """Return whether a run was active a minute later than the first run in the list, so that it must be moved up.

        The activity of the first run is the one by which the list was sorted.
        """
        if not self.runs or self.runs[0] is run:
            return False
        return (run.activity or 0.0) > self._order.get(self.runs[0].path, 0.0) + 60.0

    def _sort(self) -> None:
        """Sort the runs by their last activity, newest first."""
        self._order = {path: run.activity or -math.inf for path, run in self._by_path.items()}
        self.runs = sorted(self._by_path.values(), key=lambda run: (-self._order[run.path], run.name))

    def _name_all(self) -> None:
        """Name all runs; equal names get one more part of the path at a time, at most ten, until they differ."""
        for run in self._by_path.values():
            run.name = self._plain.get(run.path) or self._plain.setdefault(run.path, self._name(run.path))
        depth = 2
        while depth < 12 and (same := _same_names(self._by_path.values())):
            for run in same:
                run.name = "/".join(run.path.parts[-max(depth, len(PurePosixPath(run.name).parts) + 1) :])
            depth += 1

    def _name(self, path: Path) -> str:
        """Return the path relative to the root that contains it, or the last two parts of the path of a root itself."""
        for root in self.roots:
            if root != path and root in path.parents:
                return str(path.relative_to(root))
        return "/".join(part for part in path.parts[-2:] if part != "/")

    def _link(self) -> None:
        """Give each run the eval and predict jobs that loaded its adapter."""
        jobs: dict[Path, list[Run]] = {}
        for run in self.runs:
            try:
                trained = self._run_of_adapter(run) if not run.timeline.rows else None
            except Exception as error:  # kept with the run, which shows it; the other runs go on
                run.note_fault(":adapters", error)
                continue
            if trained is not None:
                jobs.setdefault(trained.path, []).append(run)
        for run in self.runs:
            linked = tuple(jobs.get(run.path, ()))
            if linked != run.linked:
                run.linked = linked
                run.revision += 1

    def _run_of_adapter(self, job: Run) -> Run | None:
        """Return the run whose adapter ``job`` loaded: the one whose path shares the longest end with the adapter's.

        None if no run or more than one does.
        """
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

        Names that merely contain it count only once all runs have been read.
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
