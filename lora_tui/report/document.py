"""What a report says of one run, for every form of it (box, Markdown, HTML, JSON): schema 1 of the snapshot, and more.

A :class:`Report` is a :class:`lora_tui.report.snapshot.Snapshot` (codes and numbers, language-neutral) with the parts
below, in which each code or number stands beside its words in the report's language. A form of the report lays these
parts out; it decides nothing and needs no :class:`~lora_tui.runs.run.Run`.

Rules for whoever shows it:

* Every text has passed :func:`lora_tui.text.sanitize.clean`: one line, no control characters. It is *not* escaped:
  ``<``, ``|``, ``[`` and the like may stand in it, so each form escapes all of it.
* Backticks mark options and commands, as in Markdown, in ``text``, ``advice``, ``analysis``, ``note`` and
  ``summary``; they come in pairs and never from a file. Everywhere else a backtick is a character like others.
* ``None`` and an empty list mean that the files do not tell: show nothing, no dash and no heading.
* A fact with ``derived`` was worked out, not read: its ``note`` begins with that word and says how; a ``value`` that is
  only about right has ``≈`` in front. A short form may put the word alone in place of the note.
* Badges (``mark``) are a shape beside a word, never alone: ``★ ● ▲ ✗`` firm, ``☆ ○ △ ×`` hollow where the ground is
  thin, ``–`` not rated, ``!`` behind it where a finding undermines the number.
"""

from __future__ import annotations

from typing import Literal

from lora_tui.report.snapshot import Number, Part, Snapshot

Group = Literal["training", "evaluation", "preference", "reward", "speed", "setting", "generation"]


class Fact(Part):
    """One line "label: value"."""

    code: str
    """Stable name, such as ``finished_at``, ``train_loss``, ``batch``; unique in its section."""
    label: str
    value: str
    """For people, with its unit."""
    note: str | None = None
    """A few words more: how it was derived (with that word in front), what is peculiar about it."""
    derived: bool = False
    """Worked out from other numbers, not found in a file."""
    source: str | None = None
    """The file in which it stands, relative to the run; of a derived fact, those that it was worked out from."""


class Section(Part):
    """Facts that belong together, in reading order. Sections without facts are left out of the report.

    Codes: ``training`` (state, times, steps), ``metrics`` (the numbers at the end, or so far), ``config`` (the settings
    that matter first), ``forecast`` (only while it runs) or ``outcome`` (once it is over), ``checkpoint`` (which one
    to take, what is at stake).
    """

    code: str
    title: str
    facts: list[Fact]


class MetricEntry(Part):
    """One metric, explained: what it is, what its number means here."""

    name: str
    """As logged or as in the results file: ``loss``, ``eval_loss``, ``predict_bleu-4``, ``rewards/margins``."""
    label: str
    value: Number
    shown: str
    """The number with the digits that its metric is read with, without its unit."""
    unit: str | None = None
    """Unit in words."""
    group: Group
    meaning: str
    """What the metric is, one or two sentences."""
    level: str | None = None
    """excellent, good, fair, poor; ``None``: not rated."""
    level_text: str | None = None
    confidence: str | None = None
    """firm, orientation, few; only with a level."""
    mark: str
    verdict: str
    """A few words; empty where nothing is said of it."""
    analysis: str
    """Sentences: the verdict, its ground, its numbers, what undermines it. May hold code in backticks."""
    reservations: list[str]
    """Sentences: why the number is not to be trusted; part of ``analysis`` as well."""
    derived: bool = False


class ResultsSection(Part):
    """One results file (train, eval, predict) with its metrics in reading order."""

    split: Literal["train", "eval", "predict"]
    title: str
    file: str
    run: str | None = None
    """Name of the job that wrote it, where that was another run which loaded this one's adapter."""
    stale: bool
    """It belongs to an earlier attempt."""
    notes: list[str]
    """Sentences about the whole file: stale, how many samples, which data."""
    metrics: list[MetricEntry]
    summary: list[str]
    """Sentences that sum it up."""


class TableCell(Part):
    """One column of the table by steps."""

    step: int
    """Where the interval ends."""
    value: Number
    """Mean of the values logged since the column before."""
    shown: str
    eval_value: Number | None = None
    """The last evaluation in the interval."""
    eval_shown: str | None = None


class StepTable(Part):
    """The course of the main metric in about 12 columns: the loss, or the reward where the loss says nothing."""

    metric: str
    title: str
    label: str
    eval_label: str | None = None
    """Set where a cell has an evaluation."""
    step_label: str
    """What a step is called here: step, or row where the producer writes no steps."""
    interval: int | None = None
    """Steps from column to column; ``None``: every logged row is a column."""
    note: str | None = None
    cells: list[TableCell]


class Line(Part):
    """One curve. ``steps`` ascends; both lists have the same length; a value of ``None`` is a gap (NaN, Infinity)."""

    code: str
    """Metric name, or ``smoothed`` for the moving average of the chart's main metric."""
    label: str
    style: Literal["raw", "line", "points"]
    """``raw``: faint, behind the others. ``points``: few values, drawn with a point each."""
    steps: list[float]
    values: list[float | None]


class ChartMark(Part):
    """Something that happened at a step."""

    kind: Literal["epoch", "checkpoint", "best", "resume", "nan"]
    step: float
    label: str


class Chart(Part):
    """A chart with everything that it shows. Curves are thinned to at most 600 points each, no spike lost."""

    code: str
    """Name of its main metric: loss, lr, grad_norm, reward, accuracy, margins."""
    title: str
    unit: str | None = None
    x_label: str
    x_max: float
    """How far the x-axis goes: to the planned end while the run goes on."""
    lines: list[Line]
    marks: list[ChartMark]
    """By step. At most 60 of each kind."""


class Option(Part):
    """One setting of the job."""

    name: str
    """LLaMA-Factory's name of it."""
    value: str
    source: str
    major: bool
    """One of those that are looked at first."""


class Remark(Part):
    """One line of the assessment: the box's last section, and what a reader in a hurry should know."""

    code: str
    """Metric name or finding code, or ``none`` (nothing speaks against the run)."""
    kind: Literal["rating", "finding", "none"]
    level: str | None = None
    """Level of a rating, severity of a finding."""
    mark: str
    head: str
    """What it is about: "PPL 5.39", "QLoRA", the finding's name."""
    text: str
    """What is said of it. May hold code in backticks."""
    advice: str | None = None


class FindingEntry(Part):
    """One finding in words, in the order of ``findings``, which has its evidence."""

    code: str
    severity: Literal["critical", "warning", "info", "good"]
    severity_text: str
    mark: str
    name: str
    """Two or three words."""
    text: str
    advice: str | None = None
    step: int | None = None
    end_step: int | None = None
    over: bool = False
    """It was so and is no more."""


class LogSample(Part):
    """One logged row as it was read: what the analysis is about."""

    step: int | None = None
    epoch: float | None = None
    values: dict[str, Number]


class Report(Snapshot):
    """One run at one moment, explained. Build it with :func:`lora_tui.report.build.build`."""

    language: Literal["en", "zh"]
    generated_at: str
    """UTC, ISO 8601: the moment that the run was looked at."""
    generated_text: str
    """The same in local time, for people."""
    in_progress: bool
    """Something may still come: every number is one of now, not of the end."""
    progress_text: str | None = None
    """One sentence that says so, with the moment; only with ``in_progress``."""
    title: str
    """Model, method and what this is: "Qwen2-0.5B QLoRA training summary"."""
    heading: str
    """The same for a long analysis: "LoRA training analysis: NAME"."""
    state_text: str
    about: str
    """What was read: files and how many rows."""
    sections: list[Section]
    samples: list[LogSample]
    """The last rows of the log, oldest first, at most 2."""
    metrics_explained: list[MetricEntry]
    """Every explained metric of the training log, in reading order."""
    metrics_summary: list[str]
    """Sentences that sum them up."""
    results_explained: list[ResultsSection]
    """What the results files say: predict, eval, train."""
    assessment: list[Remark]
    """The worst findings, then what the ratings say, at most about 8."""
    conclusion: str
    """One sentence on the whole."""
    findings_explained: list[FindingEntry]
    step_table: StepTable | None = None
    charts: list[Chart]
    options: list[Option]
    """All settings, those that matter first at the beginning."""

    def section(self, code: str) -> Section | None:
        """The section with this code, if the run has one."""
        return next((section for section in self.sections if section.code == code), None)
