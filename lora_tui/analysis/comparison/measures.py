"""Measures that runs are compared by: how each is read from a run, with its own noise.

Errors are standard errors in the unit of the measure; None where the files do not give one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from lora_tui.analysis import run_facts
from lora_tui.analysis.similarity import Setup, all_true, prediction_set, same, setup_of
from lora_tui.analysis.stages import LANGUAGE_STAGES
from lora_tui.analysis.statistics import MEDIAN_ERROR, WINDOW_CAP, median, noise
from lora_tui.runs.run import Progress, ResultSet, Run, Status
from lora_tui.runs.series import Series

Family = Literal["loss", "evaluation", "score", "preference", "reward", "speed", "fact"]
"""What a measure rests on, and so what makes it unfair."""
MIN_EVALS = 5
"""Evaluations that show their own noise."""
KNOWN_NOISE_SHARE = 0.005
"""Share of a loss below which a difference is none, where its noise is known."""
UNKNOWN_NOISE_SHARE = 0.02
"""Share of a loss below which a difference is none, where its noise is not known."""
SPEED_SHARE = 0.05
"""Share of a speed below which a difference is none."""


@dataclass(frozen=True)
class Value:
    """One measure of one run."""

    value: float
    step: int | None = None
    error: float | None = None
    samples: int | None = None
    """How many samples it was measured on, where that is known."""
    stale: bool = False
    """Whether it belongs to an earlier attempt in the same directory."""


@dataclass(frozen=True)
class Side:
    """One of the compared runs, at one moment."""

    run: Run
    status: Status
    progress: Progress
    setup: Setup
    findings: tuple[str, ...] = ()
    """Codes of its critical findings and warnings, the worst first."""
    results: dict[str, tuple[ResultSet, Run]] = field(default_factory=dict)
    """Results by split, each with the run in whose directory they lie."""

    @property
    def broken(self) -> bool:
        """Whether its weights are NaN, so that what it logs since says nothing."""
        return any(code in ("dead_run", "nan_loss") for code in self.findings)

    @property
    def ended(self) -> bool:
        """Whether its training is over as planned."""
        return run_facts.final(self.status)

    def series(self, name: str) -> Series | None:
        """Return a series with at least one value, or None."""
        found = self.run.series.get(name)
        return found if found is not None and len(found) else None


def side_of(run: Run, now: float, findings: tuple[str, ...]) -> Side:
    """Return the run at a moment (Unix time), ready to be compared."""
    results = {split: (found, source) for split, found, source in run_facts.result_sets(run)}
    return Side(run, run.status(now), run.progress(now), setup_of(run), findings, results)


@dataclass(frozen=True)
class Spec:
    """One measure: how it is read from a run, and what it rests on."""

    code: str
    """Also the key of its words (``compare.measure.<code>``)."""
    metric: str
    """Name in :data:`lora_tui.analysis.metrics.METRICS`, which has unit and direction."""
    family: Family
    read: Callable[[Side], Value | None] | None
    """Function that reads it; None: it is not read from one run alone."""
    wins: bool = True
    """Whether a better value is worth a win; else it is only shown."""
    final: bool = True
    """Whether it stands for the end of the run, so that runs which are still under way cannot be compared by it."""


def level_at(series: Series, step: float) -> Value | None:
    """Return the level of a noisy series at its end, or before a step: the median of 5 % of its rows, 3 to 50 of
    them."""
    rows = [(at, v) for at, v in zip(series.steps, series.values, strict=True) if at <= step]
    finite = [v for _, v in rows[-200:] if math.isfinite(v)]
    if not rows:
        return None
    if not math.isfinite(rows[-1][1]) or not finite:
        return Value(math.nan, int(rows[-1][0]))
    part = finite[-min(max(3, len(rows) // 20), WINDOW_CAP) :]
    error = MEDIAN_ERROR * noise(finite) / math.sqrt(len(part)) if len(finite) >= 5 else None
    return Value(median(part), int(rows[-1][0]), error)


def observed_eval_noise(series: Series) -> float | None:
    """Return the noise of one evaluation from second differences; None if they are few, or their curve is too bent to
    tell.

    Second differences are blind to a slope, not to a bend, and a falling loss bends one way all along: where all of
    them have one sign, they show the bend, and the noise is below the least of them.
    """
    recent = series.tail(30)
    if len(recent) < MIN_EVALS:
        return None
    # The first evaluations stand on the steep part of the curve.
    recent = recent[-max(MIN_EVALS, len(recent) * 2 // 3) :]
    bends = [a - 2 * b + c for a, b, c in zip(recent, recent[1:], recent[2:], strict=False)]
    sizes = [abs(bend) for bend in bends]
    if max(bends) > 0 > min(bends) or not any(bends):
        return 1.4826 * median(sizes) / math.sqrt(6)
    return 1.4826 * min(sizes) / math.sqrt(6) if len(sizes) >= MIN_EVALS else None


def eval_error(side: Side) -> float | None:
    """Return the noise of this run's evaluations, or None."""
    series = side.series("eval_loss")
    return None if series is None else observed_eval_noise(series)


def eval_last(side: Side) -> Value | None:
    """Return the current eval loss, or None."""
    found = run_facts.last_eval(side.run, side.status)
    if found is None:
        series = side.series("eval_loss")
        return None if series is None or series.last is None else Value(series.last, _step(series.last_step))
    value, step, results = found
    stale = results is not None and results.stale
    return Value(value, _step(step), eval_error(side), side.setup.eval_samples, stale)


def _eval_best(side: Side) -> Value | None:
    series = side.series("eval_loss")
    if series is None or not series.finite or side.broken:
        return None
    return Value(series.min, _step(series.min_step), eval_error(side), side.setup.eval_samples)


def _perplexity(side: Side) -> Value | None:
    last = eval_last(side)
    if last is None or side.setup.stage not in LANGUAGE_STAGES or not last.value < 700:
        return None
    value = math.exp(last.value)
    return Value(value, last.step, None if last.error is None else value * last.error, last.samples, last.stale)


def _gap(side: Side) -> Value | None:
    found = run_facts.gap(side.run, side.status) if side.setup.stage in LANGUAGE_STAGES and not side.broken else None
    return None if found is None else Value(found[0], error=found[1])


def score(name: str) -> Callable[[Side], Value | None]:
    """Return a function that reads a score of generated answers (``bleu-4``), of a prediction or else of an
    evaluation."""

    def read(side: Side) -> Value | None:
        for split in ("predict", "eval"):
            found, source = side.results.get(split, (None, None))
            value = found.values.get(f"{split}_{name}") if found is not None else None
            if found is None or source is None or value is None:
                continue
            count = run_facts.samples(found, split, source)
            error = run_facts.BLEU_ERROR / math.sqrt(count) if count else None
            return Value(value, None, error, count, found.stale)
        return None

    return read


def share(name: str) -> Callable[[Side], Value | None]:
    """Return a function that reads a share of pairs that were tokens apart: of the last evaluation, else of the last
    training rows."""

    def read(side: Side) -> Value | None:
        series = side.series(name)
        if series is None or not series.finite:
            return None
        if name.startswith("eval_"):
            value, count = series.tail(1)[0], side.setup.eval_samples
        else:
            recent = series.tail(max(5, min(len(series) // 10, WINDOW_CAP)))
            value = sum(recent) / len(recent)
            apart = series.steps[-1] - series.steps[-2] if len(series) > 1 else 1.0
            batch = side.setup.batch
            count = None if batch is None else int(len(recent) * batch * max(apart, 1.0))
        error = math.sqrt(max(value * (1 - value), 0.01) / count) if count else None
        return Value(value, _step(series.last_step), error, count)

    return read


def _level(name: str) -> Callable[[Side], Value | None]:
    def read(side: Side) -> Value | None:
        series = side.series(name)
        return None if series is None else level_at(series, math.inf)

    return read


def training_speed(run: Run) -> tuple[float | None, float | None]:
    """Return steps and tokens a second while it trained: evaluations left out, all attempts together; None under 5
    s."""
    steps = seconds = tokens = token_seconds = 0.0
    before: tuple[float, float] | None = None
    total = None
    for row in run.rows:
        if row.elapsed_s is None or row.step is None:
            continue
        here = (row.elapsed_s, float(row.step))
        if before is not None and row.kind == "train" and here[0] >= before[0] and here[1] > before[1]:
            steps += here[1] - before[1]
            seconds += here[0] - before[0]
            now = row.values.get("total_tokens")
            if now is not None and total is not None and now > total:
                tokens += now - total
                token_seconds += here[0] - before[0]
        total = row.values.get("total_tokens", total)
        before = here
    return (
        steps / seconds if seconds >= 5 else None,
        tokens / token_seconds if token_seconds >= 5 else None,
    )


def _steps_per_s(side: Side) -> Value | None:
    rate = training_speed(side.run)[0]
    return None if rate is None else Value(rate)


def _samples_per_s(side: Side) -> Value | None:
    rate, batch = training_speed(side.run)[0], side.setup.batch
    return None if rate is None or batch is None else Value(rate * batch)


def _tokens_per_s(side: Side) -> Value | None:
    rate = training_speed(side.run)[1]
    return None if rate is None else Value(rate)


def _epochs(side: Side) -> Value | None:
    return None if side.run.epoch is None else Value(side.run.epoch)


def _duration(side: Side) -> Value | None:
    return None if side.progress.elapsed_s is None else Value(side.progress.elapsed_s)


def _tokens(side: Side) -> Value | None:
    for name in ("total_tokens", "num_tokens", "num_input_tokens_seen"):
        series = side.series(name)
        if series is not None and series.finite:
            return Value(series.tail(1)[0])
    found = side.results.get("train")
    tokens = found[0].values.get("num_input_tokens_seen") if found is not None else None
    return None if tokens is None else Value(tokens)


def _checkpoint(side: Side) -> Value | None:
    sizes = [(item.step, item.size) for item in side.run.checkpoints() if item.complete and item.size > 0]
    return Value(float(max(sizes)[1]), max(sizes)[0]) if sizes else None


SPECS: tuple[Spec, ...] = (
    Spec("eval_best", "eval_loss", "evaluation", _eval_best),
    Spec("eval_last", "eval_loss", "evaluation", eval_last),
    Spec("perplexity", "perplexity", "evaluation", _perplexity),
    Spec("bleu", "predict_bleu-4", "score", score("bleu-4"), final=False),
    Spec("rouge1", "predict_rouge-1", "score", score("rouge-1"), final=False),
    Spec("rouge2", "predict_rouge-2", "score", score("rouge-2"), final=False),
    Spec("rougel", "predict_rouge-l", "score", score("rouge-l"), final=False),
    Spec("eval_accuracies", "eval_rewards/accuracies", "preference", share("eval_rewards/accuracies")),
    Spec("eval_accuracy", "eval_accuracy", "preference", share("eval_accuracy")),
    Spec("accuracies", "rewards/accuracies", "preference", share("rewards/accuracies")),
    Spec("accuracy", "accuracy", "preference", share("accuracy")),
    Spec("eval_margins", "eval_rewards/margins", "preference", _level("eval_rewards/margins"), wins=False),
    Spec("margins", "rewards/margins", "preference", _level("rewards/margins"), wins=False),
    Spec("reward", "reward", "reward", _level("reward")),
    Spec("loss_end", "loss", "loss", _level("loss")),
    Spec("gap", "gap", "evaluation", _gap, wins=False),
    Spec("samples_per_s", "train_samples_per_second", "speed", _samples_per_s, final=False),
    Spec("tokens_per_s", "throughput", "speed", _tokens_per_s, final=False),
    Spec("steps_per_s", "steps_per_s", "speed", _steps_per_s, final=False),
    Spec("duration", "train_runtime", "fact", _duration, wins=False, final=False),
    Spec("epochs", "epoch", "fact", _epochs, wins=False, final=False),
    Spec("tokens", "total_tokens", "fact", _tokens, wins=False, final=False),
    Spec("checkpoint", "checkpoint", "fact", _checkpoint, wins=False, final=False),
)
"""All measures in the order in which they are shown."""
EVAL_AT = Spec("eval_at", "eval_loss", "evaluation", None, final=False)
"""Eval loss at a step or epoch that all runs have reached, see :mod:`lora_tui.analysis.comparison.compare`."""
LOSS_AT = Spec("loss_at", "loss", "loss", None, final=False)
"""Train loss at a step or epoch that all runs have reached, see :mod:`lora_tui.analysis.comparison.compare`."""


def _step(step: float | None) -> int | None:
    return int(step) if step is not None and math.isfinite(step) else None


def significant_difference(spec: Spec, best: Value, other: Value, paired: bool) -> float | None:
    """Return the least difference that means something, or None where the noise is not known.

    Twice the standard error of the difference, and never less than a share of the value. ``paired``: both were measured
    on the same samples. Two runs that answered the same questions are taken to correlate by one half, which makes the
    error of their difference that of one of them (convention).
    """
    known = best.error is not None and other.error is not None
    first, second = best.error or 0.0, other.error or 0.0
    if spec.family == "speed":
        return SPEED_SHARE * abs(best.value)
    if spec.family in ("score", "preference"):
        if not known:
            return None
        return 2 * (max(first, second) if paired else math.hypot(first, second))
    floor = (KNOWN_NOISE_SHARE if known else UNKNOWN_NOISE_SHARE) * abs(best.value)
    error = math.hypot(first, second)
    if spec.family == "evaluation" and not paired and best.samples and other.samples:
        # Other samples, another mean.
        scale = best.value if spec.code == "perplexity" else 1.0
        error = math.hypot(error, scale * run_facts.EVAL_LOSS_ERROR / math.sqrt(min(best.samples, other.samples)))
    return max(floor, 2 * error)


def same_predictions(left: Side, right: Side) -> bool | None:
    """Return whether the scores of both are of the same data, by its name and size; None if that is not known."""
    if "predict" not in left.results or "predict" not in right.results:
        return None if "predict" not in left.results and "predict" not in right.results else False
    (mine, my_source), (theirs, their_source) = left.results["predict"], right.results["predict"]
    here, there = prediction_set(my_source, mine), prediction_set(their_source, theirs)
    return all_true([same(here[0], there[0]), same(here[1], there[1])])


def spec_of(code: str) -> Spec:
    """Return the measure of a code. Raises KeyError."""
    return _BY_CODE[code]


_BY_CODE = {spec.code: spec for spec in (*SPECS, EVAL_AT, LOSS_AT)}
