import re
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter

import pytest

import lora_tui
from lora_tui.analysis.findings.find import CODES
from lora_tui.i18n import LANGUAGES, Words
from tools import catalogues
from tools.catalogues import CatalogueError, compiled, main, messages, parts, read

WIDE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
LATIN = re.compile(r"[A-Za-z][A-Za-z0-9]+")
# Words that stay in Latin letters in Chinese text, besides names of options and programs.
ALLOWED = {
    "loss", "lora", "tui", "ppl", "bleu", "rouge", "epoch", "batch", "lr", "kl", "nan", "reward", "margin", "tokens",
    "token", "tok", "tab", "esc", "eval", "dpo", "kto", "beta", "gpu", "nccl", "ssh", "torchrun", "nohup", "tmux",
    "ctrl", "jsonl", "json", "log", "ln", "exp", "dropout", "nats", "english", "llamafactory", "llama", "factory",
    "inf", "grad", "norm", "checkpoint", "bf16", "qlora", "train", "results", "predict", "trainer", "state",
    "predictions", "generated", "console", "status", "follow", "watch", "set", "clipboard", "on", "app", "name",
    "max", "number", "transformers", "trl", "unsloth", "instructgpt", "without", "regret", "thinking", "machines",
    "config", "toml", "rank", "cosine", "html", "sft", "pt", "rm", "ppo", "orpo", "simpo", "grpo",
    "deepspeed", "dora", "fp16", "ipo", "jieba", "llamaboard", "logits", "nltk", "oft", "pytorch", "sacrebleu",
    "sigmoid", "tensorboard", "windows", "zero",
}  # fmt: skip


def texts(lang):
    """Key -> forms of all messages of a language."""
    return messages(read(parts(lang)))


def fields(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_same_keys_and_plurals():
    en, zh = (read(parts(lang)) for lang in LANGUAGES)
    assert messages(en).keys() == messages(zh).keys()
    plural = {message.id[0] for message in en if message.pluralizable}
    assert plural == {message.id[0] for message in zh if message.pluralizable}
    for key in plural:
        assert len(messages(en)[key]) == 2, key
        assert len(messages(zh)[key]) == 1, key


def test_same_order():
    assert [part.name for part in parts("en")] == [part.name for part in parts("zh")]
    assert list(texts("en")) == list(texts("zh"))


def test_same_placeholders():
    en, zh = texts("en"), texts("zh")
    for key in en:
        if key:
            wanted = set().union(*(fields(form) for form in en[key]))
            assert set().union(*(fields(form) for form in zh[key])) == wanted, key


@pytest.mark.parametrize("lang", LANGUAGES)
def test_nothing_is_empty(lang):
    for key, forms in texts(lang).items():
        assert all(forms), key
        assert all(form == form.strip() or key == "list.separator" for form in forms
                   if key), key  # fmt: skip


def test_no_chinese_in_english():
    for key, forms in texts("en").items():
        if key != "keys.language":
            assert not any(WIDE.search(form) for form in forms), key


def test_no_english_left_in_chinese():
    for key, (form, *_) in texts("zh").items():
        if not key or key.startswith(("unit.", "app.name")) or key.endswith((".cosine",)):
            continue
        bare = re.sub(r"\{[^}]*\}|`[^`]*`|[a-z]+(_[a-z]+)+(: [a-z]+)?|--[a-z]+|\S+\.(jsonl?|log)", " ", form)
        left = {word.lower() for word in LATIN.findall(bare)} - ALLOWED
        assert not left, (key, left)


def test_no_praise_that_no_rule_supports():
    for lang in LANGUAGES:
        for key, forms in texts(lang).items():
            for form in forms:
                assert not re.search(r"[!！]\s*$|部署友好|实用性强", form), key


def test_compiled_equals_source():
    assert main(["--check"]) == 0


def test_every_finding_has_its_texts():
    for lang in LANGUAGES:
        words = Words(lang)
        for code in CODES:
            for part in ("name", "text", "advice"):
                assert words.has(f"finding.{code}.{part}"), (lang, code, part)


class TestCompiler:
    def test_check_reports_a_difference(self, tmp_path, monkeypatch, capsys):
        po = tmp_path / "en.po"
        po.write_text('msgid "a"\nmsgstr "b"\n', encoding="utf-8")
        monkeypatch.setattr(catalogues, "parts", lambda _: [po])
        monkeypatch.setattr(catalogues, "catalogue", lambda _: po.with_suffix(".mo"))
        assert main(["--check"]) == 1
        assert main([]) == 0
        assert main(["--check"]) == 0
        po.write_text('msgid "a"\nmsgstr "c"\n', encoding="utf-8")
        assert main(["--check"]) == 1
        assert "en.mo" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('msgid "a"\nmsgstr "b"\nmsgid "a"\nmsgstr "c"\n', "'a' is there twice"),
            ('msgid "a"\n', "line 1: missing msgstr"),
            ("nonsense\n", "line 1: Unknown"),
            ('"x"\n', "line 1: "),
            ('msgid ""\nmsgstr "Language: en\\n"\nmsgid "a\nmsgstr "b"\n', "'' is there twice"),
            ('msgid "a"\nmsgstr "b\n', "'a' has no text"),
        ],
    )
    def test_an_error_names_the_file_and_the_reason(self, tmp_path, text, reason):
        po = tmp_path / "a.po"
        po.write_text(text, encoding="utf-8")
        with pytest.raises(CatalogueError, match=re.escape(f"a.po: {reason}")):
            read([po])

    def test_a_key_in_two_parts(self, tmp_path):
        for name in ("a.po", "b.po"):
            (tmp_path / name).write_text('msgid "a"\nmsgstr "b"\n', encoding="utf-8")
        with pytest.raises(CatalogueError, match=r"b\.po: 'a'"):
            read([tmp_path / "a.po", tmp_path / "b.po"])

    def test_gettext_reads_it(self, tmp_path):
        po = tmp_path / "a.po"
        po.write_text(
            'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
            '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n# note\n'
            'msgid "k"\nmsgid_plural "k"\nmsgstr[0] "{n} \\"步\\""\nmsgstr[1] "{n} "\n"步s"\nmsgid "x"\nmsgstr "é"\n',
            encoding="utf-8",
        )
        found = GNUTranslations(BytesIO(compiled(read([po]))))
        assert [found.ngettext("k", "k", count) for count in (1, 2)] == ['{n} "步"', "{n} 步s"]
        assert found.gettext("x") == "é"


def test_no_key_is_unused():
    """Checks the groups whose keys stand in the code; keys of judgements, keys and states are made from codes."""
    code = "".join(path.read_text(encoding="utf-8") for path in Path(lora_tui.__file__).parent.rglob("*.py"))
    named = ("app", "head", "chart", "results", "list", "config", "checkpoints", "pane", "tui")
    left = [key for key in texts("en") if key and key.split(".")[0] in named and f'"{key}"' not in code]
    assert left == []
