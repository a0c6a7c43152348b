"""The sections of a report on the forecast, the outcome and the choice of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from lora_tui.analysis import Interval, run_facts
from lora_tui.analysis.statistics import median
from lora_tui.i18n import Words
from lora_tui.report.content.section_builder import SectionBuilder, rows_at_end
from lora_tui.text.numbers import fixed4
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import format_metric, format_share


def add_forecast(builder: SectionBuilder) -> None:
    """Add the remaining time, the time of the end and the final loss, as far as they can be forecast."""
    words, forecast, progress = builder.words, builder.judgement.forecast, builder.progress
    if forecast.remaining_s is not None:
        builder.add("remaining", _interval(words, forecast.remaining_s, words.duration), derived=True)
    elif progress.remaining_s is not None:
        builder.add("remaining", words.duration(progress.remaining_s), derived=True)
    if forecast.finish_at is not None:
        builder.add(
            "finish_at", _interval(words, forecast.finish_at, lambda at: words.clock(at, builder.now)), derived=True
        )
    elif progress.finish_at is not None:
        builder.add("finish_at", words.clock(progress.finish_at, builder.now), derived=True)
    if forecast.final_loss is not None:
        builder.add("final_loss", _interval(words, forecast.final_loss, fixed4), derived=True)
    elif forecast.reason and words.has(f"forecast.reason.{forecast.reason}"):
        builder.add("final_loss", words.t(f"forecast.reason.{forecast.reason}"))


def _interval(words: Words, band: Interval, text: Callable[[float], str]) -> str:
    low, mid, high = text(band.low), text(band.mid), text(band.high)
    return mid if low == high else words.t("report.band", mid=mid, low=low, high=high)


def add_outcome(builder: SectionBuilder) -> None:
    """Add the change of the loss (or reward) from the first to the last rows, and the steps that a failure lost."""
    run, words = builder.run, builder.words
    main = ("reward",) if run.stage in ("ppo", "grpo") else ("loss",)
    for name in (*main, "eval_loss"):
        series = run.series.get(name)
        if series is None or series.finite < 2:
            continue
        size = 1 if name == "eval_loss" else rows_at_end(series.finite)
        first, last = median(run_facts.head(series, size)), median(series.tail(size))
        change = f" ({_signed(words, (last - first) / first)})" if first > 0 else ""
        text = f"{format_metric(words, name, first)} → {format_metric(words, name, last)}{change}"
        note = words.t("report.note.first_last", n=size) if size > 1 else None
        builder.add(f"{name}_change", text, derived=size > 1, note=note)
    lost = builder.progress.steps_at_risk
    if builder.status.state in ("failed", "interrupted") and lost and builder.progress.step:
        builder.add("lost", words.n("report.steps", lost))
        point = run_facts.resume_point(run, builder.progress.step)
        if point is not None:
            builder.add("resume", clean(point[1]))


def _signed(words: Words, share: float) -> str:
    sign = "+" if share >= 0 else "−"
    return sign + format_share(words, abs(share), 0 if abs(share) >= 0.095 else 1)


def add_checkpoint(builder: SectionBuilder) -> None:
    """Add the recommended checkpoint, how much worse the newest one is, and what would be lost if the run died now."""
    words, choice, run = builder.words, builder.judgement.choice, builder.run
    metric_name = choice.metric or "eval_loss"

    def with_metric(value: float | None) -> str | None:
        return f"{words.metric(metric_name)} {format_metric(words, metric_name, value)}" if value is not None else None

    if choice.take_path is not None:
        builder.add("take", clean(choice.take_path), note=with_metric(choice.take_value))
    if choice.best_step is not None and choice.best_step != choice.take_step:
        key = "report.best_gone" if choice.best_gone else "report.best_unsaved"
        text = clean(choice.best_path) if choice.best_path is not None else words.t(key, step=choice.best_step)
        builder.add("best", text, note=with_metric(choice.best_value))
    if choice.last_path is not None and choice.last_step != choice.take_step:
        note = with_metric(choice.last_value)
        if choice.cost is not None and choice.cost > 0:
            worse = words.t("report.note.worse", share=format_share(words, choice.cost, 1))
            note = words.t("list.separator").join(part for part in (note, worse) if part)
        builder.add("last", clean(choice.last_path), note=note)
    if choice.deleted_by is not None:
        builder.add("deleted_by", words.t("report.at_step", step=choice.deleted_by))
    if choice.next_save is not None:
        builder.add("next_save", words.t("report.at_step", step=choice.next_save))
    if choice.steps_at_risk and builder.status.live:
        seconds = choice.seconds_at_risk
        builder.add(
            "at_risk",
            words.n("report.steps", choice.steps_at_risk),
            note=words.duration(seconds) if seconds is not None else None,
        )
    if choice.free_bytes is not None and choice.needed_bytes is not None and builder.status.live:
        builder.add("disk", words.t("report.disk", free=choice.free_bytes, needed=choice.needed_bytes))
    if choice.take_path is None and choice.last_path is None:
        newest = max((item for item in run.checkpoints() if item.complete), key=lambda item: item.step, default=None)
        if newest is not None:
            builder.add("last", clean(newest.path), note=with_metric(newest.eval_loss))
