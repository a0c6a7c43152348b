"""What two runs have in common, as far as their files say: model, data, stage, evaluation set, batch.

None means "not known" throughout: it is never a difference.
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
Names = frozenset[str]


def same(left: object | None, right: object | None) -> bool | None:
    """Return whether two facts are equal, None if one of them is not known."""
    return None if left is None or right is None else left == right


def all_same(values: Sequence[object | None]) -> bool | None:
    """Return whether all are equal: False if two known ones differ, None if not all are known."""
    known = [value for value in values if value is not None]
    if any(value != known[0] for value in known[1:]):
        return False
    return True if len(known) == len(values) else None


@dataclass(frozen=True)
class Data:
    """Names of the training data, by the files that tell them.

    A model card and training_args.yaml name the ``dataset`` option; a console log names every set that was loaded,
    those for evaluation too, and a set of the hub by its address. So only like is compared with like.
    """

    option: Names | None = None
    loaded: Names | None = None

    def agrees(self, other: Data) -> bool | None:
        """Return whether the data is the same: by the option if both know it, else by what was loaded."""
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
        """The names for people, or None."""
        names = self.option or self.loaded
        return ", ".join(sorted(names)) if names else None


@dataclass(frozen=True)
class SiblingKey:
    """What makes runs siblings; it comes from documents alone, at little cost."""

    stage: str | None
    model: str
    data: Data


def sibling_key(run: Run) -> SiblingKey | None:
    """Return what the run is compared by; None where nothing was trained or the model is not known."""
    if not run.timeline.rows:
        return None
    model = model_name(run)
    return SiblingKey(run_facts.stage(run)[0], model, training_data(run)) if model is not None else None


def model_name(run: Run) -> str | None:
    """Return the base model's own name, without its owner or the directory that it was loaded from."""
    model = run.model
    if model is None:
        return None
    path = model.replace("\\", "/").rstrip("/")
    cached = _HUB_CACHE.search(path + "/")
    return (cached[1] if cached is not None else path.rsplit("/", 1)[-1]).lower() or None


def training_data(run: Run) -> Data:
    """Return what the run was trained on. A later prediction in the same directory loads other data: its log does not
    count."""
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
    """Return whether the log is of a job that trains: it has counted the training samples."""
    return "num_examples" in console.config


def only_evaluates(console: ConsoleFacts) -> bool:
    """Return whether the log is of a job that only evaluates or predicts."""
    return "eval_examples" in console.config and not trains(console)


def _names(value: ConfigValue) -> Names | None:
    """Return the names in the value of an option, None where it has none."""
    return run_facts.names_in(value) or None


@dataclass(frozen=True)
class Setup:
    """Everything about how a run was made that a comparison asks for."""

    stage: str | None
    model: str | None
    data: Data
    settings: Mapping[str, ConfigEntry]
    """Options of the training job, without those that later jobs in the same directory loaded."""
    examples: int | None
    """Training samples."""
    batch: int | None
    """Samples of one step, all devices together."""
    eval_sets: Names | None
    val_size: float | None
    eval_samples: int | None

    def number(self, *options: str) -> float | None:
        """Return the first of these options that is a finite number, or None."""
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
    if not run.timeline.rows:
        return list(run.files.docs.values())
    return [
        item
        for item in run.files.docs.values()
        if not isinstance(item.doc, ConsoleFacts) or not only_evaluates(item.doc)
    ]


def _batch(run: Run, settings: Mapping[str, ConfigEntry]) -> int | None:
    """Return the samples of a step, or None.

    As a file says it; or samples/s divided by steps/s of the training results, which the trainer computes from it; or
    the product of the options, all three of them.
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
    """Return whether the evaluations of two trainings saw the same samples; None if that is not known.

    The same ``eval_dataset``; or the same share of the same data, drawn with the same seed (LLaMA-Factory splits by
    ``val_size`` and ``seed``).
    """
    counts = left.eval_samples, right.eval_samples
    # A count worked out from a rounded rate may be one off.
    if counts[0] is not None and counts[1] is not None and abs(counts[0] - counts[1]) > max(1, 0.01 * counts[0]):
        return False
    if left.eval_sets is not None or right.eval_sets is not None:
        return same(left.eval_sets, right.eval_sets)
    sizes = same(left.val_size, right.val_size)
    data = left.data.agrees(right.data)
    if not data:
        # Without an eval_dataset of its own, an evaluation is a part of the training data.
        return False if data is False and sizes is not None else None
    if sizes is None and left.examples == right.examples is not None:
        sizes = same(*counts)
    return None if sizes and left.number("seed") != right.number("seed") else sizes


def prediction_set(source: Run, results: ResultSet) -> tuple[Names | None, int | None]:
    """Return names and size of the data that a prediction was made on.

    By ``eval_dataset``, or by the log of a job that did nothing else.
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
    """Return the run's name as it is said beside another one: without the directories that both lie in."""
    mine, theirs = run.name.split("/"), other.name.split("/")
    depth = 0
    while depth < min(len(mine), len(theirs)) - 1 and mine[depth] == theirs[depth]:
        depth += 1
    return "/".join(mine[depth:])


def all_true(checks: Iterable[bool | None]) -> bool | None:
    """Return False if one of them is, else None if one is not known, else True."""
    found = list(checks)
    return False if False in found else None if None in found else True


def eval_sets_agree(setups: Sequence[Setup]) -> bool | None:
    """Return whether the evaluations of all these trainings saw the same samples; None if that is not known."""
    return all_true(same_eval_set(left, right) for left, right in combinations(setups, 2))


def data_agrees(setups: Sequence[Setup]) -> bool | None:
    """Return whether all these runs were trained on the same data; None if that is not known."""
    return all_true(left.data.agrees(right.data) for left, right in combinations(setups, 2))
