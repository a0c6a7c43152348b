"""Find the directories below the given paths that are runs, with their files and checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.ingest.directory_tree import DirectoryTree, is_checkpoint
from lora_tui.records.documents import FormatError
from lora_tui.records.file_names import CHECKPOINT, CHECKPOINT_MARKER, EVENT_FILE, RUN_EVIDENCE, TRAINER_STATE, WEIGHTS
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, SpaceSeen, Update
from lora_tui.sources.base import Entry, Source, SourceError

MAX_ONE_LINE_STATE = 1 << 18
"""Size in bytes of the largest trainer_state.json on one line that is parsed to check that it is complete."""
NOTICEABLE_SHARE = 0.02
"""Share by which the free space must change to be reported again, so that an idle screen is not redrawn."""


@dataclass
class RunDir:
    """The files of one run when it was last listed."""

    path: Path
    files: dict[str, Entry] = field(default_factory=dict)
    """Name -> entry of each file directly in the directory."""
    checkpoints: dict[int, tuple[Entry, dict[str, Entry]]] = field(default_factory=dict)
    """Step -> entry of the checkpoint directory, and its contents by name."""
    sizes: dict[int, int] = field(default_factory=dict)
    """Step -> size of all files in that checkpoint, in bytes, including subdirectories."""
    events: list[Entry] = field(default_factory=list)
    """TensorBoard event files at any depth below the directory."""
    consoles: list[Entry] = field(default_factory=list)
    """Console logs that belong to the run, also those in other directories."""
    errors: dict[str, str] = field(default_factory=dict)
    """Relative path of each directory that could not be listed -> the reason."""


class RunTree(DirectoryTree):
    """Listings of directories, and the runs among them."""

    def directory(self, path: Path) -> RunDir | None:
        """Return the files of a directory, whether or not they make it a run, or None if it is not listed."""
        if path not in self._listed:
            return None
        run = RunDir(path)
        self.fill(run)
        return run

    def runs(self) -> dict[Path, RunDir]:
        """Return the directories that are runs by the names of their files, each with its files."""
        found: dict[Path, RunDir] = {}
        for path, entries in self._listed.items():
            if is_checkpoint(path) and path not in self.roots:
                if any(e.name == TRAINER_STATE for e in entries) and path.parent in self._listed:
                    found.setdefault(path.parent, RunDir(path.parent))
                continue
            # A pipe or a device with the name of a run's file counts too: it is a run with a problem.
            if any(e.name in RUN_EVIDENCE and not e.is_dir for e in entries):
                found.setdefault(path, RunDir(path))
            if path.parent.name == "runs" and path.parent.parent in self._listed and _has_events(entries):
                found.setdefault(path.parent.parent, RunDir(path.parent.parent))
        for path in [p for p in found if p.parent in found and p not in self.roots]:
            if _is_copy(self._listed[path]):
                del found[path]
        for run in found.values():
            self.fill(run)
        for path, why in self._unread.items():
            owner = next((p for p in (path, *path.parents) if p in found), None)
            if owner is not None:
                found[owner].errors[relative_name(path, owner)] = why
                continue
            for run in found.values():
                if path in run.path.parents:
                    run.errors["."] = why
        self._assign_events(found)
        return found

    def fill(self, run: RunDir) -> None:
        """Add the files and checkpoints of a run from the listings."""
        for entry in self.listing(run.path) or []:
            match = CHECKPOINT.match(entry.name)
            if match and entry.is_dir:
                inside = {e.name: e for e in self.listing(entry.path) or []}
                run.checkpoints[int(match.group(1))] = (entry, inside)
                run.sizes[int(match.group(1))] = self._size(entry.path)
            elif not entry.is_dir:
                run.files[entry.name] = entry

    def _size(self, path: Path) -> int:
        """Return the bytes of all files below a directory (DeepSpeed and FSDP save into subdirectories)."""
        found = self.listing(path) or []
        return sum(entry.size if entry.is_file else self._size(entry.path) for entry in found)

    def _assign_events(self, found: dict[Path, RunDir]) -> None:
        """Add each TensorBoard event file to the nearest run above it."""
        for path, entries in self._listed.items():
            events = [e for e in entries if e.is_file and EVENT_FILE.match(e.name)]
            if events:
                owner = next((p for p in (path, *path.parents) if p in found), None)
                if owner is not None:
                    found[owner].events.extend(events)


class CheckpointScanner:
    """Reports one run's checkpoints and the free space on their disk, each only when it has changed."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._parsed: dict[str, tuple[tuple[float, int], bool]] = {}
        """Path of a trainer_state.json -> its time and size when it was read, and whether it parses."""
        self._reported: tuple[CheckpointDir, ...] | None = None
        self._space: SpaceSeen | None = None

    def update(self, run_dir: RunDir, live: bool) -> tuple[tuple[CheckpointDir, ...], list[Update]]:
        """Return all checkpoints of a listing, and the updates since the last call.

        The free space is measured when the checkpoints have changed, and each time for a run that is ``live``.
        """
        items = tuple(self._checkpoint(run_dir, step) for step in sorted(run_dir.checkpoints))
        out: list[Update] = []
        changed = items != self._reported
        if changed:
            self._reported = items
            out.append(CheckpointsSeen(items))
        if (changed or live) and (space := self._measure_space()) is not None:
            out.append(space)
        return items, out

    def _checkpoint(self, run_dir: RunDir, step: int) -> CheckpointDir:
        """Return the record of the checkpoint of a step."""
        entry, inside = run_dir.checkpoints[step]
        state = inside.get(TRAINER_STATE)
        # The directory's own time changes with every copy; the files in it keep the producer's.
        mtime = max((e.mtime for e in inside.values()), default=entry.mtime)
        weights = sum(e.size for e in inside.values() if e.is_file and WEIGHTS.match(e.name))
        has_state = state is not None and self._state_parses(state)
        return CheckpointDir(
            step, entry.name, mtime, has_state, CHECKPOINT_MARKER in inside, run_dir.sizes.get(step, 0), weights
        )  # fmt: skip

    def _measure_space(self) -> SpaceSeen | None:
        """Return the free space if it has changed by more than NOTICEABLE_SHARE, else None."""
        found = self._source.space(self._path)
        before = self._space
        if found is None or (before is not None and abs(found.free - before.free) <= NOTICEABLE_SHARE * before.free):
            return None
        self._space = SpaceSeen(found.free, found.total)
        return self._space

    def _state_parses(self, entry: Entry) -> bool:
        """Return whether a trainer_state.json is complete.

        transformers indents it, so that only its very last brace is at the start of a line.
        """
        name = str(entry.path)
        known = self._parsed.get(name)
        if known is not None and known[0] == (entry.mtime, entry.size):
            return known[1]
        try:
            ends = self._source.read(entry.path, max(0, entry.size - 16), 16).rstrip()
            starts = self._source.read(entry.path, 0, 1)
        except SourceError:
            starts = ends = b""
        parses = starts == b"{" and ends.endswith(b"\n}")
        if starts == b"{" and ends.endswith(b"}") and not parses and entry.size <= MAX_ONE_LINE_STATE:
            # Written on one line by another program, or cut off after an inner brace.
            try:
                parse_trainer_state(self._source.read(entry.path, 0, MAX_ONE_LINE_STATE))
                parses = True
            except (FormatError, SourceError):
                parses = False
        self._parsed[name] = ((entry.mtime, entry.size), parses)
        return parses


def _has_events(entries: Iterable[Entry]) -> bool:
    """Return whether a TensorBoard event file is among the entries."""
    return any(EVENT_FILE.match(entry.name) for entry in entries)


def _is_copy(entries: Iterable[Entry]) -> bool:
    """Return whether a directory inside a run is a copy of a checkpoint under another name ("best-500").

    It is if it holds a trainer's state and no other evidence of a run.
    """
    names = {entry.name for entry in entries}
    return names & RUN_EVIDENCE == {TRAINER_STATE} and not any(CHECKPOINT.match(name) for name in names)


def relative_name(path: Path, base: Path) -> str:
    """Return ``path`` relative to ``base``, or as it is where it is not below it."""
    try:
        return str(path.relative_to(base))
    except ValueError:
        return str(path)
