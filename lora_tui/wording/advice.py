"""Which checkpoint to take, in sentences: what every face says of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from lora_tui.text.sanitize import clean

if TYPE_CHECKING:
    from lora_tui.analysis.model import CheckpointChoice
    from lora_tui.i18n import Words

TRIFLE = 0.001
"""A smaller share of difference is not worth a sentence."""


class Advice(NamedTuple):
    """One sentence. ``kind``: take, note, warn (act on it), command (to paste)."""

    kind: Literal["take", "note", "warn", "command"]
    text: str


def checkpoint_advice(words: Words, choice: CheckpointChoice, live: bool) -> list[Advice]:
    """What to do about the checkpoints, the advice first; empty where nothing is known of any. ``live``: the run goes
    on."""
    out: list[Advice] = []
    if (taken := _taken(words, choice)) is not None:
        out.append(Advice("take", taken))
    if choice.best_step is not None and choice.best_path is None and choice.take_path is not None:
        key = "choice.best.gone" if choice.best_gone else "choice.best.unsaved"
        out.append(
            Advice("note", words.t(key, metric=clean(choice.metric), value=choice.best_value, step=choice.best_step))
        )
    if choice.cost is not None and choice.cost >= TRIFLE and choice.last_path is not None:
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


def _taken(words: Words, choice: CheckpointChoice) -> str | None:
    """The first sentence."""
    if choice.take_path is None:
        return words.t("choice.take.none") if choice.last_path is not None else None
    path = clean(choice.take_path)
    if choice.take_value is None:
        return words.t("choice.take.newest", checkpoint=path)
    kind = "near" if choice.take_estimated else "best" if choice.take_path == choice.best_path else "left"
    return words.t(f"choice.take.{kind}", checkpoint=path, metric=clean(choice.metric), value=choice.take_value)
