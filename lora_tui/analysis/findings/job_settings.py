"""Findings of the job's settings: what they waste, what they hide, what is unusual. Each docstring has its rule."""

from __future__ import annotations

from lora_tui.analysis import run_facts as facts
from lora_tui.analysis.findings.collector import Finder
from lora_tui.analysis.model import Param
from lora_tui.analysis.rating_rules import ADAPTER_METHODS, LANGUAGE_STAGES, PREFERENCE_STAGES, lr_range
from lora_tui.runs.results import was_evaluated

FAR = 2.0
"""A peak learning rate this many times outside of the usual range is unusual; nearer ones are only rated so."""
IDLE_ROWS, IDLE_SHARE = 4, 0.10
"""The learning rate is 0 for so many rows and for so much of the plan."""
BITS_A_PARAMETER = 2.0
"""What a parameter can store (Allen-Zhu and Li 2024, "Physics of Language Models" 3.3), and about one bit is to be
learned from a token: the estimate of "LoRA Without Regret" (Thinking Machines 2025). Their training guide asks for half
of it, as many parameters as tokens that are learned."""
LEARNED_SHARE = 0.2
"""Share of the counted tokens of an sft job that are answers, where the files do not tell: prompts and padding are
counted too. Low, so that nothing is claimed that is not so."""
EFFECTIVE_SHARE = 0.5


def lr_unusual(finder: Finder) -> None:
    """The peak learning rate is more than twice outside of what is usual for the stage and the method. The number
    alone proves nothing, small models train well far above it: nothing is said where the run has ended healthy, and it
    is a warning only beside what it explains (a loss out of control above the range, no learning below it)."""
    series, stage = finder.run.series.get("lr"), finder.stage
    if series is None or stage is None or not series.finite or finder.has("healthy_fit"):
        return
    planned, seen = facts.number(finder.run, "learning_rate"), series.max
    # While it warms up, the peak is to come.
    rising = planned is None and (series.last_step is None or series.max_step >= series.last_step)
    peak = planned if planned is not None and seen <= planned * 1.01 else seen
    method = finder.run.method
    sides = [True, False] if method is None else [method in ADAPTER_METHODS]
    ranges = [usual for side in sides if (usual := lr_range(stage, side, finder.context.lr_ranges)) is not None]
    if peak <= 0 or not ranges:
        return
    low, high = min(usual[0] for usual in ranges), max(usual[1] for usual in ranges)
    evidence: dict[str, Param | None] = {"lr": peak, "low": low, "high": high, "stage": stage, "method": method}
    if peak > FAR * high * 1.0001:
        harm = finder.has("diverging", "worse_than_start", "grad_explosion")
        evidence["times"] = facts.rounded(peak / high, 2)
        finder.add("lr_unusual", "warning" if harm else "info", evidence, variant="high")
    elif peak < low / FAR / 1.0001 and not rising:
        evidence["times"] = facts.rounded(low / peak, 2)
        finder.add("lr_unusual", "warning" if finder.has("no_learning") else "info", evidence, variant="low")


def schedule_mismatch(finder: Finder) -> None:
    """The learning rate is exactly 0 for the last 4 rows and 10 % of the plan, though the run goes on or went on: it
    has come down too early, or was never above 0. Nothing is learned at 0."""
    series, total = finder.run.series.get("lr"), finder.progress.total_steps
    if series is None or finder.step is None or not total or finder.has("dead_run", "nan_loss"):
        return
    rows = 0
    for value in reversed(series.values):
        if value != 0.0:
            break
        rows += 1
    if rows < IDLE_ROWS:
        return
    begin = series.steps[len(series) - rows] if rows < len(series) else 0.0
    idle = finder.step - begin
    if idle < IDLE_SHARE * total:
        return
    evidence: dict[str, Param | None] = {"rows": rows, "steps": round(idle), "total": total}
    finder.add("schedule_mismatch", "warning", evidence, step=begin, variant="" if rows < len(series) else "never")


def few_trainable_parameters(finder: Finder) -> None:
    """sft and pt with an adapter: more tokens to learn in one pass than 2 for each trained parameter. Never from the
    percentage of trained parameters alone."""
    trained = facts.number(finder.run, "trainable_params")
    epoch = finder.progress.epoch
    if trained is None or epoch is None or epoch < 0.1 or finder.run.method not in ADAPTER_METHODS:
        return
    tokens = _learned_tokens(finder, epoch)
    if finder.stage not in LANGUAGE_STAGES or tokens is None or tokens <= BITS_A_PARAMETER * trained:
        return
    finder.add(
        "few_trainable_parameters", "info",
        {"tokens": round(tokens), "params": int(trained), "rank": _rank(finder)},
    )  # fmt: skip


def _learned_tokens(finder: Finder, epoch: float) -> float | None:
    """Tokens of one pass that the loss sees: in sft those of the answers, estimated low where nothing tells."""
    for name in ("total_tokens", "num_tokens"):
        series = finder.run.series.get(name)
        if series is not None and series.finite:
            seen = series.tail(1)[0] / epoch
            return seen if finder.stage == "pt" else seen * LEARNED_SHARE
    return None


def _rank(finder: Finder) -> int | None:
    rank = facts.number(finder.run, "lora_rank")
    return int(rank) if rank is not None else None


def padding_waste(finder: Finder) -> None:
    """Ended in one go, with both token rates known: less than half of the tokens that were computed are of the data,
    the others are padding. LLaMA-Factory's ``effective_tokens_per_sec`` is that of one device."""
    results, tokens = finder.run.results().get("train"), finder.run.series.get("total_tokens")
    if results is None or results.stale or tokens is None or not tokens.finite or finder.run.segments > 1:
        return
    effective = results.values.get("effective_tokens_per_sec")
    runtime = results.values.get("train_runtime")
    if not effective or not runtime or runtime <= 0:
        return
    devices = facts.number(finder.run, "num_devices") or 1.0
    computed = tokens.tail(1)[0] / runtime
    share = effective * devices / computed if computed > 0 else 1.0
    if share < EFFECTIVE_SHARE:
        finder.add(
            "padding_waste", "info",
            {"percent": round(100 * (1 - share)), "effective": facts.rounded(effective * devices),
             "computed": facts.rounded(computed)},
        )  # fmt: skip


def no_eval(finder: Finder) -> None:
    """More than one pass over the data, or the end, and no evaluation: overfitting could not be seen."""
    stages = LANGUAGE_STAGES | PREFERENCE_STAGES | {"rm"}
    epoch = finder.progress.epoch
    if finder.stage not in stages or finder.loss is None or not finder.loss.finite or epoch is None:
        return
    if (epoch > 1 or facts.final(finder.status)) and not _evaluates(finder):
        finder.add("no_eval", "info", {"epochs": facts.rounded(epoch)}, variant="" if epoch > 1 else "ended")


def _evaluates(finder: Finder) -> bool:
    """Any sign of an evaluation, by the job itself or by another one with its adapter."""
    return was_evaluated(finder.run) or any("eval" in other.results() for other in finder.run.linked)


def not_logged(finder: Finder) -> None:
    """What LLaMA-Factory would log if an option were set: tokens/s, and grad_norm while the run goes on."""
    if (
        not facts.llamafactory(finder.run)
        or finder.loss is None
        or not len(finder.loss)
        or finder.progress.unit != "steps"
    ):
        return
    if any(finding.severity == "critical" for finding in finder.out):
        # Not now.
        return
    missing = []
    if "throughput" not in finder.run.series and "total_tokens" not in finder.run.series and finder.stage != "ppo":
        missing.append("throughput")
    if finder.status.live and "grad_norm" not in finder.run.series and finder.stage != "ppo":
        missing.append("grad_norm")
    if missing:
        finder.add("not_logged", "info", {"missing": ",".join(missing)})


def look(finder: Finder) -> None:
    """Look for all of these."""
    parts = (lr_unusual, schedule_mismatch, few_trainable_parameters, padding_waste, no_eval, not_logged)
    for part in parts:
        part(finder)
