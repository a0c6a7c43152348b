"""Make mutants of the rules, which are data: each threshold moved by a tenth, each stage left out, words exchanged.

They are made in place in the process that tests them, since several modules refer to the same objects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from lora_tui.analysis import rating_rules, stages
from lora_tui.analysis.rating_rules import COUNTS, Rule, Thresholds
from lora_tui.analysis.ratings import evaluation, siblings, training
from lora_tui.runs import run_data

SHIFT = 0.1
"""A threshold is moved by this share of itself, up and down; a number of rows is moved by one instead."""
MODULES: tuple[ModuleType, ...] = (rating_rules, stages, evaluation, siblings, training, run_data)

UNREAD = ("SOURCES", "COUNTS", "_LLAMAFACTORY", "_SFT", "_PT", "_RM")
"""Constants that no rating reads: they are used to make the rules, or by the texts and the settings."""
Change = Callable[[], None]
RULE = "rule"
"""Stands for a file in the place of a rule, for tests that look it up; the line is the rule's number."""
ANY = -1
"""Stands for a rule's number in the place of every look-up."""
EVERYWHERE = ("test", ANY)
"""The place of every test."""


def place(found: Rule | None) -> set[tuple[str, int]]:
    """Return the places of a test that looked up the rule ``found``."""
    here = {(RULE, ANY)}
    if found is not None:
        here |= {(RULE, number) for number, one in enumerate(rating_rules.RULES) if one is found}
    return here


def mutants() -> Iterator[tuple[str, frozenset[tuple[str, int]], Change]]:
    """Yield name, places of the tests that may notice it, and function that makes it, for each mutant.

    The function changes this process for good, so it is called in a fork.
    """
    anywhere = frozenset({(RULE, ANY)})
    for number, one in enumerate(rating_rules.RULES):
        for what, change in _of_rule(one):
            here = anywhere if what.startswith("all ") else frozenset({(RULE, number)})
            yield f"lora_tui.analysis.rating_rules.RULES {one.code}: {what}", here, change
    for module in MODULES:
        for name, value in vars(module).items():
            owner = next(other for other in (*MODULES, module) if name in vars(other))
            if name in UNREAD or name.startswith("__") or (owner is not module and vars(owner)[name] is value):
                continue
            for what, new in _others(name, value):
                here = frozenset({EVERYWHERE}) if module is run_data else anywhere
                yield f"{module.__name__}.{name}: {what}", here, partial(_replace, name, value, new)
    for family, sides in rating_rules.LR_RANGES.items():
        for side, (low, high) in sides.items():
            for what, pair in (
                ("low +", (low * (1 + SHIFT), high)), ("low -", (low * (1 - SHIFT), high)),
                ("high +", (low, high * (1 + SHIFT))), ("high -", (low, high * (1 - SHIFT))),
            ):  # fmt: skip
                change = partial(_set_item, sides, side, pair)
                yield f"lora_tui.analysis.rating_rules.LR_RANGES {family}.{side}: {what}", anywhere, change


def _of_rule(one: Rule) -> Iterator[tuple[str, Change]]:
    if one.thresholds is not None:
        for name, value in one.thresholds.bounds.items():
            for what, new in _near(name, value):
                yield f"{name} {what}", partial(object.__setattr__, one.thresholds, name, new)
        if not one.thresholds.higher:
            yield "closed", partial(object.__setattr__, one.thresholds, "closed", not one.thresholds.closed)
    for name, value in one.limits.items():
        for what, new in _near(name, value):
            yield f"{name} {what}", partial(_set, one, "limits", {**one.limits, name: new})
    for field in ("stages", "producers"):
        for gone in sorted(getattr(one, field) or ()):
            yield f"{field} without {gone}", partial(_set, one, field, getattr(one, field) - {gone})
        if getattr(one, field) is not None:
            yield f"all {field}", partial(_set, one, field, None)
    for gone in one.metrics:
        yield f"not for {gone}", partial(_set, one, "metrics", tuple(name for name in one.metrics if name != gone))
    words = list(dict.fromkeys(one.words.values()))
    for key, word in one.words.items():
        other = words[(words.index(word) + 1) % len(words)] if len(words) > 1 else "early"
        yield f"{key} says {other}", partial(_set, one, "words", {**one.words, key: other})
    yield "confidence", partial(_set, one, "confidence", "orientation" if one.confidence == "firm" else "firm")
    yield "basis", partial(_set, one, "basis", "rule" if one.basis != "rule" else "self")


def _near(name: str, value: float) -> Iterator[tuple[str, float]]:
    step = 1 if name in COUNTS else abs(value) * SHIFT
    yield f"{value:g} +", value + step
    yield f"{value:g} -", value - step


def _others(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield wrong values of a constant of a module, each with its description."""
    if isinstance(value, float):
        yield from _near(name, value)
    elif isinstance(value, frozenset):
        yield from ((f"without {gone}", value - {gone}) for gone in sorted(value))
    elif isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        yield from ((f"without {gone}", tuple(one for one in value if one != gone)) for gone in value)


def _replace(name: str, old: object, new: object) -> None:
    for module in list(sys.modules.values()):
        if vars(module).get(name) is old and module.__name__.startswith("lora_tui"):
            setattr(module, name, new)


def _set_item(mapping: Any, key: str, value: object) -> None:
    mapping[key] = value


def _set(one: Rule | Thresholds, field: str, value: object) -> None:
    object.__setattr__(one, field, value)
