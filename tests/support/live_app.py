"""Run the app in a real terminal, write rows and runs as a job does, and read the chart from the screen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from tests.support.terminal import Terminal, cell_width, repository_root

PYTHON = {"PYTHONPATH": str(repository_root())}
DOTS = re.compile("[\u2801-\u28ff]")
DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots of a braille character: (left, right) of each row, from the top down."""


def start(
    directory: Path, *arguments: str | Path, size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None
) -> Terminal:
    """Start ``python -m lora_tui watch`` in ``directory``, in a terminal of ``size`` (columns, rows)."""
    command = [sys.executable, "-m", "lora_tui", "watch", *arguments]
    return Terminal(command, *size, {**PYTHON, **(env or {})}, directory)


@contextmanager
def watching(
    directory: Path, *arguments: str | Path, size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Start the app, yield its terminal once it is drawn, then end it with ``q`` and check that it left no trace."""
    with start(directory, *arguments, size=size, env=env) as terminal:
        terminal.wait_for(r"quit|退出|\d/\d" if size[0] >= 60 and size[1] >= 18 else r"lora-tui|[●○✓✗◐◌◇■]")
        terminal.drain(0.1)
        yield terminal
        assert terminal.process.poll() is None, terminal.shown()
        terminal.send("q")
        assert terminal.wait_exit() == 0, terminal.shown()
        assert terminal.left_behind() == []
        assert "Traceback" not in terminal.text


def cli(directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run another command without a terminal; return its result."""
    environment = {**os.environ, **PYTHON, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "lora_tui", *arguments]
    return subprocess.run(command, capture_output=True, cwd=directory, env=environment, stdin=subprocess.DEVNULL)


def clock(seconds: int) -> str:
    """Return a duration as the producer writes it: ``0:01:05``."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def row(step: int, loss: float, total: int = 100) -> dict[str, object]:
    """Return a training row of a job that takes one step a second."""
    return {
        "current_steps": step, "total_steps": total, "loss": loss, "lr": 1e-4, "epoch": step * 2 / total,
        "percentage": 100 * step / total, "elapsed_time": clock(step), "remaining_time": clock(total - step),
    }  # fmt: skip


def eval_row(step: int, loss: float, total: int = 100) -> dict[str, object]:
    """Return the row that is logged after an evaluation."""
    return {
        ("eval_loss" if key == "loss" else key): value for key, value in row(step, loss, total).items() if key != "lr"
    }


def predict_row(batch: int, total: int) -> dict[str, object]:
    """Return a row with the progress of a prediction."""
    return {
        "current_steps": batch, "total_steps": total, "percentage": 100 * batch / total,
        "elapsed_time": clock(batch), "remaining_time": clock(total - batch),
    }  # fmt: skip


def write_run(run: Path, losses: list[float], total: int | None = None) -> Path:
    """Write a run with one row per step, written just now; return its directory."""
    run.mkdir(parents=True, exist_ok=True)
    total = total if total is not None else len(losses)
    lines = [json.dumps(row(step, loss, total)) + "\n" for step, loss in enumerate(losses, 1)]
    (run / "trainer_log.jsonl").write_text("".join(lines), encoding="utf-8")
    return run


def make_old(run: Path) -> None:
    """Make all files three and a half days old, so that no time on the screen changes within the next hour."""
    then = time.time() - 3.52 * 86_400
    for path in run.iterdir():
        os.utime(path, (then, then))


# -- reading the chart off the screen --------------------------------------------------------------------------------


class Chart(NamedTuple):
    """The loss chart on the screen."""

    cells: list[str]
    """The cells of the plot, row by row from the top down, without frame and axes."""
    y_labels: list[tuple[int, float]]
    """Row and value, from the top down."""
    x_labels: list[tuple[int, float]]
    """Column (of the plot) and value, from left to right."""

    @property
    def dots(self) -> list[tuple[int, int]]:
        """All set dots as (column, row) of dots, from the upper left."""
        found = []
        for y, line in enumerate(self.cells):
            for x, char in enumerate(line):
                if DOTS.match(char):
                    bits = ord(char) - 0x2800
                    found += [(2 * x + i, 4 * y + j) for j in range(4) for i in (0, 1) if bits & DOT_BITS[j][i]]
        return found

    def dot_of(self, value: float) -> int:
        """Return the row of dots of a value, from the top; the ends of the y axis are the outermost dots."""
        (top, most), (bottom, least) = self.y_labels[0], self.y_labels[-1]
        assert (top, bottom) == (0, len(self.cells) - 1), "the axis is labelled at both ends"
        return int((most - value) / (most - least) * (4 * len(self.cells) - 1) + 0.5)

    def column_of(self, value: float) -> float:
        """Return the column of a value on the x axis, from its inner labels: the outermost ones are moved inwards."""
        inner = self.x_labels[1:-1] if len(self.x_labels) > 3 else self.x_labels
        (left, first), (right, last) = inner[0], inner[-1]
        return left + (value - first) / (last - first) * (right - left)

    def char_at(self, x: float, y: float) -> str:
        """Return the characters in the cell of (x, y) and in its two neighbours, as labels are exact to one column."""
        column, line = round(self.column_of(x)), self.cells[self.dot_of(y) // 4]
        return line[max(0, column - 1) : column + 2]


def cells_of(screen: str) -> str:
    """Return the screen with a NUL after each wide character, so that indexes are columns."""
    return "".join(char + "\0" if cell_width(char) == 2 else char for char in screen)


def loss_chart(screen: str) -> Chart | None:
    """Return the loss chart on the screen, or None if there is none."""
    lines = cells_of(screen).split("\n")
    # A card has the same title, but no values beside it.
    head = re.compile(r"╭─ loss \S+   ")
    found = next(((y, match.start()) for y, line in enumerate(lines) if (match := head.search(line))), None)
    if found is None:
        return None
    top, left = found
    body = [line[left + 1 : -1] for line in takewhile(lambda line: line[left : left + 1] == "│", lines[top + 1 :])]
    if not body:
        return None
    axis = next((at for at, char in enumerate(body[-1]) if char == "└"), None)
    if axis is None:
        return None
    rows = body[:-1]
    y_labels = [(y, float(line[:axis])) for y, line in enumerate(rows) if line[:axis].strip()]
    x_labels = [
        (match.start() + len(match[0]) // 2, float(match[0])) for match in re.finditer(r"[\d.]+", body[-1][axis + 1 :])
    ]
    return Chart([line[axis + 1 :] for line in rows], y_labels, x_labels)
