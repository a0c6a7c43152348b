"""Which directories below the given paths are runs, and the files in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lora_tui.ingest.directory_tree import CHECKPOINT, EVIDENCE, DirectoryTree, is_checkpoint
from lora_tui.sources.base import Entry

EVENTS = re.compile(r"events\.out\.tfevents\.")


@dataclass
class RunDir:
    """The files of one run as last listed."""

    path: Path
    files: dict[str, Entry] = field(default_factory=dict)
    """Name -> entry, directly in the directory."""
    checkpoints: dict[int, tuple[Entry, dict[str, Entry]]] = field(default_factory=dict)
    """Step -> the directory and what is in it."""
    sizes: dict[int, int] = field(default_factory=dict)
    """Step -> bytes of everything in it, subdirectories included."""
    events: list[Entry] = field(default_factory=list)
    """TensorBoard event files anywhere below."""
    consoles: list[Entry] = field(default_factory=list)
    """Console logs that belong to it, wherever they lie."""
    errors: dict[str, str] = field(default_factory=dict)
    """Relative directory -> why it could not be listed."""


class RunTree(DirectoryTree):
    """The listings, and which of the directories are runs."""

    def directory(self, path: Path) -> RunDir | None:
        """The files of a directory that exists, whether or not they make it a run."""
        if path not in self._listed:
            return None
        run = RunDir(path)
        self.fill(run)
        return run

    def runs(self) -> dict[Path, RunDir]:
        """Directories that are runs by the names of their files, with what they hold."""
        found: dict[Path, RunDir] = {}
        for path, entries in self._listed.items():
            if is_checkpoint(path) and path not in self.roots:
                if any(e.name == "trainer_state.json" for e in entries) and path.parent in self._listed:
                    found.setdefault(path.parent, RunDir(path.parent))
                continue
            # A pipe or a device under a run's file name counts too: a run with a problem, not nothing.
            if any(e.name in EVIDENCE and not e.is_dir for e in entries):
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
                found[owner].errors[_relative(path, owner)] = why
                continue
            for run in found.values():
                if path in run.path.parents:
                    run.errors["."] = why
        self._give_events(found)
        return found

    def fill(self, run: RunDir) -> None:
        """Complete a run from the listings."""
        for entry in self.listing(run.path) or []:
            match = CHECKPOINT.match(entry.name)
            if match and entry.is_dir:
                inside = {e.name: e for e in self.listing(entry.path) or []}
                run.checkpoints[int(match.group(1))] = (entry, inside)
                run.sizes[int(match.group(1))] = self._size(entry.path)
            elif not entry.is_dir:
                run.files[entry.name] = entry

    def _size(self, path: Path) -> int:
        """Bytes of the files below a directory, as last listed (DeepSpeed and FSDP save into subdirectories)."""
        found = self.listing(path) or []
        return sum(entry.size if entry.is_file else self._size(entry.path) for entry in found)

    def _give_events(self, found: dict[Path, RunDir]) -> None:
        for path, entries in self._listed.items():
            events = [e for e in entries if e.is_file and EVENTS.match(e.name)]
            if events:
                owner = next((p for p in (path, *path.parents) if p in found), None)
                if owner is not None:
                    found[owner].events.extend(events)


def _has_events(entries: Iterable[Entry]) -> bool:
    return any(EVENTS.match(entry.name) for entry in entries)


def _is_copy(entries: Iterable[Entry]) -> bool:
    """A checkpoint under another name inside a run ("best-500"): a trainer's state, and nothing else of a run."""
    names = {entry.name for entry in entries}
    return names & EVIDENCE == {"trainer_state.json"} and not any(CHECKPOINT.match(name) for name in names)


def _relative(path: Path, base: Path) -> str:
    try:
        return str(path.relative_to(base)) or "."
    except ValueError:
        return str(path)
