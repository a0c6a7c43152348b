"""The HTML report: one file without requests, with charts, and with no markup from files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlparse

import pytest

import lora_tui
from lora_tui.i18n import Words
from lora_tui.records.documents import Predictions
from lora_tui.records.updates import FileDoc
from lora_tui.report.build import build
from lora_tui.report.render.html import render, rich
from lora_tui.runs.run import Run
from tests.conftest import last_write
from tests.support.run_builder import START, evaluation, run_of, summary, train

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&amp;\x1b[31m\u202e"


class Seen(HTMLParser):
    """Collect every tag and attribute of a page, and check that every tag is closed."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def html_of(run: Run, lang: str = "en", now: float | None = None) -> str:
    words = Words(lang)
    return render(build(run, last_write(run) + 60 if now is None else now, words), words)


def learning(config: dict[str, str] | None = None, name: str = "made") -> Run:
    rows = [train(10 * (i + 1), 2.0 - 0.02 * i, 400, lr=1e-4) for i in range(40)]
    rows.insert(20, evaluation(200, 1.6, 400))
    run = run_of([*rows, summary(400, 400)], config=config or {}, ended=True)
    run.name = name
    return run


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_real_run_makes_a_complete_page(all_runs: Path, lang: str) -> None:
    for run in lora_tui.load_all(all_runs):
        page = html_of(run, lang)
        seen = Seen(page)
        assert not seen.open, run.name
        assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}">' in page
        assert seen.tags.count("script") == 1
        assert run.name.split("/")[-1] in seen.text
        if "loss" in run.series and run.series["loss"].finite > 1:
            assert "svg" in seen.tags, run.name


def test_the_charts_hold_every_value_that_the_hover_shows() -> None:
    seen = Seen(html_of(learning()))
    data = [json.loads(value) for name, value in seen.attributes if name == "data-curves"]
    losses = {curve["name"]: curve["points"] for curve in data[0]["curves"]}
    assert losses["loss"][0] == [10, 2.0]
    assert len(losses["loss"]) == 40
    assert losses["eval loss"] == [[200, 1.6]]


def test_the_page_makes_no_request() -> None:
    page = html_of(learning({"model_name_or_path": "https://example.org/model"}))
    seen = Seen(page)
    assert not [value for name, value in seen.attributes if name in ("src", "href", "action", "srcset", "data")]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(", page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'")


def test_text_of_a_file_is_never_markup() -> None:
    run = learning({"model_name_or_path": HOSTILE, "dataset": HOSTILE, "template": HOSTILE}, HOSTILE)
    sample = {"prompt": HOSTILE, "label": HOSTILE, "predict": HOSTILE}
    run.apply([FileDoc("generated_predictions.jsonl", Predictions(count=1, sample=sample), START)])
    for lang in ("en", "zh"):
        page = html_of(run, lang, START + 60)
        seen = Seen(page)
        plain = Seen(html_of(learning(), lang, START + 60))
        assert "alert(1)" in seen.text
        assert seen.tags.count("script") == plain.tags.count("script") == 1
        assert "img" not in seen.tags
        assert not [name for name, _ in seen.attributes if name.startswith("on")]
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page)


def test_only_our_own_backticks_mark_code() -> None:
    assert rich("set `val_size: 0.1` now") == "set <code>val_size: 0.1</code> now"
    assert rich("a ` alone & <b>") == "a ` alone &amp; &lt;b&gt;"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the chromium program")
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_in_a_browser_it_logs_nothing_and_loads_only_itself(all_runs: Path, tmp_path: Path, lang: str) -> None:
    run = lora_tui.load(all_runs / "lora" / "sft")
    run.name = HOSTILE
    page, log = tmp_path / "report.html", tmp_path / "net.json"
    page.write_text(html_of(run, lang), encoding="utf-8")
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    seen = Seen(done.stdout)
    assert seen.tags.count("svg") >= 3
    assert seen.tags.count("script") == 1
    asked = set(re.findall(r'"url":"((?:https?|wss?|ftp)://[^"]*)"', log.read_text(encoding="utf-8")))
    # The browser makes some requests of its own, for a blank page too; they do not count.
    hosts = {urlparse(url).hostname or "" for url in asked}
    assert not {host for host in hosts if not host.endswith((".google.com", ".googleapis.com"))}
