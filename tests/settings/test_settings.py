"""config.toml: its effect, what overrides it, and the one-line errors."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lora_tui
from lora_tui.analysis import PLAIN, judge
from lora_tui.analysis.rating_rules import COUNTS, LR_RANGES, RULES
from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.settings.errors import SettingsError
from lora_tui.settings.saved_choices import save_choice, saved_choices_path
from lora_tui.settings.settings import config_path, load_settings
from tests.conftest import last_write
from tests.support.program import lora_tui as program
from tests.support.program import without_override
from tests.support.run_builder import START, run_of, train
from tests.test_imports import modules


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")


def write(text, path=None):
    path = path or config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rule_of(context, code):
    found = context.rule(code)
    assert found is not None
    return found


def refused(text, lang="en"):
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(lang=lang)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{path}:")
    return said.removeprefix(f"{path}:")


def test_without_a_file_nothing_changes():
    found = load_settings()
    assert found.context is PLAIN
    assert (found.language(), found.theme(), found.glyphs(), found.on_event(), found.bell()) == (
        "en", "dark", "unicode", None, False,
    )  # fmt: skip


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[ui]\nlang = zh\n", "2: not valid TOML: Invalid value"),
            ("x = 1\n\nx = 2\n", "3: not valid TOML: Cannot overwrite a value"),
            ('[ui]\n\ntheme = "drak"\n', '3: ui.theme: must be one of "dark", "light" or "ansi"'),
            ("[ui]\nthem = 1\n", "2: ui.them: there is no such key; did you mean theme?"),
            ("# mine\n[rating.bleu4]\ngood = 60\n", "2: rating: there is no such key; did you mean ratings?"),
            ("[ratings.blue4]\ngood = 60\n", "1: ratings.blue4: there is no such key; did you mean bleu4?"),
            ("[ratings.bleu4]\ngod = 60\n", "2: ratings.bleu4.god: there is no such key; did you mean good?"),
            ('[ratings.bleu4]\ngood = "60"\n', "2: ratings.bleu4.good: must be a number"),
            ("[ratings.bleu4]\ngood = true\n", "2: ratings.bleu4.good: must be a number"),
            ("[ratings.bleu4]\ngood = nan\n", "2: ratings.bleu4.good: must be a finite number"),
            ("[ratings.gap]\nexcellent = 2\n", "2: ratings.gap.excellent: there is no such key"),
            ("[ratings.bleu4]\nexcellent = 40\n", "2: ratings.bleu4.excellent: must not be below good, which is 50"),
            (
                "[ratings.bleu4]\nfair = 60\nexcellent = 80\ngood = 55\n",
                "4: ratings.bleu4.good: must not be below fair, which is 60",
            ),
            ("[ratings.perplexity]\nfair = 3\n", "2: ratings.perplexity.fair: must not be below good, which is 4"),
            ("[ratings.epochs]\ngood = 30\n", "2: ratings.epochs.good: must not be above fair, which is 20"),
            (
                "[ratings.loss_trend]\nmin_rows = 0\n",
                "2: ratings.loss_trend.min_rows: must be a whole number from 1 on",
            ),
            (
                "[ratings.loss_trend]\nmin_rows = 2.5\n",
                "2: ratings.loss_trend.min_rows: must be a whole number from 1 on",
            ),
            ("ratings.bleu4 = 5\n", "1: ratings.bleu4: must be a table"),
            ("[[ratings]]\n", "1: ratings: must be a table"),
            ("[lr_ranges]\nrm.full = [1e-6]\n", "2: lr_ranges.rm.full: must be two numbers: [lowest, highest]"),
            (
                "[lr_ranges]\nrm.full = [1e-5, 1e-6]\n",
                "2: lr_ranges.rm.full: the lowest must not be above the highest",
            ),
            ("[lr_ranges]\nrm.full = [\n  1e-6,\n  -1,\n]\n", "2: lr_ranges.rm.full[1]: must be above 0"),
            ('[lr_ranges]\nrm.full = "low"\n', "2: lr_ranges.rm.full: must be a list in brackets"),
            (
                '[findings]\noff = [\n  "no_eval",\n  "not_loged",\n]\n',
                "2: findings.off[1]: there is no such finding; did you mean not_logged?",
            ),
            ("[findings]\noff = [1]\n", "2: findings.off[0]: must be a text in quotes"),
            ('[notify]\nbell = "yes"\n', "2: notify.bell: must be true or false"),
            ("[notify]\non_event = 1\n", "2: notify.on_event: must be a text in quotes"),
            ("ui = {theme = 1}\n", '1: ui.theme: must be one of "dark", "light" or "ansi"'),
            ('[ui]\n"l\\u0061ng" = 1\n', ' ui.lang: must be one of "auto", "en" or "zh"'),
        ],
    )
    def test_names_the_line_and_the_key(self, text, said):
        assert refused(text) == said

    def test_the_first_of_several(self):
        assert refused("[notify]\nbell = 1\n[ui]\nlang = 2\n").startswith("2: ")
        assert refused("[ui]\nlang = 2\n[notify]\nbell = 1\n").startswith("2: ")

    def test_in_chinese(self):
        assert refused('[ratings.bleu4]\ngood = "60"\n', "zh") == "2: ratings.bleu4.good: 必须是数字"
        save_choice("lang", "zh")
        assert "没有这个键" in refused("[nothing]\n", "auto")

    def test_no_terminal_control_of_the_file_reaches_the_terminal(self):
        said = refused('"\\u001b[31mred" = 1\n')
        assert "\x1b" not in said
        assert "there is no such key" in said

    def test_not_utf8(self):
        config_path().write_bytes(b'[ui]\nlang = "\xff"\n')
        with pytest.raises(SettingsError, match=r"config\.toml:2: not valid TOML: not UTF-8"):
            load_settings()

    def test_a_file_that_was_named_must_be_there(self, tmp_path):
        with pytest.raises(SettingsError, match=r"none\.toml does not exist"):
            load_settings(tmp_path / "none.toml")

    def test_a_directory(self, tmp_path):
        with pytest.raises(SettingsError, match="cannot be read: is a directory"):
            load_settings(tmp_path)


class TestPrecedence:
    def test_the_file_over_the_environment(self, monkeypatch):
        monkeypatch.setenv("LANG", "en_US.UTF-8")
        write('[ui]\nlang = "zh"\ntheme = "light"\nglyphs = "ascii"\n[notify]\nbell = true\non_event = "mail"\n')
        found = load_settings()
        assert (found.language(), found.theme(), found.glyphs()) == ("zh", "light", "ascii")
        assert (found.bell(), found.on_event()) == (True, "mail")

    def test_what_was_chosen_in_the_app_is_the_later_word(self):
        write('[ui]\nlang = "zh"\ntheme = "light"\n')
        save_choice("lang", "en")
        save_choice("theme", "ansi")
        assert (load_settings().language(), load_settings().theme()) == ("en", "ansi")

    def test_a_file_that_is_named_goes_before_that(self, tmp_path):
        save_choice("lang", "en")
        save_choice("theme", "ansi")
        found = load_settings(write('[ui]\nlang = "zh"\n', tmp_path / "team.toml"))
        assert (found.language(), found.theme()) == ("zh", "ansi")

    def test_an_option_goes_before_all(self):
        write('[ui]\nlang = "zh"\nglyphs = "ascii"\n[notify]\non_event = "mail"\n')
        found = load_settings()
        assert (found.language("en"), found.glyphs("unicode"), found.on_event("true")) == ("en", "unicode", "true")
        assert found.language("auto") == "zh"

    def test_auto_asks_the_environment(self, monkeypatch):
        write('[ui]\nlang = "auto"\n')
        monkeypatch.setenv("LANG", "zh_CN.UTF-8")
        assert load_settings().language() == "zh"

    def test_a_theme_that_another_version_kept(self):
        save_choice("theme", "mono")
        assert load_settings().theme() == "dark"

    def test_damaged_choices_are_none(self):
        saved_choices_path().parent.mkdir(parents=True, exist_ok=True)
        saved_choices_path().write_text("{")
        assert load_settings().theme() == "dark"


class TestRules:
    def test_numbers_of_the_user_are_in_the_rules(self):
        write("[ratings.bleu4]\nexcellent = 30\ngood = 20\nfair = 10\n[ratings.epochs]\ngood = 8\n")
        context = load_settings().context
        bleu, epochs = rule_of(context, "bleu4"), rule_of(context, "epochs")
        assert (bleu.thresholds.excellent, bleu.thresholds.good, bleu.thresholds.fair) == (30, 20, 10)
        assert (bleu.own, bleu.thresholds.higher) == (True, True)
        assert (epochs.limits["good"], epochs.limits["fair"], epochs.own) == (8, 20, True)
        assert sum(rule.own for rule in context.rules) == 2

    def test_what_the_user_has_set_is_no_orientation_of_ours(self):
        write("[ratings.perplexity]\ngood = 5\n")
        rule = rule_of(load_settings().context, "perplexity")
        assert (rule.basis, rule.confidence) == ("rule", "firm")

    def test_the_default_written_down_is_not_the_users_own(self):
        write("[ratings.bleu4]\nexcellent = 70\ngood = 50.0\n[lr_ranges]\nrm.full = [1e-6, 3e-5]\n")
        context = load_settings().context
        assert context.rules == RULES
        assert context.own_lr == frozenset()

    def test_learning_rates(self):
        write("[lr_ranges.language]\nadapter = [1e-3, 5e-3]\n")
        context = load_settings().context
        assert context.lr_ranges["language"]["adapter"] == (1e-3, 5e-3)
        assert context.lr_ranges["rm"] == LR_RANGES["rm"]
        assert context.own_lr == {"language.adapter"}

    def test_a_rating_says_by_whose_numbers(self, all_runs):
        write("[ratings.bleu4]\nexcellent = 30\ngood = 20\nfair = 10\n")
        run = lora_tui.load(all_runs / "lora/sft")
        rating = judge(run, last_write(run) + 1e5, load_settings().context).ratings["predict_bleu-4"]
        assert (rating.level, rating.own) == ("excellent", True)
        assert "config.toml" in Words("en").rating_text(rating)
        assert "config.toml" in Words("zh").rating_text(rating)

    def test_findings_that_are_not_wanted(self, all_runs):
        write('[findings]\noff = ["not_logged", "memorised"]\n')
        run = lora_tui.load(all_runs / "lora/default")
        now = last_write(run) + 1e5
        assert "not_logged" in [finding.code for finding in judge(run, now).findings]
        assert "not_logged" not in [finding.code for finding in judge(run, now, load_settings().context).findings]
        overfit = lora_tui.load(all_runs / "lora/overfit")
        judged = judge(overfit, last_write(overfit) + 1e5, load_settings().context)
        assert "memorised" not in [finding.code for finding in judged.findings]
        assert "memorised" in judged.ratings["loss"].reservations


FACTORS = st.dictionaries(st.sampled_from([rule.code for rule in RULES if rule.numbers]),
                          st.tuples(st.floats(0.001, 1000), st.integers(1, 500)))  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FACTORS)
def test_no_numbers_of_the_user_break_the_judging(all_runs, factors):
    text = ""
    for rule in RULES:
        if rule.code in factors:
            factor, count = factors[rule.code]
            text += f"[ratings.{rule.code}]\n"
            for name, value in rule.numbers.items():
                text += f"{name} = {json.dumps(count if name in COUNTS else value * factor)}\n"
    write(text)
    context = load_settings().context
    words = Words("en")
    for name in ("lora/sft", "lora/dpo", "lora/kto", "lora/reward", "lora/overfit", "hf/trl-sft", "lora/sft-one-yaml"):
        run = _load(all_runs / name)
        for after in (1.0, 1e5):
            for rating in judge(run, last_write(run) + after, context).ratings.values():
                assert "{" not in words.rating_text(rating)
    rewards = [train(10 * i, 0.1, 400, reward=i % 7, kl=0.1 * i, frac_reward_zero_std=i / 40) for i in range(1, 41)]
    for stage in ("ppo", "grpo"):
        assert len(judge(run_of(rewards, config={"stage": stage}), START, context).ratings) >= 5


_LOADED: dict[Path, Run] = {}


def _load(path):
    if path not in _LOADED:
        _LOADED[path] = lora_tui.load(path)
    return _LOADED[path]


def test_no_file_costs_nothing():
    """Without a file, pydantic and the TOML parser are not imported."""
    code = "import lora_tui.settings.settings; lora_tui.settings.settings.load_settings()"
    heavy = {"pydantic", "tomllib", "tomli"}
    assert not modules(code) & heavy
    write("[ratings.bleu4]\ngood = 55\n")
    assert "pydantic" in modules(code)


def test_an_unreadable_file(tmp_path):
    path = write("[ui]\n", tmp_path / "closed.toml")
    path.chmod(0)
    done = program("config", "--config", path, before=without_override)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lora-tui: {path} cannot be read: permission denied\n"
