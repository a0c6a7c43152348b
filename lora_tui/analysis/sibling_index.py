"""Which runs are siblings: those that train the same model at the same stage on the same data."""

from __future__ import annotations

from collections.abc import Sequence

from lora_tui.analysis.similarity import Data, SiblingKey, sibling_key
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace


class SiblingIndex:
    """The runs of a workspace by stage, model and data.

    It follows the workspace by itself: each question first takes in the runs that changed since the last one, and the
    families are built anew only where one of these runs is not what it was.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._workspace_revision = -1
        """Revision of the workspace up to which the index is up to date."""
        self._runs: Sequence[Run] = ()
        """The workspace's list of runs that the index was made of."""
        self._seen: dict[Run, int] = {}
        """Revision of each run when its kin was worked out, -1 before."""
        self._kin: dict[Run, SiblingKey | None] = {}
        self._families: dict[tuple[str | None, str], dict[Data, list[Run]]] = {}
        """Runs by stage and model, then by data, newest first."""
        self._changes = 0

    def siblings(self, run: Run) -> tuple[Run, ...]:
        """Return the other runs of the same model, stage and data as far as their files tell, newest first.

        Data that is not known is not held against a run; a stage that is not known is.
        """
        self._update()
        kin = self._kin.get(run)
        if kin is None:
            return ()
        family = self._families.get((kin.stage, kin.model), {})
        known = [(data, runs) for data, runs in family.items() if kin.data.agrees(data) is not False]
        if len(known) == 1:
            return tuple(other for other in known[0][1] if other is not run)
        alike = {other for _, runs in known for other in runs}
        return tuple(other for other in self._runs if other in alike and other is not run)

    def changes(self) -> int:
        """Return how often a run has joined or left a family so far: while it is equal, so are all siblings."""
        self._update()
        return self._changes

    def _update(self) -> None:
        """Take in what has changed in the workspace since the last question."""
        if self._workspace_revision == self._workspace.revision:
            return
        self._workspace_revision = self._workspace.revision
        rebuild = self._runs is not self._workspace.runs
        if rebuild:
            self._runs = self._workspace.runs
            self._seen = {run: self._seen.get(run, -1) for run in self._runs}
            for run in [run for run in self._kin if run not in self._seen]:
                self._changes += self._kin.pop(run) is not None
        for run in [run for run in self._runs if run.revision != self._seen[run]]:
            self._seen[run] = run.revision
            kin = sibling_key(run)
            if self._kin.get(run) != kin:
                self._changes += 1
                rebuild = True
            self._kin[run] = kin
        if rebuild:
            self._families = {}
            for run in self._runs:
                kin = self._kin[run]
                if kin is not None:
                    self._families.setdefault((kin.stage, kin.model), {}).setdefault(kin.data, []).append(run)
