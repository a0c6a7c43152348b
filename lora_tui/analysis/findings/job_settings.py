"""Findings about the options of the job: unusual ones, wasted work, and values that are not logged.

The docstring of each function states its rule.
"""

from __future__ import annotations

from lora_tui.analysis import run_facts
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.judgement import Param, Severity
from lora_tui.analysis.rating_rules import usual_lr_ranges
from lora_tui.analysis.stages import ADAPTER_METHODS, LANGUAGE_STAGES, PREFERENCE_STAGES
from lora_tui.analysis.statistics import rounded
from lora_tui.runs.results import was_evaluated

UNUSUAL_FACTOR = 2.0
"""Factor outside the usual range above which a peak learning rate is a finding; nearer ones are only rated."""
IDLE_ROWS = 4
"""Minimum number of last rows with a learning rate of 0 for ``schedule_mismatch``."""
IDLE_SHARE = 0.10
"""Minimum share of the planned steps with a learning rate of 0 for ``schedule_mismatch``."""
BITS_A_PARAMETER = 2.0
"""Bits that a parameter can store (Allen-Zhu and Li 2024, "Physics of Language Models" 3.3).

About one bit is learned from a token, by the estimate of "LoRA Without Regret" (Thinking Machines 2025), so this is
also the number of tokens for each parameter. Their training guide recommends half of it: as many parameters as tokens.
"""
LEARNED_SHARE = 0.2
"""Assumed share of the counted tokens of an sft job that belong to answers; the others are prompts and padding. It is
low, so that the finding is not reported falsely."""
EFFECTIVE_SHARE = 0.5
"""Share of the computed tokens that are data below which padding is a finding."""


@finding("lr_unusual", "warning", rank=450)
def lr_unusual(collector: FindingCollector) -> None:
    """Find ``lr_unusual``: the peak learning rate is a factor of 2 outside the usual range of stage and method.

    The number alone proves nothing, since small models train well far above the range. So it is not found for a run
    with ``healthy_fit``, and it is a warning only beside a finding that it explains: a loss out of control above the
    range, or no learning below it.
    """
    series, stage = collector.run.series.get("lr"), collector.stage
    if series is None or stage is None or not series.finite or collector.has("healthy_fit"):
        return
    planned, seen = run_facts.number(collector.run, "learning_rate"), series.max
    # During the warm-up the peak has not been reached.
    rising = planned is None and (series.last_step is None or series.max_step >= series.last_step)
    peak = planned if planned is not None and seen <= planned * 1.01 else seen
    method = collector.run.method
    ranges = usual_lr_ranges(stage, method, collector.context.lr_ranges).values()
    if peak <= 0 or not ranges:
        return
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    evidence: dict[str, Param | None] = {"lr": peak, "low": low, "high": high, "stage": stage, "method": method}
    if peak > UNUSUAL_FACTOR * high * 1.0001:
        harm = collector.has("diverging", "worse_than_start", "grad_explosion")
        evidence["times"] = rounded(peak / high, 2)
        collector.add("lr_unusual", evidence, severity="warning" if harm else "info", variant="high")
    elif peak < low / UNUSUAL_FACTOR / 1.0001 and not rising:
        evidence["times"] = rounded(low / peak, 2)
        severity: Severity = "warning" if collector.has("no_learning") else "info"
        collector.add("lr_unusual", evidence, severity=severity, variant="low")


@finding("schedule_mismatch", "warning", rank=250)
def schedule_mismatch(collector: FindingCollector) -> None:
    """Find ``schedule_mismatch``: the learning rate is exactly 0 for the last 4 rows and 10 % of the planned steps.

    The run went on, but nothing is learned at 0: the rate has reached 0 too early, or was never above it.
    """
    series, total = collector.run.series.get("lr"), collector.progress.total_steps
    if series is None or collector.step is None or not total or collector.has("dead_run", "nan_loss"):
        return
    rows = 0
    for value in reversed(series.values):
        if value != 0.0:
            break
        rows += 1
    if rows < IDLE_ROWS:
        return
    begin = series.steps[len(series) - rows] if rows < len(series) else 0.0
    idle = collector.step - begin
    if idle < IDLE_SHARE * total:
        return
    evidence: dict[str, Param | None] = {"rows": rows, "steps": round(idle), "total": total}
    collector.add("schedule_mismatch", evidence, step=begin, variant="" if rows < len(series) else "never")


@finding("few_trainable_parameters", "info", rank=440)
def few_trainable_parameters(collector: FindingCollector) -> None:
    """Find ``few_trainable_parameters`` (sft and pt with an adapter): too many tokens for the trained parameters.

    One epoch has more than 2 tokens to learn for each trained parameter. The percentage of trained parameters does not
    matter.
    """
    trained = run_facts.number(collector.run, "trainable_params")
    epoch = collector.progress.epoch
    if trained is None or epoch is None or epoch < 0.1 or collector.run.method not in ADAPTER_METHODS:
        return
    tokens = _learned_tokens(collector, epoch)
    if collector.stage not in LANGUAGE_STAGES or tokens is None or tokens <= BITS_A_PARAMETER * trained:
        return
    collector.add(
        "few_trainable_parameters",
        {"tokens": round(tokens), "params": int(trained), "rank": _rank(collector)},
    )  # fmt: skip


def _learned_tokens(collector: FindingCollector, epoch: float) -> float | None:
    """Return the number of tokens of one epoch that count in the loss, None if unknown.

    In sft they are those of the answers, estimated by LEARNED_SHARE.
    """
    for name in ("total_tokens", "num_tokens"):
        series = collector.run.series.get(name)
        if series is not None and series.finite:
            seen = series.tail(1)[0] / epoch
            return seen if collector.stage == "pt" else seen * LEARNED_SHARE
    return None


def _rank(collector: FindingCollector) -> int | None:
    """Return the rank of the adapter, None if unknown."""
    rank = run_facts.number(collector.run, "lora_rank")
    return int(rank) if rank is not None else None


@finding("padding_waste", "info", rank=460)
def padding_waste(collector: FindingCollector) -> None:
    """Find ``padding_waste``: less than half of the computed tokens are data, the others are padding.

    The run has ended without a resume, and both token rates are known. LLaMA-Factory's ``effective_tokens_per_sec`` is
    that of one device.
    """
    results, tokens = collector.run.results().get("train"), collector.run.series.get("total_tokens")
    if results is None or results.stale or tokens is None or not tokens.finite or collector.run.segments > 1:
        return
    effective = results.values.get("effective_tokens_per_sec")
    runtime = results.values.get("train_runtime")
    if not effective or not runtime or runtime <= 0:
        return
    devices = run_facts.number(collector.run, "num_devices") or 1.0
    computed = tokens.tail(1)[0] / runtime
    share = effective * devices / computed if computed > 0 else 1.0
    if share < EFFECTIVE_SHARE:
        collector.add(
            "padding_waste",
            {"percent": round(100 * (1 - share)), "effective": rounded(effective * devices),
             "computed": rounded(computed)},
        )  # fmt: skip


@finding("no_eval", "info", rank=470)
def no_eval(collector: FindingCollector) -> None:
    """Find ``no_eval``: more than one epoch, or the whole run, without an evaluation that could show overfitting."""
    stages = LANGUAGE_STAGES | PREFERENCE_STAGES | {"rm"}
    epoch = collector.progress.epoch
    if collector.stage not in stages or collector.loss is None or not collector.loss.finite or epoch is None:
        return
    if (epoch > 1 or run_facts.final(collector.status)) and not _evaluates(collector):
        collector.add("no_eval", {"epochs": rounded(epoch)}, variant="" if epoch > 1 else "ended")


def _evaluates(collector: FindingCollector) -> bool:
    """Return whether the job itself, or another one that loaded its adapter, has evaluated."""
    return was_evaluated(collector.run) or any("eval" in other.results() for other in collector.run.linked)


@finding("not_logged", "info", rank=480)
def not_logged(collector: FindingCollector) -> None:
    """Find ``not_logged``: metrics that LLaMA-Factory logs only if an option is set.

    These are tokens/s, and grad_norm while the run is live. It is not found beside a critical finding.
    """
    if (
        not run_facts.llamafactory(collector.run)
        or collector.loss is None
        or not len(collector.loss)
        or collector.progress.unit != "steps"
    ):
        return
    if collector.has_critical():
        return
    missing = []
    if (
        "throughput" not in collector.run.series
        and "total_tokens" not in collector.run.series
        and collector.stage != "ppo"
    ):
        missing.append("throughput")
    if collector.status.live and "grad_norm" not in collector.run.series and collector.stage != "ppo":
        missing.append("grad_norm")
    if missing:
        collector.add("not_logged", {"missing": ",".join(missing)})
