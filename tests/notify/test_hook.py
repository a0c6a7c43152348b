"""The user's command: how many run at the same time, what a failure says, which shell is used."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from lora_tui.i18n import Words
from lora_tui.notify.hook import MAX_PARALLEL, Hook
from tests.support.waiting import DEADLINE_S


def test_commands_beyond_the_limit_wait_and_none_is_lost(tmp_path: Path) -> None:
    lines: list[str] = []
    out, go = tmp_path / "out", tmp_path / "go"
    # No command ends before this test has started all of them, which it could not if start() waited for one.
    command = f"echo + >> {out}; until [ -e {go} ]; do sleep 0.02; done; echo - >> {out}; exit 3"
    hook = Hook(command, Words("en"), lines.append)
    for number in range(3 * MAX_PARALLEL):
        hook.start(f"{number}\n", {})
    go.touch()
    assert hook.close(DEADLINE_S) == 0
    marks = out.read_text().split()
    assert marks.count("+") == marks.count("-") == 3 * MAX_PARALLEL
    running = [marks[:end].count("+") - marks[:end].count("-") for end in range(len(marks) + 1)]
    assert max(running) <= MAX_PARALLEL
    assert lines == ["an event's command has ended with 3"]
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_failure_is_reported_with_the_last_line_of_output_without_escapes() -> None:
    lines: list[str] = []
    hook = Hook("cat >/dev/null; printf 'a\\n\\033[31mno mail for you\\n' >&2; false", Words("zh"), lines.append)
    hook.start("x" * 1_000_000, {})
    hook.close(DEADLINE_S)
    assert lines == ["事件命令的退出码为 1：no mail for you"]


def test_a_failure_names_no_secret() -> None:
    lines: list[str] = []
    secret = "xoxb-" + "1234567890" * 3
    hook = Hook(f"echo {'x' * 190} {secret} >&2; false", Words("en"), lines.append)
    hook.start("", {})
    hook.close(DEADLINE_S)
    (line,) = lines
    assert "xoxb" not in line


@pytest.mark.parametrize("shell", ["", "/nowhere/sh", "/bin/sh"])
def test_the_shell_is_that_of_the_user_or_sh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("SHELL", shell)
    hook = Hook(f"cat > {tmp_path}/out", Words("en"), lambda line: pytest.fail(line))
    hook.start("训练\n", {"LORA_TUI_EVENT": "x"})
    assert hook.close(DEADLINE_S) == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "训练\n"
