"""``watch`` ends when its terminal does, however that comes about: a lost ssh must leave no process behind."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import warnings
from pathlib import Path

import pytest

from tests.support.program import COMMAND, environment
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.pty


def control() -> None:
    """Take the terminal as the controlling one: its end is then told with SIGHUP."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def ignore() -> None:
    """As nohup does."""
    control()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize("before", [control, ignore, None])
def test_it_ends_with_its_terminal(all_runs: Path, before) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = subprocess.Popen(
            [*COMMAND, "watch", str(all_runs)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(),
            start_new_session=True,
            preexec_fn=before,
        )
    os.close(slave)
    try:
        seen = b""

        def take_in() -> None:
            nonlocal seen
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 1 << 16)

        wait_until(lambda: b"sft" in seen, "the runs are shown", take_in)
        os.close(master)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
