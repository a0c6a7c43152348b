"""Ctrl-C and a kill at every moment of the start, from before Python has read its first module to the first frame."""

from __future__ import annotations

import itertools
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.live_app import PYTHON, write_run
from tests.support.processes import command_line
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.pty, pytest.mark.slow]

DELAYS = [round(0.6 * step / 19, 3) for step in range(20)]
OURS = re.compile(r"lora_tui/(?!__init__|__main__)\w+")
"""Files of the program that are read after it has said how it wants to be interrupted."""


def check(terminal: Terminal, sign: signal.Signals, delay: float) -> None:
    """It was left as every program is that ends early, and nothing of it shows."""
    where = f"{sign.name} after {delay} s"
    code = terminal.wait_exit()
    raw = terminal.raw.decode("utf-8", "replace")
    # In its own first milliseconds Python tells of a Ctrl-C before any program could say otherwise.
    early = sign is signal.SIGINT and "KeyboardInterrupt" in raw and not OURS.search(raw)
    assert code in (0, 130, -sign) or (early and code == 1), f"{where}: {code}\n{terminal.shown()}"
    assert terminal.left_behind() == [], where
    for mode in ("1049", "2004", "1000"):
        assert raw.rfind(f"\x1b[?{mode}h") <= raw.rfind(f"\x1b[?{mode}l"), where
    assert early or not terminal.text.strip(), f"{where}\n{terminal.shown()}"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
def test_watch(tmp_path: Path, sign: signal.Signals) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    for delay in DELAYS:
        with Terminal([sys.executable, "-m", "lora_tui", "watch", "saves"], 120, 40, PYTHON, tmp_path) as terminal:
            time.sleep(delay)
            terminal.process.send_signal(sign)
            check(terminal, sign, delay)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sign: sign.name)
def test_demo_leaves_no_process_and_no_directory(tmp_path: Path, sign: signal.Signals) -> None:
    (tmp_path / "tmp").mkdir()
    env = {**PYTHON, "TMPDIR": str(tmp_path / "tmp")}
    for delay in itertools.chain(DELAYS[:12:2], DELAYS[12:]):
        with Terminal([sys.executable, "-m", "lora_tui", "demo"], 120, 40, env, tmp_path) as terminal:
            time.sleep(delay)
            terminal.process.send_signal(sign)
            check(terminal, sign, delay)
        wait_until(lambda: not running_below(tmp_path / "tmp"), f"the second process ends after {delay} s")
        assert list((tmp_path / "tmp").iterdir()) == [], f"after {delay} s"


def running_below(directory: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if str(directory) in " ".join(command_line(process))]


def test_ctrl_c_twice(tmp_path: Path) -> None:
    """The second one strikes while the first is obeyed."""
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    for pause in (0.0, 0.02, 0.05, 0.1, 0.2):
        with Terminal([sys.executable, "-m", "lora_tui", "watch", "saves"], 120, 40, PYTHON, tmp_path) as terminal:
            terminal.wait_for("loss 2.5000", "quit")
            terminal.process.send_signal(signal.SIGINT)
            time.sleep(pause)
            terminal.process.send_signal(signal.SIGINT)
            check(terminal, signal.SIGINT, pause)
