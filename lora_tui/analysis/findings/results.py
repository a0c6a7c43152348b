"""Findings about evaluations and predictions: their data, their size, and results that cannot be right.

The docstring of each function states its rule.
"""

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
"""Minimum number of predictions for a statement about a share of them."""
MIN_DEGENERATE = 3
"""Minimum number of degenerate predictions for a finding."""
DEGENERATE_SHARES = {"empty": 0.05, "repeats": 0.10, "limit": 0.20, "echo": 0.10}
"""Minimum share of the predictions for a finding, by the kind of degenerate prediction."""
NEAR_LIMIT = 0.6
"""Share of the limit from which an estimated length may be the limit, since tokens are only estimated."""
LONG_QUANTILE = 0.98
"""Share of the predictions whose greatest length replaces a limit that is not known."""
MIN_LIMIT_TOKENS = 32
"""Number of tokens below which a length is no limit, since short answers often have equal lengths."""
TIMES_LABELS = 3.0
"""Factor by which cut predictions must be more frequent than labels that look cut."""
SCORES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
"""Names of the scores that LLaMA-Factory computes, without their split."""
HIGH_BLEU = 50.0
"""BLEU-4 from which a ROUGE-L below LOW_ROUGE is impossible."""
LOW_ROUGE = 20.0
"""ROUGE-L below which a BLEU-4 of HIGH_BLEU or more is impossible."""
MIN_SCORED = 5
"""Minimum number of samples for comparing scores with each other."""


@finding("evaluated_on_training_data", "warning", rank=260)
def evaluated_on_training_data(collector: FindingCollector) -> None:
    """Find ``evaluated_on_training_data``: an evaluation or prediction used a data set that was trained on.

    No part of the data set was held back for it. The proof is in the options, or in the log of a job that loaded only
    training data, and more of it than the training had held back.
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
    """Return whether a run has evaluated or predicted, or is configured to."""
    if not source.timeline.rows or any(split in source.results() for split in ("eval", "predict")):
        return True
    if any(name.startswith("eval_") for name in source.series):
        return True
    planned = source.config.get("eval_strategy")
    return planned is not None and planned.value not in (None, "no")


@finding("degenerate_predictions", "warning", rank=270)
def degenerate_predictions(collector: FindingCollector) -> None:
    """Find ``degenerate_predictions``: too many predictions are empty, repetitive, cut, or echoes of the prompt.

    Of at least 10 predictions, at least 3 and 5 % are empty, or 10 % repeat eight words five times although the label
    does not, or 20 % are cut, or 10 % repeat the prompt.

    A prediction is cut if it ends in the middle of a sentence with at least 60 % of ``max_new_tokens``. If that option
    is not known, it is replaced by the length that 98 % of the predictions do not exceed, if that is at least 32
    tokens. Cut predictions must be three times as frequent as labels that look cut. Lengths in tokens are estimated
    from the characters.
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
    """Return the number of predictions that seem to be cut by the limit of new tokens (``limit``, None if unknown)."""
    top = limit if limit is not None else _quantile(predictions, LONG_QUANTILE)
    if top < MIN_LIMIT_TOKENS:
        return 0
    bound = NEAR_LIMIT * top
    ends = sum(count for length, count in predictions.open_ends.items() if length >= bound)
    labels = sum(count for length, count in predictions.open_labels.items() if length >= bound)
    return ends if ends >= TIMES_LABELS * labels else 0


def _quantile(predictions: Predictions, share: float) -> float:
    """Return the estimated length in tokens that this share of the predictions does not exceed, 0 without any."""
    wanted = share * sum(predictions.lengths.values())
    seen = 0
    for length in sorted(predictions.lengths):
        seen += predictions.lengths[length]
        if seen >= wanted:
            return float(length)
    return 0.0


@finding("scores_inconsistent", "warning", rank=280)
def scores_inconsistent(collector: FindingCollector) -> None:
    """Find ``scores_inconsistent``: scores that no set of texts can have.

    On at least 5 samples, all scores are exactly 0, or BLEU-4 or ROUGE-1 is exactly 0 and others are not, or BLEU-4 is
    at least 50 and ROUGE-L below 20. It is not found if the predictions are known to be empty.
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
    """Find ``few_eval_samples``: an evaluation or prediction has fewer than 50 samples. The smallest is reported."""
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
    """Return the number of samples of the evaluations during training, None if its log does not state it."""
    setting, trained = run.config.get("eval_examples"), run.config.get("num_examples")
    if setting is None or trained is None or setting.source != trained.source or not isinstance(setting.value, int):
        return None
    return setting.value
