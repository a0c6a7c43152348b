"""What a console log tells of a job beside its progress: options, directories, results.

Sources: the messages of LLaMA-Factory (``hparams/parser.py``, ``data/loader.py``, ``model/``, ``train/*/workflow.py``)
and of transformers ``Trainer`` (header of the training loop, ``save_model``, ``log_metrics``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lora_tui.formats.console_patterns import Number, more_precise, parse_metric, parse_number
from lora_tui.formats.records import ConfigValue

MAX_METRICS = 500
_MAX_DATASETS = 100

MESSAGE = re.compile(
    r"\*{5} Running (?P<running>training|Evaluation|Prediction) \*{5}"
    r"|\*{5} (?P<block>\w{1,40}) metrics \*{5}"
    r"|^ {0,8}(?P<number>Num examples|Num Epochs|Num update steps per epoch|Instantaneous batch size per device"
    r"|Total train batch size \([^)]*\)|Gradient Accumulation steps|Total optimization steps|Total training steps"
    r"|Num optimization epochs per batch|Number of trainable parameters|Batch size) = (?P<count>[\d,.]+)"
    r"|Saving model checkpoint to (?P<save>.+)"
    r"|Figure saved at: (?P<figure>.+)"
    r"|Saving prediction results to (?P<prediction>.+)"
    r"| saved in (?P<saved>.+)"
    r"|Resuming training from checkpoint with epoch .* global step (?P<resumed>\d+)"
    r"|Continuing training from global step (?P<continued>\d+)"
    r"|Resuming training from (?P<resume>.+?)\.?$"
    r"|Loading dataset (?P<dataset>.+?)(?:\.\.\.|…)$"
    r"|Process rank: (?P<rank>\d+),(?: world size: (?P<world>\d+),)?.* compute dtype: (?P<dtype>[\w.]+)"
    r"|Initializing (?P<tasks>\d+) distributed tasks"
    r"|Quantizing model to (?P<bits>\d+) bit|Loading (?P<qbits>\d+)-bit \S+-quantized model"
    r"|Fine-tuning method: (?P<method>\w+)"
    r"|Loaded adapter\(s\): (?P<adapters>.+)"
    r"|trainable params: (?P<trainable>[\d,]+) \|\| all params: (?P<all>[\d,]+) \|\| trainable%: (?P<percent>[\d.]+)"
    r"|^all params: (?P<only>[\d,]+)$"
    r"|loading configuration file (?P<model>.+?)[/\\]config\.json$"
    r"|loading configuration file config\.json from cache at (?P<cache>.+)"
    r"|(?P<weights>loading weights file |KV cache is |Gradient checkpointing enabled|Upcasting trainable params)"
    r"|(?P<maximum>max_steps is given, it will override)"
    r"|(?P<done>Training completed\. Do not forget|Reached max_steps \(\d+\), stopping training)"
    r"|(?P<scoring>Building prefix dict from |Loading model from cache .*jieba)"
    r"|(?P<card>Dropping the following result as it does not have all the necessary fields)"
    r"|(?P<dump>^(?:training|eval) example:$)"
)
_DUMP_KEYS = re.compile(r"(chosen_input_ids|kto_tags|(?:label_ids|labels)|(?:input_ids)):?(?:$|\s)")
_CHECKPOINT = re.compile(r"[/\\](?:checkpoint-\d+|pissa_(?:init|backup|converted))(?:[/\\].*)?$")
_HUB_CACHE = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots")
_DATA_SUFFIX = re.compile(r"\.(?:jsonl?|csv|tsv|parquet|arrow|txt)$")


class Settings:
    """Collects the settings of the present job.

    ``config`` has LLaMA-Factory's option names and those of :class:`ConsoleFacts`; also ``compute_dtype`` and
    ``stage_hint``: "pairwise" (dpo or rm, until a training row tells), "kto" or "pt".
    """

    def __init__(self) -> None:
        self.config: dict[str, ConfigValue] = {}
        self.output_dir: str | None = None
        self.adapters: tuple[str, ...] = ()
        self.results: dict[str, dict[str, Number]] = {}
        self.limited = False
        """max_steps was given, so the number of epochs follows from it."""
        self._datasets: list[str] = []
        self._output_sure = False

    def start(self) -> None:
        """Another job begins to write to the same file."""
        self.config = {}
        self.adapters = ()
        self.limited = False
        self._datasets = []

    def values(self, stage: str | None) -> dict[str, ConfigValue]:
        """Return all options; ``stage`` is what a traceback told of it."""
        values = dict(self.config)
        if self._datasets:
            values["dataset"] = ",".join(self._datasets)
        if stage is not None:
            values["stage"] = stage
        return values

    @property
    def has_dataset(self) -> bool:
        """Whether a data set has been loaded."""
        return bool(self._datasets)

    def add_dataset(self, written: str) -> None:
        """Note a data set under the name as written, without the suffix of a file."""
        name = _DATA_SUFFIX.sub("", written)
        if name not in self._datasets and len(self._datasets) < _MAX_DATASETS:
            self._datasets.append(name)

    def note(self, found: Mapping[str, str | None]) -> None:
        """Take the options of one message (groups of ``MESSAGE``)."""
        config = self.config
        if bits := found["bits"] or found["qbits"]:
            config["quantization_bit"] = int(bits[:4])
        elif method := found["method"]:
            config["finetuning_type"] = method.lower()
        elif found["trainable"]:
            for key, name in (("trainable", "trainable_params"), ("all", "all_params")):
                if (number := parse_count(found[key])) is not None:
                    config[name] = number
            if (percent := parse_number(found["percent"] or "")) is not None:
                config["trainable_percent"] = percent.value
        elif (count := parse_count(found["only"])) is not None:
            config["all_params"] = count

    def note_model(self, path: str | None, cache: str | None) -> None:
        """Take the model of the first configuration file that is loaded: a directory or a place in the hub's cache."""
        if "model_name_or_path" not in self.config:
            hub = _HUB_CACHE.search(cache or path or "")
            name = f"{hub[1]}/{hub[2]}" if hub is not None else path
            if name:
                self.config["model_name_or_path"] = name

    def note_header(self, name: str, count: int, evaluating: bool) -> None:
        """Take one line of the header of a training, evaluation or prediction loop."""
        config = self.config
        if evaluating:
            if name == "Num examples":
                config["eval_examples"] = count
            elif name == "Batch size":
                config["eval_batch_size"] = count
        elif name == "Num examples":
            config["num_examples"] = count
        elif name == "Num Epochs":
            # A streamed data set has sys.maxsize of them.
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

    def note_directory(self, key: str, path: str) -> None:
        """Take the output directory out of a path; ``key`` is the group of ``MESSAGE`` that it is from."""
        if key == "saved":
            # Also written for a tokenizer or a configuration elsewhere, so it only fills a gap.
            if not self._output_sure and _CHECKPOINT.search(path):
                self.output_dir = _CHECKPOINT.sub("", path)
            return
        if key in ("figure", "prediction"):
            path = re.sub(r"[/\\][^/\\]*$", "", path) if re.search(r"[/\\]", path) else "."
        self.output_dir = _CHECKPOINT.sub("", path)
        self._output_sure = True

    def note_row(self, values: Mapping[str, float]) -> None:
        """The metrics tell the stages that print the same examples apart (sft and kto; dpo and rm)."""
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
        """Take the dict at the end of training; the metric block repeats its numbers, rounded otherwise."""
        train = self.results.setdefault("train", {})
        for key, number in numbers.items():
            train[key] = more_precise(train.get(key), number)

    def note_metric(self, split: str, key: str, raw: str) -> None:
        """Take one line of a metric block."""
        number = parse_metric(raw)
        if number is not None:
            block = self.results.setdefault(split, {})
            if len(block) < MAX_METRICS:
                block[key] = more_precise(block.get(key), number)

    def note_dump(self, text: str) -> None:
        """A printed example begins; its keys tell the stage."""
        match = _DUMP_KEYS.match(text)
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


def parse_count(text: str | None) -> int | None:
    """Parse a count with thousands commas; sys.maxsize of a streamed data set too."""
    digits = (text or "").replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= 20 else None
