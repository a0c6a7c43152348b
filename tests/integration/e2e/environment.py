"""An environment in which LLaMA-Factory trains on a CPU, with a tiny model and data, built once in the user's cache.

    python -m tests.integration.e2e.environment      build what is missing, about 2 GB

It is built in stages, and each leaves a stamp with the key of its recipe once it is whole. A stage without a stamp was
killed on the way and starts anew; one with another key is brought up to date. What cannot be built is told in one line,
with exit status 1. ``LORA_TUI_LLAMAFACTORY`` names another directory than lora-tui-llamafactory in the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "make_assets.py"

TORCH = "torch==2.13.0"
PRODUCER = ["llamafactory==0.9.5", "torchdata==0.11.0"]
# What llamafactory 0.9.5 imports for text. Its own list would bring torchvision, torchaudio and gradio besides, and
# with them another torch and several GB.
NEEDED = [
    "transformers==5.6.0", "datasets==4.0.0", "accelerate==1.11.0", "peft==0.18.1", "trl==0.24.0", "matplotlib>=3.7",
    "tyro<0.9", "einops", "numpy", "pandas", "scipy", "sentencepiece", "tiktoken", "modelscope", "hf-transfer",
    "safetensors", "av<=16.0.0", "fire", "omegaconf", "packaging", "protobuf", "pyyaml", "pydantic", "uvicorn",
    "fastapi", "sse-starlette", "requests", "jieba", "nltk", "rouge-chinese", "tensorboard",
]  # fmt: skip
# trl 0.24 takes the pair that transformers 5.6 answers with for "installed"; it gets the boolean that it means.
TRL_BEFORE = "\nLIGER_KERNEL_MIN_VERSION"
TRL_PATCH = """
_available = _is_package_available
def _is_package_available(name, return_version=False):
    _first = _available(name, return_version=return_version)
    return _first if return_version or not isinstance(_first, tuple) else _first[0]
"""
PYTHONS = ["python3.11", "python3.12", "python3.13", sys.executable]
PROBE = "import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
FROM_BEFORE = (
    "from importlib.metadata import version as v; print(v('llamafactory'), v('transformers'), v('trl'), v('peft'))"
)


class CannotBuild(Exception):
    """The environment is not there and cannot be made; the message is one line."""


@dataclass(frozen=True)
class Stage:
    """A part of the environment. ``build`` gets whether a whole one of another recipe is there to be changed."""

    name: str
    key: str
    build: Callable[[bool], None]

    def stamp(self, directory: Path) -> Path:
        """The file that says that the stage is whole."""
        return directory / f".{self.name}"


def ensure(directory: Path, stages: Sequence[Stage]) -> list[str]:
    """Build the stages that are not there; their names. Others who build at the same time are waited for."""
    directory.mkdir(parents=True, exist_ok=True)
    built = []
    with (directory / "lock").open("w") as lock:
        # What a killed builder has started still holds the lock until it ends, and is waited for as well.
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stage in stages:
            stamp = stage.stamp(directory)
            there = stamp.read_text() if stamp.exists() else None
            if there == stage.key:
                continue
            stamp.unlink(missing_ok=True)
            stage.build(there is not None)
            fresh = stamp.with_suffix(".new")
            fresh.write_text(stage.key)
            fresh.replace(stamp)
            built.append(stage.name)
    return built


def cache_directory() -> Path:
    """Where the environment is."""
    named = os.environ.get("LORA_TUI_LLAMAFACTORY")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lora-tui-llamafactory"


def stages(directory: Path) -> list[Stage]:
    """The two stages of the real environment: the packages, and what is trained."""
    recipe = "\n".join([TORCH, *PRODUCER, *NEEDED, TRL_PATCH])
    return [
        Stage("packages", _key(recipe), lambda whole: _packages(directory, whole)),
        Stage("assets", _key(ASSETS.read_text(encoding="utf-8")), lambda _: _assets(directory)),
    ]


def build() -> Path:
    """The whole environment's directory, after building what is missing. Raises CannotBuild."""
    directory = cache_directory()
    try:
        ensure(directory, stages(directory))
    except OSError as error:
        raise CannotBuild(f"{directory}: {error}") from error
    (directory / "ready").touch()
    return directory


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _packages(directory: Path, whole: bool) -> None:
    if not whole and (directory / "ready").exists() and _from_before(directory):
        return
    (directory / "ready").unlink(missing_ok=True)
    venv = directory / "venv"
    if not whole:
        shutil.rmtree(venv, ignore_errors=True)
        _said("an environment for LLaMA-Factory is built once in", str(directory))
        _call([_python(), "-m", "venv", str(venv)], "an environment cannot be made")
    # The smallest first, so that a missing network is found at once.
    _pip(venv, ["--no-deps", *PRODUCER])
    _install_torch(venv)
    constraints = directory / "constraints.txt"
    version = _call([str(venv / "bin/python"), "-c", "import torch; print(torch.__version__)"], "torch does not start")
    constraints.write_text(f"torch=={version.strip()}\n")
    _pip(venv, ["--constraint", str(constraints), *NEEDED])
    site = next((venv / "lib").glob("python3*/site-packages"))
    (site / "torchaudio.py").write_text('__version__ = "0.0.0"\n')  # imported at the start, used for audio alone
    utils = site / "trl/import_utils.py"
    text = utils.read_text(encoding="utf-8")
    if TRL_PATCH not in text:
        utils.write_text(text.replace(TRL_BEFORE, TRL_PATCH + TRL_BEFORE, 1), encoding="utf-8")


def _from_before(directory: Path) -> bool:
    """A whole environment without stamps, with the versions that are wanted."""
    python = directory / "venv/bin/python"
    if not python.exists():
        return False
    said = subprocess.run([str(python), "-c", FROM_BEFORE], capture_output=True, text=True)
    return said.stdout.split() == ["0.9.5", "5.6.0", "0.24.0", "0.18.1"]


def _install_torch(venv: Path) -> None:
    """torch for the CPU, a tenth of what comes with CUDA, if pip finds it where it looks (PIP_EXTRA_INDEX_URL)."""
    try:
        _pip(venv, [f"{TORCH}+cpu"])
    except CannotBuild:
        _pip(venv, [TORCH])


def _assets(directory: Path) -> None:
    target = directory / "e2e"
    shutil.rmtree(target, ignore_errors=True)
    _said("a tiny model and its data are made in", str(target))
    _call([str(directory / "venv/bin/python"), str(ASSETS), str(target)], "the tiny model cannot be made")


def _python() -> str:
    pyenv = sorted(str(path) for path in Path("~/.pyenv/versions").expanduser().glob("3.1[123].*/bin/python3"))
    for candidate in (*PYTHONS, *pyenv):
        found = shutil.which(candidate)
        if found and subprocess.run([found, "-c", PROBE], capture_output=True).returncode == 0:
            return found
    raise CannotBuild("LLaMA-Factory 0.9.5 needs Python 3.11, 3.12 or 3.13 with venv, and none was found")


def _pip(venv: Path, request: list[str]) -> None:
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    _said("pip install", *request)
    _call([*pip, *request], "packages cannot be installed (the network is needed once)")


def _call(command: list[str], otherwise: str) -> str:
    """Run a command; what it said. Raises CannotBuild with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, close_fds=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        wrong = [line for line in said if line.startswith("ERROR")] or said or [f"exit status {done.returncode}"]
        raise CannotBuild(f"{otherwise}: {wrong[-1]}")
    return done.stdout


def _said(*words: str) -> None:
    print("e2e:", *words, flush=True)


def main() -> int:
    """Build it; the exit status."""
    try:
        directory = build()
    except CannotBuild as error:
        print(f"e2e: {error}", file=sys.stderr)
        return 1
    print(f"e2e: LLaMA-Factory is in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
