"""``lora-tui watch`` beside a real job: what the screen said on the way, and what it says at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.e2e.producer import PATIENCE_S, Job, rows_of
from tests.support.live_app import start
from tests.support.program import lora_tui, strict
from tests.support.terminal import Terminal

SIZE = (160, 50)
SETTING_UP = frozenset(
    {"waiting", "starting", "loading data", "converting data", "tokenizing", "loading weights", "resuming"}
)
QUIET = frozenset({"evaluating", "saving", "predicting", "computing BLEU/ROUGE", "ending"})
HEAD = re.compile(r"╭─ (?P<name>[^─╭╮]+?) (?:· [^─╭╮]* )?─+ [^\w─] (?P<state>[\w /]+?) ─╮")
BAR = re.compile(r" (?P<percent>\d+) %  (?P<step>\d+)/(?P<total>\d+)")
ALARM = re.compile(r"│ (?P<mark>[✗▲]) +(?P<what>.+?) *│")


class Sight(NamedTuple):
    """What the head of the selected run said from a moment on."""

    at: float
    """Unix time."""
    name: str
    state: str
    step: int | None
    total: int | None


class Watch:
    """The app in a terminal, with the memory of what its head said."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.sights: list[Sight] = []
        self.alarms: dict[str, float] = {}
        """Findings that say that something is wrong, and when they were first on the screen."""
        self.behind = 0.0
        """For how long, at most, a training step stood in the file and not on the screen, seconds."""
        self._written: list[tuple[float, int]] = []

    def look(self, wait: float = 0.1) -> None:
        """Take in what has come, and remember what is new."""
        for _ in self.terminal.step(wait):
            pass
        now, text = time.time(), self.terminal.screen.text
        if (head := HEAD.search(text)) is not None:
            bar = BAR.search(text)
            step, total = (int(bar["step"]), int(bar["total"])) if bar else (None, None)
            sight = Sight(now, head["name"].strip(), head["state"].strip(), step, total)
            if not self.sights or self.sights[-1][1:] != sight[1:]:
                self.sights.append(sight)
        for alarm in ALARM.finditer(text.partition("╭─ Findings")[2]):
            self.alarms.setdefault(f"{alarm['mark']} {alarm['what']}", now)

    def until(self, true: Callable[[], object], what: str, patience: float = 60.0) -> None:
        """Look until something is so. Raises TimeoutError with the screen and all that was seen."""
        end = time.monotonic() + patience
        while not true():
            if (gone := self.terminal.process.poll() is not None) or time.monotonic() > end:
                why = "the app ended" if gone else f"not in {patience:.0f} s"
                raise TimeoutError(f"{why}: {what}\n{self.told()}\n{self.terminal.shown()}")
            self.look()

    def until_end(self, job: Job, patience: float = PATIENCE_S) -> None:
        """Look until a job has ended, and hold the step on the screen against the one in its log."""
        self._written.clear()

        def ended() -> bool:
            self._compare(last_step(job.output))
            return not job.running

        self.until(ended, "the end of the job", patience)

    def _compare(self, step: int | None) -> None:
        now, written = time.time(), self._written
        if step is None or (written and step < written[-1][1]):
            written.clear()
        elif not written or written[-1][1] != step:
            written.append((now, step))
        shown = self.sights[-1].step if self.sights else None
        missing = [at for at, there in written if shown is None or there > shown]
        if missing:
            self.behind = max(self.behind, now - missing[0])

    def until_state(self, *states: str, patience: float = 60.0) -> Sight:
        """Look until the head has one of these states."""
        self.until(lambda: self.sights and self.sights[-1].state in states, f"state {states}", patience)
        reached = self.sights[-1]
        self.settle()
        return reached

    def settle(self, quiet: float = 0.5) -> None:
        """Look until the screen stands still."""
        version, end = -1, 0.0
        while version != self.terminal.screen.version or time.monotonic() < end:
            if version != self.terminal.screen.version:
                version, end = self.terminal.screen.version, time.monotonic() + quiet
            self.look()

    def until_step(self, step: int, patience: float = PATIENCE_S) -> Sight:
        """Look until the head has at least this step."""
        self.until(lambda: self.sights and (self.sights[-1].step or 0) >= step, f"step {step}", patience)
        return self.sights[-1]

    def states(self, since: float = 0.0, name: str | None = None) -> list[str]:
        """The states one after another, each change once."""
        said: list[str] = []
        for sight in self.sights:
            mine = sight.at >= since and (name is None or sight.name == name)
            if mine and (not said or said[-1] != sight.state):
                said.append(sight.state)
        return said

    def told(self) -> str:
        """All that was seen, for messages."""
        begin = self.sights[0].at if self.sights else 0.0
        lines = [f"{s.at - begin:6.1f} s  {s.name}  {s.state}  {s.step}/{s.total}" for s in self.sights]
        return "\n".join([*lines, *(f"{at - begin:6.1f} s  {what}" for what, at in self.alarms.items())])

    def page(self, key: str) -> str:
        """The screen after a key, once it stands still."""
        self.terminal.send(key)
        self.settle()
        return self.terminal.text


def last_step(output: Path) -> int | None:
    """The step of the last training row of a run's log."""
    steps = [row["current_steps"] for row in rows_of(output) if "epoch" in row]
    return steps[-1] if steps else None


@contextmanager
def watching(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Watch]:
    """The app, up and drawn, and ended with ``q`` and a clean terminal."""
    with start(directory, *arguments, size=SIZE, env=env) as terminal:
        terminal.wait_for("q quit", timeout=60)
        yield Watch(terminal)
        assert terminal.process.poll() is None, terminal.shown()
        terminal.send("q")
        assert terminal.wait_exit(30) == 0, terminal.shown()
        assert terminal.left_behind() == []
        assert "Traceback" not in terminal.text


def status(directory: Path, run: str) -> dict[str, Any]:
    """``lora-tui status --json`` of a run below a directory, asked there: logs below it are found as well."""
    said = lora_tui("status", "--json", run, cwd=directory)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    found: dict[str, Any] = strict(said.stdout)
    return found
