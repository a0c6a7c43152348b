"""``export``: all values of all series, as csv and jsonl."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import time
from pathlib import Path

import pytest

import lora_tui as api
from lora_tui.analysis import METRICS
from tests.support.live_app import row, write_run
from tests.support.program import COMMAND, environment, lora_tui, strict

FIXED = ["step", "epoch", "time", "elapsed_s"]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def exported(*args: str | Path) -> str:
    done = lora_tui("export", *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "name", ["lora/sft", "lora/resumed", "lora/diverged", "lora/dpo", "hf/trl-sft", "lora/default"]
)
def test_it_has_every_number_in_full(all_runs: Path, name: str) -> None:
    run = api.load(all_runs / name)
    table = rows(exported(all_runs / name))
    objects = [strict(line) for line in exported(all_runs / name, "--format", "jsonl").splitlines()]
    assert len(table) == len(objects)
    assert [int(line["step"]) for line in table] == sorted({int(s) for each in run.series.values() for s in each.steps})
    for metric, series in run.series.items():
        at = {int(step): value for step, value in zip(series.steps, series.values, strict=True)}
        for line, data in zip(table, objects, strict=True):
            expected = at.get(int(line["step"]))
            if expected is None:
                assert line[metric] == ""
                assert metric not in data
            elif math.isfinite(expected):
                assert float(line[metric]) == data[metric] == expected
            else:
                assert line[metric] == data[metric] == str(expected).replace("nan", "NaN").replace("inf", "Infinity")
    assert list(table[0]) == [*FIXED, *list(table[0])[4:]]
    assert [str(data["step"]) for data in objects] == [line["step"] for line in table]


def test_the_order_of_the_columns_is_that_of_the_glossary(all_runs: Path) -> None:
    head = exported(all_runs / "lora/dpo").splitlines()[0].split(",")
    assert head[:7] == [*FIXED, "loss", "grad_norm", "lr"]
    order = list(METRICS)
    places = [order.index(name) if name in order else len(order) for name in head[4:]]
    assert places == sorted(places)
    others = [name for name in head[4:] if name not in order]
    assert others == sorted(others)


def test_times_go_back_from_the_end_and_clocks_over_resumes(all_runs: Path) -> None:
    run = api.load(all_runs / "lora/resumed")
    table = rows(exported(all_runs / "lora/resumed"))
    elapsed = [float(line["elapsed_s"]) for line in table]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] == run.progress(time.time()).elapsed_s
    times = [line["time"] for line in table]
    assert all(not text or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) for text in times)
    assert times[0] == "", "the first process has left no time"
    assert times[-1] != ""
    assert times == sorted(times)


def test_a_run_of_jobs_alone_and_an_empty_one(all_runs: Path) -> None:
    assert exported(all_runs / "lora/eval_sft").splitlines()[0] == "step,epoch,time,elapsed_s,eval_loss,perplexity"
    done = lora_tui("export", all_runs / "lora/predict_sft")
    assert (done.returncode, done.stdout) == (0, "step,epoch,time,elapsed_s\n")
    assert done.stderr == "lora-tui: lora/predict_sft has not logged any row yet\n"
    done = lora_tui("export", all_runs / "lora/predict_sft", "--format", "jsonl", "--lang", "zh")
    assert (done.returncode, done.stdout) == (0, "")


def test_rows_are_counted_where_there_are_no_steps(tmp_path: Path) -> None:
    lines = [f"{{'loss': {3 - n / 10}, 'learning_rate': 1e-4, 'epoch': {n / 10}}}\n" for n in range(5)]
    (tmp_path / "nohup.out").write_text("".join(lines))
    table = rows(exported(tmp_path / "nohup.out"))
    assert [line["row"] for line in table] == ["1", "2", "3", "4", "5"]
    assert [float(line["loss"]) for line in table] == pytest.approx([3.0, 2.9, 2.8, 2.7, 2.6])


def test_of_two_values_at_one_step_the_later_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [3.0, 2.0], 2)
    with (run / "trainer_log.jsonl").open("a") as log:
        for value in (1.5, 1.25):
            data = {key: each for key, each in row(2, 0, 2).items() if key not in ("loss", "lr")}
            log.write(json.dumps({**data, "eval_loss": value}) + "\n")
    table = rows(exported(run))
    assert [line["eval_loss"] for line in table] == ["", "1.25"]


HOSTILE = {
    "=1+cmd": 1.0, "+x": 2.0, "@x": 3.0, "a,b": 4.0, 'q"q': 5.0, "new\nline": 6.0, "\x1b[31mred": 7.0,
    "step": 8.0, "time": 9.0, "训练/损失": 10.0, "\u202eevil": 11.0,
}  # fmt: skip


def test_names_from_a_file_are_data(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [3.0, 2.0], 3)
    with (run / "trainer_log.jsonl").open("a") as log:
        log.write(json.dumps({**row(3, 1.0, 3), **{f"m/{k}" if k[:1].isalpha() else k: v for k, v in HOSTILE.items()}}))
        log.write("\n")
    text = exported(run)
    assert not {"\x1b", "\u202e"} & set(text)
    last = rows(text)[-1]
    assert len(text.splitlines()) == 4
    assert len(last) == len(set(last))
    assert not [name for name in last if name[:1] in tuple("=+-@")]
    assert {"'=1+cmd", "m/a,b", 'm/q"q', "m/new line"} <= set(last)
    objects = exported(run, "--format", "jsonl")
    assert not {"\x1b", "\u202e"} & set(objects)
    assert strict(objects.splitlines()[-1])["=1+cmd"] == 1.0


def test_a_metric_called_like_a_column_keeps_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [3.0], 2)
    with (run / "trainer_log.jsonl").open("a") as log:
        log.write(json.dumps({**row(2, 1.0, 2), "time": 9.5}) + "\n")
    data = strict(exported(run, "--format", "jsonl").splitlines()[-1])
    assert data["time"] == 9.5 if "time (2)" not in data else data["time (2)"] == 9.5
    assert data["step"] == 2


@pytest.mark.parametrize(
    ("name", "first"), [("a.csv", "step,"), ("a.jsonl", "{"), ("a.ndjson", "{"), ("a.txt", "step,")]
)
def test_the_ending_says_the_format(all_runs: Path, tmp_path: Path, name: str, first: str) -> None:
    assert exported(all_runs / "lora/sft", "-o", tmp_path / name) == ""
    assert (tmp_path / name).read_text().startswith(first)
    exported(all_runs / "lora/sft", "-o", tmp_path / name, "--format", "jsonl")
    assert (tmp_path / name).read_text() == exported(all_runs / "lora/sft", "--format", "jsonl")


def test_what_cannot_be_written_is_one_line(all_runs: Path, tmp_path: Path) -> None:
    done = lora_tui("export", all_runs / "lora/sft", "-o", tmp_path / "no/such/a.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lora-tui: {tmp_path}/no/such/a.csv cannot be written: no such file or directory\n"
    done = lora_tui("export", all_runs / "lora", "--lang", "zh")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_that_leaves_early_is_no_error(all_runs: Path) -> None:
    export = subprocess.Popen(
        [*COMMAND, "export", str(all_runs / "lora/sft-long")],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert export.stdout is not None
    assert export.stderr is not None
    with export.stdout, export.stderr:
        export.stdout.readline()
        export.stdout.close()
        assert export.stderr.read() == b""
        assert export.wait(30) == 0
