"""What the headless commands share: reading, finding a run, printing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from lora_tui.analysis import PLAIN, Context, Judgement, judge
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.errors import CommandError
from lora_tui.i18n import Words
from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import Batch
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from lora_tui.settings.fault_log import Fault, fault_text, record_fault
from lora_tui.settings.settings import Settings, load_settings
from lora_tui.sources.base import SourceError
from lora_tui.sources.local_disk import LocalDisk
from lora_tui.text.atomic_write import write_atomically
from lora_tui.text.cells import cell_width, fit
from lora_tui.text.sanitize import clean, escape_json

T = TypeVar("T")


def settings_of(args: argparse.Namespace) -> Settings:
    """The user's settings, of ``--config`` or of the configuration directory. Raises CommandError."""
    return load_settings(getattr(args, "config", None), args.lang)


def context_of(run: Run, index: SiblingIndex, settings: Settings) -> Context:
    """What this run is judged with: the user's rules, and the runs to compare it with."""
    return replace(settings.context, siblings=index.siblings(run))


def words_of(lang: str, for_json: bool, settings: Settings) -> Words:
    """JSON speaks English unless told otherwise; people get the language that they chose."""
    return Words("zh" if lang == "zh" else "en") if for_json else Words(settings.language(lang))


def read(paths: Sequence[Path], logs: Sequence[Path] = (), poll: bool = False) -> tuple[Follower, Workspace]:
    """Everything below the paths, read once."""
    follower = Follower(paths, logs, poll, cwd=Path.cwd())
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    return follower, workspace


def check_paths(follower: Follower, words: Words) -> None:
    """Raises CommandError for a path that is not there or cannot be read."""
    for path in follower.missing:
        raise CommandError(words.t("cli.error.no_path", path=shown(path)))
    check_errors(follower, words)


def check_errors(follower: Follower, words: Words) -> None:
    """Raises CommandError for a path given that cannot be read, itself or the mount on which it lies."""
    for path, why in follower.errors.items():
        if any(path == root or path in root.parents for root in follower.roots):
            raise CommandError(words.t("cli.error.read", path=shown(path), reason=words.reason(why)))


class Faults:
    """Tells on stderr of what goes wrong while something is followed: each once, until it is over."""

    def __init__(self, words: Words, follower: Follower) -> None:
        self._words = words
        self._told: set[tuple[str, str]] = {(str(path), why) for path, why in follower.errors.items()}

    def tell(self, batch: Batch) -> None:
        """What is new among the errors and notes of a batch."""
        words = self._words
        now = {*batch.errors, *((note, "") for note in batch.notes if note != "waiting_for_path")}
        for name, why in sorted(now - self._told):
            complain(words.t("cli.error.read", path=shown(name), reason=words.reason(why)) if why
                     else words.t(f"note.{name}"))  # fmt: skip
        self._told = now


def shown(path: Path | str) -> str:
    """A path without anything that a terminal would obey."""
    return clean(str(path))


def dump(data: object, indent: int | None) -> str:
    """Strict JSON that no terminal obeys."""
    encoding = sys.stdout.encoding or ""
    plain = encoding.lower().replace("-", "") not in ("utf8", "utf_8")
    text = json.dumps(data, ensure_ascii=plain, allow_nan=False, indent=indent)
    return escape_json(text)


def plain(run: Run, now: float, words: Words, context: Context = PLAIN) -> dict[str, object]:
    """A run's snapshot as plain data, judged with ``context``."""
    # No plugin of the environment has a say in this schema, and pydantic's search for them takes as long as the run.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from lora_tui.report.snapshot import ProblemPart, snapshot

    judgement, fault = judge_or_complain(run, now, words, context)
    found = snapshot(run, now, words, judgement)
    if fault is not None:
        found.problems.append(ProblemPart(file=".", reason=words.t("fault.run", error=fault.error)))
    return found.to_json()


def judge_or_complain(run: Run, now: float, words: Words, context: Context = PLAIN) -> tuple[Judgement, Fault | None]:
    """Return the judgement of ``run``; where judging raises, an empty one, with the fault, which is told on stderr."""
    return or_complain("run", run, words, lambda: judge(run, now, context), Judgement())


def or_complain(kind: str, run: Run, words: Words, make: Callable[[], T], otherwise: T) -> tuple[T, Fault | None]:
    """Return what ``make`` returns; where it raises, ``otherwise`` with the fault, which is told on stderr once.

    An error of the program itself that one run brings about must not cost what is said of the others. ``kind`` is one
    of :attr:`Fault.kind`.
    """
    try:
        return make(), None
    except Exception as error:  # recorded and told, see above
        fault = record_fault(kind, "command", error)
    if (run.path, fault) not in _complained:
        _complained.add((run.path, fault))
        complain(f"{clean(run.name)}: {fault_text(fault, words)}")
    return otherwise, fault


_complained: set[tuple[Path, Fault]] = set()
"""What was told of which run, since ``status --follow`` meets the same error again and again."""


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"lora-tui: {text}", file=sys.stderr)


def save(path: Path, text: str | Iterable[str], words: Words) -> None:
    """What ``-o FILE`` asks for: the whole file or, with a CommandError, the old one."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise CommandError(
            words.t("cli.error.write", path=shown(path), reason=words.reason(error.strerror or str(error)))
        ) from error


def place(name: str) -> Path:
    """Where to look for a run: at its path, or below the current directory for its name."""
    return Path(name) if there(Path(name)) else Path()


@cache
def _disk() -> LocalDisk:
    """One for all questions: what does not answer is waited for once."""
    return LocalDisk()


def there(path: Path) -> bool:
    """Something is at a path, or its file system does not say: that is told by whoever reads it."""
    try:
        return _disk().stat(path) is not None
    except SourceError:
        return True


def find_run(name: str, follower: Follower, workspace: Workspace, words: Words) -> Run:
    """The run meant by ``name``: a path, else a unique name below the current directory. Raises CommandError."""
    named = not there(Path(name))
    if named:
        runs = workspace.find(name)
    else:
        check_paths(follower, words)
        runs = [run for run in workspace.runs if run.path == Path(name).absolute()] or workspace.runs
    if len(runs) == 1:
        return runs[0]
    if runs:
        names = ", ".join(clean(run.name) for run in runs[:20]) + (", …" if len(runs) > 20 else "")
        raise CommandError(words.t("cli.error.several", name=clean(name), names=names))
    if named:
        raise CommandError(words.t("cli.error.no_run_named", name=clean(name), path=shown(Path.cwd())))
    raise CommandError(words.t("cli.error.no_runs", path=shown(name)))


def what(run: Run) -> str:
    """Stage, method and model in a line."""
    parts = ((run.stage or "").upper(), run.method, clean(run.model or "", 60))
    return " · ".join(part for part in parts if part)


RIGHT = frozenset({2, 3, 4, 5, 7})
"""Columns of numbers."""


def table(rows: list[list[str]]) -> str:
    """Columns, the numbers among them to the right."""
    widths = [max(cell_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            " " * (width - cell_width(cell)) + cell if index in RIGHT else fit(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
