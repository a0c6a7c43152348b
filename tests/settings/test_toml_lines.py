"""TOML and the line of each key, as users write it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.settings.toml_lines import KeyPath, TomlError, key_lines, parse


def lines_of(data: bytes) -> dict[KeyPath, int]:
    return key_lines(data, parse(data))


USUAL = b"""# a comment = 1
a.b = 1
[x]  # [y]
 y = [
  1,  # c = 2
  {z = "]}", w = 3},
]
"we ird" = 1
'lit' = { a = 1, b = [ 1, 2 ] }
[ p . q ]
r = 1
[x.t]
s = "[p]"
"""


def test_keys_as_users_write_them():
    assert lines_of(USUAL) == {
        ("a",): 2, ("a", "b"): 2, ("x",): 3, ("x", "y"): 4, ("x", "y", 0): 4, ("x", "y", 1): 4, ("x", "y", 1, "z"): 4,
        ("x", "y", 1, "w"): 4, ("x", "we ird"): 8, ("x", "lit"): 9, ("x", "lit", "a"): 9, ("x", "lit", "b"): 9,
        ("x", "lit", "b", 0): 9, ("x", "lit", "b", 1): 9, ("p",): 10, ("p", "q"): 10, ("p", "q", "r"): 11,
        ("x", "t"): 12, ("x", "t", "s"): 13,
    }  # fmt: skip


def test_lines_in_strings_are_no_keys():
    data = b'[ui]\ntext = """\nlang = 1\n[notify]\nbell = 1"""\nlang = "zh"\n[notify]\nbell = true\n'
    assert lines_of(data) == {("ui",): 1, ("ui", "text"): 2, ("ui", "lang"): 6, ("notify",): 7, ("notify", "bell"): 8}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('# """\n[notify]\non_event = """\nlang = "x"\n[ui]\nlang = "q"\n"""\n[ui]\nlang = "xx"\n', 9),
        ("# '''\n[notify]\non_event = '''\nlang = 1\n[ui]\nlang = 2\n'''\n[ui]\nlang = 3\n", 9),
        ('[notify]\non_event = """a \\""" b\n[ui]\nlang = "en"\n"""\n[ui]\nlang = "xx"\n', 7),
        ('a = "# \\" \'"  # """\n[ui]\nlang = "xx"\n', 3),
        ("a = '\"\"\"'\n[ui]\nlang = 'xx'\nb = '''\n[ui]\nlang = 1'''\n", 3),
    ],
)
def test_quotes_in_comments_and_strings_begin_no_string(text, line):
    assert lines_of(text.encode())["ui", "lang"] == line


def test_deep_tables_are_no_error():
    data = b"x = {" + b".".join([b"a"] * 3000) + b" = 1}\n"
    assert lines_of(data)["x", "a"] == 1


def test_no_line_rather_than_a_wrong_one():
    assert lines_of(b'[[p]]\nq = 1\n[[p]]\nq = 2\n"\\u0041" = 1\n') == {("p",): 1}
    assert lines_of(b"a = [\n[1],\n]\nb = 1\n") == {("a",): 1, ("a", 0): 1, ("a", 0, 0): 1, ("b",): 4}


def test_windows_line_ends_and_a_byte_order_mark():
    assert lines_of(b"\xef\xbb\xbfa = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}
    assert parse(b"\xef\xbb\xbfa = 1\r\n") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a = 1\nb =\n", 2), (b"a = 1\na = 2\n", 2), (b"[a]\n[a]\n", 2), (b"a = 1\n\nb = \xff\n", 3),
        (b"a = " + b"[" * 5000, None), (b"a = " + b"9" * 5000, None), (b"[ui]\nlang = zh\n", 2),
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
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {flat(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(flat, value)) + "]" if isinstance(value, list) else quoted(value)


def quoted(value):
    # JSON strings are TOML strings, except for the one control character that JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def paths(value, path):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*path, key))


@settings(max_examples=150)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), max_size=3), st.booleans())
def test_any_document(tables, apart):
    """Whatever the keys, a line that is found is that of the pair; for plain keys one is found."""
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
    found = key_lines(data, tables)
    assert found.items() <= wanted.items()
    assert all(path in found for path in wanted if all(isinstance(key, int) or key.isalnum() for key in path[:2]))
