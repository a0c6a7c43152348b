"""Groups of training stages and fine-tuning methods, by LLaMA-Factory's names (``stage``, ``finetuning_type``)."""

from __future__ import annotations

LANGUAGE_STAGES = frozenset({"sft", "pt"})
"""Stages that minimise the cross-entropy of tokens: supervised fine-tuning (sft) and pre-training (pt)."""
PREFERENCE_STAGES = frozenset({"dpo", "kto", "orpo", "simpo"})
"""Stages that learn from preferences between answers, without a reward model."""
REINFORCEMENT_STAGES = frozenset({"ppo", "grpo"})
"""Stages that maximise a reward."""
ADAPTER_METHODS = frozenset({"lora", "qlora", "dora", "oft", "qoft"})
"""Methods that train an adapter and keep the weights of the base model frozen."""
