"""Run the command as a user does: in a process of its own, with its own stdout and stderr."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.terminal import repository_root
from tests.support.waiting import DEADLINE_S, wait_quiet

COMMAND = [sys.executable, "-m", "lora_tui"]
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment with an English locale and this checkout first on the path, updated with ``extra``."""
    env = {key: value for key, value in os.environ.items() if key not in ("LANGUAGE", "PYTHONIOENCODING", "COLUMNS")}
    env.update(LANG="C.UTF-8", LC_ALL="C.UTF-8", PYTHONPATH=str(repository_root()), TERM="xterm-256color")
    return {**env, **(extra or {})}


def lora_tui(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal; return its exit status, stdout and stderr.

    ``before`` is called in the child process before the command starts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # preexec_fn beside threads
        return subprocess.run(
            [*COMMAND, *map(str, args)],
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_S,
            preexec_fn=before,
        )


def without_override() -> None:
    """Drop root's right to read everything in this process, so that permissions have an effect (Linux only)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def strict(text: str) -> Any:
    """Parse strict JSON. Raises AssertionError for NaN, Infinity and a key that occurs twice."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(items)) == len(items), f"a key twice: {items}"
        return dict(items)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=pairs)


class Running:
    """A running command, whose lines can be read as they are printed."""

    def __init__(self, *args: str | Path, cwd: Path | None = None, command: Sequence[str | Path] = COMMAND) -> None:
        self.process = subprocess.Popen(
            [*map(str, command), *map(str, args)],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def line(self, timeout: float = DEADLINE_S) -> str:
        """Return the next line. Raises queue.Empty if there is none within ``timeout`` seconds."""
        return self._lines.get(timeout=timeout)

    def line_with(self, text: str, timeout: float = DEADLINE_S) -> str:
        """Return the next line that contains ``text``. Raises queue.Empty if none comes within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while text not in (line := self.line(end - time.monotonic())):
            pass
        return line

    def silent(self, seconds: float) -> bool:
        """Return whether no line comes within ``seconds``; a line that comes is dropped."""
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> tuple[int, str]:
        """Kill the command if it still runs; return its exit status and its stderr."""
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        said = "" if self.process.stderr.closed else self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait(), said


class Following(Running):
    """A running ``status --follow``."""

    def __init__(self, *args: str | Path, cwd: Path | None = None) -> None:
        super().__init__("status", "--follow", *args, cwd=cwd)


class Waiting(Running):
    """A running ``wait``."""

    def __init__(self, *args: str | Path, cwd: Path | None = None, command: Sequence[str | Path] = COMMAND) -> None:
        super().__init__("wait", *args, cwd=cwd, command=command)
        wait_quiet(self.process.pid)  # the command waits once its process is at rest

    def waits(self, seconds: float = 0.5) -> bool:
        """Return whether the command prints nothing within ``seconds`` and still runs."""
        return self.silent(seconds) and self.process.poll() is None

    def end(self) -> tuple[int, list[str], str]:
        """Wait for the end of the command; return exit code, lines and stderr."""
        try:
            self.process.wait(DEADLINE_S)
        finally:
            code, said = self.close()
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return code, lines, said
