"""The rows of one training in the order of its steps: segments, what a resume threw away, clocks and intervals.

Training rows are those with a step above 0 that are no progress of an eval-only or predict job. They split
into segments where the step or the elapsed time goes back; a segment that starts at step s drops all earlier rows with
a step of s or more, as the trainer itself does when it resumes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import sub
from typing import NamedTuple

from lora_tui.records.documents import LogRow
from lora_tui.records.rows import Block, Rows
from lora_tui.records.timestamps import Times

SLACK_S = 2.0
"""Two file times this close say nothing about order: clocks of file systems are coarse, and a new attempt needs
longer than this to import its libraries."""
RECENT = 200
"""Intervals that the median looks back on."""
WINDOW_ROWS = 20
"""Rows over which the present speed is taken, more if they span less than MIN_SPAN_S."""
LONGEST_S = 1e10
"""A longer time than this (300 years) is no time but a broken file."""
MIN_SPAN_S = 10.0
"""Clocks in the files count whole seconds: a shorter span says nothing about speed."""
HEADS = 4
"""Processes that are remembered: the last ones."""


class Span(NamedTuple):
    """Seconds between two rows; ``whole``: by a clock that is cut to whole seconds."""

    seconds: float
    whole: bool


@dataclass
class Segment:
    """One process' part of the training. Clocks are seconds, ``None`` where the producer writes none."""

    first_step: int | None
    last_elapsed: float | None = None
    first_time: float | None = None
    last_time: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds of training: the producer's own clock, else from first to last row."""
        if self.last_elapsed is not None:
            return self.last_elapsed
        if self.first_time is not None and self.last_time is not None:
            return self.last_time - self.first_time
        return None


def _ends_evaluation(kind: str, step: int | None, total: int | None) -> bool:
    """The row was written after an evaluation. Without a metric it is at the last step the summary, which follows the
    last save."""
    return kind == "eval" or (kind == "mark" and (step is None or total is None or step < total))


class Writers:
    """Sorts training rows by the process that wrote them: each goes on in steps and in its own clock.

    A resume starts a process and never goes back to the one before; two jobs at once take turns. It is made when a row
    does not go on where ``before`` was, and fed every training row from there.
    """

    def __init__(self, before: LogRow) -> None:
        self.returns = 0
        """How often a row went back to a process that wrote before the last one."""
        self.started = 1
        """Processes seen."""
        self.first: int | None = None
        """Step of the first row that went back."""
        self._heads = [before]
        """The last row of each process, the one that wrote last at the end."""

    def add(self, row: LogRow) -> None:
        """Take the next row of the log."""
        if row.step is None or row.kind != "train":
            return
        fits = [head for head in self._heads if _goes_on(head, row)]
        if not fits:
            self.started += 1
        else:
            # Rows of one process are near each other; where several fit alike it is the one that wrote last.
            best = min(reversed(fits), key=lambda head: (row.step or 0) - (head.step or 0))
            if best is not self._heads[-1]:
                self.returns += 1
                self.first = row.step if self.first is None else self.first
            self._heads.remove(best)
        self._heads = [*self._heads[-(HEADS - 1) :], row]


def _goes_on(head: LogRow, row: LogRow) -> bool:
    """``row`` can be the next one of the process that wrote ``head``."""
    if (row.step or 0) <= (head.step or 0):
        return False
    return head.elapsed_s is None or row.elapsed_s is None or row.elapsed_s >= head.elapsed_s


class Timeline:
    """Training rows of one source. ``add`` returns False where rows before were dropped, so that a reader of ``rows``
    that follows along must start over."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.times = Times()
        """Unix time of each row where it is known."""
        self.segments: list[Segment] = []
        self.starts: list[int] = []
        """Index in ``rows`` at which each segment starts; rows dropped by a later segment are accounted for."""
        self.evals: list[int] = []
        """Index in ``rows`` of each evaluation, of its last row where it has several (one for each data set)."""
        self.longest_gap = 0.0
        """Longest silence that the present segment survived, seconds."""
        self.writers: Writers | None = None
        """Who wrote the rows since the first one that did not go on where the last one was."""
        self._gaps: deque[float] = deque(maxlen=RECENT)
        self._train_gaps: deque[float] = deque(maxlen=RECENT)
        self.eval_s: float | None = None
        """Length of the last evaluation: from the training row to the evaluation's row at the same step."""

    @property
    def last(self) -> LogRow | None:
        """The last row that remains."""
        return self.rows[-1] if self.rows else None

    @property
    def last_time(self) -> float | None:
        """When it was written (Unix seconds), if that is known."""
        return self.times[-1] if self.times else None

    def add(self, row: LogRow, time: float | None) -> bool:
        """Append one training row, seen or written at ``time``."""
        kept = True
        segment = self.segments[-1] if self.segments else None
        before = self.last
        back = before is not None and segment is not None and self._goes_back(before, segment, row)
        if self.writers is not None:
            self.writers.add(row)
        elif before is not None and (back or (row.step == before.step and row.kind == "train")):
            self.writers = Writers(before)
            self.writers.add(row)
        if segment is None or back:
            if self.rows and row.step is not None:
                kept = self._drop_from(row.step)
            segment = Segment(row.step, row.elapsed_s, time, time)
            self.segments.append(segment)
            self.starts.append(len(self.rows))
            self.longest_gap = 0.0
            self._gaps.clear()
            self._train_gaps.clear()
        elif before is not None:
            self._note_gap(segment, before, row, time)
        if row.elapsed_s is not None:
            segment.last_elapsed = row.elapsed_s
        if time is not None:
            segment.last_time = time
        if row.kind in ("eval", "mark"):
            if self.evals and self.evals[-1] == len(self.rows) - 1 and self.rows[-1].step == row.step:
                self.evals.pop()
            self.evals.append(len(self.rows))
        self.rows.append(row)
        self.times.append(time)
        return kept

    def add_block(self, block: Block, time: float | None = None) -> bool:
        """Append rows of which at most the last one's ``time`` is known.

        False: they do not go on where the last one was, as rows of one process do. Then nothing was added, and ``add``
        takes them one by one.
        """
        before, segment = self.last, self.segments[-1] if self.segments else None
        if before is None or before.step is None or segment is None or self.writers is not None or block.times:
            return False
        earlier = [before.step, *block.steps[:-1]]
        for at, (a, b) in enumerate(zip(earlier, block.steps, strict=True)):
            if b <= a and (b < a or block.kind(at) == "train"):
                return False
        gaps: list[float] = []
        if block.clocks is not None:
            if segment.last_elapsed is None or not math.isfinite(sum(block.clocks)):
                return False
            gaps = list(map(sub, block.clocks, [segment.last_elapsed, *block.clocks[:-1]]))
            if min(gaps) < 0:
                return False
            segment.last_elapsed = float(block.clocks[-1])
            self.longest_gap = max(self.longest_gap, *gaps)
            self._gaps.extend(gaps[-RECENT:])
        if block.kinds == "train" and before.kind == "train":
            self._train_gaps.extend(gaps[-RECENT:])
        else:
            self._note_kinds(block, before, earlier, gaps)
        self.rows.add(block)
        self.times.add_unknown(block.count - 1)
        self.times.append(time)
        segment.last_time = time if time is not None else segment.last_time
        return True

    def add_piece(self, piece: LogRow | Block, time: float | None) -> None:
        """Append one row or all of a block, whatever that drops."""
        if not isinstance(piece, Block):
            self.add(piece, time)
            return
        if not self.rows:
            # The first row begins a segment; the others go on from it.
            self.add(piece.row(0), None)
            piece = piece.part(1, piece.count)
        if piece.count and not self.add_block(piece, time):
            for at in range(piece.count):
                self.add(piece.row(at), time if at == piece.count - 1 else None)

    def _note_kinds(self, block: Block, before: LogRow, earlier: Sequence[int], gaps: Sequence[float]) -> None:
        """What a block that is not of training rows alone says of evaluations and of the time between rows."""
        last = before.kind
        for at, step in enumerate(block.steps):
            kind, index = block.kind(at), len(self.rows) + at
            closes = kind in ("eval", "mark")
            if gaps and step == earlier[at]:
                self.eval_s = gaps[at] if _ends_evaluation(kind, step, block.total(at)) else self.eval_s
            elif gaps and kind == "train" and last == "train":
                self._train_gaps.append(gaps[at])
            if closes:
                if self.evals and self.evals[-1] == index - 1 and step == earlier[at]:
                    self.evals.pop()
                self.evals.append(index)
            last = kind

    def _goes_back(self, before: LogRow, segment: Segment, row: LogRow) -> bool:
        if row.step is not None and before.step is not None and row.step < before.step:
            return True
        clock = segment.last_elapsed
        return row.elapsed_s is not None and clock is not None and row.elapsed_s < clock

    def _drop_from(self, step: int) -> bool:
        keep = len(self.rows)
        while keep and (known := self.rows[keep - 1].step) is not None and known >= step:
            keep -= 1
        if keep == len(self.rows):
            return True
        self.rows.cut(keep)
        self.times.cut(keep)
        self.starts = [min(start, keep) for start in self.starts]
        while self.evals and self.evals[-1] >= keep:
            self.evals.pop()
        return False

    def _note_gap(self, segment: Segment, before: LogRow, row: LogRow, time: float | None) -> None:
        gap: float | None = None
        if time is not None and segment.last_time is not None and self.times[-1] is not None:
            gap = time - segment.last_time
        elif row.elapsed_s is not None and segment.last_elapsed is not None:
            gap = row.elapsed_s - segment.last_elapsed
        if gap is not None and gap >= 0:
            self._count_gap(before, row, gap)

    def _count_gap(self, before: LogRow, row: LogRow, gap: float) -> None:
        self.longest_gap = max(self.longest_gap, gap)
        self._gaps.append(gap)
        if row.step == before.step:
            if _ends_evaluation(row.kind, row.step, row.total_steps):
                self.eval_s = gap
        elif row.kind == "train" and before.kind == "train":
            self._train_gaps.append(gap)

    def trust_last(self, count: int) -> None:
        """Take the time between rows from the last ones alone: others are missing between those before."""
        self.longest_gap, self.eval_s = 0.0, None
        self._gaps.clear()
        self._train_gaps.clear()
        for at in range(max(self.starts[-1] if self.starts else 0, len(self.rows) - count) + 1, len(self.rows)):
            span = self.span(at - 1, at)
            if span is not None and span.seconds >= 0:
                self._count_gap(self.rows[at - 1], self.rows[at], span.seconds)

    def median_gap(self) -> float | None:
        """Median seconds between two rows of the present segment, evaluations left out where possible."""
        gaps = sorted(self._train_gaps or self._gaps)
        return (gaps[len(gaps) // 2] + gaps[(len(gaps) - 1) // 2]) / 2 if gaps else None

    def elapsed_s(self) -> float | None:
        """Seconds of training over all segments."""
        known = [s.duration for s in self.segments if s.duration is not None]
        return math.fsum(known) if known else None

    def span(self, first: int, end: int) -> Span | None:
        """Seconds between two rows (indexes) of one segment: by their times where both are known, else by the
        producer's clock."""
        a, b = self.times[first], self.times[end]
        if a is not None and b is not None and abs(b - a) < LONGEST_S:
            return Span(b - a, False)
        c, d = self.rows[first].elapsed_s, self.rows[end].elapsed_s
        return Span(d - c, True) if c is not None and d is not None and abs(d - c) < LONGEST_S else None

    def rate(self, whole_segment: bool = False) -> tuple[float | None, float | None]:
        """Steps and tokens per second inside the present segment: over the last rows, or over all of it (pauses for
        evaluations and saves counted in). ``None`` where the clocks are too coarse for an answer."""
        if not self.rows:
            return None, None
        first, end = self.starts[-1], len(self.rows) - 1
        if not whole_segment:
            index = end - WINDOW_ROWS
            while index > first and ((span := self.span(index, end)) is None or span.seconds < MIN_SPAN_S):
                index -= 1
            first = max(first, index)
        span = self.span(first, end) if first < end else None
        if span is None or span.seconds < (MIN_SPAN_S if span.whole else 1.0):
            return None, None
        a, b = self.rows[first], self.rows[end]
        if a.step is None or b.step is None or b.step <= a.step:
            return None, None
        tokens_a, tokens_b = a.values.get("total_tokens"), b.values.get("total_tokens")
        tokens = tokens_b - tokens_a if tokens_a is not None and tokens_b is not None else 0.0
        return (b.step - a.step) / span.seconds, tokens / span.seconds if tokens > 0 else None


def is_training(row: LogRow) -> bool:
    """No progress row of an eval-only or predict job, and a step above 0 (or none at all)."""
    return row.kind != "progress" and (row.step is None or row.step > 0)


def all_training(block: Block) -> bool:
    """The same of every row of a block."""
    return min(block.steps) > 0 and 1 not in block.mask("progress")


def pieces(rows: Sequence[LogRow], times: Times) -> Iterator[tuple[LogRow | Block, float | None]]:
    """Rows with their times, one by one; in blocks with the time of the last row, where all rows are of training and no
    other time is known."""
    parts = rows.parts() if isinstance(rows, Rows) else iter([tuple(rows)])
    at = 0
    for part in parts:
        if isinstance(part, Block):
            if all_training(part) and not times.known_in(at, at + part.count - 1):
                at += part.count
                yield part, times[at - 1]
                continue
            part = tuple(map(part.row, range(part.count)))
        for row in part:
            yield row, times[at]
            at += 1


def build(rows: Iterable[tuple[LogRow, float | None]]) -> Timeline:
    """A timeline of rows with their times."""
    timeline = Timeline()
    for row, time in rows:
        timeline.add(row, time)
    return timeline
