"""The content of a report on one run, for each of its forms (box, Markdown, HTML, JSON): the snapshot, explained.

A :class:`Report` is a :class:`lora_tui.report.status_json.Snapshot` (codes and numbers that do not depend on the
language) with the parts below, in which each code or number stands beside its words in the report's language. A
renderer only lays these parts out: it decides nothing and needs no :class:`~lora_tui.runs.run.Run`.

Rules for a renderer:

* Every text has passed :func:`lora_tui.text.sanitize.clean`: one line, no control characters. It is *not* escaped:
  ``<``, ``|``, ``[`` and the like may stand in it, so each form escapes all of it.
* Backticks mark options and commands, as in Markdown, in ``text``, ``advice``, ``analysis``, ``note`` and
  ``summary``; there they come in pairs and never from a file. Everywhere else a backtick is an ordinary character.
* ``None`` and an empty list mean "not known": show nothing, neither a dash nor a heading.
* A fact with ``derived`` was computed, not read: its ``note`` begins with that word and says how; an approximate
  ``value`` begins with ``≈``. A short form may show the word alone instead of the note.
* A badge (``mark``) always stands beside a word: ``★ ● ▲ ✗`` for a firm rating, ``☆ ○ △ ×`` for one that is not firm,
  ``–`` for none, followed by ``!`` where a finding undermines the number.
"""

from __future__ import annotations

from typing import Literal

from lora_tui.report.status_json import Number, Part, Snapshot

Group = Literal["training", "evaluation", "preference", "reward", "speed", "setting", "generation"]


class Fact(Part):
    """One line of the form "label: value"."""

    code: str
    """Stable name, such as ``finished_at``, ``train_loss`` or ``batch``; unique in its section."""
    label: str
    value: str
    """The value as text, with its unit."""
    note: str | None = None
    """A remark: how the value was derived (it begins with that word), or a peculiarity of the value."""
    derived: bool = False
    """Whether the value was computed from other numbers instead of found in a file."""
    source: str | None = None
    """The file with the value, relative to the run; of a derived fact, the files that it was computed from."""


class Section(Part):
    """Facts that belong together, in reading order. Sections without facts are left out of the report.

    Codes: ``training`` (state, times, steps), ``metrics`` (the numbers at the end, or so far), ``config`` (the most
    important settings), ``forecast`` (only while the run goes on) or ``outcome`` (once it has ended), ``checkpoint``
    (which one to take, what would be lost).
    """

    code: str
    title: str
    facts: list[Fact]


class MetricEntry(Part):
    """One metric with its explanation: what it is and what its value means in this run."""

    name: str
    """Name in the log or in the results file: ``loss``, ``eval_loss``, ``predict_bleu-4``, ``rewards/margins``."""
    label: str
    value: Number
    shown: str
    """The value with the number of digits that is usual for the metric, without its unit."""
    unit: str | None = None
    """The unit in words."""
    group: Group
    meaning: str
    """One or two sentences on what the metric is."""
    level: str | None = None
    """excellent, good, fair or poor; ``None`` if the metric is not rated."""
    level_text: str | None = None
    confidence: str | None = None
    """firm, orientation or few; only with a level."""
    mark: str
    verdict: str
    """The verdict in a few words; empty if there is none."""
    analysis: str
    """Sentences on the verdict, its reason, its numbers and what undermines it. May hold code in backticks."""
    reservations: list[str]
    """Sentences on why the number is not to be trusted; they are part of ``analysis`` as well."""
    derived: bool = False


class ResultsSection(Part):
    """One results file (train, eval, predict) with its metrics in reading order."""

    split: Literal["train", "eval", "predict"]
    title: str
    file: str
    run: str | None = None
    """Name of the run that wrote the file, if that is another run which loaded this run's adapter."""
    stale: bool
    """Whether the file belongs to an earlier attempt in the same directory."""
    notes: list[str]
    """Sentences on the whole file: whether it is stale, how many samples it covers, which data."""
    metrics: list[MetricEntry]
    summary: list[str]
    """Sentences that sum the file up."""


class TableCell(Part):
    """One column of the table by steps: an interval of steps."""

    step: int
    """The last step of the interval."""
    value: Number
    """Mean of the values logged in the interval."""
    shown: str
    eval_value: Number | None = None
    """Value of the last evaluation in the interval."""
    eval_shown: str | None = None


class StepTable(Part):
    """The main metric (the loss, or in some stages the reward) over the run, in about 12 columns."""

    metric: str
    title: str
    label: str
    eval_label: str | None = None
    """Name of the eval loss; only if a cell has one."""
    step_label: str
    """The word for a step: step, or row where the producer writes no steps."""
    interval: int | None = None
    """Steps from column to column; ``None`` if every logged row is a column."""
    note: str | None = None
    cells: list[TableCell]


class Line(Part):
    """One curve: ``steps``, ascending, and as many ``values``. A value of ``None`` is a gap (NaN, Infinity)."""

    code: str
    """Name of the metric, or ``smoothed`` for the moving average of the chart's main metric."""
    label: str
    style: Literal["raw", "line", "points"]
    """``raw`` is drawn faint and behind the others; ``points`` has few values, each drawn as a point."""
    steps: list[float]
    values: list[float | None]


class ChartMark(Part):
    """A mark at a step at which something happened."""

    kind: Literal["epoch", "checkpoint", "best", "resume", "nan"]
    step: float
    label: str


class Chart(Part):
    """A chart with everything that it shows. Each curve has at most 600 points, and no spike is lost."""

    code: str
    """Name of the main metric: loss, lr, grad_norm, reward, accuracy, rewards/margins, kl."""
    title: str
    unit: str | None = None
    x_label: str
    x_max: float
    """Right end of the x-axis: the planned last step of a live run, else the last step."""
    lines: list[Line]
    marks: list[ChartMark]
    """Marks in the order of their steps, at most 60 of each kind."""


class Option(Part):
    """One option of the job."""

    name: str
    """Name of the option in LLaMA-Factory."""
    value: str
    source: str
    major: bool
    """Whether the option is one of the most important ones."""


class Remark(Part):
    """One line of the assessment, the short summary of findings and ratings."""

    code: str
    """Name of the metric or code of the finding; ``none`` if nothing could be rated."""
    kind: Literal["rating", "finding", "none"]
    level: str | None = None
    """Level of a rating, severity of a finding."""
    mark: str
    head: str
    """Subject of the line: "PPL 5.39", "QLoRA", the name of the finding."""
    text: str
    """Text of the line. May hold code in backticks."""
    advice: str | None = None


class FindingEntry(Part):
    """One finding in words. The list is in the order of ``findings``, which has the evidence."""

    code: str
    severity: Literal["critical", "warning", "info", "good"]
    severity_text: str
    mark: str
    name: str
    """Name of the finding in two or three words."""
    text: str
    advice: str | None = None
    step: int | None = None
    end_step: int | None = None
    over: bool = False
    """Whether the finding held earlier and no longer does."""


class LogSample(Part):
    """One row of the log as it was read."""

    step: int | None = None
    epoch: float | None = None
    values: dict[str, Number]


class Report(Snapshot):
    """One run at one moment, explained. See :func:`lora_tui.report.build.build`."""

    language: Literal["en", "zh"]
    generated_at: str
    """Time that the report describes, in UTC, ISO 8601."""
    generated_text: str
    """The same time as local date and time."""
    in_progress: bool
    """Whether the run is live, so that its numbers are not final."""
    progress_text: str | None = None
    """One sentence on that, with the time of the report; only if ``in_progress``."""
    title: str
    """Title of the short form, with model and method: "Qwen2-0.5B QLoRA training summary"."""
    heading: str
    """Title of the long forms: "LoRA training analysis: NAME"."""
    state_text: str
    about: str
    """What was read: the files and their numbers of rows."""
    sections: list[Section]
    samples: list[LogSample]
    """The last rows of the log, at most 2, oldest first."""
    metrics_explained: list[MetricEntry]
    """Every metric of the training log that has an explanation, in reading order."""
    metrics_summary: list[str]
    """Sentences that sum up the metrics of the log."""
    results_explained: list[ResultsSection]
    """The results files, in the order predict, eval, train."""
    assessment: list[Remark]
    """The worst findings, then the ratings, 8 lines at most."""
    conclusion: str
    """One sentence on the whole run."""
    findings_explained: list[FindingEntry]
    step_table: StepTable | None = None
    charts: list[Chart]
    options: list[Option]
    """All options of the job, the most important ones first."""

    def section(self, code: str) -> Section | None:
        """Return the section with this code, or ``None`` if the run has none."""
        return next((section for section in self.sections if section.code == code), None)
