"""Reports of runs on disk, made as the command makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lora_tui
from lora_tui.i18n import Words
from lora_tui.report.build import build
from lora_tui.report.document import Report
from tests.conftest import last_write


@pytest.fixture
def report() -> Callable[..., Report]:
    """Return ``report(directory, lang)``, which builds the report ``after`` seconds after the run's last write."""

    def made(directory: Path, lang: str = "en", after: float = 3600.0) -> Report:
        run = lora_tui.load(directory)
        return build(run, last_write(run) + after, Words(lang))

    return made
