"""Listings of the directories below some paths, kept up to date at low cost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lora_tui.records.file_names import CHECKPOINT, RUN_EVIDENCE, is_console_name, is_run_file
from lora_tui.sources.base import Entry, NoAnswer, Source, SourceError

SKIPPED_DIRECTORIES = frozenset(
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
"""Names of directories that hold no runs: environments, repositories, caches, the data of other tools."""
MAX_DEPTH = 12
"""Number of directory levels below a root that are listed."""
ACTIVE_S = 900.0
"""Seconds since its last change for which a directory or a run counts as active.

An active run may go on, so it is checked often, its whole log is read, and the free space on its disk is measured. An
inactive directory inside a run, such as an old checkpoint, is not watched."""
FULL_SCAN_EVERY = 10
"""Number of scans after which inactive directories are listed again too.

Some file systems do not update the modification time of a directory."""


class DirectoryTree:
    """Listings of all directories below the roots.

    A directory that can no longer be listed keeps its last listing, with the reason in ``errors``, so that a run does
    not disappear when a permission is lost or a server stops answering.
    """

    def __init__(self, source: Source, roots: list[Path]) -> None:
        self._source = source
        self.roots = roots
        self.missing: list[Path] = []
        """Roots that do not exist."""
        self.errors: dict[Path, str] = {}
        """Directory, or mount point of a file system that does not answer -> the reason why it cannot be read."""
        self.watching = False
        """Whether to request events for every directory that is listed from now on."""
        self.unwatched: set[Path] = set()
        """Directories whose changes matter but cause no events, so that they must be polled."""
        self._listed: dict[Path, list[Entry]] = {}
        """Directory -> its entries."""
        self._root_files: dict[Path, Entry] = {}
        """Roots that are files, with their entries."""
        self._unread: dict[Path, str] = {}
        """Directory that could not be listed at the last attempt -> the reason."""
        self._inactive: dict[Path, tuple[float, tuple[int, int]]] = {}
        """Inactive directory -> its modification time and identity when it was listed."""
        self._scans = 0
        """Number of scans so far."""
        self._scanned_watching = False
        """Whether everything was scanned since ``watching`` was set."""
        self._changed = False
        """Whether the current scan has found a change."""
        self._evident: set[Path] = set()
        """Directories that are runs by a file directly in them."""

    def scan(self, now: float = 0.0) -> bool:
        """List every directory again and remove deleted ones; return whether anything has changed.

        ``now`` is the Unix time.
        """
        before = (self.missing, self._unread, dict(self._root_files))
        self._changed = False
        self._scans += 1
        if self._scans % FULL_SCAN_EVERY == 0:
            self._inactive.clear()
        self.missing = []
        self.errors = {}
        self._unread = {}
        seen: set[tuple[int, int]] = set()
        found: set[Path] = set()
        unread: set[Path] = set()
        for root in self.roots:
            try:
                entry = self._source.stat(root)
            except SourceError as error:
                self._record_error(root, error)
                unread.add(root)
                continue
            if entry is not None and entry.is_dir:
                self._root_files.pop(root, None)
                self._walk(entry, 0, seen, found, unread, now, self._is_inside(root))
            elif entry is not None:
                self._root_files[root] = entry
            else:
                self._root_files.pop(root, None)
                self.missing.append(root)
        self._scanned_watching = self.watching
        for path in [path for path in self._listed if path not in found]:
            if not unread or not any(up in unread for up in (path, *path.parents)):
                self._remove(path)
        return self._changed or before != (self.missing, self._unread, self._root_files)

    def _record_error(self, path: Path, error: SourceError) -> None:
        """Record why a path cannot be listed."""
        self._unread[path] = str(error)
        self.errors[error.point if isinstance(error, NoAnswer) else path] = str(error)

    def _remove(self, path: Path) -> None:
        """Remove the listing and the watch of a directory."""
        del self._listed[path]
        self._changed = True
        self._inactive.pop(path, None)
        self._evident.discard(path)
        self.unwatched.discard(path)
        self._source.unwatch(path)

    def _walk(
        self,
        entry: Entry,
        depth: int,
        seen: set[tuple[int, int]],
        found: set[Path],
        unread: set[Path],
        now: float,
        inside: bool,
    ) -> None:
        """List a directory and those below it.

        Add each to ``found``, those that cannot be listed to ``unread``, and the identity of each to ``seen``, so that
        links do not lead in circles. ``inside``: the directory belongs to a run above it.
        """
        if entry.key in seen or depth > MAX_DEPTH:
            return
        seen.add(entry.key)
        path = entry.path
        found.add(path)
        if self.watching and not self._scanned_watching and path in self._inactive:
            self._watch_inactive(path, inside, now)
        entries = self._unchanged(path)
        if entries is None:
            entries = self._list(path, now, entry, inside)
        if entries is None:
            unread.add(path)
            self._listed.setdefault(path, [])
            return
        inside = inside or path in self._evident or is_checkpoint(path)
        for child in entries:
            if child.is_dir and not is_skipped(child.name):
                self._walk(child, depth + 1, seen, found, unread, now, inside)

    def _list(self, path: Path, now: float, itself: Entry | None, inside: bool) -> list[Entry] | None:
        """List a directory and return its entries, or None if it cannot be listed.

        It is watched before that, so that no change is missed. ``itself`` is its own entry from before the listing.
        """
        is_watched = self.watching and self._source.watch(path)
        self._inactive.pop(path, None)
        try:
            entries = self._source.entries(path)
        except SourceError as error:
            if _is_gone(self._source, path):
                itself, entries = None, []
            else:
                self._record_error(path, error)
                return None
        self.errors.pop(path, None)
        self._unread.pop(path, None)
        self._changed = self._changed or entries != self._listed.get(path)
        self._listed[path] = entries
        if itself is not None and max(itself.mtime, *(e.mtime for e in entries), 0.0) < now - ACTIVE_S:
            self._inactive[path] = (itself.mtime, itself.key)
        if not is_checkpoint(path) and any(e.name in RUN_EVIDENCE for e in entries):
            self._evident.add(path)
        else:
            self._evident.discard(path)
        self.unwatched.discard(path)
        if self.watching and self._needs_no_watch(path, entries, now, inside):
            self._source.unwatch(path)
        elif self.watching and not is_watched:
            self.unwatched.add(path)
        return entries

    def _unchanged(self, path: Path) -> list[Entry] | None:
        """Return the listing of an inactive directory if no entry was added or removed since, else None."""
        known = self._inactive.get(path)
        if known is None:
            return None
        try:
            itself = self._source.stat(path)
        except SourceError:
            return None
        return self._listed[path] if itself is not None and (itself.mtime, itself.key) == known else None

    def _watch_inactive(self, path: Path, inside: bool, now: float) -> None:
        """Watch an inactive directory that was listed before ``watching`` was set.

        Changes since then show in its modification time, which each scan compares.
        """
        if not self._needs_no_watch(path, self._listed[path], now, inside) and not self._source.watch(path):
            self.unwatched.add(path)

    def _needs_no_watch(self, path: Path, entries: list[Entry], now: float, inside: bool) -> bool:
        """Return whether a directory is inside a run and inactive."""
        part = (inside or is_checkpoint(path)) and path not in self._evident and path not in self.roots
        return part and max((e.mtime for e in entries), default=now) < now - ACTIVE_S

    def _is_inside(self, path: Path) -> bool:
        """Return whether a directory is inside a run or a checkpoint."""
        return any(up in self._evident or is_checkpoint(up) for up in path.parents)

    def rescan(self, paths: Iterable[Path], now: float = 0.0) -> set[Path] | None:
        """List the directories of the changed ``paths`` again, and those that appeared in them.

        Returns those in which only sizes and times have changed, or None if names have, so that there may be other
        runs. ``now`` is the Unix time.
        """
        changed: set[Path] = set()
        other = False
        unread = dict(self._unread)
        left = set()
        for path in paths:
            if path in self._listed:
                left.add(path)
            elif not self._is_foreign_file(path):
                left.add(path.parent)
        while left:
            path = left.pop()
            if path in self.roots and _is_gone(self._source, path):
                # Its watch has ended with it: from now on it is polled.
                self.scan(now)
                return None
            if path in self._listed:
                before = self._listed[path]
                try:
                    itself = self._source.stat(path)
                except SourceError:
                    itself = None
                after = self._list(path, now, itself, self._is_inside(path))
                if after is not None and after != before:
                    changed.add(path)
                    other = self._update_below(before, after, now) or other
                if not after and path.parent in self._listed and _is_gone(self._source, path):
                    left.add(path.parent)
            elif any(root == path or root in path.parents or path in root.parents for root in self.roots):
                self.scan(now)
                return None
        return None if other or unread != self._unread else changed

    def _is_foreign_file(self, path: Path) -> bool:
        """Return whether a changed path is a file with a name that no producer uses, and is not inside a checkpoint.

        Such a file changes nothing here (in a checkpoint its size counts), and listing its directory each time would
        take most of a core where a cache of 20,000 files gains five a second (``docs/file-events.md``).
        """
        parent = path.parent
        if parent not in self._listed or parent in self._unread or path in self.roots or is_run_file(path.name):
            return False
        if any(is_checkpoint(up) for up in (parent, *parent.parents)):
            return False
        try:
            entry = self._source.stat(path)
        except SourceError:
            return False
        return entry is None or not entry.is_dir

    def _update_below(self, before: list[Entry], after: list[Entry], now: float) -> bool:
        """List the directories that appeared in a directory and remove those that are gone.

        Returns whether any entry appeared or is gone.
        """
        old, new = {_identity(e): e for e in before}, {_identity(e): e for e in after}
        for gone in [e.path for key, e in old.items() if key not in new and e.is_dir]:
            for path in [path for path in self._listed if path == gone or gone in path.parents]:
                self._remove(path)
        for child in [e for key, e in new.items() if key not in old]:
            if child.is_dir and not is_skipped(child.name):
                self._walk(child, 0, set(), set(), set(), now, self._is_inside(child.path))
        return old.keys() != new.keys()

    def unwatched_below(self, path: Path) -> set[Path]:
        """Return the directories at and below ``path`` whose changes cause no events."""
        if not self.unwatched:
            return set()
        found, left = set(), [path]
        while left:
            here = left.pop()
            if here in self.unwatched:
                found.add(here)
            left.extend(e.path for e in self._listed.get(here, ()) if e.is_dir and e.path in self._listed)
        return found

    def listing(self, path: Path) -> list[Entry] | None:
        """Return the entries of a directory below the roots, or None for any other path."""
        return self._listed.get(path)

    def directories(self) -> Iterable[Path]:
        """Return all directories below the roots that could be listed."""
        return self._listed.keys()

    def root_logs(self) -> list[Entry]:
        """Return the roots that are files: console logs given by the user."""
        return list(self._root_files.values())


def is_skipped(name: str) -> bool:
    """Return whether directories of this name hold no runs: :data:`SKIPPED_DIRECTORIES` and hidden ones."""
    return name in SKIPPED_DIRECTORIES or (name.startswith(".") and len(name) > 1)


def _is_gone(source: Source, path: Path) -> bool:
    """Return whether a path does not exist, as far as it can be read."""
    try:
        return source.stat(path) is None
    except SourceError:
        return False


def _identity(entry: Entry) -> tuple[object, ...]:
    """Return the features by which two entries of a directory are compared.

    The size is one of them for a console log, which may name its output directory only when it has grown.
    """
    size = entry.size if is_console_name(entry.name) else 0
    return entry.name, entry.is_dir, entry.is_file, entry.key, size


def is_checkpoint(path: Path) -> bool:
    """Return whether a directory has the trainer's name for a checkpoint."""
    return CHECKPOINT.match(path.name) is not None
