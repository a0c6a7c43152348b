"""Check config.toml with pydantic, and make the rating rules with the user's numbers.

Imported only if there is such a file: the import of pydantic costs as much as reading a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Literal

# The schema needs no plugin of the environment, and pydantic's search for plugins takes as long as reading a run.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from lora_tui.analysis.context import Context
from lora_tui.analysis.findings.find import CODES
from lora_tui.analysis.rating_rules import COUNTS, LR_RANGES, RULES, Rule
from lora_tui.settings.toml_lines import KeyPath

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(allow_inf_nan=False, gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Ui(_Table):
    """The table ``[ui]``: language, colours, characters."""

    lang: Literal["auto", "en", "zh"] = "auto"
    theme: Literal["dark", "light", "ansi"] = "dark"
    glyphs: Literal["unicode", "ascii"] = "unicode"


class Findings(_Table):
    """The table ``[findings]``: the codes of findings that are switched off."""

    off: list[str] = []


class Notify(_Table):
    """The table ``[notify]``: a command and the terminal bell for events of runs."""

    on_event: str = ""
    bell: bool = False


def _tables(name: str, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    made: type[BaseModel] = create_model(name, __base__=_Table, **fields)  # type: ignore[call-overload]
    return made


def _ratings() -> type[BaseModel]:
    tables: dict[str, tuple[Any, Any]] = {}
    for rule in RULES:
        numbers = {name: (Count if name in COUNTS else Number, value) for name, value in rule.numbers.items()}
        if numbers:
            table = _tables(f"rule_{rule.code}", numbers)
            tables[rule.code] = (table, Field(default_factory=table))
    return _tables("Ratings", tables)


def _ranges() -> type[BaseModel]:
    pair = Annotated[list[Rate], Field(min_length=2, max_length=2)]
    tables: dict[str, tuple[Any, Any]] = {}
    for family, sides in LR_RANGES.items():
        table = _tables(f"lr_{family}", {side: (pair, list(bounds)) for side, bounds in sides.items()})
        tables[family] = (table, Field(default_factory=table))
    return _tables("LrRanges", tables)


def schema() -> type[BaseModel]:
    """Return the pydantic model of the whole file; the default of each key is the value in effect without it."""
    ratings, ranges = _ratings(), _ranges()
    return _tables(
        "Config",
        {
            "ui": (Ui, Field(default_factory=Ui)),
            "notify": (Notify, Field(default_factory=Notify)),
            "findings": (Findings, Field(default_factory=Findings)),
            "lr_ranges": (ranges, Field(default_factory=ranges)),
            "ratings": (ratings, Field(default_factory=ratings)),
        },
    )


class SettingsFault(Exception):
    """A key or value that config.toml must not have. Its text is ``settings.error.<code>`` in the catalogue."""

    def __init__(self, path: KeyPath, code: str, **params: str) -> None:
        super().__init__(code)
        self.path, self.code, self.params = path, code, params


def validate(data: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> Mapping[str, Any]:
    """Return the values of the file, by table, without defaults. Raises SettingsFault for its first fault."""
    model = schema()
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        faults = [_fault_of(model, detail) for detail in error.errors(include_url=False, include_context=True)]
        raise min(faults, key=lambda fault: lines.get(fault.path, 0)) from None
    return found.model_dump(exclude_unset=True)


_WANTED = {
    "float_type": "number", "float_parsing": "number", "int_type": "whole", "int_from_float": "whole",
    "bool_type": "truth", "string_type": "text", "list_type": "list", "finite_number": "finite",
    "greater_than": "positive", "greater_than_equal": "whole", "too_short": "pair", "too_long": "pair",
}  # fmt: skip


def _fault_of(model: type[BaseModel], detail: ErrorDetails) -> SettingsFault:
    path, kind = tuple(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        return SettingsFault(path, "unknown", **_suggestion(str(path[-1]), _keys(model, path[:-1])))
    if kind == "literal_error":
        return SettingsFault(path, "one_of", names=str(detail.get("ctx", {}).get("expected", "")).replace("'", '"'))
    # The remaining types (model_type and similar) say that a table is wanted.
    return SettingsFault(path, _WANTED.get(kind, "table"))


def _keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    for part in path:
        inner = model.model_fields[str(part)].annotation
        assert isinstance(inner, type)
        model = inner
    return list(model.model_fields)


def _suggestion(name: str, known: list[str]) -> dict[str, str]:
    found = get_close_matches(name, known, 1, 0.5)
    return {"meant": found[0]} if found else {}


def make_context(values: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> Context:
    """Return the context with the user's numbers.

    Raises SettingsFault for numbers that contradict each other and for an unknown code of a finding.
    """
    off = values.get("findings", {}).get("off", [])
    for place, code in enumerate(off):
        if code not in CODES:
            raise SettingsFault(("findings", "off", place), "unknown_finding", **_suggestion(code, list(CODES)))
    ranges = {family: dict(sides) for family, sides in LR_RANGES.items()}
    own = set()
    for family, sides in values.get("lr_ranges", {}).items():
        for side, (low, high) in sides.items():
            if low > high:
                raise SettingsFault(("lr_ranges", family, side), "ascending")
            if (low, high) != ranges[family][side]:
                ranges[family][side] = (low, high)
                own.add(f"{family}.{side}")
    given = values.get("ratings", {})
    rules = tuple(_customised(rule, given[rule.code], lines) if given.get(rule.code) else rule for rule in RULES)
    return Context(rules, ranges, frozenset(own), frozenset(off))


def _customised(rule: Rule, given: Mapping[str, float], lines: Mapping[KeyPath, int]) -> Rule:
    numbers = {**rule.numbers, **given}
    if numbers == rule.numbers:
        return rule
    thresholds = rule.thresholds
    if thresholds is not None:
        thresholds = replace(thresholds, excellent=numbers.get("excellent"), good=numbers["good"], fair=numbers["fair"])
    for pair, falling in _ordered_pairs(rule):
        better, worse = numbers[pair[0]], numbers[pair[1]]
        if better < worse if falling else better > worse:
            # Report the key that stands last in the file; the other may be a default.
            wrong = max((name for name in pair if name in given), key=lambda one: _line(lines, rule, one))
            other = pair[0] if wrong == pair[1] else pair[1]
            below = (wrong == pair[0]) is falling
            raise SettingsFault(
                ("ratings", rule.code, wrong), "below" if below else "above", other=other, bound=f"{numbers[other]:g}"
            )
    limits = {name: numbers[name] for name in rule.limits}
    # A threshold that the user has set is no longer just a value for orientation.
    basis = "rule" if rule.basis == "orientation" else rule.basis
    return replace(rule, thresholds=thresholds, limits=limits, own=True, basis=basis, confidence="firm")


def _line(lines: Mapping[KeyPath, int], rule: Rule, name: str) -> int:
    return lines.get(("ratings", rule.code, name), 0)


def _ordered_pairs(rule: Rule) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield pairs of neighbouring numbers of a rule; True where the second must not exceed the first, else False."""
    if rule.thresholds is not None:
        names = list(rule.thresholds.bounds)
        for pair in pairwise(names):
            yield pair, rule.thresholds.higher
    for pair in pairwise(rule.order):
        yield pair, False


def flatten(values: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Yield every value of nested tables with its path."""
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, Mapping):
            yield from flatten(value, here)
        else:
            yield here, value
