"""What is installed is whole: the wheel, in an environment that holds nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.terminal import Terminal, repository_root

pytestmark = pytest.mark.slow

ROOT = repository_root()


def run(command: Sequence[str | Path], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False, timeout=600)
    assert done.returncode == 0, f"{command} said\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder], ROOT)
    (built,) = folder.glob("lora_tui-*.whl")
    return built


def test_the_wheel_holds_everything_that_the_checkout_has(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    package = ROOT / "lora_tui"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.mo", "*.css", "*.js", "*.tcss", "py.typed")
        for path in package.rglob(pattern)
    }
    samples = ROOT / "sample_runs"
    wanted |= {
        f"lora_tui/sample_runs/{path.relative_to(samples).as_posix()}" for path in samples.rglob("*") if path.is_file()
    }
    assert "lora_tui/py.typed" in wanted
    assert wanted - packed == set()
    assert {name for name in packed if not name.startswith(("lora_tui/", "lora_tui-"))} == set()
    assert wheel.stat().st_size < 1_500_000


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path], ROOT)
    (built,) = tmp_path.glob("lora_tui-*.tar.gz")
    with tarfile.open(built) as archive:
        for member in archive.getmembers():
            path = Path(member.name)
            assert not path.is_absolute()
            assert ".." not in path.parts
        archive.extractall(tmp_path)
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py", "tools/bench/suite.py"):
        assert (source / name).is_file(), name
    assert not any(path.name.startswith((".venv", "__pycache__")) for path in source.rglob("*"))
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path], source)
    (again,) = tmp_path.glob("lora_tui-*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        contents = [{name: each.read(name) for name in each.namelist()} for each in (first, second)]
    assert contents[0] == contents[1]


def test_the_metadata_is_what_an_index_shows(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        said = archive.read(name).decode("utf-8")
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert "License-Expression: Apache-2.0" in said
    assert "Requires-Python: >=3.10" in said
    assert "# lora-tui" in said


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "venv"
    run([sys.executable, "-m", "venv", environment], folder)
    python = environment / "bin" / "python"
    # With its dependencies, so that one that is not declared is found missing.
    run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", wheel], folder)
    return environment / "bin"


def test_the_command_works_where_it_is_installed(wheel: Path, installed: Path, tmp_path: Path) -> None:
    python, command = installed / "python", installed / "lora-tui"
    said = run([command, "--version"], tmp_path)
    assert wheel.name.split("-")[1] in said
    assert said == run([python, "-m", "lora_tui", "--version"], tmp_path)
    run([python, "-m", "pip", "check", "--disable-pip-version-check"], tmp_path)


def test_its_data_is_found(installed: Path, tmp_path: Path) -> None:
    python, command = installed / "python", installed / "lora-tui"
    source = "from lora_tui.demo.samples import sample_dir; print(sample_dir())"
    samples = Path(run([python, "-I", "-c", source], tmp_path).strip())
    assert samples.is_relative_to(installed.parent)
    assert (samples / "lora/sft/trainer_log.jsonl").is_file()
    assert "810/810" in run([command, "ls", samples], tmp_path)
    assert "810/810" in run([command, "ls", samples, "--lang", "zh"], tmp_path)
    assert "验证 loss" in run([command, "status", samples / "lora/sft", "--lang", "zh"], tmp_path)
    assert '"schema": 1' in run([command, "status", samples / "lora/sft", "--json"], tmp_path)
    assert "complete" in run([command, "completion", "bash"], tmp_path)


@pytest.mark.pty
def test_the_demo_runs_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    env = {"LORA_TUI_CONFIG_DIR": str(tmp_path), "PYTHONPATH": "", "TMPDIR": str(tmp_path)}
    with Terminal([installed / "lora-tui", "demo"], env=env, cwd=tmp_path) as terminal:
        terminal.wait_for("lora/sft-long", "lora/killed", "[\u2801-\u28ff]")
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []
    assert not list(tmp_path.glob("lora-tui-demo-*"))


def test_types_are_there_for_who_uses_the_api(installed: Path, tmp_path: Path) -> None:
    use = tmp_path / "use.py"
    use.write_text(
        "import time\nimport lora_tui\n\nrun = lora_tui.load('x')\nstate: str = run.status(time.time()).state\n"
        "last: float | None = run.series['loss'].last\nname: int = run.name\n"
    )
    command = [sys.executable, "-m", "mypy", "--python-executable", str(installed / "python"), str(use)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, timeout=600)
    assert "Found 1 error" in done.stdout, done.stdout  # the one that is there to be found: a name is no int
    assert 'variable has type "int"' in done.stdout
