"""Print the results beside the goals while they are measured, and write them as Markdown into RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def figure(value: float, unit: str) -> str:
    """Return a number with its unit: four significant digits, or from 1,000 on a whole number with commas."""
    text = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{text} {unit}".strip()


@dataclass
class Table:
    """Rows of (what, floor, goal, figure, verdict)."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, what: str, value: float | None, unit: str, most: float, floor: str = "") -> None:
        """Add a result and the most that it may be. A value of None could not be measured, which is a miss."""
        good = value is not None and value <= most
        if not good:
            self.missed.append(what)
        shown = figure(value, unit) if value is not None else "not reached"
        self._row(
            what, floor, f"≤ {figure(most, unit)}" if most else f"{most:g} {unit}", shown, "pass" if good else "MISS"
        )

    def note(self, what: str, value: float | None, unit: str) -> None:
        """Add a result without a goal."""
        self._row(what, "", "", figure(value, unit) if value is not None else "not reached", "")

    def _row(self, *cells: str) -> None:
        self.rows.append(cells)
        what, floor, goal, shown, verdict = cells
        line = f"  {what:<52} {shown:>14}  {goal and 'goal ' + goal:<20} {verdict:<5} {floor and 'floor: ' + floor}"
        print(line.rstrip(), flush=True)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        return grid(("what", "floor", "goal", "measured", ""), self.rows)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def machine() -> str:
    """Return a description of the machine and the versions, without a name of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("textual", "plotext", "watchdog", "pydantic"))
    return (
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GB of memory, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def record(section: str, text: str) -> None:
    """Write a text into RESULTS.md between the two marks of its section, which are added if they are missing."""
    begin, end = f"<!-- {section}: written by the bench -->", f"<!-- end of {section} -->"
    whole = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    if begin not in whole or end not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = whole.partition(begin)
    after = rest.partition(end)[2]
    RESULTS.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def taken(load_before: float) -> str:
    """Return date, machine and load, for the head of a recorded table."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return f"{today}; {machine()}; load average {load_before:.2f} before, {os.getloadavg()[0]:.2f} after."
