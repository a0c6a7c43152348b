"""Sentences and short texts that the app, the commands and the reports share, in the language of the reader.

* one run in one line: :func:`run_summary`
* which checkpoint to take: :func:`checkpoint_advice`
* ranges of durations and of times of day: :func:`duration_range`, :func:`clock_range`
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from lora_tui.analysis.judgement import CheckpointChoice
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.text.numbers import fixed4, number
from lora_tui.text.sanitize import clean


def run_summary(run: Run, now: float, words: Words) -> str:
    """Return state, progress and last numbers of ``run`` at the Unix time ``now``, in one line.

    For example ``finished  810/810  loss 1.0573  eval loss 0.9954``.
    """
    progress = run.progress(now)
    parts = [words.state(run.status(now))]
    if progress.step is not None:
        parts.append(f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step))
    for name, formatted in (("loss", fixed4), ("eval_loss", fixed4), ("lr", number)):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            parts.append(f"{words.metric(name)} {formatted(series.last)}")
    predicted = run.results().get("predict")
    if predicted is not None and not predicted.stale:
        for name in ("predict_bleu-4", "predict_rouge-l"):
            if name in predicted.values:
                parts.append(f"{words.metric(name)} {fixed4(predicted.values[name])}")
    return "  ".join(parts)


# -- which checkpoint to take -----------------------------------------------------------------------------------------

MIN_COST = 0.001
"""The cost of the newest checkpoint is mentioned only if it is at least this share (0.001 = 0.1 %)."""


class Advice(NamedTuple):
    """One sentence of the advice on checkpoints."""

    kind: Literal["take", "note", "warn", "command"]
    """``take``: the recommendation. ``warn``: something to act on. ``command``: a shell command to paste."""
    text: str


def checkpoint_advice(words: Words, choice: CheckpointChoice, live: bool) -> list[Advice]:
    """Return the advice on the checkpoints, the recommendation first; an empty list if no checkpoint is known.

    ``live``: the run has not ended.
    """
    out: list[Advice] = []
    if (recommended := _recommendation(words, choice)) is not None:
        out.append(Advice("take", recommended))
    if choice.best_step is not None and choice.best_path is None and choice.take_path is not None:
        key = "choice.best.gone" if choice.best_gone else "choice.best.unsaved"
        out.append(
            Advice("note", words.t(key, metric=clean(choice.metric), value=choice.best_value, step=choice.best_step))
        )
    if choice.cost is not None and choice.cost >= MIN_COST and choice.last_path is not None:
        percent = float(f"{100 * choice.cost:.2g}")
        newest = clean(choice.last_path)
        out.append(Advice("note", words.t("choice.cost", checkpoint=newest, cost=percent, value=choice.last_value)))
    if choice.deleted_by is not None:
        key = "choice.deleted.seen" if choice.limit_seen else "choice.deleted"
        out.append(Advice("warn", words.t(key, step=choice.deleted_by, limit=choice.limit)))
        if choice.copy is not None:
            out.append(Advice("command", words.t("choice.copy", command=clean(choice.copy))))
    if live and choice.next_save is not None:
        out.append(Advice("note", words.t("choice.next", step=choice.next_save)))
    if choice.steps_at_risk:
        key = "choice.risk" if live else "choice.lost"
        seconds = choice.seconds_at_risk
        if seconds is None or not math.isfinite(seconds):
            out.append(Advice("note", words.t(f"{key}.steps", steps=choice.steps_at_risk)))
        else:
            out.append(Advice("note", words.t(key, steps=choice.steps_at_risk, seconds=seconds)))
    if live and choice.free_bytes is not None and choice.needed_bytes is not None:
        out.append(Advice("note", words.t("choice.room", free=choice.free_bytes, needed=choice.needed_bytes)))
    return out


def _recommendation(words: Words, choice: CheckpointChoice) -> str | None:
    if choice.take_path is None:
        return words.t("choice.take.none") if choice.last_path is not None else None
    path = clean(choice.take_path)
    if choice.take_value is None:
        return words.t("choice.take.newest", checkpoint=path)
    kind = "near" if choice.take_estimated else "best" if choice.take_path == choice.best_path else "left"
    return words.t(f"choice.take.{kind}", checkpoint=path, metric=clean(choice.metric), value=choice.take_value)


# -- ranges of time ---------------------------------------------------------------------------------------------------

DURATION_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds to which the ends of a range of durations are rounded, outward: the wider the range, the coarser the step,
so that an uncertain countdown does not change every second."""
CLOCK_STEPS = (60, 300, 900, 1800)
"""Seconds to which the ends of a range of times of day are rounded; all time zones share these boundaries."""
MIN_STEPS = 3
"""A range is at least this many rounding steps wide before it is rounded."""


def duration_range(words: Words, low: float, high: float) -> str:
    """Return a duration between ``low`` and ``high`` seconds in words: ``42–55 min``, ``7m40s–8m20s``."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return words.duration(high)
    a, b = _round_outward(low, high, _rounding_step(high - low, DURATION_STEPS, high))
    if a <= 0:
        return words.t("span.under", time=words.duration(b))
    if a >= b:
        return words.duration(b)
    for unit, size, least, most in (("d", 86400, 2, 1000), ("h", 3600, 2, 48), ("m", 60, 1, 100), ("s", 1, 1, 60)):
        if a % size == 0 and b % size == 0 and least * size <= a and b < most * size:
            return words.t(f"span.{unit}", low=a // size, high=b // size)
    return words.t("span.any", low=words.duration(a), high=words.duration(b))


def clock_range(words: Words, low: float, high: float, now: float) -> str:
    """Return a moment between two Unix times as local times: ``14:32–14:45``, with a date where it is not today's."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return words.clock(high, now)
    a, b = _round_outward(low, high, _rounding_step(high - low, CLOCK_STEPS, high - now))
    first, last = words.clock(a, now), words.clock(b, a)
    return first if a >= b else words.t("span.any", low=first, high=last)


def _rounding_step(width: float, steps: tuple[int, ...], distance: float) -> int:
    """Return the step for a range ``width`` seconds wide whose later end is ``distance`` seconds away."""
    # From ten minutes on, Words.duration shows no seconds either.
    least = 60 if distance >= 600 else 1
    fitting = [step for step in steps if step >= least and step <= max(least, width / MIN_STEPS)]
    return fitting[-1] if fitting else steps[0]


def _round_outward(low: float, high: float, step: int) -> tuple[int, int]:
    return math.floor(low / step) * step, math.ceil(high / step) * step
