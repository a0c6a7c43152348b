"""Ranges of time in words are rounded outward, by a step that depends on their width."""

from __future__ import annotations

import pytest

from lora_tui.i18n import Words
from lora_tui.wording.sentences import clock_range, duration_range

EN, ZH = Words("en"), Words("zh")
M, H = 60.0, 3600.0


@pytest.mark.parametrize(
    ("low", "high", "en", "zh"),
    [
        (42.3 * M, 54.8 * M, "42–56 min", "42–56 分钟"),
        (12.0, 19.0, "12–20 s", "12–20 秒"),
        (390.0, 413.0, "6m30s–6m55s", "6分30秒–6分55秒"),
        (3.2 * H, 5.1 * H, "3h–5h30m", "3小时–5小时30分"),
        (62 * M, 71 * M, "62–72 min", "62–72 分钟"),
        (2 * H + 60, 2 * H + 70, "2h01m–2h02m", "2小时1分–2小时2分"),
        (27 * H, 75 * H, "1d–3d12h", "1天–3天12小时"),
        (50 * H, 190 * H, "2–8 days", "2–8 天"),
        (0.2, 3.4, "under 4s", "不到4秒"),
        (0.0, 0.0, "under 0s", "不到0秒"),
        (700.0, 700.1, "11–12 min", "11–12 分钟"),
    ],
)
def test_duration_range(low: float, high: float, en: str, zh: str) -> None:
    assert duration_range(EN, low, high) == en
    assert duration_range(ZH, low, high) == zh


def test_a_countdown_changes_its_text_seldom() -> None:
    """Ten minutes of a countdown from 42–55 minutes give at most 12 texts, not 600."""
    texts = [duration_range(EN, 42 * M - second, 55 * M - second) for second in range(600)]
    assert len(set(texts)) <= 12


NOON = 1_750_075_200.0
"""2025-06-16 12:00 UTC."""


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (NOON + 32 * M, NOON + 45 * M, "12:32–12:45"),
        (NOON + 32 * M, NOON + 62 * M, "12:30–13:05"),
        (NOON + 90.0, NOON + 100.0, "12:01–12:02"),
        (NOON + 11.9 * H, NOON + 12.3 * H, "23:50–06-17 00:20"),
        (NOON + 30 * H, NOON + 31 * H, "06-17 18:00–19:00"),
    ],
)
def test_clock_range(low: float, high: float, text: str) -> None:
    assert clock_range(EN, low, high, NOON) == text
    assert clock_range(ZH, low, high, NOON) == text


def test_times_that_no_calendar_has() -> None:
    assert duration_range(EN, 10.0, float("inf")) == "–"
    assert clock_range(EN, NOON, float("inf"), NOON) == "–"
    assert "–" in clock_range(EN, NOON, 1e18, NOON)
