"""The README is correct: its commands parse, its keys and states are the program's, its files exist."""

from __future__ import annotations

import re
import shlex

import pytest

from lora_tui.cli.parser import build_parser
from lora_tui.i18n import Words
from lora_tui.tui.keys import COMMANDS
from tests.cli.test_commands import parsers
from tests.cli.test_status import STATES, TOP
from tests.support.terminal import repository_root

ROOT = repository_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    return re.split(r"^#+ ", README.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def command_lines() -> list[str]:
    """Return every command line in the README, with alternatives and placeholders replaced."""
    blocks = re.findall(r"^    (lora-tui .*)$", README, re.MULTILINE)
    spans = re.findall(r"`(lora-tui [^`]*)`", README)
    lines = [re.split(r"  +#| [|>] |\s*\\$", line)[0].strip() for line in (*blocks, *spans)]
    return [line for line in dict.fromkeys(lines) if "SHELL" not in line]


@pytest.mark.parametrize("line", command_lines())
def test_each_command_parses(line: str) -> None:
    build_parser().parse_args(shlex.split(re.sub(r"\[PATH…\]", "PATH", line))[1:])


def test_every_command_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `lora-tui (\w+)", section("Use"), re.MULTILINE)) == set(parsers())


def test_the_keys_are_the_programs() -> None:
    table = section("Keys")
    named = set(re.findall(r"`([^`]+)`", table))
    assert {command.shown for command in COMMANDS if command.shown} <= named | {"j", "k"}
    known = {command.shown for command in COMMANDS} | {key for command in COMMANDS for key in command.keys}
    assert named - known - {"NO_COLOR"} == set()


def test_the_states_are_the_programs() -> None:
    words = Words("en")
    rows = re.findall(r"^\| `(.)` \| ([^|]+) \| `(\w+)` \|", section("States"), re.MULTILINE)
    assert {code for _, _, code in rows} == STATES
    for _, shown, code in rows:
        assert shown.startswith(words.t(f"state.{code}")), code


def test_the_json_keys_are_the_schemas() -> None:
    text = section("JSON").partition("an array of the same:")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", text)) == TOP - {"schema"}


def test_the_python_example_runs(all_runs, monkeypatch, capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(all_runs)
    exec(code.replace("saves/qwen2/lora/sft", "lora/sft").replace('"saves"', '"."'))
    assert "finished 810" in capsys.readouterr().out


def test_the_files_that_it_points_to_exist() -> None:
    for link in re.findall(r"\]\(([^)#][^)]*)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link).is_file(), link
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target
