"""The rating rules as data: thresholds, scope, sources and words. Each has a code (``bleu4``, ``gap``).

Names of limits that several rules share: ``min_rows`` is the number of rows that a rating needs; ``late`` the share of
the planned run from which on a number without progress is rated; ``fall``, ``rise`` and ``slack`` are shares of the
value compared with; ``window`` and ``rows`` the number of last rows that are read; ``good``, ``fair`` and ``poor``
bounds of these levels in the metric's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from lora_tui.analysis.judgement import Basis, Confidence, Level
from lora_tui.analysis.stages import ADAPTER_METHODS, LANGUAGE_STAGES, PREFERENCE_STAGES, REINFORCEMENT_STAGES

LEVELS: tuple[Level, ...] = ("excellent", "good", "fair", "poor")
"""Levels of a rating, the best first."""
COUNTS = frozenset({"min_rows", "fair_rows", "min_values", "rows", "pairs", "window", "evals", "warm"})
"""Names of limits that count rows, values, steps or samples, and so are whole numbers."""


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the levels excellent, good and fair, in the metric's unit. Worse values are poor."""

    excellent: float | None
    """Bound of excellent, None if there is no such level."""
    good: float
    """Bound of good."""
    fair: float
    """Bound of fair."""
    higher: bool = True
    """Whether higher values are better (a value equal to a bound then has the better level), else lower ones."""
    closed: bool = False
    """Whether a value equal to a bound has the better level where lower values are better."""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds by level without those that are None, the best level first."""
        known = {"excellent": self.excellent, "good": self.good, "fair": self.fair}
        return {name: bound for name, bound in known.items() if bound is not None}

    def level(self, value: float) -> Level:
        """Return the level of a value."""
        for name, bound in zip(LEVELS, (self.excellent, self.good, self.fair), strict=False):
            if bound is None:
                continue
            if value >= bound if self.higher else (value <= bound if self.closed else value < bound):
                return name
        return "poor"


@dataclass(frozen=True)
class Rule:
    """How one kind of metric is rated."""

    code: str
    """Unique code, also a key of its words in the catalogues."""
    metrics: tuple[str, ...]
    """Names of the metrics that it rates; those of results files without their split."""
    sources: tuple[str, ...]
    """Sources of the numbers: codes of SOURCES, whose words are ``source.<code>`` in the catalogues."""
    basis: Basis = "rule"
    """What the metric is compared with."""
    confidence: Confidence = "firm"
    """The best confidence that this rule can reach."""
    stages: frozenset[str] | None = None
    """Stages that it applies to, None for all."""
    producers: frozenset[str] | None = None
    """Prefixes of the producers that it applies to (``llamafactory`` covers its versions), None for all."""
    thresholds: Thresholds | None = None
    """Bounds of the levels, None unless the value alone decides the level."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Other numbers of the rule by name, see the docstring of the module."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Wording code of the short verdict (catalogue key ``rating.<code>``) by level or name of a case."""
    order: tuple[str, ...] = ()
    """Names of limits whose values must not decrease in this order."""
    own: bool = False
    """Whether some of its numbers come from the user's config.toml."""

    @property
    def numbers(self) -> Mapping[str, float]:
        """All numbers of the rule by name: its bounds, then its limits."""
        return {**(self.thresholds.bounds if self.thresholds is not None else {}), **self.limits}

    def applies(self, stage: str | None, producer: str) -> bool:
        """Return whether the rule applies to a run of this stage and producer."""
        if self.producers is not None and not any(producer.startswith(name) for name in self.producers):
            return False
        return self.stages is None or stage in self.stages


def by_level(*codes: str) -> Mapping[str, str]:
    """Return four wording codes by level; the first one is that of the best level."""
    return MappingProxyType(dict(zip(LEVELS, codes, strict=True)))


SOURCES: tuple[str, ...] = (
    "lf",  # LLaMA-Factory's code and examples
    "hf",  # transformers' code
    "trl",  # TRL's documentation
    "unsloth",  # Unsloth's fine-tuning guide
    "tm",  # "LoRA Without Regret", Thinking Machines, 2025
    "qlora",  # the QLoRA paper
    "dpo",  # the DPO paper
    "instructgpt",  # the InstructGPT paper
    "measured",  # by this project, with LLaMA-Factory's own metric code and on real runs
    "convention",  # ours, without an outside source, and therefore only ever shown as orientation
)
"""Codes of the sources of numbers; their words are ``source.<code>`` in the catalogues."""


_LLAMAFACTORY = frozenset({"llamafactory"})
_SFT, _PT, _RM = frozenset({"sft"}), frozenset({"pt"}), frozenset({"rm"})
_PPL = by_level("ppl_very_low", "ppl_low", "ppl_high", "ppl_very_high")
_ACCURACY = by_level("accuracy_very_high", "accuracy_high", "accuracy_some", "near_coin")


def _score(code: str, metric: str, thresholds: Thresholds, best: str) -> Rule:
    """Return the rule of a score from 0 to 100 as LLaMA-Factory computes it.

    Its bounds were measured with LLaMA-Factory's own metric code on 300 answers.
    """
    return Rule(
        code, (metric,), ("measured",), stages=LANGUAGE_STAGES, producers=_LLAMAFACTORY, thresholds=thresholds,
        words=by_level(best, "score_high", "score_part", "score_little"),
    )  # fmt: skip


RULES: tuple[Rule, ...] = (
    # A low loss has no level, since it depends on data and masking. 5 % is above the noise of a window of rows.
    Rule(
        "loss_trend", ("loss",), ("convention", "unsloth"), "base", stages=LANGUAGE_STAGES | {"orpo", "simpo"},
        limits={"min_rows": 8, "fall": 0.05, "late": 0.25, "fair_rows": 30, "rise": 0.10},
        words={"good": "converging", "fair": "hardly_moves", "rising": "rising_again", "early": "early",
               "broken": "out_of_control", "above_start": "above_start", "diverging": "diverging"},
    ),
    # A sigmoid preference loss starts at ln 2 = 0.693 nats (``start_low`` to ``start_high``). Other losses of dpo start
    # elsewhere: they have a trend and no level.
    Rule(
        "loss_preference", ("loss",), ("dpo", "measured"), stages=frozenset({"dpo", "rm"}),
        limits={"min_rows": 8, "good": 0.65, "late": 0.30, "poor": 0.75, "start_low": 0.60, "start_high": 0.78},
        order=("good", "poor"),
        words={"good": "preference_learned", "fair": "near_chance", "poor": "worse_than_reference", "early": "early",
               "falling": "falling", "level": "level", "broken": "out_of_control"},
    ),
    # The loss starts at 0.5; measured 0.499 -> 0.44.
    Rule(
        "loss_kto", ("loss",), ("trl", "measured"), "base", stages=frozenset({"kto"}),
        limits={"min_rows": 8, "fall": 0.03, "late": 0.30, "poor": 0.55},
        words={"good": "falling", "fair": "level", "poor": "worse_than_reference", "early": "early",
               "broken": "out_of_control"},
    ),
    Rule(
        "loss_no_progress", ("loss",), ("trl",), stages=REINFORCEMENT_STAGES, words={"none": "look_at_reward"},
    ),
    # The norm before clipping. Medians of healthy LoRA runs: 0.4-1.2 (measured). A small norm is judged together with
    # the loss (``low_loss``, nats). The loss scaler of fp16 begins with infinities: the first ``warm`` steps do not
    # count. ``jump``: factor of the highest of the last 20 norms over their median.
    Rule(
        "grad_norm", ("grad_norm",), ("hf", "measured"),
        limits={"min_values": 5, "none": 0.01, "small": 0.05, "good": 10, "fair": 100, "jump": 10, "low_loss": 0.1,
                "warm": 10},
        order=("none", "small", "good", "fair"),
        words={"good": "stable", "small": "small_stable", "weak": "small_gradient", "fair": "large_gradient",
               "jumpy": "jumpy", "poor": "exploding", "none": "no_gradient", "nan": "gradient_nan"},
    ),
    # The ranges are LR_RANGES; ``beyond`` is the factor outside of them up to which a rate is fair. LF examples: LoRA
    # 1e-4, full 1e-5, DPO 5e-6, PPO 1e-5. Unsloth, QLoRA paper: 2e-4. TM: LoRA about 10 x full.
    Rule(
        "lr_peak", ("lr",), ("lf", "unsloth", "qlora", "tm"),
        stages=LANGUAGE_STAGES | PREFERENCE_STAGES | REINFORCEMENT_STAGES | _RM, limits={"beyond": 3},
        words={"good": "lr_usual", "high": "lr_high", "low": "lr_low", "poor": "lr_far", "early": "warming_up"},
    ),
    Rule(
        "epochs", ("epoch",), ("unsloth", "lf"), confidence="orientation", stages=_SFT,
        limits={"good": 5, "fair": 20}, order=("good", "fair"),
        words={"good": "epochs_usual", "fair": "epochs_many", "more": "epochs_far_more"},
    ),
    Rule("epochs_other", ("epoch",), ("convention",), words={"none": "no_usual_number"}),
    # A sum over all passes, including padding unless the producer leaves it out.
    Rule(
        "tokens_seen", ("total_tokens", "num_tokens"), ("lf", "hf"),
        words={"none": "tokens_passes", "total": "tokens_total"},
    ),
    Rule(
        "speed_self", ("throughput", "steps_per_s", "samples_per_s"), ("convention",), "self",
        thresholds=Thresholds(None, 0.9, 0.7), limits={"min_rows": 10},
        words={"good": "speed_steady", "fair": "speed_slower", "poor": "speed_slower", "early": "speed_too_short"},
    ),
    # Tokens/s of one device.
    Rule(
        "throughput", ("throughput",), ("convention",), "orientation", "orientation",
        thresholds=Thresholds(None, 1000, 300),
        words={"good": "speed_high", "fair": "speed_medium", "poor": "speed_low"},
    ),
    # LF's default rank 8 trains about 0.9 % of a model of 0.5B parameters.
    Rule(
        "trainable_share", ("trainable_percent",), ("convention", "lf"),
        limits={"few": 0.1, "usual": 2, "many": 20}, order=("few", "usual", "many"),
        words={"few": "trainable_few", "usual": "trainable_usual", "many": "trainable_many", "all": "trainable_all"},
    ),
    # Real LF runs have 2.8 to 5.2. eval_loss uses the logarithms of the same bounds, so that the two never disagree.
    Rule(
        "perplexity", ("perplexity", "eval_loss"), ("convention",), "orientation", "orientation", _SFT,
        thresholds=Thresholds(2, 4, 8, higher=False), words=_PPL,
    ),
    # Every token counts in pre-training, not only the answers.
    Rule(
        "perplexity_pt", ("perplexity", "eval_loss"), ("convention",), "orientation", "orientation", _PT,
        thresholds=Thresholds(4, 8, 16, higher=False), words=_PPL,
    ),
    # Compares with the first and the best evaluation, while the run goes on and where no thresholds apply. ``evals``:
    # number of evaluations that a firm rating needs.
    Rule(
        "eval_trend", ("eval_loss", "perplexity"), ("convention",), "base",
        limits={"evals": 3, "fall": 0.01, "slack": 0.02},
        words={"falling": "still_falling", "near": "near_its_best", "rising": "rising", "level": "level",
               "above": "above_first", "early": "after_evals"},
    ),
    # Percent of the train loss; healthy real runs have -6 to 8 %. ``rows`` and ``share``: the train rows compared with;
    # ``error``: percent above which the gap is not certain.
    Rule(
        "gap", ("gap",), ("convention", "measured"), "self", stages=LANGUAGE_STAGES,
        thresholds=Thresholds(None, 8, 20, higher=False, closed=True),
        limits={"below": -15, "rows": 3, "share": 0.05, "error": 6},
        words={"good": "gap_close", "fair": "gap_apart", "poor": "gap_far", "below": "gap_eval_easier"},
    ),
    # Measured on 200-300 pairs (BLEU-4 / ROUGE-1 / ROUGE-2 / ROUGE-L): unrelated answers 1/11/1/10 in Chinese and
    # 11/12/1/9 in English; the first half of the answer 36/72/65/65; 30 % of the words missing 49/85/58/81 and
    # 55/66/36/63; 10 % missing 81/95/84/94 and 84/87/72/86.
    _score("bleu4", "bleu-4", Thresholds(70, 50, 30), "bleu_excellent"),
    _score("rouge1", "rouge-1", Thresholds(85, 65, 40), "rouge1_excellent"),
    _score("rouge2", "rouge-2", Thresholds(75, 50, 25), "rouge2_excellent"),
    _score("rougel", "rouge-l", Thresholds(80, 60, 35), "rougel_excellent"),
    # Other programs use these names for scores of 0-1 or of 0-100, with other tokenizers.
    Rule(
        "score_scale",
        ("bleu-4", "rouge-1", "rouge-2", "rouge-l", "bleu", "sacrebleu", "rouge1", "rouge2", "rougeL", "rougeLsum"),
        ("convention",), words={"none": "scale_unknown"},
    ),
    # HF: the time of accelerator.prepare_model alone; real values 0.002-0.006 s.
    Rule(
        "preparation", ("model_preparation_time",), ("convention", "hf"), "orientation", "orientation",
        thresholds=Thresholds(1, 10, 60, higher=False),
        words=by_level("preparation_very_short", "preparation_short", "preparation_long", "preparation_very_long"),
    ),
    # Seconds a sample, with generation in batches.
    Rule(
        "predict_speed", ("samples_per_second",), ("convention",), "orientation", "orientation", LANGUAGE_STAGES,
        thresholds=Thresholds(0.2, 1, 5, higher=False, closed=True),
        words=by_level("predict_very_fast", "predict_fast", "predict_slow", "predict_very_slow"),
    ),
    # An evaluation without generation goes forward only, so it should beat the training.
    Rule(
        "eval_speed", ("samples_per_second",), ("convention",), "self", "orientation",
        limits={"fair": 0.5, "good": 1}, order=("fair", "good"),
        words={"good": "eval_faster", "between": "eval_near", "fair": "eval_slower", "none": "eval_alone"},
    ),
    Rule("train_speed", ("samples_per_second",), ("convention",), words={"none": "speed_of_runs"}),
    Rule("batch", ("steps_per_second",), ("hf",), words={"none": "batch_of"}),
    Rule("runtime", ("runtime",), ("hf", "measured"), words={"none": "samples_of", "scored": "samples_bleu"}),
    # The mean of the loss over all steps of the last start of the job.
    Rule("train_loss", ("train_loss",), ("hf",), words={"none": "mean_of_run"}),
    # Chance is 0.5; published LoRA-DPO cards 0.66-0.73.
    Rule(
        "preference_accuracy", ("accuracy", "rewards/accuracies"), ("dpo", "convention"), stages=PREFERENCE_STAGES,
        thresholds=Thresholds(0.80, 0.65, 0.55), limits={"pairs": 100, "late": 0.30, "saturated": 0.98},
        words=_ACCURACY,
    ),
    # Margins scale with beta (0.01-0.5): sign and trend only. ``beta_share``: margin as a share of beta that is small.
    Rule(
        "margins", ("rewards/margins",), ("dpo", "lf"), "self", stages=PREFERENCE_STAGES,
        limits={"min_rows": 8, "late": 0.30, "beta_share": 0.5, "fall": 0.2},
        words={"good": "margins_grow", "fair": "margins_small", "poor": "margins_negative", "level": "margins_level",
               "shrinking": "margins_shrink", "early": "early"},
    ),
    # Human labellers agree with each other on 0.7-0.75 of the pairs.
    Rule(
        "reward_accuracy", ("eval_accuracy", "accuracy"), ("instructgpt", "convention"), stages=_RM,
        thresholds=Thresholds(0.75, 0.65, 0.55), words=_ACCURACY,
    ),
    Rule(
        "token_accuracy", ("mean_token_accuracy", "eval_mean_token_accuracy", "eval_accuracy", "accuracy"),
        ("convention",), "self", stages=LANGUAGE_STAGES, limits={"min_rows": 8, "window": 200},
        words={"good": "token_rising", "fair": "token_falling", "level": "level", "early": "after_rows"},
    ),
    # Slope against twice its standard error, and the last window against the first.
    Rule(
        "reward_trend", ("reward",), ("trl",), "self", stages=REINFORCEMENT_STAGES,
        limits={"min_rows": 20, "window": 200},
        words={"good": "reward_rising", "fair": "level", "poor": "reward_falling", "kept": "reward_kept",
               "early": "after_rows"},
    ),
    # A sum over micro-batches and ranks: it has no scale.
    Rule(
        "kl_trend", ("kl",), ("trl",), "self", stages=frozenset({"kto"}), limits={"min_rows": 8, "window": 200},
        words={"rising": "rising", "falling": "falling", "level": "level", "early": "after_rows"},
    ),
    Rule(
        "kl_bounded", ("kl", "objective/kl"), ("trl", "convention"), "self", stages=REINFORCEMENT_STAGES,
        limits={"min_rows": 20, "growth": 10},
        words={"good": "kl_bounded", "growing": "kl_exploding", "negative": "kl_negative", "early": "after_rows"},
    ),
    # Share of groups whose answers all have the same reward. Near 1 there is no signal; the bounds between are ours.
    Rule(
        "zero_std", ("frac_reward_zero_std",), ("trl", "convention"), "orientation", "orientation",
        frozenset({"grpo"}), thresholds=Thresholds(None, 0.3, 0.6, higher=False), limits={"rows": 20},
        words={"good": "groups_differ", "fair": "groups_alike", "poor": "groups_no_signal"},
    ),
    # Without a known stage there is nothing to compare with.
    Rule("stage_unknown", ("loss", "perplexity"), ("convention",), words={"none": "stage_unknown"}),
    # These compare with other runs of the same model, data and stage, and are looked up by their codes.
    Rule(
        "speed_sibling", ("throughput", "steps_per_s", "samples_per_s"), ("convention",), "sibling",
        limits={"min_rows": 10, "good": 0.9}, words={"good": "speed_as_sibling", "fair": "speed_below_sibling"},
    ),
    Rule(
        "eval_sibling", ("eval_loss", "perplexity"), ("convention",), "sibling", stages=LANGUAGE_STAGES,
        limits={"behind": 0.08}, words={"fair": "behind_sibling"},
    ),
    Rule(
        "score_sibling", ("bleu-4", "rouge-1", "rouge-2", "rouge-l"), ("convention",), "sibling",
        stages=LANGUAGE_STAGES, producers=_LLAMAFACTORY, limits={"behind": 0.1}, words={"fair": "behind_sibling"},
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
"""Usual peak learning rates (lowest, highest), by family of stages (see :func:`lr_family`) and by side: "adapter", or
"full" for methods that train the weights themselves. The sources are those of the rule ``lr_peak``."""


def find_rule(
    metric: str, stage: str | None, producer: str, code: str | None = None, rules: Sequence[Rule] = RULES
) -> Rule | None:
    """Return the first rule for a metric (without its split), stage and producer, None if there is none.

    Only the rule with this ``code`` counts if one is given.
    """
    for rule in rules:
        if metric in rule.metrics and (code is None or rule.code == code) and rule.applies(stage, producer):
            return rule
    return None


def lr_family(stage: str) -> str | None:
    """Return the family of stages that share their usual learning rates, None if none are known for the stage."""
    if stage in LANGUAGE_STAGES:
        return "language"
    if stage in PREFERENCE_STAGES or stage in REINFORCEMENT_STAGES:
        return "preference"
    return "rm" if stage == "rm" else None


def usual_lr_ranges(
    stage: str, method: str | None, ranges: Mapping[str, Mapping[str, tuple[float, float]]] = LR_RANGES
) -> dict[str, tuple[float, float]]:
    """Return the usual peak learning rates (lowest, highest) by side, empty where none are known for the stage.

    The side is "adapter" or "full", as the method trains; both if the method is not known.
    """
    family = lr_family(stage)
    if family is None:
        return {}
    sides = ("adapter", "full") if method is None else ("adapter" if method in ADAPTER_METHODS else "full",)
    return {side: ranges[family][side] for side in sides}
