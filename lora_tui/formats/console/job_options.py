"""The options, directories and results of a job by the messages in its console log.

Sources: the messages of LLaMA-Factory (``hparams/parser.py``, ``data/loader.py``, ``model/``, ``train/*/workflow.py``)
and of transformers ``Trainer`` (header of the training loop, ``save_model``, ``log_metrics``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from lora_tui.formats.console.patterns import Message, Number, more_precise, parse_count, parse_metric, parse_number
from lora_tui.formats.json_lines import MAX_METRICS
from lora_tui.records.documents import ConfigValue

_MAX_DATASETS = 100
"""Maximum number of data sets that are kept."""
_MAX_SPLITS = 20
"""Maximum number of metric blocks with different names that are kept; a job has train, eval and predict."""

# Each is needed a few times in a log: ``re`` compiles it at its first use and caches it.
_DUMP_KEYS = r"(chosen_input_ids|kto_tags|(?:label_ids|labels)|(?:input_ids)):?(?:$|\s)"
_CHECKPOINT = r"[/\\](?:checkpoint-\d+|pissa_(?:init|backup|converted))(?:[/\\].*)?$"
_HUB_CACHE = r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots"
_DATA_SUFFIX = r"\.(?:jsonl?|csv|tsv|parquet|arrow|txt)$"


class JobOptions:
    """Collects the options, the output directory, the adapters and the results of the current job.

    ``config`` has LLaMA-Factory's option names and those of :class:`ConsoleFacts`; also ``compute_dtype`` and
    ``stage_hint``: "pairwise" (dpo or rm, until a training row shows which), "kto" or "pt".
    """

    def __init__(self) -> None:
        self.config: dict[str, ConfigValue] = {}
        self.output_dir: str | None = None
        self.adapters: tuple[str, ...] = ()
        self.results: dict[str, dict[str, Number]] = {}
        self.limited = False
        """Whether max_steps was given, so that the printed number of epochs only follows from it."""
        self._datasets: list[str] = []
        self._loaded_again: list[str] = []
        """Names of data sets that were loaded a second time."""
        self._output_is_certain = False
        """Whether ``output_dir`` comes from a message that names nothing else."""

    def start(self) -> None:
        """Clear the options, since another job begins to write to the same file."""
        self.config = {}
        self.adapters = ()
        self.limited = False
        self._datasets = []
        self._loaded_again = []

    def values(self, stage: str | None) -> dict[str, ConfigValue]:
        """Return all options; ``stage`` is the training stage by the file names of a traceback, or None."""
        values = dict(self.config)
        if self._datasets:
            values["dataset"] = ",".join(self._datasets)
        if self._loaded_again and values.get("eval_examples") == values.get("num_examples", -1):
            # LLaMA-Factory loads ``dataset``, then ``eval_dataset``. Several nodes in one log also load each data set
            # twice, but then evaluate a set of another size than they train on.
            values["eval_dataset"] = ",".join(self._loaded_again)
        if stage is not None:
            values["stage"] = stage
        return values

    def metrics(self) -> dict[str, Mapping[str, float]]:
        """Return the values of the metric blocks by split."""
        return {
            split: MappingProxyType({key: number.value for key, number in numbers.items()})
            for split, numbers in self.results.items()
        }

    @property
    def has_dataset(self) -> bool:
        """Whether a data set has been loaded."""
        return bool(self._datasets)

    def note(self, message: Message) -> None:
        """Read options, directories and adapters from a message."""
        kind, found = message
        config = self.config
        if kind in ("save", "figure", "prediction", "saved", "resume"):
            self._note_directory(kind, found[1].strip())
        elif kind == "dataset":
            name = re.sub(_DATA_SUFFIX, "", found[1])
            names = self._datasets if name not in self._datasets else self._loaded_again
            if name not in names and len(names) < _MAX_DATASETS:
                names.append(name)
        elif kind in ("model", "cache"):
            # The first configuration file that is loaded is the model's.
            hub = re.search(_HUB_CACHE, found[1])
            if hub is not None:
                config.setdefault("model_name_or_path", f"{hub[1]}/{hub[2]}")
            elif kind == "model":
                config.setdefault("model_name_or_path", found[1])
        elif kind == "adapters":
            self.adapters = tuple(part.strip() for part in found[1].split(",") if part.strip())
        elif kind == "maximum":
            self.limited = True
        elif kind in ("rank", "tasks"):
            if devices := parse_count(found[1] if kind == "tasks" else found[2]):
                config["num_devices"] = devices
            if kind == "rank" and found[3] != "None":
                config["compute_dtype"] = found[3].removeprefix("torch.")
        elif kind == "quantized":
            config["quantization_bit"] = int(found[1][:4])
        elif kind == "method":
            config["finetuning_type"] = found[1].lower()
        elif kind == "trainable":
            self._note_count("trainable_params", found[1])
            self._note_count("all_params", found[2])
            if (percent := parse_number(found[3])) is not None:
                config["trainable_percent"] = percent.value
        elif kind == "all":
            self._note_count("all_params", found[1])

    def note_header(self, name: str, count: int, evaluating: bool) -> None:
        """Read one line of the header of a training, evaluation or prediction loop."""
        config = self.config
        if evaluating:
            if name == "Num examples":
                config["eval_examples"] = count
            elif name == "Batch size":
                config["eval_batch_size"] = count
        elif name == "Num examples":
            config["num_examples"] = count
        elif name == "Num Epochs":
            # A streamed data set has sys.maxsize epochs.
            if count < 10**6 and not self.limited:
                config["num_train_epochs"] = count
        elif name.startswith("Instantaneous"):
            config["per_device_train_batch_size"] = count
        elif name.startswith("Total train batch"):
            config["total_train_batch_size"] = count
        elif name.startswith("Gradient Acc"):
            config["gradient_accumulation_steps"] = count
        elif name in ("Total optimization steps", "Total training steps"):
            if self.limited:
                config["max_steps"] = count
        elif name.startswith("Num optimization"):
            config["stage"] = "ppo"
        elif name.startswith("Number of"):
            config.setdefault("trainable_params", count)

    def note_row(self, values: Mapping[str, float]) -> None:
        """Set the stage by the metrics of a training row where printed examples fit two (sft and kto, dpo and rm)."""
        config = self.config
        hint = config.get("stage_hint")
        if not (hint or config.get("stage") == "sft"):
            return
        pairs = any(key.startswith("rewards/") for key in values)
        if hint == "pairwise":
            config["stage"] = "dpo" if pairs else "rm"
        elif hint == "pt":
            config.setdefault("stage", "pt")
        elif "kl" in values and pairs:
            config["stage"] = "kto"

    def note_summary(self, numbers: Mapping[str, Number]) -> None:
        """Read the dict at the end of training, whose numbers the metric block repeats with another rounding."""
        train = self.results.setdefault("train", {})
        for key, number in numbers.items():
            if key in train or len(train) < MAX_METRICS:
                train[key] = more_precise(train.get(key), number)

    def begin_block(self, split: str) -> None:
        """Begin the metric block of a split. That of training adds to the dict at the end of training."""
        if split != "train" and (split in self.results or len(self.results) < _MAX_SPLITS):
            self.results[split] = {}

    def note_metric(self, split: str, key: str, raw: str) -> None:
        """Read one line of a metric block."""
        number = parse_metric(raw)
        if number is not None and (split in self.results or len(self.results) < _MAX_SPLITS):
            block = self.results.setdefault(split, {})
            if key in block or len(block) < MAX_METRICS:
                block[key] = more_precise(block.get(key), number)

    def note_dump(self, text: str) -> None:
        """Read the stage from a key of a printed training example."""
        match = re.match(_DUMP_KEYS, text)
        if match is None:
            return
        config = self.config
        if match[1] == "chosen_input_ids":
            config["stage_hint"] = "pairwise"
        elif match[1] == "kto_tags":
            config["stage_hint"] = config["stage"] = "kto"
        elif match[1] in ("label_ids", "labels"):
            if config.get("stage_hint") in (None, "pt"):
                config.pop("stage_hint", None)
                config.setdefault("stage", "sft")
        elif "stage" not in config and "stage_hint" not in config:
            config["stage_hint"] = "pt"

    def _note_count(self, name: str, written: str | None) -> None:
        if (count := parse_count(written)) is not None:
            self.config[name] = count

    def _note_directory(self, kind: str, path: str) -> None:
        """Read the output directory from the path in a message of a kind that has one."""
        if kind == "saved":
            # This message also occurs for a tokenizer or a configuration elsewhere, so that others take precedence.
            if not self._output_is_certain and re.search(_CHECKPOINT, path):
                self.output_dir = re.sub(_CHECKPOINT, "", path)
            return
        if kind in ("figure", "prediction"):
            path = re.sub(r"[/\\][^/\\]*$", "", path) if re.search(r"[/\\]", path) else "."
        self.output_dir = re.sub(_CHECKPOINT, "", path)
        self._output_is_certain = True
