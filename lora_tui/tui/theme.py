"""The three themes, and the styles of the roles that lines name."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

_DARK = {
    "text": "#d7dbe6",
    "muted": "#98a1b5",
    "faint": "#687088",
    "border": "#343b4d",
    "border-focus": "#7cb7ff",
    "title": "#c3cadb",
    "key": "#7cb7ff",
    "select": "#1f2737",
    "series-1": "#7cb7ff",
    "series-1-raw": "#4d6a94",
    "series-2": "#ffb454",
    "series-3": "#c8a2ff",
    "series-4": "#5fd0dc",
    "mark": "#ff7a90",
    "grid": "#39415a",
    "rating-excellent": "#4fd6be",
    "rating-good": "#86d16b",
    "rating-fair": "#f5c451",
    "rating-poor": "#ff6b7d",
    "rating-none": "#98a1b5",
    "page": "#10131a",
}
_LIGHT = {
    "text": "#23272e",
    "muted": "#555e6b",
    "faint": "#7c8592",
    "border": "#c9ced6",
    "border-focus": "#0b5cc9",
    "title": "#343b45",
    "key": "#0b5cc9",
    "select": "#e6edf8",
    "series-1": "#0b5cc9",
    "series-1-raw": "#a3c0e6",
    "series-2": "#b25000",
    "series-3": "#7a3fc2",
    "series-4": "#0a7886",
    "mark": "#c4203c",
    "grid": "#c3c9d2",
    "rating-excellent": "#087a68",
    "rating-good": "#2b7a1b",
    "rating-fair": "#8f6000",
    "rating-poor": "#c4203c",
    "rating-none": "#555e6b",
    "page": "#fbfbfa",
}
_ANSI = {
    "text": "ansi_default",
    "muted": "ansi_default",
    "faint": "ansi_bright_black",
    "border": "ansi_bright_black",
    "border-focus": "ansi_bright_blue",
    "title": "ansi_default",
    "key": "ansi_bright_blue",
    "select": "ansi_default",
    "series-1": "ansi_bright_blue",
    "series-1-raw": "ansi_blue",
    "series-2": "ansi_yellow",
    "series-3": "ansi_magenta",
    "series-4": "ansi_cyan",
    "mark": "ansi_red",
    "grid": "ansi_bright_black",
    "rating-excellent": "ansi_cyan",
    "rating-good": "ansi_green",
    "rating-fair": "ansi_yellow",
    "rating-poor": "ansi_red",
    "rating-none": "ansi_default",
    "page": "ansi_default",
}
VARIABLES = {name: f"lora-{name}" for name in _DARK}
"""Role -> name of the Textual theme variable that holds its colour."""


def defaults() -> dict[str, str]:
    """Return the variables with the values of the dark theme, for a theme that does not define them."""
    return {VARIABLES[role]: color for role, color in _DARK.items()}


def themes() -> list[Theme]:
    """Return the themes to register with the app."""
    return [
        _theme("dark", _DARK, dark=True),
        _theme("light", _LIGHT, dark=False),
        _theme("ansi", _ANSI, dark=True, ansi=True),
    ]


def _theme(name: str, colors: dict[str, str], dark: bool, ansi: bool = False) -> Theme:
    return Theme(
        name=name,
        primary=colors["series-1"],
        secondary=colors["series-3"],
        accent=colors["series-2"],
        success=colors["rating-good"],
        warning=colors["rating-fair"],
        error=colors["rating-poor"],
        foreground=colors["text"],
        background=colors["page"],
        surface=colors["page"],
        panel=colors["select"],
        dark=dark,
        ansi=ansi,
        variables={**(_ANSI_WIDGETS if ansi else {}), **{VARIABLES[role]: color for role, color in colors.items()}},
    )


_ANSI_WIDGETS = {
    "ansi-background": "ansi_black",
    "ansi-foreground": "ansi_white",
    "border-blurred": "ansi_black",
    "block-cursor-foreground": "ansi_black",
    "block-cursor-background": "ansi_white",
    "input-cursor-background": "ansi_black",
    "input-cursor-foreground": "ansi_bright_white",
    "input-cursor-text-style": "none",
    "input-selection-background": "ansi_bright_blue",
    "input-selection-foreground": "ansi_black",
    "screen-selection-background": "ansi_bright_blue",
    "screen-selection-foreground": "ansi_black",
}
"""Variables that Textual's own widgets, as the command palette, need in a theme of terminal colours."""


_ALIAS = {
    "": "text",
    "raw": "series-1-raw",
    "smooth": "series-1|bold",
    "eval": "series-2|bold",
    "lr": "series-3",
    "grad": "series-4",
    "axis": "border",
    "label": "faint",
    "clip": "faint",
    "epoch": "grid",
    "resume": "mark",
    "nan": "rating-poor|bold",
    "checkpoint": "series-4",
    "value": "text|bold",
    "state-running": "rating-good|bold",
    "state-evaluating": "series-2|bold",
    "state-waiting": "muted",
    "state-stalled": "rating-fair|bold",
    "state-finished": "rating-excellent",
    "state-stopped": "muted|bold",
    "state-failed": "rating-poor|bold",
    "state-interrupted": "rating-fair",
    "bar": "series-1",
    "bar-rest": "grid",
    "critical": "rating-poor|bold",
    "warning": "rating-fair",
    "good": "rating-good",
    "info": "muted",
}


class Palette:
    """A mapping of roles to Rich styles.

    A role may be followed by ``|bold`` and ``|sel`` (the selected row).
    """

    def __init__(self, variables: dict[str, str], ansi: bool) -> None:
        self._colors = {role: variables.get(name, "") for role, name in VARIABLES.items()}
        self._ansi = ansi
        self._styles: dict[str, Style] = {}

    def __getitem__(self, role: str) -> Style:
        style = self._styles.get(role)
        if style is None:
            style = self._styles[role] = self._make(role)
        return style

    def _make(self, role: str) -> Style:
        base, *marks = role.split("|")
        alias = _ALIAS.get(base)
        if alias is not None:
            base, *more = alias.split("|")
            marks += more
        color = self._colors.get(base) or self._colors["text"]
        selected = "sel" in marks
        if selected and self._ansi:
            # Reversed, every colour would become a patch of its own.
            color = self._colors["text"]
        back = self._colors["select" if selected else "page"]
        return Style(
            color=_rich(color),
            bgcolor=_rich(back),
            bold=True if "bold" in marks or (selected and self._ansi) else None,
            reverse=True if selected and self._ansi else None,
        )


@lru_cache(maxsize=128)
def _rich(name: str) -> RichColor:
    return Color.parse(name).rich_color
