"""``ls``: the runs as a table and as JSON."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_tui.text.cells import cell_width
from tests.support.program import COMMAND, environment, lora_tui, strict, without_override

STEPS = {
    "lora/sft": "810/810",
    "lora/sft-long": "6250/6250",
    "lora/default": "120/120",
    "lora/crashed": "150/400",
    "lora/killed": "200/2700",
    "hf/trl-sft": "80/80",
}


def table(text: str) -> dict[str, list[str]]:
    """Return the rows by the name of their run."""
    rows = [line.split() for line in text.splitlines()[1:]]
    at = [next(i for i, word in enumerate(row) if "/" in word and not word[0].isdigit()) for row in rows]
    return {row[i]: row for i, row in zip(at, rows, strict=True)}


def test_a_table_of_all_runs(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs)
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    names = {str(path.parent.relative_to(all_runs)) for path in all_runs.rglob("trainer_log.jsonl")}
    assert names <= rows.keys()
    for name, step in STEPS.items():
        assert step in rows[name]
    assert rows["lora/crashed"][0] == "failed"
    assert rows["lora/sft"][0] == "finished"
    assert "NaN" in rows["lora/diverged"]
    assert rows["lora/default"][rows["lora/default"].index("2.8302") + 1] == "-"  # it never evaluated


def test_the_columns_are_straight_in_both_languages(all_runs: Path) -> None:
    for lang in ("en", "zh"):
        lines = lora_tui("ls", all_runs, "--lang", lang).stdout.splitlines()
        loss = cell_width(lines[0][: lines[0].index("LOSS")]) + 4
        for line in lines[1:]:
            cells = "".join(char if cell_width(char) == 1 else char + "\0" for char in line)
            assert cells[loss - 1] != " ", f"no number ends under LOSS in {line!r}"
            assert cells[loss : loss + 2] == "  "


def test_newest_first_is_the_order_without_a_wish(all_runs: Path) -> None:
    runs = strict(lora_tui("ls", all_runs, "--json").stdout)
    times = [run["updated_at"] for run in runs]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("key", ["newest", "name", "state", "step", "loss", "eval_loss"])
def test_each_sort_key_orders_the_table_and_the_json(all_runs: Path, key: str) -> None:
    runs = strict(lora_tui("ls", all_runs, "--sort", key, "--json").stdout)
    names = [run["run"]["name"] for run in runs]
    assert list(table(lora_tui("ls", all_runs, "--sort", key).stdout)) == names
    if key == "name":
        assert names == sorted(names)
    elif key == "state":
        states = [run["state"] for run in runs]
        assert states[0] == "failed"
        assert states[-1] == "finished"
        assert all(states[i] == states[i + 1] or states[i] not in states[i + 1 :] for i in range(len(states) - 1))
    elif key == "step":
        steps = [run["progress"].get("step", 0) for run in runs]
        assert steps == sorted(steps, reverse=True)
    elif key in ("loss", "eval_loss"):
        field = "smoothed" if key == "loss" else "min"
        values = [run["metrics"].get(key, {}).get(field) for run in runs]
        known = [value for value in values if value is not None]
        assert known == sorted(known)
        assert values == known + [None] * (len(values) - len(known))  # what is not known comes last


def test_several_paths_and_a_log_file(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs / "lora/sft", all_runs / "hf", all_runs / "lora/killed/train.log")
    assert {"lora/sft", "trl-sft"} <= {word for line in done.stdout.splitlines() for word in line.split()}
    assert len(done.stdout.splitlines()) == 4
    assert done.returncode == 0


def test_json_is_an_array_even_of_one_and_of_none(all_runs: Path, tmp_path: Path) -> None:
    (one,) = strict(lora_tui("ls", all_runs / "lora/sft", "--json").stdout)
    assert one["run"]["name"] == "lora/sft"
    done = lora_tui("ls", tmp_path, "--json")
    assert (done.returncode, strict(done.stdout)) == (0, [])


def test_an_empty_directory_is_said_on_stderr(tmp_path: Path) -> None:
    done = lora_tui("ls", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"lora-tui: no runs in {tmp_path}\n"


def test_a_missing_path_is_one_line_and_exit_1(tmp_path: Path) -> None:
    for lang, says in (("en", "does not exist"), ("zh", "不存在")):
        done = lora_tui("ls", tmp_path / "nowhere", "--lang", lang)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("lora-tui: ")
        assert str(tmp_path / "nowhere") in done.stderr
        assert says in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="root's rights are taken away as Linux does it")
def test_a_directory_without_permission_does_not_hide_the_others(copy_run: Callable[..., Path]) -> None:
    run = copy_run("lora/sft")
    locked = run.parent.parent / "locked"
    locked.mkdir()
    locked.chmod(0)
    try:
        beside = lora_tui("ls", run.parent.parent, before=without_override)
        assert beside.returncode == 0
        assert "lora/sft" in beside.stdout
        assert beside.stderr.count("\n") == 1
        assert str(locked) in beside.stderr
        itself = lora_tui("ls", locked, before=without_override)
        assert (itself.returncode, itself.stdout) == (1, "")
        assert itself.stderr.count("\n") == 1
        assert "ermission denied" in itself.stderr
    finally:
        locked.chmod(0o755)


def test_names_from_the_disk_cannot_reach_the_terminal(copy_run: Callable[..., Path]) -> None:
    run = copy_run("lora/sft", "evil/\x1b]52;c;QQ==\x07[red]\u202efish")
    done = lora_tui("ls", run.parent)
    assert done.returncode == 0
    assert "[red]" in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)
    (one,) = strict(lora_tui("ls", run.parent, "--json").stdout)
    assert one["run"]["path"] == str(run.resolve())  # data stays data: JSON escapes it


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_leaves_early_is_no_error(all_runs: Path, options: list[str]) -> None:
    command = [*COMMAND, "ls", str(all_runs), *options]
    ls = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert ls.stdout is not None
    assert ls.stderr is not None
    with ls.stdout, ls.stderr:
        ls.stdout.close()
        assert ls.stderr.read() == b""
        assert ls.wait(30) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_exit_1(all_runs: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "ls", str(all_runs)], env=environment(), stdout=full, stderr=subprocess.PIPE, encoding="utf-8"
        )
    assert (done.returncode, done.stderr) == (1, "lora-tui: No space left on device\n")


def test_an_output_that_knows_no_chinese_gets_no_traceback(all_runs: Path) -> None:
    done = lora_tui("ls", all_runs / "lora/sft", "--lang", "zh", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "lora/sft" in done.stdout
    done = lora_tui("ls", all_runs / "lora/sft", "--lang", "zh", "--json", env={"PYTHONIOENCODING": "ascii"})
    assert "验证" in strict(done.stdout)[0]["findings"][0]["text"]
