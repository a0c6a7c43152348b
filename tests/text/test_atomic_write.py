import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest

from lora_tui.text.atomic_write import write_atomically


def test_text_and_chunks(tmp_path: Path) -> None:
    path = tmp_path / "报告.md"
    write_atomically(path, "损失 1.25\r\n\ud800\n")
    assert path.read_bytes() == "损失 1.25\r\n\\ud800\n".encode()
    write_atomically(path, (f"{n}\n" for n in range(3)))
    assert path.read_bytes() == b"0\n1\n2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    def chunks():
        yield "new" * 100_000
        assert path.read_text() == "old"
        raise RuntimeError("the run went away")

    with pytest.raises(RuntimeError):
        write_atomically(path, chunks())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", ["old", None])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, old: str | None) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        path = tmp_path / "a.csv"
        if old is not None:
            path.write_text(old)
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically(path, ("x" * 4096 for _ in range(100)))
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(path)
        assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == ([("a.csv", old)] if old else [])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    for path, wanted in ((tmp_path / "no/such/a.md", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(wanted) as caught:
            write_atomically(path, "x")
        assert caught.value.filename == str(path)


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real.md", tmp_path / "link.md"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_straight(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(pipe.read_text()))
    reader.start()
    write_atomically(pipe, ["a", "b"])
    reader.join(10)
    assert seen == ["ab"]
    assert pipe.is_fifo()


def test_a_very_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomically(path, "x")
    assert path.read_text() == "x"
