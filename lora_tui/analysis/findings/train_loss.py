"""Findings about the level of the train loss: divergence, spikes, a start that is too high.

The docstring of each function states its rule. Windows and levels are explained in
:mod:`lora_tui.analysis.detectors.train_loss` and :mod:`lora_tui.analysis.detectors.levels`.
"""

from __future__ import annotations

import math

from lora_tui.analysis import run_facts
from lora_tui.analysis.detectors.incremental import Episode, Hysteresis
from lora_tui.analysis.detectors.spikes import outlying_peaks
from lora_tui.analysis.findings.collector import FindingCollector, finding
from lora_tui.analysis.findings.shared_measures import loss_check, lower_lr
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.stages import ADAPTER_METHODS, LANGUAGE_STAGES
from lora_tui.analysis.statistics import rounded, window

KNOWN_START = ("dpo", "rm", "kto")
"""Stages whose loss at the start is known from theory; only that level counts for them."""
QUIET_SHARE = 0.3
"""Share of the rows that must have come after the last spike for repeated spikes to be over."""
QUIET_ROWS = 100
"""Number of rows that must have come after the last spike for repeated spikes to be over."""
VOCABULARY_SHARE = 0.8
"""Share of ln(vocabulary size), the loss of guessing, above which a first loss is hardly better than guessing."""
GUESSING_LOSS = 10.0
"""First loss in nats that is hardly better than guessing if the size V of the vocabulary is not known; ln(V) is 10.4
for 32,000 tokens and 11.9 for 152,000."""
GUESSING_LOSS_PT = 12.0
"""First loss in nats that is hardly better than guessing in pre-training, which may start with untrained tokens."""
BUG_VERSIONS = ((4, 46), (4, 49))
"""First and last version of transformers with a loss that grows with gradient_accumulation_steps (LLaMA-Factory issues
6639 and 7443)."""


@finding("diverging", "critical", rank=30)
@finding("worse_than_start", "critical", rank=40)
def level_left(collector: FindingCollector) -> None:
    """Find ``diverging`` and ``worse_than_start``: the loss has left its best or its first level for good.

    ``diverging`` (sft, pt): the median of a window is 25 % and 0.3 nats above the best level of the segment, three
    quarters of its rows are 10 % above, and the levels differ beyond noise. At least 16 rows. ``worse_than_start``: the
    same against the first rows with 30 % and 0.3 nats (60 % and 0.5 nats while a bump of the warm-up may last). In dpo,
    rm and kto it is against ln 2 or 1/2 with 15 % and 0.1 nats.

    Both open when true at two checks in a row and close when false at two, with bounds that are 20 % closer. Of the two
    only one is reported: ``diverging`` if the run had learned before it left its level.
    """
    check = loss_check(collector)
    if check is None or any(one.severity == "critical" for one in collector.current("dead_run", "nan_loss")):
        return
    left = Hysteresis() if collector.stage in KNOWN_START else check.diverging
    first = ("worse_than_start", check.worse), ("diverging", left)
    if left.current is not None and check.worse.current is not None and _learned(left.current, check.worse.current):
        first = first[1], first[0]
    shown: list[Episode] = []
    episodes = [(code, hysteresis.current) for code, hysteresis in first] + [
        (code, one) for code, hysteresis in first for one in hysteresis.closed
    ]
    for code, episode in episodes:
        if episode is not None and not any(_overlap(episode, other) for other in shown):
            shown.append(episode)
            _add_level_left(collector, code, episode, against_chance=check.inputs.start is not None)


def _learned(left: Episode, worse: Episode) -> bool:
    """Return whether the best level was 10 % below the first one."""
    return float(left.evidence["best"]) < 0.9 * float(worse.evidence["first"])


def _overlap(a: Episode, b: Episode) -> bool:
    """Return whether two episodes have a step in common."""
    return a.begin <= (math.inf if b.end is None else b.end) and b.begin <= (math.inf if a.end is None else a.end)


def _add_level_left(collector: FindingCollector, code: str, episode: Episode, *, against_chance: bool) -> None:
    """Add a finding for an episode; ``against_chance`` says whether the first level is known from theory."""
    if episode.end is not None:
        collector.add_episode(code, episode, episode.evidence, variant="over")
        return
    lower = lower_lr(collector)
    evidence: dict[str, Param | None] = {**episode.evidence, "lr": lower}
    variant = "reference" if code == "worse_than_start" and against_chance else ""
    if code == "diverging":
        point = run_facts.resume_point(collector.run, int(episode.begin) - 1)
        evidence["checkpoint"] = point[1] if point else None
        variant = "restart" if point is None else "" if collector.run.method in (None, *ADAPTER_METHODS) else "full"
    collector.add_episode(code, episode, evidence, variant=variant if lower is not None else "plain")


@finding("loss_spike", "warning", rank=130)
def loss_spike(collector: FindingCollector) -> None:
    """Find ``loss_spike``: rows far above the level before them.

    They exceed it by a factor of 1.3, by 0.25 nats, by 5 times the noise of a row and by twice every earlier residual
    (at least 20 rows). It is info, and a warning if the loss has not recovered two windows later, or if at least three
    rows are apart from the usual residuals (the gap after them has a probability of 0.1 % in heavy-tailed noise).
    """
    check = loss_check(collector)
    if check is None or collector.stage in KNOWN_START:
        return
    if collector.has("dead_run", "nan_loss", "diverging", "worse_than_start"):
        return
    last = check.spikes.found[-1] if check.spikes.found else None
    several = outlying_peaks(check.spikes.highest, check.spikes.least)
    evidence: dict[str, Param | None] = {"lr": lower_lr(collector)}
    plain = "_plain" if evidence["lr"] is None else ""
    if last is not None:
        evidence.update(before=rounded(last.level), height=rounded(last.height, 3))
    if last is not None and last.lasting is not None:
        evidence["now"] = rounded(last.lasting)
        collector.add("loss_spike", evidence, step=last.step, variant=f"lasting{plain}")
    elif several:
        in_order = sorted(several, key=lambda one: one.row)
        begin, end = int(in_order[0].step), int(in_order[-1].step)
        steps = [str(int(one.step)) for one in in_order]
        over = check.done - in_order[-1].row > max(QUIET_SHARE * check.done, QUIET_ROWS)
        evidence.update(
            count=len(several), height=rounded(math.exp(several[0].residual), 3), last=end,
            steps=", ".join(steps if len(steps) <= 5 else [*steps[:4], "…", steps[-1]]),
        )  # fmt: skip
        collector.add(
            "loss_spike", evidence, step=begin, end_step=end if over else None, over=over,
            variant=f"outlying_peaks{plain}",
        )  # fmt: skip
    elif last is not None:
        fresh = check.done <= last.last_row + 2 * window(check.done)
        collector.add("loss_spike", evidence, severity="info", step=last.step, variant="fresh" if fresh else "")


@finding("broken_base", "warning", rank=190)
@finding("loss_scale_bug", "info", rank=390)
def high_start(collector: FindingCollector) -> None:
    """Find ``broken_base`` and ``loss_scale_bug``: the first loss of a language model is far too high.

    ``broken_base``: in the first 5 % of the steps it is above 0.8 ln(vocabulary size), or above 10 nats if that is not
    known (at least 12 in pt), so hardly better than guessing. ``loss_scale_bug`` (info): with transformers 4.46 to 4.49
    and gradient accumulation, it is that high although the loss divided by the accumulation is usual, or it is more
    than 4 times the first eval loss.
    """
    loss, total = collector.loss, collector.progress.total_steps
    if loss is None or not loss.finite or collector.stage not in (None, *LANGUAGE_STAGES) or collector.has("dead_run"):
        return
    first, step = run_facts.head(loss, 1)[0], loss.steps[0]
    if total is not None and step > max(10, 0.05 * total):
        return
    words = run_facts.number(collector.run, "vocab_size")
    bound = VOCABULARY_SHARE * math.log(words) if words is not None and words > 1 else GUESSING_LOSS
    if collector.stage == "pt":
        bound = max(bound, GUESSING_LOSS_PT)
    evals = collector.run.series.get("eval_loss")
    accumulation = run_facts.number(collector.run, "gradient_accumulation_steps") or 1.0
    if accumulation > 1 and _buggy(collector):
        expected = run_facts.head(evals, 1)[0] if evals is not None and evals.finite else None
        multiplied = first > bound and first / accumulation < bound / 2
        if multiplied or (expected is not None and expected > 0 and first > 4 * expected):
            collector.add(
                "loss_scale_bug", {"first": rounded(first), "accumulation": int(accumulation)}, step=step,
            )  # fmt: skip
            return
    if first > bound:
        guessing = rounded(math.log(words), 3) if words is not None and words > 1 else None
        collector.add(
            "broken_base", {"first": rounded(first), "guessing": guessing}, step=step,
            variant="unknown" if guessing is None else "",
        )  # fmt: skip


def _buggy(collector: FindingCollector) -> bool:
    """Return whether the version of transformers is known to have the wrong loss (BUG_VERSIONS)."""
    setting = collector.run.config.get("transformers_version")
    parts = str(setting.value).split(".") if setting is not None else []
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return False
    return BUG_VERSIONS[0] <= (int(parts[0]), int(parts[1])) <= BUG_VERSIONS[1]
