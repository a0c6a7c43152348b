"""Text from files cannot create Markdown: the report of hostile files has the structure of a harmless one."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lora_tui.analysis import Finding
from lora_tui.i18n import Words
from lora_tui.report.render import markdown
from lora_tui.report.render.markdown import code, data, escape, prose
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import finding_texts
from tests.report import hostile, seeds

GITHUB = MarkdownIt("gfm-like", {"html": True, "linkify": True})
"""A parser of GitHub's dialect: tables, strike-through, bare addresses as links, HTML."""


def tokens(text):
    for token in GITHUB.parse(text):
        yield token
        yield from token.children or ()


def shape(text):
    """Count the elements of each kind, without texts and code. A soft break would be a line that is not ours."""
    return Counter(token.type for token in tokens(text) if token.type not in ("text", "code_inline", "text_special"))


def shown(text):
    """Return the text that a reader sees of one line."""
    return "".join(token.content for token in tokens(text) if token.type in ("text", "code_inline", "text_special"))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("text", hostile.TEXTS)
def test_hostile_files_change_nothing_but_words(report, tmp_path, lang, text):
    harmless = markdown.render(report(hostile.write(tmp_path / "name", "plain"), lang), Words(lang))
    made = markdown.render(report(hostile.write(tmp_path / "other", text), lang), Words(lang))
    forbidden = {"html_inline", "html_block", "link_open", "image", "footnote_ref", "s_open", "em_open"}
    assert {token.type for token in tokens(made)} & forbidden == set()
    differences = shape(made)
    differences.subtract(shape(harmless))
    # The parsers leave out keys that are no option and no metric, and repeated keys.
    assert {
        kind for kind, count in differences.items() if count and not kind.startswith(("tr_", "td_", "inline"))
    } == set()
    for char in "\x1b\u202e\u2066\u200b\ufeff":
        assert char not in made


@pytest.mark.parametrize("text", hostile.TEXTS)
@pytest.mark.parametrize("way", [escape, data, code])
@pytest.mark.parametrize("place", ["{}", "- {}", "| {} | x |", "**{}**"])
def test_each_escaping_function_alone(text, way, place):
    line = place.format(way(text))
    if place.startswith("|"):
        line = "| a | b |\n| --- | --- |\n" + "\n".join(markdown.table(("a", "b"), [(way(text), "x")])[2:])
    kinds = shape(line)
    if way is not escape:
        # data() takes care of bare addresses.
        assert not {"link_open", "image"} & set(kinds)
    assert not {"html_inline", "html_block", "heading_open", "fence", "hr", "em_open", "s_open"} & set(kinds)
    assert kinds["paragraph_open"] == (0 if place.startswith("|") else 1)
    assert kinds["bullet_list_open"] == place.startswith("-")
    assert kinds["td_open"] == (2 if place.startswith("|") else 0)
    assert kinds["strong_open"] == place.startswith("**")


@given(st.text(max_size=60))
@settings(max_examples=400)
def test_any_text_stays_one_paragraph_of_plain_text(text):
    for way in (escape, data, code):
        kinds = set(shape(way(text))) - {"inline", "paragraph_open", "paragraph_close"}
        assert kinds <= ({"link_open", "link_close"} if way is escape else set())


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=40))
@settings(max_examples=300)
def test_escaped_text_is_shown_unchanged(text):
    wanted = re.sub(r"\s+", " ", clean(text, None)).strip()
    if wanted:
        assert re.sub(r"\s+", " ", shown(escape(text))).strip() == wanted


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.6679", "1.6679"),
        ("-0.6 %", "-0.6 %"),
        ("+4.6 %", "+4.6 %"),
        ("2. step", "2\\. step"),
        ("- item", "\\- item"),
        ("max_grad_norm", "max_grad_norm"),
        ("_x_", "\\_x\\_"),
        ("a | b", "a \\| b"),
        ("★! BLEU-4", "★! BLEU-4"),
        ("![x]", "\\!\\[x\\]"),
    ],
)
def test_nothing_is_escaped_without_need(text, written):
    assert escape(text) == written


def test_only_our_own_backticks_mark_code():
    assert prose("set `val_size: 0.05` and `eval_steps`") == "set `val_size: 0.05` and `eval_steps`"
    assert prose("one ` alone <b>") == "one \\` alone \\<b\\>"
    assert shape(prose("`<b>` <b>")) == shape("x `y`")


def test_a_fence_is_longer_than_any_in_its_text():
    lines = markdown.fence("a\n````\nb")
    assert lines[0] == "`````"
    assert [token.type for token in GITHUB.parse("\n".join(lines))] == ["fence"]


def test_tables_headings_and_lists_are_well_formed(report, tmp_path):
    made = markdown.render(report(seeds.write_summary(tmp_path)), Words("en"))
    kinds = shape(made)
    assert kinds["h1_open" if "h1_open" in kinds else "heading_open"] > 10
    assert kinds["table_open"] >= 5
    assert kinds["fence"] >= 5
    columns = {"| --- | --- |": 2, "| --- | --- | --- |": 3, "| --- | --- | --- | --- |": 4}
    for line, before in zip(made.splitlines()[1:], made.splitlines(), strict=False):
        if line in columns:
            assert before.count(" | ") == columns[line] - 1


def test_values_that_are_not_finite_are_not_drawn(report, copy_run):
    for name in ("lora/diverged", "lora/diverged-nan-nofilter"):
        made = markdown.render(report(copy_run(name)), Words("en"))
        assert "NaN" in made


def test_a_message_inside_a_finding_is_quoted_once():
    words = Words("en")
    message = Finding(
        "failed", "critical", 5, evidence={"message": "bad `x` <b>", "at": 5, "checkpoint": "a@b c~d", "lost": 2}
    )
    text, advice = finding_texts(words, message)
    assert text.endswith("`bad 'x' <b>`")
    assert "`resume_from_checkpoint: a@b c~d`" in advice
    assert text.count("`") % 2 == advice.count("`") % 2 == 0
