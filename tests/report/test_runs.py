"""Every run has a complete report in every form and language, also a run of which almost nothing is known."""

from __future__ import annotations

import json
import math
import re

import pytest

import lora_tui
from lora_tui.analysis import judge
from lora_tui.demo.samples import sample_dir
from lora_tui.i18n import LANGUAGES, Words
from lora_tui.report.build import build
from lora_tui.report.content.chart_data import MAX_POINTS, thin
from lora_tui.report.render import box, html, markdown
from lora_tui.text.cells import cell_width
from lora_tui.wording.sentences import checkpoint_advice
from tests.conftest import DATA, last_write
from tests.support.call_count import calls_of
from tests.support.checkpoint_runs import checkpoint_dir, falling_rows, run_with_checkpoints
from tests.support.program import strict
from tests.support.run_builder import START, evaluation, run_of, summary, train

NAMES = sorted({
    str(path.parent.relative_to(base))
    for base in (sample_dir(), DATA)
    for pattern in ("trainer_log.jsonl", "train.log", "adapter_config.json", "eval_results.json")
    for path in base.rglob(pattern)
    if "checkpoint-" not in str(path) and not path.parent.name.startswith("Nov")
})  # fmt: skip
UNTRANSLATED = re.compile(
    r"\b(?:report|finding|rating|rule|metric|reservation|forecast|card|head|list|unit)\.[a-z_]+[.\w]*"
)
"""A catalogue key that is shown instead of its text."""
_SCRIPT = re.compile(r"<(script|style)>.*?</\1>", re.DOTALL)


def forms(report, words):
    """Return every form of the report."""
    return {
        "box": box.render(report, words),
        "ascii": box.render(report, words, ascii_only=True),
        "md": markdown.render(report, words),
        "html": html.render(report, words),
        "json": json.dumps(report.to_json(), allow_nan=False, ensure_ascii=False),
    }


def check(report, words):
    """Check what holds for every report; return its forms."""
    made = forms(report, words)
    for name, text in made.items():
        assert not UNTRANSLATED.search(_SCRIPT.sub("", text)), (name, UNTRANSLATED.search(_SCRIPT.sub("", text)))
        assert "{" not in made["box"]
        assert "None" not in re.sub(r'"[^"]*"', "", text), name
    for name in ("box", "ascii"):
        assert len({cell_width(line) for line in made[name].splitlines()}) == 1
    assert not re.search(r"[\u4e00-\u9fff]", made["ascii"] + made["md"]) or words.lang == "zh" or report.config
    data = strict(made["json"])
    assert data["schema"] == 1
    assert data["language"] == words.lang
    for chart in report.charts:
        for line in chart.lines:
            assert len(line.steps) == len(line.values) <= MAX_POINTS
            assert list(line.steps) == sorted(line.steps)
            assert all(value is None or math.isfinite(value) for value in line.values)
    return made


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_run(all_runs, name, lang):
    run = lora_tui.load(all_runs / name)
    words = Words(lang)
    check(build(run, last_write(run) + 36000, words), words)


@pytest.mark.parametrize("name", ["lora/sft", "lora/killed", "lora/dpo", "hf/trl-sft", "lora/predict_sft"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_run_in_progress_says_so(all_runs, name, lang):
    run = lora_tui.load(all_runs / name)
    words = Words(lang)
    now = last_write(run) + 5
    report = build(run, now, words)
    check(report, words)
    assert report.in_progress == run.status(now).live
    if report.in_progress:
        assert report.generated_text in (report.progress_text or "")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("stage", ["sft", "pt", "rm", "ppo", "dpo", "kto", "orpo", "simpo", "grpo", None])
def test_every_stage(stage, lang):
    words = Words(lang)
    extra = {"reward": 1.0} if stage in ("ppo", "grpo") else {"rewards__margins": 0.3} if stage == "dpo" else {}
    falling_rows = [train(10 * at, 1.0 - at / 100, 400, **extra) for at in range(1, 41)]
    run = run_of([*falling_rows, summary(400, 400)], ended=True, config={"stage": stage} if stage else {"lora_rank": 8})
    report = build(run, START + 7200, words)
    check(report, words)
    assert report.step_table is not None
    assert report.step_table.metric == ("reward" if stage in ("ppo", "grpo") else "loss")


def one_row():
    return run_of([train(10, 2.0, 100)])


def without_eval():
    falling_rows = [train(10 * at, 2.0 - at / 50, 200, lr=1e-4) for at in range(1, 21)]
    return run_of([*falling_rows, summary(200, 200)], ended=True)


def nan_only():
    return run_of([train(10 * at, math.nan, 200, lr=1e-4, grad_norm=math.nan) for at in range(1, 21)], ended=True)


def mixed_infinities():
    values = (1.0, math.inf, -math.inf, math.nan, 1e300, -1e300, 0.5) * 4
    falling_rows = [train(10 * at, value, 280) for at, value in enumerate(values, 1)]
    return run_of([*falling_rows, evaluation(280, math.inf, 280)], ended=True,
                  results={"eval": {"eval_loss": math.nan, "eval_runtime": math.inf}})  # fmt: skip


def nothing():
    return run_of([], config={"stage": "sft"})


def only_results():
    return run_of([], results={"eval": {"eval_loss": 1.0}})


SMALL = [one_row, without_eval, nan_only, mixed_infinities, nothing, only_results]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("make", SMALL)
def test_a_run_of_which_almost_nothing_is_known(make, lang):
    words = Words(lang)
    for after in (1.0, 10_000.0):
        check(build(make(), START + after, words), words)


def test_a_single_row():
    report = build(one_row(), START + 1, Words("en"))
    assert report.in_progress
    assert report.step_table is not None
    assert [cell.shown for cell in report.step_table.cells] == ["2.0000"]
    assert report.charts == []
    loss = next(entry for entry in report.metrics_explained if entry.name == "loss")
    assert loss.level is None
    assert "8 rows" in loss.analysis


def test_nan_only_is_critical_and_not_drawn():
    report = build(nan_only(), START + 7200, Words("en"))
    assert report.conclusion.startswith("Serious: ")
    assert "loss" not in {chart.code for chart in report.charts}
    assert report.step_table is not None
    assert {cell.shown for cell in report.step_table.cells} == {"NaN"}


def test_a_run_without_an_evaluation_says_so():
    report = build(without_eval(), START + 7200, Words("zh"))
    assert "no_eval" in {finding.code for finding in report.findings_explained}
    assert "eval_loss" not in {entry.name for entry in report.metrics_explained}


@pytest.mark.parametrize(
    ("lang", "said"),
    [("en", "50.0 GB free, a checkpoint takes 2.0 GB"), ("zh", "剩余 50.0 GB，一个检查点需 2.0 GB")],
)
def test_free_disk_space_is_worded_as_elsewhere(lang, said):
    run, now = run_with_checkpoints(
        falling_rows(420, 1000), [checkpoint_dir(400, size=2 * 10**9)], config={"save_steps": 100}, free=50 * 10**9
    )
    words, judgement = Words(lang), judge(run, now)
    section = build(run, now, words, judgement=judgement).section("checkpoint")
    assert section is not None
    assert [fact.value for fact in section.facts if fact.code == "disk"] == [said]
    assert any(advice.text.startswith(said) for advice in checkpoint_advice(words, judgement.choice, live=True))


def test_a_run_without_data_says_so():
    assert build(nothing(), START + 1, Words("en")).conclusion.startswith("There is nothing to analyse")


class TestTable:
    @pytest.mark.parametrize(
        ("total", "every", "interval", "columns"),
        [(6250, 500, None, 12), (6250, 10, 500, 13), (810, 10, 100, 9), (120, 10, None, 12), (200, 10, 20, 10),
         (300, 10, 20, 15), (4000, 1, 250, 16), (100_000, 10, 10_000, 10), (17, 1, 2, 9)],
    )  # fmt: skip
    def test_about_twelve_columns_of_a_round_interval(self, total, every, interval, columns):
        steps = range(every, total + 1, every)
        report = build(run_of([train(step, 1.0, total) for step in steps], ended=True), START + 9999, Words("en"))
        assert report.step_table is not None
        assert report.step_table.interval == interval
        assert len(report.step_table.cells) == columns

    def test_a_value_is_the_mean_of_its_interval(self):
        falling_rows = [train(10 * at, float(at), 400) for at in range(1, 41)]
        table = build(run_of(falling_rows, ended=True), START + 9999, Words("en")).step_table
        assert table is not None
        assert table.interval is not None
        each = table.interval // 10
        assert table.cells[0].value == pytest.approx(sum(range(1, each + 1)) / each)
        assert table.cells[-1].step == 400


class TestThin:
    def test_no_spike_is_lost(self):
        values = [1.0] * 100_000
        values[12_345], values[67_890] = 99.0, -99.0
        steps, thinned = thin(range(100_000), values)
        assert len(steps) <= MAX_POINTS
        assert {99.0, -99.0} <= set(thinned)
        assert steps[thinned.index(99.0)] == 12_345
        assert (steps[0], steps[-1]) == (0, 99_999)

    def test_gaps_stay_gaps(self):
        values = [1.0] * 5000 + [math.nan] * 5000 + [2.0] * 5000
        steps, thinned = thin(range(15_000), values)
        gap = [step for step, value in zip(steps, thinned, strict=True) if value is None]
        assert gap
        assert min(gap) >= 4900
        assert max(gap) <= 10_100


def test_a_long_run_costs_one_pass_over_its_rows_and_no_longer_text():
    """Ten times the rows cost at most ten times the calls; rendering depends on the thinned points alone."""
    falling_rows = [train(10 * at, 1 + 1 / at, 1_000_000, lr=1e-4, grad_norm=0.5) for at in range(1, 40_001)]
    short, long = run_of(falling_rows[:4000]), run_of(falling_rows)
    words = Words("en")
    assert calls_of(lambda: build(long, START + 1, words)) < 10 * calls_of(lambda: build(short, START + 1, words))
    reports = [build(run, START + 1, words) for run in (short, long)]
    few, many = (calls_of(forms, report, words) for report in reports)
    assert many < 1.1 * few
