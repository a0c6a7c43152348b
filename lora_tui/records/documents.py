"""The records that the parsers of :mod:`lora_tui.formats` produce: rows of logs, and documents read as a whole.

Units everywhere: steps are optimizer steps (or batches in a ``progress`` row), durations are seconds, times are Unix
seconds (UTC). A value that is not known is absent (None or no key), never 0. ``nan`` and ``inf`` are values and are
kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

RowKind = Literal["train", "eval", "mark", "progress"]
"""Kind of a row, see :class:`LogRow`."""
Scalar = str | int | float | bool | None
ConfigValue = Scalar | tuple[Scalar, ...]
"""Value of an option; a list in the file becomes a tuple."""

NO_VALUES: Mapping[str, float] = MappingProxyType({})
"""Empty mapping of values, shared by all records."""
NO_COUNTS: Mapping[int, int] = MappingProxyType({})
"""Empty mapping of counts, shared by all records."""


class LogRow(NamedTuple):
    """One logging event of a trainer.

    A ``train`` row has a training loss, reward or learning rate. An ``eval`` row has any ``eval_*`` value. A ``mark``
    has an epoch and a step but no metric: it is the summary row at the end of training, or an evaluation whose metrics
    the producer does not log. A ``progress`` row counts the batches of an eval-only or predict job and has no epoch.
    """

    kind: RowKind
    """Kind of the row."""
    step: int | None
    """Optimizer step; batches done in a ``progress`` row; None where the producer writes no step."""
    values: Mapping[str, float] = NO_VALUES
    """Values by metric name: under our own names where producers differ (loss, lr, grad_norm, eval_loss, throughput,
    total_tokens, reward, accuracy), else as logged. Never step, epoch or a clock."""
    total_steps: int | None = None
    """Planned steps (batches in a ``progress`` row) at the time of the row."""
    epoch: float | None = None
    elapsed_s: float | None = None
    """Seconds since the process began to train; whole seconds where the producer writes them so."""
    time: float | None = None
    """Unix time of the row, where the file itself has it (TensorBoard events)."""


class Problem(NamedTuple):
    """A part of a file that could not be used."""

    line: int
    """Line number from 1; 0 where lines have no meaning."""
    reason: str
    """What is wrong, in a few words."""


class FormatError(Exception):
    """Raised if the content of a file does not fit its name. ``str()`` gives the reason in one line."""


class TornError(FormatError):
    """Raised if a file is empty or ends inside a value. It is probably being written and should be read again."""


class StreamParser(Protocol):
    """Parser of a file that is appended to, fed chunk by chunk; a chunk may end anywhere, even inside a character."""

    def feed(self, data: bytes) -> Sequence[LogRow]:
        """Parse the next bytes and return their rows. Never raises; content that cannot be used becomes a problem."""

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call: at most 20, plus one that counts the rest."""

    def snapshot(self) -> object | None:
        """Return an immutable record of the whole file so far, or None if it holds nothing but rows."""


@dataclass(frozen=True)
class TrainerState:
    """Contents of ``trainer_state.json`` (transformers ``TrainerState.save_to_json``)."""

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
    """Whether the EarlyStoppingCallback's patience has run out."""
    rows: tuple[LogRow, ...] = ()
    """Rows of the history, without its summary entry."""
    summary: Mapping[str, float] = field(default_factory=lambda: NO_VALUES)
    """The summary entry of the history (train_loss, train_runtime, …); empty before the end."""


@dataclass(frozen=True)
class Results:
    """Contents of a ``*_results.json`` file."""

    split: Literal["train", "eval", "predict", "all"]
    """Split that the file is about, "all" for the union of all splits."""
    values: Mapping[str, float]
    """Every number in the file by its key, including non-finite ones."""


@dataclass(frozen=True)
class ConfigDoc:
    """Options of the job found in one file."""

    values: Mapping[str, ConfigValue]
    """Options under LLaMA-Factory's names, with secrets masked."""
    producer: str | None = None
    """llamafactory, trl or transformers, None unless the file states it (in the tags of a model card)."""


class BadPrediction(NamedTuple):
    """A prediction that looks wrong, shortened for display."""

    line: int
    """Line number in the file, from 1."""
    reason: Literal["empty", "repeats", "echo"]
    """Why it looks wrong: it is blank, repeats itself, or repeats the prompt."""
    prompt: str
    """The last 200 characters of the prompt."""
    predict: str
    """The first 200 characters of the prediction."""
    label: str
    """The first 200 characters of the label."""


@dataclass(frozen=True)
class Predictions:
    """Counts over all lines of ``generated_predictions.jsonl``; most texts are not kept."""

    count: int = 0
    """Number of predictions."""
    empty: int = 0
    """Number of predictions that are empty or blank."""
    kind: Literal["text", "reward"] = "text"
    """Whether the predictions are generated texts or the scores of a reward model."""
    sample: Mapping[str, str] | None = None
    """The first record (prompt, predict, label), each cut to 500 characters."""
    repeats: int = 0
    """Number of predictions that repeat eight words (characters, in Chinese) five times although the label does not."""
    echoes: int = 0
    """Number of predictions that repeat the end of the prompt although the label does not."""
    characters: int = 0
    """Number of characters of all predictions together."""
    label_characters: int = 0
    """Number of characters of all labels together."""
    lengths: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """Number of predictions by estimated length in tokens, rounded to 5 %."""
    open_ends: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """``lengths`` of the predictions that end in the middle of a sentence."""
    open_labels: Mapping[int, int] = field(default_factory=lambda: NO_COUNTS)
    """``lengths`` of the labels that end in the middle of a sentence."""
    worst: tuple[BadPrediction, ...] = ()
    """The first two wrong predictions for each reason."""


PhaseCode = Literal[
    "starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming", "training",
    "evaluating", "predicting", "saving", "scoring", "completed",
]  # fmt: skip
"""Phase of a job, in the order in which they usually occur."""


@dataclass(frozen=True)
class Phase:
    """The current phase of a job by its console log."""

    code: PhaseCode
    """Code of the phase."""
    done: int | None = None
    """Current count of the phase's progress bar (batches, examples or shards), None without a bar."""
    total: int | None = None
    """Total of the phase's progress bar, None without a bar or a total."""


@dataclass(frozen=True)
class Failure:
    """A failure of the job by its console log."""

    kind: Literal["exception", "out_of_memory", "interrupted", "terminated"]
    """Kind: ``interrupted`` means KeyboardInterrupt, ``terminated`` SIGTERM, SIGHUP or a launcher's closing signal."""
    message: str
    """The exception's own line, cleaned of control characters and cut to 300 characters."""
    during: str | None = None
    """Code of the phase in which it happened, None if unknown."""
    excerpt: tuple[str, ...] = ()
    """At most 12 cleaned lines around the end of the traceback."""


@dataclass(frozen=True)
class ConsoleFacts:
    """All facts in a console log besides its metric rows, up to its last complete line."""

    is_training_log: bool = False
    """Whether it has a LLaMA-Factory or transformers log line, a metric dict, a metric block or a traceback."""
    phase: Phase | None = None
    """Current phase, None if the log shows none."""
    failure: Failure | None = None
    """Failure of the job; None again when a later line shows that it went on or was restarted."""
    completed: bool = False
    """Whether training reached its end ("Training completed", or the v1 trainer's "Reached max_steps")."""
    step: int | None = None
    """Last step of the progress bar or of a row, None without one."""
    total_steps: int | None = None
    """Planned steps, None if the log does not state them."""
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    """Options of the job under the names of :class:`ConfigDoc`, plus num_examples, total_train_batch_size,
    trainable_params, all_params, trainable_percent, num_devices, eval_examples and eval_batch_size."""
    output_dir: str | None = None
    """Output directory of the job as written in the log, None if it is not there."""
    adapters: tuple[str, ...] = ()
    """Directories of the adapters that the job loaded ("Loaded adapter(s): …")."""
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Values of the metric blocks by split (train, eval, predict); runtimes in seconds."""
    tail: tuple[str, ...] = ()
    """The last 12 cleaned, non-empty lines, without progress bar frames."""
