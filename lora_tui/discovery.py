"""Which directories below the given paths are runs, and the files in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lora_tui.sources.base import Entry, Source, SourceError

RESULTS = frozenset({"train_results.json", "eval_results.json", "predict_results.json", "all_results.json"})
EVIDENCE = RESULTS | {"trainer_log.jsonl", "trainer_state.json", "running_log.txt"}
SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".venv",
        "venv",
        "env",
        "node_modules",
        "__pycache__",
        "site-packages",
        "wandb",
        "swanlog",
        "mlruns",
    }
)
CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})\Z")
EVENTS = re.compile(r"events\.out\.tfevents\.")
MAX_DEPTH = 12


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


class Tree:
    """Listings of all directories below the roots, as of the last look at each."""

    def __init__(self, source: Source, roots: list[Path]) -> None:
        self._source = source
        self.roots = roots
        self.missing: list[Path] = []
        self.errors: dict[Path, str] = {}
        self._listed: dict[Path, list[Entry]] = {}
        self._root_files: dict[Path, Entry] = {}

    def scan(self) -> None:
        """List every directory again, and forget those that are gone."""
        self.missing = []
        self.errors = {}
        self._root_files = {}
        seen: set[tuple[int, int]] = set()
        alive: set[Path] = set()
        for root in self.roots:
            entry = self._stat(root)
            if entry is None:
                self.missing.append(root)
            elif entry.is_dir:
                self._walk(entry, 0, seen, alive)
            else:
                self._root_files[root] = entry
        for path in [path for path in self._listed if path not in alive]:
            del self._listed[path]

    def _stat(self, path: Path) -> Entry | None:
        try:
            return self._source.stat(path)
        except SourceError as error:
            self.errors[path] = str(error)
            return None

    def _walk(self, entry: Entry, depth: int, seen: set[tuple[int, int]], alive: set[Path]) -> None:
        if entry.key in seen or depth > MAX_DEPTH:
            return
        seen.add(entry.key)
        path = entry.path
        alive.add(path)
        for child in self._list(path):
            if child.is_dir and not is_skipped(child.name):
                self._walk(child, depth + 1, seen, alive)

    def _list(self, path: Path) -> list[Entry]:
        try:
            entries = self._source.entries(path)
        except SourceError as error:
            self.errors[path] = str(error)
            entries = []
        self._listed[path] = entries
        return entries

    def rescan(self, paths: Iterable[Path]) -> None:
        """Look again at the directories in which something changed, and at what appeared in them."""
        for path in {p if p in self._listed else p.parent for p in paths}:
            if path in self.roots and self._stat(path) is None:
                # With it went the watch on it: from now on it is looked for.
                self.scan()
                return
            if path in self._listed:
                self.errors.pop(path, None)
                alive: set[Path] = set()
                seen: set[tuple[int, int]] = set()
                for child in self._list(path):
                    if child.is_dir and not is_skipped(child.name) and child.path not in self._listed:
                        self._walk(child, 0, seen, alive)
            elif any(root == path or root in path.parents or path in root.parents for root in self.roots):
                self.scan()
                return

    def listing(self, path: Path) -> list[Entry] | None:
        """What is in a directory below the roots, ``None`` if it is not one."""
        return self._listed.get(path)

    def directory(self, path: Path) -> RunDir | None:
        """The files of a directory that exists, whether or not they make it a run."""
        if path not in self._listed:
            return None
        run = RunDir(path)
        self.fill(run)
        return run

    def directories(self) -> Iterable[Path]:
        """All directories below the roots that could be listed."""
        return self._listed.keys()

    def root_logs(self) -> list[Entry]:
        """Roots that are files: console logs named by the user."""
        return list(self._root_files.values())

    def watch_roots(self) -> list[Path]:
        """The roots that exist."""
        return [root for root in self.roots if root not in self.missing]

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
        for path, why in self.errors.items():
            owner = next((p for p in (path, *path.parents) if p in found), None)
            if owner is not None:
                found[owner].errors[_relative(path, owner)] = why
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


def is_skipped(name: str) -> bool:
    """Directories of this name hold no runs: environments, caches, other tools' data, hidden ones."""
    return name in SKIPPED or (name.startswith(".") and len(name) > 1)


def _has_events(entries: Iterable[Entry]) -> bool:
    return any(EVENTS.match(entry.name) for entry in entries)


def is_checkpoint(path: Path) -> bool:
    """The trainer's own name of a checkpoint."""
    return CHECKPOINT.match(path.name) is not None


def _is_copy(entries: Iterable[Entry]) -> bool:
    """A checkpoint under another name inside a run ("best-500"): a trainer's state, and nothing else of a run."""
    names = {entry.name for entry in entries}
    return names & EVIDENCE == {"trainer_state.json"} and not any(CHECKPOINT.match(name) for name in names)


def _relative(path: Path, base: Path) -> str:
    try:
        return str(path.relative_to(base)) or "."
    except ValueError:
        return str(path)
