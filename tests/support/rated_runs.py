"""Make runs for tests of single rating rules, and return their ratings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.analysis.judgement import Rating
from lora_tui.analysis.ratings.rate import rate
from lora_tui.records.documents import LogRow, Predictions
from lora_tui.records.updates import FileDoc
from lora_tui.runs.run import Run
from tests.support.run_builder import START, run_of, summary, train

SOON, LATER = START + 5, START + 100_000
"""Unix times shortly after the last row, and long after the end of the run."""
SFT = {"stage": "sft", "finetuning_type": "lora"}
DPO = {"stage": "dpo", "finetuning_type": "lora"}
KTO = {"stage": "kto", "finetuning_type": "lora"}
KNOWN_DATA = {**SFT, "dataset": "mine", "eval_dataset": "held_out"}
SIBLING_CONFIG = {
    "stage": "sft", "model_name_or_path": "org/Base", "dataset": "d", "val_size": 0.1, "seed": 42,
    "finetuning_type": "lora", "cutoff_len": 512, "num_devices": 1, "total_train_batch_size": 8,
}  # fmt: skip


def rows_of(losses: Sequence[float], total: int | None = None, **more: Any) -> list[LogRow]:
    """Return rows of 10 steps each; ``more``: other metrics, each a list as long as the losses or one number."""
    out = []
    for i, loss in enumerate(losses):
        extra = {name: given[i] if isinstance(given, list) else given for name, given in more.items()}
        out.append(train(10 * (i + 1), loss, total or 10 * len(losses), **extra))
    return out


def metric_rows(count: int, total: Any = None, **more: Any) -> list[LogRow]:
    """Return rows of 10 steps each with a level loss and these other metrics."""
    return rows_of([0.5] * count, total, **more)


def rate_rows(
    rows: Sequence[LogRow],
    config: Mapping[str, Any] = SFT,
    findings: Collection[str] = (),
    context: Context = PLAIN,
    now: float = SOON,
    **more: Any,
) -> dict[str, Any]:
    """Return the ratings of a run of these rows; ``more``: see :func:`tests.support.run_builder.run_of`."""
    return rate(run_of(rows, config=config, **more), now, findings, context)


def verdict(rating: Rating) -> tuple[str | None, str, str]:
    """Return level, words and confidence of a rating."""
    return rating.level, rating.words, rating.confidence


def eval_row(step: int, values: Mapping[str, float], total: int = 800) -> LogRow:
    """Return the row of an evaluation with all of its metrics."""
    return LogRow("eval", step, values, total, 3.0 * step / total, float(step))


def halves(before: float, after: float, count: int = 40) -> list[float]:
    """Return ``count`` losses, the first half ``before``, the second half ``after``."""
    return [before] * (count // 2) + [after] * (count - count // 2)


def rate_loss(
    losses: Sequence[float], config: Mapping[str, Any] = SFT, findings: Collection[str] = (), total: int | None = None
) -> Any:
    """Return the rating of the loss."""
    return rate_rows(rows_of(losses, total), config, findings)["loss"]


def rate_gradient(
    norms: Sequence[float], losses: float | list[float] = 2.0, findings: Collection[str] = (), first: int = 11
) -> Any:
    """Return the rating of the gradient norm, one row a step from step ``first`` on."""
    given = losses if isinstance(losses, list) else [losses] * len(norms)
    rows = [train(first + i, given[i], 10_000, grad_norm=norm) for i, norm in enumerate(norms)]
    return rate_rows(rows, findings=findings)["grad_norm"]


def timed_rows(gaps: Sequence[float], **more: float) -> list[LogRow]:
    """Return rows of 10 steps with these seconds between them."""
    clock, rows = 0.0, []
    for i, gap in enumerate(gaps):
        clock += gap
        rows.append(train(10 * (i + 1), 1.0, 10 * len(gaps), **more)._replace(elapsed_s=clock))
    return rows


def rows_with_evals(*losses: float, base: float = 1.0, total: int = 800, **more: float) -> list[LogRow]:
    """Return 20 rows of loss ``base`` before each evaluation; ``more``: other metrics of the evaluations."""
    out = []
    for place, loss in enumerate(losses):
        for i in range(20):
            out.append(train(200 * place + 10 * (i + 1), base, total))
        out.append(eval_row(200 * (place + 1), {"eval_loss": loss, **more}, total))
    return out


def rate_ended(
    *losses: float,
    base: float = 1.0,
    config: Mapping[str, Any] = SFT,
    findings: Collection[str] = (),
    results: Mapping[str, Mapping[str, float]] | None = None,
    **more: float,
) -> dict[str, Any]:
    """Return the ratings of a finished run with these evaluations."""
    total = 200 * len(losses)
    rows = [*rows_with_evals(*losses, base=base, total=total, **more), summary(total, total)]
    return rate_rows(rows, config, findings, now=LATER, ended=True, results=results)


def rate_results(
    values: Mapping[str, float],
    config: Mapping[str, Any] = KNOWN_DATA,
    findings: Collection[str] = (),
    count: int | None = None,
    split: str = "predict",
    **more: Any,
) -> dict[str, Any]:
    """Return the ratings of a results file; ``count``: lines of the predictions beside it."""
    given = {f"{split}_{name}": value for name, value in values.items()}
    run = run_of([], results={split: given}, config=config, **more)
    if count is not None:
        run.apply([FileDoc("generated_predictions.jsonl", Predictions(count=count), START + 3)])
    return rate(run, LATER, findings)


def finished_run(
    name: str, loss: float | None = 1.0, scores: Mapping[str, Mapping[str, float]] | None = None, rows: int = 20,
    every_s: float = 0.1, over: bool = True, evals: Sequence[float] = (), age: float = 0.0, samples: int = 1000,
    tokens: float | None = None, **config: Any,
) -> Run:  # fmt: skip
    """Return a finished run of 10 steps a row, with an evaluation of ``loss`` at its end, for comparison with siblings.

    ``config``: options other than SIBLING_CONFIG's; None leaves one out.
    """
    total = 10 * rows
    out = []
    for i in range(rows):
        more = {} if tokens is None else {"total_tokens": tokens * (i + 1)}
        out.append(train(10 * (i + 1), 1.0, total, every_s=every_s, **more))
    out += [LogRow("eval", total, {"eval_loss": value}, total, 3.0, total * every_s) for value in evals]
    results: dict[str, dict[str, float]] = {}
    if loss is not None:
        results["eval"] = {"eval_loss": loss, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
    for split, values in (scores or {}).items():
        given = {f"{split}_{metric}": value for metric, value in values.items()}
        speed = {f"{split}_runtime": 100.0, f"{split}_samples_per_second": samples / 100}
        results[split] = {**results.get(split, {}), **given, **speed}
    options = {key: value for key, value in {**SIBLING_CONFIG, **config}.items() if value is not None}
    if over:
        out.append(summary(total, total, every_s=every_s))
    run = run_of(out, config=options, results=results, ended=over, results_age=age)
    run.name = name
    return run


def rate_beside(run: Run, *others: Run, now: float = START + 1e6, findings: Collection[str] = ()) -> dict[str, Any]:
    """Return the ratings of a run with these siblings."""
    return rate(run, now, findings, Context(siblings=others))
