"""The checkpoint directories of one run as they lie on disk, and the room that is left for the next ones."""

from __future__ import annotations

import re
from pathlib import Path

from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.ingest.discovery import RunDir
from lora_tui.records.documents import FormatError
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, SpaceSeen, Update
from lora_tui.sources.base import Entry, Source, SourceError

STATE = "trainer_state.json"
MARKER = "CHECKPOINT_COMPLETE"
"""Written last by LLaMA-Factory's v1 trainer."""
WEIGHTS = re.compile(r"(?:adapter_model|model|pytorch_model|value_head)(?:-\d+-of-\d+)?\.(?:safetensors|bin)\Z")
MAX_ONE_LINE = 1 << 18
"""A state on one line is parsed to see whether it is whole, up to this size."""
NOTICEABLE = 0.02
"""Share by which the free space must change to be told anew: an idle screen stays quiet."""


class CheckpointScanner:
    """Tells of one run's checkpoints and of the free space, each only when it has changed."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._parsed: dict[str, tuple[tuple[float, int], bool]] = {}
        """Path of a trainer_state.json -> time and size when looked at, and whether it parses."""
        self._told: tuple[CheckpointDir, ...] | None = None
        self._space: SpaceSeen | None = None

    def update(self, run_dir: RunDir, live: bool) -> tuple[tuple[CheckpointDir, ...], list[Update]]:
        """All checkpoints of a listing, and what has changed since the last. The free space is looked at when the
        checkpoints change, and each time for a run that is ``live``."""
        items = tuple(self._item(run_dir, step) for step in sorted(run_dir.checkpoints))
        out: list[Update] = []
        changed = items != self._told
        if changed:
            self._told = items
            out.append(CheckpointsSeen(items))
        if (changed or live) and (space := self._look_at_space()) is not None:
            out.append(space)
        return items, out

    def _item(self, run_dir: RunDir, step: int) -> CheckpointDir:
        entry, inside = run_dir.checkpoints[step]
        state = inside.get(STATE)
        # The directory's own time changes with every copy; what is in it keeps the producer's.
        mtime = max((e.mtime for e in inside.values()), default=entry.mtime)
        weights = sum(e.size for e in inside.values() if e.is_file and WEIGHTS.match(e.name))
        has_state = state is not None and self._state_parses(state)
        return CheckpointDir(
            step, entry.name, mtime, has_state, MARKER in inside, run_dir.sizes.get(step, 0), weights
        )  # fmt: skip

    def _look_at_space(self) -> SpaceSeen | None:
        """The free space, if it has changed noticeably."""
        found = self._source.space(self._path)
        told = self._space
        if found is None or (told is not None and abs(found.free - told.free) <= NOTICEABLE * told.free):
            return None
        self._space = SpaceSeen(found.free, found.total)
        return self._space

    def _state_parses(self, entry: Entry) -> bool:
        """The file is whole: transformers indents it, only its very last brace stands at the start of a line."""
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
        if starts == b"{" and ends.endswith(b"}") and not parses and entry.size <= MAX_ONE_LINE:
            # Written by something else, on one line, or cut behind a brace further in.
            try:
                parse_trainer_state(self._source.read(entry.path, 0, MAX_ONE_LINE))
                parses = True
            except (FormatError, SourceError):
                parses = False
        self._parsed[name] = ((entry.mtime, entry.size), parses)
        return parses
