"""The sections of a report: training, metrics, configuration, forecast or outcome, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable

from lora_tui.analysis import Judgement, Rating, run_facts
from lora_tui.analysis.statistics import median
from lora_tui.i18n import Words
from lora_tui.records.file_names import TRAINER_LOG
from lora_tui.report.content.config_section import add_config
from lora_tui.report.content.outcome_section import add_checkpoint, add_forecast, add_outcome
from lora_tui.report.content.section_builder import SectionBuilder, date_and_time, rows_at_end
from lora_tui.report.document import Section
from lora_tui.runs.run import Run
from lora_tui.runs.run_data import NO_PERPLEXITY
from lora_tui.runs.status import mean_speed
from lora_tui.text.numbers import fixed4
from lora_tui.wording.values import format_metric, format_share, format_with_unit


def sections(run: Run, now: float, words: Words, judgement: Judgement) -> list[Section]:
    """Return the sections of a report at the Unix time ``now``, without those that have no fact."""
    builder = SectionBuilder(run, now, words, judgement)
    live = builder.status.live
    plan: tuple[tuple[str, Callable[[SectionBuilder], None]], ...] = (
        ("training", _add_training), ("metrics", _add_metrics), ("config", add_config),
        ("forecast", add_forecast) if live else ("outcome", add_outcome), ("checkpoint", add_checkpoint),
    )  # fmt: skip
    out = []
    for code, add_facts in plan:
        builder.facts = []
        add_facts(builder)
        if builder.facts:
            job = f"report.section.job_{code}"
            key = job if not builder.trained and words.has(job) else f"report.section.{code}"
            out.append(Section(code=code, title=words.t(key), facts=builder.facts))
    return out


def _add_training(builder: SectionBuilder) -> None:
    run, words, status, progress = builder.run, builder.words, builder.status, builder.progress
    builder.add("state", words.state(status))
    if status.live:
        builder.add("seen_at", date_and_time(words, builder.now))
    ended = run.last_row_time if status.state in ("finished", "stopped") and builder.trained else None
    ended = ended if ended is not None else run.activity
    if not status.live and ended is not None:
        code = {"failed": "failed_at", "interrupted": "last_sign", "stopped": "stopped_at"}.get(
            status.state, "finished_at"
        )
        builder.add(code, date_and_time(words, ended))
    if progress.elapsed_s:
        note = words.n("report.segments", progress.segments) if progress.segments > 1 else None
        code = "elapsed" if status.live else "duration" if builder.trained else "took"
        builder.add(code, words.duration(progress.elapsed_s, "long"), note=note)
    _add_steps(builder)
    _add_speed(builder)
    tokens = run.series.get("total_tokens")
    if tokens is not None and tokens.finite:
        builder.add(
            "total_tokens", f"{tokens.tail(1)[0]:,.0f}", label=words.metric("total_tokens"), note=_passes_note(builder)
        )


def _add_speed(builder: SectionBuilder) -> None:
    """Add the speed: of the last rows while the run is live, of the whole run once it has ended."""
    words, progress = builder.words, builder.progress
    if builder.status.live:
        steps, tokens, how = progress.steps_per_s, progress.tokens_per_s, "report.note.speed_now"
    else:
        steps, tokens = mean_speed(builder.run, progress)
        how = "report.note.speed"
    known = [(name, value) for name, value in (("steps_per_s", steps), ("throughput", tokens)) if value]
    speed = [format_with_unit(words, name, value) for name, value in known]
    if speed:
        builder.add("speed", words.t("list.separator").join(speed), derived=True, note=words.t(how))


def _passes_note(builder: SectionBuilder) -> str | None:
    rating = builder.judgement.ratings.get("total_tokens")
    if rating is None or "a_pass" not in rating.params or float(rating.params.get("epochs", 0)) <= 1:
        return None
    return builder.words.t("report.note.passes", **rating.params)


def _add_steps(builder: SectionBuilder) -> None:
    progress, words = builder.progress, builder.words
    total, step = progress.total_steps, progress.step
    if progress.unit == "batches":
        if step is not None:
            builder.add("batches", f"{step}/{total}" if total else str(step))
        return
    if step is not None:
        source = TRAINER_LOG if TRAINER_LOG in builder.run.files.tables else None
        if total is None or (step >= total and not builder.status.live):
            builder.add("steps", words.t("report.steps_total", n=step), source=source)
        else:
            done = format_share(words, math.floor(100 * (progress.fraction or 0.0)) / 100)
            builder.add("steps", words.t("report.steps_of", step=step, total=total, done=done), source=source)
    if progress.epoch is not None:
        of = progress.total_epochs if builder.status.live else None
        parts = [words.number(round(value, 2)) for value in (progress.epoch, of) if value is not None]
        builder.add("epochs", " / ".join(parts), label=words.metric("epoch"))


# -- metrics ----------------------------------------------------------------------------------------------------------


def _add_metrics(builder: SectionBuilder) -> None:
    run, words = builder.run, builder.words
    results = run.results()
    train = results.get("train")
    if train is not None and not train.stale and "train_loss" in train.values:
        note = words.t("report.note.train_loss_resumed") if run.segments > 1 else None
        builder.add_metric("train_loss", train.values["train_loss"], note=note, source=train.file)
    _add_last_loss(builder)
    _add_evaluation(builder)
    for name in ("reward", "rewards/accuracies", "accuracy", "eval_rewards/accuracies", "eval_accuracy",
                 "rewards/margins", "eval_rewards/margins", "kl"):  # fmt: skip
        series = run.series.get(name)
        if series is None or not series.finite or (name == "accuracy" and "rewards/accuracies" in run.series):
            continue
        rating = builder.judgement.ratings.get(name)
        if rating is not None and name.endswith(("accuracy", "accuracies")):
            # The rating has averaged it over a number of pairs that is large enough.
            builder.add_metric(
                name, rating.value, derived=not name.startswith("eval_"), note=_pairs_note(builder, rating)
            )
            continue
        size = 1 if name.startswith("eval_") else rows_at_end(series.finite)
        builder.add_metric(name, median(series.tail(size)), note=_median_note(builder, size), derived=size > 1)
    for split, found, source in run_facts.result_sets(run):
        if split != "predict":
            continue
        note = words.t("report.results.stale_short") if found.stale else None
        for topic in ("bleu-4", "rouge-1", "rouge-2", "rouge-l", "accuracy", "loss"):
            builder.add_metric(f"predict_{topic}", found.values.get(f"predict_{topic}"), source=found.file, note=note)
        count = run_facts.samples(found, split, source)
        if count is not None:
            _add_samples(builder, "predict_samples", count, source)


def _pairs_note(builder: SectionBuilder, rating: Rating) -> str | None:
    pairs = rating.params.get("pairs")
    return builder.words.t("report.note.pairs", n=pairs) if pairs and not rating.metric.startswith("eval_") else None


def _add_samples(builder: SectionBuilder, code: str, count: int, source: Run) -> None:
    read = source.predictions is not None and bool(source.predictions.count)
    note = None if read else builder.words.t("report.note.samples")
    builder.add(code, builder.words.t("report.samples", n=count), derived=not read, note=note)


def _median_note(builder: SectionBuilder, size: int) -> str | None:
    return builder.words.t("report.note.median", n=size) if size > 1 else None


def _add_last_loss(builder: SectionBuilder) -> None:
    """Add the loss at the end (or now): the median of the last rows, not the mean over the run of the results file."""
    series = builder.run.series.get("loss")
    if series is None or not len(series):
        return
    code = "loss_now" if builder.status.live else "loss_end"
    last = series.values[-1]
    if not series.finite or not math.isfinite(last):
        builder.add(code, format_metric(builder.words, "loss", last))
        return
    size = rows_at_end(series.finite)
    note = _median_note(builder, size)
    if size == 1 and series.last_step is not None and not builder.run.counted_rows:
        note = builder.words.t("report.note.at_step", step=int(series.last_step))
    builder.add(code, fixed4(median(series.tail(size))), note=note, derived=size > 1)


def _add_evaluation(builder: SectionBuilder) -> None:
    run, words = builder.run, builder.words
    series = run.series.get("eval_loss")
    current = run_facts.last_eval(run, builder.status)
    if current is None:
        if series is not None and series.last is not None:
            builder.add_metric("eval_loss", series.last)
        return
    value, step, results = current
    if results is not None:
        stale = words.t("report.results.stale_short") if results.stale else None
        builder.add_metric("eval_loss", value, source=results.file, note=stale)
    else:
        note = words.t("report.note.at_step", step=int(step)) if math.isfinite(step) and not run.counted_rows else None
        builder.add_metric("eval_loss", value, note=note)
    if run.stage not in NO_PERPLEXITY and value < 700:
        builder.add_metric("perplexity", math.exp(value), derived=True, note=words.t("report.note.perplexity"))
    if series is not None and series.finite > 1 and series.min < value and not run.counted_rows:
        note = words.t("report.note.at_step", step=int(series.min_step))
        builder.add_metric(
            "eval_loss", series.min, code="best_eval_loss", label=words.t("report.fact.best_eval_loss"), note=note
        )
    gap = builder.judgement.ratings.get("gap")
    if gap is not None:
        builder.add_metric("gap", gap.value, derived=True, note=words.t("report.note.gap"))
