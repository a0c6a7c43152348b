"""Explain each metric of the training log and of the results files, and sum them up in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from lora_tui.analysis import Judgement, Rating, metric, run_facts
from lora_tui.i18n import Words
from lora_tui.report.document import MetricEntry, ResultsSection
from lora_tui.report.status_json import json_number
from lora_tui.runs.run import ResultSet, Run
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import badge, format_metric, format_with_unit, join_sentences, unit_name

_TRAINING_ORDER = (
    "loss", "grad_norm", "lr", "epoch", "total_tokens", "num_tokens", "num_input_tokens_seen", "throughput",
    "steps_per_s", "samples_per_s", "trainable_percent", "eval_loss", "perplexity", "gap", "reward",
    "rewards/accuracies", "accuracy", "eval_rewards/accuracies", "eval_accuracy", "rewards/margins",
    "eval_rewards/margins", "rewards/chosen", "rewards/rejected", "eval_rewards/chosen", "eval_rewards/rejected", "kl",
    "mean_token_accuracy", "entropy",
)  # fmt: skip
"""Reading order of the log's metrics. Other explained metrics follow."""
_RESULTS_ORDER = (
    "bleu-4", "rouge-1", "rouge-2", "rouge-l", "loss", "accuracy", "rewards/accuracies", "rewards/margins",
    "model_preparation_time", "runtime", "samples_per_second", "steps_per_second",
)  # fmt: skip
_DERIVED = frozenset({"perplexity", "gap", "steps_per_s", "samples_per_s"})
_SCORES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
Split = Literal["train", "eval", "predict"]


def training_entries(run: Run, judgement: Judgement, words: Words) -> list[MetricEntry]:
    """Return an entry for every metric of the log that has an explanation, in reading order."""
    ratings = judgement.ratings
    names = [name for name in _TRAINING_ORDER if name in run.series or name in ratings]
    names += [
        name for name in run.series if name not in names and metric(name).known and metric(name).place != "results"
    ]
    if "rewards/accuracies" in names and "accuracy" in names:
        # LLaMA-Factory logs the same number under both names.
        names.remove("accuracy")
    return [entry for name in names if (entry := _training(run, ratings, words, name)) is not None]


def _training(run: Run, ratings: Mapping[str, Rating], words: Words, name: str) -> MetricEntry | None:
    series, rating = run.series.get(name), ratings.get(name)
    last = rating.value if rating is not None else series.last if series is not None else None
    if last is None:
        return None
    sentences = [_change(run, words, name, rating)]
    if name == "lr" and rating is not None and series is not None and series.finite:
        sentences.append(words.t("report.lr_now", last=series.tail(1)[0]))
    if series is not None and series.nonfinite:
        sentences.append(words.n("report.nonfinite", series.nonfinite))
    label = words.t("report.peak_lr") if name == "lr" and rating is not None else words.metric(name)
    return _entry(words, name, label, last, rating, sentences)


def _change(run: Run, words: Words, name: str, rating: Rating | None) -> str:
    """Return sentences on the change from the first to the last value and on the extreme between them.

    What the text of the rating already contains is left out.
    """
    series, which = run.series.get(name), metric(name).direction
    if series is None or series.finite < 2 or name in ("lr", "epoch", "throughput") or metric(name).group == "setting":
        return ""
    if "tokens" in name or (name == "grad_norm" and rating is not None):
        return ""
    sentences = []
    first, last = run_facts.head(series, 1)[0], series.tail(1)[0]
    if rating is None or "first" not in rating.params:
        texts = {"first": format_metric(words, name, first), "last": format_metric(words, name, last)}
        sentences.append(words.t("report.course", **texts))
    best, at = (series.max, series.max_step) if which == "higher" else (series.min, series.min_step)
    if which != "none" and best != last and series.finite > 2 and not run.counted_rows and math.isfinite(at):
        key = "report.highest" if which == "higher" else "report.lowest"
        sentences.append(words.t(key, best=format_metric(words, name, best), step=int(at)))
    return join_sentences(words, *sentences)


def _entry(
    words: Words, name: str, label: str, value: float, rating: Rating | None, sentences: Iterable[str] = ()
) -> MetricEntry:
    verdict = words.rating(rating) if rating is not None else ""
    if rating is not None:
        level = words.level(rating) if rating.level is not None else None
        key = "report.verdict" if level is not None else "report.verdict_plain"
        head = words.t(key, value=format_with_unit(words, name, value), level=level or "", verdict=verdict)
        analysis = join_sentences(words, head, words.explanation(rating), *sentences)
    else:
        level = None
        analysis = join_sentences(
            words, words.t("report.unrated", value=format_with_unit(words, name, value)), *sentences
        )
    return MetricEntry(
        name=clean(name),
        label=label,
        value=json_number(value),
        shown=format_metric(words, name, value),
        unit=unit_name(words, name),
        group=metric(name).group,
        meaning=words.meaning(name),
        level=rating.level if rating is not None else None,
        level_text=level,
        confidence=rating.confidence if rating is not None and level is not None else None,
        mark=badge(rating),
        verdict=verdict,
        analysis=analysis,
        reservations=[words.reservation(code) for code in rating.reservations] if rating is not None else [],
        derived=name in _DERIVED,
    )


def training_summary(words: Words, entries: Sequence[MetricEntry]) -> list[str]:
    """Return a sentence for each rated metric of the log, then one for each reservation."""
    lines = [
        words.t("report.summary", label=entry.label, verdict=entry.verdict)
        for entry in entries
        if entry.verdict and (entry.level is not None or entry.name == "trainable_percent")
    ]
    return [*lines, *dict.fromkeys(doubt for entry in entries for doubt in entry.reservations)]


# -- results ----------------------------------------------------------------------------------------------------------


def results_sections(run: Run, judgement: Judgement, words: Words) -> list[ResultsSection]:
    """Return a section for each results file, predictions first."""
    return [_results(run, judgement, words, cast(Split, split), found, source)
            for split, found, source in run_facts.result_sets(run)]  # fmt: skip


def _results(
    run: Run, judgement: Judgement, words: Words, split: Split, found: ResultSet, source: Run
) -> ResultsSection:
    ordered = [f"{split}_{topic}" for topic in _RESULTS_ORDER if f"{split}_{topic}" in found.values]
    ordered += [key for key in sorted(found.values) if key not in ordered and key.startswith(f"{split}_")]
    metrics = []
    for key in ordered:
        # A metric that the log has as well is rated by the log, so its rating may be of another value.
        rating = judgement.ratings.get(key)
        same = rating is not None and (rating.value == found.values[key] or found.values[key] != found.values[key])
        value = found.values[key]
        took = [words.t("report.took", time=words.duration(value, "long"))] if _takes_minutes(key, value) else []
        metrics.append(_entry(words, key, words.metric(key), value, rating if same else None, took))
        if key == "eval_loss" and same and "perplexity" in judgement.ratings:
            ppl = judgement.ratings["perplexity"]
            metrics.append(_entry(words, "perplexity", words.metric("perplexity"), ppl.value, ppl))
    notes = []
    if found.stale:
        notes.append(words.t("report.results.stale"))
    count = run_facts.samples(found, split, source) if split != "train" else None
    if count is not None:
        notes.append(words.n("report.results.samples", count))
    doubts = [words.reservation(code) for code in _reservations(judgement, metrics) if code != "stale_results"]
    return ResultsSection(
        split=split, title=words.t(f"report.results.{split}"), file=clean(found.file),
        run=clean(source.name) if source is not run else None, stale=found.stale, notes=notes, metrics=metrics,
        summary=[*_results_summary(words, split, metrics), *doubts],
    )  # fmt: skip


def _takes_minutes(key: str, value: float) -> bool:
    return key.endswith("_runtime") and math.isfinite(value) and value >= 60


def _reservations(judgement: Judgement, metrics: Sequence[MetricEntry]) -> list[str]:
    """Return the codes of all reservations about the metrics of a file, each once."""
    rated = [judgement.ratings[entry.name] for entry in metrics if entry.name in judgement.ratings]
    return list(dict.fromkeys(code for rating in rated for code in rating.reservations))


def _results_summary(words: Words, split: str, metrics: Sequence[MetricEntry]) -> list[str]:
    scores = [entry for entry in metrics if entry.name in {f"{split}_{topic}" for topic in _SCORES}]
    alike = len(scores) > 1 and len({entry.level for entry in scores}) == 1
    out = []
    for entry in metrics:
        if not entry.verdict or (entry.level is None and entry.name != "train_loss"):
            continue
        label = f"{entry.label} {entry.shown}"
        if alike and entry in scores:
            if entry is not scores[0]:
                continue
            label = words.t("list.separator").join(f"{score.label} {score.shown}" for score in scores)
        out.append(words.t("report.summary", label=label, verdict=entry.verdict))
    return out
