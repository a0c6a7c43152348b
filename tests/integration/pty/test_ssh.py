"""The app over a real ssh connection that breaks: nothing of it stays behind on the machine."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.live_app import PYTHON, write_run
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S, wait_until

SSHD = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
pytestmark = [
    pytest.mark.pty,
    pytest.mark.slow,
    pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="needs an sshd and an ssh to start"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[list[str]]:
    """An sshd on a port of its own, with keys of its own; the beginning of a command that connects to it."""
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        f"PidFile none\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\n",
        encoding="utf-8",
    )
    assert SSHD is not None
    if os.geteuid() == 0:
        # What the system's service does before it starts one; a container has the program alone.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with open(tmp_path / "sshd.log", "wb") as said:  # noqa: PTH123
        daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stdout=said, stderr=said)
    try:
        log = tmp_path / "sshd.log"
        wait_until(lambda: "Server listening" in log.read_text() or daemon.poll() is not None, "the sshd listens")
        if daemon.poll() is not None:
            pytest.skip(f"the sshd here does not start: {log.read_text()[-300:]}")
        yield [
            "ssh", "-tt", "-F", "none", "-p", str(port), "-i", str(tmp_path / "user"), "-o", "LogLevel=ERROR",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
            f"{getpass.getuser()}@127.0.0.1",
        ]  # fmt: skip
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE_S)


def remote(directory: Path) -> list[psutil.Process]:
    """The app's processes, which are none of the client's."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if "lora_tui" in command and process.info["cwd"] == str(directory):
            found.append(process)
    return found


@pytest.mark.parametrize("broken", ["client", "server", "network", "q"])
def test_a_connection_that_breaks_leaves_no_process(tmp_path: Path, server: list[str], broken: str) -> None:
    write_run(tmp_path / "saves/a", [3.0, 2.5], 10)
    line = f"cd {tmp_path} && PYTHONPATH={PYTHON['PYTHONPATH']} LC_ALL=C.UTF-8 {sys.executable} -m lora_tui watch saves"
    with Terminal([*server, line], 120, 40, cwd=tmp_path) as terminal:
        terminal.wait_for("loss 2.5000", "quit")
        terminal.settle()
        (app,) = remote(tmp_path)
        if broken == "client":
            terminal.process.kill()
        elif broken == "server":
            # The process that keeps this one connection.
            parent = app.parent()
            while parent is not None and "sshd" not in parent.name():
                parent = parent.parent()
            assert parent is not None
            parent.kill()
        elif broken == "network":
            # The client's terminal goes, as when its window is closed.
            terminal.hang_up()
        else:
            terminal.send("q")
            assert terminal.wait_exit() == 0
            assert terminal.left_behind() == []
        gone, left = psutil.wait_procs([app], timeout=DEADLINE_S)
        for process in left:
            process.send_signal(signal.SIGKILL)
        assert gone
        assert not left
        assert remote(tmp_path) == []
