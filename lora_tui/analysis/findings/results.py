"""Findings about evaluations and predictions: what they were made on, and whether they can be right. The docstring of
each function states its rule."""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.datasets import evaluated_on, overlap
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.statistics import rounded
from lora_tui.records.documents import Predictions
from lora_tui.runs.run import ResultSet, Run

MIN_PREDICTIONS = 10
"""Predictions below which a share of them says nothing."""
MIN_DEGENERATE = 3
"""Degenerate predictions below which nothing is said."""
DEGENERATE_SHARES = {"empty": 0.05, "repeats": 0.10, "limit": 0.20, "echo": 0.10}
"""Share of the predictions from which on each kind is a finding."""
NEAR_LIMIT = 0.6
"""Share of the limit beyond which an estimated length may be the limit: the tokens of a text are only estimated."""
LONG_QUANTILE = 0.98
"""Share of the predictions whose greatest length stands for a limit that is not known."""
MIN_LIMIT_TOKENS = 32
"""Tokens below which a length is no limit: short answers are alike in length by themselves."""
TIMES_LABELS = 3.0
"""Factor by which cut predictions must be more frequent than labels that look the same."""
SCORES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
HIGH_BLEU = 50.0
"""BLEU-4 from which on a ROUGE-L below LOW_ROUGE cannot be."""
LOW_ROUGE = 20.0
"""ROUGE-L below which a BLEU-4 of HIGH_BLEU cannot be."""
MIN_SCORED = 5
"""Samples below which scores are not compared with each other."""


@finding("evaluated_on_training_data", "warning", rank=260)
def evaluated_on_training_data(collector: FindingCollector) -> None:
    """Find ``evaluated_on_training_data``: a data set of the evaluation or prediction was trained on, and no part of it
    was held back.

    Options prove it, or a log of a job that loaded training data only, and more of it than the training had held back.
    """
    for source in (collector.run, *collector.run.linked):
        names = overlap(collector.run, source)
        if not names or not _evaluates(source):
            continue
        evaluated = evaluated_on(source)
        every = evaluated is not None and not evaluated.names - names
        collector.add(
            "evaluated_on_training_data",
            {"names": ", ".join(sorted(names)), "job": source.name if source is not collector.run else None},
            variant="" if every else "partly",
        )  # fmt: skip
        return


def _evaluates(source: Run) -> bool:
    """Return whether it has evaluated or predicted, or is about to."""
    if not source.timeline.rows or any(split in source.results() for split in ("eval", "predict")):
        return True
    if any(name.startswith("eval_") for name in source.series):
        return True
    planned = source.config.get("eval_strategy")
    return planned is not None and planned.value not in (None, "no")


@finding("degenerate_predictions", "warning", rank=270)
def degenerate_predictions(collector: FindingCollector) -> None:
    """Find ``degenerate_predictions``.

    Of at least 10 predictions: 5 % empty, 10 % saying the same eight words five times (where the label does not), 20 %
    cut at the longest length, or 10 % repeating the question; at least 3 of them.

    Cut means: ends in the middle of a sentence, at 60 % and more of ``max_new_tokens`` or, where that is not known, of
    the length that 98 % do not exceed (and that is at least 32 tokens); and three times as frequent as labels that look
    so. Lengths in tokens are estimated from the characters.
    """
    for source in (collector.run, *collector.run.linked):
        predictions = source.predictions
        results = source.results().get("predict")
        if predictions is None or predictions.kind != "text" or predictions.count < MIN_PREDICTIONS:
            continue
        if results is not None and results.stale:
            continue
        limit = run_facts.number(source, "max_new_tokens")
        counts = {
            "empty": predictions.empty, "repeats": predictions.repeats, "limit": cut_off(predictions, limit),
            "echo": predictions.echoes,
        }  # fmt: skip
        ranked = sorted(counts, key=lambda name: -counts[name] / DEGENERATE_SHARES[name])
        worst = ranked[0]
        if counts[worst] < MIN_DEGENERATE or counts[worst] < DEGENERATE_SHARES[worst] * predictions.count:
            continue
        evidence: dict[str, Param | None] = {
            **counts, "count": predictions.count, "bad": counts[worst],
            "percent": round(100 * counts[worst] / predictions.count),
            "max_new_tokens": int(limit) if limit is not None else None,
            "line": next((bad.line for bad in predictions.worst if bad.reason == worst), None),
            "job": source.name if source is not collector.run else None,
        }  # fmt: skip
        collector.add("degenerate_predictions", evidence, variant=worst)
        return


def cut_off(predictions: Predictions, limit: float | None) -> int:
    """Return how many predictions look as if the limit of new tokens had cut them."""
    top = limit if limit is not None else _quantile(predictions, LONG_QUANTILE)
    if top < MIN_LIMIT_TOKENS:
        return 0
    bound = NEAR_LIMIT * top
    ends = sum(count for length, count in predictions.open_ends.items() if length >= bound)
    labels = sum(count for length, count in predictions.open_labels.items() if length >= bound)
    return ends if ends >= TIMES_LABELS * labels else 0


def _quantile(predictions: Predictions, share: float) -> float:
    """Return the estimated length in tokens that this share of the predictions does not exceed."""
    wanted = share * sum(predictions.lengths.values())
    seen = 0
    for length in sorted(predictions.lengths):
        seen += predictions.lengths[length]
        if seen >= wanted:
            return float(length)
    return 0.0


@finding("scores_inconsistent", "warning", rank=280)
def scores_inconsistent(collector: FindingCollector) -> None:
    """Find ``scores_inconsistent``: scores that no set of texts has.

    All exactly 0, or some exactly 0 and others not, or a BLEU-4 of 50 and more with a ROUGE-L under 20; at least 5
    samples. Not where the predictions are known to be empty.
    """
    if any(found.variant == "empty" for found in collector.current("degenerate_predictions")):
        return
    for split, found, source in run_facts.result_sets(collector.run):
        scores = {name: found.values.get(f"{split}_{name}") for name in SCORES}
        known = {name: value for name, value in scores.items() if value is not None and math.isfinite(value)}
        count = run_facts.samples(found, split, source)
        if found.stale or len(known) < len(SCORES) or (count is not None and count < MIN_SCORED):
            continue
        zeros = sum(value == 0.0 for value in known.values())
        if zeros == len(known):
            variant = "zero"
        elif known["bleu-4"] == 0.0 or known["rouge-1"] == 0.0:
            variant = "one_zero"
        elif known["bleu-4"] >= HIGH_BLEU and known["rouge-l"] < LOW_ROUGE:
            variant = ""
        else:
            continue
        collector.add(
            "scores_inconsistent",
            {"bleu": rounded(known["bleu-4"]), "rouge1": rounded(known["rouge-1"]),
             "rouge2": rounded(known["rouge-2"]), "rougel": rounded(known["rouge-l"]), "split": split},
            variant=variant,
        )  # fmt: skip
        return


@finding("few_eval_samples", "info", rank=430)
def few_eval_samples(collector: FindingCollector) -> None:
    """Find ``few_eval_samples``: an evaluation or prediction on fewer than 50 samples; the smallest one is named."""
    smallest: tuple[int, str, ResultSet | None] | None = None
    for split, found, source in run_facts.result_sets(collector.run):
        count = run_facts.samples(found, split, source) if split != "train" and not found.stale else None
        if count is not None and (smallest is None or count < smallest[0]):
            smallest = count, split, found
    series = collector.run.series.get("eval_loss")
    if smallest is None and series is not None and series.finite and collector.step is not None:
        counted = _held_back(collector.run)
        smallest = (counted, "eval", None) if counted is not None else None
    if smallest is None or smallest[0] >= run_facts.FEW_SAMPLES:
        return
    count, split, results = smallest
    scored = results is not None and f"{split}_bleu-4" in results.values
    error = run_facts.BLEU_ERROR if scored else run_facts.EVAL_LOSS_ERROR
    known = scored or (results is None or "eval_loss" in results.values)
    collector.add(
        "few_eval_samples",
        {"count": count, "error": rounded(error / math.sqrt(count), 2) if known else None},
        variant="scores" if scored else "" if known and collector.stage in ("sft", "pt") else "other",
    )  # fmt: skip


def _held_back(run: Run) -> int | None:
    """Return the samples of the evaluation during the training, where its log counts them."""
    setting, trained = run.config.get("eval_examples"), run.config.get("num_examples")
    if setting is None or trained is None or setting.source != trained.source or not isinstance(setting.value, int):
        return None
    return setting.value
