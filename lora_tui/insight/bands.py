"""The rules of :mod:`lora_tui.insight.ratings` as data: thresholds, where they apply, their source and their words.

Sources: LF = LLaMA-Factory's code and examples; HF = transformers; Unsloth = its fine-tuning guide; TM = "LoRA Without
Regret" (Thinking Machines, 2025); measured = by this project, with LLaMA-Factory's own metric code and real runs;
convention = ours, without an outside source, and therefore only ever shown as orientation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lora_tui.insight.model import Basis, Confidence, Level

LANGUAGE_STAGES = frozenset({"sft", "pt"})
PREFERENCE_STAGES = frozenset({"dpo", "kto", "orpo", "simpo"})
REINFORCEMENT_STAGES = frozenset({"ppo", "grpo"})
ADAPTER_METHODS = frozenset({"lora", "qlora", "dora", "oft", "qoft"})


@dataclass(frozen=True)
class Bands:
    """Bounds of excellent, good and fair, in the metric's unit; what lies beyond is poor. ``None``: no such level."""

    excellent: float | None
    good: float
    fair: float
    higher: bool = True
    """Higher is better, and a bound belongs to the better level; else lower is better."""
    closed: bool = False
    """With ``higher=False``: the bound itself still belongs to the better level."""

    def level(self, value: float) -> Level:
        """The level of a value."""
        bounds: tuple[tuple[Level, float | None], ...] = (
            ("excellent", self.excellent), ("good", self.good), ("fair", self.fair),
        )  # fmt: skip
        for name, bound in bounds:
            if bound is None:
                continue
            if value >= bound if self.higher else (value <= bound if self.closed else value < bound):
                return name
        return "poor"


@dataclass(frozen=True)
class Rule:
    """How one kind of metric is rated."""

    code: str
    metrics: tuple[str, ...]
    source: str
    """Where the numbers come from, for the explanation and for whoever doubts them."""
    basis: Basis = "rule"
    confidence: Confidence = "firm"
    """The best that this rule can reach."""
    stages: frozenset[str] | None = None
    """``None``: every stage."""
    producers: frozenset[str] | None = None
    """``None``: every producer. A prefix such as ``llamafactory`` covers its versions."""
    bands: Bands | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of a rule that is more than bands."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Level, or the name of a case, -> wording code of the short verdict (catalogue key ``rating.<code>``)."""

    def applies(self, stage: str | None, producer: str) -> bool:
        """The rule may be used for a run of this stage and producer."""
        if self.producers is not None and not any(producer.startswith(name) for name in self.producers):
            return False
        return self.stages is None or stage in self.stages


_LLAMAFACTORY = frozenset({"llamafactory"})
_LEVELS = ("excellent", "good", "fair", "poor")


def _words(*codes: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(_LEVELS, codes, strict=True)))


RULES: tuple[Rule, ...] = (
    Rule(
        "loss_trend", ("loss",), "first against last window of the run itself; no level for a low loss (Unsloth: "
        "below 0.2 probably overfitting)", "base", stages=LANGUAGE_STAGES,
        limits={"min_rows": 8, "fall": 0.05, "late": 0.25, "fair_rows": 30},
        words={"good": "converging", "fair": "hardly_moves", "early": "early", "broken": "out_of_control",
               "above_start": "above_start", "diverging": "diverging"},
    ),
    Rule(
        "loss_preference", ("loss",), "a sigmoid preference loss starts at ln 2 = 0.693 (DPO paper); bounds measured",
        "rule", stages=frozenset({"dpo", "rm"}),
        limits={"min_rows": 8, "good": 0.65, "late": 0.30, "poor": 0.75, "start_low": 0.60, "start_high": 0.78},
        words={"good": "preference_learned", "fair": "near_chance", "poor": "worse_than_reference", "early": "early",
               "falling": "falling", "level": "level", "broken": "out_of_control"},
    ),
    Rule(
        "loss_kto", ("loss",), "KTO starts at 0.5; measured 0.499 -> 0.44", "base", stages=frozenset({"kto"}),
        limits={"min_rows": 8, "fall": 0.03, "late": 0.30, "poor": 0.55},
        words={"good": "falling", "fair": "level", "poor": "worse_than_reference", "early": "early",
               "broken": "out_of_control"},
    ),
    Rule(
        "loss_no_progress", ("loss",), "TRL docs: the loss of PPO and GRPO may be negative and is no progress",
        stages=REINFORCEMENT_STAGES, words={"none": "look_at_reward"},
    ),
    Rule(
        "grad_norm", ("grad_norm",), "norm before clipping (transformers); healthy LoRA medians 0.4-1.2 measured; "
        "small is judged with the loss", "rule",
        limits={"min_values": 5, "small": 0.05, "good": 10, "fair": 100, "none": 0.01, "jump": 10, "low_loss": 0.1},
        words={"good": "stable", "small": "small_stable", "weak": "small_gradient", "fair": "large_gradient",
               "jumpy": "jumpy", "poor": "exploding", "none": "no_gradient", "nan": "gradient_nan"},
    ),
    Rule(
        "lr_peak", ("lr",), "LF examples (LoRA 1e-4, full 1e-5, DPO 5e-6, PPO 1e-5), Unsloth and QLoRA paper 2e-4, "
        "TM: LoRA about 10 x full", "rule",
        stages=LANGUAGE_STAGES | PREFERENCE_STAGES | REINFORCEMENT_STAGES | {"rm"}, limits={"beyond": 3},
        words={"good": "lr_usual", "high": "lr_high", "low": "lr_low", "poor": "lr_far", "early": "warming_up"},
    ),
    Rule(
        "epochs", ("epoch",), "Unsloth 1-3, LF examples 3", "rule", "orientation", frozenset({"sft"}),
        limits={"good": 5, "fair": 20},
        words={"good": "epochs_usual", "fair": "epochs_many", "more": "epochs_far_more"},
    ),
    Rule(
        "tokens_seen", ("total_tokens", "num_tokens"), "a sum over all passes, padding included unless counted without "
        "(LF include_num_input_tokens_seen)", words={"none": "tokens_passes", "total": "tokens_total"},
    ),
    Rule(
        "speed_self", ("throughput", "steps_per_s"), "last rows against the first third of this segment, convention",
        "self", bands=Bands(None, 0.9, 0.7), limits={"min_rows": 10},
        words={"good": "speed_steady", "fair": "speed_slower", "poor": "speed_slower"},
    ),
    Rule(
        "throughput", ("throughput",), "convention, tokens/s of one device", "orientation", "orientation",
        bands=Bands(None, 1000, 300),
        words={"good": "speed_high", "fair": "speed_medium", "poor": "speed_low"},
    ),
    Rule(
        "trainable_share", ("trainable_percent",), "convention; LF's default rank 8 trains about 0.9 % of a 0.5B model",
        limits={"few": 0.1, "usual": 2, "many": 20},
        words={"few": "trainable_few", "usual": "trainable_usual", "many": "trainable_many", "all": "trainable_all"},
    ),
    Rule(
        "perplexity", ("perplexity", "eval_loss"), "convention for answers only; real LF runs 2.8 to 5.2. eval_loss "
        "uses the logarithms of the same bounds", "orientation", "orientation", frozenset({"sft"}),
        bands=Bands(2, 4, 8, higher=False), words=_words("ppl_very_low", "ppl_low", "ppl_high", "ppl_very_high"),
    ),
    Rule(
        "perplexity_pt", ("perplexity", "eval_loss"), "convention; every token counts in pre-training", "orientation",
        "orientation", frozenset({"pt"}), bands=Bands(4, 8, 16, higher=False),
        words=_words("ppl_very_low", "ppl_low", "ppl_high", "ppl_very_high"),
    ),
    Rule(
        "gap", ("gap",), "eval loss against the median of the last train rows before it, convention; healthy real runs "
        "-6 to 8 %", "self", stages=LANGUAGE_STAGES, bands=Bands(None, 8, 20, higher=False, closed=True),
        limits={"below": -15, "rows": 3, "share": 0.05, "error": 6},
        words={"good": "gap_close", "fair": "gap_apart", "poor": "gap_far", "below": "gap_eval_easier"},
    ),
    Rule(
        "bleu4", ("bleu-4",), "measured with LF's metric code on 300 answers: unrelated 1-11, half of the answer 36, "
        "30 % of the words missing 49-55, 10 % missing 81-84", producers=_LLAMAFACTORY,
        stages=LANGUAGE_STAGES, bands=Bands(70, 50, 30),
        words=_words("bleu_excellent", "score_high", "score_part", "score_little"),
    ),
    Rule(
        "rouge1", ("rouge-1",), "measured as BLEU-4: unrelated 11-12, half 72, 30 % missing 66-85, 10 % missing 87-95",
        producers=_LLAMAFACTORY, stages=LANGUAGE_STAGES, bands=Bands(85, 65, 40),
        words=_words("rouge1_excellent", "score_high", "score_part", "score_little"),
    ),
    Rule(
        "rouge2", ("rouge-2",), "measured as BLEU-4: unrelated 1, half 65, 30 % missing 36-58", producers=_LLAMAFACTORY,
        stages=LANGUAGE_STAGES, bands=Bands(75, 50, 25),
        words=_words("rouge2_excellent", "score_high", "score_part", "score_little"),
    ),
    Rule(
        "rougel", ("rouge-l",), "measured as BLEU-4: unrelated 9-10, half 65", producers=_LLAMAFACTORY,
        stages=LANGUAGE_STAGES, bands=Bands(80, 60, 35),
        words=_words("rougel_excellent", "score_high", "score_part", "score_little"),
    ),
    Rule(
        "preparation", ("model_preparation_time",), "convention; HF: time of accelerator.prepare_model alone, real "
        "values 0.002-0.006 s", "orientation", "orientation", bands=Bands(1, 10, 60, higher=False),
        words=_words("preparation_very_short", "preparation_short", "preparation_long", "preparation_very_long"),
    ),
    Rule(
        "predict_speed", ("samples_per_second",), "convention, seconds a sample with generation in batches",
        "orientation", "orientation", LANGUAGE_STAGES, bands=Bands(0.2, 1, 5, higher=False, closed=True),
        words=_words("predict_very_fast", "predict_fast", "predict_slow", "predict_very_slow"),
    ),
    Rule("batch", ("steps_per_second",), "samples/s divided by steps/s", words={"none": "batch_of"}),
    Rule("runtime", ("runtime",), "runtime x samples/s; BLEU error measured as 24.7 / sqrt(samples)",
         words={"none": "samples_of", "scored": "samples_bleu"}),
    Rule("train_loss", ("train_loss",), "transformers: mean of the loss over all steps of the last start of the job",
         words={"none": "mean_of_run"}),
    Rule(
        "preference_accuracy", ("accuracy", "rewards/accuracies"), "chance is 0.5; published LoRA-DPO cards 0.66-0.73",
        stages=PREFERENCE_STAGES, bands=Bands(0.80, 0.65, 0.55), limits={"pairs": 100, "late": 0.30},
        words=_words("accuracy_very_high", "accuracy_high", "accuracy_some", "near_coin"),
    ),
    Rule(
        "margins", ("rewards/margins",), "sign and trend only: the scale goes with beta (DPO paper; LF pref_beta)",
        "self", stages=PREFERENCE_STAGES, limits={"min_rows": 8, "late": 0.30, "beta_share": 0.5, "fall": 0.2},
        words={"good": "margins_grow", "fair": "margins_small", "poor": "margins_negative", "level": "margins_level",
               "shrinking": "margins_shrink"},
    ),
    Rule(
        "reward_accuracy", ("eval_accuracy",), "human agreement is near 0.7-0.75 (InstructGPT)",
        stages=frozenset({"rm"}), bands=Bands(0.75, 0.65, 0.55),
        words=_words("accuracy_very_high", "accuracy_high", "accuracy_some", "near_coin"),
    ),
    Rule(
        "reward_trend", ("reward",), "trend only: slope against twice its standard error", "self",
        stages=REINFORCEMENT_STAGES, limits={"min_rows": 20, "window": 200},
        words={"good": "reward_rising", "fair": "level", "poor": "reward_falling"},
    ),
)  # fmt: skip
"""All rules. The first one that names the metric and applies to the stage and producer is used."""


LR_RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "language": {"adapter": (2e-5, 5e-4), "full": (1e-6, 5e-5)},
        "rm": {"adapter": (1e-5, 3e-4), "full": (1e-6, 3e-5)},
        "preference": {"adapter": (5e-7, 5e-5), "full": (1e-7, 5e-6)},
    }
)
"""Usual peak learning rates; the sources are those of the rule ``lr_peak``."""


def find_rule(metric: str, stage: str | None, producer: str, code: str | None = None) -> Rule | None:
    """The rule for a metric name (without its split), a stage and a producer."""
    for rule in RULES:
        if metric in rule.metrics and (code is None or rule.code == code) and rule.applies(stage, producer):
            return rule
    return None


def lr_range(stage: str, adapter: bool) -> tuple[float, float] | None:
    """Usual peak learning rates of a stage, ``None`` where we know none."""
    if stage in LANGUAGE_STAGES:
        family = "language"
    elif stage in PREFERENCE_STAGES or stage in REINFORCEMENT_STAGES:
        family = "preference"
    elif stage == "rm":
        family = "rm"
    else:
        return None
    return LR_RANGES[family]["adapter" if adapter else "full"]
