"""Set up the directory of the demo, into which a separate process replays the packaged sample runs live."""

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
"""Seconds that the writer has to end by itself before it is killed."""


class SampleError(Exception):
    """Raised where the demo cannot start. ``str()`` is the reason in one line."""


def sample_dir() -> Path:
    """Return the directory of the sample runs: inside an installed package, beside it in a checkout.

    Raises SampleError where the installation has none.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "sample_runs", package.parent / "sample_runs"):
        if (candidate / "mtimes.json").is_file():
            return candidate
    raise SampleError(f"the sample runs are missing from this installation (looked in {package} and beside it)")


def restore_mtimes(root: Path) -> int:
    """Set the modification times of the real runs on a copy of the sample runs; return the number of files changed.

    The states of the runs (stale, interrupted, finished) depend on these times, which a copy, a checkout or a wheel
    does not keep.
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
    """Start the writer; return once the past of its runs is written, so that the demo does not begin with no runs.

    ``speed`` divides all times between its writes. Raises SampleError with the last line of the writer's errors where
    it could not start.
    """
    # The file, not -m, so that the writer loads nothing of this package. Isolated mode keeps the directory of the file
    # off its path, where a module could hide one of the standard library.
    script = Path(__file__).with_name("replay.py")
    command = [sys.executable, "-I", str(script), str(target)]
    command += ["--speed", str(speed), "--samples", str(sample_dir()), "--parent", str(os.getpid())]
    # The writer's errors go to a file: a pipe that is not read after the start could block it.
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
            lines = errors.read().strip().splitlines() or [f"exit status {writer.returncode}"]
            raise SampleError(f"the demo's writer did not start: {lines[-1]}")
    return writer


def stop_writer(writer: subprocess.Popen[str]) -> None:
    """End the writer; kill it if it does not end by itself."""
    writer.terminate()
    try:
        writer.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        writer.kill()
        writer.wait()


@contextmanager
def demo_directory(speed: float = 1.0) -> Iterator[Path]:
    """Yield a temporary directory in which four runs grow; remove it at the end of the context."""
    with tempfile.TemporaryDirectory(prefix="lora-tui-demo-", ignore_cleanup_errors=True) as root:
        # The console logs of the samples name saves/qwen2-0.5b/lora/… as output directory: here each log is in its run.
        target = Path(root) / "saves" / "qwen2-0.5b"
        target.mkdir(parents=True)
        writer = start_writer(target, speed)
        try:
            yield target
        finally:
            stop_writer(writer)
