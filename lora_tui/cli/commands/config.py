"""``config``: print the settings in effect and where each comes from, or an example file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from lora_tui.analysis.rating_rules import LR_RANGES, RULES, Rule
from lora_tui.cli.common import printable, to_json
from lora_tui.i18n import Words
from lora_tui.settings.settings import DEFAULTS, Choice, Origin, Settings, config_path, load_settings, settings_language
from lora_tui.text.cells import cell_width, fit, wrap
from lora_tui.text.sanitize import clean

COMMENT_WIDTH = 100
"""Width of a comment line of the example file, in terminal cells."""


class Entry(NamedTuple):
    """A key with the value in effect."""

    key: str
    value: object
    origin: Origin
    line: int | None = None
    """Line of the key in the file, also where an option or a choice in the app overrides the file; None if unknown."""
    detail: str = ""
    """The environment variable that gave the value, as ``NAME=value``; else empty."""


def main(args: argparse.Namespace) -> int:
    """Print the settings, the path of the file, or the example file, as the options say; return the exit code.

    Raises SettingsError where the file cannot be used.
    """
    if args.path:
        print(printable(args.config if args.config is not None else config_path()))
        return 0
    if args.example:
        print(example(Words(settings_language(args.lang))), end="")
        return 0
    settings = load_settings(args.config, args.lang)
    words = Words(settings.language(args.lang))
    entries = list(effective(settings, None if args.lang == "auto" else args.lang))
    print(to_json(_data(settings, entries), 2) if args.json else _text(settings, entries, words))
    return 0


def effective(settings: Settings, lang: str | None) -> Iterator[Entry]:
    """Yield every key with the value in effect, in the order of the example file."""
    for key in DEFAULTS:
        choice = settings.choose_language(lang) if key == "ui.lang" else settings.choose(key)
        yield _entry(settings, key, choice)
    off = settings.values.get("findings.off")
    yield _entry(settings, "findings.off", Choice(off or [], "default" if off is None else "file"))
    for family, sides in settings.context.lr_ranges.items():
        for side, bounds in sides.items():
            yield _file_entry(settings, f"lr_ranges.{family}.{side}", list(bounds))
    for rule in settings.context.rules:
        for name, value in rule.numbers.items():
            yield _file_entry(settings, f"ratings.{rule.code}.{name}", value)


def _entry(settings: Settings, key: str, choice: Choice) -> Entry:
    # Where the file says "auto", the environment gives the value: the file is followed, not overridden.
    line = settings.lines.get(key) if key in settings.values and choice.origin != "environment" else None
    return Entry(key, choice.value, choice.origin, line, choice.detail)


def _file_entry(settings: Settings, key: str, value: object) -> Entry:
    return _entry(settings, key, Choice(value, "file" if key in settings.values else "default"))


def _data(settings: Settings, entries: list[Entry]) -> Mapping[str, object]:
    return {
        "schema": 1,
        "file": clean(str(settings.file), None),
        "read": bool(settings.lines) or settings.file.exists(),
        "settings": [
            {
                "key": entry.key,
                "value": entry.value,
                "origin": entry.origin,
                **({"line": entry.line} if entry.line is not None else {}),
                **({"detail": clean(entry.detail)} if entry.detail else {}),
            }
            for entry in entries
        ],
    }


def _text(settings: Settings, entries: list[Entry], words: Words) -> str:
    read = settings.lines or settings.file.exists()
    lines = [f"{printable(settings.file)}  ({words.t('settings.read' if read else 'settings.absent')})"]
    table = ""
    rows: list[tuple[str, str, str]] = []
    for name, found in groupby(entries, _group_name):
        group = list(found)
        here, _, rest = name.partition(".")
        if here != table:
            lines += _aligned(rows)
            rows = []
            table = here
            lines += ["", f"[{table}]  {words.t(f'settings.table.{table}')}"]
        rows.append((rest, _values(group), _origins(settings, group, words)))
    return "\n".join([*lines, *_aligned(rows)])


def _group_name(entry: Entry) -> str:
    """Return the name under which an entry is listed: that of the rule for its numbers, else the entry's own key."""
    return entry.key.rpartition(".")[0] if entry.key.startswith("ratings.") else entry.key


def _values(group: list[Entry]) -> str:
    if not group[0].key.startswith("ratings."):
        return _toml(group[0].value)
    return "  ".join(f"{entry.key.rpartition('.')[2]} {_toml(entry.value)}" for entry in group)


def _origins(settings: Settings, group: list[Entry], words: Words) -> str:
    if len(group) > 1:
        own = [
            f"{_place(settings, entry)} ({entry.key.rpartition('.')[2]})" for entry in group if entry.origin == "file"
        ]
        return ", ".join(own) or words.t("settings.origin.default")
    entry = group[0]
    if entry.origin == "file":
        return _place(settings, entry)
    text = words.t(f"settings.origin.{entry.origin}", detail=clean(entry.detail))
    return text + (words.t("settings.origin.over", place=_place(settings, entry)) if entry.line is not None else "")


def _place(settings: Settings, entry: Entry) -> str:
    """Return ``FILE:LINE`` of an entry of the file, or ``FILE`` where the line is not known."""
    return clean(settings.file.name) + (f":{entry.line}" if entry.line is not None else "")


def _aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """Align three columns; values of more than 60 cells do not widen theirs."""
    if not rows:
        return []
    first = max(cell_width(name) for name, _, _ in rows)
    second = max((cell_width(value) for _, value, _ in rows if cell_width(value) <= 60), default=0)
    return [
        f"  {fit(name, first)}  {value + ' ' * (second - cell_width(value))}  {origin}" for name, value, origin in rows
    ]


def _toml(value: object) -> str:
    """Return a value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = f"{value:e}" if 0 < abs(value) < 0.01 else f"{value:.10g}"
        mantissa, exponent, power = text.partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}" if exponent else text
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + "".join(_escaped(char) for char in str(value)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\u{ord(char):04x}"


def example(words: Words) -> str:
    """Return a config.toml with every key, its default and a comment; it changes nothing."""
    lines = _comment(words.t("settings.example.head"))
    for table in ("ui", "notify", "findings", "lr_ranges", "ratings"):
        lines += ["", *_comment(words.t(f"settings.example.{table}")), f"[{table}]"]
        for key, value in DEFAULTS.items():
            here, _, name = key.partition(".")
            if here == table:
                lines.append(f"{name} = {_toml(value)}  # {words.t(f'settings.key.{key}')}")
        if table == "findings":
            lines.append("off = []")
        elif table == "lr_ranges":
            lines += [
                f"{family}.{side} = {_toml(list(bounds))}" for family, sides in LR_RANGES.items()
                for side, bounds in sides.items()
            ]  # fmt: skip
    for rule in RULES:
        if rule.numbers:
            lines += ["", *_comment(_about(rule, words)), f"[ratings.{rule.code}]"]
            lines += [f"{name} = {_toml(value)}{_limit(rule, name, words)}" for name, value in rule.numbers.items()]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, COMMENT_WIDTH)]


def _about(rule: Rule, words: Words) -> str:
    names = words.t("list.separator").join(rule.metrics)
    stages = words.t("list.separator").join(sorted(rule.stages)) if rule.stages is not None else ""
    head = words.t("settings.example.rule" if stages else "settings.example.rule_any", metrics=names, stages=stages)
    return head + (" " if words.lang == "en" else "") + words.t(f"rule.{rule.code}")


def _limit(rule: Rule, name: str, words: Words) -> str:
    """Return the comment that explains one number of a rule."""
    if rule.thresholds is not None and name in rule.thresholds.bounds:
        key = "settings.limit.least" if rule.thresholds.higher else "settings.limit.most"
    else:
        key = f"settings.limit.{rule.code}.{name}"
        if not words.has(key):
            key = f"settings.limit.{name}"
    return f"  # {words.t(key)}"
