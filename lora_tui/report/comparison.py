"""What a comparison says, for every form of it (text, HTML, JSON): schema 1.

Codes and numbers are language-neutral and stand beside their words. Every text has passed
:func:`lora_tui.text.sanitize.clean`; it is not escaped. ``None`` is "not known"; in lists with a place for each run it
keeps the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from lora_tui.analysis.comparison.compare import Claim, Comparison, Measure
from lora_tui.analysis.comparison.fairness import Note
from lora_tui.analysis.comparison.measures import EVAL_AT, LOSS_AT, Side, Value
from lora_tui.analysis.model import Finding
from lora_tui.i18n import Words
from lora_tui.report.snapshot import Document, Number, Part, Plain, json_number
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import joined, shown


class RunEntry(Part):
    """One of the runs."""

    letter: str
    """A, B, C, … in the order in which they were named."""
    name: str
    short: str
    """The name without the directories that all have in common."""
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
    """Codes of its findings of weight."""
    findings_text: list[str]


class ValueEntry(Part):
    """One measure of one run."""

    value: Number
    shown: str
    """For people, without its unit."""
    step: int | None = None
    error: float | None = None
    """Standard error in the same unit, where the files carry one."""
    samples: int | None = None
    stale: bool = False
    """It belongs to an earlier attempt in the same directory."""


class MeasureEntry(Part):
    """One measure of all runs."""

    code: str
    metric: str
    label: str
    unit: str | None = None
    """In words."""
    direction: str
    values: list[ValueEntry | None]
    outcome: str
    """``best``: one run. ``shared``: some, within noise of each other. ``even``: all of them. ``unfair``: not
    comparable. ``none``: nothing to win."""
    best: list[str]
    """Names of the runs in the best place."""
    noise: float | None = None
    """What a difference from the best has to exceed."""
    because: list[str]
    """Codes of the notes that make it unfair."""
    by: str | None = None
    """``step`` or ``epoch``, where it was not taken at the end; with ``at``."""
    at: float | None = None
    outcome_text: str


class SettingEntry(Part):
    """One option that differs. ``matters``, ``seed``, or ``idle``: without effect on what is learned."""

    option: str
    kind: Literal["matters", "seed", "idle"]
    values: list[Plain]
    """``None``: the run's files do not tell; it may be the default or may not."""
    shown: list[str]


class NoteEntry(Part):
    """Why the comparison is unfair, or what to mind."""

    code: str
    unfair: bool
    runs: list[str]
    """Names of the runs that it is about; empty: all."""
    values: list[str | None]
    text: str


class ComparisonReport(Document):
    """Runs side by side."""

    language: str
    runs: list[RunEntry]
    order: list[str]
    """Names, the lowest eval loss first, then the lowest loss."""
    verdict: list[str]
    verdict_codes: list[str]
    measures: list[MeasureEntry]
    notes: list[NoteEntry]
    settings: list[SettingEntry]
    partly_known: list[str]
    """Options that matter and are known of some runs only."""
    caution: str


def comparison_report(found: Comparison, words: Words) -> ComparisonReport:
    """The comparison in the language of ``words``."""
    teller = _Teller(found, words)
    order = found.order()
    return ComparisonReport(
        language=words.lang,
        runs=teller.runs,
        order=[teller.runs[at].name for at in order],
        verdict=[teller.claim(claim) for claim in found.verdict],
        verdict_codes=[claim.code for claim in found.verdict],
        measures=[teller.measure(measure) for measure in found.measures],
        notes=[teller.note(note) for note in found.notes],
        settings=[
            SettingEntry(
                option=clean(item.option),
                kind=item.kind,
                values=[_plain(value) for value in item.values],
                shown=[teller.setting(value) for value in item.values],
            )
            for item in found.settings
        ],
        partly_known=[clean(option) for option in found.partly],
        caution=words.t("compare.caution"),
    )


def letter(at: int) -> str:
    """A to Z, then AA, AB, …"""
    return (letter(at // 26 - 1) if at >= 26 else "") + chr(ord("A") + at % 26)


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the leading directories that all of them have in common."""
    parts = [name.split("/") for name in names]
    depth = 0
    while all(len(part) > depth + 1 for part in parts) and len({part[depth] for part in parts}) == 1:
        depth += 1
    return [clean("/".join(part[depth:])) for part in parts]


class _Teller:
    """Finds the words for one comparison."""

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
            unit=self._unit(measure),
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
        """Its name, with the place where it was taken."""
        if measure.place is not None and measure.code in (EVAL_AT.code, LOSS_AT.code):
            at = self.words.number(round(measure.place.at, 2))
            return self.words.t(f"compare.measure.{measure.code}.{measure.place.by}", at=at)
        return self.words.t(f"compare.measure.{measure.code}")

    def _unit(self, measure: Measure) -> str | None:
        key = {"samples_per_s": "samples/s", "tokens_per_s": "tokens/s", "steps_per_s": "steps/s", "gap": "%"}
        return self.words.t(f"unit.{key[measure.code]}") if measure.code in key else None

    def _value(self, measure: Measure, value: Value | None) -> ValueEntry | None:
        if value is None:
            return None
        return ValueEntry(
            value=json_number(value.value), shown=self.shown(measure, value.value), step=value.step, error=value.error,
            samples=value.samples, stale=value.stale,
        )  # fmt: skip

    def shown(self, measure: Measure, value: float) -> str:
        """A value with the digits that this measure is read with."""
        words = self.words
        if value != value or value in (float("inf"), float("-inf")):
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
        return shown(words, measure.metric, value)

    def _outcome(self, measure: Measure) -> str:
        words = self.words
        if measure.outcome == "none":
            return ""
        letters = " ".join(self.runs[at].letter for at in sorted(measure.best))
        return words.t(f"compare.outcome.{measure.outcome}", runs=letters)

    def setting(self, value: object) -> str:
        """An option's value as people write it."""
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
        """Values with the letters of their runs, equal ones together: "A C sft_demo, B dpo_demo"."""
        runs = note.runs or tuple(range(len(self.runs)))
        groups: dict[str, list[str]] = {}
        for at, value in zip(runs, note.values, strict=False):
            text = self.words.t("compare.unknown") if value is None else clean(value, 80)
            groups.setdefault(text, []).append(self.runs[at].letter)
        return self.words.t("list.separator").join(f"{' '.join(letters)} {text}" for text, letters in groups.items())

    def _names(self, runs: Iterable[int]) -> str:
        return self.words.t("list.separator").join(self.runs[at].short for at in runs)

    def reasons(self, codes: str) -> str:
        """Codes of notes as a list of short reasons."""
        return self.words.t("list.separator").join(self.words.t(f"compare.reason.{code}") for code in codes.split(","))

    def claim(self, claim: Claim) -> str:
        """One sentence of the verdict."""
        words, measure = self.words, self.found.measure(claim.measure)
        key = f"compare.verdict.{claim.code}"
        if measure is None:
            because = str(claim.params.get("because", ""))
            codes = [code for code in str(claim.params.get("measures", "")).split(",") if code]
            labels = words.t("list.separator").join(words.t(f"compare.measure.{code}") for code in codes)
            return words.t(key, measures=labels, reasons=self.reasons(because) if because else "")
        values = [v.value if (v := measure.values[at]) is not None else float("nan") for at in claim.runs]
        # Of runs that share the best place, nobody follows where the others have no json_number that counts.
        many = len(self.found.sides) > 2 and not (claim.code == "shared" and measure.next is None)
        kind = ".loss" if measure.code in ("loss_at", "loss_end") else ""
        last = len(measure.best) - 1 if claim.code in ("shared", "even") else len(values) - 1
        params = {
            "measure": self.label(measure), "n": len([v for v in measure.values if v is not None]),
            "first": self.runs[claim.runs[0]].short, "second": self.runs[claim.runs[-1]].short,
            "names": self._names(measure.best), "value": self._told(measure, values[0]),
            "other": self._told(measure, values[last]), "next": self._told(measure, values[-1]),
            "difference": self.shown(measure, abs(values[-1] - values[0])).lstrip("+"),
            "noise": self.shown(measure, measure.noise).lstrip("+") if measure.noise is not None else "?",
        }  # fmt: skip
        for variant in ((f"{key}{kind}.many", f"{key}.many") if many else ()) + (f"{key}{kind}", key):
            if words.has(variant):
                return words.t(variant, **params)
        return words.t(key, **params)

    def _told(self, measure: Measure, value: float) -> str:
        return joined(self.words, self.shown(measure, value), self._unit(measure))


def _plain(value: object) -> Plain:
    if isinstance(value, float):
        return json_number(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, tuple):
        return [clean(str(item), 200) for item in value]
    return clean(str(value))
