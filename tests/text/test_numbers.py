from __future__ import annotations

import math

import pytest

from lora_tui.text.numbers import count, fixed4, number, parse_duration


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0573, "1.057"), (90.87, "90.87"), (1.5, "1.5"), (0, "0"), (-0.0, "0"), (2e-4, "2e-4"),
        (0.000118, "1.18e-4"), (4.566e-05, "4.566e-5"), (0.001, "0.001"), (0.00099996, "0.001"), (344093.2, "344093"),
        (100.0, "100"), (9999.6, "10000"), (-0.25, "-0.25"), (9.9996, "10"), (2e7, "2e7"), (1e300, "1e300"),
        (5e-324, "4.941e-324"),
        (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_number_of_digits():
    assert number(1.0573, 2) == "1.1"
    assert number(0.856, 3) == "0.856"
    assert number(1234.5, 0) == "1234"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.6679, "1.6679"), (0.0008, "0.0008"), (344093.2, "344093.2"), (0, "0.0000"), (-0.0, "0.0000"),
        (1.5, "1.5000"), (999.99999, "1000.0000"), (1234.5678, "1234.568"), (0.00001234, "1.23e-5"), (1e300, "1e300"),
        (-2.5, "-2.5000"), (math.nan, "NaN"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_fixed4(value, text):
    assert fixed4(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1k"), (24_700, "24.7k"), (999_999, "1M"), (1_234_567, "1.23M"),
        (7_615_616_512, "7.62B"), (1.2e12, "1.2T"), (999.4e12, "999T"),
        (1e15, "1e15"), (-1500, "-1.5k"), (10**30, "1e30"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_count(value, text):
    assert count(value) == text


@pytest.mark.parametrize(
    ("typed", "found"),
    [("90", 90.0), ("90s", 90.0), (" 1.5h ", 5400.0), ("2d", 172800.0), ("0", 0.0), ("30m", 1800.0), ("1e3s", 1000.0)]
    + [(text, None) for text in ("", "m", "-1s", "nan", "nand", "inf", "infh", "1e11", "soon", "1h30m")],
)
def test_durations_as_people_type_them(typed, found):
    assert parse_duration(typed) == found
