"""The runs that ship with the project get the findings that a careful engineer would write, and no others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lora_tui
from lora_tui.analysis import judge
from lora_tui.analysis.findings.find import find
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.i18n import Words
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "sample_runs"
LONG_AFTER = 100_000

EXPECTED = {
    "sft": ["healthy_fit", "best_checkpoint", "few_eval_samples"],
    "default": ["no_eval", "not_logged"],
    "diverged": ["dead_run", "lr_unusual"],
    "killed": ["interrupted", "lr_unusual"],
    "resumed": ["healthy_fit", "best_checkpoint", "resumed"],
    "crashed": ["failed", "incomplete_checkpoint", "lr_unusual"],
    "dpo": ["best_checkpoint", "lr_unusual", "not_logged"],
}
HEALTHY = ["sft", "default", "dpo", "resumed", "killed"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A copy whose files have their real times back: what is stale or finished shows in the times."""
    here = tmp_path_factory.mktemp("runs")
    shutil.copytree(SAMPLES, here, dirs_exist_ok=True)
    times = here / "mtimes.json"
    if times.exists():
        import json
        import os

        for name, when in json.loads(times.read_text()).items():
            if (here / name).exists():
                os.utime(here / name, (when, when))
    return {run.path.name: run for run in lora_tui.load_all(here)}


def judged(run, after=LONG_AFTER):
    return judge(run, (run.activity or 0.0) + after)


@pytest.mark.parametrize("name", EXPECTED)
def test_findings(runs, name):
    assert [finding.code for finding in judged(runs[name]).findings] == EXPECTED[name]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_sentence_is_complete(runs, lang):
    words = Words(lang)
    for run in runs.values():
        judgement = judged(run)
        for finding in judgement.findings:
            for text in (words.finding_name(finding), *words.finding(finding)):
                assert text
                assert "{" not in text, (run.name, text)
                assert not text.startswith("finding.")
        for rating in judgement.ratings.values():
            text = words.rating_text(rating)
            assert "{" not in text, (run.name, text)
            assert "rule." not in text
            assert "rating." not in text


def test_ratings_of_a_real_run(runs):
    ratings = judged(runs["sft"]).ratings
    assert ratings["predict_bleu-4"].value == pytest.approx(37.07, abs=0.01)
    assert (ratings["predict_bleu-4"].level, ratings["predict_bleu-4"].confidence) == ("fair", "few")
    assert ratings["loss"].level == "good"
    assert ratings["grad_norm"].level == "good"
    assert ratings["gap"].level == "good"
    assert ratings["perplexity"].level == "good"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_never_accused(name):
    """Cut at every row, seen shortly after it: no warning and no critical at any moment of its life."""
    found = sorted(SAMPLES.glob(f"**/{name}/trainer_log.jsonl"))
    assert found
    parser = TrainerLogParser()
    rows = parser.feed(found[0].read_bytes())
    now = 1_750_000_000.0
    run = Run(Path("/runs") / name)
    for row in rows:
        now += 1.0
        run.apply([FileRows("trainer_log.jsonl", "log", (row,), now, arrived=now)])
        accused = [finding.code for finding in find(run, now + 3) if finding.severity in ("critical", "warning")]
        assert not accused, (name, row.step, accused)


def test_insight_needs_no_screen():
    code = (
        "import sys, lora_tui.analysis, lora_tui.i18n; print(sorted({'textual', 'rich', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"
