"""Facts about a run that ratings and findings share. Each costs a window of rows, never the whole run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from lora_tui.analysis.statistics import MEDIAN_ERROR, WINDOW_CAP, lower_quartile, median, noise, window
from lora_tui.records.documents import ConfigValue
from lora_tui.runs.run import ConfigEntry, ResultSet, Run, Status
from lora_tui.runs.series import Series

FEW_SAMPLES = 50
"""Samples below which a result is shown but not trusted (BLEU +- 3.5)."""
BLEU_ERROR = 24.7
"""Standard error of a BLEU-4 score (0-100) times the square root of the number of samples (measured)."""
EVAL_LOSS_ERROR = 0.6
"""Standard error of an eval loss in nats times the square root of the number of samples (measured: 0.085 at 50)."""
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
"""Beginnings of metric names that no sft or pt job logs."""


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
    """Return whether nothing more is to come, and the job says so itself."""
    return status.state in ("finished", "stopped")


def llamafactory(run: Run) -> bool:
    """Return whether the run was made by LLaMA-Factory, by either of its trainers."""
    return run.producer.startswith("llamafactory")


def stage(run: Run) -> tuple[str | None, bool]:
    """Return the stage to judge by, and whether it is assumed.

    A LLaMA-Factory run whose files do not name the stage, and whose rows hold only what every stage logs, is taken for
    sft, the producer's usual one: unless its loss starts where a preference loss does (rm rows look the same).
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
    """Return the first of these options that is set to a finite number, or None."""
    return number_in(run.config, *names)


def number_in(settings: Mapping[str, ConfigEntry], *names: str) -> float | None:
    """Return the first of these options among ``settings`` that is set to a finite number, or None."""
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
    """Return the metric that tells how the run goes: the loss, or the reward in a stage where the loss does not."""
    return "reward" if run.stage in ("ppo", "grpo") and "reward" in run.series else "loss"


def result_sets(run: Run) -> Iterator[tuple[str, ResultSet, Run]]:
    """Yield results by split with the run that they belong to: the run's own; for a split that it lacks, those of the
    newest job that loaded its adapter."""
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
    """Return how many samples a results file is about (lines of the predictions, or runtime x samples/s), or None."""
    if split == "predict" and source.predictions is not None and source.predictions.count:
        return source.predictions.count
    runtime = results.values.get(f"{split}_runtime")
    rate = results.values.get(f"{split}_samples_per_second")
    if runtime is None or rate is None or not math.isfinite(runtime * rate) or runtime * rate <= 0:
        return None
    return max(1, round(runtime * rate))


def reservations(results: ResultSet, split: str, source: Run) -> tuple[str, ...]:
    """Return codes of what undermines every number of a results file."""
    out = ["stale_results"] if results.stale else []
    count = samples(results, split, source) if split != "train" else None
    if count is not None and count < FEW_SAMPLES:
        out.append("few_eval_samples")
    return tuple(out)


def last_eval(run: Run, status: Status) -> tuple[float, float, ResultSet | None] | None:
    """Return the current eval loss: value, step, and the results file if it comes from one; or None.

    A job's last evaluation writes no row, so a results file of this attempt wins once the job is over.
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
    """Return how far the eval loss is above the train loss before that evaluation, and its error, both in percent; or
    None.

    The train loss is the median of ``share`` of the rows before, at least ``rows`` of them; where they scatter, as many
    as bring the error of their median (1.25 s / sqrt(n)) below 4 %, but no more than a quarter, since older ones are of
    another model.
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
    """Return step and path of the newest complete checkpoint that is not beyond ``step``, or None."""
    found: tuple[int, str] | None = None
    for item in run.checkpoints():
        if item.complete and (step is None or item.step <= step) and (found is None or item.step > found[0]):
            found = item.step, item.path
    return found


def above_start(loss: Series) -> tuple[float, float] | None:
    """Return first and present loss of a model that is worse than the untouched one, or None.

    20 rows, median of the last 2 windows. The first row is one sample of a noisy curve, so the rise must also stand out
    from the run's own noise.
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
    """Return best level and present loss of a loss that has left its best level for good (24 rows, true at two
    moments), or None."""
    count = loss.finite
    if count < 24:
        return None
    size = window(count)
    apart = max(1, size // 2)
    recent = loss.tail(size + apart)
    # The moving average at up to 200 places stands for the earlier windows: their exact medians would cost the run.
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
