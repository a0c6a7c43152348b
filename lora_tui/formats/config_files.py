"""Options of a job from its configuration files and model card, under LLaMA-Factory's option names.

Sources: peft ``PeftConfig.save_pretrained`` (adapter_config.json), LLaMA-Factory ``webui/runner.py``
(training_args.yaml, llamaboard_config.yaml), transformers ``modelcard.py`` and trl (README.md). Every function masks
secrets in its result, and raises :class:`TornError` for an empty file (also for half-written JSON) and
:class:`FormatError` for content that does not fit the file's name. Values are scalars or flat tuples; null and nested
values are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from types import MappingProxyType

from lora_tui.formats.json_lines import as_number, as_text, load_json, load_json_object
from lora_tui.formats.secrets import mask_secrets
from lora_tui.records.documents import ConfigDoc, ConfigValue, FormatError, Scalar, TornError

MAX_CARD = 1024 * 1024
"""Size in bytes of the largest model card that is read."""
MAX_YAML = 256 * 1024
"""Size in bytes of the largest YAML file that is read; real ones have a few kB, and a megabyte can take seconds."""

_MAX_DEPTH = 32
"""Deepest nesting of YAML that is read."""
_MAX_TAGS = 10
"""Largest number of tag declarations in YAML, since libyaml compares each with all before it."""


def parse_adapter_config(data: bytes) -> ConfigDoc:
    """Parse ``adapter_config.json`` (peft, all versions): rank, alpha, targets, base model."""
    config = load_json_object(data)
    peft_type = config.get("peft_type")
    method = peft_type.lower() if isinstance(peft_type, str) else None
    if method is None and "r" not in config:
        raise FormatError("not an adapter configuration: neither peft_type nor r")
    prefix = "oft" if method == "oft" else "lora"
    initial = config.get("init_lora_weights")
    found: dict[str, object] = {
        "finetuning_type": "dora" if method == "lora" and config.get("use_dora") is True else method,
        f"{prefix}_rank": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "lora_dropout": config.get("lora_dropout"),
        f"{prefix}_target": _sorted(config.get("target_modules")),
        "additional_target": _sorted(config.get("modules_to_save")),
        "model_name_or_path": config.get("base_model_name_or_path"),
        "use_rslora": config.get("use_rslora"),
        "bias": config.get("bias"),
        # true is the default initialisation and false none; only names such as "pissa" are worth showing.
        "init_lora_weights": initial if isinstance(initial, str) else None,
        "peft_version": config.get("peft_version"),
    }
    return _doc(found.items())


def parse_training_args(data: bytes) -> ConfigDoc:
    """Parse ``training_args.yaml`` or any other YAML file of LLaMA-Factory options; names stay as written.

    Strings such as "1e-4", which are no numbers in YAML 1.1, become floats.
    """
    options = _load_yaml(data)
    return _doc(((key, _number_like(value)) for key, value in options.items()), "llamafactory")


# Fields of LLaMA-Factory's web page: its training stages, fields whose option has another name, fields that are no
# options, text fields that hold numbers, and fields in which 0 means that the option is not set.
_STAGES = {
    "Supervised Fine-Tuning": "sft", "Reward Modeling": "rm", "PPO": "ppo", "DPO": "dpo", "KTO": "kto",
    "ORPO": "orpo", "Pre-Training": "pt",
}  # fmt: skip
_BOARD_NAMES = {
    "training_stage": "stage", "model_name": "model_name_or_path", "checkpoint_path": "adapter_name_or_path",
    "batch_size": "per_device_train_batch_size",
}  # fmt: skip
_BOARD_ONLY = frozenset({"extra_args", "compute_type", "booster", "ds_stage", "ds_offload", "hub_name", "swanlab_link"})
_BOARD_NUMBERS = frozenset({"learning_rate", "num_train_epochs", "max_grad_norm", "max_samples", "quantization_bit"})
_BOARD_ZERO_IS_UNSET = frozenset({"loraplus_lr_ratio", "neftune_alpha"})


def parse_llamaboard_config(data: bytes) -> ConfigDoc:
    """Parse ``llamaboard_config.yaml``, which holds the fields of LLaMA-Factory's web page by element id.

    Returns the options that the page would pass on: without those that are empty, off, or belong to another stage or
    method than the chosen one, and with those of ``extra_args``.
    """
    page = _load_yaml(data)
    fields = {key.partition(".")[2]: value for key, value in page.items() if key.startswith(("top.", "train."))}
    if not fields:
        raise FormatError("not a LlamaBoard configuration: no top.* or train.* fields")
    stage = _STAGES.get(str(fields.get("training_stage")))
    method = fields.get("finetuning_type")
    foreign = tuple(
        prefix
        for prefix, wanted in (
            ("lora", method == "lora"), ("freeze", method == "freeze"), ("pref_", stage in ("dpo", "kto")),
            ("ppo_", stage == "ppo"), ("reward_model", stage == "ppo"),
            ("quantization", fields.get("quantization_bit") not in (None, "none")),
            ("galore_", fields.get("use_galore")), ("badam_", fields.get("use_badam")),
            ("apollo_", fields.get("use_apollo")), ("swanlab_", fields.get("use_swanlab")),
        )
        if not wanted
    )  # fmt: skip
    options: dict[str, object] = {}
    for name, value in fields.items():
        unset = value is None or value is False or value in ("", []) or (value == "none" and name != "report_to")
        if unset or name in _BOARD_ONLY or name.startswith(foreign) or (name in _BOARD_ZERO_IS_UNSET and not value):
            continue
        if name in _BOARD_NUMBERS:
            value = _number_like(value, plain=True)
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = ",".join(value)
        options[_BOARD_NAMES.get(name, name)] = value
    options["stage"] = stage
    if method == "lora":
        options.setdefault("lora_target", "all")
    if fields.get("compute_type") in ("bf16", "fp16", "pure_bf16"):
        options[str(fields["compute_type"])] = True
    if fields.get("ds_stage") not in (None, "", "none"):
        options["deepspeed"] = f"ds_z{fields['ds_stage']}{'_offload' if fields.get('ds_offload') else ''}_config.json"
    options.update(_extra_args(fields.get("extra_args")))
    return _doc(options.items(), "llamafactory")


# Model cards: the options by the names in the list of hyperparameters, and what tags say about producer and stage.
_CARD_NAMES = {
    "learning_rate": "learning_rate", "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size", "num_devices": "num_devices",
    "gradient_accumulation_steps": "gradient_accumulation_steps", "total_train_batch_size": "total_train_batch_size",
    "lr_scheduler_type": "lr_scheduler_type", "lr_scheduler_warmup_ratio": "warmup_ratio",
    "lr_scheduler_warmup_steps": "warmup_steps", "num_epochs": "num_train_epochs", "training_steps": "max_steps",
    "seed": "seed", "optimizer": "optim", "mixed_precision_training": "mixed_precision_training",
}  # fmt: skip
_CARD_PRODUCERS = {
    "llama-factory": "llamafactory", "trl": "trl", "generated_from_trainer": "transformers",
    "transformers": "transformers",
}  # fmt: skip
_CARD_METHODS = ("lora", "full", "freeze", "oft")
_TRL_STAGES = {
    "sft": "sft",
    "dpo": "dpo",
    "kto": "kto",
    "grpo": "grpo",
    "orpo": "orpo",
    "ppo": "ppo",
    "reward-trainer": "rm",
}
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\n---\s*?(?:\n|\Z)", re.DOTALL)
_ITEM = re.compile(r"- ([a-z_]+): (.+)")
_TRAINED_ON = re.compile(
    r"This model (?:is a fine-tuned version of .+?|was trained from scratch) on the (.+?) datasets?\."
)
_VERSION = re.compile(r"- (PEFT|TRL|Transformers|Pytorch|Datasets|Tokenizers):? (\S+)")
_OPTIMIZER = re.compile(r"(?:Use )?(?:OptimizerNames\.)?(\w+)")


def parse_model_card(data: bytes) -> ConfigDoc:
    """Parse a ``README.md``: a model card of transformers or trl, or peft's unfilled template in a checkpoint.

    Reads the base model, the tags (producer, method, trl's stage), the data sets, the list of hyperparameters and the
    versions of the libraries (``transformers_version``, ``peft_version``, ``torch_version``, …). Other text and a
    damaged head give fewer values and no error. Raises :class:`TornError` if the file is empty and
    :class:`FormatError` if it is larger than 1 MiB.
    """
    text = _text(data, MAX_CARD)
    found: dict[str, object] = {}
    head: dict[str, object] = {}
    front = _FRONT_MATTER.match(text)
    if front:
        try:
            head = _load_yaml(front[1].encode())
        except FormatError:
            head = {}
    base = head.get("base_model")
    if isinstance(base, list):
        base = base[0] if base else None
    if isinstance(base, str) and base != "None":
        found["model_name_or_path"] = base
    listed = head.get("tags")
    tags = [tag for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []
    producer = next((name for tag, name in _CARD_PRODUCERS.items() if tag in tags), None)
    if "[More Information Needed]" in text:
        return _doc(found.items(), producer)
    found["finetuning_type"] = next((tag for tag in _CARD_METHODS if tag in tags), None)
    if producer == "trl":
        found["stage"] = next((_TRL_STAGES[tag] for tag in tags if tag in _TRL_STAGES), None)
    # Matched against one line of limited length, since the pattern is slow on a hostile megabyte.
    sentence = next((line for line in text.splitlines() if line.startswith("This model ")), "")
    trained_on = _TRAINED_ON.match(sentence[:2000])
    if trained_on:
        found["dataset"] = ",".join(re.split(r"(?:,| and)\s+(?:the\s+)?", trained_on[1]))
    found.update(_hyperparameters(text))
    for name, version in _VERSION.findall(text.partition("Framework versions")[2]):
        found["torch_version" if name == "Pytorch" else f"{name.lower()}_version"] = version
    return _doc(found.items(), producer)


def _hyperparameters(text: str) -> dict[str, object]:
    """Return the options in the list of hyperparameters of a model card."""
    section = text.partition("hyperparameters were used during training:")[2].partition("\n#")[0]
    found: dict[str, object] = {}
    for key, written in _ITEM.findall(section):
        name = _CARD_NAMES.get(key)
        if name is None:
            continue
        value: object = _number_like(written.strip(), plain=True)
        if name == "optim":
            optimizer = _OPTIMIZER.match(written)
            value = optimizer[1].lower() if optimizer else None
        elif name == "warmup_steps" and isinstance(value, float) and 0 < value < 1:
            # transformers 5 takes a fraction of all steps in place of warmup_ratio.
            name = "warmup_ratio"
        found[name] = value
    return found


def _extra_args(written: object) -> dict[str, object]:
    """Return the options in the field ``extra_args``, which holds a JSON object; empty if it does not."""
    if not isinstance(written, str):
        return {}
    try:
        extra = load_json(written)
    except (ValueError, RecursionError):
        return {}
    return extra if isinstance(extra, dict) else {}


def _text(data: bytes, limit: int) -> str:
    """Decode a file. Raises TornError if it is empty and FormatError if it is larger than ``limit`` bytes."""
    if len(data) > limit:
        raise FormatError(f"larger than {limit >> 10} KiB")
    text = data.decode("utf-8-sig", "replace")
    if not text.strip(" \t\r\n\0"):
        raise TornError("empty file")
    return text


def _load_yaml(data: bytes) -> dict[str, object]:
    """Load one YAML mapping with string keys.

    Raises TornError if it is empty, and FormatError for tags of Python objects, expansion bombs, deep nesting and
    anything but a mapping.
    """
    import yaml  # type: ignore[import-untyped,unused-ignore]

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = _text(data, MAX_YAML)
    if text.count("%TAG") > _MAX_TAGS:
        raise FormatError("YAML with too many tags")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.events.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    raise FormatError("YAML nested too deeply")
            elif isinstance(event, yaml.events.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.events.ScalarEvent):
                if event.value == "<<":
                    # An alias alone shares its node, but merge keys multiply it.
                    raise FormatError("YAML merge keys are not read")
                if len(event.value) > _MAX_CLOCK and _CLOCK.fullmatch(event.value):
                    # "1:30" is a number to base 60; one of many parts takes quadratic time.
                    raise FormatError("YAML number too long")
        value = yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader, the faster one where libyaml is there
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise FormatError(f"not YAML: {getattr(error, 'problem', None) or 'unreadable'}{where}") from None
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError):
        # Raised by PyYAML's constructors for a tag that does not fit its value.
        raise FormatError("not YAML: a value does not fit its tag") from None
    if not isinstance(value, dict):
        raise FormatError("not a YAML mapping")
    return {key: item for key, item in value.items() if isinstance(key, str)}


_MAX_CLOCK = 100
"""Length in characters of the longest number to base 60 that is read."""
_CLOCK = re.compile(r"[-+]?[0-9_]*:[0-9_:]*")
_EXPONENT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d+")
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def _number_like(value: object, plain: bool = False) -> object:
    """Convert a string in exponent notation to a float; with ``plain`` any decimal number, whole ones to an int."""
    if not isinstance(value, str) or len(value) > 40 or not (_PLAIN if plain else _EXPONENT).fullmatch(value):
        return value
    return int(value) if plain and value.lstrip("+-").isdecimal() else as_number(value)


def _sorted(value: object) -> object:
    """Sort a list of names, since peft writes sets, whose order varies. A pattern, which is a string, stays."""
    return sorted(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _doc(found: Iterable[tuple[str, object]], producer: str | None = None) -> ConfigDoc:
    """Return the options as a record, with secrets masked and without null and nested values."""
    values: dict[str, ConfigValue] = {}
    for key, item in found:
        value = _config_value(item)
        if value is not None:
            values[as_text(key)] = value
    return ConfigDoc(MappingProxyType(mask_secrets(values)), producer)


def _config_value(item: object) -> ConfigValue:
    """Return a scalar or a flat tuple; None for null and for everything else."""
    if isinstance(item, list):
        flat = [_scalar(one) for one in item]
        return tuple(flat) if flat and None not in flat else None
    return _scalar(item)


def _scalar(item: object) -> Scalar:
    if isinstance(item, str):
        return as_text(item)
    if isinstance(item, (bool, int, float)):
        return item
    # YAML reads 2024-01-01 as a date, for example in a run_name.
    return item.isoformat() if isinstance(item, date) else None
