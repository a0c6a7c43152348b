"""Find console logs and assign each to its run, by the output directory that it names, else by its own directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from lora_tui.ingest.directory_tree import is_checkpoint, is_skipped
from lora_tui.ingest.discovery import RunDir, RunTree
from lora_tui.records.file_names import RUNNING_LOG, is_console_name
from lora_tui.sources.base import Entry, Source, SourceError

END_BYTES = 65536
"""Number of bytes at either end of a log that are searched for the output directory."""
MAX_OUTSIDE_LOGS = 200
"""Maximum number of logs outside the tree that are searched for output directories."""

_NAMES_OUTPUT = re.compile(
    rb"(?:Saving model checkpoint to|Resuming training from(?! checkpoint)|Saving prediction results to|"
    rb"Figure saved at:|(?:config file|chat template|Configuration) saved in|Model weights saved in)\s+([^\r\n\x1b]+)"
)
# The end of a path that names a checkpoint or a file in the output directory.
_PATH_END = re.compile(
    r"(?:/checkpoint-\d+)?(?:/(?:[\w.-]+\.(?:jsonl?|jinja|png|safetensors|bin)))?\.?\s*\Z"
)  # fmt: skip


@dataclass
class _Inspection:
    """Facts from the two ends of a log."""

    size: int
    """Size of the log in bytes when it was read."""
    key: tuple[int, int]
    """Device and inode of the log."""
    is_log: bool
    """Whether it is the log of a training job."""
    output_dir: str | None
    """Output directory as written in the log, None if it names none."""


class ConsoleLogs:
    """Finds the console logs of training jobs and assigns each to its run.

    ``logs``: logs given with ``--log``. ``cwd``: another directory in and below which logs are searched.
    """

    def __init__(self, source: Source, tree: RunTree, logs: list[Path], cwd: Path | None = None) -> None:
        self._source = source
        self._tree = tree
        self._logs = logs
        self._cwd = cwd
        self._inspections: dict[Path, _Inspection] = {}
        self._outside: list[Entry] = []
        self.missing: list[Path] = []
        """Logs given with ``--log`` that do not exist."""

    def outside_tree(self) -> list[Path]:
        """Return the logs given with ``--log`` that are outside the tree, so that they must be watched as well."""
        return [path for path in self._logs if not any(root in path.parents for root in self._tree.roots)]

    def scan_outside(self, runs: Iterable[Path]) -> bool:
        """List the logs beside the runs and below the current directory; return whether they have changed."""
        places: dict[Path, None] = {path.parent: None for path in runs}
        if self._cwd is not None:
            places[self._cwd] = None
            for entry in self._entries(self._cwd):
                if entry.is_dir and not is_skipped(entry.name):
                    places[entry.path] = None
        found: list[Entry] = []
        for place in places:
            if self._tree.listing(place) is None:
                found.extend(e for e in self._entries(place) if e.is_file and is_console_name(e.name))
        before, self._outside = self._outside, found[:MAX_OUTSIDE_LOGS]
        return self._outside != before

    def _entries(self, path: Path) -> list[Entry]:
        """Return all entries of a directory, none where it cannot be read."""
        try:
            return self._source.entries(path)
        except SourceError:
            # The user did not name this directory, so the error is not reported.
            return []

    def assign(self, runs: dict[Path, RunDir]) -> None:
        """Assign each console log to its run; a directory without other evidence of a run than a log becomes one."""
        for path in list(self._tree.directories()):
            if is_checkpoint(path):
                continue
            for entry in self._tree.listing(path) or []:
                if not entry.is_dir and is_console_name(entry.name):
                    self._assign_inside(entry, path, runs)
        for entry in self._outside:
            inspection = self._inspect(entry)
            if not inspection.is_log or inspection.output_dir is None:
                continue
            run_path = self._find_run_path(inspection.output_dir, entry.path.parent, runs)
            # The user asked for the logs of the runs in the tree, not for runs outside it.
            if run_path is not None and (run_path in runs or self._tree.listing(run_path) is not None):
                self._add_log(entry, run_path, runs)
        for entry in self._tree.root_logs():
            inspection = self._inspect(entry)
            named = self._named_on_disk(inspection.output_dir, entry.path.parent) if inspection.output_dir else None
            run = runs.setdefault(named or entry.path, RunDir(named or entry.path))
            if named is not None and not run.files:
                self._fill_from_disk(run)
            run.consoles.append(entry)
        self._assign_named(runs)

    def _assign_inside(self, entry: Entry, path: Path, runs: dict[Path, RunDir]) -> None:
        """Assign a log in the directory ``path`` of the tree."""
        inspection = self._inspect(entry)
        if not inspection.is_log:
            if entry.name == RUNNING_LOG and path in runs:
                runs[path].consoles.append(entry)
            return
        if inspection.output_dir is None:
            self._add_log(entry, path, runs)
            return
        run_path = self._find_run_path(inspection.output_dir, path, runs)
        if run_path is not None:
            self._add_log(entry, run_path, runs)
        elif path in runs:
            # The run was renamed or copied since: the log is beside the files of that run.
            runs[path].consoles.append(entry)

    def _assign_named(self, runs: dict[Path, RunDir]) -> None:
        """Assign the logs given with ``--log`` to the runs that they name, else to the only run or path there is."""
        self.missing = []
        for path in self._logs:
            try:
                entry = self._source.stat(path)
            except SourceError:
                entry = None
            if entry is None:
                self.missing.append(path)
                continue
            inspection = self._inspect(entry)
            run_path = self._find_run_path(inspection.output_dir, path.parent, runs) if inspection.output_dir else None
            if run_path is None:
                candidates = list(runs) or [root for root in self._tree.roots if root not in self._tree.missing]
                run_path = candidates[0] if len(candidates) == 1 else path
            if not any(entry.path == known.path for run in runs.values() for known in run.consoles):
                self._add_log(entry, run_path, runs)

    def _add_log(self, entry: Entry, path: Path, runs: dict[Path, RunDir]) -> None:
        """Add a log to the run at ``path``, which becomes a run if it is none."""
        run = runs.get(path)
        if run is None:
            run = runs[path] = RunDir(path)
            self._tree.fill(run)
        run.consoles.append(entry)

    def _fill_from_disk(self, run: RunDir) -> None:
        """Add the files of a run outside the tree."""
        tree = RunTree(self._source, [run.path])
        tree.scan()
        tree.fill(run)
        others = tree.runs()
        if run.path in others:
            run.events.extend(others[run.path].events)

    def _inspect(self, entry: Entry) -> _Inspection:
        """Return the facts from the ends of a log; read it again only while they may change."""
        known = self._inspections.get(entry.path)
        if known is not None and known.key == entry.key:
            settled = known.is_log and known.output_dir is not None and entry.size > known.size
            if settled or entry.size == known.size:
                return known
        # Imported here, so that runs without a console log do not wait for the import.
        from lora_tui.formats.console.parser import looks_like_training_log

        try:
            head = self._source.read(entry.path, 0, END_BYTES)
            tail = self._source.read(entry.path, entry.size - END_BYTES, END_BYTES) if entry.size > END_BYTES else b""
        except SourceError:
            # The reader of its run reports the reason.
            head = tail = b""
        named = _NAMES_OUTPUT.findall(tail) or _NAMES_OUTPUT.findall(head)
        output_dir = _directory(named[-1]) if named else None
        inspection = _Inspection(entry.size, entry.key, looks_like_training_log(head, tail), output_dir)
        self._inspections[entry.path] = inspection
        return inspection

    def _find_run_path(self, output_dir: str, place: Path, runs: dict[Path, RunDir]) -> Path | None:
        """Return the directory that a log in the directory ``place`` means by ``output_dir``, None if it is unknown."""
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
            is_beside = path.parent == place or len(parts) == 1
            # The path decides between equal scores, since the order of a set differs from process to process.
            if score >= (1 if is_beside else 2) and (best is None or (score, path) > best):
                best = (score, path)
        return best[1] if best is not None else None

    def _named_on_disk(self, output_dir: str, place: Path) -> Path | None:
        """Return the existing directory that a log in ``place``, which is a root, means by ``output_dir``, or None."""
        for base in (place, *place.parents):
            path = Path(os.path.normpath(base / output_dir))
            try:
                entry = self._source.stat(path)
            except SourceError:
                continue
            if entry is not None and entry.is_dir:
                return path
        return place if place.name == PurePosixPath(output_dir.replace("\\", "/")).name else None


def _directory(written: bytes) -> str | None:
    """Return the output directory of a path in a log, without a checkpoint or file at its end."""
    text = written.decode("utf-8", "replace").strip().replace("\\", "/")
    text = _PATH_END.sub("", text).rstrip("/")
    return text or None


def _common_tail(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Return the number of equal parts at the ends of two paths."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
