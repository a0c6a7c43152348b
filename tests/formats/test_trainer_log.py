from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from lora_tui.formats.trainer_log import TrainerLogParser, parse_elapsed
from lora_tui.records.documents import LogRow, Problem

DATA = Path(__file__).parent.parent / "data" / "formats"
LOGS = sorted(DATA.glob("*/trainer_log.jsonl"))


def parse(text: str | bytes) -> tuple[Sequence[LogRow], list[Problem]]:
    parser = TrainerLogParser()
    rows = parser.feed(text.encode() if isinstance(text, str) else text)
    return rows, parser.take_problems()


def one(line: str) -> LogRow:
    rows, problems = parse(line + "\n")
    assert problems == []
    assert len(rows) == 1
    return rows[0]


def same(left: object, right: object) -> bool:
    """Return whether two lists of rows are equal, with NaN equal to NaN, in whatever order the metrics are."""

    def plain(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: plain(value[key]) for key in sorted(value)}
        if isinstance(value, (list, tuple)) or (isinstance(value, Sequence) and not isinstance(value, str)):
            return [plain(item) for item in value]
        return value

    return repr(plain(left)) == repr(plain(right))


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.parent.name)
def test_real_logs_say_what_the_file_says(path: Path) -> None:
    data = path.read_bytes()
    rows, problems = parse(data)
    assert problems == []
    lines = data.decode().splitlines()
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        written = json.loads(line)
        assert row.step == written["current_steps"]
        assert row.total_steps == written["total_steps"]
        assert row.epoch == written.get("epoch")
        hours, minutes, seconds = map(int, written["elapsed_time"].split(":"))
        assert row.elapsed_s == timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        skipped = {"current_steps", "total_steps", "epoch", "percentage", "elapsed_time", "remaining_time"}
        assert same(dict(row.values), {key: float(value) for key, value in written.items() if key not in skipped})
        expected = "train" if "lr" in written else "eval" if "eval_loss" in written else "mark"
        assert row.kind == (expected if "epoch" in written else "progress")


def test_there_are_logs() -> None:
    assert len(LOGS) >= 9


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.parent.name)
def test_byte_by_byte_is_the_same(path: Path) -> None:
    data = path.read_bytes()
    parser = TrainerLogParser()
    rows = [row for index in range(len(data)) for row in parser.feed(data[index : index + 1])]
    assert same(rows, parse(data)[0])


def test_real_runs_have_the_kinds_of_their_stories() -> None:
    def kinds(run: str) -> list[str]:
        return [row.kind for row in parse((DATA / run / "trainer_log.jsonl").read_bytes())[0]]

    assert kinds("eval-only")[-1] == "eval"
    assert set(kinds("eval-only")[:-1]) == {"progress"}
    assert set(kinds("predict-only")) == {"progress"}
    assert kinds("sft")[-6:] == ["eval", "mark", "progress", "progress", "progress", "progress"]
    assert kinds("one-yaml").count("mark") > 1  # evaluations with predict_with_generate log no metric
    nan = parse((DATA / "diverged-nan" / "trainer_log.jsonl").read_bytes())[0]
    assert any(math.isnan(row.values["loss"]) for row in nan if row.kind == "train")
    steps = [row.step for row in parse((DATA / "resumed" / "trainer_log.jsonl").read_bytes())[0]]
    assert steps.count(110) == 2


def test_newest_train_row() -> None:
    row = one(
        '{"current_steps": 5, "total_steps": 93, "loss": 5.7013, "lr": 1.0000000000000002e-06, '
        '"epoch": 0.1646090534979424, "percentage": 5.38, "elapsed_time": "0:02:03", "remaining_time": "0:36:15", '
        '"throughput": 13061.0, "total_tokens": 1614784, "vram_allocated": 11.5, "vram_reserved": 12.25}'
    )
    values = {"loss": 5.7013, "lr": 1.0000000000000002e-06, "throughput": 13061.0, "total_tokens": 1614784.0}
    assert row == LogRow(
        "train", 5, {**values, "vram_allocated": 11.5, "vram_reserved": 12.25}, 93, 0.1646090534979424, 123.0
    )


def test_dpo_row_of_days() -> None:
    row = one(
        '{"current_steps": 1, "total_steps": 5100, "loss": 0.6491, "accuracy": 1.0, "lr": 9.803921568627451e-10, '
        '"epoch": 0.0019588638589618022, "percentage": 0.02, "elapsed_time": "1 day, 0:08:23", '
        '"remaining_time": "3 days, 17:51:32"}'
    )
    assert (row.kind, row.values["accuracy"], row.elapsed_s) == ("train", 1.0, 86400 + 503)


def test_v0_8_uncounted_tokens_are_absent() -> None:
    row = one(
        '{"current_steps": 10, "total_steps": 8660, "loss": 2.4977, "learning_rate": 5.773672055427253e-07, '
        '"epoch": 0.0046, "percentage": 0.12, "elapsed_time": "0:00:24", "remaining_time": "5:58:33", '
        '"throughput": "0.00", "total_tokens": 0}'
    )
    assert row == LogRow("train", 10, {"loss": 2.4977, "lr": 5.773672055427253e-07}, 8660, 0.0046, 24.0)


def test_v0_8_counted_tokens_are_numbers() -> None:
    row = one('{"current_steps": 1, "loss": 1.0, "epoch": 1, "throughput": "812.14", "total_tokens": 5696}')
    assert (row.values["throughput"], row.values["total_tokens"]) == (812.14, 5696.0)


def test_v0_1_rows_with_nulls() -> None:
    nulls = '"eval_loss": null, "predict_loss": null, "reward": null'
    train = one(
        f'{{"current_steps": 10, "total_steps": 100, "loss": 1.5, {nulls}, "learning_rate": 4e-05, "epoch": 0.1, '
        '"percentage": 10.0, "elapsed_time": "0:00:10", "remaining_time": "0:01:30"}'
    )
    assert train == LogRow("train", 10, {"loss": 1.5, "lr": 4e-05}, 100, 0.1, 10.0)
    last = one(
        f'{{"current_steps": 100, "total_steps": 100, "loss": null, {nulls}, "learning_rate": null, "epoch": 1.0, '
        '"percentage": 100.0, "elapsed_time": "0:01:40", "remaining_time": "0:00:00"}'
    )
    assert last == LogRow("mark", 100, {}, 100, 1.0, 100.0)
    progress = one('{"current_steps": 5, "total_steps": 9, "loss": null, "epoch": null, "elapsed_time": "0:00:01"}')
    assert progress == LogRow("progress", 5, {}, 9, None, 1.0)


def test_rows_of_one_shape_with_and_without_nulls() -> None:
    line = '{"current_steps": %d, "total_steps": 3, "loss": %s, "eval_loss": %s, "epoch": 0.5}\n'
    rows, _ = parse(line % (1, "1.0", "2.0") + line % (2, "null", "2.5") + line % (3, "1.5", "null"))
    assert [(row.kind, dict(row.values)) for row in rows] == [
        ("train", {"loss": 1.0, "eval_loss": 2.0}),
        ("eval", {"eval_loss": 2.5}),
        ("train", {"loss": 1.5}),
    ]


def test_eval_rows() -> None:
    row = one(
        '{"current_steps": 500, "total_steps": 6750, "eval_loss": 1.6410622596740723, "epoch": 0.2222222222222222, '
        '"percentage": 7.41, "elapsed_time": "0:29:27", "remaining_time": "6:08:08"}'
    )
    assert row == LogRow("eval", 500, {"eval_loss": 1.6410622596740723}, 6750, 0.2222222222222222, 1767.0)
    final = '{"current_steps": 0, "total_steps": 20, "eval_loss": 1.038, %s"percentage": 0.0}'
    assert one(final % '"epoch": 0, ') == LogRow("eval", 0, {"eval_loss": 1.038}, 20, 0.0)
    assert one(final % "") == LogRow("eval", 0, {"eval_loss": 1.038}, 20)
    assert one('{"current_steps": 9, "eval_zh_loss": 1.5, "epoch": 1.0}').kind == "eval"


def test_marks_and_progress() -> None:
    mark = '{"current_steps": 6750, "total_steps": 6750, "epoch": 3.0, "percentage": 100.0, "elapsed_time": "6:48:06"}'
    assert one(mark) == LogRow("mark", 6750, {}, 6750, 3.0, 24486.0)
    progress = '{"current_steps": 5, "total_steps": 512, "percentage": 0.98, "elapsed_time": "0:00:05"}'
    assert one(progress) == LogRow("progress", 5, {}, 512, None, 5.0)


def test_v1_rows() -> None:
    parser = TrainerLogParser()
    rows = parser.feed(
        b'{"epoch": 0, "step": 1, "loss": 1.2345, "grad_norm": 3.21, "learning_rate": 1e-05, "total_steps": 120}\n'
        b'{"epoch": 0, "step": 2, "loss": 0.69, "grad_norm": NaN, "learning_rate": 1e-05, "rewards/accuracies": 0.5,'
        b' "rewards/margins": 0.25, "total_steps": 120}\n'
    )
    assert rows[0] == LogRow("train", 1, {"loss": 1.2345, "grad_norm": 3.21, "lr": 1e-05}, 120, 0.0)
    assert (rows[1].values["rewards/accuracies"], rows[1].values["accuracy"]) == (0.5, 0.5)
    assert math.isnan(rows[1].values["grad_norm"])
    assert parser.snapshot() is None


def test_a_logged_accuracy_is_not_replaced() -> None:
    row = one('{"current_steps": 1, "loss": 1.0, "accuracy": 0.25, "rewards/accuracies": 0.5, "epoch": 1.0}')
    assert (row.values["accuracy"], row.values["rewards/accuracies"]) == (0.25, 0.5)
    row = one('{"current_steps": 1, "loss": null, "lr": 0.1, "rewards/accuracies": "0.5", "epoch": 1.0}')
    assert row.values["accuracy"] == 0.5


def test_ms_swift_rows_and_its_closing_object() -> None:
    parser = TrainerLogParser()
    rows = parser.feed(
        b'{"loss": 2.03561759, "grad_norm": 1.61355615, "learning_rate": 9.938e-05, "memory(GiB)": 11.29, '
        b'"train_speed(iter/s)": 0.04982, "epoch": 0.08, "global_step/max_steps": "10/720", "percentage": "1.39%", '
        b'"elapsed_time": "11m 29s", "remaining_time": "13h 35m 55s"}\n'
        b'{"eval_loss": 1.5, "eval_token_acc": 0.5, "epoch": 0.1, "global_step/max_steps": "12/720"}\n'
        b'{"last_model_checkpoint": "a/checkpoint-720", "best_metric": 1.5, "global_step": 720, "log_history": []}\n'
    )
    assert parser.take_problems() == []
    assert rows[0] == LogRow(
        "train",
        10,
        {
            "loss": 2.03561759,
            "grad_norm": 1.61355615,
            "lr": 9.938e-05,
            "memory(GiB)": 11.29,
            "train_speed(iter/s)": 0.04982,
        },
        720,
        0.08,
        689.0,
    )
    assert rows[1] == LogRow("eval", 12, {"eval_loss": 1.5, "eval_token_acc": 0.5}, 720, 0.1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:09:01", 541.0),
        ("1 day, 0:08:23", 86903.0),
        ("3 days, 17:51:32", 323492.0),
        ("0:00:01.500000", 1.5),
        ("123:00:00", 442800.0),
        ("13h 35m 55s", 48955.0),
        ("1d 2h", 93600.0),
        (12, 12.0),
        ("", None),
        ("-1 day, 23:59:59", None),
        ("x:y:z", None),
        ("soon", None),
        ("nan", None),
        (None, None),
        (math.nan, None),
        ("9" * 5000 + ":00:00", None),
        ("9" * 400 + ":00:00", None),
    ],
)
def test_elapsed(text: object, seconds: float | None) -> None:
    assert parse_elapsed(text) == seconds
    clock = f'{{"current_steps": 1, "epoch": 1.0, "elapsed_time": {json.dumps(text)}}}\n'
    assert parse(clock)[0][0].elapsed_s == seconds


def test_extreme_numbers() -> None:
    row = one(
        '{"current_steps": 1, "loss": 1e400, "lr": -1e400, "a": Infinity, "b": -Infinity, "c": NaN, "d": 1'
        + "0" * 399
        + ', "e": 9'
        + "9" * 6000
        + ', "epoch": 1.0}'
    )
    values = row.values
    assert [values[key] for key in ("loss", "lr", "a", "b", "d", "e")] == [
        math.inf, -math.inf, math.inf, -math.inf, math.inf, math.inf,
    ]  # fmt: skip
    assert math.isnan(values["c"])
    assert one('{"current_steps": 1, "epoch": NaN, "loss": 1.0}').epoch is None
    assert one('{"current_steps": 1, "epoch": 1e400}') == LogRow("mark", 1)
    assert one('{"current_steps": 1, "total_steps": 0, "epoch": 1.0}').total_steps is None
    assert one('{"current_steps": 7.0, "total_steps": "9", "epoch": "0.5"}') == LogRow("mark", 7, {}, 9, 0.5)


def test_what_is_no_number_is_no_metric() -> None:
    row = one('{"current_steps": 1, "loss": 1.5, "note": "text", "on": true, "list": [1], "x": {"y": 1}, "epoch": 1}')
    assert row.values == {"loss": 1.5}


def test_unknown_numeric_keys_pass_through() -> None:
    row = one(
        '{"current_steps": 1, "rewards/<lambda>/mean": 0.5, "loss": 1, "\\ud83d\\ude00": 2, "\\ud800": 3, "epoch": 1}'
    )
    assert row.values == {"rewards/<lambda>/mean": 0.5, "loss": 1.0, "😀": 2.0, "?": 3.0}


def test_bad_lines_are_told_and_skipped() -> None:
    good = '{"current_steps": 1, "epoch": 1.0, "loss": 1.0}'
    deep = "[" * 200_000
    lines = [good, '{"current_steps": 2, "lo', "[1]", "7", '{"loss": 1.0}', '{"current_steps": -1}', "", "  \r", deep]
    lines += ['{"current_steps": 1e400}', '{"current_steps": "x", "step": 3}', "{},{}", "\0\0", '{"a":' * 200_000, good]
    rows, problems = parse("\n".join(lines) + "\n")
    assert [row.step for row in rows] == [1, 1]
    assert problems == [
        Problem(2, "not JSON"),
        Problem(3, "not an object"),
        Problem(4, "not an object"),
        Problem(5, "no step"),
        Problem(6, "no step"),
        Problem(9, "not JSON"),
        Problem(10, "no step"),
        Problem(11, "no step"),
        Problem(12, "not JSON"),
        Problem(13, "not JSON"),
        Problem(14, "not JSON"),
    ]


def test_problems_of_a_file_of_rubbish_are_bounded() -> None:
    rows, problems = parse(b"\xff\xfe rubbish\n" * 5000)
    assert rows == []
    assert len(problems) == 21
    assert problems[-1] == Problem(0, "4980 more")


def test_invalid_utf8_costs_its_line_at_most() -> None:
    good = b'{"current_steps": 1, "epoch": 1.0, "loss": 1.0}\n'
    rows, problems = parse(good + b'{"current_steps": 2, "epoch": 1.0, "note": "\xff\xfe", "loss": 2.0}\n\xff\n' + good)
    assert [row.step for row in rows] == [1, 2, 1]
    assert problems == [Problem(3, "not JSON")]


def test_overlong_line_and_byte_order_mark() -> None:
    good = b'{"current_steps": 1, "epoch": 1.0, "loss": 1.0}\n'
    rows, problems = parse(b"\xef\xbb\xbf" + good + b'{"current_steps": "' + b"9" * 10_000_000 + b'"}\n' + good)
    assert len(rows) == 2
    assert [problem.line for problem in problems] == [2]


def test_empty_and_unfinished_files() -> None:
    assert parse(b"") == ([], [])
    parser = TrainerLogParser()
    assert parser.feed(b'{"current_steps": 1, "epoch": 1.0}') == []
    assert parser.take_problems() == []
    assert parser.feed(b"\n") == [LogRow("mark", 1, {}, None, 1.0)]


@pytest.mark.parametrize(
    "text", ["null", "true", '"x"', "[]", "{}", "1e400", "NaN", '{"current_steps": {}}', '{"": 1}']
)
def test_no_value_of_any_kind_raises(text: str) -> None:
    keys = (
        "current_steps",
        "step",
        "total_steps",
        "epoch",
        "elapsed_time",
        "loss",
        "throughput",
        "global_step/max_steps",
    )
    for key in keys:
        parse(f'{{"current_steps": 1, "epoch": 1.0, "loss": 1.0, "{key}": {text}}}\n')
        parse(f'{{"step": 1, "{key}": {text}}}\n')
    parse(text + "\n")


def test_many_shapes_of_rows() -> None:
    text = "".join(f'{{"current_steps": {n}, "epoch": 1.0, "m{n}": {n}.5}}\n' for n in range(1000))
    rows, problems = parse(text)
    assert problems == []
    assert [dict(row.values) for row in rows] == [{f"m{n}": n + 0.5} for n in range(1000)]
