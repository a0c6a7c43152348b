"""Collect the facts of one section of a report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lora_tui.analysis import Judgement
from lora_tui.i18n import Words
from lora_tui.report.document import Fact
from lora_tui.runs.run import Progress, Run, Status
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import capitalize, format_with_unit


@dataclass
class SectionBuilder:
    """The run that a section is about, and the facts that have been added to the section so far."""

    run: Run
    now: float
    """Unix time of the report."""
    words: Words
    judgement: Judgement
    status: Status = field(init=False)
    progress: Progress = field(init=False)
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = self.run.status(self.now)
        self.progress = self.run.progress(self.now)

    @property
    def trained(self) -> bool:
        """Whether the job trains, rather than only evaluates or predicts."""
        return self.progress.unit == "steps" and (len(self.run.timeline.rows) > 0 or not self.run.results())

    def add(
        self, code: str, value: str, *, label: str | None = None, note: str | None = None, derived: bool = False,
        source: str | None = None,
    ) -> None:  # fmt: skip
        """Add a fact, labelled by ``label`` or by the catalogue's text for ``code``.

        ``note`` is a remark on the value; for a ``derived`` value it says how the value was computed. ``source`` is the
        file that the value stands in.
        """
        if derived:
            note = self.words.t("report.derived_how", how=note) if note else self.words.t("report.derived")
        name = label if label is not None else self.words.t(f"report.fact.{code}")
        name = capitalize(self.words, name)
        self.facts.append(
            Fact(
                code=code, label=name, value=value, note=note, derived=derived, source=clean(source) if source else None
            )
        )

    def add_metric(
        self, name: str, value: float | None, *, note: str | None = None, source: str | None = None,
        derived: bool = False, label: str | None = None, code: str | None = None,
    ) -> None:  # fmt: skip
        """Add the value of a metric with its unit; add nothing if the value is ``None``."""
        if value is not None:
            text, label = format_with_unit(self.words, name, value), label or self.words.metric(name)
            self.add(code or name, text, label=label, note=note, source=source, derived=derived)

    def option(self, name: str) -> str | None:
        """Return the value of a job option as text, or ``None`` where it is not set."""
        found = self.run.config.get(name)
        return None if found is None or found.value in (None, "") else option_text(found.value)

    def source(self, *names: str) -> str | None:
        """Return the files that these job options were read from, separated by commas, or ``None``."""
        found = [self.run.config[name].source for name in names if name in self.run.config]
        return ", ".join(dict.fromkeys(found)) or None


def option_text(value: object) -> str:
    """Return the value of a job option as text: lists separated by commas, floats without needless digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, (tuple, list)):
        return clean(", ".join(option_text(item) for item in value))
    return clean(str(value))


def date_and_time(words: Words, unix: float) -> str:
    """Return a Unix time as local date and time."""
    return words.clock(unix, 0.0)


def rows_at_end(count: int) -> int:
    """Return how many of ``count`` rows make up the end of a run: 5 % of them, at least 1, at most 50."""
    return max(1, min(count // 20, 50))
