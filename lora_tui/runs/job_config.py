"""Options of a job, collected from all files that contain some, with their sources; stage and kind of the job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from lora_tui.records.documents import ConfigDoc, ConfigValue, ConsoleFacts, Results, TrainerState
from lora_tui.records.file_names import ADAPTER_CONFIG, EVENT_FILE, MODEL_CARD, TRAINER_STATE, TRAINING_ARGS
from lora_tui.records.updates import FileDoc
from lora_tui.runs.series import Series

ADAPTER_KEYS = frozenset(
    {"lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora", "bias", "additional_target"}
)
"""Options for which adapter_config.json is trusted most, since it describes the saved adapter itself."""
STAGES = frozenset({"sft", "pt", "rm", "ppo", "dpo", "kto", "orpo", "simpo", "grpo"})
"""Training stages that a file may state."""


@dataclass(frozen=True)
class ConfigEntry:
    """One option of the job and the file that it was found in."""

    value: ConfigValue
    """Value of the option; secrets are masked."""
    source: str
    """Path of the file, relative to the directory of the run."""


def _rank(doc: FileDoc, key: str) -> int:
    """Return how far a file is trusted on an option, from 2 to 10; trainer_state.json, used last, would be 1."""
    name = PurePath(doc.file).name
    if name == ADAPTER_CONFIG:
        return 10 if key in ADAPTER_KEYS else 7
    if name == TRAINING_ARGS:
        return 9
    if isinstance(doc.doc, ConsoleFacts):
        return 6
    if EVENT_FILE.match(name):
        return 5
    if name == MODEL_CARD:
        return 4
    return 2


def merge_config(docs: Iterable[FileDoc], state: TrainerState | None) -> dict[str, ConfigEntry]:
    """Return the options, sorted by name, each from the most trusted file that has it (of equals, the newest)."""
    best: dict[str, tuple[tuple[int, float], ConfigEntry]] = {}
    for doc in docs:
        if isinstance(doc.doc, (ConfigDoc, ConsoleFacts)):
            values = doc.doc.values if isinstance(doc.doc, ConfigDoc) else doc.doc.config
            for key, value in values.items():
                if value is None:
                    continue
                rank = (_rank(doc, key), doc.mtime)
                if key not in best or best[key][0] <= rank:
                    best[key] = (rank, ConfigEntry(value, doc.file))
    if state is not None:
        derived: dict[str, ConfigValue] = {
            "num_train_epochs": state.num_train_epochs,
            "logging_steps": state.logging_steps,
            "save_steps": state.save_steps,
            "per_device_train_batch_size": state.train_batch_size,
            "max_steps": state.max_steps,
        }
        for key, value in derived.items():
            if value is not None and key not in best:
                best[key] = ((1, 0.0), ConfigEntry(value, TRAINER_STATE))
    return {key: best[key][1] for key in sorted(best)}


def stage_of(
    config: Mapping[str, ConfigEntry], series: Mapping[str, Series], results: Mapping[str, tuple[Results, FileDoc]]
) -> str | None:
    """Return the training stage: as a file states it, else by metrics that only one stage logs; None if unknown."""
    stated = config.get("stage")
    if stated is not None and isinstance(stated.value, str) and stated.value in STAGES:
        return stated.value
    names = series.keys()
    if "odds_ratio_loss" in names:
        return "orpo"
    if "kl" in names and "rewards/chosen" in names:
        return "kto"
    if any(name.startswith(("completions/", "frac_reward_zero_std")) for name in names):
        return "grpo"
    if "rewards/accuracies" in names or ("accuracy" in names and "mean_token_accuracy" not in names):
        return "dpo"
    if "reward" in names:
        return "ppo"
    hint = config.get("stage_hint")
    if hint is not None:
        if hint.value == "pairwise":
            return "rm"
        return str(hint.value)
    keys = {key for doc, _ in results.values() for key in doc.values}
    if any(key.startswith(("predict_bleu", "eval_bleu")) for key in keys):
        return "sft"
    return "pt" if "eval_perplexity" in keys else None


def job_kind(config: Mapping[str, ConfigEntry]) -> str:
    """Return what a job that does not train does: "predicting" or "evaluating"."""
    for option in ("do_predict", "predict_with_generate"):
        if (entry := config.get(option)) is not None and entry.value is True:
            return "predicting"
    return "evaluating"
