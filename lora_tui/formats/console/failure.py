"""Failures in a console log: tracebacks, signals, exit codes of launchers.

Sources: Python's traceback format, torch ``distributed.elastic`` (agent, ChildFailedError, SignalException),
``ProcessGroupNCCL`` watchdog, DeepSpeed's launcher, what shells and Slurm print when they kill.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Literal

from lora_tui.formats.secrets import mask_and_cut
from lora_tui.records.documents import Failure

Kind = Literal["exception", "out_of_memory", "interrupted", "terminated"]

MAX_MESSAGE = 300
"""Number of characters kept of the message of a failure and of each line of the excerpt."""
MAX_EXCERPT = 12
"""Number of lines kept of a traceback."""
_LAST_STEPS = 10
"""Number of steps that other ranks may still make after one has failed."""

TRACEBACK = "Traceback (most recent call last)"
# Most logs contain no failure: except for the hint, ``re`` compiles patterns at their first use and caches them.
_EXCEPTION = r"((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Z]\w*)(?::(?: (.*))?|)$"
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
_HARMLESS = ("Exception ignored in", "--- Logging error ---")
_STAGE = r"[/\\]train[/\\](pt|sft|rm|ppo|dpo|kto)[/\\]workflow\.py"
_CODE_PATH = r"File \"[^\"]*(?:-packages|llamafactory|llmtuner|[/\\]bin[/\\]|[/\\]lib[/\\])"
_MEMORY = (
    r"(?i)out of memory|OutOfMemory|\bMemoryError|can't allocate memory|not enough memory|Cannot allocate memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|NPU out of memory"
)
# Lines outside of tracebacks that show a failure.
_FAILURE_LINE = (
    r"(?P<death>Received (?:Signals\.)?(?P<death_signal>\w+) death signal)"
    r"|(?P<closing>Sending process \d+ closing signal (?P<closing_signal>\w+))"
    r"|(?P<exit>(?:exitcode\s{0,8}: ?|exits with return code = )(?P<code>-?\d{1,5})\b)"
    r"|(?P<watchdog>Watchdog caught collective operation timeout)"
    r"|(?P<oomkill>oom[-_]kill(?:er|\s+event|\b))"
    r"|(?P<slurm>slurmstepd: error: .*CANCELLED AT)"
    r"|(?P<shell>line \d+:\s+\d+ (?P<how>Killed|Terminated|Hangup|Segmentation fault|Aborted)\b)"
    r"|(?P<bare>^(?:Killed|Terminated|Segmentation fault \(core dumped\))$)"
    r"|(?P<memory>^(?:torch\.(?:cuda\.)?OutOfMemoryError|RuntimeError: (?:CUDA|NPU) out of memory))"
)
# Quick test for lines that _FAILURE_LINE may match.
_HINT = re.compile(
    r"signal|exitcode|return code|Watchdog|oom|CANCELLED|line \d+: |Killed|Terminated|Segm|memory|Memory"
)
_SIGNALS: dict[str, Kind] = {"2": "interrupted", "SIGINT": "interrupted"}
# Errors of a rank that result from the end of another one, so that they are never the cause.
_SECONDARY = r"(?i)DistBackendError|NCCL|Connection (?:closed|reset) by peer|Broken pipe|Gloo|TCPStore"

# Rank of a line by how near it is to the cause, ascending. A launcher sends "closing signal" when any worker dies, and
# its own exception only says that one did.
_CLOSING, _LAUNCHER, _SIGNALLED, _CAUSE = range(4)


class FailureTracker:
    """Finds the failure in a log, line by line, and drops it when the job goes on.

    The root cause takes precedence over its consequences: the launcher's ChildFailedError or CalledProcessError,
    "closing signal", errors of other ranks. ``failure`` is the current :class:`Failure` or None.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.stage: str | None = None
        """Training stage (sft, dpo, …) by the file names of a traceback, or None."""
        self._weight = _CLOSING
        """How near the current failure is to the cause (_CLOSING to _CAUSE)."""
        self._rank: str | None = None
        """Rank that failed, by the prefix of its line."""
        self._step: int | None = None
        """Step at which the failure was logged."""
        self._code: str | None = None
        """Last exit code that a launcher has printed."""
        self._before: tuple[Failure, int, int | None] | None = None
        """Failure after which there was progress, with its weight and step; other ranks may have made the progress."""
        # The traceback that is being read.
        self._lines: deque[str] | None = None
        self._code_seen = False
        """Whether one of its lines names a source file."""
        self._trusted = False
        """Whether it is real and not part of a printed training example."""
        self._ignored = False
        """Whether it is harmless, such as one of "Exception ignored in"."""
        self._ignore_next = False
        self._foreign_lines = 0
        """Number of lines between its lines that do not belong to it."""
        self._chained = self._chain_next = False

    def read_line(self, text: str, rank: str | None, phase: str | None, step: int | None, in_dump: bool) -> bool:
        """Read one clean line; return whether it belongs to a traceback or shows a failure.

        ``rank`` is the number of its ``[rankN]:`` prefix, ``phase`` and ``step`` are those of the job. With
        ``in_dump`` the line may be part of a printed training example, where only tracebacks with paths of code count.
        """
        if TRACEBACK in text:
            self._chained = self._chain_next
            self._lines = deque([text], maxlen=MAX_EXCERPT - 1)
            self._chain_next = False
            self._code_seen = False
            self._trusted = not in_dump
            self._ignored = self._ignore_next
            self._ignore_next = False
            self._foreign_lines = 0
            return True
        if self._lines is not None:
            return self._traceback_line(text, rank, phase, step)
        if in_dump:
            return False
        if text.startswith(_HARMLESS):
            self._ignore_next = True
            return False
        if text.startswith(_CHAIN):
            self._chain_next = True
            return True
        return _HINT.search(text) is not None and self._read_failure_line(text, rank, phase, step)

    def note_progress(self, step: int | None) -> None:
        """Handle a metric row or training bar frame of ``step`` (None: unknown), after which a failure is over."""
        if self.failure is not None and (step is None or self._step is None or step > self._step):
            # Other ranks may draw some more frames before the launcher ends the job.
            self._before = (self.failure, self._weight, self._step)
            self.failure = None
            self._weight = _CLOSING
        self._lines = None

    def note_start(self) -> None:
        """Clear the failure, since a job was started again or training began."""
        self.failure = self._before = self._code = self._rank = self._lines = None
        self._weight = _CLOSING
        self.stage = None

    # -- details ------------------------------------------------------------------------------------------------

    def _traceback_line(self, text: str, rank: str | None, phase: str | None, step: int | None) -> bool:
        """Read a line while a traceback is being read; return whether it belongs to it."""
        lines = self._lines
        assert lines is not None
        if text[:1] in (" ", "\t") or not text:
            lines.append(text)
            if text.lstrip().startswith("File "):
                self._code_seen = True
                self._trusted = self._trusted or re.search(_CODE_PATH, text) is not None
                if self._trusted and (stage := re.search(_STAGE, text)) is not None:
                    self.stage = stage[1]
            return True
        match = re.match(_EXCEPTION, text)
        if match is None or not self._code_seen:
            self._foreign_lines += 1
            if self._foreign_lines > 40:
                self._lines = None
            return False
        lines.append(text)
        # What follows may be "During handling of the above exception …" and another traceback.
        self._lines = None
        if self._trusted and not self._ignored:
            self._raised(match[1], text, tuple(lines), rank, phase, step)
        self._chained = False
        return True

    def _raised(
        self, name: str, text: str, lines: tuple[str, ...], rank: str | None, phase: str | None, step: int | None
    ) -> None:
        """Handle the exception at the end of a traceback, whose ``lines`` end with ``text``."""
        last = name.rpartition(".")[2]
        weight = _CAUSE
        kind: Kind = "exception"
        if last == "KeyboardInterrupt":
            kind = "interrupted"
        elif last == "SignalException":
            weight = _SIGNALLED
            kind = _SIGNALS.get(text.rpartition(": ")[2].strip(), "terminated")
        elif last == "ChildFailedError" or (last == "CalledProcessError" and "torchrun" in text):
            weight = _LAUNCHER
            kind = _exit_kind(self._code) or ("terminated" if "SIGTERM" in text or "SIGHUP" in text else "exception")
        elif last == "SystemExit":
            return
        elif re.search(_MEMORY, text) is not None:
            kind = "out_of_memory"
        self._found(Failure(kind, mask_and_cut(text, MAX_MESSAGE), phase, _cut(lines)), weight, rank, step)

    def _read_failure_line(self, text: str, rank: str | None, phase: str | None, step: int | None) -> bool:
        """Read a line outside of tracebacks; return whether it shows a failure."""
        match = re.search(_FAILURE_LINE, text)
        if match is None:
            return False
        message = mask_and_cut(text[match.start() :].strip(), MAX_MESSAGE)
        kind: Kind = "terminated"
        weight = _SIGNALLED
        if match["death"]:
            kind = _SIGNALS.get(match["death_signal"], "terminated")
        elif match["closing"]:
            kind = _SIGNALS.get(match["closing_signal"], "terminated")
            weight = _CLOSING
        elif match["exit"]:
            self._code = match["code"]
            found = _exit_kind(self._code)
            if found is None:
                return False
            kind, weight, message = found, _LAUNCHER, mask_and_cut(text.strip(), MAX_MESSAGE)
        elif match["watchdog"]:
            kind, weight = "exception", _CAUSE
        elif match["oomkill"]:
            kind, weight, message = "out_of_memory", _CAUSE, mask_and_cut(text.strip(), MAX_MESSAGE)
        elif match["memory"]:
            kind, weight = "out_of_memory", _CAUSE
        elif (match["how"] or text).startswith(("Segm", "Abort")):
            kind = "exception"
        self._found(Failure(kind, message, phase, _cut((text,))), weight, rank, step)
        return True

    def _found(self, new: Failure, weight: int, rank: str | None, step: int | None) -> None:
        """Make ``new`` the current failure unless that one is nearer to the cause."""
        old, old_weight = self.failure, self._weight
        before, self._before = self._before, None if weight >= _LAUNCHER else self._before
        covers = weight == _LAUNCHER and (old is None or old_weight == _CLOSING)
        if before is not None and covers and (before[2] is None or step is None or step - before[2] <= _LAST_STEPS):
            self.failure, self._weight, self._step = before
            return
        if old is not None:
            if weight < old_weight:
                return
            if weight == old_weight and not self._replaces(old, new, weight, rank):
                return
        kind: Kind = "out_of_memory" if self._follows_out_of_memory(old, new) else new.kind
        self.failure = Failure(kind, new.message, new.during, new.excerpt)
        self._weight = weight
        self._rank = rank
        self._step = step

    def _replaces(self, old: Failure, new: Failure, weight: int, rank: str | None) -> bool:
        """Return whether ``new`` replaces the current failure ``old`` of the same weight."""
        if weight == _LAUNCHER:
            # The first line, "failed (exitcode: -9)", is the best message, unless only the later table has the code.
            return old.kind == "exception" and new.kind != "exception"
        if weight != _CAUSE or self._chained:
            return self._chained
        if old.kind == "interrupted":
            return False
        if rank != self._rank:
            return re.search(_SECONDARY, old.message) is not None and re.search(_SECONDARY, new.message) is None
        return True

    def _follows_out_of_memory(self, old: Failure | None, new: Failure) -> bool:
        """Return whether ``new`` was raised while an out-of-memory error was handled."""
        return self._chained and old is not None and old.kind == "out_of_memory" and new.kind == "exception"


def _exit_kind(code: str | None) -> Kind | None:
    """Return the kind of failure that an exit code means, None for success or no code; -N means signal N."""
    if code is None or code == "0":
        return None
    kinds: dict[str, Kind] = {"-9": "out_of_memory", "-15": "terminated", "-1": "terminated", "-2": "interrupted"}
    return kinds.get(code, "exception")


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the last lines that are not blank, masked, each of limited length."""
    return tuple(mask_and_cut(line.rstrip(), MAX_MESSAGE) for line in lines[-MAX_EXCERPT:] if line.strip())
