"""The training rows of one run in the order of their steps: segments, clocks, intervals and writing processes.

Training rows are those with a step above 0 that are not the progress of an eval-only or predict job. They split into
segments where the step or the elapsed time goes back. A segment that starts at step s drops all earlier rows with a
step of s or more, as the trainer itself does when it resumes.
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
"""Maximum difference in seconds of two file times that count as simultaneous.

File systems have coarse clocks, and a new attempt needs longer than this to import its libraries."""
RECENT_GAPS = 200
"""Number of the last intervals between rows whose median is taken."""
WINDOW_ROWS = 20
"""Number of the last rows over which the current speed is computed; more if they span less than MIN_SPAN_S."""
MAX_SPAN_S = 1e10
"""Maximum number of seconds between two rows (300 years); a longer time comes from a damaged file and is ignored."""
MIN_SPAN_S = 10.0
"""Minimum number of seconds over which a speed is computed, since the clocks in the files count whole seconds."""
MAX_WRITERS = 4
"""Number of processes with which a row is compared: those that wrote last."""


class Span(NamedTuple):
    """Time between two rows."""

    seconds: float
    """Length of the time, seconds."""
    whole_seconds: bool
    """Whether it was measured by a clock that counts whole seconds."""


@dataclass
class Segment:
    """The rows that one process wrote; a training that was never resumed has one segment."""

    first_step: int | None
    """Step of the first row, None if it has none."""
    last_elapsed: float | None = None
    """Elapsed seconds of the last row by the producer's clock, None where it writes none."""
    first_time: float | None = None
    """Unix time of the first row, None where it is not known."""
    last_time: float | None = None
    """Unix time of the last row, None where it is not known."""

    @property
    def duration(self) -> float | None:
        """Seconds of training by the producer's own clock, else from the first to the last row."""
        if self.last_elapsed is not None:
            return self.last_elapsed
        if self.first_time is not None and self.last_time is not None:
            return self.last_time - self.first_time
        return None


def _ends_evaluation(kind: str, step: int | None, total: int | None) -> bool:
    """Return whether a row of this kind and step was written after an evaluation.

    A row without a metric at the last of ``total`` steps is the summary, which follows the last save instead.
    """
    return kind == "eval" or (kind == "mark" and (step is None or total is None or step < total))


class Writers:
    """Assigns training rows to the processes that wrote them, to tell two jobs in one log from a resumed one.

    The steps and the clock of one process never decrease. After a resume, no row of the earlier process follows; rows
    of two jobs that run at once alternate. Create it at the first row that does not continue the row ``before``,
    and add every training row from that one on.
    """

    def __init__(self, before: LogRow) -> None:
        self.returns = 0
        """Number of rows of another process than the row before, not counting the first row of each process."""
        self.started = 1
        """Number of processes."""
        self.first: int | None = None
        """Step of the first row that is counted in ``returns``, None without one."""
        self._last_rows = [before]
        """Last row of each process, the most recent one at the end."""

    def add(self, row: LogRow) -> None:
        """Add the next row of the log."""
        if row.step is None or row.kind != "train":
            return
        fits = [last for last in self._last_rows if _goes_on(last, row)]
        if not fits:
            self.started += 1
        else:
            # Rows of one process have steps near each other; of several that fit equally well, take the latest.
            best = min(reversed(fits), key=lambda last: (row.step or 0) - (last.step or 0))
            if best is not self._last_rows[-1]:
                self.returns += 1
                self.first = row.step if self.first is None else self.first
            self._last_rows.remove(best)
        self._last_rows = [*self._last_rows[-(MAX_WRITERS - 1) :], row]


def _goes_on(last: LogRow, row: LogRow) -> bool:
    """Return whether ``row`` can be the next one of the process that wrote ``last``."""
    if (row.step or 0) <= (last.step or 0):
        return False
    return last.elapsed_s is None or row.elapsed_s is None or row.elapsed_s >= last.elapsed_s


class Timeline:
    """The training rows of one source that remain after resumes."""

    def __init__(self) -> None:
        self.rows = Rows()
        """The rows."""
        self.times = Times()
        """Unix time of each row, None where it is not known."""
        self.segments: list[Segment] = []
        """The segments, the current one last."""
        self.starts: list[int] = []
        """Index in ``rows`` at which each segment starts, updated when a later segment drops rows."""
        self.evals: list[int] = []
        """Index in ``rows`` of each evaluation, that of its last row if it has several (one for each data set)."""
        self.longest_gap = 0.0
        """Longest time between two rows of the current segment, seconds."""
        self.writers: Writers | None = None
        """Processes that wrote the rows since the first row that did not continue the one before, None while all do."""
        self._gaps: deque[float] = deque(maxlen=RECENT_GAPS)
        """Seconds between the last neighbouring rows of the current segment."""
        self._train_gaps: deque[float] = deque(maxlen=RECENT_GAPS)
        """Seconds between the last neighbouring training rows of different steps in the current segment."""
        self.eval_s: float | None = None
        """Seconds from the last training row to the evaluation's row at the same step, None without an evaluation."""

    @property
    def last(self) -> LogRow | None:
        """The last row that remains, None if there is none."""
        return self.rows[-1] if self.rows else None

    @property
    def last_step(self) -> int | None:
        """Step of the last row, None if it has none."""
        last = self.last
        return last.step if last is not None else None

    @property
    def last_time(self) -> float | None:
        """Unix time of the last row, None if it is not known."""
        return self.times[-1] if self.times else None

    def add(self, row: LogRow, time: float | None) -> bool:
        """Append one training row, written at the Unix time ``time`` if that is known.

        Returns False where earlier rows were dropped, so that whatever was derived from ``rows`` must be rebuilt.
        """
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
        """Append a block of rows of which at most the last one's ``time`` (Unix seconds) is known.

        Returns False and adds nothing where they may not be the next rows of the process that wrote the last row; the
        caller then passes them to :meth:`add` one by one.
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
            self._gaps.extend(gaps[-RECENT_GAPS:])
        if block.kinds == "train" and before.kind == "train":
            self._train_gaps.extend(gaps[-RECENT_GAPS:])
        else:
            self._note_kinds(block, before, earlier, gaps)
        self.rows.add(block)
        self.times.add_unknown(block.count - 1)
        self.times.append(time)
        segment.last_time = time if time is not None else segment.last_time
        return True

    def add_piece(self, piece: LogRow | Block, time: float | None) -> None:
        """Append one row or all rows of a block, even where that drops earlier rows."""
        if not isinstance(piece, Block):
            self.add(piece, time)
            return
        if not self.rows:
            # The first row begins a segment, which the others continue.
            self.add(piece.row(0), None)
            piece = piece.part(1, piece.count)
        if piece.count and not self.add_block(piece, time):
            for at in range(piece.count):
                self.add(piece.row(at), time if at == piece.count - 1 else None)

    def _note_kinds(self, block: Block, before: LogRow, earlier: Sequence[int], gaps: Sequence[float]) -> None:
        """Record evaluations and the times between training rows of a block with rows of several kinds."""
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
        """Return whether the step or the elapsed time of a row is below the last one, so that a segment starts."""
        if row.step is not None and before.step is not None and row.step < before.step:
            return True
        clock = segment.last_elapsed
        return row.elapsed_s is not None and clock is not None and row.elapsed_s < clock

    def _drop_from(self, step: int) -> bool:
        """Drop the rows at the end with a step of ``step`` or more; return False where there were any."""
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
        """Record the time between the last row and the next one, by their Unix times or the producer's clock."""
        gap: float | None = None
        if time is not None and segment.last_time is not None and self.times[-1] is not None:
            gap = time - segment.last_time
        elif row.elapsed_s is not None and segment.last_elapsed is not None:
            gap = row.elapsed_s - segment.last_elapsed
        if gap is not None and gap >= 0:
            self._count_gap(before, row, gap)

    def _count_gap(self, before: LogRow, row: LogRow, gap: float) -> None:
        """Record ``gap``, the seconds between two neighbouring rows, by what it measures."""
        self.longest_gap = max(self.longest_gap, gap)
        self._gaps.append(gap)
        if row.step == before.step:
            if _ends_evaluation(row.kind, row.step, row.total_steps):
                self.eval_s = gap
        elif row.kind == "train" and before.kind == "train":
            self._train_gaps.append(gap)

    def recount_gaps(self, count: int) -> None:
        """Recompute the gaps from the last ``count`` rows alone, where rows are missing between the earlier ones."""
        self.longest_gap, self.eval_s = 0.0, None
        self._gaps.clear()
        self._train_gaps.clear()
        for at in range(max(self.starts[-1] if self.starts else 0, len(self.rows) - count) + 1, len(self.rows)):
            span = self.span(at - 1, at)
            if span is not None and span.seconds >= 0:
                self._count_gap(self.rows[at - 1], self.rows[at], span.seconds)

    def median_gap(self) -> float | None:
        """Return the median seconds between two rows of the current segment, without evaluations where possible."""
        gaps = sorted(self._train_gaps or self._gaps)
        return (gaps[len(gaps) // 2] + gaps[(len(gaps) - 1) // 2]) / 2 if gaps else None

    def elapsed_s(self) -> float | None:
        """Return the seconds of training over all segments, None where no clock is known."""
        known = [s.duration for s in self.segments if s.duration is not None]
        return math.fsum(known) if known else None

    def span(self, first: int, end: int) -> Span | None:
        """Return the time between the rows at two indexes of one segment, None where it is not known.

        It is measured by their Unix times where both are known, else by the producer's clock.
        """
        a, b = self.times[first], self.times[end]
        if a is not None and b is not None and abs(b - a) < MAX_SPAN_S:
            return Span(b - a, False)
        c, d = self.rows[first].elapsed_s, self.rows[end].elapsed_s
        return Span(d - c, True) if c is not None and d is not None and abs(d - c) < MAX_SPAN_S else None

    def rate(self) -> tuple[float | None, float | None]:
        """Return steps and tokens per second over the last rows of the current segment.

        Pauses for evaluations and saves are included. Both are None where the clocks are too coarse, and the tokens
        also where they are not logged.
        """
        if not self.rows:
            return None, None
        first, end = self.starts[-1], len(self.rows) - 1
        index = end - WINDOW_ROWS
        while index > first and ((span := self.span(index, end)) is None or span.seconds < MIN_SPAN_S):
            index -= 1
        first = max(first, index)
        span = self.span(first, end) if first < end else None
        if span is None or span.seconds < (MIN_SPAN_S if span.whole_seconds else 1.0):
            return None, None
        a, b = self.rows[first], self.rows[end]
        if a.step is None or b.step is None or b.step <= a.step:
            return None, None
        tokens_a, tokens_b = a.values.get("total_tokens"), b.values.get("total_tokens")
        tokens = tokens_b - tokens_a if tokens_a is not None and tokens_b is not None else 0.0
        return (b.step - a.step) / span.seconds, tokens / span.seconds if tokens > 0 else None


def is_training(row: LogRow) -> bool:
    """Return whether a row belongs to training: not the progress of an eval-only or predict job, and not at step 0."""
    return row.kind != "progress" and (row.step is None or row.step > 0)


def all_training(block: Block) -> bool:
    """Return whether every row of a block belongs to training."""
    return min(block.steps) > 0 and 1 not in block.mask("progress")


def pieces(rows: Sequence[LogRow], times: Times) -> Iterator[tuple[LogRow | Block, float | None]]:
    """Yield rows with their times (Unix seconds).

    A block whose rows all belong to training is yielded as a whole, with the time of its last row, if no other time
    of it is known.
    """
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


def timeline_of(rows: Iterable[tuple[LogRow, float | None]]) -> Timeline:
    """Return a timeline of rows, each given with its Unix time (None if unknown)."""
    timeline = Timeline()
    for row, time in rows:
        timeline.add(row, time)
    return timeline
