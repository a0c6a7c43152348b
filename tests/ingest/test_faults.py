"""An error of the program itself while one file or one run is read ends the reading of nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lora_tui
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.ingest import file_readers
from lora_tui.ingest.console_logs import ConsoleLogs
from lora_tui.ingest.directory_tree import DirectoryTree
from lora_tui.ingest.follower import Follower
from lora_tui.ingest.run_reader import RunReader
from lora_tui.records.updates import ReadFault
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.integration.faults.following import append, row
from tests.support.waiting import wait_until

pytestmark = pytest.mark.faults


class Watch:
    """A follower and its workspace; counts the faults that are reported."""

    def __init__(self, root: Path) -> None:
        self.follower = Follower([root], poll=True)
        self.workspace = Workspace(self.follower.roots)
        self.faults: list[ReadFault] = []
        for _ in range(20):
            if self.turn():
                break

    def turn(self) -> bool:
        """Read once, and return whether everything has been read."""
        batch = self.follower.read(1.0)
        self.error = batch.error
        for item in batch.runs:
            self.faults += [each for each in item.updates if isinstance(each, ReadFault)]
        self.workspace.apply(batch)
        return batch.complete

    def look(self) -> None:
        """Check everything, as when the time for it has come, and read what has changed."""
        self.follower._changed = None
        self.turn()
        self.turn()

    def run(self, name: str) -> Run:
        (run,) = [run for run in self.workspace.runs if run.path.name == name]
        return run

    def losses(self, name: str) -> list[float]:
        loss = self.run(name).series.get("loss")
        return [] if loss is None else [float(value) for value in loss.values]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        for step in (1, 2):
            append(tmp_path / name, row(step, 3.0 - step))
    return tmp_path


@pytest.fixture
def watch(root: Path) -> Iterator[Callable[[], Watch]]:
    started: list[Watch] = []

    def start() -> Watch:
        started.append(Watch(root))
        return started[-1]

    yield start
    for one in started:
        one.follower.close()


def break_parser(monkeypatch: pytest.MonkeyPatch, marker: bytes) -> list[int]:
    """Let the parser of trainer_log.jsonl raise on bytes with a marker; the returned list counts how often."""
    usual = TrainerLogParser.feed
    tried: list[int] = []

    def feed(self: TrainerLogParser, data: bytes) -> object:
        if marker in data:
            tried.append(len(data))
            raise KeyError("loss")
        return usual(self, data)

    monkeypatch.setattr(TrainerLogParser, "feed", feed)
    return tried


def test_a_parser_that_fails_on_one_run(
    root: Path, watch: Callable[[], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = break_parser(monkeypatch, b"0.125")
    append(root / "a", row(3, 0.125))
    watched = watch()
    assert watched.losses("b") == [2.0, 1.0]
    assert [fault.part for fault in watched.faults] == ["trainer_log.jsonl"]
    assert isinstance(watched.run("a").faults["trainer_log.jsonl"], KeyError)
    assert not watched.run("b").faults
    for _ in range(5):
        watched.look()
    assert len(tried) == 1, "it is not read again before it has changed"
    append(root / "a", row(4, 0.5))
    append(root / "b", row(3, 0.75))
    watched.look()
    assert watched.losses("a")[-1] == 0.5, "reading goes on behind what could not be read"
    assert watched.losses("b")[-1] == 0.75
    assert "trainer_log.jsonl" in watched.run("a").faults, "some of it is still missing"
    assert len(watched.faults) == 1, "reported once"


def test_the_rows_before_an_error_stay_and_a_new_log_is_read_without_one(
    root: Path, watch: Callable[[], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_readers, "CHUNK", len((root / "a/trainer_log.jsonl").read_bytes()))
    break_parser(monkeypatch, b"0.125")
    append(root / "a", row(3, 0.125))
    watched = watch()
    assert watched.losses("a") == [2.0, 1.0]
    (root / "a/trainer_log.jsonl").unlink()
    append(root / "a", row(1, 9.0))
    watched.look()
    wait_until(lambda: watched.losses("a") == [9.0], "the rows of the new log", step=watched.look)
    assert not watched.run("a").faults


@pytest.mark.parametrize("method", ["attach", "check", "_read_tail", "_read_document"])
def test_whatever_fails_in_the_reader_of_one_run(
    method: str, root: Path, watch: Callable[[], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = getattr(RunReader, method)
    broken = True

    def fail(self: RunReader, *arguments: object) -> object:
        if self.path.name == "a" and broken:
            raise ZeroDivisionError
        return usual(self, *arguments)

    monkeypatch.setattr(RunReader, method, fail)
    (root / "a/train_results.json").write_text('{"train_loss": 1.0}')
    watched = watch()
    append(root / "b", row(3, 0.75))
    for _ in range(4):
        watched.look()
    assert watched.losses("b")[-1] == 0.75
    assert watched.run("a").faults
    assert not watched.run("b").faults
    assert len(watched.faults) == 1
    assert watched.error is None
    broken = False
    (root / "a/train_results.json").write_text('{"train_loss": 1.0, "epoch": 2}')
    append(root / "a", row(3, 0.25))
    watched.look()
    assert watched.losses("a")[-1] == 0.25
    assert not watched.run("a").faults, "it is over"


@pytest.mark.parametrize(("kind", "method"), [(DirectoryTree, "scan"), (ConsoleLogs, "assign")])
def test_a_search_for_runs_that_fails_is_reported_and_what_is_known_is_read_on(
    kind: type, method: str, root: Path, watch: Callable[[], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    assert watched.error is None
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        patch.setattr(kind, method, fail)
        append(root / "c", row(1, 5.0))
        watched.look()
        assert isinstance(watched.error, ZeroDivisionError)
        watched.turn()
        assert isinstance(watched.error, ZeroDivisionError), "until a search has ended without one"
        append(root / "b", row(3, 0.75))
        watched.follower._changed = {root / "b/trainer_log.jsonl"}
        watched.turn()
        assert watched.losses("b")[-1] == 0.75
        assert watched.follower._due - time.monotonic() > 1.0 or method == "assign", "not at once again"
    watched.look()
    assert watched.error is None
    assert watched.losses("c") == [5.0]


def test_one_run_that_cannot_be_applied(watch: Callable[[], Watch], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Run.apply

    def fail(self: Run, *arguments: object) -> None:
        if self.path.name == "a":
            raise ZeroDivisionError
        usual(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "apply", fail)
    watched = watch()
    assert watched.losses("b") == [2.0, 1.0]
    assert isinstance(watched.run("a").faults[":updates"], ZeroDivisionError)
    assert watched.workspace.complete


def test_from_python_a_search_that_fails_is_raised(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(DirectoryTree, "scan", fail)
    with pytest.raises(ZeroDivisionError):
        lora_tui.load_all(root)
