"""Findings about the speed of training. The docstring of each function states its rule."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from lora_tui.analysis.detectors.incremental import Hysteresis, IncrementalCheck, updated_check
from lora_tui.analysis.detectors.levels import CLOSING_WIDTH
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.statistics import critical_z, median, rounded, spread
from lora_tui.runs.timeline import MIN_SPAN_S, Timeline

LOST_SHARE = 0.3
"""Minimum share of the speed that must be lost."""
MIN_ROWS = 30
"""Minimum number of rows of a segment for a drop."""
PIECES_BEFORE = 100
"""Maximum number of pieces with which the last ones are compared."""
PIECES_AFTER = 20
"""Maximum number of last pieces whose speed is compared."""
MIN_PIECES = 6
"""Minimum number of last pieces for a comparison."""
SAME_PHASE = 0.1
"""Epochs within which two places of two epochs count as the same; data sorted by length is slow at the same place of
each epoch."""
EPOCHS_BACK = 20
"""Maximum number of earlier epochs that are compared at the same place."""


@dataclass(frozen=True)
class Piece:
    """The time of consecutive rows, at least MIN_SPAN_S seconds, without an evaluation between them."""

    step: float
    """First step."""
    epoch: float | None
    """Epoch of the last row, None if it has none."""
    per_step: float
    """Seconds per step."""
    per_token: float | None
    """Seconds per token, None where tokens are not counted."""


class SpeedCheck(IncrementalCheck[Timeline]):
    """Divides a timeline into pieces and checks whether they have become slower."""

    def __init__(self) -> None:
        super().__init__()
        self.slower = Hysteresis()
        self._pieces: list[Piece] = []
        """The last pieces of the current segment."""
        self._segment = 0
        """Index of the current segment."""
        self._begin = 0
        """Index of the first row of the piece that is not long enough yet."""
        self._speed_before: float | None = None
        """Seconds per step or token before the drop, None while there is none."""

    def size(self, column: Timeline) -> int:
        """Return the number of rows of the timeline."""
        return len(column.rows)

    def entry(self, column: Timeline, row: int) -> float:
        """Return 0, since rows of a timeline do not change."""
        return 0.0

    def next_check(self, done: int) -> int:
        """Return the next row count: 5 rows later, or 2 % later in a long run."""
        return done + max(5, done // 50)

    def check(self, column: Timeline, end: int) -> None:
        """Check the rows before row ``end``."""
        segment = bisect_right(column.starts, end - 1) - 1
        if segment > self._segment:
            self._segment = segment
            self._begin = column.starts[segment]
            self._pieces.clear()
            self._speed_before = None
            self.slower.close(float(column.rows[self._begin].step or 0))
        count = len(self._pieces)
        self._cut_pieces(column, end)
        if len(self._pieces) > count and end - column.starts[segment] >= MIN_ROWS:
            self._compare(column, end)
        del self._pieces[: -20 * PIECES_BEFORE]

    def _cut_pieces(self, column: Timeline, end: int) -> None:
        """Cut the rows since the last check into at most five pieces, without the time before an evaluation's row."""
        stride = max(1, (end - self.done) // 5)
        row = max(self._begin + 1, self.done)
        while row < end:
            other = column.rows.first_other("train", row, end)
            while (row := row + (self._begin - row) % stride) < other:
                piece = self._piece(column, self._begin, row)
                if piece is not None:
                    self._pieces.append(piece)
                    self._begin = row
                row += 1
            if other < end:
                self._begin = other
            row = other + 1

    def _piece(self, column: Timeline, begin: int, end: int) -> Piece | None:
        """Return the piece between the rows at two indexes, None if it is too short or its time is not known."""
        span = column.span(begin, end)
        a, b = column.rows[begin], column.rows[end]
        if span is None or span.seconds < MIN_SPAN_S or a.step is None or b.step is None or b.step <= a.step:
            return None
        tokens, before = b.values.get("total_tokens"), a.values.get("total_tokens")
        counted = tokens is not None and before is not None and tokens > before
        return Piece(
            float(a.step), b.epoch, span.seconds / (b.step - a.step),
            span.seconds / (tokens - before) if counted and tokens is not None and before is not None else None,
        )  # fmt: skip

    def _compare(self, column: Timeline, end: int) -> None:
        """Compare the last pieces with those before them."""
        pieces = self._pieces
        after = min(PIECES_AFTER, len(pieces) // 3)
        if after < MIN_PIECES:
            return
        counted = all(piece.per_token is not None for piece in pieces[-PIECES_BEFORE - after :])
        slow = [_slow(piece, counted) for piece in pieces[-PIECES_BEFORE - after :]]
        now, usual = median(slow[-after:]), median(slow[:-after])
        excess = math.log(now / (self._speed_before or usual))
        lost = -math.log(1 - LOST_SHARE)
        fires = excess > lost and excess > _chance(slow, after, end)
        fires = fires and (counted or not self._as_in_other_epochs(after, now))
        holds = excess > CLOSING_WIDTH * lost
        if not holds and self.slower.current is None:
            self.slower.reset()
            return
        step = float(column.rows[end - 1].step or 0)
        begin = self._onset(slow, after, now, usual) if fires and self.slower.current is None else step
        evidence: dict[str, Param] = {
            "before": rounded(1 / (self._speed_before or usual)), "now": rounded(1 / now),
            "drop": round((1 - math.exp(-excess)) * 100), "unit": "tokens/s" if counted else "steps/s",
        }  # fmt: skip
        self.slower.feed(step, fires=fires, holds=holds, begin=begin, evidence=evidence)
        self._speed_before = (self._speed_before or usual) if self.slower.current is not None else None

    def _onset(self, slow: list[float], after: int, now: float, usual: float) -> float:
        """Return the step of the first slow piece: the one after the last two pieces near the earlier speed."""
        bound = math.sqrt(now * usual)
        for index in range(len(slow) - 1, 0, -1):
            if max(slow[index], slow[index - 1]) < bound:
                return self._pieces[index + 1 - len(slow)].step if index + 1 < len(slow) else self._pieces[-1].step
        return self._pieces[-after].step

    def _as_in_other_epochs(self, after: int, now: float) -> bool:
        """Return whether the same part of at least half of the earlier epochs was about as slow as ``now``.

        One slow epoch alone proves nothing, since a drop may last for longer than an epoch.
        """
        recent = self._pieces[-after:]
        first, last = recent[0].epoch, recent[-1].epoch
        if first is None or last is None:
            return False
        slow = seen = 0
        for back in range(1, min(int(first) + 2, EPOCHS_BACK)):
            low, high = first - back - SAME_PHASE, last - back + SAME_PHASE
            same = [piece.per_step for piece in self._pieces if piece.epoch is not None and low <= piece.epoch <= high]
            if len(same) >= 3:
                seen += 1
                slow += now < median(same) / (1 - LOST_SHARE)
        return seen > 0 and 2 * slow >= seen


def _chance(slow: list[float], after: int, rows: int) -> float:
    """Return the difference of the logarithms of the two medians that chance may cause.

    ``slow`` has the seconds per step or token of each piece, of which the last ``after`` are compared with the others.
    """
    error = math.hypot(spread(slow[:-after]).error(len(slow) - after), spread(slow[-after:]).error(after))
    return math.sqrt(2) * critical_z(rows) * error


def _slow(piece: Piece, counted: bool) -> float:
    """Return the seconds per token if tokens are counted, else per step."""
    return piece.per_token if counted and piece.per_token is not None else piece.per_step


@finding("throughput_drop", "warning", rank=140)
def throughput_drop(collector: FindingCollector) -> None:
    """Find ``throughput_drop``: the training has become slower by at least 30 %.

    At two checks the last 20 pieces of the run (at least 10 s each, without evaluations) took more than 1 / 0.7 of the
    time of the 100 before them, beyond noise. Time is measured per token where tokens are counted, else per step. A
    drop per step does not count if the same part of the earlier epochs was as slow (data sorted by length). At least 30
    rows of one segment. It closes when 76 % of the speed is reached again.
    """
    check = updated_check(collector.run.timeline, SpeedCheck, None, SpeedCheck)
    if collector.has("dead_run"):
        return
    for episode in check.slower.episodes:
        variant = "over" if episode.end is not None else "steps" if episode.evidence["unit"] == "steps/s" else ""
        collector.add_episode("throughput_drop", episode, episode.evidence, variant=variant)
