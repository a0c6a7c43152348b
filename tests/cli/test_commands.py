"""Behaviour of all commands: help, version, completion, languages, and errors without a terminal."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lora_tui import __version__
from lora_tui.cli.parser import build_parser
from tests.support.program import environment, lora_tui

COMMANDS = [
    "watch", "demo", "ls", "status", "report", "compare", "wait", "export", "explain", "config", "completion",
]  # fmt: skip


def parsers() -> dict[str, argparse.ArgumentParser]:
    (found,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def test_the_commands_are_these() -> None:
    assert sorted(parsers()) == sorted(COMMANDS)


def test_version() -> None:
    done = lora_tui("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lora-tui {__version__}\n", "")


def test_without_a_command_the_help_comes() -> None:
    done = lora_tui()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == lora_tui("--help").stdout


@pytest.mark.parametrize("args", [["bogus"], ["ls", "--sort", "bogus"], ["demo", "--speed", "0"], ["watch", "--run"]])
def test_usage_errors_are_exit_2_on_stderr(args: list[str]) -> None:
    done = lora_tui(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: lora-tui" in done.stderr


def examples(text: str) -> list[str]:
    """Return the command lines below "examples:"."""
    lines = text.partition("examples:\n")[2].splitlines()
    return [line.strip() for line in lines if "lora-tui" in line]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples_that_parse(command: str) -> None:
    done = lora_tui(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    shown = examples(done.stdout)
    assert shown
    for line in shown:
        inner = re.search(r"\$\((lora-tui [^)]*)\)", line)
        words = shlex.split((inner[1] if inner else re.split(r"  +|[|>]", line)[0]).strip())
        assert words[0] == "lora-tui"
        build_parser().parse_args(words[1:])  # exits where it does not parse


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_only_options_that_exist_and_all_of_them(command: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", lora_tui(command, "--help").stdout))
    actions = parsers()[command]._actions
    assert named == {option for action in actions for option in action.option_strings if option.startswith("--")}
    assert all(action.help for action in actions)


def test_the_help_fits_a_terminal() -> None:
    for command in COMMANDS:
        for line in lora_tui(command, "--help", env={"COLUMNS": "100"}).stdout.splitlines():
            assert len(line) <= 100


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("command", ["watch", "demo"])
def test_without_a_terminal_they_say_what_to_use(command: str, lang: str) -> None:
    done = lora_tui(command, "--lang", lang)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"lora-tui: {command} ")
    assert "lora-tui status --follow" in done.stderr
    assert ("终端" in done.stderr) == (lang == "zh")


def test_the_hint_can_be_pasted(tmp_path: Path) -> None:
    done = lora_tui("watch", tmp_path / "my runs")
    hint = done.stderr.partition("use ")[2].strip()
    assert shlex.split(hint) == ["lora-tui", "status", "--follow", str(tmp_path / "my runs")]


def test_watch_misses_a_log_that_is_not_there(tmp_path: Path) -> None:
    done = lora_tui("watch", tmp_path, "--log", tmp_path / "none.out", "--screenshot", tmp_path / "x.svg")
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.out" in done.stderr


def test_python_m_is_the_command(all_runs: Path) -> None:
    script = shutil.which("lora-tui", path=str(Path(sys.executable).parent))
    module = lora_tui("status", all_runs / "lora/sft")
    if script is not None:
        done = subprocess.run(
            [script, "status", str(all_runs / "lora/sft")], env=environment(), capture_output=True, encoding="utf-8"
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, module.stdout, "")
    assert module.returncode == 0


class TestCompletion:
    def script(self, shell: str, folder: Path) -> Path:
        done = lora_tui("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        path = folder / f"completion.{shell}"
        path.write_text(done.stdout, encoding="utf-8")
        return path

    def bash(self, script: str, folder: Path) -> str:
        done = subprocess.run(
            ["bash", "--norc", "-c", script], cwd=folder, env=environment(), capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
    def test_bash_completes_commands_options_choices_and_paths(self, tmp_path: Path) -> None:
        path = self.script("bash", tmp_path)
        self.bash(f"bash -n {path}", tmp_path)
        assert "lora-tui" in self.bash(f"source {path}; complete -p lora-tui", tmp_path)
        (tmp_path / "saves" / "my-run").mkdir(parents=True)
        (tmp_path / "nohup.out").touch()
        for typed, wanted in [
            (["wat"], "watch"),
            (["watch", "--sc"], "--screenshot"),
            (["ls", "--sort", "ev"], "eval_loss"),
            (["watch", "--theme", "li"], "light"),
            (["watch", "sa"], "saves"),
            (["status", "saves/m"], "saves/my-run"),
            (["status", "--log", "no"], "nohup.out"),
            (["completion", "z"], "zsh"),
        ]:
            words = shlex.join(["lora-tui", *typed])
            answer = self.bash(
                f"source {path}; function=$(complete -p lora-tui | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
                f"COMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMPREPLY=(); $function 2>/dev/null\n"
                'echo "${COMPREPLY[@]}"',
                tmp_path,
            )
            assert answer.split() == [wanted], f"{words}"

    @pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
    def test_zsh_loads_it(self, tmp_path: Path) -> None:
        path = self.script("zsh", tmp_path)
        script = (
            f'autoload -Uz compinit; compinit -u -d {tmp_path}/dump; eval "$(cat {path})"; print -- $_comps[lora-tui]'
        )
        done = subprocess.run(["zsh", "-f", "-c", script], env=environment(), capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()

    def test_zsh_offers_paths_and_every_command(self) -> None:
        text = lora_tui("completion", "zsh").stdout
        assert text.startswith("#compdef lora-tui")
        for command in COMMANDS:
            assert f"{command}:" in text
        assert "_files" in text


def test_a_command_alone_has_the_help_that_it_has_among_all(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        said = []
        for parser in (build_parser(), build_parser(only=name)):
            with pytest.raises(SystemExit):
                parser.parse_args([name, "--help"])
            with pytest.raises(SystemExit):
                parser.parse_args([name, "--no-such-option"])
            said.append(capsys.readouterr())
        assert said[0] == said[1]


def test_a_word_that_is_no_command_is_told_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser(only="wacth").parse_args(["wacth"])
    said = capsys.readouterr().err
    assert all(name in said for name in COMMANDS)
