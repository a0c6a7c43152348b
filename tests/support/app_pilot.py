"""Run the app without a terminal over real runs, with a fixed clock, and read its screen as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from textual.pilot import Pilot

from lora_tui.ingest.follower import Follower
from lora_tui.runs.workspace import Workspace
from lora_tui.text.cells import cell_width
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.options import AppOptions
from tests.support.waiting import DEADLINE_S, STEP_S

LATER = 1_795_400_000.0
"""Unix time one day after the sample runs were made."""


STILL = 3
"""Number of looks in a row without a change after which a screen counts as drawn."""

T = TypeVar("T")


def make_app(*paths: Path, now: float | Callable[[], float] = LATER, **options: Any) -> LoraTuiApp:
    """Return an app that has read everything below ``paths`` and follows nothing.

    ``now``: the Unix time of its clock, or a function that returns it; ``options``: see :class:`AppOptions`.
    """
    clock = now if callable(now) else lambda: now
    options.setdefault("title", "saves")
    return LoraTuiApp(_read(paths), None, AppOptions(clock=clock, **options))


@lru_cache(maxsize=64)
def _read(paths: tuple[Path, ...]) -> Workspace:
    """Read a tree, once for all tests, since the app changes nothing in the workspace."""
    follower = Follower(list(paths), cwd=paths[0])
    workspace = Workspace(paths)
    for batch in follower.read_all():
        workspace.apply(batch)
    return workspace


def rows(app: LoraTuiApp) -> list[str]:
    """Return the lines on the screen."""
    strips = app.screen._compositor.render_strips()[: app.size.height]
    return ["".join(segment.text for segment in strip) for strip in strips]


def text(app: LoraTuiApp) -> str:
    """Return the whole screen as text."""
    return "\n".join(rows(app))


def pane(app: LoraTuiApp, name: str) -> str:
    """Return the text of one pane."""
    region = app.query_one(f"#{name}").region
    return "\n".join(cells(line, region.x, region.width) for line in rows(app)[region.y : region.bottom])


def cells(line: str, start: int, width: int) -> str:
    """Return ``width`` cells of a line from the cell ``start`` on."""
    out, at = "", 0
    for char in line:
        if start <= at < start + width:
            out += char
        at += cell_width(char)
    return out


async def until(pilot: Pilot[Any], true: Callable[[], T], what: str = "") -> T:
    """Let the app work until ``true()`` is truthy; return that value. Raises AssertionError after ``DEADLINE_S``."""
    end = time.monotonic() + DEADLINE_S
    while not (found := true()):
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what or true}"
        await pilot.pause(STEP_S)
    return found


async def settled(pilot: Pilot[Any]) -> str:
    """Let the app work until the screen no longer changes; return its text. Raises AssertionError as :func:`until`."""
    app: Any = pilot.app
    before, same = "", 0

    def is_still() -> bool:
        nonlocal before, same
        now = text(app)
        same = same + 1 if now == before else 0
        before = now
        return same >= STILL

    await until(pilot, is_still, "a screen that stays as it is")
    return before
