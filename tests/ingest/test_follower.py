"""The follower: files that another process writes, faults in them, and the run to which a console log belongs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lora_tui
from lora_tui.demo.samples import sample_dir
from lora_tui.i18n import LANGUAGES, Words
from lora_tui.ingest.follower import POLL_S, Follower
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.support.job_writer import Writer
from tests.support.waiting import wait_until

CopyRun = Callable[..., Path]


class Watched:
    """A follower with its workspace, as a command without a terminal uses them."""

    def __init__(
        self, *paths: Path, poll: bool = False, logs: tuple[Path, ...] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self.follower = Follower(paths, logs, poll, clock=clock)
        self.workspace = Workspace(self.follower.roots)
        for batch in self.follower.read_all():
            self.workspace.apply(batch)
        self.follower.start_watching()
        self.turn()

    def turn(self) -> None:
        self.workspace.apply(self.follower.read(0.2))

    def until(self, true: Callable[[], object]) -> None:
        """Follow until ``true()``."""
        wait_until(true, step=self.step)

    def step(self) -> None:
        """Wait a little for something to read, and read it."""
        if self.follower.wait(0.5):
            self.turn()

    def run(self, name: str) -> Run | None:
        return next((run for run in self.workspace.runs if run.name == name), None)

    def losses(self, name: str) -> list[float]:
        run = self.run(name)
        return list(run.series["loss"].values) if run is not None and "loss" in run.series else []


def row(step: int, loss: float, total: int = 100) -> dict[str, object]:
    clock = f"0:{step // 60:02}:{step % 60:02}"
    return {
        "current_steps": step, "total_steps": total, "loss": loss, "lr": 1e-4, "epoch": step / 10,
        "percentage": 100 * step / total, "elapsed_time": clock, "remaining_time": "0:10:00",
    }  # fmt: skip


@pytest.fixture
def open_things() -> Iterator[list[object]]:
    things: list[object] = []
    yield things
    for thing in things:
        thing.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("poll", [False, True])
def test_every_change_of_a_log_is_followed(tmp_path: Path, open_things: list[object], poll: bool) -> None:
    write = Writer(tmp_path / "saves/a")
    open_things.append(write)
    write("row", row(1, 3.0))
    watched = Watched(tmp_path / "saves", poll=poll)
    open_things.append(watched.follower)
    assert watched.losses("a") == [3.0]

    write("row", row(2, 2.5))
    watched.until(lambda: watched.losses("a") == [3.0, 2.5])

    # A line in three writes is one row, once it is whole.
    text = json.dumps(row(3, 2.25))
    write("part", text[:20])
    write("part", text[20:50])
    watched.step()
    watched.step()
    assert watched.losses("a") == [3.0, 2.5]
    write("row", text[50:])
    watched.until(lambda: watched.losses("a") == [3.0, 2.5, 2.25])

    write("delete")
    watched.until(lambda: not watched.losses("a"))
    run = watched.run("a")
    assert run is not None
    assert run.status(time.time()).state == "waiting"
    write("row", row(1, 9.0))
    watched.until(lambda: watched.losses("a") == [9.0])
    assert run is watched.run("a")
    assert run.segments == 1

    write("truncate")
    write("row", row(1, 8.0))
    watched.until(lambda: watched.losses("a") == [8.0])

    write("replace", row(1, 7.0))
    watched.until(lambda: watched.losses("a") == [7.0])


def test_runs_that_appear_move_and_vanish(tmp_path: Path, open_things: list[object]) -> None:
    (tmp_path / "saves").mkdir()
    watched = Watched(tmp_path / "saves")
    open_things.append(watched.follower)
    assert watched.workspace.runs == []
    first, second = Writer(tmp_path / "saves/deep/a"), Writer(tmp_path / "saves/b")
    open_things += [first, second]
    first("row", row(1, 1.0))
    watched.until(lambda: watched.losses("deep/a") == [1.0])
    second("row", row(1, 2.0))
    watched.until(lambda: watched.losses("b") == [2.0])
    second("move", str(tmp_path / "saves/c"))
    watched.until(lambda: watched.losses("c") == [2.0] and watched.run("b") is None)
    first("remove")
    watched.until(lambda: [run.name for run in watched.workspace.runs] == ["c"])


def test_a_path_that_is_removed_is_picked_up_again(tmp_path: Path, open_things: list[object]) -> None:
    write = Writer(tmp_path / "a")
    open_things.append(write)
    write("row", row(1, 3.0))
    watched = Watched(tmp_path / "a")
    open_things.append(watched.follower)
    write("remove")
    watched.until(lambda: not watched.workspace.runs and watched.follower.missing)
    write("row", row(1, 2.5))
    watched.until(lambda: watched.workspace.runs and watched.workspace.runs[0].series["loss"].last == 2.5)


def test_a_path_that_does_not_exist_yet_is_picked_up(tmp_path: Path, open_things: list[object]) -> None:
    watched = Watched(tmp_path / "not/yet")
    open_things.append(watched.follower)
    assert watched.follower.missing == [tmp_path / "not/yet"]
    write = Writer(tmp_path / "not/yet/run")
    open_things.append(write)
    write("row", row(1, 1.0))
    watched.until(lambda: watched.losses("run") == [1.0])
    assert watched.follower.missing == []
    write("row", row(2, 0.5))
    watched.until(lambda: watched.losses("run") == [1.0, 0.5])


def test_a_document_caught_half_written_is_read_again(tmp_path: Path, open_things: list[object]) -> None:
    write = Writer(tmp_path / "a")
    open_things.append(write)
    write("row", row(100, 1.0))
    watched = Watched(tmp_path)
    open_things.append(watched.follower)
    write("torn", "train_results.json", '{"train_loss": 1.')
    watched.step()
    watched.step()
    run = watched.run("a")
    assert run is not None
    assert not run.results()
    assert not run.problems
    write("json", "train_results.json", {"train_loss": 1.25})
    watched.until(lambda: run.results() and run.results()["train"].values == {"train_loss": 1.25})
    assert not run.problems


def test_live_rows_have_the_time_of_their_arrival(tmp_path: Path, open_things: list[object]) -> None:
    write = Writer(tmp_path / "a")
    open_things.append(write)
    write("row", row(1, 3.0))
    watched = Watched(tmp_path)
    open_things.append(watched.follower)
    before = time.time()
    write("row", row(2, 2.5))
    watched.until(lambda: len(watched.losses("a")) == 2)
    run = watched.run("a")
    assert run is not None
    assert run.last_row_time is not None
    assert before - 0.1 <= run.last_row_time <= time.time() + 0.1


def test_a_new_file_of_one_run_takes_nothing_back_from_another(tmp_path: Path, open_things: list[object]) -> None:
    """All directories are listed then; until then the listings of the others are those of the last scan."""
    writers = [Writer(tmp_path / name) for name in "ab"]
    open_things += writers
    for writer in writers:
        writer("row", row(1, 3.0))
    then = time.time() - 500
    os.utime(tmp_path / "a/trainer_log.jsonl", (then, then))
    watched = Watched(tmp_path)
    open_things.append(watched.follower)
    writers[0]("row", row(2, 2.5))
    watched.until(lambda: watched.losses("a") == [3.0, 2.5])
    run = watched.run("a")
    assert run is not None
    before = (run.timeline.times, run.activity)
    writers[1]("json", "train_results.json", {"train_loss": 2.0})
    watched.until(lambda: (b := watched.run("b")) is not None and "train" in b.results())
    assert (run.timeline.times, run.activity) == before
    assert run.status(time.time()).state == "running"


@pytest.mark.parametrize(
    "name", ["lora/resumed", "lora/dpo", "lora/sft-one-yaml", "lora/rerun", "lora/train_2026-11-22-03-50-12"]
)
def test_following_live_and_reading_afterwards_tell_the_same(
    copy_run: CopyRun, tmp_path: Path, open_things: list[object], name: str
) -> None:
    """All files of a real run arrive in small pieces, in changing order; the result is that of reading them at once."""
    source = copy_run(name, "source")
    goal = tmp_path / "live/run"
    goal.mkdir(parents=True)
    watched = Watched(tmp_path / "live")
    open_things.append(watched.follower)
    lines = (source / "trainer_log.jsonl").read_bytes().splitlines(keepends=True)
    others = [p for p in source.rglob("*") if p.is_file() and p.name != "trainer_log.jsonl"]
    for i, line in enumerate(lines):
        with (goal / "trainer_log.jsonl").open("ab") as file:
            file.write(line)
        for path in others[i :: len(lines)]:
            (goal / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, goal / path.relative_to(source))
        if i % 3 == 0:
            watched.follower.wait(0.05)
            watched.turn()
    cold = lora_tui.load(source)

    def told(run: Run | None) -> object:
        return run and (run.segments, {name: list(map(str, s.values)) for name, s in run.series.items()})

    # The heartbeat is the slowest way to notice the last change.
    watched.until(lambda: told(watched.run("run")) == told(cold))


# -- what an input can do wrong ------------------------------------------------------------------------------------


def only_problem(run: Run) -> tuple[str, str]:
    assert len(run.problems) == 1, run.problems
    return run.problems[0].file, run.problems[0].reason


def test_a_bad_line_costs_itself_alone(copy_run: CopyRun) -> None:
    run = copy_run("lora/default")
    log = run / "trainer_log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    bad = [b"\x00\xff\xfe junk\n", b'{"current_steps": 1\n', b"[" * 100_000 + b"\n", b"x" * 10_000_000 + b"\n"]
    log.write_bytes(lines[0] + b"".join(bad) + b"".join(lines[1:]))
    loaded = lora_tui.load(run)
    assert len(loaded.series["loss"]) == 12
    assert [problem.line for problem in loaded.problems] == [2, 3, 4, 5]
    assert all(problem.file == "trainer_log.jsonl" and len(problem.reason) < 100 for problem in loaded.problems)


def test_a_pipe_in_the_place_of_a_log_blocks_nothing(copy_run: CopyRun) -> None:
    run = copy_run("lora/default")
    (run / "trainer_log.jsonl").unlink()
    os.mkfifo(run / "trainer_log.jsonl")
    os.mkfifo(run / "console.log")
    loaded = lora_tui.load(run)
    assert ("trainer_log.jsonl", "not a regular file") in [(p.file, p.reason) for p in loaded.problems]
    assert loaded.results()["train"].values["train_loss"] > 0


def test_a_symlink_loop_ends(copy_run: CopyRun) -> None:
    run = copy_run("lora/default")
    (run / "loop").symlink_to(run)
    (run / "self.log").symlink_to(run / "self.log")
    (run.parent / "up").symlink_to(run.parent)
    runs = lora_tui.load_all(run.parent)
    assert [r.path for r in runs] == [run]


def test_binary_junk_under_every_name(tmp_path: Path) -> None:
    run = tmp_path / "junk"
    (run / "checkpoint-5").mkdir(parents=True)
    names = [
        "trainer_log.jsonl", "trainer_state.json", "train_results.json", "eval_results.json", "adapter_config.json",
        "training_args.yaml", "llamaboard_config.yaml", "README.md", "running_log.txt", "train.log",
        "generated_predictions.jsonl", "events.out.tfevents.1.x.1.0", "checkpoint-5/trainer_state.json",
    ]  # fmt: skip
    junk = bytes(range(256)) * 40
    for name in names:
        (run / name).write_bytes(junk)
        os.utime(run / name, (1e9, 1e9))
    loaded = lora_tui.load(run)
    assert loaded.status(2e9).state in ("waiting", "interrupted")
    told = {problem.file for problem in loaded.problems}
    assert {"trainer_log.jsonl", "trainer_state.json", "train_results.json", "adapter_config.json"} <= told


def as_nobody(code: str, *args: object) -> str:
    """Run Python as a user for whom permissions count, as they do not for root (who has read every module by then)."""
    drop = "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    script = (
        f"import os, sys, lora_tui\nfor run in lora_tui.load_all({str(sample_dir())!r}): run.problems\n{drop}{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=Path(lora_tui.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """
for run in lora_tui.load_all(sys.argv[1]):
    print(run.name, len(run.series.get("loss", ())), [(p.file, p.reason) for p in run.problems])
"""


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user can enter: pytest closes its own to others, and so does each other run of it."""
    with tempfile.TemporaryDirectory(prefix="lora-tui-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_files_and_directories_without_permission_are_named(copy_run: CopyRun, public_dir: Path) -> None:
    run = public_dir / "lora" / "default"
    shutil.copytree(copy_run("lora/default"), run)
    (run / "train_results.json").chmod(0)
    (run / "checkpoint-120").chmod(0)
    said = as_nobody(READ, public_dir)
    (run / "checkpoint-120").chmod(0o755)
    assert "lora/default 12 " in said
    assert "('train_results.json', 'permission denied')" in said
    assert "('checkpoint-120', 'permission denied')" in said


def test_a_log_that_becomes_readable_again_is_read(tmp_path: Path, open_things: list[object]) -> None:
    write = Writer(tmp_path / "a")
    open_things.append(write)
    write("row", row(1, 3.0))
    watched = Watched(tmp_path)
    open_things.append(watched.follower)
    log = tmp_path / "a/trainer_log.jsonl"
    hidden = tmp_path / "hidden"
    log.rename(hidden)
    os.mkfifo(log)
    watched.until(lambda: (run := watched.run("a")) and run.problems)
    log.unlink()
    hidden.rename(log)
    watched.until(lambda: (run := watched.run("a")) and not run.problems and watched.losses("a") == [3.0])


def test_nothing_under_the_path_is_created_changed_or_locked(all_runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(all_runs, copy)

    def picture() -> dict[str, tuple[int, int, int, int]]:
        return {
            str(path.relative_to(copy)): ((s := path.lstat()).st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
            for path in (copy, *copy.rglob("*"))
        }

    before = picture()
    follower = Follower([copy])
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    follower.start_watching()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if follower.wait(0.1):
            workspace.apply(follower.read(0.1))
    locks = Path("/proc/locks").read_text() if Path("/proc/locks").exists() else ""
    follower.close()
    inodes = {str(item[3]) for item in before.values()}
    assert not [line for line in locks.splitlines() if line.split()[5].split(":")[-1] in inodes]
    assert picture() == before
    assert len(workspace.runs) > 20


# -- whose log is it -------------------------------------------------------------------------------------------------


def test_a_log_named_by_the_user_shows_its_run(copy_run: CopyRun) -> None:
    run = copy_run("lora/sft-tf4")
    loaded = lora_tui.load(run / "train.log")
    assert loaded.path == run
    assert len(loaded.series["loss"]) == 20


def test_a_log_alone_is_a_run(copy_run: CopyRun, tmp_path: Path) -> None:
    run = copy_run("lora/sft-tf4")
    alone = tmp_path / "elsewhere" / "job.txt"
    alone.parent.mkdir()
    text = (run / "train.log").read_bytes()
    alone.write_bytes(text)
    loaded = lora_tui.load(alone)
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    expected = [(r["step"], r["loss"]) for r in history if "loss" in r]
    series = loaded.series["loss"]
    assert list(series.steps) == [step for step, _ in expected]
    assert list(series.values) == pytest.approx([loss for _, loss in expected], rel=1e-3)


def test_a_bare_metric_line_is_enough(tmp_path: Path) -> None:
    log = tmp_path / "mine" / "out.log"
    log.parent.mkdir()
    log.write_text(
        "{'loss': 0.0015, 'grad_norm': 0.00787273421883583, 'learning_rate': 4.566094780413215e-05, 'epoch': 174.62, "
        "'num_input_tokens_seen': 4316576}\n"
        "[INFO|2025-05-06 22:22:43] llamafactory.train.callbacks:143 >> {'loss': 0.0008, 'learning_rate': 4.5641e-05, "
        "'epoch': 175.00, 'throughput': 1954.49}\n"
    )
    run = lora_tui.load(tmp_path / "mine")
    assert list(run.series["loss"].values) == [0.0015, 0.0008]
    assert run.series["grad_norm"].last == 0.00787273421883583
    assert run.series["throughput"].last == 1954.49
    assert run.series["total_tokens"].last == 4316576
    assert run.progress(2e9).step is None
    assert run.epoch == 175.0


def test_a_log_that_names_another_directory_makes_no_run_where_it_lies(copy_run: CopyRun, tmp_path: Path) -> None:
    run = copy_run("lora/sft-tf4", "project/saves/qwen2-0.5b/lora/sft-tf4")
    shutil.move(run / "train.log", tmp_path / "project/nohup.out")
    runs = lora_tui.load_all(tmp_path / "project")
    assert [r.path for r in runs] == [run]
    assert runs[0].console is not None


def test_a_log_given_beside_is_joined(copy_run: CopyRun, tmp_path: Path) -> None:
    run = copy_run("lora/killed", "renamed")
    shutil.move(run / "train.log", tmp_path / "any.txt")
    follower = Follower([run], [tmp_path / "any.txt"])
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    follower.close()
    assert [r.path for r in workspace.runs] == [run]
    assert workspace.runs[0].console is not None
    assert workspace.runs[0].config["num_examples"].source == str(tmp_path / "any.txt")


def test_names_are_unique_by_a_longer_prefix(copy_run: CopyRun) -> None:
    a, b = copy_run("lora/default", "one/x/run"), copy_run("lora/default", "two/x/run")
    assert {r.name for r in lora_tui.load_all(a, b)} == {"one/x/run", "two/x/run"}
    assert lora_tui.load(a).name == "x/run"


def test_a_plain_trainer_without_checkpoints_is_followed_by_its_events(copy_run: CopyRun) -> None:
    run = copy_run("hf/trl-sft")
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)
    loaded = lora_tui.load(run)
    assert len(loaded.series["loss"]) == 16
    assert loaded.rows[-1].step == 80
    assert loaded.series["grad_norm"].finite == 16


def test_rows_that_were_there_before_do_not_all_get_the_time_of_the_look(
    copy_run: CopyRun, tmp_path: Path, open_things: list[object]
) -> None:
    """A run that moves in while others are watched has a past: its speed is that of its own clock."""
    source = copy_run("lora/sft", "aside/sft")
    (tmp_path / "saves").mkdir()
    now = time.time()  # stands still, however long the machine takes
    watched = Watched(tmp_path / "saves", clock=lambda: now)
    open_things.append(watched.follower)
    lines = (source / "trainer_log.jsonl").read_bytes().splitlines(keepends=True)
    for path in source.iterdir():
        if path.name not in ("trainer_log.jsonl", "train.log"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (source / "trainer_log.jsonl").write_bytes(b"".join(lines[:60]))
    source.rename(tmp_path / "saves/sft")
    watched.until(lambda: len(watched.losses("sft")) == 55)
    with (tmp_path / "saves/sft/trainer_log.jsonl").open("ab") as file:
        file.write(lines[60])
    watched.until(lambda: len(watched.losses("sft")) == 56)
    run = watched.run("sft")
    assert run is not None
    progress = run.progress(now)
    assert progress.steps_per_s == pytest.approx(4.3, abs=1.5)
    assert progress.remaining_s is not None
    assert 20 < progress.remaining_s < 120


def test_logs_outside_the_paths_make_no_runs_of_their_own(copy_run: CopyRun, tmp_path: Path) -> None:
    run = copy_run("lora/sft-tf4", "saves/qwen2-0.5b/lora/sft-tf4")
    copy_run("lora/killed", "other/killed")
    shutil.move(run / "train.log", tmp_path / "nohup.out")
    follower = Follower([run], cwd=tmp_path)
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    follower.close()
    assert [r.path for r in workspace.runs] == [run]
    assert workspace.runs[0].console is not None
    follower = Follower([run], cwd=tmp_path / "other")
    for batch in follower.read_all():
        assert {item.path for item in batch.runs} <= {run}
    follower.close()


def test_whose_a_log_is_does_not_depend_on_the_order_of_a_set(tmp_path: Path) -> None:
    """Of directories that its path fits equally well the last by name is taken, in each process."""
    for number in range(12):
        path = tmp_path / f"project-{number:02}/saves/a/trainer_log.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(row(1, 2.0)) + "\n")
    log = tmp_path / "logs/train.log"
    log.parent.mkdir()
    log.write_text("{'loss': 2.0, 'epoch': 0.1}\nSaving model checkpoint to gone/saves/a/checkpoint-50\n")
    assert [run.name for run in lora_tui.load_all(tmp_path) if run.console is not None] == ["project-11/saves/a"]


def test_the_note_on_polling_says_how_often_it_is() -> None:
    said = {"en": "twice a second", "zh": "每秒检查两次"}
    for lang in LANGUAGES:
        for code in ("no_watch", "no_instance"):
            assert said[lang] in Words(lang).t(f"note.{code}")
    assert POLL_S == 0.5
