"""What each face imports, told by ``sys.modules`` of a process of its own.

Imports on the way to the first answer decide how long a user waits for it, and the core must run where no terminal
toolkit is installed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import environment
from tests.support.terminal import Terminal, repository_root

TOOLKITS = {"textual", "rich", "plotext"}
ROOT = repository_root()


def modules(code: str, *args: str | Path) -> set[str]:
    """The top-level modules that are loaded after ``code`` has run with these arguments."""
    tail = "\nimport sys; sys.stdout.flush(); print('|'.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *map(str, args)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split("|"))


def command(*args: str | Path) -> set[str]:
    """The modules that a command has loaded when it is done."""
    return modules("import sys; from lora_tui.cli.main import main; assert main(sys.argv[1:]) == 0", *args)


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert modules("import lora_tui") & {*TOOLKITS, "pydantic", "yaml", "watchdog", "numpy", "argparse"} == set()


def test_the_python_api_needs_no_toolkit(all_runs: Path) -> None:
    for run in ("lora/sft", "lora/killed", "hf/trl-sft"):
        code = "import sys, time, lora_tui; lora_tui.load(sys.argv[1]).status(time.time())"
        assert modules(code, all_runs / run) & {*TOOLKITS, "pydantic", "watchdog", "numpy"} == set()


def test_the_headless_commands_need_no_toolkit(all_runs: Path) -> None:
    for name, path in (("status", all_runs / "lora/sft"), ("ls", all_runs)):
        assert command(name, path) & {*TOOLKITS, "pydantic", "watchdog", "numpy", "shtab"} == set()
        assert command(name, "--json", path) & {*TOOLKITS, "watchdog", "numpy", "shtab"} == set()


def test_yaml_is_imported_for_a_run_that_has_yaml_alone(copy_run: Callable[..., Path]) -> None:
    run = copy_run("lora/default")
    (run / "README.md").unlink()  # a model card begins with YAML
    assert not list(run.rglob("*.y*ml"))
    assert "yaml" not in command("status", run)
    (run / "training_args.yaml").write_text("stage: sft\nlora_rank: 8\n")
    assert "yaml" in command("status", run)


@pytest.mark.pty
def test_the_app_draws_its_first_frame_without_pydantic(all_runs: Path, tmp_path: Path) -> None:
    said = tmp_path / "modules"
    code = (
        "import sys\n"
        "from lora_tui.tui import app\n"
        "def note(self, first=app.LoraTuiApp._after_first_frame):\n"
        "    open(sys.argv[-1], 'w').write('|'.join(sys.modules))\n"
        "    first(self)\n"
        "app.LoraTuiApp._after_first_frame = note\n"
        "from lora_tui.cli.main import main\n"
        "sys.exit(main(sys.argv[1:-1]))\n"
    )
    program = [sys.executable, "-c", code, "watch", str(all_runs / "lora/sft"), str(said)]
    with Terminal(program, env=environment()) as terminal:
        terminal.wait_for("810", "[\u2801-\u28ff]")
        while not said.exists():
            terminal.drain(0.1)
        terminal.send("q")
        assert terminal.wait_exit() == 0
    loaded = said.read_text().split("|")
    assert "textual" in loaded
    assert {"pydantic", "numpy", "shtab", "watchdog"} & set(loaded) == set()


def test_the_demo_writer_knows_nothing_of_the_watching_side() -> None:
    tree = ast.parse((ROOT / "lora_tui" / "demo" / "replay.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    named = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {(node.module or ".").partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert named <= {*sys.stdlib_module_names, "__future__"}
    script = str(ROOT / "lora_tui" / "demo" / "replay.py")
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='writer')"
    assert "lora_tui" not in modules("import sys; sys.path = [p for p in sys.path if p]\n" + code, script)


def test_nothing_but_the_demo_knows_the_writer() -> None:
    for path in (ROOT / "lora_tui").rglob("*.py"):
        if path.parent.name != "demo":
            assert "demo.replay" not in path.read_text(encoding="utf-8"), path
