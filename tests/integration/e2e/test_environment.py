"""The environment is built once, in stages; what was killed on the way starts anew, what cannot be had is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.e2e.environment import Stage, ensure
from tests.support.terminal import repository_root

ROOT = str(repository_root())
SLOW_BUILD = """
import subprocess, sys
from pathlib import Path
from tests.integration.e2e.environment import Stage, ensure

def build(whole):
    target = Path(sys.argv[1]) / "half"
    target.mkdir()
    (target / "one").touch()
    # A child as pip is one: it outlives its parent for a moment, still writing.
    subprocess.run([sys.executable, "-c", sys.argv[2], str(target)], close_fds=False)

ensure(Path(sys.argv[1]), [Stage("part", "1", build)])
"""
CHILD = (
    "import pathlib, sys, time; print('begun', flush=True); time.sleep(1.5); pathlib.Path(sys.argv[1], 'two').touch()"
)


def stage(directory: Path, name: str, key: str, calls: list[str]) -> Stage:
    def build(whole: bool) -> None:
        calls.append(f"{name} {'changed' if whole else 'new'}")
        (directory / name).write_text(key)

    return Stage(name, key, build)


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ROOT, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120)


def test_what_is_there_is_not_built_again_and_only_what_differs_is_changed(tmp_path: Path) -> None:
    calls: list[str] = []
    make: Callable[[str, str], Stage] = lambda name, key: stage(tmp_path, name, key, calls)  # noqa: E731
    assert ensure(tmp_path, [make("a", "1"), make("b", "1")]) == ["a", "b"]
    assert ensure(tmp_path, [make("a", "1"), make("b", "1")]) == []
    assert ensure(tmp_path, [make("a", "1"), make("b", "2")]) == ["b"]
    assert calls == ["a new", "b new", "b changed"]


def test_a_build_that_was_killed_starts_anew_after_what_it_left_running(tmp_path: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, str(tmp_path), CHILD],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "begun\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    seen: list[set[str]] = []
    left: list[bool] = []

    def build(whole: bool) -> None:
        left.append(whole)
        seen.append({path.name for path in (tmp_path / "half").iterdir()})

    begun = time.monotonic()
    assert ensure(tmp_path, [Stage("part", "1", build)]) == ["part"]
    assert time.monotonic() - begun > 0.5, "the child of the killed builder was still at it"
    assert (left, seen) == ([False], [{"one", "two"}])
    killed.stdout.close()


@pytest.mark.slow
def test_without_network_and_cache_it_says_so_in_a_line(tmp_path: Path) -> None:
    """The package index is an address where nobody answers, as without a network."""
    nowhere = {
        "LORA_TUI_LLAMAFACTORY": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_NO_CACHE_DIR": "1",
    }
    said = run([sys.executable, "-m", "tests.integration.e2e.environment"], **nowhere)
    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert "the network is needed once" in said.stderr
    assert "llamafactory" in said.stderr
    assert not (tmp_path / "cache/ready").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = run(
        [sys.executable, "-m", "tests.integration.e2e.environment"], LORA_TUI_LLAMAFACTORY=str(tmp_path / "file/cache")
    )
    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1
    assert str(tmp_path / "file/cache") in said.stderr
