"""The user's config.toml: how it looks and speaks, the bounds of the ratings, what is looked for, who is told.

It is read once at the start of a program; a file that is not there is the ordinary case. What holds in the end is
decided in this order: an option of the command line; a file named with ``--config``; what was chosen by key in the app
(kept.json), which is the later word; config.toml in the configuration directory; the environment; the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.errors import CommandError
from lora_tui.i18n import LANGUAGES, Language, Words, resolve_language
from lora_tui.settings.saved_choices import config_dir, load_kept
from lora_tui.text.sanitize import clean

Origin = Literal["option", "kept", "file", "environment", "default"]
ThemeName = Literal["dark", "light", "ansi"]
GlyphSet = Literal["unicode", "ascii"]
THEMES: tuple[ThemeName, ...] = ("dark", "light", "ansi")
DEFAULTS: Mapping[str, Any] = {
    "ui.lang": "auto", "ui.theme": "dark", "ui.glyphs": "unicode", "notify.on_event": "", "notify.bell": False,
}  # fmt: skip
"""What can also be said by an option, by a key of the app or by the environment."""
LANGUAGE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


class Choice(NamedTuple):
    """A value and what it comes from."""

    value: Any
    origin: Origin
    detail: str = ""
    """The variable of the environment with its value."""


@dataclass(frozen=True)
class Settings:
    """What the user has set."""

    file: Path
    """Where the file is, or would be."""
    named: bool = False
    """It was named with ``--config``."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> value of everything that the file sets."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Dotted key -> line of the file."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """What was chosen by key in the app."""
    context: Context = PLAIN
    """The rules with the user's numbers, without the runs to compare with."""

    def choose(self, key: str, option: Any = None) -> Choice:
        """What holds for a key of DEFAULTS where the command line says ``option`` (``None``: nothing)."""
        if option is not None:
            return Choice(option, "option")
        kept = self.kept.get(key.removeprefix("ui."))
        if key in self.values and (self.named or kept is None):
            return Choice(self.values[key], "file")
        return Choice(kept, "kept") if kept is not None else Choice(DEFAULTS[key], "default")

    def choose_language(self, option: str | None = None) -> Choice:
        """The language to speak; ``auto`` asks the environment."""
        wish = self.choose("ui.lang", None if option == "auto" else option)
        if wish.value in LANGUAGES:
            return wish
        for name in LANGUAGE_VARIABLES:
            if os.environ.get(name):
                return Choice(resolve_language("auto", None, os.environ), "environment", f"{name}={os.environ[name]}")
        return Choice(resolve_language("auto", None, {}), "default")

    def language(self, option: str | None = None) -> Language:
        """The language to speak."""
        return "zh" if self.choose_language(option).value == "zh" else "en"

    def theme(self, option: str | None = None) -> ThemeName:
        """The colours; a name that is unknown here, as another version may have kept it, is the default."""
        found = self.choose("ui.theme", option).value
        return found if found in THEMES else THEMES[0]

    def glyphs(self, option: str | None = None) -> GlyphSet:
        """What to draw with."""
        return "ascii" if self.choose("ui.glyphs", option).value == "ascii" else "unicode"

    def on_event(self, option: str | None = None) -> str | None:
        """The command to run on an event, if there is one."""
        return str(self.choose("notify.on_event", option).value) or None

    def bell(self, option: bool = False) -> bool:
        """Whether to ring on an event."""
        return option or bool(self.choose("notify.bell").value)


def settings_language(option: str) -> Language:
    """The language for what is said without the settings: the option, what was kept, the environment."""
    return resolve_language(option, load_kept().get("lang"), os.environ)


def config_path() -> Path:
    """The file that is read where none is named; ``LORA_TUI_CONFIG_DIR`` overrides the directory."""
    return config_dir() / "config.toml"


def load_settings(named: Path | None = None, lang: str = "auto") -> Settings:
    """The settings of ``named`` or else of the configuration directory, where no file is no fault.

    Raises CommandError, whose one line names the file, the line and the key at fault. ``lang`` is the option: until
    the file has been read it decides on the language together with what was kept and the environment.
    """
    kept = load_kept()
    file = config_path() if named is None else named
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        if named is None:
            return Settings(file, kept=kept)
        raise CommandError(_words(lang, kept).t("cli.error.no_path", path=clean(str(file)))) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(_words(lang, kept).t("cli.error.read", path=clean(str(file)), reason=reason)) from error
    return _parsed(file, named is not None, data, kept, lang)


def _parsed(file: Path, named: bool, data: bytes, kept: Mapping[str, str], lang: str) -> Settings:
    from lora_tui.settings import toml_lines as toml
    from lora_tui.settings.schema import Fault, check, context, leaves

    try:
        tables = toml.parse(data)
        lines = toml.key_lines(data)
        values = check(tables, lines)
        rules = context(values, lines)
    except toml.TomlError as error:
        reason = _words(lang, kept).t("settings.error.syntax", reason=clean(str(error)))
        raise CommandError(f"{clean(str(file))}:{error.line}: {reason}") from error
    except Fault as fault:
        words = _words(lang, kept)
        text = words.t(f"settings.error.{fault.code}", **{name: clean(value) for name, value in fault.params.items()})
        if "meant" in fault.params:
            text += words.t("settings.error.meant", meant=fault.params["meant"])
        line = _line_of(fault.path, lines)
        raise CommandError(f"{clean(str(file))}:{line}: {clean(dotted(fault.path))}: {text}") from fault
    return Settings(
        file,
        named,
        {dotted(path): value for path, value in leaves(values)},
        {dotted(path): line for path, line in lines.items()},
        kept,
        rules,
    )


def _line_of(path: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]) -> int:
    """The line of the path or, for what is not there, of what it lies in."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def dotted(path: tuple[str | int, ...]) -> str:
    """``findings.off[2]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _words(lang: str, kept: Mapping[str, str]) -> Words:
    return Words(resolve_language(lang, kept.get("lang"), os.environ))
