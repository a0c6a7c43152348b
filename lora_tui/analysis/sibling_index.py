"""Index of siblings: runs that train the same model at the same stage on the same data."""

from __future__ import annotations

from collections.abc import Sequence

from lora_tui.analysis.similarity import Data, SiblingKey, sibling_key
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace


class SiblingIndex:
    """The runs of a workspace, grouped by stage, model and data.

    Each query first updates the index with the runs that have changed since the last query. The groups are rebuilt only
    if the list of runs or the stage, model or data of one of them has changed.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._workspace_revision = -1
        """Revision of the workspace up to which the index is up to date."""
        self._runs: Sequence[Run] = ()
        """The workspace's list of runs from which the index was built."""
        self._seen: dict[Run, int] = {}
        """Revision of each run when its key was computed, -1 before."""
        self._keys: dict[Run, SiblingKey | None] = {}
        """Stage, model and data of each run, None for a run that has no siblings."""
        self._groups: dict[tuple[str | None, str], dict[Data, list[Run]]] = {}
        """Runs by stage and model, then by data, newest first."""
        self._changes = 0

    def siblings(self, run: Run) -> tuple[Run, ...]:
        """Return the other runs of the same model, stage and data as far as their files show, newest first.

        Runs of unknown data are included; runs of an unknown stage are siblings only of each other.
        """
        self._update()
        key = self._keys.get(run)
        if key is None:
            return ()
        groups = self._groups.get((key.stage, key.model), {})
        agreeing = [runs for data, runs in groups.items() if key.data.agrees(data) is not False]
        if len(agreeing) == 1:
            return tuple(other for other in agreeing[0] if other is not run)
        siblings = {other for runs in agreeing for other in runs}
        return tuple(other for other in self._runs if other in siblings and other is not run)

    def changes(self) -> int:
        """Return how often a run has joined or left a group; while this number is unchanged, so are all siblings."""
        self._update()
        return self._changes

    def _update(self) -> None:
        """Update the index with the changes of the workspace since the last query."""
        if self._workspace_revision == self._workspace.revision:
            return
        self._workspace_revision = self._workspace.revision
        rebuild = self._runs is not self._workspace.runs
        if rebuild:
            self._runs = self._workspace.runs
            self._seen = {run: self._seen.get(run, -1) for run in self._runs}
            for run in [run for run in self._keys if run not in self._seen]:
                self._changes += self._keys.pop(run) is not None
        for run in [run for run in self._runs if run.revision != self._seen[run]]:
            self._seen[run] = run.revision
            key = sibling_key(run)
            if self._keys.get(run) != key:
                self._changes += 1
                rebuild = True
            self._keys[run] = key
        if rebuild:
            self._groups = {}
            for run in self._runs:
                key = self._keys[run]
                if key is not None:
                    self._groups.setdefault((key.stage, key.model), {}).setdefault(key.data, []).append(run)
