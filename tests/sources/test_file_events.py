"""The listeners of file file_events: what each reports, and that neither load nor lost file_events get past it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers.polling import PollingObserver

from lora_tui.sources import file_events
from lora_tui.sources.base import Listener
from lora_tui.sources.file_events import DirectoryEvents, TreeEvents, open_listener
from lora_tui.sources.local_disk import LocalDisk
from tests.integration.faults.following import handles
from tests.support.waiting import DEADLINE_S, wait_until

needs_descriptor = pytest.mark.skipif(not file_events.has_shared_descriptor(), reason="needs Linux and watchdog 7.1")
KINDS = [pytest.param(DirectoryEvents, marks=needs_descriptor), TreeEvents]


def append(run: Path, step: int) -> None:
    """A row as LLaMA-Factory writes it: open, append, close."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "trainer_log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"current_steps": step, "loss": 2.0}) + "\n")


def reports(listener: Listener, path: Path) -> bool:
    """Wait until a path is reported as changed."""
    return wait_until(lambda: path in listener.wait(0.2), f"a change of {path}")


def in_use() -> Counter[object]:
    """The threads and, on Linux, the open files of this process; those of other tests may just be ending."""
    return Counter([*threading.enumerate(), *(handles() if file_events.IS_LINUX else [])])


@pytest.fixture(params=KINDS)
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    made: Listener = request.param()
    yield made
    made.close()


def test_every_kind_of_change_is_reported(tmp_path: Path, listener: Listener) -> None:
    run = tmp_path / "a"
    append(run, 1)
    assert listener.watch(tmp_path)
    assert listener.watch(run)
    assert listener.watch(run)
    assert not listener.watch(tmp_path.with_name("none"))
    assert listener.no_events == ""
    append(run, 2)
    assert reports(listener, run / "trainer_log.jsonl")
    (run / "new").mkdir()
    assert reports(listener, run / "new")
    (run / "new").rename(run / "other")
    assert reports(listener, run / "other")
    run.rename(tmp_path / "b")
    assert reports(listener, tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    assert reports(listener, tmp_path / "b")
    append(run, 1)
    assert reports(listener, run)
    assert listener.watch(run)
    append(run, 2)
    assert reports(listener, run / "trainer_log.jsonl")
    listener.unwatch(run)
    listener.unwatch(tmp_path)


def test_a_directory_that_was_deleted_is_watched_when_it_is_made_anew(tmp_path: Path, listener: Listener) -> None:
    """As the root of a tree is, above which nothing is watched."""
    root = tmp_path / "saves"
    append(root, 1)
    assert listener.watch(root)
    for step in range(2, 5):
        shutil.rmtree(root)
        assert reports(listener, root)
        append(root, 1)
        assert listener.watch(root)
        listener.wait(0.0)
        append(root, step)
        assert reports(listener, root / "trainer_log.jsonl")


def test_another_thread_ends_a_wait(tmp_path: Path, listener: Listener) -> None:
    assert listener.watch(tmp_path)
    threading.Timer(0.1, listener.wake).start()
    assert listener.wait(10 * DEADLINE_S) == set()
    listener.close()
    listener.wake()
    listener.close()
    assert listener.wait(0.0) == set()


def test_nothing_is_left_of_a_listener(tmp_path: Path) -> None:
    """Neither a thread nor a descriptor."""
    before = in_use()
    for kind in (file_events.open_listener, TreeEvents):
        listener = kind()
        assert listener.watch(tmp_path)
        (tmp_path / kind.__name__).mkdir()
        assert reports(listener, tmp_path / kind.__name__)
        listener.close()
        wait_until(lambda: not in_use() - before, "nothing of it is left")


def test_the_directories_to_watch_are_bounded(tmp_path: Path, listener: Listener) -> None:
    """Half of what the user may have; what is given back can be had again."""
    for name in "abc":
        (tmp_path / name).mkdir()
    listener._limit = 2  # type: ignore[attr-defined]
    assert listener.watch(tmp_path / "a")
    assert listener.watch(tmp_path / "b")
    assert listener.no_events == ""
    assert not listener.watch(tmp_path / "c")
    assert listener.no_events == "no_watch"
    listener.unwatch(tmp_path / "a")
    assert listener.watch(tmp_path / "c")
    assert listener.no_events == ""


# -- the shared descriptor -------------------------------------------------------------------------------------------


@needs_descriptor
def test_linux_with_a_new_watchdog_shares_one_descriptor() -> None:
    listener = open_listener()
    try:
        assert isinstance(listener, DirectoryEvents)
    finally:
        listener.close()


@needs_descriptor
def test_events_of_a_flood_are_merged_in_the_kernel(tmp_path: Path) -> None:
    """Neither opening nor closing is an event, and those of one file in a row are one while nobody waits."""
    append(tmp_path, 1)
    listener = DirectoryEvents()
    handled: list[object] = []
    handle = listener._inotify.handle_event
    listener._inotify.handle_event = lambda event: (handled.append(event), handle(event))  # type: ignore[method-assign,assignment,func-returns-value]
    assert listener.watch(tmp_path)
    append(tmp_path, 2)
    assert reports(listener, tmp_path / "trainer_log.jsonl")
    for step in range(3, 2003):
        append(tmp_path, step)
    assert reports(listener, tmp_path / "trainer_log.jsonl")
    listener.close()
    assert len(handled) < 200


@needs_descriptor
def test_lost_events_name_every_directory_and_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The kernel's report of lost file_events has no watch of its own (inotify(7), IN_Q_OVERFLOW)."""
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask, WatchDescriptor

    for name in "ab":
        (tmp_path / name).mkdir()
    listener = DirectoryEvents()
    assert listener.watch(tmp_path / "a")
    assert listener.watch(tmp_path / "b")
    overflow = InotifyEvent(WatchDescriptor(-1), Mask(InotifyConstants.IN_Q_OVERFLOW), 0, b"")
    listener._inotify.handle_event(overflow)
    assert listener.wait(0.0) >= {tmp_path / "a", tmp_path / "b"}
    listener.close()
    assert capfd.readouterr() == ("", "")


@needs_descriptor
def test_a_directory_is_known_by_its_newest_name(tmp_path: Path) -> None:
    """A watch follows the directory, not its name: moved and asked for again it is one watch still."""
    (tmp_path / "a").mkdir()
    listener = DirectoryEvents()
    assert listener.watch(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert listener.watch(tmp_path / "b")
    assert listener._descriptors.keys() == {tmp_path / "b"}
    listener.close()


@needs_descriptor
def test_a_descriptor_that_fails_leaves_the_directories_to_polling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = DirectoryEvents()
    assert listener.watch(tmp_path)

    def fail() -> list[object]:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(listener._inotify, "read_events", fail)
    append(tmp_path, 1)
    assert reports(listener, tmp_path)
    assert not listener.watch(tmp_path)
    assert listener.no_events == "no_watch"
    listener.close()


# -- recursive watches -----------------------------------------------------------------------------------------------


def test_below_a_watched_tree_nothing_more_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    listener = TreeEvents()
    assert listener.watch(tmp_path)
    assert listener.watch(tmp_path / "a/b")
    assert listener._watched.keys() == {tmp_path}
    append(tmp_path / "a/b", 1)
    assert reports(listener, tmp_path / "a/b/trainer_log.jsonl")
    listener.close()


@pytest.mark.skipif(not file_events.IS_LINUX, reason="elsewhere a recursive watch costs the same for every tree")
def test_a_tree_that_is_too_large_is_left_to_polling(tmp_path: Path) -> None:
    """Its directories are not asked for one by one either: each would have threads of its own."""
    for number in range(5):
        (tmp_path / f"saves/run-{number}").mkdir(parents=True)
    listener = TreeEvents()
    listener._limit = 4
    assert not listener.watch(tmp_path / "saves")
    assert not listener.watch(tmp_path / "saves/run-1")
    assert listener.no_events == "no_watch"
    assert listener._watched == {}
    listener.close()


def test_where_watchdog_would_poll_there_are_no_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists whole trees once a second; the follower polls within a budget."""
    monkeypatch.setattr(file_events, "Observer", PollingObserver)
    monkeypatch.setattr(file_events, "has_shared_descriptor", lambda: False)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)):
        open_listener()
    disk = LocalDisk()
    assert not disk.watch(tmp_path)
    assert disk.no_events == ""
    disk.close()


def test_an_old_watchdog_on_linux_gets_recursive_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_events, "has_shared_descriptor", lambda: False)
    listener = open_listener()
    assert isinstance(listener, TreeEvents)
    listener.close()
