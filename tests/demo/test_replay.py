"""The replay of the demo, observed as any other program would: through its files alone."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_tui.demo import samples as demo
from lora_tui.formats.tensorboard import EventFileParser
from tests.support.processes import is_running
from tests.support.waiting import DEADLINE_S, wait_until

WRITER = Path(demo.__file__).with_name("replay.py")
CLOCK = {"elapsed_time", "remaining_time", "throughput"}


def write(target: Path, speed: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", str(WRITER), str(target), "--speed", str(speed), "--samples", str(demo.sample_dir())],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def stop(writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.communicate()


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def row_count(path: Path) -> int:
    return path.read_bytes().count(b"\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("demo")
    output, _ = (writer := write(target, 100_000.0)).communicate(timeout=DEADLINE_S)
    assert writer.returncode == 0
    assert output == "ready\n"
    return target


@pytest.mark.parametrize("run", ["lora/sft", "lora/killed"])
def test_a_run_at_its_own_speed_ends_byte_for_byte_as_the_job_left_it(finished: Path, run: str) -> None:
    sample = demo.sample_dir() / run
    names = {path.relative_to(sample) for path in sample.rglob("*") if path.is_file()}
    assert names == {path.relative_to(finished / run) for path in (finished / run).rglob("*") if path.is_file()}
    for name in names:
        ours, theirs = (finished / run / name).read_bytes(), (sample / name).read_bytes()
        if "tfevents" in name.name:
            written, real = EventFileParser(), EventFileParser()
            rows_written, rows_real = written.feed(ours), real.feed(theirs)
            assert [row._replace(time=None) for row in rows_written] == [row._replace(time=None) for row in rows_real]
            assert all(row.time is not None and row.time > time.time() - 3600 for row in rows_written)
            assert not written.take_problems()
        else:
            assert ours == theirs, name


@pytest.mark.parametrize("run", ["lora/sft-long", "lora/diverged"])
def test_a_run_at_another_speed_differs_in_its_clock_alone(finished: Path, run: str) -> None:
    ours, theirs = rows(finished / run / "trainer_log.jsonl"), rows(demo.sample_dir() / run / "trainer_log.jsonl")
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert list(our) == list(their)
        # As text: NaN is not equal to itself.
        assert str({k: v for k, v in our.items() if k not in CLOCK}) == str(
            {k: v for k, v in their.items() if k not in CLOCK}
        )
    for name in ("train.log", "trainer_state.json", "all_results.json"):
        assert (finished / run / name).read_bytes() == (demo.sample_dir() / run / name).read_bytes()


def test_the_long_run_keeps_three_checkpoints_each_with_its_own_history(finished: Path) -> None:
    checkpoints = sorted((finished / "lora/sft-long").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-5500", "checkpoint-6000", "checkpoint-6250"]
    for path in checkpoints:
        state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        assert state["global_step"] == state["log_history"][-1]["step"] == int(path.name.partition("-")[2])


def test_files_of_the_end_have_the_order_of_the_producer(finished: Path) -> None:
    run = finished / "lora/sft"
    order = [
        "checkpoint-810/adapter_config.json",
        "checkpoint-810/trainer_state.json",
        "adapter_config.json",
        "train_results.json",
        "trainer_state.json",
        "eval_results.json",
        "README.md",
        "trainer_log.jsonl",
        "predict_results.json",
        "all_results.json",
        "generated_predictions.jsonl",
    ]
    times = [(run / name).stat().st_mtime_ns for name in order]
    assert times == sorted(times)


def test_runs_are_there_at_the_start_and_grow_row_by_row(tmp_path: Path) -> None:
    writer = write(tmp_path, 1.0)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        logs = {run: tmp_path / "lora" / run / "trainer_log.jsonl" for run in ("sft-long", "sft", "diverged", "killed")}
        before, begin = {run: row_count(path) for run, path in logs.items()}, time.monotonic()
        assert min(before.values()) >= 2
        assert before["sft-long"] >= 30
        assert not (tmp_path / "lora/sft/train_results.json").exists()
        assert 19 * 60 < time.time() - logs["killed"].stat().st_mtime < 21 * 60
        console = (tmp_path / "lora/sft-long/train.log").stat().st_size

        def grown(run: str) -> int:
            return row_count(logs[run]) - before[run]

        wait_until(lambda: grown("sft-long") >= 3 and grown("sft") and grown("diverged"), "rows are written")
        wait_until(lambda: (tmp_path / "lora/sft-long/train.log").stat().st_size > console, "the console log grows")
        # Rows of the long run come about one a second, and not faster because somebody looks late.
        assert grown("sft-long") <= 2 * (time.monotonic() - begin) + 2
        assert grown("killed") == 0
        for path in logs.values():
            assert path.read_bytes().endswith(b"}\n")
    finally:
        stop(writer)


def test_it_ends_on_sigterm_and_leaves_what_it_wrote(tmp_path: Path) -> None:
    writer = write(tmp_path, 1.0)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    writer.send_signal(signal.SIGTERM)
    writer.communicate(timeout=DEADLINE_S)
    assert writer.returncode == 0
    assert (tmp_path / "lora/sft-long/trainer_log.jsonl").exists()


def test_it_ends_when_its_parent_dies(tmp_path: Path) -> None:
    source = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from lora_tui.demo import samples as demo\n"
        "writer = demo.start_writer(Path(sys.argv[1]))\n"
        "print(writer.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(demo.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=DEADLINE_S,
        check=False,
    )
    writer = int(done.stdout)
    wait_until(lambda: not is_running(writer), "the writer ends")


def test_the_demo_directory_lives_as_long_as_its_context() -> None:
    with demo.demo_directory(50.0) as target:
        assert sorted(path.name for path in (target / "lora").iterdir()) == ["diverged", "killed", "sft", "sft-long"]
        assert target.parts[-2:] == ("saves", "qwen2-0.5b")
    assert not target.parent.parent.exists()


def test_a_writer_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "sample_dir", lambda: tmp_path / "nowhere")
    with pytest.raises(demo.SampleError, match=r"did not start: .*nowhere"):
        demo.start_writer(tmp_path)


def test_missing_samples_are_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "lora_tui" / "demo" / "samples.py"))
    with pytest.raises(demo.SampleError, match="sample runs are missing"):
        demo.sample_dir()


def test_a_copy_of_the_samples_gets_its_times_back(tmp_path: Path) -> None:
    (tmp_path / "lora/sft").mkdir(parents=True)
    (tmp_path / "lora/sft/trainer_log.jsonl").write_text("")
    (tmp_path / "mtimes.json").write_bytes((demo.sample_dir() / "mtimes.json").read_bytes())
    assert demo.restore_mtimes(tmp_path) == 1
    times = json.loads((tmp_path / "mtimes.json").read_text(encoding="utf-8"))
    restored = (tmp_path / "lora/sft/trainer_log.jsonl").stat().st_mtime
    assert restored == pytest.approx(times["lora/sft/trainer_log.jsonl"], abs=0.01)


def test_every_sample_file_has_its_time() -> None:
    root = demo.sample_dir()
    times = json.loads((root / "mtimes.json").read_text(encoding="utf-8"))
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert set(times) == files - {"mtimes.json", "README.md"}


def test_it_needs_the_standard_library_alone() -> None:
    source = (
        "import json, runpy, sys\n"
        f"sys.argv = [{str(WRITER)!r}, '--help']\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "known = sys.stdlib_module_names | {'__main__'}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules} - known)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_nothing_of_the_package_imports_it() -> None:
    for path in WRITER.parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            else:
                continue
            assert not any("demo.replay" in name for name in names), path
