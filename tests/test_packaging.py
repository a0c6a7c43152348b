"""What is installed is whole: the wheel, in an environment that holds nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.terminal import repository_root

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
        for pattern in ("*.py", "*.mo", "*.tcss", "py.typed")
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


def test_it_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run([sys.executable, "-m", "venv", environment], tmp_path)
    python = environment / "bin" / "python"
    # With its dependencies, so that one that is not declared is found missing.
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, wheel], tmp_path)
    said = run([environment / "bin" / "lora-tui", "--version"], tmp_path)
    assert wheel.name.split("-")[1] in said
    assert said == run([python, "-m", "lora_tui", "--version"], tmp_path)
    source = "from lora_tui.demo import sample_dir; print(sample_dir())"
    samples = Path(run([python, "-I", "-c", source], tmp_path).strip())
    assert samples.is_relative_to(environment)
    assert (samples / "lora/sft/trainer_log.jsonl").is_file()
    run([environment / "bin" / "lora-tui", "ls", samples], tmp_path)
    run([python, "-m", "pip", "check", "--disable-pip-version-check"], tmp_path)
