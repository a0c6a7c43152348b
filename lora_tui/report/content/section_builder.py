"""What every section of a report is told from, and how a fact is put down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lora_tui.analysis import Judgement
from lora_tui.i18n import Words
from lora_tui.report.document import Fact
from lora_tui.runs.run import Progress, Run, Status
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import capital, with_unit


@dataclass
class Teller:
    """What the sections are told from, and the facts of the section that is being filled."""

    run: Run
    now: float
    words: Words
    judgement: Judgement
    status: Status = field(init=False)
    progress: Progress = field(init=False)
    out: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = self.run.status(self.now)
        self.progress = self.run.progress(self.now)

    @property
    def trained(self) -> bool:
        """It is a training job, not one that only evaluates or predicts."""
        return self.progress.unit == "steps" and (len(self.run.timeline.rows) > 0 or not self.run.results())

    def add(
        self, code: str, value: str, *, label: str | None = None, note: str | None = None, derived: bool = False,
        source: str | None = None,
    ) -> None:  # fmt: skip
        """One fact more; its label is the catalogue's, unless another is given. ``note``: how it was derived."""
        if derived:
            note = self.words.t("report.derived_how", how=note) if note else self.words.t("report.derived")
        name = label if label is not None else self.words.t(f"report.fact.{code}")
        name = capital(self.words, name)
        self.out.append(
            Fact(
                code=code, label=name, value=value, note=note, derived=derived, source=clean(source) if source else None
            )
        )

    def metric(
        self, name: str, value: float | None, *, note: str | None = None, source: str | None = None,
        derived: bool = False, label: str | None = None, code: str | None = None,
    ) -> None:  # fmt: skip
        """A metric's number, if there is one."""
        if value is not None:
            text, label = with_unit(self.words, name, value), label or self.words.metric(name)
            self.add(code or name, text, label=label, note=note, source=source, derived=derived)

    def setting(self, name: str) -> str | None:
        """An option as text, ``None`` where it is not set."""
        found = self.run.config.get(name)
        return None if found is None or found.value in (None, "") else setting_text(found.value)

    def source(self, *names: str) -> str | None:
        """The files that these options stand in."""
        found = [self.run.config[name].source for name in names if name in self.run.config]
        return ", ".join(dict.fromkeys(found)) or None


def setting_text(value: object) -> str:
    """An option's value as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, (tuple, list)):
        return clean(", ".join(setting_text(item) for item in value))
    return clean(str(value))


def moment(words: Words, unix: float) -> str:
    """Date and time, local."""
    return words.clock(unix, 0.0)


def last_rows(count: int) -> int:
    """How many rows stand for the end of a run: 5 % of them, at most 50."""
    return max(1, min(count // 20, 50))
