"""The facts of a report in sections: training, metrics, configuration, forecast or outcome, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable

from lora_tui.analysis import Judgement, Rating
from lora_tui.analysis import run_facts as facts
from lora_tui.i18n import Words
from lora_tui.report.content.config_section import config
from lora_tui.report.content.outcome_section import checkpoint, forecast, outcome
from lora_tui.report.content.section_builder import Teller, last_rows, moment
from lora_tui.report.document import Section
from lora_tui.runs.files import LOG
from lora_tui.runs.run import Run
from lora_tui.runs.run_data import NO_PERPLEXITY
from lora_tui.runs.status import whole_speed
from lora_tui.text.numbers import fixed4
from lora_tui.wording.values import percent, shown, with_unit


def sections(run: Run, now: float, words: Words, judgement: Judgement) -> list[Section]:
    """All sections that have a fact."""
    teller = Teller(run, now, words, judgement)
    live = teller.status.live
    plan: tuple[tuple[str, Callable[[Teller], None]], ...] = (
        ("training", _training), ("metrics", _metrics), ("config", config),
        ("forecast", forecast) if live else ("outcome", outcome), ("checkpoint", checkpoint),
    )  # fmt: skip
    out = []
    for code, tell in plan:
        teller.out = []
        tell(teller)
        if teller.out:
            job = f"report.section.job_{code}"
            key = job if not teller.trained and words.has(job) else f"report.section.{code}"
            out.append(Section(code=code, title=words.t(key), facts=teller.out))
    return out


def _training(t: Teller) -> None:
    run, words, status, progress = t.run, t.words, t.status, t.progress
    t.add("state", words.state(status))
    if status.live:
        t.add("seen_at", moment(words, t.now))
    ended = run.last_row_time if status.state in ("finished", "stopped") and t.trained else None
    ended = ended if ended is not None else run.activity
    if not status.live and ended is not None:
        code = {"failed": "failed_at", "interrupted": "last_sign", "stopped": "stopped_at"}.get(
            status.state, "finished_at"
        )
        t.add(code, moment(words, ended))
    if progress.elapsed_s:
        note = words.n("report.segments", progress.segments) if progress.segments > 1 else None
        code = "elapsed" if status.live else "duration" if t.trained else "took"
        t.add(code, words.duration(progress.elapsed_s, "long"), note=note)
    _steps(t)
    _speed(t)
    tokens = run.series.get("total_tokens")
    if tokens is not None and tokens.finite:
        t.add("total_tokens", f"{tokens.tail(1)[0]:,.0f}", label=words.metric("total_tokens"), note=_passes(t))


def _speed(t: Teller) -> None:
    """While it runs the speed of the last rows, at the end that of the whole run."""
    words, progress = t.words, t.progress
    if t.status.live:
        steps, tokens, how = progress.steps_per_s, progress.tokens_per_s, "report.note.speed_now"
    else:
        steps, tokens = whole_speed(t.run, progress)
        how = "report.note.speed"
    speed = [with_unit(words, name, value) for name, value in (("steps_per_s", steps), ("throughput", tokens)) if value]
    if speed:
        t.add("speed", words.t("list.separator").join(speed), derived=True, note=words.t(how))


def _passes(t: Teller) -> str | None:
    rating = t.judgement.ratings.get("total_tokens")
    if rating is None or "a_pass" not in rating.params or float(rating.params.get("epochs", 0)) <= 1:
        return None
    return t.words.t("report.note.passes", **rating.params)


def _steps(t: Teller) -> None:
    progress, words = t.progress, t.words
    total, step = progress.total_steps, progress.step
    if progress.unit == "batches":
        if step is not None:
            t.add("batches", f"{step}/{total}" if total else str(step))
        return
    if step is not None:
        source = LOG if LOG in t.run.files.tables else None
        if total is None or (step >= total and not t.status.live):
            t.add("steps", words.t("report.steps_total", n=step), source=source)
        else:
            done = percent(words, math.floor(100 * (progress.fraction or 0.0)) / 100)
            t.add("steps", words.t("report.steps_of", step=step, total=total, done=done), source=source)
    if progress.epoch is not None:
        of = progress.total_epochs if t.status.live else None
        parts = [words.number(round(value, 2)) for value in (progress.epoch, of) if value is not None]
        t.add("epochs", " / ".join(parts), label=words.metric("epoch"))


# -- metrics ----------------------------------------------------------------------------------------------------------


def _metrics(t: Teller) -> None:
    run, words = t.run, t.words
    results = run.results()
    train = results.get("train")
    if train is not None and not train.stale and "train_loss" in train.values:
        note = words.t("report.note.train_loss_resumed") if run.segments > 1 else None
        t.metric("train_loss", train.values["train_loss"], note=note, source=train.file)
    _last_loss(t)
    _evaluation(t)
    for name in ("reward", "rewards/accuracies", "accuracy", "eval_rewards/accuracies", "eval_accuracy",
                 "rewards/margins", "eval_rewards/margins", "kl"):  # fmt: skip
        series = run.series.get(name)
        if series is None or not series.finite or (name == "accuracy" and "rewards/accuracies" in run.series):
            continue
        rating = t.judgement.ratings.get(name)
        if rating is not None and name.endswith(("accuracy", "accuracies")):
            # The rating's own mean over enough pairs.
            t.metric(name, rating.value, derived=not name.startswith("eval_"), note=_pairs(t, rating))
            continue
        size = 1 if name.startswith("eval_") else last_rows(series.finite)
        t.metric(name, facts.median(series.tail(size)), note=_of_rows(t, size), derived=size > 1)
    for split, found, source in facts.result_sets(run):
        if split != "predict":
            continue
        note = words.t("report.results.stale_short") if found.stale else None
        for topic in ("bleu-4", "rouge-1", "rouge-2", "rouge-l", "accuracy", "loss"):
            t.metric(f"predict_{topic}", found.values.get(f"predict_{topic}"), source=found.file, note=note)
        count = facts.samples(found, split, source)
        if count is not None:
            _samples(t, "predict_samples", count, source)


def _pairs(t: Teller, rating: Rating) -> str | None:
    pairs = rating.params.get("pairs")
    return t.words.t("report.note.pairs", n=pairs) if pairs and not rating.metric.startswith("eval_") else None


def _samples(t: Teller, code: str, count: int, source: Run) -> None:
    read = source.predictions is not None and bool(source.predictions.count)
    note = None if read else t.words.t("report.note.samples")
    t.add(code, t.words.t("report.samples", n=count), derived=not read, note=note)


def _of_rows(t: Teller, size: int) -> str | None:
    return t.words.t("report.note.median", n=size) if size > 1 else None


def _last_loss(t: Teller) -> None:
    """The loss at the end (or now): the median of the last rows. Apart from the mean of the whole run."""
    series = t.run.series.get("loss")
    if series is None or not len(series):
        return
    code = "loss_now" if t.status.live else "loss_end"
    last = series.values[-1]
    if not series.finite or not math.isfinite(last):
        t.add(code, shown(t.words, "loss", last))
        return
    size = last_rows(series.finite)
    note = _of_rows(t, size)
    if size == 1 and series.last_step is not None and not t.run.counted_rows:
        note = t.words.t("report.note.at_step", step=int(series.last_step))
    t.add(code, fixed4(facts.median(series.tail(size))), note=note, derived=size > 1)


def _evaluation(t: Teller) -> None:
    run, words = t.run, t.words
    series = run.series.get("eval_loss")
    current = facts.last_eval(run, t.status)
    if current is None:
        if series is not None and series.last is not None:
            t.metric("eval_loss", series.last)
        return
    value, step, results = current
    if results is not None:
        stale = words.t("report.results.stale_short") if results.stale else None
        t.metric("eval_loss", value, source=results.file, note=stale)
    else:
        note = words.t("report.note.at_step", step=int(step)) if math.isfinite(step) and not run.counted_rows else None
        t.metric("eval_loss", value, note=note)
    if run.stage not in NO_PERPLEXITY and value < 700:
        t.metric("perplexity", math.exp(value), derived=True, note=words.t("report.note.perplexity"))
    if series is not None and series.finite > 1 and series.min < value and not run.counted_rows:
        note = words.t("report.note.at_step", step=int(series.min_step))
        t.metric("eval_loss", series.min, code="best_eval_loss", label=words.t("report.fact.best_eval_loss"), note=note)
    gap = t.judgement.ratings.get("gap")
    if gap is not None:
        t.metric("gap", gap.value, derived=True, note=words.t("report.note.gap"))
