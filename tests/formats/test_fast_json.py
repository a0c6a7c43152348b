"""The fast JSON reader for long files gives the same values as the careful one."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.formats.json_lines import load_json, load_json_fast, load_json_object
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.records.documents import FormatError, LogRow, TornError

NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: format(value, "f")),
    st.tuples(st.integers(0, 10**25), st.integers(-400, 400)).map(lambda both: f"{both[0]}e{both[1]}"),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


def exactly(value: object) -> object:
    """Return the value in a form that distinguishes types and bits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, dict):
        return [(key, exactly(item)) for key, item in value.items()]
    return [exactly(item) for item in value] if isinstance(value, list) else (type(value), value)


@settings(max_examples=500)
@given(NUMBERS)
def test_every_number_is_the_same_to_its_last_bit(text: str) -> None:
    assert exactly(load_json_fast(text.encode())) == exactly(load_json(text))


@settings(max_examples=300)
@given(VALUES)
def test_every_value_is_the_same(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        try:
            found = load_json_fast(text.encode("utf-8", "surrogatepass"))
        except ValueError:
            # Lone surrogates, which only the careful reader takes.
            assert any("\ud800" <= character <= "\udfff" for character in json.dumps(value, ensure_ascii=False))
            continue
        assert exactly(found) == exactly(load_json(text))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1}}', "[1,]", "{'a': 1}", "01", "-NaN", "\x00", "1" * 5000, '"\ud800"']
)
def test_what_it_does_not_take_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|EOF|expected"):
        load_json_fast(text.encode("utf-8", "surrogatepass"))


def long_log(count: int) -> list[str]:
    lines = []
    for step in range(1, count + 1):
        row = {"current_steps": step, "total_steps": count, "loss": 2.0 + 1 / step, "lr": 1e-4, "epoch": step / 500}
        lines.append(json.dumps(row))
    lines[5000] = lines[5000].replace('"loss": 2.0', '"loss": NaN, "was": 2.0')
    lines[5600] = '{"current_steps": 5601, "loss": "1.5", "note": "\\ud800", "lr": null}'
    lines[6200] = '{"current_steps": 6201, "loss": ' + "9" * 5000 + "}"
    lines[6800] = '{"current_steps": 6801, "loss": 1.0} {"current_steps": 1}'
    lines[7400] = '{"current_steps": 7401, "loss": [1, [2]]}'
    lines[8000] = '{"current_steps": 8001, "loss": 1e400, "lr": 1, "lr": 2}'
    return lines


def told(row: LogRow) -> tuple[object, ...]:
    return (row._replace(values={}), exactly(dict(sorted(row.values.items()))))


def test_a_long_log_is_read_as_many_short_ones() -> None:
    """A whole log, and each line in a log that never gets long, give the same rows and problems."""
    lines = long_log(9000)
    whole = TrainerLogParser()
    rows = list(whole.feed(("\n".join(lines) + "\n").encode()))
    apart = []
    troubles = []
    for number, line in enumerate(lines, 1):
        short = TrainerLogParser()
        apart += list(short.feed(f"{line}\n".encode()))
        troubles += [(number, problem.reason) for problem in short.take_problems()]
    assert list(map(told, rows)) == list(map(told, apart))
    assert [(problem.line, problem.reason) for problem in whole.take_problems()] == troubles
    assert troubles == [(6801, "not JSON")]
    assert [row.values.get("loss") for row in rows if row.step in (6201, 8001)] == [math.inf, math.inf]


def test_a_long_document() -> None:
    history = [{"step": step, "loss": 1 / step, "grad_norm": math.nan} for step in range(1, 8000)]
    text = json.dumps({"global_step": 8000, "log_history": history}, indent=2)
    data = text.encode()
    assert len(data) > 256 * 1024
    assert exactly(load_json_object(data, None)) == exactly(json.loads(text))
    assert exactly(load_json_object(b"\xef\xbb\xbf" + data + b"\n\0\0", None)) == exactly(json.loads(text))
    with pytest.raises(TornError, match="ends in the middle of a value at line"):
        load_json_object(data[:-100], None)
    with pytest.raises(FormatError, match="not JSON"):
        load_json_object(data.replace(b'"step": 4000', b'"step": x'), None)
    with pytest.raises(FormatError, match="not a JSON object"):
        load_json_object(json.dumps(history).encode(), None)
