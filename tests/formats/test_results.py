from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lora_tui.formats.results import parse_results
from lora_tui.records.documents import FormatError, TornError

DATA = Path(__file__).parent.parent / "data" / "formats"
FILES = sorted(DATA.glob("*/*_results.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_results_say_what_the_file_says(path: Path) -> None:
    results = parse_results(path.name, path.read_bytes())
    assert results.split == path.name.partition("_")[0]
    assert repr(dict(results.values)) == repr(json.loads(path.read_bytes()))


def test_there_are_results_of_every_split() -> None:
    assert {path.name.partition("_")[0] for path in FILES} == {"train", "eval", "predict", "all"}


def test_only_numbers_stay() -> None:
    data = b'{"a": 1, "b": "2.5", "c": null, "d": true, "e": [1], "f": NaN, "g": 1e400, "h": "x", "\\ud800": 1}'
    values = parse_results("eval_results.json", data).values
    assert math.isnan(values["f"])
    assert {key: value for key, value in values.items() if key != "f"} == {"a": 1, "b": 2.5, "g": math.inf, "?": 1}
    assert isinstance(values["a"], int)


def test_huge_integers_are_infinite() -> None:
    assert parse_results("all_results.json", b'{"a": 1' + b"0" * 400 + b"}").values == {"a": math.inf}
    text = '{"a": 1' + "0" * 400 + ', "b": 9' + "9" * 6000 + ', "c": 46727390105638500000}'
    values = parse_results("all_results.json", text.encode()).values
    assert values == {"a": math.inf, "b": math.inf, "c": 4.67273901056385e19}


def test_every_prefix_is_torn() -> None:
    data = (DATA / "sft" / "all_results.json").read_bytes()
    for end in range(len(data)):
        with pytest.raises(TornError):
            parse_results("all_results.json", data[:end])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("eval_results.json", b"[]"),
        ("eval_results.json", b'{"a" 1}'),
        ("results.json", b"{}"),
        ("x/eval_results.json", b"{}"),
    ],
)
def test_not_results(name: str, data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_results(name, data)
