"""One environment and one time limit for every test, and the real runs with the times that they had."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from lora_tui.demo.samples import restore_mtimes, sample_dir
from lora_tui.ingest.run_reader import RunReader
from lora_tui.runs.run import Run
from lora_tui.runs.run_data import RunData
from lora_tui.settings import fault_log

# No test depends on who runs it: neither on the language, time zone or umask nor on what a terminal says of itself.
# PYTHONUNBUFFERED would hide, or show, what fails when a program ends and writes what it has held back;
# PYTHONDONTWRITEBYTECODE would let each program that is started compile everything anew.
for _name in ("LANGUAGE", "LC_CTYPE", "LC_MESSAGES", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TMUX", "STY",
              "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "LORA_TUI_CONFIG_DIR"):  # fmt: skip
    os.environ.pop(_name, None)
os.environ.update(LANG="C.UTF-8", LC_ALL="C.UTF-8", TZ="UTC", TERM="xterm-256color", COLORTERM="truecolor")
time.tzset()
os.umask(0o022)

# The fixed profile tries the same examples each time, as fast as the machine is; ``make fuzz`` chooses the random one.
hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "random", hypothesis.settings.get_profile("ci"), derandomize=False, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

DATA = Path(__file__).parent / "data" / "runs"

LONGER_S = {"soak": 3600, "e2e": 1800, "slow": 900}
"""Time limits of tests that take long by their nature, by their mark."""
GRACE_S = 30.0
"""Seconds beyond its time limit after which a test is ended together with its process."""
STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep standard error as it is before pytest captures it."""
    config.stash[STDERR] = os.dup(2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: many tests wait for a program that waits for a file. More than eight gain nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, 2 * cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that take long their own time limit."""
    for item in items:
        for mark, limit in LONGER_S.items():
            if item.get_closest_marker(mark) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(limit))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Print all stacks and end the process where a test hangs in C code that holds the interpreter.

    pytest-timeout ends every other one, by a signal that Python has to handle. With xdist a new worker takes over.
    """
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else item.config.getini("timeout"))
    if item.config.getoption("usepdb"):
        return (yield)
    faulthandler.dump_traceback_later(limit + GRACE_S, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def copy_tree(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    restore_mtimes(target)
    return target


@pytest.fixture(scope="session")
def all_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every real run of the repository below one directory; read only."""
    root = tmp_path_factory.mktemp("runs")
    copy_tree(sample_dir(), root)
    copy_tree(DATA, root)
    return root


@pytest.fixture
def copy_run(tmp_path: Path) -> Callable[..., Path]:
    """``copy_run("lora/sft")`` copies one real run, times and all, to a directory of the test's own."""

    def copy(name: str, target: str | None = None) -> Path:
        base = sample_dir() if (sample_dir() / name).is_dir() else DATA
        times: dict[str, float] = json.loads((base / "mtimes.json").read_text())
        goal = tmp_path / (target or name)
        shutil.copytree(base / name, goal)
        for path in goal.rglob("*"):
            stamp = times.get(f"{name}/{path.relative_to(goal)}")
            if path.is_file() and stamp is not None:
                os.utime(path, (stamp, stamp))
        return goal

    return copy


@pytest.fixture(autouse=True)
def own_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[None]:
    """No test reads or writes the settings of whoever runs it, and none leaves an error of the program behind that was
    caught and shown somewhere on the screen, or kept with a run, unless it is marked ``faults``."""
    monkeypatch.setenv("LORA_TUI_CONFIG_DIR", str(tmp_path_factory.mktemp("config")))
    faults = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("LORA_TUI_STATE_DIR", str(faults))
    fault_log.recorded.clear()
    caught: list[Exception] = []
    for kind, method in ((RunReader, "report_fault"), (RunData, "note_fault")):
        monkeypatch.setattr(kind, method, _noting(getattr(kind, method), caught))
    yield
    if request.node.get_closest_marker("faults") is None:
        assert [path.read_text() for path in faults.iterdir()] == []
        assert caught == []


def _noting(method: Callable[..., None], caught: list[Exception]) -> Callable[..., None]:
    """Return a method that also appends the error that it is called with, if any, to ``caught``."""

    def noting(self: object, part: str, error: Exception | None) -> None:
        if error is not None:
            caught.append(error)
        method(self, part, error)

    return noting


def last_write(run: Run) -> float:
    """The run's last sign of life, Unix seconds."""
    assert run.activity is not None
    return run.activity
