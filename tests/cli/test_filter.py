"""``ls --filter``, ``--since`` and ``--format``."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.support.live_app import write_run
from tests.support.program import lora_tui, strict


def names(*args: str | Path) -> set[str]:
    done = lora_tui("ls", *args, "--json")
    assert done.returncode == 0, done.stderr
    return {run["run"]["name"] for run in strict(done.stdout)}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("state == failed", {"lora/crashed", "lora/crashed-early"}),
        ("predict_bleu-4 > 30 and stage == sft", {"lora/sft", "lora/predict_sft", "lora/sft-one-yaml"}),
        ("rewards/margins > 0 and stage == dpo", {"lora/dpo"}),
        ("name ~ sweep", {"lora/sweep/lr5e-5_r4", "lora/sweep/lr5e-3_r16"}),
        ("finding(nan_loss) or finding(dead_run)", {"lora/diverged", "lora/diverged-nan-nofilter"}),
        ("step > 5000", {"lora/sft-long"}),
        ("eval_loss < 0.1", set()),
    ],
)
def test_the_runs_for_which_it_holds(all_runs: Path, condition: str, found: set[str]) -> None:
    assert names(all_runs, "--filter", condition) == found


def test_a_run_without_the_number_matches_neither_way(all_runs: Path) -> None:
    every = names(all_runs)
    below = names(all_runs, "--filter", "eval_loss < 1.2")
    above = names(all_runs, "--filter", "not eval_loss < 1.2")
    without = names(all_runs, "--filter", "not has(eval_loss)")
    assert "lora/default" in without
    assert "lora/diverged" in above, "NaN is not below"
    assert below | above | without == every
    assert len(below) + len(above) + len(without) == len(every)


def test_nothing_that_matches_is_no_error(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs / "lora", "--filter", "loss < 0")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"lora-tui: none of the \d+ runs in .* matches\n", done.stderr)
    done = lora_tui("ls", all_runs / "lora/sft", "--filter", "loss < 0", "--lang", "zh")
    assert "都不符合条件" in done.stderr
    assert strict(lora_tui("ls", all_runs, "--filter", "loss < 0", "--json").stdout) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--filter", "eval_loss <"], "--filter, column 12: expected a name, a number"),
        (["--filter", "eval_los < 1"], "--filter, column 1: no run has eval_los; did you mean eval_loss?"),
        (["--filter", "eval_loss-loss > 1"], "eval_loss - loss"),
        (
            ["--filter", "state == finnished"],
            "--filter, column 10: finnished is not known here; did you mean finished?",
        ),
        (["--filter", "__import__('os').system('touch pwned')"], "--filter, column 1"),
        (["--since", "soon"], "--since: soon is no time"),
        (["--since", "2026-13-01"], "--since: 2026-13-01 is no time"),
        (["--since", "30"], "--since: 30 is no time"),
        (["--since=-3h"], "--since: -3h is no time"),
        (["--json", "--format", "md"], "exclude each other"),
        (["--format", "html"], "invalid choice"),
    ],
)
def test_usage_errors_are_exit_2_and_say_what_was_expected(all_runs: Path, args: list[str], says: str) -> None:
    done = lora_tui("ls", all_runs, *args, cwd=all_runs)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    if not done.stderr.startswith("usage"):
        assert done.stderr.count("\n") == 1
    assert not (all_runs / "pwned").exists()


def test_errors_speak_the_language_too(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs, "--filter", "eval_los < 1", "--lang", "zh")
    assert done.stderr == "lora-tui: --filter 第 1 列：没有任务包含 eval_los，是否想写 eval_loss？\n"


def test_a_name_that_no_run_has_is_told(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs, "--filter", "my_score > 1 or eval_loss < 1")
    assert done.returncode == 0
    assert "lora/sft " in done.stdout
    assert done.stderr == "lora-tui: --filter: no run here knows my_score\n"


def test_a_hostile_expression_cannot_reach_the_terminal(all_runs: Path) -> None:
    for text in ("\x1b[31m < 1", "state == \x1b]52;c;x\x07", "state == '\x1b[31m\u202e'", "a\u202eb < 1"):
        done = lora_tui("ls", all_runs, "--filter", text)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stderr), text


class TestSince:
    @pytest.fixture
    def saves(self, tmp_path: Path) -> Path:
        """Make runs whose names are their ages in hours."""
        for hours in (1, 30, 300):
            run = write_run(tmp_path / "saves" / str(hours), [3.0, 2.0], 10)
            then = time.time() - 3600 * hours
            os.utime(run / "trainer_log.jsonl", (then, then))
        return tmp_path / "saves"

    def test_so_long_ago(self, saves: Path) -> None:
        assert names(saves, "--since", "30m") == set()
        assert names(saves, "--since", "90m") == {"1"}
        assert names(saves, "--since", "7200s") == {"1"}
        assert names(saves, "--since", "1.5d") == {"1", "30"}
        assert names(saves, "--since", "100d") == {"1", "30", "300"}

    def test_a_date_is_local_unless_it_has_a_zone(self, saves: Path) -> None:
        now = datetime.now(timezone.utc)
        for hours, found in ((2, {"1"}), (31, {"1", "30"}), (0.5, set())):
            moment = now - timedelta(hours=hours)
            assert names(saves, "--since", moment.strftime("%Y-%m-%dT%H:%M:%SZ")) == found
            assert names(saves, "--since", moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")) == found
            tokyo = moment.astimezone(timezone(timedelta(hours=9)))
            assert names(saves, "--since", tokyo.isoformat(timespec="seconds")) == found
        there = (now - timedelta(hours=2)).astimezone(timezone(timedelta(hours=9))).strftime("%Y-%m-%d %H:%M:%S")
        in_tokyo = lora_tui("ls", saves, "--json", "--since", there, env={"TZ": "JST-9"})
        assert [run["run"]["name"] for run in strict(in_tokyo.stdout)] == ["1"]
        assert names(saves, "--since", (now - timedelta(days=14)).strftime("%Y-%m-%d")) == {"1", "30", "300"}

    def test_together_with_a_condition(self, saves: Path) -> None:
        assert names(saves, "--since", "2d", "--filter", "name != 1") == {"30"}


class TestFormat:
    def test_markdown_is_a_table_with_the_same_cells(self, all_runs: Path) -> None:
        text = lora_tui("ls", all_runs, "--format", "text", "--sort", "name").stdout.splitlines()
        lines = lora_tui("ls", all_runs, "--format", "md", "--sort", "name").stdout.splitlines()
        after = lora_tui("ls", all_runs, "--format", "text", "--sort", "name").stdout.splitlines()
        assert len(lines) == len(text) + 1
        assert lines[0] == "| STATE | NAME | STEP | DONE | LOSS | EVAL | STAGE | UPDATED |"
        assert lines[1] == "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |"
        for plain, line, later in zip(text[1:], lines[2:], after[1:], strict=True):
            cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line.strip("| ").split(" | ")]
            assert " ".join(cells).split() in (plain.split(), later.split())  # an age may change meanwhile

    def test_the_json_is_that_of_the_option(self, all_runs: Path) -> None:
        one, two = (lora_tui("ls", all_runs / "lora/sft", *args).stdout for args in (["--json"], ["--format", "json"]))
        assert re.sub(r'"remaining.*', "", one) == re.sub(r'"remaining.*', "", two)
        both = lora_tui("ls", all_runs / "lora/sft", "--json", "--format", "json")
        assert both.returncode == 0

    def test_a_hostile_name_stays_in_its_cell(self, copy_run: Callable[..., Path], tmp_path: Path) -> None:
        run = copy_run("lora/default")
        odd = "a|b`c`<img src=x onerror=alert(1)>[x](javascript:1)![i](p)*e*_f_\\|#1 www.evil.example ~s~ $m$ &amp;"
        odd += "\x1b[31m"
        shutil.move(run, tmp_path / "saves" / odd)
        line = lora_tui("ls", tmp_path / "saves", "--format", "md").stdout.splitlines()[2]
        assert "\x1b" not in line
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 9, "as many cells as columns"
        name = re.split(r"(?<!\\)(?:\\\\)*\|", line)[2].strip()
        assert not re.search(r"(?<!\\)(?:\\\\)*[`<>\[\]*_!&$~]", name), "every character of Markdown is escaped"
        assert "www." not in name
        assert re.sub(r"\\(.)", r"\1", name) == odd.removesuffix("\x1b[31m")
