"""Real runs for every test, with the times that they had when the jobs wrote them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_tui.demo.samples import restore_mtimes, sample_dir
from lora_tui.runs.run import Run
from lora_tui.settings import fault_log

# Programs under test hold back what they write as they do for a user: that hides, or shows, what fails at their exit.
os.environ.pop("PYTHONUNBUFFERED", None)

DATA = Path(__file__).parent / "data" / "runs"


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
    caught and shown somewhere on the screen, unless it is marked ``faults``."""
    monkeypatch.setenv("LORA_TUI_CONFIG_DIR", str(tmp_path_factory.mktemp("config")))
    faults = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("LORA_TUI_STATE_DIR", str(faults))
    fault_log.forget_recorded()
    yield
    if request.node.get_closest_marker("faults") is None:
        assert [path.read_text() for path in faults.iterdir()] == []


def last_write(run: Run) -> float:
    """The run's last sign of life, Unix seconds."""
    assert run.activity is not None
    return run.activity
