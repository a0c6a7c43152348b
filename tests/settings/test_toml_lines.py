"""The line of every key, in every way in which TOML can write one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.settings.toml_lines import TomlError, key_lines, parse

EVERYTHING = b'''# a comment = 1
a.b = 1
[x]
y = [1,
  2, # c ]
  {z = "]}", w.q = 3},
]
"we ird\\u0041" = """
a = 1
"quote"""" 
[[p]]
q = 1
[p.r]
s = 1
[[p]]
q = 2
[[p.t]]
u = \'\'\'
x = 1\'\'\'
v = 2020-01-01 10:00:00 # hi
w = { a = 1, b = [ 1, 2 ] }
'''  # noqa: W291


def test_every_way_to_write_a_key():
    assert key_lines(EVERYTHING) == {
        ("a",): 2, ("a", "b"): 2, ("x",): 3, ("x", "y"): 4, ("x", "y", 0): 4, ("x", "y", 1): 5, ("x", "y", 2): 6,
        ("x", "y", 2, "z"): 6, ("x", "y", 2, "w"): 6, ("x", "y", 2, "w", "q"): 6, ("x", "we irdA"): 8,
        ("p",): 11, ("p", 0): 11, ("p", 0, "q"): 12, ("p", 0, "r"): 13, ("p", 0, "r", "s"): 14, ("p", 1): 15,
        ("p", 1, "q"): 16, ("p", 1, "t"): 17, ("p", 1, "t", 0): 17, ("p", 1, "t", 0, "u"): 18,
        ("p", 1, "t", 0, "v"): 20, ("p", 1, "t", 0, "w"): 21, ("p", 1, "t", 0, "w", "a"): 21,
        ("p", 1, "t", 0, "w", "b"): 21, ("p", 1, "t", 0, "w", "b", 0): 21, ("p", 1, "t", 0, "w", "b", 1): 21,
    }  # fmt: skip


def test_windows_line_ends_and_a_byte_order_mark():
    assert key_lines(b"\xef\xbb\xbfa = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}
    assert parse(b"\xef\xbb\xbfa = 1\r\n") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a = 1\nb =\n", 2), (b"a = 1\na = 2\n", 2), (b"[a]\n[a]\n", 2), (b"a = 1\n\nb = \xff\n", 3),
        (b"a = " + b"[" * 5000, 1), (b"[ui]\nlang = zh\n", 2),
    ],
)  # fmt: skip
def test_what_is_no_toml(data, line):
    with pytest.raises(TomlError) as caught:
        parse(data)
    assert caught.value.line == line
    assert "line" not in str(caught.value)


KEYS = st.text(min_size=1, max_size=4)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def flat(value):
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {flat(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(flat, value)) + "]" if isinstance(value, list) else quoted(value)


def quoted(value):
    # JSON's strings are TOML's too, but for the one control character that it does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def paths(value, path):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*path, key))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), max_size=3), st.booleans())
def test_any_document(tables, apart):
    """Written with one pair a line, each value's path has the line of its pair."""
    wanted, lines = {}, []
    for name, table in tables.items():
        lines.append(f"[{quoted(name)}]" + (" # = [" if apart else ""))
        wanted[name,] = len(lines)
        for key, value in table.items():
            if apart:
                lines.append("")
            lines.append(f"{quoted(key)} = {flat(value)}")
            for path in paths(value, (name, key)):
                wanted[path] = len(lines)
    data = "\n".join(lines).encode()
    assert parse(data) == tables
    assert key_lines(data) == wanted
