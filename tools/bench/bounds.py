"""What every measurement shares: where data lies, how long to measure, and how programs are started."""

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
"""The last, smoothed and least loss in a chart's title, and the step in the head."""


def options(command: list[str], ready: list[str], **more: object) -> argparse.Namespace:
    """The measuring program's options."""
    parsed = measure.arguments().parse_args(["paint", "--cmd", shlex.join(command)])
    vars(parsed).update(ready=ready, **more)
    return parsed


@dataclass
class Bounds:
    """The folder for data, the ``bin`` of the program, and whether to be quick."""

    folder: Path
    bin: Path
    quick: bool

    @property
    def program(self) -> str:
        """lora-tui."""
        return str(self.bin / "lora-tui")

    @property
    def seconds(self) -> float:
        """How long to measure CPU and output."""
        return 8.0 if self.quick else 30.0

    def times(self, few: int, many: int) -> int:
        """How often."""
        return few if self.quick else many

    def watch(self, path: Path, *ready: str, poll: bool = False, **more: object) -> argparse.Namespace:
        """Options to measure lora-tui on a path."""
        command = [self.program, "watch", str(path), *(["--poll"] if poll else [])]
        return options(command, [BRAILLE, *ready], **more)

    def hello(self) -> argparse.Namespace:
        """Options to measure a Textual app that does nothing."""
        program = self.folder / "hello.py"
        program.write_text(HELLO, encoding="utf-8")
        return options([str(self.bin / "python"), str(program)], ["Hello, World!"], runs=1)

    def run(self, name: str, rows: int, total: int | None = None, spikes: bool = False) -> Path:
        """A run that is half done (or has ``total`` steps); its log."""
        return data.write_run(self.folder / name / "lora" / "live", rows, total or 2 * rows, spikes)

    def long(self, rows: int) -> Path:
        """The log of a long run with spikes, written once, with the file time of now; for reading only."""
        log = self.folder / f"long-{rows}" / "lora" / "live" / data.LOG
        if not log.exists():
            data.write_run(log.parent, rows, 2 * rows, spikes=True)
        log.touch()
        return log


def told(terminal: Terminal) -> tuple[str, list[str]]:
    """The curves and the numbers that change until every row is on the screen."""
    return measure.curve(terminal), NUMBERS.findall(terminal.screen.text)


def json_loads(log: Path) -> float:
    """Seconds of CPU time to decode every line of a file, and nothing more: the floor of reading it."""
    begin = time.process_time()
    with log.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.process_time() - begin


def spikes_seen(terminal: Terminal, steps: list[int], reach: int) -> int:
    """At how many of the steps the loss chart, whose x-axis ends at ``reach``, touches its upper edge or marks a point
    beyond it."""
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
