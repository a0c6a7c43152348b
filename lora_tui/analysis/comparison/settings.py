"""Find the options that differ between runs. An option that the files of a run do not have is no difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lora_tui.analysis.similarity import Setup, data_agrees
from lora_tui.records.documents import ConfigValue
from lora_tui.records.file_names import TRAINER_STATE

Kind = Literal["matters", "seed", "idle"]
"""Effect of an option: it changes what is learned, chooses the random numbers, or does neither (``idle``)."""

FIRST = (
    "model_name_or_path", "dataset", "eval_dataset", "val_size", "stage", "finetuning_type", "quantization_bit",
    "lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora", "use_dora", "learning_rate",
    "lr_scheduler_type", "warmup_ratio", "warmup_steps", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_devices", "total_train_batch_size",
    "cutoff_len", "template", "packing", "max_samples", "num_examples", "pref_beta", "pref_loss", "trainable_params",
)  # fmt: skip
"""The most important options, in the order in which they are listed."""
_SEEDS = frozenset({"seed", "data_seed"})
"""Options that choose the random numbers."""
_IDLE = frozenset({
    "output_dir", "run_name", "report_to", "plot_loss", "overwrite_output_dir", "overwrite_cache", "disable_tqdm",
    "ddp_timeout", "ddp_backend", "local_rank", "preprocessing_num_workers", "skip_memory_metrics", "push_to_hub",
    "trust_remote_code", "cache_dir", "include_num_input_tokens_seen", "include_tokens_per_second", "do_train",
    "do_eval", "do_predict", "predict_with_generate", "load_best_model_at_end", "metric_for_best_model",
    "greater_is_better", "trainable_percent", "all_params", "dataset_dir", "media_dir", "tokenized_path",
    "per_device_eval_batch_size", "prediction_loss_only", "batch_eval_metrics", "use_cache", "remove_unused_columns",
    "average_tokens_across_devices", "auto_find_batch_size", "dataloader_pin_memory", "dataloader_num_workers",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "restore_callback_states_from_checkpoint",
    "ignore_data_skip", "use_cpu", "no_cuda", "length_column_name", "stage_hint", "ray_num_workers", "project",
    "trackio_space_id", "enable_jit_checkpoint", "jit_mode_eval",
})  # fmt: skip
"""Options that do not change what is learned."""
_IDLE_BEGIN = (
    "logging_",
    "log_",
    "hub_",
    "save_",
    "eval_",
    "generation_",
    "profiler_",
    "enable_torch_profiler",
    "swanlab_",
)
"""Prefixes of options that do not change what is learned."""
_IDLE_END = ("_version",)
"""Suffixes of options that do not change what is learned."""
_SETS = frozenset({"lora_target", "eval_dataset", "additional_target", "target_modules"})
"""Options that list names whose order does not matter."""


@dataclass(frozen=True)
class Difference:
    """One option whose known values are not all equal."""

    option: str
    """Name of the option."""
    values: tuple[ConfigValue, ...]
    """One value for each run, None where it is not known (the run may have used the default)."""
    kind: Kind
    """Effect of the option."""


def kind_of(option: str) -> Kind:
    """Return the effect of an option."""
    if option in _SEEDS:
        return "seed"
    if option == "eval_dataset":
        return "matters"
    idle = option in _IDLE or option.startswith(_IDLE_BEGIN) or option.endswith(_IDLE_END)
    return "idle" if idle else "matters"


def differences(setups: Sequence[Setup]) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return the options that differ, those that change what is learned first, and those known for some runs only.

    The latter are names of options in :data:`FIRST`.
    """
    found: list[Difference] = []
    partly: list[str] = []
    for option in sorted({name for setup in setups for name in setup.settings}):
        values = tuple(_value(setup, option) for setup in setups)
        known = [value for value in values if value is not None]
        if option == "dataset":
            if data_agrees(setups) is False:
                shown = tuple(setup.data.shown for setup in setups)
                found.append(Difference(option, shown, "matters"))
            continue
        if _differ(option, known, setups):
            found.append(Difference(option, values, kind_of(option)))
        elif known and len(known) < len(values) and option in FIRST and option != "max_steps":
            partly.append(option)
    return tuple(sorted(found, key=_order)), tuple(sorted(partly, key=_place))


def _value(setup: Setup, option: str) -> ConfigValue:
    """Return the value of an option, None if it is not known."""
    setting = setup.settings.get(option)
    if setting is None:
        return None
    if option == "max_steps" and (setting.source == TRAINER_STATE or _number(setting.value) in (-1.0, 0.0)):
        # The trainer state has the planned steps under this name, and -1 or 0 means that the epochs decide.
        return None
    return setting.value


def _differ(option: str, known: Sequence[ConfigValue], setups: Sequence[Setup]) -> bool:
    """Return whether the known values of an option are not all equal."""
    if option == "model_name_or_path":
        return len({setup.model for setup in setups if setup.model is not None}) > 1
    if option == "lora_target":
        # The adapter's own file has the names of the layers that "all" stands for.
        known = [value for value in known if value != "all"]
    first = known[0] if known else None
    return any(not _equal(option, first, other) for other in known[1:])


def _equal(option: str, left: ConfigValue, right: ConfigValue) -> bool:
    """Return whether two values of an option are equal, as sets, numbers or texts."""
    if option in _SETS:
        return _items(left) == _items(right)
    a, b = _number(left), _number(right)
    if a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-9)
    return _plain(left) == _plain(right)


def _items(value: ConfigValue) -> frozenset[str]:
    parts: Iterable[object] = value if isinstance(value, tuple) else str(value).split(",")
    return frozenset(str(part).strip() for part in parts)


def _number(value: ConfigValue) -> float | None:
    if isinstance(value, bool) or value is None or isinstance(value, tuple):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _plain(value: ConfigValue) -> str:
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value).lower()
    return str(value).strip().lower()


def _order(difference: Difference) -> tuple[int, int, str]:
    return (("matters", "seed", "idle").index(difference.kind), *_place(difference.option))


def _place(option: str) -> tuple[int, str]:
    """Return the sort key of an option: those of :data:`FIRST` in their order, then the others by name."""
    return (FIRST.index(option) if option in FIRST else len(FIRST), option)
