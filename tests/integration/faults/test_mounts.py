"""File systems that report no changes, or that hang: recognised by the mount table, and really mounted."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import lora_tui
from lora_tui.demo.samples import sample_dir
from lora_tui.ingest.follower import Follower
from lora_tui.runs.run import Run
from lora_tui.sources.base import NoAnswer
from lora_tui.sources.local_disk import LocalDisk
from lora_tui.sources.mounts import Mounts, parse_table
from lora_tui.sources.timeouts import TimedCalls
from tests.integration.faults.following import Watched, append, events_alone, row, watched, watches
from tests.integration.faults.fuse import Faulty
from tests.support.live_app import watching
from tests.support.program import Following
from tests.support.waiting import wait_until

__all__ = ["events_alone", "watched"]
Watch = Callable[..., Watched]

TABLE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /home/me rw,nosuid shared:7 - nfs4 server:/export/me rw,vers=4.2,hard
31 27 0:31 / /mnt/with\040space rw - nfs server:/x rw
32 27 0:32 / /mnt/ssh rw - fuse.sshfs me@host: rw,user_id=0
33 27 0:33 / /mnt/c rw - 9p C:\134 rw,trans=fd
34 27 0:34 / /mnt/vm rw - virtiofs tag rw
35 27 0:35 / /scratch rw - lustre 10.0.0.1@o2ib:/fs rw
36 27 0:36 / /gpfs/fs0 rw - gpfs fs0 rw
37 27 0:37 / /mnt/beegfs rw - beegfs beegfs_nodev rw
38 27 0:38 / /mnt/win rw - cifs //nas/share rw
39 27 0:39 / /mnt/s3 rw - fuse.s3fs s3fs rw
40 27 0:40 / /net rw - autofs /etc/auto.net rw,indirect
41 27 0:41 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
42 27 8:1 / /mnt/usb rw - fuseblk /dev/sda1 rw
43 27 0:43 / /rootless rw - fuse.fuse-overlayfs fuse-overlayfs rw
44 27 8:2 / /data rw - xfs /dev/sdb rw
45 30 0:45 / /home/me/local rw - tmpfs tmpfs rw
46 44 0:46 / /data/over rw - nfs server:/a rw
47 46 8:3 / /data/over rw - btrfs /dev/sdc rw
not a line of the table
""".lstrip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/saves", "nfs4"),
        ("/home/me", "nfs4"),
        ("/home/mean/saves", None),
        ("/home/me/local/x", "nfs4"),  # the way there leads over the server
        ("/mnt/with space/x", "nfs"),
        ("/mnt/ssh/x", "fuse.sshfs"),
        ("/mnt/c/Users", "9p"),
        ("/mnt/vm/x", "virtiofs"),
        ("/scratch/x", "lustre"),
        ("/gpfs/fs0/x", "gpfs"),
        ("/mnt/beegfs", "beegfs"),
        ("/mnt/win/x", "cifs"),
        ("/mnt/s3/x", "fuse.s3fs"),
        ("/net/host/x", "autofs"),
        ("/merged/x", None),
        ("/mnt/usb/x", None),
        ("/rootless/x", None),
        ("/data/x", None),
        ("/data/over/x", None),
        ("/mnt/ssh/../../data/x", "fuse.sshfs"),
        ("/data/../mnt/ssh/x", "fuse.sshfs"),
    ],
)
def test_the_mount_table_tells_where_events_cannot_be_trusted(tmp_path: Path, path: str, kind: str | None) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    mount = Mounts(tmp_path / "mountinfo").remote_mount(Path(path))
    assert (mount.kind if mount else None) == kind


def test_links_that_lead_there_count(tmp_path: Path) -> None:
    """Nothing of a remote mount is touched to find out: only what is above it."""
    far = tmp_path / "far"
    table = tmp_path / "mountinfo"
    table.write_text(f"50 27 0:50 / {far} rw - nfs server:/x rw\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/run").symlink_to("../far/run")
    (tmp_path / "straight").symlink_to(far)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    mounts = Mounts(table)
    assert mounts.remote_mount(tmp_path / "here") is None
    for path in (far, far / "x", tmp_path / "here/run", tmp_path / "straight/deep/er", tmp_path / "here/run/a"):
        found = mounts.remote_mount(path)
        assert found is not None, path
        assert found.point == far
    assert mounts.remote_mount(tmp_path / "loop/x") is None
    # Unmounted: seen when the table is read again.
    table.write_text("")
    mounts._read_at = float("-inf")
    assert mounts.remote_mount(far / "x") is None


def test_without_a_table_everything_is_local(tmp_path: Path) -> None:
    assert Mounts(tmp_path / "none").remote_mount(Path("/home/me")) is None
    assert parse_table("") == []
    assert Mounts().remote_mount(tmp_path) is None


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """A real overlay, made as containers make theirs."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    append(tmp_path / "lower/saves/a", row(1, 2.0))
    options = ",".join(f"{key}dir={tmp_path / key}" for key in ("lower", "upper", "work"))
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(tmp_path / "merged")]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs mount")
    if done.returncode:
        pytest.skip(f"needs root and overlay: {done.stderr.strip()}")
    yield tmp_path / "merged/saves"
    subprocess.run(["umount", "-l", str(tmp_path / "merged")], check=True)


@pytest.mark.usefixtures("events_alone")
def test_an_overlay_tells_of_every_change(overlay: Path, watched: Watch) -> None:
    """The file lies in the lower layer when the watch is set, and in the upper one after the first row."""
    watch = watched(overlay)
    assert watch.losses("a") == [2.0]
    assert watch.follower._tree.unwatched == set()
    for step in (2, 3):
        append(overlay / "a", row(step, 2.0 - step / 10))
        watch.until(lambda: len(watch.losses("a")) == step)  # noqa: B023
    append(overlay / "b", row(1, 5.0))
    watch.until(lambda: watch.losses("b") == [5.0])


def test_where_no_events_come_the_results_are_the_same(tmp_path: Path, watched: Watch) -> None:
    """A FUSE mount whose files change behind it, as with sshfs: it is polled, and shows the same as the disk itself."""
    source, point = tmp_path / "source", tmp_path / "mount"
    append(source / "a", row(1, 2.0))
    before = watches()
    with Faulty(source, point):
        far, near = watched(point), watched(source)
        assert far.follower._tree.unwatched >= {point, point / "a"}
        assert watches() - before == len(list(source.rglob("*/"))) + 1

        def same() -> None:
            def told(runs: Sequence[Run]) -> object:
                return [
                    (run.name, [*run.series["loss"].values] if "loss" in run.series else [], run.segments,
                     len(run.checkpoints()), {split: dict(result.values) for split, result in run.results().items()})
                    for run in sorted(runs, key=lambda run: run.name)
                ]  # fmt: skip

            cold = lora_tui.load_all(source)
            near.until(lambda: told(near.workspace.runs) == told(cold))
            far.until(lambda: told(far.workspace.runs) == told(cold))

        append(source / "a", row(2, 1.5))
        same()
        assert far.losses("a") == [2.0, 1.5]
        append(source / "b/deep", row(1, 9.0))
        same()
        (source / "a/trainer_log.jsonl").write_text(json.dumps(row(1, 7.0)) + "\n")
        same()
        assert far.losses("a") == [7.0]
        (source / "a/checkpoint-100").mkdir()
        (source / "a/checkpoint-100/trainer_state.json").write_text('{\n  "global_step": 100\n}\n')
        same()
        (source / "a/train_results.json").write_text('{"train_loss": 1.5}')
        same()
        (source / "b").rename(source / "c")
        same()
        (source / "c/deep/trainer_log.jsonl").unlink()
        (source / "c/deep").rmdir()
        same()
        assert [run.name for run in far.workspace.runs] == ["a"]


# -- a mount that hangs ----------------------------------------------------------------------------------------------


def test_a_call_that_does_not_return_costs_a_second_once() -> None:
    go = threading.Event()
    calls = TimedCalls(Path("/mnt/far"))
    assert calls.call("a", lambda: 1) == 1
    start = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        calls.call("b", lambda: go.wait() and 2)
    assert caught.value.point == Path("/mnt/far")
    for _ in range(100):
        with pytest.raises(NoAnswer, match="does not answer"):
            calls.call("c", lambda: 3)
    assert time.monotonic() - start < 50, "a hundred calls of a second each were waited for"
    go.set()

    def late() -> int | None:
        try:
            return calls.call("b", lambda: pytest.fail("asked twice"))
        except NoAnswer:
            return None

    # The late answer is given to the next caller who asks for the same.
    assert wait_until(late) == 2
    with pytest.raises(ZeroDivisionError):
        calls.call("d", lambda: 1 // 0)
    assert calls.call("c", lambda: 3) == 3
    calls.close()


def mount_threads() -> set[threading.Thread]:
    """The threads for mounts: those of other tests may just be ending in this process."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("reading ")}


def test_a_mount_that_hangs_holds_up_no_other_run(tmp_path: Path, watched: Watch) -> None:
    source, point = tmp_path / "source", tmp_path / "saves/far"
    append(source / "a", row(1, 2.0))
    append(tmp_path / "saves/near", row(1, 3.0))
    (tmp_path / "saves/link").symlink_to(point / "a")
    before = mount_threads()
    with Faulty(source, point) as mount:
        watch = watched(tmp_path / "saves")
        assert len(watch.workspace.runs) == 2
        mount("hang")
        watch.until(lambda: watch.errors == {str(point): "does not answer"})
        name = next(run.name for run in watch.workspace.runs if run.name != "near")
        # Its known values stay, and its problems say why nothing new comes.
        watch.until(lambda: [why for _, why in watch.problems(name)] == ["does not answer"])
        assert watch.losses(name) == [2.0]
        for step in range(2, 8):
            append(tmp_path / "saves/near", row(step, 3.0))
            watch.until(lambda: len(watch.losses("near")) == step)  # noqa: B023
        append(tmp_path / "saves/new", row(1, 4.0))
        watch.until(lambda: watch.losses("new") == [4.0])
        assert watch.errors == {str(point): "does not answer"}
        append(source / "a", row(2, 1.0))
        mount("go")
        watch.until(lambda: watch.losses(name) == [2.0, 1.0] and not watch.errors)
        assert watch.problems(name) == []
        # One thread for the mount, and none after all is closed.
        assert len(mount_threads() - before) == 1
        watch.follower.close()
        wait_until(lambda: not mount_threads() - before, "the thread for the mount ends")


def test_a_mount_that_hangs_from_the_start_and_is_taken_away(tmp_path: Path, watched: Watch) -> None:
    """After a forced unmount, as of a dead server, it is no longer reported as not answering."""
    append(tmp_path / "saves/near", row(1, 3.0))
    point = tmp_path / "saves/far"
    with Faulty(tmp_path / "source", point) as mount:
        mount("hang")
        watch = watched(tmp_path / "saves")
        assert watch.losses("near") == [3.0]
        assert watch.errors == {str(point): "does not answer"}
        assert ctypes.CDLL(None).umount2(os.fsencode(point), 2) == 0
        watch.until(lambda: watch.errors == {})
        append(point / "b", row(1, 5.0))
        watch.until(lambda: watch.losses("far/b") == [5.0])


@pytest.mark.parametrize(("lang", "said"), [("en", "does not answer"), ("zh", "没有响应")])
def test_the_app_answers_keys_while_a_mount_hangs(tmp_path: Path, lang: str, said: str) -> None:
    source, point = tmp_path / "source", tmp_path / "saves/far"
    append(source / "a", row(1, 2.0))
    append(tmp_path / "saves/near", *(row(step, 3.0) for step in range(1, 20)))
    with Faulty(source, point) as mount, watching(tmp_path, "saves", "--lang", lang, size=(120, 40)) as terminal:
        terminal.wait_for("near", "far/a")
        mount("hang")
        terminal.wait_for(f"saves/far.*{said}")
        # Keys go on to be answered, rows to come in.
        for _ in range(3):
            terminal.send("?")
            terminal.wait_for("\\^u")
            terminal.send("\x1b")
            terminal.wait_gone("\\^u")
        append(tmp_path / "saves/near", row(20, 1.2345))
        terminal.wait_for("1\\.23")
        assert terminal.settle().count(said) == 1
        mount("go")
        terminal.wait_gone(said)


def test_the_app_starts_and_ends_on_a_mount_that_hangs(tmp_path: Path) -> None:
    with Faulty(tmp_path / "source", tmp_path / "far") as mount:
        mount("hang")
        with watching(tmp_path, "far", size=(200, 40)) as terminal:
            terminal.wait_for("far.*does not answer")


@pytest.mark.parametrize(("command", "code"), [("status", 1), ("ls", 1)])
def test_a_command_on_a_mount_that_hangs_ends_with_one_line(tmp_path: Path, command: str, code: int) -> None:
    from tests.support.program import lora_tui

    with Faulty(tmp_path / "source", tmp_path / "far") as mount:
        mount("hang")
        done = lora_tui(command, tmp_path / "far")
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr == f"lora-tui: {tmp_path / 'far'} cannot be read: does not answer\n"


def test_status_follow_says_that_a_mount_hangs(tmp_path: Path) -> None:
    """One line on stderr when it begins, and rows again when it answers."""
    source, point = tmp_path / "source", tmp_path / "far"
    append(source / "a", row(1, 2.0))
    with Faulty(source, point) as mount:
        follow = Following(point / "a")
        follow.line_with("2.0")
        mount("hang")
        assert follow.process.stderr is not None
        assert follow.process.stderr.readline() == f"lora-tui: {point} cannot be read: does not answer\n"
        append(source / "a", row(2, 1.5))
        mount("go")
        follow.line_with("1.5")
        _, rest = follow.close()
        assert rest == ""


def test_room_on_a_mount_that_hangs_is_not_known(tmp_path: Path) -> None:
    with Faulty(tmp_path / "source", tmp_path / "far") as mount:
        disk = LocalDisk()
        assert disk.space(tmp_path / "far") is not None
        mount("hang")
        assert disk.space(tmp_path / "far") is None
        disk.close()


def test_a_follower_of_samples_on_fuse_reads_what_is_on_the_disk(tmp_path: Path) -> None:
    with Faulty(sample_dir(), tmp_path / "mount"):
        follower = Follower([tmp_path / "mount"])
        runs = {item.path.name for batch in follower.read_all() for item in batch.runs}
        follower.close()
        plain = Follower([sample_dir()])
        assert runs == {item.path.name for batch in plain.read_all() for item in batch.runs}
        plain.close()
