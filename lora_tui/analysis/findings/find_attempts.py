"""Findings of who wrote into the directory: stops, resumes, earlier attempts, two jobs at once. Each docstring has its
rule."""

from __future__ import annotations

from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.model import Param
from lora_tui.runs.files import LOG

RETURNS = 3
"""So many times a row must go on where another process left off."""


def stopped(finder: Finder) -> None:
    """Ended below the planned steps with everything saved (LlamaBoard's abort, early stopping)."""
    if finder.status.state != "stopped":
        return
    document = finder.run.files.state
    early = document is not None and document.early_stopping
    finder.add(
        "stopped", "info", {"at": finder.step, "total": finder.progress.total_steps}, step=finder.step,
        variant="early_stopping" if early else "",
    )  # fmt: skip


def stale_results(finder: Finder) -> None:
    """A results file that is older than the last training row belongs to an earlier attempt."""
    found = finder.run.results()
    stale = [split for split in ("train", "eval", "predict") if split in found and found[split].stale]
    if stale:
        finder.add("stale_results", "info", {"files": ", ".join(found[split].file for split in stale)})


def two_writers(finder: Finder) -> None:
    """Rows of two trainings in turns in trainer_log.jsonl: at least 3 times a row goes on where another process than
    the one before left off, by its step and by its own clock. A resume repeats steps as well, but never goes back to
    the process before it."""
    table, writers = finder.run.files.tables.get(LOG), finder.run.timeline.writers
    if table is None or not table.rows or writers is None:
        return
    if writers.returns >= RETURNS and writers.returns >= 2 * (writers.started - 1):
        finder.add("two_writers", "warning", {"returns": writers.returns, "file": table.file}, step=writers.first)


def resumed(finder: Finder) -> None:
    """The log holds more than one segment. Earlier rows beyond a resume point are replaced. Where the planned steps
    have changed with it, the learning rate follows another schedule since."""
    if not finder.run.resumed_at or finder.has("two_writers"):
        return
    first = int(finder.run.resumed_at[-1])
    count = len(finder.run.resumed_at)
    timeline = finder.run.timeline
    start = timeline.starts[-1]
    # The first row comes logging_steps after the checkpoint, which lies behind the last row that was kept.
    kept = (timeline.rows[start - 1].step or 0) if start else 0
    saved = [item.step for item in finder.run.checkpoints() if kept <= item.step < first]
    evidence: dict[str, Param | None] = {"count": count, "last": max(saved, default=first)}
    before = timeline.rows[start - 1].total_steps if start else None
    after = timeline.rows[start].total_steps if start < len(timeline.rows) else None
    variant = "" if count == 1 else "times"
    if before is not None and after is not None and before != after:
        evidence.update(before=before, after=after)
        variant = "replanned" if count == 1 else "times_replanned"
    finder.add("resumed", "info", evidence, step=first, variant=variant)


def rerun(finder: Finder) -> None:
    """Checkpoints of another attempt: older than this training, or beyond both its plan and its own step. An automatic
    resume takes the highest step, whosever it is."""
    total = finder.progress.total_steps
    if finder.step is None or finder.progress.unit != "steps":
        return
    foreign = [item for item in finder.run.checkpoints() if item.foreign]
    if not foreign:
        return
    worst = foreign[-1]
    beyond = total is not None and worst.step > max(total, finder.step)
    finder.add(
        "rerun", "info", {"checkpoint": worst.path, "count": len(foreign), "total": total if beyond else None},
        variant="" if beyond else "older",
    )  # fmt: skip


def look(finder: Finder) -> None:
    """Look for all of these."""
    for part in (stopped, stale_results, two_writers, resumed, rerun):
        part(finder)
