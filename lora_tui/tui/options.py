"""The options of the app, from the command line and the user's settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.i18n import Language
from lora_tui.settings.settings import GlyphSet, ThemeName

if TYPE_CHECKING:
    from lora_tui.notify.run_events import Notifier


def _discard(key: str, value: str) -> None:
    """Save nothing, which is the default in tests."""


@dataclass(frozen=True)
class AppOptions:
    """Everything that may differ between two starts of the app."""

    lang: Language = "en"
    theme: ThemeName = "dark"
    glyphs: GlyphSet = "unicode"
    ask_width: bool = False
    """Whether to ask the terminal how wide it draws glyphs, and to draw with ASCII where they take two cells."""
    context: Context = PLAIN
    """What runs are judged with, apart from the runs to compare them with."""
    run: str | None = None
    """Name of the run to select first, or None for the newest."""
    title: str = ""
    """The watched paths as the user wrote them."""
    save_choice: Callable[[str, str], None] = _discard
    """Called with ("lang" | "theme", value) when the user changes one of them."""
    clock: Callable[[], float] = time.time
    """Returns the time in Unix seconds; tests replace it."""
    screenshot: Path | None = None
    """Where to write an SVG screenshot once everything has been read, before the app ends; None for a usual start."""
    missing: tuple[tuple[str, str], ...] = ()
    """Watched paths that do not exist yet, each with the nearest directory above it that does."""
    notifier: Notifier | None = None
    """Event notifier, or None when no command or bell is configured."""
