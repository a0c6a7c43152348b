"""Shared parts of the measurements: where the data are, how long to measure, and how programs are started."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.terminal import Terminal
from tools.bench import data, measure

BRAILLE = "[\u2801-\u28ff]"
HELLO = """\
from textual.app import App, ComposeResult
from textual.widgets import Static


class Hello(App):
    def compose(self) -> ComposeResult:
        yield Static("Hello, World!")


Hello().run()
"""
NUMBERS = re.compile(r"loss [-\d.e]+ .*?(?= [▲▼─╮])|\d+/\d+  epoch")
"""Match the last, smoothed and lowest loss in a chart's title, and the step in the header."""


def options(command: list[str], ready: list[str], **more: object) -> argparse.Namespace:
    """Return the options of ``tools/bench/measure.py`` for a command, with the values of ``more``."""
    parsed = measure.arguments().parse_args(["paint", "--cmd", shlex.join(command)])
    vars(parsed).update(ready=ready, **more)
    return parsed


@dataclass
class Setup:
    """The folder for data, the ``bin`` directory of the program, and whether to measure for a shorter time."""

    folder: Path
    bin: Path
    quick: bool

    @property
    def program(self) -> str:
        """Path of the ``lora-tui`` command."""
        return str(self.bin / "lora-tui")

    @property
    def seconds(self) -> float:
        """Seconds for which CPU and output are measured."""
        return 8.0 if self.quick else 30.0

    def times(self, few: int, many: int) -> int:
        """Return how often to repeat a measurement: ``few`` times if quick, else ``many`` times."""
        return few if self.quick else many

    def watch(self, path: Path, *ready: str, poll: bool = False, **more: object) -> argparse.Namespace:
        """Return the options for measuring ``lora-tui watch`` on a path; ``ready``: regexes of a drawn screen."""
        command = [self.program, "watch", str(path), *(["--poll"] if poll else [])]
        return options(command, [BRAILLE, *ready], **more)

    def hello(self) -> argparse.Namespace:
        """Return the options for measuring a Textual app that does nothing."""
        program = self.folder / "hello.py"
        program.write_text(HELLO, encoding="utf-8")
        return options([str(self.bin / "python"), str(program)], ["Hello, World!"], runs=1)

    def run(self, name: str, rows: int, total: int | None = None, spikes: bool = False) -> Path:
        """Write a run with ``rows`` of ``total`` steps (default: twice as many as rows); return the path of its log."""
        return data.write_run(self.folder / name / "lora" / "live", rows, total or 2 * rows, spikes)

    def long(self, rows: int) -> Path:
        """Return the path of the log of a long run with spikes, which is written once and must not be changed.

        Its modification time is set to now.
        """
        log = self.folder / f"long-{rows}" / "lora" / "live" / data.LOG
        if not log.exists():
            data.write_run(log.parent, rows, 2 * rows, spikes=True)
        log.touch()
        return log


def curves_and_numbers(terminal: Terminal) -> tuple[str, list[str]]:
    """Return the curves and the numbers on the screen, which change until every row is shown."""
    return measure.curve(terminal), NUMBERS.findall(terminal.screen.text)


def json_loads(log: Path) -> float:
    """Return the CPU seconds of decoding every line of a file and nothing else: a lower bound for reading it."""
    begin = time.process_time()
    with log.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.process_time() - begin


def spikes_seen(terminal: Terminal, steps: list[int], reach: int) -> int:
    """Return at how many of the steps the loss chart touches its upper edge or marks a point beyond it.

    ``reach``: the step at which the x-axis ends.
    """
    lines = terminal.screen.lines
    top = next(i for i, line in enumerate(lines) if "─ loss " in line) + 1
    border = lines[top].find("││") + 2
    # The axis: a tick or a line. The highest tick may stand a row below the upper edge.
    left = min(at for at in (lines[top].find(cell, border) for cell in "┤│") if at > 0) + 1
    right = len(lines[top].rstrip()) - 2
    edge = "".join(a if not a.isspace() else b for a, b in zip(lines[top], lines[top + 1], strict=False))
    seen = 0
    for step in steps:
        column = left + int(step / reach * (right - left))
        near = edge[max(left, column - 1) : column + 2]
        seen += any(cell == "▲" or "\u2801" <= cell <= "\u28ff" for cell in near)
    return seen
