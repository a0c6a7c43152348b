"""The command palette: Textual's own, closed before the next key is given to a screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.command import CommandPalette


class Palette(CommandPalette):
    """The palette of all commands of the open page."""

    # With priority the app itself closes it; else a key that comes at once after Escape is typed into it and lost.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "escape", show=False, priority=True)]
