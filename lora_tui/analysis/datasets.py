"""Names of the data sets that a run was trained and evaluated on, where a file proves them.

Sources: LLaMA-Factory ``hparams/data_args.py`` (``dataset`` and ``eval_dataset`` are lists of names; ``val_size`` takes
a part of ``dataset`` away from training and cannot be set together with ``eval_dataset``), ``data/loader.py`` (prints
"Loading dataset NAME..." for both), ``train/trainer_utils.py`` (the model card names ``dataset``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from lora_tui.analysis.run_facts import names_in
from lora_tui.records.documents import ConfigDoc, ConfigValue, ConsoleFacts
from lora_tui.records.file_names import MODEL_CARD
from lora_tui.runs.run import Run
from lora_tui.runs.status import SETUP_PHASES


@dataclass(frozen=True)
class Evaluated:
    """Data sets of an evaluation or prediction."""

    names: frozenset[str]
    """Names of the data sets."""
    examples: int | None = None
    """Number of samples that were loaded, None where no log states it."""
    sure: bool = True
    """Whether an option names them as data of the evaluation; a log only names all data sets that a job loads."""


def trained_on(run: Run) -> frozenset[str]:
    """Return the names of the data sets that this run was trained on, empty if no file proves them."""
    for values in _options(run):
        if values.get("dataset") and not _only_evaluates(values):
            return names_in(values["dataset"])
    card = run.files.docs.get(MODEL_CARD)
    if card is not None and isinstance(card.doc, ConfigDoc) and card.doc.values.get("dataset"):
        return names_in(card.doc.values["dataset"])
    for facts in _consoles(run):
        loaded = names_in(facts.config.get("dataset"))
        # A job that trains and evaluates prints the names of both, so only a single name is certain.
        if "num_examples" in facts.config and len(loaded) == 1:
            return loaded
    return frozenset()


def evaluated_on(source: Run) -> Evaluated | None:
    """Return the data sets of the evaluation or prediction in this directory.

    None if no file states them, or if a part of the training data was held back for it.
    """
    for values in _options(source):
        if values.get("eval_dataset"):
            return Evaluated(names_in(values["eval_dataset"]))
        if _only_evaluates(values) and values.get("val_size"):
            return None
    for facts in _consoles(source):
        if facts.config.get("eval_dataset"):
            return Evaluated(names_in(facts.config["eval_dataset"]))
        loaded = names_in(facts.config.get("dataset"))
        setting_up = facts.phase is not None and facts.phase.code in SETUP_PHASES
        # Until a job has begun, its log does not show whether it will train or evaluate.
        if "num_examples" in facts.config or not loaded or setting_up:
            continue
        examples = facts.config.get("eval_examples")
        return Evaluated(loaded, examples if isinstance(examples, int) else None, sure=False)
    return None


def overlap(run: Run, source: Run) -> frozenset[str]:
    """Return the names of training data of ``run`` on which ``source`` evaluated; empty where that is not proven.

    ``source`` is the run itself or a job that loaded its adapter.
    """
    trained, evaluated = trained_on(run), evaluated_on(source)
    if not trained or evaluated is None:
        return frozenset()
    shared = trained & evaluated.names
    if evaluated.sure:
        return shared
    # A log names every data set that was loaded, so all of them must be training data.
    if evaluated.names - trained:
        return frozenset()
    held_back = _held_back(run, source)
    if held_back is None:
        return shared
    # The job may have evaluated on the part that the training held back.
    return shared if evaluated.examples is not None and evaluated.examples > held_back else frozenset()


def _held_back(run: Run, source: Run) -> float | None:
    """Return the number of samples that the training held back for evaluation, infinity if unknown; None if none."""
    for facts in _consoles(run):
        if "num_examples" in facts.config and run is not source:
            count = facts.config.get("eval_examples")
            if isinstance(count, int):
                return float(count)
    evaluated = any(name.startswith("eval_") for name in run.series) or "eval" in run.results()
    return float("inf") if evaluated else None


def _options(run: Run) -> Iterator[Mapping[str, ConfigValue]]:
    """Yield the options in each file of a run except the model card, the newest file first."""
    for doc, update in sorted(run.files.of(ConfigDoc), key=lambda found: -found[1].mtime):
        if PurePath(update.file).name != MODEL_CARD:
            yield doc.values


def _consoles(run: Run) -> Iterator[ConsoleFacts]:
    """Yield the facts of each console log, the newest first."""
    for facts, _ in sorted(run.files.of(ConsoleFacts), key=lambda found: -found[1].mtime):
        yield facts


def _only_evaluates(values: Mapping[str, ConfigValue]) -> bool:
    """Return whether the job predicts or evaluates and does not train. The files omit options that are off."""
    return bool(values.get("do_predict") or values.get("do_eval")) and not values.get("do_train")
