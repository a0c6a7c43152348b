from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.formats.tensorboard import EventFileParser, masked_crc32c
from lora_tui.records.documents import ConfigDoc, LogRow

# Event files of real jobs; NAME.json has their scalars [tag, step, value, wall time], read with tensorboard 2.21.
DATA = Path(__file__).parent.parent / "data" / "tfevents"
NAMES = sorted(path.stem for path in DATA.glob("*.json"))
PREFIX = "events.out.tfevents."
DROPPED = {"train_runtime", "train_tokens_per_second"}
SUMMARY = {"train_loss", "total_flos", "train_samples_per_second", "train_steps_per_second"}


def load(name: str) -> bytes:
    return (DATA / f"{PREFIX}{name}").read_bytes()


def parse(*chunks: bytes) -> tuple[list[LogRow], EventFileParser]:
    parser = EventFileParser()
    rows: list[LogRow] = []
    for chunk in chunks:
        rows.extend(parser.feed(chunk))
    return rows, parser


def merged(rows: list[LogRow]) -> list[tuple[object, ...]]:
    """Join the partial rows of each event; the first of them has the time."""
    out: list[LogRow] = []
    for row in rows:
        last = out[-1] if out else None
        if (
            last is not None
            and (last.kind, last.step) == (row.kind, row.step)
            and last.values.keys().isdisjoint(row.values)
        ):
            epoch = row.epoch if last.epoch is None else last.epoch
            out[-1] = last._replace(values={**last.values, **row.values}, epoch=epoch)
        else:
            out.append(row._replace(values=dict(row.values)))
    return [tuple(map(repr, row)) for row in out]


# -- a writer of the format, by its specification ---------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    value &= (1 << 64) - 1
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def chunk(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def record(payload: bytes) -> bytes:
    head = struct.pack("<Q", len(payload))
    return head + struct.pack("<I", masked_crc32c(head)) + payload + struct.pack("<I", masked_crc32c(payload))


def event(values: bytes, step: int = 0, time: float = 1.5) -> bytes:
    return record(b"\x09" + struct.pack("<d", time) + b"\x10" + varint(step) + chunk(5, values))


def scalar(tag: str, value: float) -> bytes:
    return chunk(1, chunk(1, tag.encode()) + b"\x15" + struct.pack("<f", value))


def tensor(tag: str, content: bytes) -> bytes:
    return chunk(1, chunk(1, tag.encode()) + chunk(8, content))


def log(step: int, **values: float) -> bytes:
    return b"".join(event(scalar(tag.replace("__", "/"), value), step) for tag, value in values.items())


# -- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_scalar_of_a_real_file_is_in_a_row(name: str) -> None:
    rows, parser = parse(load(name))
    expected = json.loads((DATA / f"{name}.json").read_text())
    assert parser.take_problems() == []
    assert [row.time for row in rows] == sorted(row.time for row in rows if row.time is not None)
    by_step: dict[int | None, list[LogRow]] = {}
    for row in rows:
        by_step.setdefault(row.step, []).append(row)
    used = 0
    closed = False
    for tag, step, value, time in expected:
        group, _, key = tag.partition("/")
        here = by_step[step]
        if key in DROPPED | SUMMARY:
            assert not any(key in row.values for row in rows)
            closed = closed or key == "train_loss"
            continue
        if key == "epoch":
            assert any(row.epoch == value for row in here)
            continue
        if closed:
            # The token count belongs to the summary, whose row has no values.
            assert key == "num_input_tokens_seen"
            continue
        key = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}.get(key, key)
        found = [row for row in here if (key if group == "train" else f"eval_{key}") in row.values]
        assert found
        used += 1
        stored = [row.values[key if group == "train" else f"eval_{key}"] for row in found]
        assert value in stored or any(math.isnan(one) for one in stored)
        assert any(row.time is not None and 0 <= time - row.time < 0.1 for row in found)
    assert sum(len(row.values) for row in rows) == used
    losses = [row for row in rows if row.kind == "train"]
    assert len(losses) == sum(tag == "train/loss" for tag, *_ in expected)
    assert sum(row.kind == "eval" for row in rows) == sum(tag == "eval/runtime" for tag, *_ in expected)
    assert sum(row.kind == "mark" for row in rows) == sum(tag == "train/train_loss" for tag, *_ in expected)
    assert all(row.epoch is not None and row.total_steps is None and row.elapsed_s is None for row in rows)


def test_kinds_names_and_the_summary() -> None:
    rows, _ = parse(load("sft-tf4"))
    assert [(row.kind, row.step) for row in rows[-3:]] == [("train", 200), ("eval", 200), ("mark", 200)]
    assert set(rows[0].values) == {"loss", "grad_norm", "lr", "total_tokens"}
    assert set(rows[-2].values) == {
        "eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "total_tokens",
    }  # fmt: skip
    assert not rows[-1].values
    assert rows[-1].epoch is not None


def test_not_a_number_is_a_value() -> None:
    rows, _ = parse(load("nan"))
    assert any(math.isnan(row.values["grad_norm"]) for row in rows if row.kind == "train")
    assert any(math.isnan(row.values["eval_loss"]) for row in rows if row.kind == "eval")


def test_training_arguments() -> None:
    _, parser = parse(load("sft-tf4"))
    config = parser.snapshot()
    assert isinstance(config, ConfigDoc)
    values = config.values
    assert values["output_dir"] == "saves/qwen2-0.5b/lora/sft-tf4"
    assert values["per_device_train_batch_size"] == 4
    assert values["learning_rate"] == 0.003
    assert values["bf16"] is False
    assert values["hub_token"] == "***"
    assert values["model_type"] == "qwen2"
    assert values["vocab_size"] == 1088
    assert values["num_hidden_layers"] == 2
    assert values["hidden_size"] == 96
    assert "architectures" not in values
    assert "report_to" not in values


def test_no_arguments_no_snapshot() -> None:
    assert parse(load("final-eval"))[1].snapshot() is None


# -- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte_gives_the_same_rows_in_parts(name: str) -> None:
    data = load(name)
    whole, parser = parse(data)
    parts, other = parse(*[data[i : i + 1] for i in range(len(data))])
    assert merged(parts) == merged(whole)
    assert other.snapshot() == parser.snapshot()
    assert other.take_problems() == []


@pytest.mark.parametrize("name", NAMES)
def test_random_chunks_give_the_same_rows(name: str) -> None:
    data = load(name)
    chance = random.Random(7)
    for _ in range(20):
        cuts = sorted(chance.randrange(len(data)) for _ in range(30))
        chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert merged(parse(*chunks)[0]) == merged(parse(data)[0])


def test_a_file_cut_at_any_byte_waits_for_the_rest() -> None:
    data = load("final-eval")
    for cut in range(len(data)):
        rows, parser = parse(data[:cut])
        assert parser.take_problems() == []
        rows += parser.feed(data[cut:])
        assert merged(rows) == merged(parse(data)[0])


def test_a_row_in_two_feeds_keeps_its_kind() -> None:
    first = log(5, eval__loss=1.0)
    rows, parser = parse(first)
    assert [(row.kind, dict(row.values), row.epoch) for row in rows] == [("eval", {"eval_loss": 1.0}, None)]
    rows = parser.feed(log(5, train__epoch=0.5))
    assert [(row.kind, dict(row.values), row.epoch) for row in rows] == [("eval", {}, 0.5)]
    assert parser.feed(b"") == []


# -- grouping ---------------------------------------------------------------------------------------------------------


def kinds(data: bytes) -> list[tuple[str, int | None, dict[str, float], float | None]]:
    return [(row.kind, row.step, dict(row.values), row.epoch) for row in parse(data)[0]]


def test_train_eval_and_summary_of_one_step() -> None:
    data = log(10, train__loss=1, train__grad_norm=2, train__learning_rate=0.5, train__epoch=1, train__train_runtime=7)
    data += log(10, eval__loss=3, train__kl=4, eval__runtime=5, train__epoch=1)
    data += log(10, train__train_runtime=8, train__train_samples_per_second=9, train__total_flos=9, train__train_loss=9)
    data += log(10, train__epoch=1)
    assert kinds(data) == [
        ("train", 10, {"loss": 1, "grad_norm": 2, "lr": 0.5}, 1.0),
        ("eval", 10, {"eval_loss": 3, "kl": 4, "eval_runtime": 5}, 1.0),
        ("mark", 10, {}, 1.0),
    ]


def test_summary_right_behind_a_train_row() -> None:
    data = log(10, train__loss=1, train__epoch=1)
    data += log(10, train__train_runtime=8, train__train_samples_per_second=9, train__train_loss=9, train__epoch=1)
    assert [row[:3] for row in kinds(data)] == [("train", 10, {"loss": 1}), ("mark", 10, {})]


def test_equal_steps_of_two_rows() -> None:
    data = log(5, train__loss=1, train__epoch=1) * 2
    assert [row[:3] for row in kinds(data)] == [("train", 5, {"loss": 1})] * 2


def test_a_train_row_behind_an_evaluation_of_the_same_step_that_begins_with_the_epoch() -> None:
    data = log(10, eval__loss=3, train__epoch=1) + log(10, train__epoch=1, train__loss=1)
    assert kinds(data) == [("eval", 10, {"eval_loss": 3}, 1.0), ("train", 10, {"loss": 1}, 1.0)]


def test_tags_of_trl_ppo_stay_as_they_are() -> None:
    data = log(3, objective__kl=1, ppo__loss__total=2, env__reward_mean=3)
    assert kinds(data) == [("train", 3, {"objective/kl": 1, "ppo/loss/total": 2, "env/reward_mean": 3}, None)]


def test_accuracy_of_pairs() -> None:
    rows, _ = parse(event(scalar("train/rewards/accuracies", 0.5), 1))
    assert rows[0].values == {"rewards/accuracies": 0.5, "accuracy": 0.5}


def test_several_values_in_one_event_and_scalars_as_tensors() -> None:
    values = scalar("train/loss", 1) + tensor("train/a", b"\x08\x01" + chunk(5, struct.pack("<f", 2)))
    values += tensor("train/b", b"\x08\x02" + chunk(4, struct.pack("<d", 3)))
    values += tensor("train/c", b"\x08\x02" + chunk(6, struct.pack("<d", 4))) + tensor("train/d", b"\x08\x03\x38\x05")
    values += tensor("train/words", b"\x08\x07" + chunk(8, b"text"))
    rows, parser = parse(event(values, 7, 12.25))
    assert rows == [LogRow("train", 7, {"loss": 1, "a": 2, "b": 3, "c": 4, "d": 5}, None, None, None, 12.25)]
    assert parser.take_problems() == []


# -- damage -----------------------------------------------------------------------------------------------------------


def test_known_checksums() -> None:
    # RFC 3720 B.4: 32 zero bytes have CRC-32C 0x8a9136aa.
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("where", [0, 9, 14, -2])
def test_a_wrong_checksum_ends_the_reading(where: int) -> None:
    good = log(1, train__loss=1)
    bad = bytearray(log(2, train__loss=2))
    bad[where] ^= 0x10
    rows, parser = parse(good + bytes(bad), log(3, train__loss=3))
    assert [row.step for row in rows] == [1]
    (problem,) = parser.take_problems()
    assert problem.line == 0
    assert "checksum" in problem.reason
    assert parser.feed(log(4, train__loss=4)) == []
    assert parser.take_problems() == []


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", chunk(5, b"\x0a\x05a"), chunk(5, chunk(1, b"\x0a\x7f"))]
)
def test_a_damaged_event_is_a_problem_and_skipped(payload: bytes) -> None:
    rows, parser = parse(record(payload) + log(3, train__loss=3))
    assert [row.step for row in rows] == [3]
    assert len(parser.take_problems()) == 1


def test_a_text_that_is_no_json_is_a_problem() -> None:
    _, parser = parse(event(tensor("args/text_summary", b"\x08\x07" + chunk(8, b"{"))))
    assert parser.snapshot() is None
    assert len(parser.take_problems()) == 1


def test_large_records_are_skipped_without_holding_them() -> None:
    size = 5 * 1024 * 1024
    data = record(bytes(size))
    parser = EventFileParser()
    for start in range(0, len(data), 65536):
        assert parser.feed(data[start : start + 65536]) == []
        assert len(parser._data) < 70000
    assert [row.step for row in parser.feed(log(3, train__loss=3))] == [3]
    assert parser.take_problems() == []


def test_other_files() -> None:
    rows, parser = parse(b"this is no event file at all, not at all")
    assert rows == []
    assert len(parser.take_problems()) == 1
    assert parse(b"")[0] == []


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 2**64 - 1))
def test_any_content_of_valid_records_never_raises(payloads: list[bytes], step: int) -> None:
    data = b"".join(record(one) for one in payloads)
    data += b"".join(event(chunk(1, chunk(1, b"train/loss") + one), step) for one in payloads)
    _, parser = parse(data + log(3, train__loss=3))
    assert parser.feed(log(9, train__loss=1))[-1].step == 9


def test_tensors_that_are_no_scalar_and_more_ways_to_write_one() -> None:
    values = tensor("train/int64", b"\x08\x09" + chunk(10, varint(5))) + tensor("train/one", b"\x08\x09\x50\x07")
    values += tensor("train/content", b"\x08\x03" + chunk(4, struct.pack("<i", -3)))
    values += tensor("train/many", b"\x08\x09" + chunk(10, varint(5) + varint(6)))
    values += tensor("train/half", b"\x08\x01" + chunk(5, b"\0\0")) + tensor("train/none", b"")
    rows, parser = parse(event(values, 7, 12.25))
    assert [row.values for row in rows] == [{"int64": 5, "one": 7, "content": -3}]
    assert parser.take_problems() == []


def test_a_job_has_so_many_arguments() -> None:
    options = json.dumps({f"option_{place}": place for place in range(2000)}).encode()
    _, parser = parse(event(tensor("args/text_summary", b"\x08\x07" + chunk(8, options))))
    assert [problem.reason for problem in parser.take_problems()] == ["args/text_summary: more than 1000 values"]
    assert parser.snapshot() is None
