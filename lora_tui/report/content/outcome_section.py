"""The facts about what is to come, what came of it, and which checkpoint to take."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.analysis import Band
from lora_tui.analysis import run_facts as facts
from lora_tui.i18n import Words
from lora_tui.report.content.section_builder import Teller, last_rows
from lora_tui.text.numbers import fixed4
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import percent, shown


def forecast(t: Teller) -> None:
    """What is still to come."""
    words, forecast, progress = t.words, t.judgement.forecast, t.progress
    if forecast.remaining_s is not None:
        t.add("remaining", _band(words, forecast.remaining_s, words.duration), derived=True)
    elif progress.remaining_s is not None:
        t.add("remaining", words.duration(progress.remaining_s), derived=True)
    if forecast.finish_at is not None:
        t.add("finish_at", _band(words, forecast.finish_at, lambda at: words.clock(at, t.now)), derived=True)
    elif progress.finish_at is not None:
        t.add("finish_at", words.clock(progress.finish_at, t.now), derived=True)
    if forecast.final_loss is not None:
        t.add("final_loss", _band(words, forecast.final_loss, fixed4), derived=True)
    elif forecast.reason and words.has(f"forecast.reason.{forecast.reason}"):
        t.add("final_loss", words.t(f"forecast.reason.{forecast.reason}"))


def _band(words: Words, band: Band, text: Callable[[float], str]) -> str:
    low, mid, high = text(band.low), text(band.mid), text(band.high)
    return mid if low == high else words.t("report.band", mid=mid, low=low, high=high)


def outcome(t: Teller) -> None:
    """What came of it: the change from the first to the last values, and what was lost."""
    run, words = t.run, t.words
    told = ("reward",) if run.stage in ("ppo", "grpo") else ("loss",)
    for name in (*told, "eval_loss"):
        series = run.series.get(name)
        if series is None or series.finite < 2:
            continue
        size = 1 if name == "eval_loss" else last_rows(series.finite)
        first, last = facts.median(facts.head(series, size)), facts.median(series.tail(size))
        change = f" ({_signed(words, (last - first) / first)})" if first > 0 else ""
        t.add(f"{name}_change", f"{shown(words, name, first)} → {shown(words, name, last)}{change}", derived=size > 1,
              note=words.t("report.note.first_last", n=size) if size > 1 else None)  # fmt: skip
    lost = t.progress.steps_at_risk
    if t.status.state in ("failed", "interrupted") and lost and t.progress.step:
        t.add("lost", words.n("report.steps", lost))
        point = facts.resume_point(run, t.progress.step)
        if point is not None:
            t.add("resume", clean(point[1]))


def _signed(words: Words, share: float) -> str:
    sign = "+" if share >= 0 else "−"
    return sign + percent(words, abs(share), 0 if abs(share) >= 0.095 else 1)


def checkpoint(t: Teller) -> None:
    """Which checkpoint to take, and what is at stake."""
    words, choice, run = t.words, t.judgement.choice, t.run
    metric_name = choice.metric or "eval_loss"

    def valued(value: float | None) -> str | None:
        return f"{words.metric(metric_name)} {shown(words, metric_name, value)}" if value is not None else None

    if choice.take_path is not None:
        t.add("take", clean(choice.take_path), note=valued(choice.take_value))
    if choice.best_step is not None and choice.best_step != choice.take_step:
        key = "report.best_gone" if choice.best_gone else "report.best_unsaved"
        text = clean(choice.best_path) if choice.best_path is not None else words.t(key, step=choice.best_step)
        t.add("best", text, note=valued(choice.best_value))
    if choice.last_path is not None and choice.last_step != choice.take_step:
        note = valued(choice.last_value)
        if choice.cost is not None and choice.cost > 0:
            worse = words.t("report.note.worse", share=percent(words, choice.cost, 1))
            note = words.t("list.separator").join(part for part in (note, worse) if part)
        t.add("last", clean(choice.last_path), note=note)
    if choice.deleted_by is not None:
        t.add("deleted_by", words.t("report.at_step", step=choice.deleted_by))
    if choice.next_save is not None:
        t.add("next_save", words.t("report.at_step", step=choice.next_save))
    if choice.steps_at_risk and t.status.live:
        seconds = choice.seconds_at_risk
        t.add("at_risk", words.n("report.steps", choice.steps_at_risk),
              note=words.duration(seconds) if seconds is not None else None)  # fmt: skip
    if choice.free_bytes is not None and choice.needed_bytes is not None and t.status.live:
        t.add("disk", words.t("report.disk", free=choice.free_bytes, needed=choice.needed_bytes))
    if choice.take_path is None and choice.last_path is None:
        newest = max((item for item in run.checkpoints() if item.complete), key=lambda item: item.step, default=None)
        if newest is not None:
            t.add("last", clean(newest.path), note=valued(newest.eval_loss))
