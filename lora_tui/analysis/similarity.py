"""Compare how two runs were made, as far as their files show: model, data, stage, evaluation set, batch size.

None means "not known" throughout; it never counts as a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath

from lora_tui.analysis import run_facts
from lora_tui.records.documents import ConfigDoc, ConfigValue, ConsoleFacts
from lora_tui.records.file_names import LLAMABOARD_CONFIG, TRAINING_ARGS
from lora_tui.records.updates import FileDoc
from lora_tui.runs.job_config import merge_config
from lora_tui.runs.run import ConfigEntry, ResultSet, Run
from lora_tui.runs.run_data import derived

_HUB_CACHE = re.compile(r"(?:^|/)models--[^/]*--([^/]+)/snapshots/")
"""Match a path in the cache of the Hugging Face hub; group 1 is the name of the model without its owner."""
Names = frozenset[str]
"""Names of data sets."""


def same(left: object | None, right: object | None) -> bool | None:
    """Return whether two values are equal, None if one of them is None."""
    return None if left is None or right is None else left == right


def all_same(values: Sequence[object | None]) -> bool | None:
    """Return whether all values are equal: False if two known ones differ, else None if one is None."""
    known = [value for value in values if value is not None]
    if any(value != known[0] for value in known[1:]):
        return False
    return True if len(known) == len(values) else None


@dataclass(frozen=True)
class Data:
    """Names of the training data, by the kind of file that has them.

    A model card and training_args.yaml have the ``dataset`` option. A console log names every data set that was loaded,
    including those for evaluation, and names a data set of the hub by its address. So the two are compared separately.
    """

    option: Names | None = None
    """Names in the ``dataset`` option."""
    loaded: Names | None = None
    """Names of the data sets that a console log shows as loaded."""

    def agrees(self, other: Data) -> bool | None:
        """Return whether the data is the same, by the option if both have it, else by the logs; None if unknown."""
        by_option = same(self.option, other.option)
        if by_option is not None:
            return by_option
        by_load = same(self.loaded, other.loaded)
        if by_load is not None:
            return by_load
        mine, theirs = self.option or self.loaded, other.option or other.loaded
        return True if mine is not None and mine == theirs else None

    @property
    def shown(self) -> str | None:
        """The names for display, separated by commas; None if they are not known."""
        names = self.option or self.loaded
        return ", ".join(sorted(names)) if names else None


@dataclass(frozen=True)
class SiblingKey:
    """Stage, model and data of a run, which its siblings share. It is read from documents only, so it is cheap."""

    stage: str | None
    """Training stage, None if it is not known."""
    model: str
    """Name of the base model, see :func:`model_name`."""
    data: Data


def sibling_key(run: Run) -> SiblingKey | None:
    """Return the key by which siblings are found, None where nothing was trained or the model is not known."""
    if not run.timeline.rows:
        return None
    model = model_name(run)
    return SiblingKey(run_facts.stage(run)[0], model, training_data(run)) if model is not None else None


def model_name(run: Run) -> str | None:
    """Return the name of the base model in lower case, without owner or directory; None if it is not known."""
    model = run.model
    if model is None:
        return None
    path = model.replace("\\", "/").rstrip("/")
    cached = _HUB_CACHE.search(path + "/")
    return (cached[1] if cached is not None else path.rsplit("/", 1)[-1]).lower() or None


def training_data(run: Run) -> Data:
    """Return the training data of a run.

    The log of a later prediction in the same directory is ignored, since it loads other data.
    """
    option = loaded = None
    rank = 0
    newest = float("-inf")
    for file, document in run.files.docs.items():
        doc = document.doc
        if isinstance(doc, ConfigDoc):
            here = {TRAINING_ARGS: 3, LLAMABOARD_CONFIG: 2}.get(PurePath(file).name, 1)
            names = _names(doc.values.get("dataset"))
            if names and here > rank:
                option, rank = names, here
        elif isinstance(doc, ConsoleFacts) and trains(doc) and document.mtime > newest:
            names = _names(doc.config.get("dataset"))
            if names:
                loaded, newest = names, document.mtime
    return Data(option, loaded)


def trains(console: ConsoleFacts) -> bool:
    """Return whether a console log is of a job that trains: it then has the number of training samples."""
    return "num_examples" in console.config


def only_evaluates(console: ConsoleFacts) -> bool:
    """Return whether a console log is of a job that only evaluates or predicts."""
    return "eval_examples" in console.config and not trains(console)


def _names(value: ConfigValue) -> Names | None:
    """Return the names in the value of an option, None where it has none."""
    return run_facts.names_in(value) or None


@dataclass(frozen=True)
class Setup:
    """How a run was made, as far as a comparison needs it."""

    stage: str | None
    """Training stage, None if it is not known."""
    model: str | None
    """Name of the base model, see :func:`model_name`."""
    data: Data
    settings: Mapping[str, ConfigEntry]
    """Options of the training job, without those of later jobs in the same directory."""
    examples: int | None
    """Number of training samples."""
    batch: int | None
    """Samples per optimizer step over all devices."""
    eval_sets: Names | None
    """Names in the ``eval_dataset`` option."""
    val_size: float | None
    """The ``val_size`` option: samples held back for evaluation, a share of the data below 1."""
    eval_samples: int | None
    """Number of samples of an evaluation."""

    def number(self, *options: str) -> float | None:
        """Return the first of these options that is a finite number, None if none is."""
        return run_facts.number_in(self.settings, *options)

    def text(self, option: str) -> str | None:
        """Return an option as text, None if it is not known."""
        setting = self.settings.get(option)
        return None if setting is None or setting.value is None else str(setting.value)


@derived
def setup_of(run: Run) -> Setup:
    """Return how a run was made, computed once for each state of its data."""
    settings = merge_config(_training_docs(run), run.files.state)
    eval_sets = settings.get("eval_dataset")
    examples = run_facts.number_in(settings, "num_examples")
    return Setup(
        stage=run_facts.stage(run)[0],
        model=model_name(run),
        data=training_data(run),
        settings=settings,
        examples=None if examples is None else int(examples),
        batch=_batch(run, settings),
        eval_sets=None if eval_sets is None else _names(eval_sets.value),
        val_size=run_facts.number_in(settings, "val_size"),
        eval_samples=_eval_samples(run, settings),
    )


def _training_docs(run: Run) -> list[FileDoc]:
    """Return the documents of the training job, or all documents of a run that has not trained."""
    if not run.timeline.rows:
        return list(run.files.docs.values())
    return [
        item
        for item in run.files.docs.values()
        if not isinstance(item.doc, ConsoleFacts) or not only_evaluates(item.doc)
    ]


def _batch(run: Run, settings: Mapping[str, ConfigEntry]) -> int | None:
    """Return the samples per optimizer step over all devices, None if unknown.

    It is what a file states, else samples/s divided by steps/s of the training results, which the trainer computes from
    it, else the product of batch size per device, gradient accumulation and number of devices.
    """
    stated = run_facts.number_in(settings, "total_train_batch_size")
    if stated is not None:
        return int(stated)
    results = run.results().get("train")
    if results is not None:
        samples, steps = (results.values.get(f"train_{name}_per_second") for name in ("samples", "steps"))
        # Both are rounded to three decimals.
        if samples is not None and steps is not None and steps >= 0.05 and 0.5 <= samples / steps < 1e6:
            return round(samples / steps)
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_devices")
    parts = [value for name in names if (value := run_facts.number_in(settings, name)) is not None]
    return int(parts[0] * parts[1] * parts[2]) if len(parts) == len(names) else None


def _eval_samples(run: Run, settings: Mapping[str, ConfigEntry]) -> int | None:
    """Return the number of samples of an evaluation, as a file states it, else runtime x samples/s; None if unknown."""
    stated = run_facts.number_in(settings, "eval_examples")
    if stated is not None:
        return int(stated)
    results = run.results().get("eval")
    if results is not None and "eval_loss" in results.values:
        return run_facts.samples(results, "eval", run)
    runtime, rate = run.series.get("eval_runtime"), run.series.get("eval_samples_per_second")
    if runtime is None or rate is None or not runtime.finite or not rate.finite:
        return None
    return max(1, round(runtime.tail(1)[0] * rate.tail(1)[0]))


def same_eval_set(left: Setup, right: Setup) -> bool | None:
    """Return whether the evaluations of two trainings used the same samples, None if unknown.

    They did with the same ``eval_dataset``, or with the same share of the same data drawn with the same seed
    (LLaMA-Factory splits by ``val_size`` and ``seed``).
    """
    counts = left.eval_samples, right.eval_samples
    # A count computed from a rounded rate may be off by one.
    if counts[0] is not None and counts[1] is not None and abs(counts[0] - counts[1]) > max(1, 0.01 * counts[0]):
        return False
    if left.eval_sets is not None or right.eval_sets is not None:
        return same(left.eval_sets, right.eval_sets)
    sizes = same(left.val_size, right.val_size)
    data = left.data.agrees(right.data)
    if not data:
        # Without an eval_dataset, the evaluation uses a part of the training data.
        return False if data is False and sizes is not None else None
    if sizes is None and left.examples == right.examples is not None:
        sizes = same(*counts)
    return None if sizes and left.number("seed") != right.number("seed") else sizes


def prediction_set(source: Run, results: ResultSet) -> tuple[Names | None, int | None]:
    """Return names and number of samples of the data that was predicted, each None if unknown.

    The names are those in the log of a job that only predicted, else those in ``eval_dataset``.
    """
    names = None
    for document in source.files.docs.values():
        doc = document.doc
        if isinstance(doc, ConsoleFacts) and only_evaluates(doc) and "predict" in doc.results:
            names = _names(doc.config.get("dataset")) or names
    if names is None:
        setting = source.config.get("eval_dataset")
        names = None if setting is None else _names(setting.value)
    return names, run_facts.samples(results, "predict", source)


def name_beside(run: Run, other: Run) -> str:
    """Return the run's name without the leading directories that it shares with the name of ``other``."""
    mine, theirs = run.name.split("/"), other.name.split("/")
    depth = 0
    while depth < min(len(mine), len(theirs)) - 1 and mine[depth] == theirs[depth]:
        depth += 1
    return "/".join(mine[depth:])


def all_true(checks: Iterable[bool | None]) -> bool | None:
    """Return False if one of the checks is False, else None if one is None, else True."""
    found = list(checks)
    return False if False in found else None if None in found else True


def eval_sets_agree(setups: Sequence[Setup]) -> bool | None:
    """Return whether the evaluations of all these trainings used the same samples, None if unknown."""
    return all_true(same_eval_set(left, right) for left, right in combinations(setups, 2))


def data_agrees(setups: Sequence[Setup]) -> bool | None:
    """Return whether all these runs were trained on the same data, None if unknown."""
    return all_true(left.data.agrees(right.data) for left, right in combinations(setups, 2))
