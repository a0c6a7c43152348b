"""Listings of the directories below some paths, kept up to date at little cost."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lora_tui.sources.base import Entry, NoAnswer, Source, SourceError

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
CONSOLE_NAMES = frozenset({"running_log.txt", "webui_subprocess.log", "nohup.out"})
CONSOLE_SUFFIXES = (".log", ".out")
MAX_DEPTH = 12
WARM_S = 900.0
"""A directory in which nothing changed for this long is cold. Inside a run, as an old checkpoint, it is not listened
to."""
THOROUGH = 10
"""Every so many looks cold directories are listed again too: some file systems do not keep a directory's time."""


class DirectoryTree:
    """Listings of all directories below the roots, as of the last look at each.

    A directory that cannot be listed any more stays as it was, with the reason in ``errors``: what is known of a run
    does not go away with a permission or a server.
    """

    def __init__(self, source: Source, roots: list[Path]) -> None:
        self._source = source
        self.roots = roots
        self.missing: list[Path] = []
        self.errors: dict[Path, str] = {}
        """Directory, or the point where a mount that does not answer begins -> why it cannot be read."""
        self.listening = False
        """Ask for events of every directory that is listed from now on."""
        self.unwatched: set[Path] = set()
        """Directories that matter now and of which no events come."""
        self._listed: dict[Path, list[Entry]] = {}
        self._root_files: dict[Path, Entry] = {}
        self._unread: dict[Path, str] = {}
        """Directory that could not be listed at the last look -> why."""
        self._cold: dict[Path, tuple[float, tuple[int, int]]] = {}
        """Directory in which nothing happens -> its time and identity when it was listed."""
        self._looks = 0
        self._heard = False
        """There was a look at everything since somebody listens."""
        self._changed = False
        self._evident: set[Path] = set()
        """Directories that are runs by a file of their own."""

    def scan(self, now: float = 0.0) -> bool:
        """List every directory again, and forget those that are gone. ``now``: Unix time. False if nothing is other
        than it was."""
        before = (self.missing, self._unread, dict(self._root_files))
        self._changed = False
        self._looks += 1
        if self._looks % THOROUGH == 0:
            self._cold.clear()
        self.missing = []
        self.errors = {}
        self._unread = {}
        seen: set[tuple[int, int]] = set()
        alive: set[Path] = set()
        held: set[Path] = set()
        for root in self.roots:
            try:
                entry = self._source.stat(root)
            except SourceError as error:
                self._fail(root, error)
                held.add(root)
                continue
            if entry is not None and entry.is_dir:
                self._root_files.pop(root, None)
                self._walk(entry, 0, seen, alive, held, now, self._is_inside(root))
            elif entry is not None:
                self._root_files[root] = entry
            else:
                self._root_files.pop(root, None)
                self.missing.append(root)
        self._heard = self.listening
        for path in [path for path in self._listed if path not in alive]:
            if not held or not any(up in held for up in (path, *path.parents)):
                self._forget(path)
        return self._changed or before != (self.missing, self._unread, self._root_files)

    def _fail(self, path: Path, error: SourceError) -> None:
        self._unread[path] = str(error)
        self.errors[error.point if isinstance(error, NoAnswer) else path] = str(error)

    def _forget(self, path: Path) -> None:
        del self._listed[path]
        self._changed = True
        self._cold.pop(path, None)
        self._evident.discard(path)
        self.unwatched.discard(path)
        self._source.unwatch(path)

    def _walk(
        self,
        entry: Entry,
        depth: int,
        seen: set[tuple[int, int]],
        alive: set[Path],
        held: set[Path],
        now: float,
        inside: bool,
    ) -> None:
        """List a directory and those below it. ``inside``: what it lies in belongs to a run."""
        if entry.key in seen or depth > MAX_DEPTH:
            return
        seen.add(entry.key)
        path = entry.path
        alive.add(path)
        if self.listening and not self._heard and path in self._cold:
            self._listen(path, inside, now)
        entries = self._unchanged(path)
        if entries is None:
            entries = self._list(path, now, entry, inside)
        if entries is None:
            held.add(path)
            self._listed.setdefault(path, [])
            return
        inside = inside or path in self._evident or is_checkpoint(path)
        for child in entries:
            if child.is_dir and not is_skipped(child.name):
                self._walk(child, depth + 1, seen, alive, held, now, inside)

    def _list(self, path: Path, now: float, itself: Entry | None, inside: bool) -> list[Entry] | None:
        """What is in a directory now, listened to from before that on; ``None`` if it cannot be listed. ``itself``: as
        it was before."""
        heard = self.listening and self._source.watch(path)
        self._cold.pop(path, None)
        try:
            entries = self._source.entries(path)
        except SourceError as error:
            if _is_gone(self._source, path):
                itself, entries = None, []
            else:
                self._fail(path, error)
                return None
        self.errors.pop(path, None)
        self._unread.pop(path, None)
        self._changed = self._changed or entries != self._listed.get(path)
        self._listed[path] = entries
        if itself is not None and max(itself.mtime, *(e.mtime for e in entries), 0.0) < now - WARM_S:
            self._cold[path] = (itself.mtime, itself.key)
        if not is_checkpoint(path) and any(e.name in EVIDENCE for e in entries):
            self._evident.add(path)
        else:
            self._evident.discard(path)
        self.unwatched.discard(path)
        if self.listening and self._sleeps(path, entries, now, inside):
            self._source.unwatch(path)
        elif self.listening and not heard:
            self.unwatched.add(path)
        return entries

    def _unchanged(self, path: Path) -> list[Entry] | None:
        """What is in a cold directory, if nothing came or went since it was listed."""
        known = self._cold.get(path)
        if known is None:
            return None
        try:
            itself = self._source.stat(path)
        except SourceError:
            return None
        return self._listed[path] if itself is not None and (itself.mtime, itself.key) == known else None

    def _listen(self, path: Path, inside: bool, now: float) -> None:
        """Listen to a cold directory that was listed before anybody listened. What happened since is told by its time,
        as in each look at it."""
        if not self._sleeps(path, self._listed[path], now, inside) and not self._source.watch(path):
            self.unwatched.add(path)

    def _sleeps(self, path: Path, entries: list[Entry], now: float, inside: bool) -> bool:
        """It belongs to a run and nothing happens in it."""
        part = (inside or is_checkpoint(path)) and path not in self._evident and path not in self.roots
        return part and max((e.mtime for e in entries), default=now) < now - WARM_S

    def _is_inside(self, path: Path) -> bool:
        return any(up in self._evident or is_checkpoint(up) for up in path.parents)

    def rescan(self, paths: Iterable[Path], now: float = 0.0) -> set[Path] | None:
        """Look again at the directories in which something changed, and at what appeared in them.

        Returns those in which only sizes and times are others; ``None`` if names are, so that there may be other runs.
        """
        changed: set[Path] = set()
        other = False
        unread = dict(self._unread)
        left = {path if path in self._listed else path.parent for path in paths}
        while left:
            path = left.pop()
            if path in self.roots and _is_gone(self._source, path):
                # With it went the watch on it: from now on it is looked for.
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
                    other = self._renew_below(before, after, now) or other
                if not after and path.parent in self._listed and _is_gone(self._source, path):
                    left.add(path.parent)
            elif any(root == path or root in path.parents or path in root.parents for root in self.roots):
                self.scan(now)
                return None
        return None if other or unread != self._unread else changed

    def _renew_below(self, before: list[Entry], after: list[Entry], now: float) -> bool:
        """Follow what came to and went from a directory; whether anything did."""
        old, new = {_identity(e): e for e in before}, {_identity(e): e for e in after}
        for gone in [e.path for key, e in old.items() if key not in new and e.is_dir]:
            for path in [path for path in self._listed if path == gone or gone in path.parents]:
                self._forget(path)
        for child in [e for key, e in new.items() if key not in old]:
            if child.is_dir and not is_skipped(child.name):
                self._walk(child, 0, set(), set(), set(), now, self._is_inside(child.path))
        return old.keys() != new.keys()

    def unwatched_below(self, path: Path) -> set[Path]:
        """The directory of a run and those inside it, as far as no events come of them."""
        found, left = set(), [path]
        while left:
            here = left.pop()
            if here in self.unwatched:
                found.add(here)
            left.extend(e.path for e in self._listed.get(here, ()) if e.is_dir and e.path in self._listed)
        return found

    def listing(self, path: Path) -> list[Entry] | None:
        """What is in a directory below the roots, ``None`` if it is not one."""
        return self._listed.get(path)

    def directories(self) -> Iterable[Path]:
        """All directories below the roots that could be listed."""
        return self._listed.keys()

    def root_logs(self) -> list[Entry]:
        """Roots that are files: console logs named by the user."""
        return list(self._root_files.values())

    def watch_roots(self) -> list[Path]:
        """The roots that exist."""
        return [root for root in self.roots if root not in self.missing]


def is_skipped(name: str) -> bool:
    """Directories of this name hold no runs: environments, caches, other tools' data, hidden ones."""
    return name in SKIPPED or (name.startswith(".") and len(name) > 1)


def is_console_name(name: str) -> bool:
    """Names under which people keep the console of a job."""
    return name in CONSOLE_NAMES or name.endswith(CONSOLE_SUFFIXES)


def _is_gone(source: Source, path: Path) -> bool:
    try:
        return source.stat(path) is None
    except SourceError:
        return False


def _identity(entry: Entry) -> tuple[object, ...]:
    """What makes a name in a directory another one. A console log tells whose it is as it grows."""
    size = entry.size if is_console_name(entry.name) else 0
    return entry.name, entry.is_dir, entry.is_file, entry.key, size


def is_checkpoint(path: Path) -> bool:
    """The trainer's own name of a checkpoint."""
    return CHECKPOINT.match(path.name) is not None
