"""Facts about a run that ratings and findings share. Each reads a window of rows, never the whole run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from lora_tui.analysis.statistics import MEDIAN_ERROR, WINDOW_CAP, lower_quartile, median, noise, window
from lora_tui.records.documents import ConfigValue
from lora_tui.runs.run import ConfigEntry, ResultSet, Run, Status
from lora_tui.runs.series import Series

FEW_SAMPLES = 50
"""Number of samples below which a result is shown but not trusted: the standard error of BLEU-4 is then 3.5."""
BLEU_ERROR = 24.7
"""Standard error of a BLEU-4 score (0-100) times the square root of the number of samples (measured)."""
EVAL_LOSS_ERROR = 0.6
"""Standard error of an eval loss in nats times the square root of the number of samples (measured: 0.085 at 50)."""
SUDDEN_ZERO_LOSS = 0.1
"""Loss in nats from which a fall to exactly 0 within one row is not caused by learning."""
_NOT_SFT = (
    "accuracy",
    "eval_accuracy",
    "reward",
    "kl",
    "logps/",
    "logits/",
    "eval_rewards/",
    "objective/",
    "odds_ratio",
)
"""Prefixes of metric names that no sft or pt job logs."""


def head(series: Series, count: int) -> list[float]:
    """Return the first ``count`` finite values."""
    out: list[float] = []
    for value in series.values:
        if math.isfinite(value):
            out.append(value)
            if len(out) >= count:
                break
    return out


def final(status: Status) -> bool:
    """Return whether the training has ended as planned or was stopped with its results saved."""
    return status.state in ("finished", "stopped")


def llamafactory(run: Run) -> bool:
    """Return whether the run was made by LLaMA-Factory, by either of its trainers."""
    return run.producer.startswith("llamafactory")


def stage(run: Run) -> tuple[str | None, bool]:
    """Return the training stage, and whether it is assumed.

    A LLaMA-Factory run whose files do not name the stage is assumed to be sft, the producer's most common one, if its
    rows hold only metrics that every stage logs. It is not if its loss starts where a preference loss does (near 0.69
    or 0.5 nats), since rm rows look the same.
    """
    if run.stage is not None:
        return run.stage, False
    if not llamafactory(run):
        return None, False
    if any(name.startswith(_NOT_SFT) for name in run.series):
        return None, False
    loss = run.series.get("loss")
    first = loss.first if loss is not None else None
    if first is not None and (0.60 <= first <= 0.78 or 0.47 <= first <= 0.53):
        return None, False
    return "sft", True


def number(run: Run, *names: str) -> float | None:
    """Return the first of these options of the job that is set to a finite number, None if none is."""
    return number_in(run.config, *names)


def number_in(settings: Mapping[str, ConfigEntry], *names: str) -> float | None:
    """Return the first of these options in ``settings`` that is set to a finite number, None if none is."""
    for name in names:
        setting = settings.get(name)
        value = None if setting is None else setting.value
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def names(run: Run, option: str) -> frozenset[str]:
    """Return the names that an option lists, empty if it is not set."""
    setting = run.config.get(option)
    return names_in(setting.value) if setting is not None else frozenset()


def names_in(value: ConfigValue) -> frozenset[str]:
    """Return the names in the value of an option (``"a,b"`` or a tuple), empty where it has none."""
    if value is None or isinstance(value, bool):
        return frozenset()
    parts = value if isinstance(value, tuple) else str(value).split(",")
    return frozenset(name for part in parts if (name := str(part).strip()))


def main_metric(run: Run) -> str:
    """Return the metric that shows progress: "reward" for ppo and grpo if it is logged, else "loss"."""
    return "reward" if run.stage in ("ppo", "grpo") and "reward" in run.series else "loss"


def result_sets(run: Run) -> Iterator[tuple[str, ResultSet, Run]]:
    """Yield the results of each split (predict, eval, train), with the run in whose directory they are.

    For a split that the run has no results of, they are those of the newest job that loaded its adapter.
    """
    own = run.results()
    for split in ("predict", "eval", "train"):
        if split in own:
            yield split, own[split], run
            continue
        if split == "train":
            continue
        found: tuple[ResultSet, Run] | None = None
        for other in run.linked:
            results = other.results()
            if split in results and (found is None or results[split].mtime > found[0].mtime):
                found = results[split], other
        if found is not None:
            yield split, found[0], found[1]


def samples(results: ResultSet, split: str, source: Run) -> int | None:
    """Return the number of samples of a results file: lines of predictions, or runtime x samples/s; None if unknown."""
    if split == "predict" and source.predictions is not None and source.predictions.count:
        return source.predictions.count
    runtime = results.values.get(f"{split}_runtime")
    rate = results.values.get(f"{split}_samples_per_second")
    if runtime is None or rate is None or not math.isfinite(runtime * rate) or runtime * rate <= 0:
        return None
    return max(1, round(runtime * rate))


def reservations(results: ResultSet, split: str, source: Run) -> tuple[str, ...]:
    """Return codes of findings that undermine every number of a results file."""
    out = ["stale_results"] if results.stale else []
    count = samples(results, split, source) if split != "train" else None
    if count is not None and count < FEW_SAMPLES:
        out.append("few_eval_samples")
    return tuple(out)


def last_eval(run: Run, status: Status) -> tuple[float, float, ResultSet | None] | None:
    """Return the current eval loss: value, step, and the results file if it comes from one; None without one.

    The last evaluation of a job writes no row, so a results file of this attempt is preferred once the job is over. The
    step is infinite where no training loss tells it.
    """
    series = run.series.get("eval_loss")
    step = series.last_step if series is not None else None
    value = series.last if series is not None else None
    if not status.live or value is None:
        results = run.results().get("eval")
        own = results.values.get("eval_loss") if results is not None else None
        if results is not None and own is not None and math.isfinite(own) and (not results.stale or value is None):
            loss = run.series.get("loss")
            at = loss.last_step if loss is not None else None
            return own, at if at is not None else math.inf, results
    if value is None or step is None or not math.isfinite(value):
        return None
    return value, step, None


def gap(run: Run, status: Status, rows: int = 3, share: float = 0.05) -> tuple[float, float] | None:
    """Return how far the current eval loss is above the train loss, and its standard error, both in percent.

    The train loss is the median of the last ``share`` of the rows before the evaluation, at least ``rows`` of them.
    Where they scatter, more are taken until the error of their median (1.25 s / sqrt(n)) is below 4 %, but no more than
    a quarter of the rows, since older rows are of an earlier state of the model. None without an eval loss or with too
    few rows.
    """
    current = last_eval(run, status)
    loss = run.series.get("loss")
    if current is None or loss is None or (current[2] is not None and current[2].stale):
        return None
    end = bisect_right(loss.steps, current[1])
    recent = [value for value in loss.values[max(0, end - 200) : end] if math.isfinite(value)]
    if len(recent) < rows:
        return None
    spread = noise(recent)
    count = min(max(rows, int(end * share)), WINDOW_CAP)
    base = median(recent[-count:])
    if base <= 0:
        return None
    wanted = math.ceil((MEDIAN_ERROR * spread / (0.04 * base)) ** 2)
    count = max(count, min(wanted, end // 4, 200))
    base = median(recent[-count:])
    error = MEDIAN_ERROR * spread / math.sqrt(min(count, len(recent)))
    return (current[0] - base) / base * 100, error / base * 100


def resume_point(run: Run, step: int | None) -> tuple[int, str] | None:
    """Return step and path of the newest complete checkpoint at or before ``step``, None without one."""
    found: tuple[int, str] | None = None
    for item in run.checkpoints():
        if item.complete and (step is None or item.step <= step) and (found is None or item.step > found[0]):
            found = item.step, item.path
    return found


def above_start(loss: Series) -> tuple[float, float] | None:
    """Return the first and the current loss where the model is worse than at its start, None where it is not.

    The current loss is the median of the last two windows; at least 20 rows are needed. It must exceed the first loss
    by 30 %, by 0.3 nats and by three times the noise of a row, since the first row is one sample of a noisy curve.
    """
    if loss.finite < 20:
        return None
    start = head(loss, 1)[0]
    last = loss.tail(2 * window(loss.finite))
    now = median(last)
    rise = max(0.3, 3 * noise(loss.tail(200)))
    if now > 1.3 * start and now - start > rise and lower_quartile(last) > 1.15 * start:
        return start, now
    return None


def diverging(loss: Series) -> tuple[float, float] | None:
    """Return the best and the current level of a loss that has left its best level for good, None where it has not.

    At least 24 rows are needed. The median of the last window, and of the one half a window earlier, must exceed the
    best level by 25 %, by 0.3 nats and by four standard errors.
    """
    count = loss.finite
    if count < 24:
        return None
    size = window(count)
    apart = max(1, size // 2)
    recent = loss.tail(size + apart)
    # The moving average at up to 200 rows stands for the earlier windows, whose medians would take time in proportion
    # to the length of the run.
    end = len(loss) - size - apart
    stride = max(1, (end - size) // 200)
    levels = [level for level in loss.smooth[size:end:stride] if math.isfinite(level)]
    if not levels:
        return None
    best = min(levels)
    spread = noise(loss.tail(200))
    for part in (recent[-size:], recent[:size]):
        now = median(part)
        if not (
            now > 1.25 * best
            and now - best > max(0.3, 4 * spread / math.sqrt(size))
            and lower_quartile(part) > 1.1 * best
        ):
            return None
    return best, median(recent[-size:])
