"""Comparisons as text and as HTML: lines fit, names are never markup, curves share a chart."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import lora_tui
from lora_tui.analysis.comparison.compare import Comparison, compare
from lora_tui.i18n import Words
from lora_tui.report.comparison import ComparisonReport, comparison_report, letter, short_names
from lora_tui.report.render.compare_html import render as render_html
from lora_tui.report.render.compare_text import render as render_text
from lora_tui.runs.run import Run
from lora_tui.text.cells import cell_width
from tests.analysis.comparison.test_compare import made, predicted
from tests.report.test_html import HOSTILE, Seen
from tests.support.run_builder import START

LATER = START + 1e9


def compared(runs: Sequence[Run], lang: str = "en") -> tuple[Comparison, ComparisonReport, Words]:
    words = Words(lang)
    found = compare(runs, LATER)
    return found, comparison_report(found, words), words


def text_of(runs: Sequence[Run], width: int = 120, lang: str = "en") -> str:
    _, report, words = compared(runs, lang)
    return render_text(report, words, width)


def page_of(runs: Sequence[Run], lang: str = "en") -> str:
    found, report, words = compared(runs, lang)
    return render_html(report, found, words, LATER)


def sweep(count: int) -> list[Run]:
    return [
        made(f"saves/sweep/lr{at + 1}e-4_rank{8 * (at % 3 + 1)}", 1.0 + 0.15 * ((at * 7) % count), seed=at,
             config={"learning_rate": (at + 1) * 1e-4, "lora_rank": 8 * (at % 3 + 1)})
        for at in range(count)
    ]  # fmt: skip


@pytest.fixture
def real(all_runs: Path) -> dict[str, Run]:
    return {run.path.name: run for run in lora_tui.load_all(all_runs / "lora")}


class TestText:
    @pytest.mark.parametrize("lang", ["en", "zh"])
    @pytest.mark.parametrize("width", [80, 120, 200])
    @pytest.mark.parametrize("count", [2, 3, 4, 6, 8, 30])
    def test_every_line_fits(self, count, width, lang):
        shown = text_of(sweep(count), width, lang)
        assert max(cell_width(line) for line in shown.splitlines()) <= width
        assert "{" not in shown
        assert "compare." not in shown

    @pytest.mark.parametrize("lang", ["en", "zh"])
    @pytest.mark.parametrize("names", [("sft", "sft-long"), ("sft", "dpo"), ("sft", "killed"), ("resumed", "diverged")])
    def test_real_runs_fit_too(self, real, names, lang):
        for width in (80, 100, 200):
            shown = text_of([real[name] for name in names], width, lang)
            assert max(cell_width(line) for line in shown.splitlines()) <= width
            assert "{" not in shown

    def test_columns_are_aligned(self):
        shown = text_of([predicted("a", 37.07, 400, end=1.0), predicted("bee", 80.0, 400, end=1.2)]).splitlines()
        rows = [line for line in shown if line.startswith(("best eval loss", "perplexity", "BLEU-4"))]
        assert len(rows) == 3
        best = next(line for line in rows if line.startswith("best eval loss"))
        assert re.search(r"1\.00\d\d \*  +1\.20\d\d +A better$", best)
        assert re.search(r"37\.07 +80\.00 \*  B better$", next(line for line in rows if line.startswith("BLEU-4")))

    def test_many_runs_are_rows_the_best_first(self):
        shown = text_of(sweep(8)).splitlines()
        rows = [line for line in shown if re.match(r"[A-H] lr\de-4_rank\d+ +\d", line)]
        values = [float(match[1]) for row in rows if (match := re.match(r"\S+ \S+ +(\d\.\d+)", row))]
        assert len(values) == 8
        assert values == sorted(values)
        assert [("*" in row) for row in rows] == [True] + [False] * 7

    def test_the_verdict_in_a_sentence(self):
        shown = text_of([made("a", 1.0), made("b", 1.2)])
        assert "By best eval loss a is better: 1.00" in shown
        assert "more than noise" in shown
        assert "按最佳验证 loss，a 更好" in text_of([made("a", 1.0), made("b", 1.2)], lang="zh")

    def test_an_unfair_comparison_is_marked(self, real):
        shown = text_of([real["sft"], real["dpo"]])
        assert "The quality of these runs cannot be compared: different stages" in shown
        assert "! Different stages (A sft, B dpo)" in shown
        assert "not comparable" in shown

    def test_an_unknown_value_is_shown_as_unknown(self):
        runs = [made("a", config={"lora_rank": 8}), made("b"), made("c", config={"lora_rank": 16})]
        line = next(line for line in text_of(runs).splitlines() if "lora_rank" in line)
        assert re.search(r"8 +not known +16$", line)

    def test_no_control_sequence_of_a_name_is_printed(self):
        shown = text_of([made(HOSTILE, 1.0, config={"template": HOSTILE}), made("b", 1.2, config={"template": "x"})])
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", shown)


class TestModel:
    def test_it_is_strict_json(self, real):
        _, report, _ = compared([real["sft"], real["diverged"]])
        data = report.to_json()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert data["schema"] == 1
        measures = {item["code"]: item for item in json.loads(json.dumps(data))["measures"]}
        assert measures["eval_last"]["values"][1]["value"] == "NaN"
        assert measures["eval_last"]["best"] == [report.runs[0].name]
        assert measures["perplexity"]["values"][1] is None

    def test_letters_and_short_names(self):
        assert [letter(at) for at in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
        assert short_names(["q/lora/a", "q/lora/b"]) == ["a", "b"]
        assert short_names(["q/lora/a", "q/full/a"]) == ["lora/a", "full/a"]
        assert short_names(["a", "a/b"]) == ["a", "a/b"]


class TestPage:
    @pytest.mark.parametrize("lang", ["en", "zh"])
    @pytest.mark.parametrize("count", [2, 5, 12])
    def test_a_complete_page_without_requests(self, count, lang):
        page = page_of(sweep(count), lang)
        seen = Seen(page)
        assert not seen.open
        assert seen.tags.count("script") == 1
        assert not [value for name, value in seen.attributes if name in ("src", "href", "srcset", "action")]
        assert "default-src 'none'" in page
        assert "compare." not in seen.text
        assert seen.text.count("★") >= 2

    def test_curves_of_all_runs_with_their_values(self):
        runs = [made("a", 1.0, config={"total_train_batch_size": 8}),
                made("b", 1.2, steps=800, every=20, config={"total_train_batch_size": 4})]  # fmt: skip
        seen = Seen(page_of(runs))
        charts = [json.loads(value) for name, value in seen.attributes if name == "data-curves"]
        assert [chart["x"] for chart in charts] == ["step", "epoch", "step", "epoch"]
        for chart in charts:
            assert [curve["name"] for curve in chart["curves"]] == ["a", "b"]
        by_step, by_epoch = charts[2], charts[3]
        assert by_step["curves"][1]["points"][-1][0] == 800
        assert by_epoch["curves"][0]["points"][-1][0] == by_epoch["curves"][1]["points"][-1][0] == 3

    def test_the_same_axis_is_drawn_once(self):
        assert page_of([made("a", 1.0), made("b", 1.2)]).count("<figure>") == 2

    def test_text_of_a_file_is_never_markup(self):
        runs = [made(HOSTILE, 1.0, config={"dataset": HOSTILE, "template": HOSTILE, "model_name_or_path": HOSTILE}),
                made("b", 1.2, config={"template": "`a` `b`"})]  # fmt: skip
        seen = Seen(page_of(runs))
        assert seen.tags.count("script") == 1
        assert "img" not in seen.tags
        assert "alert(1)" in seen.text
        assert not [name for name, _ in seen.attributes if name.startswith("on")]

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the chromium program")
    def test_in_a_browser_it_logs_nothing(self, tmp_path):
        page = tmp_path / "compare.html"
        page.write_text(page_of([made(HOSTILE, 1.0), made("b", 1.2)]), encoding="utf-8")
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run",
             f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--dump-dom",
             page.as_uri()],
            capture_output=True, encoding="utf-8", timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr, done.stderr
        assert Seen(done.stdout).tags.count("figure") == 2
