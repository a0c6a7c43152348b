"""Time and memory of the parsers stay in proportion to the input, also for input that no producer would write."""

from __future__ import annotations

import json
import math
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_tui.formats import config_files, predictions, trainer_log
from lora_tui.formats import json_lines as lines
from lora_tui.formats.console.parser import ConsoleParser, looks_like_training_log
from lora_tui.formats.predictions import PredictionsParser
from lora_tui.formats.results import parse_results
from lora_tui.formats.secrets import mask_text
from lora_tui.formats.tensorboard import EventFileParser
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.records.documents import FormatError, LogRow
from lora_tui.records.rows import Block, Rows
from lora_tui.records.updates import FileRows
from lora_tui.runs.merged_series import MAX_SERIES
from lora_tui.runs.run import Run
from lora_tui.text.sanitize import clean
from tools.fuzz.tfrecord import framed_record


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak(work: Callable[[], object]) -> int:
    """Return the peak of allocated bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def console(line: str) -> None:
    ConsoleParser().feed(line.encode() + b"\n")


def yaml(data: str) -> None:
    try:
        config_files.parse_training_args(data.encode())
    except FormatError:
        pass


# -- texts that took minutes -----------------------------------------------------------------------------------------

SLOW: dict[str, Callable[[], object]] = {
    "a dict with a gap before its value": lambda: console("{'a':" + " " * 3000 + "("),
    "a dict with a gap behind its value": lambda: console("{'a': 1" + " " * 50_000 + "("),
    "a number in brackets": lambda: console("[INFO|x] >> epoch: 1, step: 1, loss: a(" + "x" * 60_000 + "(b)"),
    "a block's line of gaps": lambda: console("***** eval metrics *****\n  a" + " " * 60_000),
    "a traceback of paths": lambda: console(
        "Traceback (most recent call last):\n" + ("  " + 'File "' * 300 + "\n") * 100
    ),
    "an echo of hashes": lambda: predictions.echoes_prompt("question", "question" + "#" * 26 + "x", ""),
    "an echo of one letter": lambda: predictions.echoes_prompt("a" * 60_000 + "b" + "a" * 60_000, "a" * 500_000, ""),
    "a clock of many parts": lambda: yaml("a: 1" + ":1" * 100_000),
    "many declared tags": lambda: yaml("".join(f"%TAG !a{n}! x\n" for n in range(20_000)) + "---\na: 1"),
    "a maze of lists": lambda: yaml("a: " + "[" * 100_000),
    "a gap in a secret": lambda: mask_text(("token" + " " * 50) * 5000 + "--" + "token-" * 20_000),
}  # fmt: skip


HANGING_S = 10.0
"""CPU seconds: some hundred times what each text takes now, and a small part of what it once took."""


@pytest.mark.parametrize("name", SLOW)
def test_it_is_quick(name: str) -> None:
    assert cpu_s(SLOW[name]) < HANGING_S


# -- time grows as the input does ------------------------------------------------------------------------------------

Maker = Callable[[int], bytes]


def repeated(unit: str) -> Maker:
    return lambda size: (unit * (size // len(unit) + 1))[:size].encode()


def of_text(work: Callable[[bytes], object], *units: str) -> dict[str, tuple[Callable[[bytes], object], Maker]]:
    return {f"{unit[:20]!r}": (work, repeated(unit)) for unit in units}


def named(name: str, found: dict[str, tuple[Callable[[bytes], object], Maker]]) -> dict[str, Any]:
    return {f"{name} {unit}": item for unit, item in found.items()}


GROWING: dict[str, tuple[Callable[[bytes], object], Maker]] = {
    **named("console", of_text(
        lambda data: ConsoleParser().feed(data),
        "x", "{'", "{'a': 1, ", "{'loss': 1, 'epoch': 1}\n", "5%|", "\r  2%|x| 5/300 [00:26<25:00, 5.09s/it]", "\x1b[",
        "[INFO|", "[rank0]: ", " = ", "***** a metrics *****\n  a = 1\n", "Traceback (most recent call last)\n",
        '  File "', "epoch: 1, step: 1, ", "\n", "\r", "a: ", "a{'\n", "\0", "\ufffd",
    )),
    **named("log", of_text(
        lambda data: TrainerLogParser().feed(data),
        '{"step": 1, "loss": 1.5}\n', '{"step": 1, "a": "', "[", '{"a":', "9", "\n", '{"step": 1}, ', '"\\u0000',
    )),
    **named("predictions", of_text(
        lambda data: PredictionsParser().feed(data), '{"predict": "a b", "label": "c"}\n', "[", '{"predict": "', "##",
    )),
    **named("card", of_text(
        config_files.parse_model_card,
        "---\n", "- a: 1\n", "This model is a fine-tuned version of x on the ", "\n--- ", "- PEFT ", "on the ",
    )),
    **named("recognise", of_text(
        lambda data: looks_like_training_log(data, data),
        "[INFO|", "[INFO|a] 1111-11-11 1", "{'loss'", ">> epoch: 1", " - INFO - ",
    )),
    **named("clean", of_text(
        lambda data: clean(data.decode("utf-8"), None),
        "\x1b]", "\x1b[1", "\x9b1", "\x9d1;", "\x1b]\n", "\u0301", "\u200b", "\x1bP\x1b",
    )),
    **named("secrets", of_text(lambda data: mask_text(data.decode()), "api_key=a://b:c@d --token ", "token-", "://a")),
    "log of ever new names": (
        lambda data: TrainerLogParser().feed(data),
        lambda size: b"".join(b'{"step": 1, "a%d": 1}\n' % n for n in range(size // 24)),
    ),
    "events": (
        lambda data: EventFileParser().feed(data),
        lambda size: framed_record(b"\x10\x01\x2a\x0f\x0a\x0d\x0a\x06train/\x15\0\0\0\0\0") * (size // 40),
    ),
    "event of many parts": (
        lambda data: EventFileParser().feed(data), lambda size: framed_record(b"\x2a\x02\x0a\0" * (size // 4)),
    ),
    "state": (
        parse_trainer_state,
        lambda size: b'{"log_history": [' + b'{"step": 1, "loss": 1},' * (size // 23) + b"{}]}",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWING)
def test_eight_times_the_input_takes_no_square_of_the_time(name: str) -> None:
    """A square takes 64 times as long; a busy machine, which may double a CPU time, makes no 20 out of 8."""
    work, make = GROWING[name]

    def best(size: int) -> float:
        data = make(size)
        return min(cpu_s(lambda: work(data)) for _ in range(3))

    size = 50_000
    while best(size) < 0.05 and size < 100_000:
        size *= 2
    assert best(8 * size) - 0.02 <= 20 * best(size), size


# -- memory ----------------------------------------------------------------------------------------------------------


def test_rows_with_ever_new_names_take_no_square_of_memory() -> None:
    """As columns, 512 such rows would need 512 × 512 × 50 places."""
    wide = ({"step": step, **{f"m{step}-{n}": 1.5 for n in range(50)}} for step in range(1, 1025))
    log = b"".join(json.dumps(row).encode() + b"\n" for row in wide)
    parser = TrainerLogParser()
    rows = Rows()
    assert peak(lambda: rows.extend(parser.feed(log))) < 40 * len(log)
    assert len(rows) == 1024
    assert rows[1000].values["m1001-49"] == 1.5
    packed = [LogRow("train", step, {f"m{step}-{n}": 1.5 for n in range(50)}) for step in range(512)]
    assert Block.of(packed) is None
    assert Block.of([row._replace(values={"loss": 1.0}) for row in packed]) is not None


def test_a_run_has_so_many_metrics() -> None:
    rows = tuple(LogRow("train", step, {f"m{step}": 1.0, "loss": 2.0}) for step in range(1, 3 * MAX_SERIES))
    run = Run(Path("/x"))
    run.apply([FileRows("trainer_log.jsonl", "log", rows, 1e9)])
    assert len(run.series) == MAX_SERIES
    assert len(run.series["loss"]) == len(rows)


def test_a_row_of_a_hundred_thousand_keys_is_one_problem() -> None:
    wide = json.dumps({"current_steps": 1, **{f"k{n}": n for n in range(100_000)}}).encode()
    parser = TrainerLogParser()
    rows = parser.feed(wide + b'\n{"current_steps": 2, "loss": 1.0}\n')
    assert [row.step for row in rows] == [2]
    assert [(p.line, p.reason) for p in parser.take_problems()] == [(1, "more than 1000 values")]


def test_a_million_keys_are_one_problem() -> None:
    data = b"{" + b",".join(b'"k%d": 1' % n for n in range(1_000_000)) + b"}"
    with pytest.raises(FormatError, match="larger than 4096 KiB"):
        parse_results("eval_results.json", data)
    with pytest.raises(FormatError, match="larger than 4096 KiB"):
        config_files.parse_adapter_config(data)
    with pytest.raises(FormatError, match="more than 1000 values"):
        parse_results("eval_results.json", b"{" + b",".join(b'"k%d": 1' % n for n in range(2000)) + b"}")
    state = parse_trainer_state(b'{"global_step": 3, "log_history": [' + data + b', {"step": 1, "loss": 2}]}')
    assert [row.step for row in state.rows] == [1]


def test_a_console_log_has_so_many_blocks_and_numbers() -> None:
    parser = ConsoleParser()
    for n in range(3000):
        parser.feed(f"***** split{n} metrics *****\n  m{n} = 1\n".encode())
        parser.feed(f"{{'train_loss': 1.0, 'train_runtime': 2.0, 'm{n}': 1.0, 'epoch': 1.0}}\n".encode())
    results = parser.snapshot().results
    assert len(results) == 20
    assert len(results["train"]) <= 1000
    wide = ", ".join(f"k{n}: 1.0" for n in range(5000))
    assert parser.feed(f"[INFO|x.py:1] 2025-12-30 19:57:56,487 >> epoch: 0, step: 1, {wide}\n".encode()) == []


def test_an_event_file_has_so_many_tags() -> None:
    def scalar(tag: bytes) -> bytes:
        value = b"\x0a" + bytes([len(tag)]) + tag + b"\x15\0\0\x80\x3f"
        summary = b"\x0a" + bytes([len(value)]) + value
        return framed_record(b"\x10\x07\x2a" + bytes([len(summary)]) + summary)

    parser = EventFileParser()
    rows = [row for n in range(3000) for row in parser.feed(scalar(b"train/m%d" % n))]
    assert sum(len(row.values) for row in rows) == 1000
    assert parser.feed(scalar(b"train/m0"))[0].values == {"m0": 1.0}


@pytest.mark.parametrize("when", [math.nan, math.inf, -math.inf, 1e300, -1.0])
def test_a_wall_time_that_is_none_is_not_believed(when: float) -> None:
    value = b"\x0a\x0atrain/loss\x15\0\0\x80\x3f"
    summary = b"\x0a" + bytes([len(value)]) + value
    payload = b"\x09" + struct.pack("<d", when) + b"\x10\x07\x2a" + bytes([len(summary)]) + summary
    (row,) = EventFileParser().feed(framed_record(payload))
    assert (row.step, row.time) == (7, None)


@pytest.mark.parametrize("back", range(1, 40))
def test_a_length_below_zero_leads_nowhere(back: int) -> None:
    """A negative length once moved the reader backwards, for ever or to before the beginning."""
    below_zero = struct.pack("<B", (-back) & 0x7F | 0x80) + b"\xff" * 8 + b"\x01"
    for payload in (b"\x0a" + below_zero, b"\x2a\x0b\x0a" + below_zero, b"\x10\x01" * 15 + b"\x0a" + below_zero):
        parser = EventFileParser()
        assert parser.feed(framed_record(payload)) == []
        assert [problem.reason for problem in parser.take_problems()] == ["not an event: field longer than its message"]


def test_a_clock_is_read_alike_alone_and_among_many() -> None:
    for clock in (
        "0:00:09",
        "0:001:2",
        "1:-1:05",
        "0:00:-3",
        "0:-1:59",
        "0: 1: 2",
        "a:00:00",
        "0:00:0x",
        "9:99:99",
        "1 day, 0:08:23",
    ):
        line = json.dumps({"current_steps": 1, "loss": 1.5, "elapsed_time": clock}).encode() + b"\n"
        (alone,) = TrainerLogParser().feed(line)
        assert {row.elapsed_s for row in TrainerLogParser().feed(line * 200)} == {alone.elapsed_s}, clock


def test_a_nested_bar_is_one_wherever_its_mark_stands() -> None:
    log = b"5%||1/400 [0:02<]\r6%||4/400 [0:02\x1b[A<]"
    parser, other = ConsoleParser(), ConsoleParser()
    parser.feed(log)
    parser.feed(b"\r")
    other.feed(log + b"\r")
    assert parser.snapshot() == other.snapshot()


def test_steps_that_no_counter_holds_are_unknown() -> None:
    parser = ConsoleParser()
    head = "***** Running training *****\n  Num examples = 99999999999999999999\n  Num Epochs = 3\n"
    parser.feed(f"{head}  Total train batch size (w. parallel) = 1\n".encode())
    parser.feed(b"  Total optimization steps = 99999999999999999999\n{'eval_loss': 1.5, 'epoch': 2.0}\n")
    parser.feed(b"  Num update steps per epoch = 99999999999999999999\n{'loss': 1.5, 'grad_norm': 1.0, 'epoch': 3.0}\n")
    rows = [*parser.feed(b"{'eval_loss': 1.25, 'epoch': 2.0}\n"), *parser.feed(b"")]
    assert all(row.step is None for row in rows)
    assert parser.snapshot().total_steps is None
    head = "***** Running training *****\n  Num update steps per epoch = 9999999999999999\n"
    for row in ConsoleParser().feed(f"{head}{{'eval_loss': 1.5, 'epoch': 2.0}}\n".encode() * 2):
        assert row.step is None


def test_no_long_clock_is_remembered() -> None:
    """The cache of clocks is shared by all files and must not keep megabytes of text between days and hours."""
    clocks = [f"1 {place}{'x' * 1000}, 0:00:09" for place in range(200)]
    lines = [json.dumps({"current_steps": 1, "loss": 1.5, "elapsed_time": clock}).encode() + b"\n" for clock in clocks]
    assert {row.elapsed_s for row in TrainerLogParser().feed(b"".join(lines))} == {86409.0}
    assert max(map(len, trainer_log._HOURS_AND_MINUTES), default=0) < 30


# -- numbers and nesting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "9" * 100_000, "0." + "1" * 100_000, "1" + "0" * 5000 + ".5", "-0"]
)
def test_any_number_is_one(number: str) -> None:
    value = lines.load_json(f"[{number}]")
    assert isinstance(value, list)
    assert isinstance(lines.as_number(value[0]), float)
    (row,) = TrainerLogParser().feed(f'{{"current_steps": 1, "loss": {number}}}\n'.encode())
    assert isinstance(row.values["loss"], float)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"log_history": [', '[{"a": '])
def test_a_hundred_thousand_brackets(opening: str) -> None:
    deep = opening * 100_000
    parsers = (
        parse_trainer_state, config_files.parse_adapter_config, config_files.parse_training_args,
        config_files.parse_llamaboard_config, lambda found: parse_results("eval_results.json", found),
    )  # fmt: skip
    for data in (deep, '{"a": ' + deep):
        for parse in parsers:
            with pytest.raises(FormatError):
                parse(data.encode())
        for parser in (TrainerLogParser(), PredictionsParser()):
            assert not parser.feed(data.encode() + b"\n")
            assert [problem.reason for problem in parser.take_problems()] == ["not JSON"]


def test_of_a_key_that_is_there_twice_the_last_is_meant() -> None:
    (row,) = TrainerLogParser().feed(b'{"current_steps": 1, "loss": 1, "loss": 2, "current_steps": 3}\n')
    assert (row.step, row.values["loss"]) == (3, 2.0)


def test_two_values_in_one_line_are_none_whatever_stands_beside() -> None:
    """Decoded together with its neighbours, such a line could complete the next one."""
    log = b'{"step":1,"loss":1},{"step":2,"a":[{}\n{}]}\n'
    parser = TrainerLogParser()
    assert list(parser.feed(log)) == []
    assert [problem.reason for problem in parser.take_problems()] == ["not JSON"] * 2
    log = b'{"step":1},{"step":2}\n{"step":3, "x}\n{":1}\n'
    assert list(TrainerLogParser().feed(log)) == []


# -- YAML ------------------------------------------------------------------------------------------------------------


def test_aliases_do_not_multiply() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert peak(lambda: config_files.parse_training_args(bomb.encode())) < 20_000_000
    assert config_files.parse_training_args(bomb.encode()).values["a0"] == ("x", "x")
    with pytest.raises(FormatError, match="merge"):
        config_files.parse_training_args(b"a: &a {x: 1}\nb: {<<: *a}\n")
    assert config_files.parse_training_args(b"a: &a [1, *a]\nlearning_rate: 1\n").values == {"learning_rate": 1}


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch {mark}']", "!!python/object/new:pathlib.Path ['{mark}']",
     "!!python/name:os.system ''", "!!python/module:os ''", "!!python/tuple [1]", "!other x",
     "!<tag:yaml.org,2002:x> y"],
)  # fmt: skip
def test_a_tag_makes_no_object(tag: str, tmp_path: Path) -> None:
    mark = tmp_path / "made"
    for template in ("a: {}\n", "- {}\n", "? {}\n: 1\n"):
        with pytest.raises(FormatError):
            config_files.parse_training_args(template.format(tag.format(mark=mark)).encode())
    assert not mark.exists()
