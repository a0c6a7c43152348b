"""Properties of every known metric: unit, direction, place on the screen, and keys of its words.

The metrics are those that LLaMA-Factory and the Hugging Face trainers write: transformers ``Trainer`` (loss, grad_norm,
learning_rate, ``*_runtime``, ``*_per_second``), LLaMA-Factory's callbacks and metrics (throughput, accuracy, BLEU and
ROUGE on a scale of 0-100), TRL (``rewards/*``, kl, entropy, mean_token_accuracy). This program computes perplexity,
gap, steps_per_s and samples_per_s itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Direction = Literal["higher", "lower", "none"]
Group = Literal["training", "evaluation", "generation", "preference", "reward", "speed", "setting"]
Place = Literal["overview", "results"]


@dataclass(frozen=True)
class Metric:
    """Properties of one metric."""

    name: str
    """Name as logged, or key of the results file."""
    unit: str = ""
    """Code of the unit (also in the catalogues, ``unit.<code>``); empty for a pure number."""
    direction: Direction = "none"
    """Which direction is better, ``none`` where neither is."""
    group: Group = "training"
    """Group in which it is listed."""
    place: Place = "overview"
    """Where it is shown: beside the live numbers, or (``results``) only among the results of a job."""
    topic: str = ""
    """Name under which the catalogues have its words, which several metrics may share; empty for ``name`` itself."""
    known: bool = True
    """Whether the metric is in METRICS; False for any other logged key."""

    @property
    def label(self) -> str:
        """Wording key of the short name."""
        return f"metric.{self.topic or self.name}.label"

    @property
    def meaning(self) -> str:
        """Wording key of the explanation in one or two sentences."""
        return f"metric.{self.topic or self.name}.meaning"


def _build() -> Mapping[str, Metric]:
    """Return all known metrics by name."""
    metrics = [
        Metric("loss", direction="lower"),
        Metric("train_loss", direction="lower", place="results"),
        Metric("grad_norm"),
        Metric("lr", group="setting"),
        Metric("epoch", group="setting"),
        Metric("total_tokens", "tokens"),
        Metric("num_tokens", "tokens", topic="total_tokens"),
        Metric("num_input_tokens_seen", "tokens", topic="total_tokens"),
        Metric("throughput", "tokens/s", "higher", "speed"),
        Metric("steps_per_s", "steps/s", "higher", "speed"),
        Metric("samples_per_s", "samples/s", "higher", "speed"),
        Metric("train_tokens_per_second", "tokens/s", "higher", "speed", "results"),
        Metric("effective_tokens_per_sec", "tokens/s", "higher", "speed", "results"),
        Metric("vram_allocated", "GiB", group="speed", place="results"),
        Metric("vram_reserved", "GiB", group="speed", place="results"),
        Metric("total_flos", group="speed", place="results"),
        Metric("trainable_percent", "%", group="setting"),
        Metric("mean_token_accuracy", direction="higher"),
        Metric("eval_mean_token_accuracy", direction="higher", group="evaluation", topic="mean_token_accuracy"),
        Metric("entropy"),
        Metric("eval_entropy", group="evaluation", topic="entropy"),
        Metric("eval_loss", direction="lower", group="evaluation"),
        Metric("predict_loss", direction="lower", group="evaluation", place="results", topic="eval_loss"),
        Metric("perplexity", direction="lower", group="evaluation"),
        Metric("eval_perplexity", direction="lower", group="evaluation", place="results", topic="perplexity"),
        Metric("gap", "%", "lower", "evaluation"),
        Metric("accuracy", direction="higher", group="preference"),
        Metric("eval_accuracy", direction="higher", group="preference"),
        Metric("predict_accuracy", direction="higher", group="preference", place="results", topic="eval_accuracy"),
        Metric("kl", group="preference"),
        Metric("objective/kl", group="reward", topic="kl"),
        Metric("reward", direction="higher", group="reward"),
        Metric("reward_std", group="reward"),
        Metric("frac_reward_zero_std", direction="lower", group="reward"),
    ]
    for split in ("", "eval_"):
        for name in ("sft_loss", "odds_ratio_loss"):
            metrics.append(Metric(f"{split}{name}", group="preference", place="results", topic=name))
        for kind in ("logps", "logits"):
            for side in ("chosen", "rejected"):
                topic = f"{kind}/{side}"
                metrics.append(Metric(split + topic, group="preference", place="results", topic=topic))
        for name in ("accuracies", "margins"):
            metrics.append(Metric(f"{split}rewards/{name}", direction="higher", group="preference"))
        for name in ("chosen", "rejected"):
            metrics.append(Metric(f"{split}rewards/{name}", group="preference"))
    for split in ("predict", "eval"):
        for score in ("bleu-4", "rouge-1", "rouge-2", "rouge-l"):
            metrics.append(Metric(f"{split}_{score}", "0-100", "higher", "generation", topic=score))
        metrics.append(
            Metric(f"{split}_model_preparation_time", "s", "lower", "speed", "results", topic="model_preparation_time")
        )
    for split in ("train", "eval", "predict"):
        metrics.append(Metric(f"{split}_runtime", "s", "none", "speed", "results", topic="runtime"))
        for what in ("samples", "steps"):
            # A step of an evaluation or prediction is one batch, so steps/s mean nothing without the batch size.
            direction: Direction = "higher" if what == "samples" else "none"
            topic = f"{what}_per_second"
            metrics.append(Metric(f"{split}_{topic}", f"{what}/s", direction, "speed", "results", topic=topic))
    return MappingProxyType({metric.name: metric for metric in metrics})


METRICS: Mapping[str, Metric] = _build()
"""Known metrics by name."""


def metric(name: str) -> Metric:
    """Return the metric called ``name``, or one with ``known=False`` if it is not in METRICS."""
    found = METRICS.get(name)
    return found if found is not None else Metric(name, known=False)
