import subprocess
import sys
from pathlib import Path

import pytest

from lora_tui.analysis.judgement import Finding, Rating
from lora_tui.i18n import Words, resolve_language
from lora_tui.runs.run import Status

EN, ZH = Words("en"), Words("zh")


@pytest.mark.parametrize(
    ("option", "kept", "env", "lang"),
    [
        ("zh", "en", {"LANG": "en_US.UTF-8"}, "zh"),
        ("auto", "zh", {"LANG": "en_US.UTF-8"}, "zh"),
        ("auto", None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("auto", None, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ("auto", None, {"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "C"}, "zh"),
        ("auto", "nonsense", {}, "en"),
    ],
)
def test_language(option, kept, env, lang):
    assert resolve_language(option, kept, env) == lang


@pytest.mark.parametrize(
    ("seconds", "style", "en", "zh"),
    [
        (6720, "short", "1h52m", "1小时52分"),
        (6720, "long", "1 h 52 min", "1小时52分钟"),
        (205, "short", "3m25s", "3分25秒"),
        (65, "short", "1m05s", "1分5秒"),
        (205, "long", "3 min 25 s", "3分25秒"),
        (840, "short", "14m", "14分"),
        (41, "long", "41 s", "41秒"),
        (3600, "short", "1h", "1小时"),
        (97200, "short", "1d03h", "1天3小时"),
        (-3, "short", "0s", "0秒"),
        (float("nan"), "short", "–", "–"),
    ],
)
def test_duration(seconds, style, en, zh):
    assert EN.duration(seconds, style) == en
    assert ZH.duration(seconds, style) == zh


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [(5, "<1m", "<1分"), (300, "5m", "5分"), (3 * 3600 + 59, "3h", "3时"), (2 * 86400, "2d", "2天")],
)
def test_age(seconds, en, zh):
    assert (EN.age(seconds), ZH.age(seconds)) == (en, zh)


def test_clock():
    noon = 1_750_000_000.0
    assert EN.clock(noon) == EN.clock(noon, noon + 60) == "15:06"
    assert EN.clock(noon, noon + 86400) == "06-15 15:06"
    assert EN.clock(noon, noon + 366 * 86400) == "2025-06-15 15:06"
    assert EN.clock(float("inf")) == "–"


def test_plural():
    assert (EN.n("app.runs", 1), EN.n("app.runs", 8), ZH.n("app.runs", 8)) == ("1 run", "8 runs", "8 个任务")
    assert EN.n("head.at_risk", 120) == "120 steps at risk"


def test_tolerance():
    assert EN.t("no.such.key", n=1) == "no.such.key"
    assert EN.n("no.such.key", 3) == "no.such.key"
    assert EN.t("head.step", step=3) == "3/{total}"
    assert EN.t("head.elapsed") == "elapsed {time}"
    assert EN.t("cli.error.read", path="{x}", reason="a{b!r}") == "{x} cannot be read: a{b!r}"


def test_numbers():
    assert [EN.number(v, "count") for v in (24721, 4316576, 198, 999999, 35192832, 0.5)] == [
        "24.7k", "4.32M", "198", "1M", "35.2M", "0.5",
    ]  # fmt: skip
    assert [EN.number(v, "lr") for v in (2e-4, 4.566e-5, 1e-6, 0.0)] == ["2e-4", "4.57e-5", "1e-6", "0"]
    assert [EN.number(v) for v in (0.902, 90.87, 0.0008, 1954.49, 6250.0)] == [
        "0.902",
        "90.87",
        "0.0008",
        "1954",
        "6250",
    ]
    assert [EN.number(v) for v in (12345.6, 9999999.0, 2e27, -3.5e8)] == ["12346", "9999999", "2e27", "-3.5e8"]
    assert [EN.number(v) for v in (float("nan"), float("inf"), float("-inf"))] == ["NaN", "∞", "-∞"]


def test_states():
    assert ZH.state(Status("running", "training")) == "训练中"
    assert EN.state(Status("evaluating", "saving")) == "saving"
    assert ZH.state(Status("waiting", "tokenizing")) == "分词中"
    assert EN.state(Status("failed", "evaluating")) == "failed"


def test_rating_sentence():
    rating = Rating(
        "predict_bleu-4", 90.87, "excellent", "rule", "firm", "bleu4", "bleu_excellent",
        {"samples": 198, "error": 1.76}, ("memorised",),
    )  # fmt: skip
    assert EN.rating(rating) == "nearly the reference"
    text = EN.rating_text(rating)
    assert text.startswith("BLEU-4 90.87: excellent, nearly the reference. ")
    assert "198 samples, ±1.8." in text
    assert text.endswith("The training data is memorised: judge by unseen data.")
    assert ZH.rating_text(rating).startswith("BLEU-4 90.87：优秀，极高，与参考答案高度一致。")


def test_finding_variants_fall_back():
    finding = Finding("stalled", "critical", 120, evidence={"silent_s": 840.0}, variant="unknown")
    assert EN.finding(finding)[0] == "Nothing was written for 14m."
    assert EN.finding(finding)[1].startswith("Check the process")


def test_loading_the_texts_is_cheap():
    """The texts are loaded before the first frame: no second catalogue is read and no large module is imported."""
    code = (
        "import sys, re, string, pathlib, lora_tui\n"
        "opened, before = [], set(sys.modules)\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "import lora_tui.i18n\n"
        "lora_tui.i18n.Words('zh').t('app.name')\n"
        "print(*(path for path in opened if not path.endswith('.py') and '.pyc' not in path), sep='\\n')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    (catalogue, loaded) = done.stdout.splitlines()
    assert catalogue.endswith("lora_tui/i18n/zh/LC_MESSAGES/lora_tui.mo")
    small = {"gettext", "math", "struct", "_struct", "unicodedata"}
    assert {name for name in loaded.split() if not name.startswith("lora_tui.")} <= small
    assert {name for name in loaded.split() if name.startswith("lora_tui.")} == {
        "lora_tui.i18n",
        "lora_tui.text",
        "lora_tui.text.sanitize",
    }
