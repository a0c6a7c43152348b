"""Names of the files that training jobs write and that this program reads.

The producers are LLaMA-Factory, transformers, peft and trl. All other modules use the constants of this one.
"""

from __future__ import annotations

import re
from typing import Literal

TRAINER_LOG = "trainer_log.jsonl"
"""Log of LLaMA-Factory's LogCallback, one JSON object per line."""
TRAINER_STATE = "trainer_state.json"
"""State of transformers' Trainer, written into each checkpoint and at the end of training into the root."""
RESULTS: dict[str, Literal["train", "eval", "predict", "all"]] = {
    "train_results.json": "train",
    "eval_results.json": "eval",
    "predict_results.json": "predict",
    "all_results.json": "all",
}
"""Split of each results file that transformers' ``Trainer.save_metrics`` writes, "all" for the union of all splits."""
PREDICTIONS = "generated_predictions.jsonl"
"""Predictions with their prompts and labels, one JSON object per line."""

ADAPTER_CONFIG = "adapter_config.json"
"""Options of the adapter as peft saves them."""
TRAINING_ARGS = "training_args.yaml"
"""Options of a job that was started from LLaMA-Factory's web page."""
LLAMABOARD_CONFIG = "llamaboard_config.yaml"
"""State of LLaMA-Factory's web page by element id."""
MODEL_CARD = "README.md"
"""Model card: the last file that a job writes into its root."""
DOCUMENTS = frozenset(RESULTS) | {TRAINER_STATE, ADAPTER_CONFIG, TRAINING_ARGS, LLAMABOARD_CONFIG, MODEL_CARD}
"""Files that are always read as a whole."""

ROOT_MODEL_FILES = frozenset({MODEL_CARD, "adapter_model.safetensors", "model.safetensors", "config.json"})
"""Files of a saved model of which the presence and the modification time are used."""
WEIGHTS = re.compile(r"(?:adapter_model|model|pytorch_model|value_head)(?:-\d+-of-\d+)?\.(?:safetensors|bin)\Z")
"""Match the name of a file of model or adapter weights, whole or one of several shards."""

EVENT_FILE = re.compile(r"events\.out\.tfevents\.")
"""Match the start of the name of a TensorBoard event file."""

CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})\Z")
"""Match the name of a checkpoint directory; group 1 is the step (transformers' PREFIX_CHECKPOINT_DIR)."""
CHECKPOINT_MARKER = "CHECKPOINT_COMPLETE"
"""Empty file that LLaMA-Factory's v1 trainer writes last into a checkpoint."""

RUNNING_LOG = "running_log.txt"
"""Log of LLaMA-Factory's own logger, which the web page shows."""
CONSOLE_NAMES = frozenset({RUNNING_LOG, "webui_subprocess.log", "nohup.out"})
"""Full names of console logs; files with one of the :data:`CONSOLE_SUFFIXES` may be console logs as well."""
CONSOLE_SUFFIXES = (".log", ".out")
"""Endings of the names of files to which users redirect the output of a job."""

RUN_EVIDENCE = frozenset(RESULTS) | {TRAINER_LOG, TRAINER_STATE, RUNNING_LOG}
"""Files each of which alone makes a directory a run."""


def is_console_name(name: str) -> bool:
    """Return whether a file of this name may be a console log."""
    return name in CONSOLE_NAMES or name.endswith(CONSOLE_SUFFIXES)


def is_run_file(name: str) -> bool:
    """Return whether a file of this name in a run's directory is used, for its content or its mere presence."""
    return (
        name in DOCUMENTS
        or name in (TRAINER_LOG, PREDICTIONS, CHECKPOINT_MARKER)
        or name in ROOT_MODEL_FILES
        or is_console_name(name)
        or any(pattern.match(name) for pattern in (EVENT_FILE, WEIGHTS, CHECKPOINT))
    )
