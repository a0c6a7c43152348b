"""The typed records that every parser of :mod:`lora_tui.formats` produces.

Units everywhere: steps are optimizer steps (or batches in a ``progress`` row), durations are seconds,
times are Unix seconds (UTC). A value that is not known is absent (``None`` or no key), never 0. ``nan`` and
``inf`` are values and are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

RowKind = Literal["train", "eval", "mark", "progress"]
Scalar = str | int | float | bool | None
ConfigValue = Scalar | tuple[Scalar, ...]

NOTHING: Mapping[str, float] = MappingProxyType({})


NO_COUNTS: Mapping[int, int] = MappingProxyType({})


class LogRow(NamedTuple):
    """One logging event of a trainer.

    ``train``: has a training loss, reward or learning rate. ``eval``: has any ``eval_*`` value. ``mark``: an epoch
    and a step but no metric, which is the summary row at the end of training or an evaluation whose metrics the
    producer does not log. ``progress``: the batches of an eval-only or predict job, without an epoch.
    """

    kind: RowKind
    step: int | None
    """Optimizer step; batches done in a ``progress`` row; ``None`` where the producer writes no step."""
    values: Mapping[str, float] = NOTHING
    """Metric name -> value, under our own names: loss, lr, grad_norm, eval_loss, throughput, total_tokens,
    reward, accuracy, and every other logged key under its own name. Never step, epoch or a clock."""
    total_steps: int | None = None
    epoch: float | None = None
    elapsed_s: float | None = None
    """Seconds since the process began to train, in whole seconds where the producer writes them so."""
    time: float | None = None
    """When the row was written, where the file itself says so (TensorBoard events)."""


class Problem(NamedTuple):
    """Something in a file that could not be used. ``line`` counts from 1 and is 0 where lines have no meaning."""

    line: int
    reason: str


class FormatError(Exception):
    """A whole file cannot be read as what its name says. ``str()`` is one clear line."""


class TornError(FormatError):
    """The file is empty or ends in the middle of a value: it is probably being written, read it again."""


class StreamParser(Protocol):
    """Turns an appended file into records, chunk by chunk; a chunk may end anywhere, also inside a character."""

    def feed(self, data: bytes) -> Sequence[LogRow]:
        """Parse the next bytes. Never raises on content; what cannot be used becomes a problem."""

    def take_problems(self) -> list[Problem]:
        """Problems since the last call, at most 20 of them plus one that counts the rest."""

    def snapshot(self) -> object | None:
        """What is known of the whole file so far (immutable), or ``None`` if rows are all there is."""


@dataclass(frozen=True)
class TrainerState:
    """``trainer_state.json`` (transformers ``TrainerState.save_to_json``)."""

    global_step: int | None = None
    max_steps: int | None = None
    epoch: float | None = None
    num_train_epochs: float | None = None
    logging_steps: float | None = None
    eval_steps: float | None = None
    save_steps: float | None = None
    train_batch_size: int | None = None
    num_input_tokens_seen: int | None = None
    best_metric: float | None = None
    best_step: int | None = None
    best_checkpoint: str | None = None
    """As written: usually a path relative to the producer's working directory."""
    early_stopping: bool = False
    """The EarlyStoppingCallback's patience has run out."""
    rows: tuple[LogRow, ...] = ()
    summary: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """The summary entry of the history (train_loss, train_runtime, …), empty before the end."""


@dataclass(frozen=True)
class Results:
    """One of the ``*_results.json`` files: every numeric key as written, non-finite values kept."""

    split: Literal["train", "eval", "predict", "all"]
    values: Mapping[str, float]


@dataclass(frozen=True)
class ConfigDoc:
    """Settings found in one file, under LLaMA-Factory's option names, secrets already masked."""

    values: Mapping[str, ConfigValue]
    producer: str | None = None
    """llamafactory, trl or transformers, where the file says so (tags of a model card)."""


class BadPrediction(NamedTuple):
    """A prediction that looks wrong, shortened for showing."""

    line: int
    """Line of the file, counted from 1."""
    reason: Literal["empty", "repeats", "echo"]
    """Blank; repeats itself; is the question again."""
    prompt: str
    """The last 200 characters of the prompt."""
    predict: str
    """The first 200 characters."""
    label: str
    """The first 200 characters."""


@dataclass(frozen=True)
class Predictions:
    """``generated_predictions.jsonl``: counts over all of its lines, without keeping the texts."""

    count: int = 0
    empty: int = 0
    """Predictions that are empty or blank."""
    kind: Literal["text", "reward"] = "text"
    sample: Mapping[str, str] | None = None
    """The first record (prompt, predict, label), each cut to 500 characters."""
    repeats: int = 0
    """Predictions that say the same eight words (or characters, in Chinese) five times, where the label does not."""
    echoes: int = 0
    """Predictions that are the end of the prompt again, and not the label."""
    characters: int = 0
    """Characters of all predictions together."""
    label_characters: int = 0
    lengths: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """Estimated tokens, rounded to 5 %, -> how many predictions are so long."""
    open_ends: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """The same of those that end in the middle of a sentence."""
    open_labels: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """The same of the labels that do."""
    worst: tuple[BadPrediction, ...] = ()
    """The first two of each kind."""


PhaseCode = Literal[
    "starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming", "training",
    "evaluating", "predicting", "saving", "scoring", "completed",
]  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """What a console log says is going on now. ``done``/``total`` are the counters of its progress bar."""

    code: PhaseCode
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Failure:
    """How a console log says the job ended badly."""

    kind: Literal["exception", "out_of_memory", "interrupted", "terminated"]
    """``interrupted``: KeyboardInterrupt. ``terminated``: SIGTERM, SIGHUP or a launcher's closing signal."""
    message: str
    """The exception's own line, cleaned of control characters and cut to 300 characters."""
    during: str | None = None
    """Phase code in which it happened, if known."""
    excerpt: tuple[str, ...] = ()
    """At most 12 cleaned lines around the end of the traceback."""


@dataclass(frozen=True)
class ConsoleFacts:
    """Everything a console log or running_log.txt says beside its metric rows, as of its last complete line."""

    is_training_log: bool = False
    """Holds a LLaMA-Factory or transformers log line, a metric dict, a metric block or a traceback."""
    phase: Phase | None = None
    failure: Failure | None = None
    """``None`` again when a later line shows that the job went on or was started anew."""
    completed: bool = False
    """Training reached its end ("Training completed", or the v1 trainer's "Reached max_steps")."""
    step: int | None = None
    total_steps: int | None = None
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    """Option names as in ConfigDoc, plus num_examples, total_train_batch_size, trainable_params, all_params,
    trainable_percent, num_devices, eval_examples, eval_batch_size."""
    output_dir: str | None = None
    """The directory that the log names as its output, as written there."""
    adapters: tuple[str, ...] = ()
    """Directories of "Loaded adapter(s): …"."""
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Metric blocks by split (train, eval, predict); runtimes in seconds."""
    tail: tuple[str, ...] = ()
    """The last 12 cleaned, non-empty lines, without progress bar frames."""
