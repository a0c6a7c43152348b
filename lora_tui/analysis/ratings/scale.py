"""Arrange the levels of a rule on a scale from low to high values, with the place of a value on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lora_tui.analysis.judgement import Level, Rating
from lora_tui.analysis.rating_rules import Rule

WIDE = 20.0
"""Ratio of the outer bounds from which a scale is logarithmic."""
TOPS: Mapping[str, float] = {
    "bleu4": 100, "rouge1": 100, "rouge2": 100, "rougel": 100, "preference_accuracy": 1, "reward_accuracy": 1,
    "zero_std": 1,
}  # fmt: skip
"""Highest possible value by code of the rule."""


@dataclass(frozen=True)
class Scale:
    """The levels of a rule from low to high values."""

    zones: tuple[Level | None, ...]
    """Level of each zone from left to right, one more than ``bounds``."""
    bounds: tuple[float, ...]
    """Bounds between the zones, ascending."""
    unit: str = ""
    """Wording code of what the bounds measure (``explain.scale.<code>``), empty for the metric itself."""
    value: float | None = None
    """Number that is compared with the bounds, None if unknown."""
    at: float | None = None
    """Place of ``value`` in units of zones (1.5 is the middle of the second zone), None if unknown."""


def scale_of(rule: Rule, metric: str, rating: Rating | None = None) -> Scale | None:
    """Return the scale of a rule for one of its metrics, with the rated value on it; None for a rule without levels."""
    zones, bounds = _zones(rule, rating)
    if not bounds:
        return None
    if metric.endswith("eval_loss") and rule.code.startswith("perplexity"):
        bounds = tuple(math.log(bound) for bound in bounds)
    unit = _UNITS.get(rule.code, "")
    if rating is None:
        return Scale(zones, bounds, unit)
    value = _compared(rule, rating)
    if value is None or not math.isfinite(value):
        return Scale(zones, bounds, unit)
    return Scale(zones, bounds, unit, value, _place(value, bounds, TOPS.get(rule.code)))


_UNITS: Mapping[str, str] = {
    "speed_self": "share", "predict_speed": "seconds", "throughput": "device",
    "gap": "percent", "epochs": "epochs", "zero_std": "groups",
}  # fmt: skip
"""Unit of a scale by code of the rule, see :attr:`Scale.unit`."""


def _zones(rule: Rule, rating: Rating | None) -> tuple[tuple[Level | None, ...], tuple[float, ...]]:
    """Return the zones and bounds of a rule from low to high values, both empty for a rule without levels."""
    limits = rule.limits
    if rule.thresholds is not None:
        bounds = tuple(rule.thresholds.bounds.values())
        names: tuple[Level, ...] = ("good", "fair", "poor")
        zones: tuple[Level | None, ...] = ("excellent", *names) if rule.thresholds.excellent is not None else names
        return (zones[::-1], bounds[::-1]) if rule.thresholds.higher else (zones, bounds)
    if rule.code == "lr_peak" and rating is not None and "low" in rating.params:
        low, high, beyond = float(rating.params["low"]), float(rating.params["high"]), limits["beyond"]
        return ("poor", "fair", "good", "fair", "poor"), (low / beyond, low, high, high * beyond)
    if rule.code == "grad_norm":
        return ("poor", "fair", "good", "fair", "poor"), tuple(
            limits[name] for name in ("none", "small", "good", "fair")
        )
    if rule.code == "loss_preference":
        return ("good", "fair", "poor"), (limits["good"], limits["poor"])
    if rule.code == "epochs":
        return ("good", "fair"), (limits["good"],)
    return (), ()


def _compared(rule: Rule, rating: Rating) -> float | None:
    """Return the number that the rule compares with its bounds, which is not always the metric; None if unknown."""
    params = rating.params
    name = {"grad_norm": "median", "loss_preference": "now", "predict_speed": "seconds"}.get(rule.code)
    if rule.code == "speed_self":
        return float(params["share"]) / 100 if "share" in params else None
    if rule.code == "throughput":
        return rating.value / float(params.get("devices", 1))
    if name is not None:
        return float(params[name]) if name in params else None
    return rating.value


def _place(value: float, bounds: tuple[float, ...], top: float | None) -> float:
    """Return the place of a value: the number of zones to its left plus its position in its own zone (0 to 1).

    The outer zones are unbounded, so their ends are approached asymptotically, except at 0 and at ``top``, the highest
    possible value.
    """
    log = bounds[0] > 0 and bounds[-1] / bounds[0] >= WIDE and value > 0
    scaled = [math.log(bound) for bound in bounds] if log else list(bounds)
    here = math.log(value) if log else value
    index = sum(bound <= here for bound in scaled)
    span = scaled[-1] - scaled[0] if len(scaled) > 1 else abs(scaled[0])
    width = span / max(1, len(scaled) - 1) or 1.0
    if index == 0:
        beyond = scaled[0] - here
        share = here / scaled[0] if not log and here >= 0 and scaled[0] > 0 else 1 - beyond / (beyond + width)
    elif index == len(scaled):
        beyond = here - scaled[-1]
        share = beyond / (top - scaled[-1]) if top is not None and not log else beyond / (beyond + width)
    else:
        share = (here - scaled[index - 1]) / (scaled[index] - scaled[index - 1])
    return index + min(max(share, 0.0), 1.0)
