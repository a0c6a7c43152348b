"""The measures by which runs are compared: how each is read from a run, and its standard error.

Errors are standard errors in the unit of the measure, None where the files do not allow an estimate.
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
"""What a measure is based on, which decides what makes it unfair."""
MIN_EVALS = 5
"""Minimum number of evaluations from which their noise is estimated."""
KNOWN_NOISE_SHARE = 0.005
"""Share of a loss below which a difference does not count, where the noise is known."""
UNKNOWN_NOISE_SHARE = 0.02
"""Share of a loss below which a difference does not count, where the noise is not known."""
SPEED_SHARE = 0.05
"""Share of a speed below which a difference does not count."""


@dataclass(frozen=True)
class Value:
    """One measure of one run."""

    value: float
    """The number, in the unit of the measure."""
    step: int | None = None
    """Step at which it was measured, None if unknown."""
    error: float | None = None
    """Standard error of ``value``, None if unknown."""
    samples: int | None = None
    """Number of samples that it was measured on, None if unknown."""
    stale: bool = False
    """Whether it belongs to an earlier attempt in the same directory."""


@dataclass(frozen=True)
class Side:
    """One of the compared runs at one moment."""

    run: Run
    status: Status
    progress: Progress
    setup: Setup
    """How the run was made."""
    findings: tuple[str, ...] = ()
    """Codes of its critical findings and warnings, the worst first."""
    results: dict[str, tuple[ResultSet, Run]] = field(default_factory=dict)
    """Results by split, each with the run in whose directory they are."""

    @property
    def broken(self) -> bool:
        """Whether its weights are NaN, so that the values logged since mean nothing."""
        return any(code in ("dead_run", "nan_loss") for code in self.findings)

    @property
    def ended(self) -> bool:
        """Whether its training has ended as planned or was stopped with its results saved."""
        return run_facts.final(self.status)

    def series(self, name: str) -> Series | None:
        """Return the series of a metric, None if it has no values."""
        found = self.run.series.get(name)
        return found if found is not None and len(found) else None


def side_of(run: Run, now: float, findings: tuple[str, ...]) -> Side:
    """Return a run at the Unix time ``now`` with everything that a comparison needs."""
    results = {split: (found, source) for split, found, source in run_facts.result_sets(run)}
    return Side(run, run.status(now), run.progress(now), setup_of(run), findings, results)


@dataclass(frozen=True)
class Spec:
    """The definition of one measure."""

    code: str
    """Unique code, also the key of its words (``compare.measure.<code>`` in the catalogues)."""
    metric: str
    """Name in :data:`lora_tui.analysis.metrics.METRICS`, which has unit and direction."""
    family: Family
    """What it is based on."""
    read: Callable[[Side], Value | None] | None
    """Function that reads it from one run; None if it depends on the other runs."""
    wins: bool = True
    """Whether a run can be best by it; else it is only shown."""
    final: bool = True
    """Whether it describes the end of a run, so that unfinished runs cannot be compared by it."""


def level_at(series: Series, step: float) -> Value | None:
    """Return the level of a noisy series at ``step`` (infinity for its end), None if it has no rows up to there.

    It is the median of the last 5 % of its rows up to ``step``, of 3 to 50 rows; nan where the last value is not
    finite.
    """
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
    """Return the noise (standard deviation) of one evaluation, estimated from second differences.

    Second differences do not depend on the slope of the curve, but on its curvature. A falling loss is curved in one
    direction, so where all of them have the same sign they measure the curvature, and the noise is below the smallest
    of them. None with too few evaluations for an estimate.
    """
    recent = series.tail(30)
    if len(recent) < MIN_EVALS:
        return None
    # The first evaluations are left out, since the curve is steep there.
    recent = recent[-max(MIN_EVALS, len(recent) * 2 // 3) :]
    bends = [a - 2 * b + c for a, b, c in zip(recent, recent[1:], recent[2:], strict=False)]
    sizes = [abs(bend) for bend in bends]
    if max(bends) > 0 > min(bends) or not any(bends):
        return 1.4826 * median(sizes) / math.sqrt(6)
    return 1.4826 * min(sizes) / math.sqrt(6) if len(sizes) >= MIN_EVALS else None


def eval_error(side: Side) -> float | None:
    """Return the noise (standard deviation) of this run's eval losses, None if it is not known."""
    series = side.series("eval_loss")
    return None if series is None else observed_eval_noise(series)


def eval_last(side: Side) -> Value | None:
    """Return the current eval loss, None without one."""
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
    """Return a function that reads a score of generated answers (``bleu-4``) of a prediction, else of an evaluation."""

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
    """Return a function that reads an accuracy on pairs, a share from 0 to 1.

    An ``eval_`` metric is read from the last evaluation, any other is the mean over the last rows.
    """

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
    """Return a function that reads the level of a metric at the end of a run."""

    def read(side: Side) -> Value | None:
        series = side.series(name)
        return None if series is None else level_at(series, math.inf)

    return read


def training_speed(run: Run) -> tuple[float | None, float | None]:
    """Return the mean steps and tokens per second over all segments, without evaluations.

    Each is None where less than 5 seconds were measured.
    """
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
"""All measures that are read from one run, in the order of display."""
EVAL_AT = Spec("eval_at", "eval_loss", "evaluation", None, final=False)
"""Eval loss at a step or epoch that all runs have reached, see :mod:`lora_tui.analysis.comparison.compare`."""
LOSS_AT = Spec("loss_at", "loss", "loss", None, final=False)
"""Train loss at a step or epoch that all runs have reached, see :mod:`lora_tui.analysis.comparison.compare`."""


def _step(step: float | None) -> int | None:
    """Return a step as a whole number, None if it is not finite."""
    return int(step) if step is not None and math.isfinite(step) else None


def significant_difference(spec: Spec, best: Value, other: Value, paired: bool) -> float | None:
    """Return the least difference between two values that is significant, None where the noise is not known.

    It is twice the standard error of the difference, but at least a share of the value. ``paired`` says whether both
    were measured on the same samples. Scores on the same samples are assumed to have a correlation of one half, so that
    the error of their difference equals that of one score (convention).
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
        # The mean loss of the samples themselves differs between two sets.
        scale = best.value if spec.code == "perplexity" else 1.0
        error = math.hypot(error, scale * run_facts.EVAL_LOSS_ERROR / math.sqrt(min(best.samples, other.samples)))
    return max(floor, 2 * error)


def same_predictions(left: Side, right: Side) -> bool | None:
    """Return whether both predicted the same data, by its names and size; None if unknown or if neither predicted."""
    if "predict" not in left.results or "predict" not in right.results:
        return None if "predict" not in left.results and "predict" not in right.results else False
    (mine, my_source), (theirs, their_source) = left.results["predict"], right.results["predict"]
    here, there = prediction_set(my_source, mine), prediction_set(their_source, theirs)
    return all_true([same(here[0], there[0]), same(here[1], there[1])])


def spec_of(code: str) -> Spec:
    """Return the measure with this code. Raises KeyError if there is none."""
    return _BY_CODE[code]


_BY_CODE = {spec.code: spec for spec in (*SPECS, EVAL_AT, LOSS_AT)}
