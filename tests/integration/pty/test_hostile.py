"""What a file says is data: no control sequence, no markup and no invisible character of it reaches a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.live_app import cli, row, watching, write_run
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.pty, pytest.mark.slow]

RED = "[red]x[/red]"
HOSTILE = {
    "colour": "\x1b[31;5;7;9m",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\",
    "title": "\x1b]0;evil title\x07",
    "cursor": "\x1b[3;3H\x1b[2J",
    "eight bits": "\x9b31m\x9d52;c;ZXZpbA==\x9c",
    "bidi": "\u202eevil\u202c\u2066\u2069",
    "zero width": "ze\u200bro\u200d\u2060\ufeff",
    "delete": "\x7f",
}
ALL = RED + "".join(HOSTILE.values()) + "end"
FORBIDDEN = [
    "\x1b[31;5;7", "\x1b]52", "\x1b]8;;h", "\x1b]0;evil", "\x1b[3;3H\x1b[2J", "\x9b", "\x9d", "\u202e", "\u202c",
    "\u2066", "\u2069", "\u200b", "\u200d", "\u2060", "\ufeff", "\x7f",
]  # fmt: skip


def check_clean(said: bytes) -> None:
    text = said.decode("utf-8")
    found = [repr(each) for each in FORBIDDEN if each in text]
    assert not found, found


def check_plain(said: bytes) -> None:
    """Output of a command: not one control character but line ends. In JSON they may stand as ``\\u001b``."""
    check_clean(said)
    assert not [char for char in said.decode() if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)]


def hostile_run(directory: Path) -> Path:
    """A run in whose every place a hostile text stands."""
    name = ("r-" + ALL).replace("/", "")
    run = write_run(directory / "saves" / name, [3.0, 2.5, 2.25], 3)
    with (run / "trainer_log.jsonl").open("a") as log:
        log.write(json.dumps({**row(3, 2.25, 3), "rewards/" + ALL: 1.5, "\x1b]52;c;eA==\x07": 1.0}) + "\n")
    (run / "adapter_config.json").write_text(
        json.dumps(
            {"base_model_name_or_path": "models/" + ALL.replace("/", ""), "peft_type": "LORA", "r": 8, "lora_alpha": 16}
        )
    )
    settings = {
        "learning_rate": 1e-4,
        "dataset": "d-" + ALL,
        "template": ALL,
        "stage": "sft",
        "lr_scheduler_type": ALL,
        ALL: ALL,
    }
    (run / "training_args.yaml").write_text(json.dumps(settings))  # JSON is YAML
    scores = {f"predict_{text}{place}": place / 10 for place, text in enumerate(HOSTILE.values())}
    (run / "predict_results.json").write_text(json.dumps({"predict_bleu-4": 50.5, "predict_" + RED: 0.5, **scores}))
    sample = {"prompt": "p-" + ALL, "predict": "g-" + ALL, "label": "l-" + ALL}
    (run / "generated_predictions.jsonl").write_text(json.dumps(sample, ensure_ascii=False) + "\n")
    (run / "trainer_state.json").write_text(
        json.dumps({"global_step": 3, "max_steps": 3, "epoch": 2.0, "best_model_checkpoint": ALL, "log_history": []})
    )
    (run / "checkpoint-2").mkdir()
    (run / "checkpoint-2" / "trainer_state.json").write_text(json.dumps({"global_step": 2, "log_history": []}))
    (run / "train.log").write_text(
        "Traceback (most recent call last):\n"
        f'  File "/x/{ALL}.py", line 3, in {ALL}\n    boom("{ALL}")\nValueError: v-{ALL}\n',
        encoding="utf-8",
    )
    (run / "eval_results.json").write_text("{" + ALL)
    os.utime(run / "eval_results.json", (1e9, 1e9))
    return run


def seen(terminal: Terminal, key: str) -> str:
    terminal.send(key)
    return terminal.settle()


def test_the_app_shows_hostile_text_as_text(tmp_path: Path) -> None:
    hostile_run(tmp_path)
    write_run(tmp_path / "saves/b", [1.0, 0.9], 10)
    os.utime(tmp_path / "saves/b/trainer_log.jsonl", (1e9, 1e9))
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for(r"r-\[red\]x\[red\]", "failed")
        assert "v-[red]x[/red]" in terminal.text, "the message of the exception"
        screens = {key: seen(terminal, key) for key in ("3", "6", "7", "1")}
        assert "p-[red]x[/red]" in screens["3"], "a prompt"
        assert "g-[red]x[/red]" in screens["3"], "a prediction"
        assert "d-[red]x[/red]" in screens["6"], "a setting"
        assert "[red]x[red]" in screens["6"], "the model"
        for keys in ("\t\r", "\x1b", "\t\r", "\x1b\x1b", "L", "L"):
            seen(terminal, keys)
        terminal.send(":")
        terminal.wait_for("▔")
        terminal.send("\x1b")
        terminal.wait_gone("▔")
        check_clean(terminal.raw)
        assert terminal.screen.wraps == 0


def test_a_hostile_run_in_chinese_narrow_and_in_one_line(tmp_path: Path) -> None:
    hostile_run(tmp_path)
    for size in ((80, 24), (50, 10)):
        with watching(tmp_path, "saves", "--lang", "zh", size=size) as terminal:
            terminal.wait_for(r"r-\[red\]x\[red\]")
            terminal.settle()
            check_clean(terminal.raw)
            assert terminal.screen.wraps == 0


def test_a_hostile_path_is_told_harmlessly(tmp_path: Path) -> None:
    """A path that does not exist is what the user typed or a script passed on."""
    path = ("saves-" + ALL).replace("/", "")
    with watching(tmp_path, path) as terminal:
        terminal.wait_for("saves-")
        check_clean(terminal.raw)
    for command in ("ls", "status", "watch"):
        done = cli(tmp_path, command, path)
        assert done.returncode == 1
        check_plain(done.stderr)
        assert done.stdout == b""
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["ls"], ["status"], ["ls", "--json"], ["status", "--json"]], ids=" ".join)
def test_the_commands_print_hostile_text_as_text(tmp_path: Path, command: list[str]) -> None:
    run = hostile_run(tmp_path)
    where = "saves" if command[0] == "ls" else run
    done = cli(tmp_path, command[0], where, *command[1:])
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    check_plain(done.stdout)
    assert b"[red]x[" in done.stdout
    if "--json" in command:
        parsed = json.loads(done.stdout)
        record = parsed[0] if isinstance(parsed, list) else parsed
        assert record["state"] == "failed"
        assert Path(record["run"]["path"]) == run, "a path leads to the run, as it is"
        assert record["problems"]


ODD_NAMES = [
    b"new\nline",
    b"tab\there",
    b"quo'te\"s `$(x)`",
    b"sur\xffro\xfegate",
    b" spaces ",
    b"-dash",
    "训练 é ﷽".encode(),
    b"a" * 250,
]


def test_directories_with_odd_names(tmp_path: Path) -> None:
    runs = {write_run(tmp_path / "saves" / os.fsdecode(name), [3.0, 2.5, 2.25], 10) for name in ODD_NAMES}
    table = cli(tmp_path, "ls", "saves")
    assert table.returncode == 0, table.stderr
    check_plain(table.stdout)
    assert len(table.stdout.splitlines()) == 1 + len(runs)
    listed = cli(tmp_path, "ls", "saves", "--json")
    assert listed.returncode == 0, listed.stderr
    check_plain(listed.stdout)
    paths = {record["run"]["path"] for record in json.loads(listed.stdout)}
    assert len(paths) == len(runs)
    # A name that is no text cannot be told in JSON.
    assert {str(run) for run in runs if run.name.isprintable() or "\n" in run.name or "\t" in run.name} <= paths
    for name in (ODD_NAMES[0], ODD_NAMES[3]):
        for option in ([], ["--json"]):
            done = cli(tmp_path, "status", tmp_path / "saves" / os.fsdecode(name), *option)
            assert done.returncode == 0, done.stderr
            check_plain(done.stdout)
            assert b"2.25" in done.stdout


def test_a_run_with_an_odd_name_is_watched(tmp_path: Path) -> None:
    for place, name in enumerate(ODD_NAMES[:4]):
        write_run(tmp_path / "saves" / os.fsdecode(name), [3.0 + place, 2.5 + place], 10)
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for("new line", "tab here", r"'te\"s `\$\(x\)`", r"sur\?ro\?gate")
        for _ in ODD_NAMES[:4]:
            terminal.send("j")
            terminal.settle()
        terminal.wait_for(r"loss \d\.5000")
        assert terminal.screen.wraps == 0


# -- files that cannot be read ---------------------------------------------------------------------------------------


def broken_run(directory: Path) -> Path:
    run = write_run(directory / "saves/a", [3.0, 2.5, 2.25], 10)
    os.mkfifo(run / "eval_results.json")
    (run / "adapter_config.json").write_text("{not json")
    # A document that was written just now may be half written, and is read again before anything is said.
    os.utime(run / "adapter_config.json", (1e9, 1e9))
    return run


def test_a_file_that_cannot_be_read_is_one_clear_line_of_status(tmp_path: Path) -> None:
    broken_run(tmp_path)
    lines = cli(tmp_path, "status", "saves/a").stdout.decode().splitlines()
    assert [line.strip() for line in lines if "eval_results.json" in line] == ["eval_results.json: not a regular file"]
    assert len([line for line in lines if line.strip().startswith("adapter_config.json: ")]) == 1, lines


def test_a_file_that_cannot_be_read_is_one_clear_line_of_the_app(tmp_path: Path) -> None:
    broken_run(tmp_path)
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for("loss 2.2500")
        text = "".join(seen(terminal, key) for key in ("1", "6"))
        assert "not a regular file" in text
