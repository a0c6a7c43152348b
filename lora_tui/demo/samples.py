"""The demo's directory: packaged sample runs, replayed live by a writer in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STOP_S = 2.0


class SampleError(Exception):
    """The demo cannot start. ``str()`` says why in one line."""


def sample_dir() -> Path:
    """The directory of the sample runs: inside an installed package, beside it in a checkout.

    Raises SampleError where an installation came without them.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "sample_runs", package.parent / "sample_runs"):
        if (candidate / "mtimes.json").is_file():
            return candidate
    raise SampleError(f"the sample runs are missing from this installation (looked in {package} and beside it)")


def restore_mtimes(root: Path) -> int:
    """Give a copy of the sample runs the modification times of the real runs back; return how many files got one.

    What is stale, interrupted or finished shows in the times, and a copy, a checkout or a wheel does not keep them.
    """
    restored = 0
    times: dict[str, float] = json.loads((root / "mtimes.json").read_text(encoding="utf-8"))
    for name, mtime in times.items():
        path = root / name
        if path.is_file():
            os.utime(path, (mtime, mtime))
            restored += 1
    return restored


def start_writer(target: Path, speed: float = 1.0) -> subprocess.Popen[str]:
    """Start the writer and return once the past of its runs is laid down, so that nobody watches an empty directory.

    Raises SampleError with the writer's last words where it could not start.
    """
    # The file, not -m: the writer then loads nothing of this package. Isolated mode keeps the package's own directory
    # off its path, where `locale` would hide the standard library's.
    script = Path(__file__).with_name("replay.py")
    command = [sys.executable, "-I", str(script), str(target)]
    command += ["--speed", str(speed), "--samples", str(sample_dir()), "--parent", str(os.getpid())]
    # The writer's errors go to a file: a pipe that nobody reads after the start could block it.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        writer = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in the terminal is the app's to handle
        )
        assert writer.stdout is not None
        with writer.stdout as output:
            started = output.readline().strip() == "ready"
        if not started:
            writer.wait()
            errors.seek(0)
            said = errors.read().strip().splitlines() or [f"exit status {writer.returncode}"]
            raise SampleError(f"the demo's writer did not start: {said[-1]}")
    return writer


def stop_writer(writer: subprocess.Popen[str]) -> None:
    """End the writer, whatever it is at."""
    writer.terminate()
    try:
        writer.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        writer.kill()
        writer.wait()


@contextmanager
def demo_directory(speed: float = 1.0) -> Iterator[Path]:
    """A temporary directory in which four runs live, for as long as the context does."""
    with tempfile.TemporaryDirectory(prefix="lora-tui-demo-", ignore_cleanup_errors=True) as root:
        # The consoles of the samples name saves/qwen2-0.5b/lora/… as their output: so lies each log in its own run.
        target = Path(root) / "saves" / "qwen2-0.5b"
        target.mkdir(parents=True)
        writer = start_writer(target, speed)
        try:
            yield target
        finally:
            stop_writer(writer)
