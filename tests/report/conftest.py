"""Reports of runs on disk, made as the command makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lora_tui
from lora_tui.i18n import Words
from lora_tui.report.build import build
from lora_tui.report.document import Report
from tests.conftest import last_write


@pytest.fixture(autouse=True)
def one_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make local times independent of the machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def report() -> Callable[..., Report]:
    """Return ``report(directory, lang)``, which builds the report ``after`` seconds after the run's last write."""

    def made(directory: Path, lang: str = "en", after: float = 3600.0) -> Report:
        run = lora_tui.load(directory)
        return build(run, last_write(run) + after, Words(lang))

    return made
