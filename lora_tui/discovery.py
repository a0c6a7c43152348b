"""Which directories below the given paths are runs, and which console log belongs to which run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lora_tui.sources.base import Entry, Source, SourceError

RESULTS = frozenset({"train_results.json", "eval_results.json", "predict_results.json", "all_results.json"})
EVIDENCE = RESULTS | {"trainer_log.jsonl", "trainer_state.json", "running_log.txt"}
CONSOLE_NAMES = frozenset({"running_log.txt", "webui_subprocess.log", "nohup.out"})
CONSOLE_SUFFIXES = (".log", ".out")
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
PEEK = 65536
OUTSIDE_LOGS = 200
"""Logs below the current directory that are looked at for the names of runs."""

_NAMES_OUTPUT = re.compile(
    rb"(?:Saving model checkpoint to|Resuming training from(?! checkpoint)|Saving prediction results to|"
    rb"Figure saved at:|(?:config file|chat template|Configuration) saved in|Model weights saved in)\s+([^\r\n\x1b]+)"
)
_TAIL_NAMES = re.compile(
    r"(?:/checkpoint-\d+)?(?:/(?:[\w.-]+\.(?:jsonl?|jinja|png|safetensors|bin)))?\.?\s*\Z"
)  # fmt: skip


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
    """Listings of all directories below the roots, kept up to date by modification times."""

    def __init__(self, source: Source, roots: list[Path]) -> None:
        self._source = source
        self.roots = roots
        self.missing: list[Path] = []
        self.errors: dict[Path, str] = {}
        self._listed: dict[Path, tuple[float, list[Entry]]] = {}
        self._root_files: dict[Path, Entry] = {}

    def scan(self) -> None:
        """Look at every directory again; one whose time has not changed keeps its listing."""
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
            # A directory with the time of its last listing may still hold directories that changed.
            if child.is_dir and not _skipped(child.name):
                self._walk(child, depth + 1, seen, alive)

    def _list(self, path: Path) -> list[Entry]:
        try:
            entries = self._source.entries(path)
        except SourceError as error:
            self.errors[path] = str(error)
            entries = []
        self._listed[path] = (0.0, entries)
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
                    if child.is_dir and not _skipped(child.name) and child.path not in self._listed:
                        self._walk(child, 0, seen, alive)
            elif any(root == path or root in path.parents or path in root.parents for root in self.roots):
                self.scan()
                return

    def listing(self, path: Path) -> list[Entry] | None:
        """What is in a directory below the roots, ``None`` if it is not one."""
        found = self._listed.get(path)
        return found[1] if found is not None else None

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
        for path, (_, entries) in self._listed.items():
            if _is_checkpoint(path) and path not in self.roots:
                if any(e.name == "trainer_state.json" for e in entries) and path.parent in self._listed:
                    found.setdefault(path.parent, RunDir(path.parent))
                continue
            # A pipe or a device under a run's file name counts too: a run with a problem, not nothing.
            if any(e.name in EVIDENCE and not e.is_dir for e in entries):
                found.setdefault(path, RunDir(path))
            if path.parent.name == "runs" and path.parent.parent in self._listed and _has_events(entries):
                found.setdefault(path.parent.parent, RunDir(path.parent.parent))
        for path in [p for p in found if p.parent in found and p not in self.roots]:
            if _is_copy(self._listed[path][1]):
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
        for path, (_, entries) in self._listed.items():
            events = [e for e in entries if e.is_file and EVENTS.match(e.name)]
            if events:
                owner = next((p for p in (path, *path.parents) if p in found), None)
                if owner is not None:
                    found[owner].events.extend(events)


def _skipped(name: str) -> bool:
    return name in SKIPPED or (name.startswith(".") and len(name) > 1)


def _has_events(entries: Iterable[Entry]) -> bool:
    return any(EVENTS.match(entry.name) for entry in entries)


def _is_checkpoint(path: Path) -> bool:
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


def is_console_name(name: str) -> bool:
    """Names under which people keep the console of a job."""
    return name in CONSOLE_NAMES or name.endswith(CONSOLE_SUFFIXES)


@dataclass
class _Peek:
    size: int
    key: tuple[int, int]
    is_log: bool
    output_dir: str | None


class LogBook:
    """Tells which files are console logs of a training, and whose."""

    def __init__(self, source: Source, tree: Tree, logs: list[Path], cwd: Path | None = None) -> None:
        self._source = source
        self._tree = tree
        self._logs = logs
        self._cwd = cwd
        self._peeks: dict[Path, _Peek] = {}
        self._outside: list[Entry] = []
        self.missing: list[Path] = []

    def watch_roots(self) -> list[Path]:
        """Files outside the tree that must be watched too."""
        return [path for path in self._logs if not any(root in path.parents for root in self._tree.roots)]

    def scan_outside(self, runs: Iterable[Path]) -> None:
        """List the logs beside the runs and below the current directory."""
        places: dict[Path, None] = {path.parent: None for path in runs}
        if self._cwd is not None:
            places[self._cwd] = None
            for entry in self._entries(self._cwd):
                if entry.is_dir and not _skipped(entry.name):
                    places[entry.path] = None
        found: list[Entry] = []
        for place in places:
            if self._tree.listing(place) is None:
                found.extend(e for e in self._entries(place) if e.is_file and is_console_name(e.name))
        self._outside = found[:OUTSIDE_LOGS]

    def _entries(self, path: Path) -> list[Entry]:
        try:
            return self._source.entries(path)
        except SourceError:
            # Not a place of the user's choosing: what cannot be read there is no news.
            return []

    def assign(self, runs: dict[Path, RunDir]) -> None:
        """Give each console log to the run it belongs to; a directory whose only witness is a log becomes a run."""
        for path in list(self._tree.directories()):
            if _is_checkpoint(path):
                continue
            for entry in self._tree.listing(path) or []:
                if not entry.is_dir and is_console_name(entry.name):
                    self._assign_inside(entry, path, runs)
        for entry in self._outside:
            peek = self._peek(entry)
            home = self._home(peek.output_dir, entry.path.parent, runs) if peek.is_log and peek.output_dir else None
            # Nobody asked for the runs that lie out there, only for the logs of those that were.
            if home is not None and (home in runs or self._tree.listing(home) is not None):
                self._give(entry, home, runs)
        for entry in self._tree.root_logs():
            peek = self._peek(entry)
            named = self._named_on_disk(peek.output_dir, entry.path.parent) if peek.output_dir else None
            run = runs.setdefault(named or entry.path, RunDir(named or entry.path))
            if named is not None and not run.files:
                self._fill_unlisted(run)
            run.consoles.append(entry)
        self._assign_named(runs)

    def _assign_inside(self, entry: Entry, path: Path, runs: dict[Path, RunDir]) -> None:
        peek = self._peek(entry)
        if not peek.is_log:
            if entry.name == "running_log.txt" and path in runs:
                runs[path].consoles.append(entry)
            return
        if peek.output_dir is None:
            self._give(entry, path, runs)
            return
        home = self._home(peek.output_dir, path, runs)
        if home is not None:
            self._give(entry, home, runs)
        elif path in runs:
            # Its run was renamed or copied since: the log lies with the files that it tells of.
            runs[path].consoles.append(entry)

    def _assign_named(self, runs: dict[Path, RunDir]) -> None:
        """Logs given with --log: to the run that they name, else to the only run or path there is."""
        self.missing = []
        for path in self._logs:
            try:
                entry = self._source.stat(path)
            except SourceError:
                entry = None
            if entry is None:
                self.missing.append(path)
                continue
            peek = self._peek(entry)
            home = self._home(peek.output_dir, path.parent, runs) if peek.output_dir else None
            if home is None:
                candidates = list(runs) or [root for root in self._tree.roots if root not in self._tree.missing]
                home = candidates[0] if len(candidates) == 1 else path
            if not any(entry.path == known.path for run in runs.values() for known in run.consoles):
                self._give(entry, home, runs)

    def _give(self, entry: Entry, path: Path, runs: dict[Path, RunDir]) -> None:
        run = runs.get(path)
        if run is None:
            run = runs[path] = RunDir(path)
            self._tree.fill(run)
        run.consoles.append(entry)

    def _fill_unlisted(self, run: RunDir) -> None:
        tree = Tree(self._source, [run.path])
        tree.scan()
        tree.fill(run)
        others = tree.runs()
        if run.path in others:
            run.events.extend(others[run.path].events)

    def _peek(self, entry: Entry) -> _Peek:
        known = self._peeks.get(entry.path)
        if known is not None and known.key == entry.key:
            settled = known.is_log and known.output_dir is not None and entry.size > known.size
            if settled or entry.size == known.size:
                return known
        # Imported where a console log is met: a run without one must not wait for it.
        from lora_tui.formats.console import looks_like_training_log

        try:
            head = self._source.read(entry.path, 0, PEEK)
            tail = self._source.read(entry.path, entry.size - PEEK, PEEK) if entry.size > PEEK else b""
        except SourceError:
            # Said again, with its reason, by the reader of the run that the name belongs to.
            head = tail = b""
        said = _NAMES_OUTPUT.findall(tail) or _NAMES_OUTPUT.findall(head)
        peek = _Peek(entry.size, entry.key, looks_like_training_log(head, tail), _directory(said[-1]) if said else None)
        self._peeks[entry.path] = peek
        return peek

    def _home(self, output_dir: str, place: Path, runs: dict[Path, RunDir]) -> Path | None:
        """The directory that a log in ``place`` means by ``output_dir``."""
        parts = PurePosixPath(output_dir.replace("\\", "/")).parts
        if not parts:
            return None
        if place.name == parts[-1]:
            return place
        exact = [base / output_dir for base in (place, *place.parents)] if parts[0] != "/" else [Path(output_dir)]
        known = runs.keys() | set(self._tree.directories())
        for path in exact:
            normal = Path(os.path.normpath(path))
            if normal in known:
                return normal
        best: tuple[int, Path] | None = None
        for path in known:
            score = _common_tail(parts, path.parts)
            near = path.parent == place or len(parts) == 1
            if score >= (1 if near else 2) and (best is None or score > best[0]):
                best = (score, path)
        return best[1] if best is not None else None

    def _named_on_disk(self, output_dir: str, place: Path) -> Path | None:
        for base in (place, *place.parents):
            path = Path(os.path.normpath(base / output_dir))
            try:
                entry = self._source.stat(path)
            except SourceError:
                continue
            if entry is not None and entry.is_dir:
                return path
        return place if place.name == PurePosixPath(output_dir.replace("\\", "/")).name else None


def _directory(said: bytes) -> str | None:
    text = said.decode("utf-8", "replace").strip().replace("\\", "/")
    text = _TAIL_NAMES.sub("", text).rstrip("/")
    return text or None


def _common_tail(a: Iterable[str], b: Iterable[str]) -> int:
    count = 0
    for left, right in zip(reversed(list(a)), reversed(list(b)), strict=False):
        if left != right:
            break
        count += 1
    return count
