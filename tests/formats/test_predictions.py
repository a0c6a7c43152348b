from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_tui.formats.predictions import PredictionsParser
from lora_tui.records.documents import Predictions, Problem

FILE = Path(__file__).parent.parent / "data" / "formats" / "sft" / "generated_predictions.jsonl"


def parse(data: bytes) -> tuple[Predictions, list[Problem]]:
    parser = PredictionsParser()
    assert parser.feed(data) == []
    return parser.snapshot(), parser.take_problems()


def test_real_predictions() -> None:
    records = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    found, problems = parse(FILE.read_bytes())
    assert problems == []
    assert found.count == len(records)
    assert found.empty == sum(not record["predict"].strip() for record in records)
    assert found.kind == "text"
    assert found.sample == {key: value[:500] for key, value in records[0].items()}


def test_byte_by_byte_is_the_same() -> None:
    data = FILE.read_bytes()
    parser = PredictionsParser()
    for index in range(len(data)):
        parser.feed(data[index : index + 1])
    assert parser.snapshot() == parse(data)[0]


def test_the_oldest_lines_have_no_prompt() -> None:
    found, _ = parse(b'{"label": "a", "predict": "b"}\n{"label": "c", "predict": "  "}\n')
    assert (found.count, found.empty, found.kind) == (2, 1, "text")
    assert found.sample == {"predict": "b", "label": "a"}


def test_no_final_newline() -> None:
    parser = PredictionsParser()
    parser.feed(b'{"prompt": "p", "label": "a", "predict": "b"}\n{"prompt": "q", "label": "", "predict": ""}')
    before = parser.snapshot()
    assert (before.count, before.empty, before.sample) == (2, 1, {"prompt": "p", "predict": "b", "label": "a"})
    assert [bad.line for bad in before.worst] == [2]
    assert parser.snapshot() is before
    parser.feed(b"\n")
    assert parser.snapshot() == before
    parser.feed(b'{"prompt": "q", "label": {}')
    assert parser.snapshot().count == 2
    assert parser.take_problems() == []


def test_reward_lines() -> None:
    found, _ = parse(b'{"chosen": 1.23, "rejected": -0.45}\n{"chosen": 2.0, "rejected": NaN}')
    assert found == Predictions(2, 0, "reward", {"chosen": "1.23", "rejected": "-0.45"})
    assert parse(b'{"chosen": 1.23, "rejected": -0.45}')[0].kind == "reward"


def test_sample_is_cut_and_encodable() -> None:
    record = {"prompt": "x" * 5000, "predict": "世" * 600, "label": "\ud800"}
    found, _ = parse(json.dumps(record).encode() + b"\n")
    assert found.sample == {"prompt": "x" * 500, "predict": "世" * 500, "label": "?"}


def test_empty_file() -> None:
    assert parse(b"") == (Predictions(), [])


def test_bad_lines_are_told_and_skipped() -> None:
    good = b'{"predict": "b"}\n'
    deep = b"[" * 200_000 + b"\n"
    found, problems = parse(
        good + b"nonsense\n[1]\n{}\n\n\xff\n" + deep + b'{"predict": "\xff"}\n' + b"x" * 5_000_000 + b"\n" + good
    )
    assert found.count == 3
    # A chunk is split before its lines are parsed, so that the overlong line is the first problem.
    assert problems == [
        Problem(9, "line longer than 4096 KiB"),
        Problem(2, "not JSON"),
        Problem(3, "not an object"),
        Problem(4, "not a prediction"),
        Problem(6, "not JSON"),
        Problem(7, "not JSON"),
    ]


@pytest.mark.parametrize("value", ["null", "7", "true", "[]", "{}"])
def test_other_values_than_text(value: str) -> None:
    found, _ = parse(b'{"prompt": null, "predict": %s, "label": []}\n' % value.encode())
    assert found.count == 1
    assert found.empty == (value in ("null", "[]", "{}"))


def lines(*records: dict[str, str]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def test_lengths_are_counted_by_the_character() -> None:
    found, _ = parse(lines({"predict": "世界", "label": "你好。\n"}, {"predict": "", "label": "abc"}))
    assert (found.characters, found.label_characters) == (2, 7)


def test_all_lines_are_judged_and_the_worst_are_kept() -> None:
    loop = "the same eight words come again and again " * 9
    prompt = "<s>[INST] Tell me about the sea [/INST]"
    records = [{"prompt": prompt, "predict": "The sea is wide.", "label": "Water."}] * 50
    records += [{"prompt": prompt, "predict": text, "label": "Water."} for text in ["", " ", "\n"]]
    records += [{"prompt": prompt, "predict": loop, "label": "Water."}]
    records += [{"prompt": prompt, "predict": "Tell me about the sea", "label": "Water."}]
    found, problems = parse(lines(*records))
    assert not problems
    assert (found.count, found.empty, found.repeats, found.echoes) == (55, 3, 1, 1)
    assert [(bad.line, bad.reason) for bad in found.worst] == [
        (51, "empty"), (52, "empty"), (54, "repeats"), (55, "echo"),
    ]  # fmt: skip
    assert found.worst[2].predict == loop[:200]


def test_what_is_kept_is_short_and_clean() -> None:
    record = {"prompt": "p" * 900 + "\ud800", "predict": "", "label": "x" * 900}
    bad = parse(json.dumps(record).encode() + b"\n")[0].worst[0]
    assert (bad.prompt, bad.label) == ("p" * 199 + "?", "x" * 200)


def test_open_ends_are_counted_by_length() -> None:
    ends = ["One two three four five", "It ends here.", "1. yes\n2. no", "这是一个没有说完的句子因为"]
    found, _ = parse(lines(*({"predict": text, "label": "So it is."} for text in ends)))
    assert sum(found.lengths.values()) == 4
    assert sum(found.open_ends.values()) == 3
    assert not found.open_labels


def test_memory_does_not_grow_with_the_file() -> None:
    parser = PredictionsParser()
    for number in range(5000):
        parser.feed(lines({"predict": "word " * (number % 700), "label": "x" * number}))
    found = parser.snapshot()
    assert found.count == 5000
    assert len(found.worst) <= 6
    assert max(len(found.lengths), len(found.open_ends), len(found.open_labels)) < 250
