"""Shared functions of the commands: read runs, find one by name, parse conditions and times, print."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lora_tui.analysis import PLAIN, Context, Judgement, judge
from lora_tui.cli.errors import CommandError, UsageError
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
from lora_tui.text.numbers import parse_duration
from lora_tui.text.sanitize import clean, escape_json

if TYPE_CHECKING:
    # For annotations alone, so that no command pays for the import of what it does not use.
    from lora_tui.analysis.sibling_index import SiblingIndex
    from lora_tui.query.parser import Expression, ExpressionError

T = TypeVar("T")

MAX_NAMED = 20
"""The most runs that the error names when several runs match where one is wanted."""

# -- settings ---------------------------------------------------------------------------------------------------------


def settings_of(args: argparse.Namespace) -> Settings:
    """Read the user's settings, from the file of ``--config`` if given. Raises SettingsError if it cannot be used."""
    return load_settings(getattr(args, "config", None), args.lang)


def context_of(run: Run, index: SiblingIndex, settings: Settings) -> Context:
    """Return the context for judging a run: the user's rules, and similar runs to compare it with."""
    return replace(settings.context, siblings=index.siblings(run))


def words_of(lang: str, for_json: bool, settings: Settings) -> Words:
    """Return the catalogue of the user's language; for JSON English, unless ``lang``, the option, is "zh"."""
    return Words("zh" if lang == "zh" else "en") if for_json else Words(settings.language(lang))


# -- runs -------------------------------------------------------------------------------------------------------------


def read_runs(
    paths: Sequence[Path], words: Words, logs: Sequence[Path] = (), poll: bool = False
) -> tuple[Follower, Workspace]:
    """Read everything below the paths once; return the follower, which the caller must close, and the runs.

    An error of the program itself in one run is printed, and the other runs are read; any other one is raised.
    """
    follower = Follower(paths, logs, poll, cwd=Path.cwd())
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        apply_batch(workspace, batch, words)
        if batch.error is not None:
            raise batch.error
    return follower, workspace


def apply_batch(workspace: Workspace, batch: Batch, words: Words) -> None:
    """Apply a batch, and print once each error of the program itself that a run was read with."""
    for run in workspace.apply(batch):
        for error in run.faults.values():
            report_fault("reading", run, words, error)


def check_logs(logs: Iterable[Path], words: Words) -> None:
    """Raise CommandError for a file of ``--log`` that does not exist."""
    for log in logs:
        if not log.exists():
            raise CommandError(words.t("cli.error.log_missing", path=printable(log)))


def check_paths(follower: Follower, words: Words) -> None:
    """Raise CommandError for a path of the command line that does not exist or cannot be read."""
    for path in follower.missing:
        raise CommandError(words.t("cli.error.no_path", path=printable(path)))
    check_errors(follower, words)


def check_errors(follower: Follower, words: Words) -> None:
    """Raise CommandError for a path of the command line that cannot be read, or whose mount cannot be read."""
    for path, why in follower.errors.items():
        if any(path == root or path in root.parents for root in follower.roots):
            raise CommandError(words.t("cli.error.read", path=printable(path), reason=words.reason(why)))


class ErrorReporter:
    """Print the errors that occur while runs are followed: each once, and again if it comes back."""

    def __init__(self, words: Words, follower: Follower) -> None:
        self._words = words
        self._search_fault: Fault | None = None
        self._reported: set[tuple[str, str]] = {(str(path), why) for path, why in follower.errors.items()}

    def report(self, batch: Batch) -> None:
        """Print the errors and notes of a batch that are new."""
        words = self._words
        now = {*batch.errors, *((note, "") for note in batch.notes if note != "waiting_for_path")}
        for name, why in sorted(now - self._reported):
            print_error(words.t("cli.error.read", path=printable(name), reason=words.reason(why)) if why
                        else words.t(f"note.{name}"))  # fmt: skip
        self._reported = now
        if batch.error is not None:
            fault = record_fault("search", "command", batch.error)
            if fault != self._search_fault:
                print_error(fault_text(fault, words))
            self._search_fault = fault
        else:
            self._search_fault = None


@cache
def _disk() -> LocalDisk:
    # One disk for the whole process, so that a mount that does not answer is waited for only once.
    return LocalDisk()


def exists(path: Path) -> bool:
    """Return whether a path exists; also True where its file system does not answer, which the reader reports."""
    try:
        return _disk().stat(path) is not None
    except SourceError:
        return True


def search_root(name: str) -> Path:
    """Return the path to read for a run: ``name`` if it is a path, else the current directory, to search by name."""
    return Path(name) if exists(Path(name)) else Path()


def find_run(name: str, follower: Follower, workspace: Workspace, words: Words) -> Run:
    """Return the run at the path ``name``, or with that name below the current directory.

    Raises CommandError where there is none, or several.
    """
    by_name = not exists(Path(name))
    if by_name:
        runs = workspace.find(name)
    else:
        check_paths(follower, words)
        runs = [run for run in workspace.runs if run.path == Path(name).absolute()] or workspace.runs
    if len(runs) == 1:
        return runs[0]
    if runs:
        raise several_runs(name, runs, words)
    if by_name:
        raise no_run_named(name, words)
    raise CommandError(words.t("cli.error.no_runs", path=printable(name)))


def several_runs(name: str, runs: Sequence[Run], words: Words) -> CommandError:
    """Return the error for a name that several runs have, or a path with several runs."""
    names = ", ".join(clean(run.name) for run in runs[:MAX_NAMED]) + (", …" if len(runs) > MAX_NAMED else "")
    return CommandError(words.t("cli.error.several", name=clean(name), names=names))


def no_run_named(name: str, words: Words) -> CommandError:
    """Return the error for a name that no run below the current directory has."""
    return CommandError(words.t("cli.error.no_run_named", name=clean(name), path=printable(Path.cwd())))


# -- conditions and times ---------------------------------------------------------------------------------------------


def parse_condition(option: str, text: str, words: Words) -> Expression:
    """Parse the condition that ``option`` gives. Raises UsageError."""
    from lora_tui.query.parser import ExpressionError, parse

    try:
        return parse(text)
    except ExpressionError as error:
        raise _usage_error(option, error, words) from error


def check_metric_names(option: str, expression: Expression, runs: Iterable[Run], words: Words) -> None:
    """Raise UsageError for a name that is almost certainly mistyped; print a warning for one that no run has (yet)."""
    from lora_tui.query.parser import ExpressionError

    try:
        unknown = expression.unknown(runs)
    except ExpressionError as error:
        raise _usage_error(option, error, words) from error
    if unknown:
        names = words.t("list.separator").join(clean(name, 60) for name in unknown)
        print_error(words.t("cli.expression.unknown", option=option, names=names))


def _usage_error(option: str, error: ExpressionError, words: Words) -> UsageError:
    what = words.t(f"cli.expression.{error.code}", **error.params)
    return UsageError(words.t("cli.expression.at", option=option, column=error.column, what=what))


def parse_since(text: str, now: float, words: Words) -> float:
    """Return the Unix time that ``--since`` means: a duration before ``now``, or a date. Raises UsageError."""
    ago = parse_duration(text) if text.strip()[-1:] in tuple("smhd") else None
    if ago is not None:
        return now - ago
    try:
        # Python 3.10 does not read the Z of UTC. Without a zone the time is local.
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(words.t("cli.ls.since", text=clean(text, 60))) from None


# -- output -----------------------------------------------------------------------------------------------------------


def printable(path: Path | str) -> str:
    """Return a path without control characters and invisible characters."""
    return clean(str(path))


def to_json(data: object, indent: int | None) -> str:
    """Return strict JSON without control characters; ASCII unless stdout is UTF-8."""
    encoding = sys.stdout.encoding or ""
    ascii_only = encoding.lower().replace("-", "") not in ("utf8", "utf_8")
    return escape_json(json.dumps(data, ensure_ascii=ascii_only, allow_nan=False, indent=indent))


def snapshot_data(run: Run, now: float, words: Words, context: Context = PLAIN) -> dict[str, object]:
    """Return a run's snapshot, judged with ``context`` at ``now`` (Unix time), as data for JSON."""
    from lora_tui.report.status_json import ProblemPart, snapshot

    judgement, fault = judge_or_report(run, now, words, context)
    found = snapshot(run, now, words, judgement)
    if fault is not None:
        found.problems.append(ProblemPart(file=".", reason=words.t("fault.run", error=fault.error)))
    for error in run.faults.values():
        fault = record_fault("reading", "command", error)
        found.problems.append(ProblemPart(file=".", reason=words.t("fault.reading", error=fault.error)))
    return found.to_json()


def print_error(text: str) -> None:
    """Print one line on stderr."""
    print(f"lora-tui: {text}", file=sys.stderr)


_reported_faults: set[tuple[Path, Fault]] = set()
"""Path of the run and fault, for each fault printed so far, since ``status --follow`` repeats the same error."""


def or_report(kind: str, run: Run, words: Words, make: Callable[[], T], otherwise: T) -> tuple[T, Fault | None]:
    """Return what ``make`` returns and None; if it raises, ``otherwise`` and the fault, which is printed once.

    An error of the program itself in one run must not prevent the output for the others. ``kind`` is one of
    :attr:`Fault.kind`.
    """
    try:
        return make(), None
    except Exception as error:  # recorded and printed, see above
        return otherwise, report_fault(kind, run, words, error)


def report_fault(kind: str, run: Run, words: Words, error: Exception) -> Fault:
    """Record an error of the program itself in one run, print it unless it was printed before, and return the fault."""
    fault = record_fault(kind, "command", error)
    if (run.path, fault) not in _reported_faults:
        _reported_faults.add((run.path, fault))
        print_error(f"{clean(run.name)}: {fault_text(fault, words)}")
    return fault


def judge_or_report(run: Run, now: float, words: Words, context: Context = PLAIN) -> tuple[Judgement, Fault | None]:
    """Return the judgement of ``run`` and None; if judging raises, an empty one and the fault, printed once."""
    return or_report("run", run, words, lambda: judge(run, now, context), Judgement())


def write_output(path: Path, text: str | Iterable[str], words: Words) -> None:
    """Write the file of ``-o FILE`` atomically. Raises CommandError if that fails; the old file is then unchanged."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise CommandError(
            words.t("cli.error.write", path=printable(path), reason=words.reason(error.strerror or str(error)))
        ) from error


def describe_job(run: Run) -> str:
    """Return the stage, the method and the model of a run, as far as they are known, in one line."""
    parts = ((run.stage or "").upper(), run.method, clean(run.model or "", 60))
    return " · ".join(part for part in parts if part)


def format_table(rows: list[list[str]], numbers: Sequence[int]) -> str:
    """Return rows as aligned columns; those of the indices ``numbers`` are aligned to the right."""
    widths = [max(cell_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            " " * (width - cell_width(cell)) + cell if index in numbers else fit(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
