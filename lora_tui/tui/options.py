"""What the command line and the user's settings tell the app."""

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
    from lora_tui.notify.events import Notifier


def _discard(key: str, value: str) -> None:
    """Save nothing, which is the default in tests."""


@dataclass(frozen=True)
class AppOptions:
    """Everything that may differ from one start of the app to the next."""

    lang: Language = "en"
    theme: ThemeName = "dark"
    glyphs: GlyphSet = "unicode"
    ask_width: bool = False
    """Ask the terminal how wide it draws glyphs, and draw with ASCII should they have two cells."""
    context: Context = PLAIN
    """What runs are judged with, but for the runs to compare them with."""
    run: str | None = None
    """Name of the run to select first; the newest otherwise."""
    title: str = ""
    """What is watched, as the user wrote it."""
    save_choice: Callable[[str, str], None] = _discard
    """Called with ("lang" | "theme", value) when the user changes one of them."""
    clock: Callable[[], float] = time.time
    """Unix time; tests put their own in."""
    screenshot: Path | None = None
    """Write an SVG picture here once everything has been read, then leave."""
    missing: tuple[tuple[str, str], ...] = ()
    """Paths given that do not exist yet, each with the nearest directory above it that does."""
    notifier: Notifier | None = None
    """Event notifier, or None when no command or bell is configured."""
