"""The content of a comparison of runs, for each of its forms (text, HTML, JSON): schema 1.

Codes and numbers do not depend on the language; their words stand beside them. Every text has passed
:func:`lora_tui.text.sanitize.clean`, but is not escaped. ``None`` means "not known"; in a list with one item for each
run it keeps that run's place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from lora_tui.analysis.comparison.compare import Claim, Comparison, Measure
from lora_tui.analysis.comparison.fairness import Note
from lora_tui.analysis.comparison.measures import EVAL_AT, LOSS_AT, Side, Value
from lora_tui.analysis.judgement import Finding
from lora_tui.i18n import Words
from lora_tui.report.status_json import Document, Number, Part, Plain, json_number
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import append_unit, format_metric


class RunEntry(Part):
    """One of the runs that are compared."""

    letter: str
    """A, B, C, … in the order in which the runs were given."""
    name: str
    short: str
    """The name without the directories that all names have in common."""
    path: str
    state: str
    state_text: str
    stage: str | None = None
    method: str | None = None
    model: str | None = None
    data: str | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    findings: list[str]
    """Codes of the run's critical findings and warnings."""
    findings_text: list[str]


class ValueEntry(Part):
    """The value of one measure for one run."""

    value: Number
    shown: str
    """The value as text, without its unit."""
    step: int | None = None
    error: float | None = None
    """Standard error in the unit of the value, or ``None`` where the files give none."""
    samples: int | None = None
    stale: bool = False
    """Whether the value belongs to an earlier attempt in the same directory."""


class MeasureEntry(Part):
    """One measure with its value for each run."""

    code: str
    metric: str
    label: str
    unit: str | None = None
    """The unit in words."""
    direction: str
    values: list[ValueEntry | None]
    outcome: str
    """Which runs are best. ``best``: one run. ``shared``: some runs, within noise of each other. ``even``: all runs,
    within noise. ``unfair``: the values are not comparable. ``none``: neither higher nor lower values are better."""
    best: list[str]
    """Name of the best run, or names of the runs that share the first place."""
    noise: float | None = None
    """A difference from the best value counts only if it is larger than this."""
    because: list[str]
    """Codes of the notes that make the comparison by this measure unfair."""
    by: str | None = None
    """``step`` or ``epoch``: what ``at`` counts, for a measure that is not taken at the end of the run."""
    at: float | None = None
    outcome_text: str


class SettingEntry(Part):
    """One job option that differs between the runs."""

    option: str
    kind: Literal["matters", "seed", "idle"]
    """``idle``: the option has no effect on what is learned."""
    values: list[Plain]
    """One value for each run; ``None`` where its files do not name the option, which need not mean the default."""
    shown: list[str]


class NoteEntry(Part):
    """A reason why the comparison is unfair, or a remark on it."""

    code: str
    unfair: bool
    runs: list[str]
    """Names of the runs that the note is about; empty if it is about all."""
    values: list[str | None]
    text: str


class ComparisonReport(Document):
    """Two or more runs side by side."""

    language: str
    runs: list[RunEntry]
    order: list[str]
    """Names of the runs by ascending best eval loss, then by ascending loss at the end; failed runs are last."""
    verdict: list[str]
    verdict_codes: list[str]
    measures: list[MeasureEntry]
    notes: list[NoteEntry]
    settings: list[SettingEntry]
    partly_known: list[str]
    """Options that matter and are known only for some of the runs."""
    caution: str


def comparison_report(found: Comparison, words: Words) -> ComparisonReport:
    """Return the comparison in the language of ``words``."""
    writer = _Writer(found, words)
    order = found.order()
    return ComparisonReport(
        language=words.lang,
        runs=writer.runs,
        order=[writer.runs[at].name for at in order],
        verdict=[writer.claim(claim) for claim in found.verdict],
        verdict_codes=[claim.code for claim in found.verdict],
        measures=[writer.measure(measure) for measure in found.measures],
        notes=[writer.note(note) for note in found.notes],
        settings=[
            SettingEntry(
                option=clean(item.option),
                kind=item.kind,
                values=[_json_value(value) for value in item.values],
                shown=[writer.option_text(value) for value in item.values],
            )
            for item in found.settings
        ],
        partly_known=[clean(option) for option in found.partly],
        caution=words.t("compare.caution"),
    )


def letter(at: int) -> str:
    """Return the letter of the run with index ``at``: A to Z, then AA, AB, …"""
    return (letter(at // 26 - 1) if at >= 26 else "") + chr(ord("A") + at % 26)


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names without the leading directories that all of them have in common."""
    parts = [name.split("/") for name in names]
    depth = 0
    while all(len(part) > depth + 1 for part in parts) and len({part[depth] for part in parts}) == 1:
        depth += 1
    return [clean("/".join(part[depth:])) for part in parts]


class _Writer:
    """Write one comparison in one language."""

    def __init__(self, found: Comparison, words: Words) -> None:
        self.found, self.words = found, words
        short = short_names([side.run.name for side in found.sides])
        self.runs = [self._run(at, side, short[at]) for at, side in enumerate(found.sides)]

    def _run(self, at: int, side: Side, short: str) -> RunEntry:
        run, words = side.run, self.words
        return RunEntry(
            letter=letter(at),
            name=clean(run.name),
            short=short,
            path=clean(str(run.path.resolve()), None),
            state=side.status.state,
            state_text=words.state(side.status),
            stage=side.setup.stage,
            method=run.method,
            model=clean(run.model) if run.model is not None else None,
            data=clean(side.setup.data.shown) if side.setup.data.shown is not None else None,
            step=side.progress.step,
            total_steps=side.progress.total_steps,
            epoch=side.progress.epoch,
            findings=list(side.findings),
            findings_text=[words.finding_name(Finding(code, "warning")) for code in side.findings],
        )

    def measure(self, measure: Measure) -> MeasureEntry:
        place = measure.place
        return MeasureEntry(
            code=measure.code,
            metric=measure.metric,
            label=self.label(measure),
            unit=self._unit_of(measure),
            direction=measure.direction,
            values=[self._value(measure, value) for value in measure.values],
            outcome=measure.outcome,
            best=[self.runs[at].name for at in measure.best],
            noise=measure.noise,
            because=list(measure.because),
            by=place.by if place is not None else None,
            at=place.at if place is not None else None,
            outcome_text=self._outcome(measure),
        )

    def label(self, measure: Measure) -> str:
        """Return the name of a measure, with the step or epoch at which it was taken."""
        if measure.place is not None and measure.code in (EVAL_AT.code, LOSS_AT.code):
            at = self.words.number(round(measure.place.at, 2))
            return self.words.t(f"compare.measure.{measure.code}.{measure.place.by}", at=at)
        return self.words.t(f"compare.measure.{measure.code}")

    def _unit_of(self, measure: Measure) -> str | None:
        key = {"samples_per_s": "samples/s", "tokens_per_s": "tokens/s", "steps_per_s": "steps/s", "gap": "%"}
        return self.words.t(f"unit.{key[measure.code]}") if measure.code in key else None

    def _value(self, measure: Measure, value: Value | None) -> ValueEntry | None:
        if value is None:
            return None
        return ValueEntry(
            value=json_number(value.value), shown=self.format_value(measure, value.value), step=value.step,
            error=value.error, samples=value.samples, stale=value.stale,
        )  # fmt: skip

    def format_value(self, measure: Measure, value: float) -> str:
        """Return a value with the number of digits that is usual for the measure, without its unit."""
        words = self.words
        if not math.isfinite(value):
            return words.number(value)
        if measure.code == "duration":
            return words.duration(value)
        if measure.code == "tokens":
            return words.number(value, "count")
        if measure.code == "tokens_per_s":
            return f"{value:.0f}" if value >= 100 else words.number(value)
        if measure.code == "checkpoint":
            return words.size(value)
        if measure.code in ("eval_accuracies", "eval_accuracy", "accuracies", "accuracy"):
            return f"{value:.3f}"
        return format_metric(words, measure.metric, value)

    def _outcome(self, measure: Measure) -> str:
        words = self.words
        if measure.outcome == "none":
            return ""
        letters = " ".join(self.runs[at].letter for at in sorted(measure.best))
        return words.t(f"compare.outcome.{measure.outcome}", runs=letters)

    def option_text(self, value: object) -> str:
        """Return the value of an option as text, in the language of the reader where it is not known."""
        if value is None:
            return self.words.t("compare.unknown")
        if isinstance(value, float):
            small = value != 0 and abs(value) < 1e-2
            return self.words.number(value, "lr" if small else "num")
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return clean(", ".join(str(item) for item in value), 200)
        return clean(str(value), 200)

    def note(self, note: Note) -> NoteEntry:
        words = self.words
        names = self._names(note.runs)
        grouped = self._grouped(note)
        params: dict[str, object] = {**note.params, "runs": names, "values": grouped}
        key = f"compare.note.{note.code}"
        text = words.t(f"{key}.{note.variant}", **params) if note.variant else words.n(key, len(note.runs), **params)
        return NoteEntry(
            code=note.code,
            unfair=bool(note.stops),
            runs=[self.runs[at].name for at in note.runs],
            values=[None if value is None else clean(value) for value in note.values],
            text=text,
        )

    def _grouped(self, note: Note) -> str:
        """Return the values with the letters of their runs, equal ones together: "A C sft_demo, B dpo_demo"."""
        runs = note.runs or tuple(range(len(self.runs)))
        groups: dict[str, list[str]] = {}
        for at, value in zip(runs, note.values, strict=False):
            text = self.words.t("compare.unknown") if value is None else clean(value, 80)
            groups.setdefault(text, []).append(self.runs[at].letter)
        return self.words.t("list.separator").join(f"{' '.join(letters)} {text}" for text, letters in groups.items())

    def _names(self, runs: Iterable[int]) -> str:
        return self.words.t("list.separator").join(self.runs[at].short for at in runs)

    def reasons(self, codes: str) -> str:
        """Return short reasons for codes of notes, which are separated by commas."""
        return self.words.t("list.separator").join(self.words.t(f"compare.reason.{code}") for code in codes.split(","))

    def claim(self, claim: Claim) -> str:
        """Return one sentence of the verdict."""
        words, measure = self.words, self.found.measure(claim.measure)
        key = f"compare.verdict.{claim.code}"
        if measure is None:
            because = str(claim.params.get("because", ""))
            codes = [code for code in str(claim.params.get("measures", "")).split(",") if code]
            labels = words.t("list.separator").join(words.t(f"compare.measure.{code}") for code in codes)
            return words.t(key, measures=labels, reasons=self.reasons(because) if because else "")
        values = [v.value if (v := measure.values[at]) is not None else float("nan") for at in claim.runs]
        # Among runs that share the first place, no other run follows if the others have no comparable value.
        many = len(self.found.sides) > 2 and not (claim.code == "shared" and measure.next is None)
        kind = ".loss" if measure.code in ("loss_at", "loss_end") else ""
        last = len(measure.best) - 1 if claim.code in ("shared", "even") else len(values) - 1
        params = {
            "measure": self.label(measure), "n": len([v for v in measure.values if v is not None]),
            "first": self.runs[claim.runs[0]].short, "second": self.runs[claim.runs[-1]].short,
            "names": self._names(measure.best), "value": self._with_unit(measure, values[0]),
            "other": self._with_unit(measure, values[last]), "next": self._with_unit(measure, values[-1]),
            "difference": self.format_value(measure, abs(values[-1] - values[0])).lstrip("+"),
            "noise": self.format_value(measure, measure.noise).lstrip("+") if measure.noise is not None else "?",
        }  # fmt: skip
        for variant in ((f"{key}{kind}.many", f"{key}.many") if many else ()) + (f"{key}{kind}", key):
            if words.has(variant):
                return words.t(variant, **params)
        return words.t(key, **params)

    def _with_unit(self, measure: Measure, value: float) -> str:
        return append_unit(self.words, self.format_value(measure, value), self._unit_of(measure))


def _json_value(value: object) -> Plain:
    if isinstance(value, float):
        return json_number(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, tuple):
        return [clean(str(item), 200) for item in value]
    return clean(str(value))
