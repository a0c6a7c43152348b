"""Load the user's config.toml: language and look, thresholds of the ratings, findings to leave out, notifications.

It is read once at the start of a program; most users have none. The first of these that gives a value decides: an
option of the command line; a file named with ``--config``; a choice made by key in the app (kept.json), which is more
recent than the file; config.toml in the configuration directory; the environment; the default.

Not pydantic-settings: that would import pydantic at every start, and could not name the line of a wrong key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lora_tui.analysis.context import PLAIN, Context
from lora_tui.i18n import LANGUAGE_VARIABLES, LANGUAGES, Language, Words, resolve_language
from lora_tui.settings.errors import SettingsError
from lora_tui.settings.saved_choices import config_dir, load_saved_choices
from lora_tui.text.regular_file import read_regular_file
from lora_tui.text.sanitize import clean

Origin = Literal["option", "kept", "file", "environment", "default"]
ThemeName = Literal["dark", "light", "ansi"]
GlyphSet = Literal["unicode", "ascii"]
THEMES: tuple[ThemeName, ...] = ("dark", "light", "ansi")
DEFAULTS: Mapping[str, Any] = {
    "ui.lang": "auto", "ui.theme": "dark", "ui.glyphs": "unicode", "notify.on_event": "", "notify.bell": False,
}  # fmt: skip
"""Default values of the keys that an option, a key of the app or the environment can also set."""


class Choice(NamedTuple):
    """A value and where it comes from."""

    value: Any
    origin: Origin
    detail: str = ""
    """The environment variable that gave the value, as ``NAME=value``; else empty."""


@dataclass(frozen=True)
class Settings:
    """The settings of the user, from the file and from choices in the app."""

    file: Path
    """Path of the file, which need not exist."""
    named: bool = False
    """Whether the file was named with ``--config``."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Value of each key that the file sets, by dotted key."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line in the file of the keys for which it is known, by dotted key."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """Choices made by key in the app (``lang``, ``theme``)."""
    context: Context = PLAIN
    """Rating rules with the user's numbers, without runs to compare with."""

    def choose(self, key: str, option: Any = None) -> Choice:
        """Return the value of a key of DEFAULTS in effect; ``option`` is its value on the command line, if any."""
        if option is not None:
            return Choice(option, "option")
        saved = self.saved.get(key.removeprefix("ui."))
        if key in self.values and (self.named or saved is None):
            return Choice(self.values[key], "file")
        return Choice(saved, "kept") if saved is not None else Choice(DEFAULTS[key], "default")

    def choose_language(self, option: str | None = None) -> Choice:
        """Return the language in effect and its origin; ``auto`` means that of the environment."""
        choice = self.choose("ui.lang", None if option == "auto" else option)
        if choice.value in LANGUAGES:
            return choice
        for name in LANGUAGE_VARIABLES:
            if os.environ.get(name):
                return Choice(resolve_language("auto", None, os.environ), "environment", f"{name}={os.environ[name]}")
        return Choice("en", "default")

    def language(self, option: str | None = None) -> Language:
        """Return the language in effect."""
        return "zh" if self.choose_language(option).value == "zh" else "en"

    def theme(self, option: str | None = None) -> ThemeName:
        """Return the theme in effect; the default for an unknown name, which another version may have saved."""
        found = self.choose("ui.theme", option).value
        return found if found in THEMES else THEMES[0]

    def glyphs(self, option: str | None = None) -> GlyphSet:
        """Return the set of characters to draw with."""
        return "ascii" if self.choose("ui.glyphs", option).value == "ascii" else "unicode"

    def on_event(self, option: str | None = None) -> str | None:
        """Return the shell command to run on an event, or None."""
        return str(self.choose("notify.on_event", option).value) or None

    def bell(self, option: bool = False) -> bool:
        """Return whether to ring the terminal bell on an event."""
        return option or bool(self.choose("notify.bell").value)


def settings_language(option: str) -> Language:
    """Return the language from the option, the saved choice and the environment, without reading config.toml."""
    return resolve_language(option, load_saved_choices().get("lang"), os.environ)


def config_path() -> Path:
    """Return the path of the default settings file; ``LORA_TUI_CONFIG_DIR`` sets its directory."""
    return config_dir() / "config.toml"


def load_settings(named: Path | None = None, lang: str = "auto") -> Settings:
    """Read the settings from ``named``, or from config.toml in the configuration directory, which need not exist.

    ``lang`` is the option of the command line: with the saved choice and the environment it decides the language of
    errors. Raises SettingsError with one line that names the file, the line and the key.
    """
    saved = load_saved_choices()
    file = config_path() if named is None else named
    try:
        data = read_regular_file(file)
    except FileNotFoundError:
        if named is None:
            return Settings(file, saved=saved)
        raise SettingsError(_words(lang, saved).t("cli.error.no_path", path=clean(str(file)))) from None
    except OSError as error:
        words = _words(lang, saved)
        reason = words.reason(error.strerror or str(error))
        raise SettingsError(words.t("cli.error.read", path=clean(str(file)), reason=reason)) from error
    return _parse(file, named is not None, data, saved, lang)


def _parse(file: Path, named: bool, data: bytes, saved: Mapping[str, str], lang: str) -> Settings:
    from lora_tui.settings import toml_lines as toml
    from lora_tui.settings.config_schema import SettingsFault, flatten, make_context, validate

    try:
        tables = toml.parse(data)
        lines = toml.key_lines(data, tables)
        values = validate(tables, lines)
        rules = make_context(values, lines)
    except toml.TomlError as error:
        reason = _words(lang, saved).t("settings.error.syntax", reason=clean(str(error)))
        place = clean(str(file)) + (f":{error.line}" if error.line is not None else "")
        raise SettingsError(f"{place}: {reason}") from error
    except SettingsFault as fault:
        words = _words(lang, saved)
        text = words.t(f"settings.error.{fault.code}", **{name: clean(value) for name, value in fault.params.items()})
        if "meant" in fault.params:
            text += words.t("settings.error.meant", meant=fault.params["meant"])
        place = clean(str(file)) + (f":{lines[fault.path]}" if fault.path in lines else "")
        raise SettingsError(f"{place}: {clean(dotted(fault.path))}: {text}") from fault
    return Settings(
        file,
        named,
        {dotted(path): value for path, value in flatten(values)},
        {dotted(path): line for path, line in lines.items()},
        saved,
        rules,
    )


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path as text, for example ``findings.off[2]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _words(lang: str, saved: Mapping[str, str]) -> Words:
    return Words(resolve_language(lang, saved.get("lang"), os.environ))
