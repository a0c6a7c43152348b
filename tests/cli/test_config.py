"""``config``: the settings in effect, their origins, and the example file."""

import re
import sys

import pytest

from lora_tui.analysis import PLAIN
from lora_tui.settings.settings import load_settings
from tests.support.program import environment, lora_tui, strict
from tests.support.terminal import Terminal


@pytest.fixture
def home(tmp_path):
    """Make a configuration directory for the test."""
    directory = tmp_path / "config"
    directory.mkdir()
    return directory


def config(home, *args):
    done = lora_tui("config", *args, env={"LORA_TUI_CONFIG_DIR": str(home)})
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_path(home, tmp_path):
    assert config(home, "--path") == f"{home / 'config.toml'}\n"
    assert config(home, "--path", "--config", tmp_path / "team.toml") == f"{tmp_path / 'team.toml'}\n"
    (home / "config.toml").write_text("broken")
    assert config(home, "--path") == f"{home / 'config.toml'}\n"


def row(text, name):
    return next(line.split(maxsplit=1)[1] for line in text.splitlines() if line.split()[:1] == [name])


def test_where_each_comes_from(home):
    before = config(home)
    assert "not there" in before.splitlines()[0]
    assert row(before, "theme").split() == ['"dark"', "default"]
    assert row(before, "lang").split() == ['"en"', "LC_ALL=C.UTF-8"]
    (home / "kept.json").write_text('{"theme": "ansi"}')
    (home / "config.toml").write_text(
        '[ui]\nlang = "zh"\ntheme = "light"\n[ratings.bleu4]\ngood = 60\nfair = 35\n[findings]\noff = ["no_eval"]\n'
        "[lr_ranges]\nrm.full = [1e-7, 1e-5]\n"
    )
    after = config(home, "--lang", "en")
    assert row(after, "lang").split("  ")[-1].strip() == "option, over config.toml:2"
    assert " ".join(row(after, "theme").split()) == '"ansi" chosen in the app (kept.json), over config.toml:3'
    assert row(after, "bleu4").split("  ")[:3] == ["excellent 70", "good 60", "fair 35"]
    assert row(after, "bleu4").endswith("config.toml:5 (good), config.toml:6 (fair)")
    assert row(after, "rouge1").endswith("default")
    assert row(after, "off").split("  ") == ['["no_eval"]', "config.toml:8"]
    assert row(after, "rm.full").split("  ")[-1] == "config.toml:10"
    assert "默认" in config(home)


def test_json(home):
    (home / "config.toml").write_text("[ratings.bleu4]\ngood = 60\n")
    data = strict(config(home, "--json", "--lang", "zh"))
    assert (data["schema"], data["file"], data["read"]) == (1, str(home / "config.toml"), True)
    found = {entry.pop("key"): entry for entry in data["settings"]}
    assert found["ratings.bleu4.good"] == {"value": 60, "origin": "file", "line": 2}
    assert found["ratings.bleu4.fair"] == {"value": 30, "origin": "default"}
    assert found["ui.lang"] == {"value": "zh", "origin": "option"}
    assert found["findings.off"] == {"value": [], "origin": "default"}
    assert found["lr_ranges.language.adapter"] == {"value": [2e-5, 5e-4], "origin": "default"}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_example_says_everything_and_changes_nothing(home, tmp_path, lang):
    text = config(home, "--example", "--lang", lang)
    assert not re.search(r"(settings|rule|list)\.[a-z]", text)
    assert "{" not in text
    path = tmp_path / "example.toml"
    path.write_text(text, encoding="utf-8")
    found = load_settings(path)
    assert found.context == PLAIN
    for key, value in found.values.items():
        assert key.startswith("ratings.") or found.lines[key], value
    named = {entry["key"] for entry in strict(config(home, "--json"))["settings"]}
    assert set(found.values) == named
    uncommented = [
        line for line in text.splitlines() if "=" in line and not line.startswith("#") and "  # " not in line
    ]
    assert {line.split(".")[0].split(" ")[0] for line in uncommented} == {"off", "language", "rm", "preference"}


def test_the_example_helps_where_the_file_is_broken(home):
    (home / "config.toml").write_text("broken")
    assert config(home, "--example").startswith("# ")


@pytest.mark.parametrize("command", ["config", "ls", "status", "watch"])
def test_a_fault_is_one_line_and_nothing_else(home, all_runs, command):
    (home / "config.toml").write_text("[ui]\n\nlang = 1\n")
    args = {"config": [], "ls": [all_runs], "status": [all_runs / "lora/sft"], "watch": [all_runs]}[command]
    done = lora_tui(command, *args, env={"LORA_TUI_CONFIG_DIR": str(home)})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'lora-tui: {home / "config.toml"}:3: ui.lang: must be one of "auto", "en" or "zh"\n'


@pytest.mark.pty
def test_watch_says_so_before_it_takes_the_screen(home, all_runs):
    (home / "config.toml").write_text("[ui]\nlang = 1\n")
    env = environment({"LORA_TUI_CONFIG_DIR": str(home)})
    with Terminal([sys.executable, "-m", "lora_tui", "watch", str(all_runs)], env=env) as terminal:
        terminal.wait_for("config.toml:2: ui.lang")
        assert terminal.wait_exit() == 1
        assert b"\x1b[?1049h" not in bytes(terminal.raw)


@pytest.mark.pty
def test_watch_takes_the_looks_from_the_file(home, all_runs):
    (home / "config.toml").write_text('[ui]\nlang = "zh"\nglyphs = "ascii"\n')
    env = environment({"LORA_TUI_CONFIG_DIR": str(home)})
    with Terminal([sys.executable, "-m", "lora_tui", "watch", str(all_runs / "lora/sft")], env=env) as terminal:
        terminal.wait_for("已完成")
        assert "╭" not in "\n".join(terminal.screen.lines)
        terminal.send("q")
        assert terminal.wait_exit() == 0


def test_bands_of_the_file_reach_every_face(home, all_runs):
    (home / "config.toml").write_text("[ratings.bleu4]\nexcellent = 30\ngood = 20\nfair = 10\n")
    env = {"LORA_TUI_CONFIG_DIR": str(home)}
    run = all_runs / "lora/sft"
    for args in (["status", run], ["status", "--json", run], ["ls", "--json", run]):
        assert "nearly the reference" in lora_tui(*args, env=env).stdout
    assert "nearly the reference" not in lora_tui("status", run).stdout
