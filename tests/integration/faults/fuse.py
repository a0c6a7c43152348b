"""A file system that can hang and fail: the files of a directory, read only, served over /dev/fuse (linux/fuse.h).

``python -m tests.integration.faults.fuse SOURCE POINT`` mounts it and takes commands on stdin: ``hang`` (no request is
answered any more), ``go``, ``fail N`` (reading beyond byte N is an input/output error). Each is answered with a line.
The kernel tells nobody of changes that are made in SOURCE, as it does not with sshfs or NFS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.terminal import repository_root
from tests.support.waiting import wait_until

LOOKUP, FORGET, GETATTR, READLINK, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 2, 3, 5, 14, 15, 17, 18, 25, 26
OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 27, 28, 29, 34, 36, 38, 42
SILENT = {FORGET, BATCH_FORGET, INTERRUPT, DESTROY}
DIRECT_IO = 1
MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2


class Server:
    """Answers the kernel."""

    def __init__(self, source: Path, handle: int) -> None:
        self.handle = handle
        self.nodes = [source, source]  # the root is number 1
        self.numbers = {source: 1}
        self.hangs = False
        self.fails_at: int | None = None

    def serve(self) -> None:
        while True:
            waiting = [sys.stdin] if self.hangs else [sys.stdin, self.handle]
            ready, _, _ = select.select(waiting, [], [])
            if sys.stdin in ready:
                command = sys.stdin.readline().split()
                if not command:
                    return
                self.hangs = command[0] == "hang"
                self.fails_at = int(command[1]) if command[0] == "fail" else None
                print("done", flush=True)
            elif self.handle in ready:
                self.answer(os.read(self.handle, 1 << 20))

    def answer(self, request: bytes) -> None:
        _, code, unique, node = struct.unpack_from("=IIQQ", request)
        if code in SILENT:
            return
        error, body = 0, b""
        try:
            body = self.reply(code, node, request[40:])
        except OSError as failure:
            error = -(failure.errno or errno.EIO)
        try:
            os.write(self.handle, struct.pack("=IiQ", 16 + len(body), error, unique) + body)
        except FileNotFoundError:
            pass  # whoever asked has been killed

    def reply(self, code: int, node: int, body: bytes) -> bytes:
        if code == INIT:
            return struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 10, 4096, 1, 0, 0, 0)
        path = self.nodes[node]
        if code == LOOKUP:
            return self.entry(path / os.fsdecode(body.rstrip(b"\0")))
        if code == GETATTR:
            return struct.pack("=QII", 0, 0, 0) + attributes(path)
        if code == READLINK:
            return os.fsencode(path.readlink())
        if code in (OPEN, OPENDIR):
            path.stat()
            return struct.pack("=QII", 0, DIRECT_IO if code == OPEN else 0, 0)
        if code == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            if self.fails_at is not None and offset + size > self.fails_at:
                raise OSError(errno.EIO, "as it was told to")
            with path.open("rb") as file:
                return os.pread(file.fileno(), size, offset)
        if code == READDIR:
            _, offset, size = struct.unpack_from("=QQI", body)
            return listing(path, offset, size)
        if code == STATFS:
            found = os.statvfs(path)
            sizes = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
            return struct.pack("=QQQQQIIII24x", *sizes, found.f_bsize, 255, found.f_frsize, 0)
        if code in (RELEASE, RELEASEDIR, FLUSH, ACCESS):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def entry(self, path: Path) -> bytes:
        path.lstat()
        number = self.numbers.get(path)
        if number is None:
            number = self.numbers[path] = len(self.nodes)
            self.nodes.append(path)
        return struct.pack("=QQQQII", number, 0, 0, 0, 0, 0) + attributes(path)


def attributes(path: Path) -> bytes:
    s = path.lstat()
    times = [divmod(n, 1_000_000_000) for n in (s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns)]
    whole, rest = [t[0] for t in times], [t[1] for t in times]
    # The number of the file itself: another one after a rename.
    return struct.pack(
        "=QQQQQQIIIIIIIIII", s.st_ino, s.st_size, s.st_blocks, *whole, *rest, s.st_mode, s.st_nlink, s.st_uid, s.st_gid,
        0, 4096, 0
    )  # fmt: skip


def listing(path: Path, offset: int, size: int) -> bytes:
    out = b""
    for place, item in list(enumerate(sorted(path.iterdir()), 1))[offset:]:
        raw = os.fsencode(item.name)
        try:
            info = item.lstat()
        except FileNotFoundError:
            continue
        entry = struct.pack("=QQII", info.st_ino, place, len(raw), stat.S_IFMT(info.st_mode) >> 12) + raw
        entry += bytes(-len(entry) % 8)
        if len(out) + len(entry) > size:
            break
        out += entry
    return out


def main() -> None:
    source, point = Path(sys.argv[1]), sys.argv[2]
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={handle},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV
    if libc.mount(b"faulty", point.encode(), b"fuse.faulty", flags, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    Server(source, handle).serve()


class Faulty:
    """``source`` seen at ``point``, with faults. Skips the test where nothing can be mounted."""

    def __init__(self, source: Path, point: Path) -> None:
        self.point = point
        source.mkdir(parents=True, exist_ok=True)
        point.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.faults.fuse", str(source), str(point)],
            cwd=repository_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "mounted\n":
            self.process.wait()
            assert self.process.stderr is not None
            said = self.process.stderr.read().strip().splitlines()[-1]
            pytest.skip(f"needs root and FUSE: {said}")

    def __call__(self, command: str) -> None:
        """Another fault from now on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # What still waits for an answer gets an error when the server is gone.
        self.process.kill()
        self.process.communicate()
        libc = ctypes.CDLL(None, use_errno=True)

        def is_unmounted() -> bool:
            # EINVAL: the test itself has unmounted it.
            return not libc.umount2(str(self.point).encode(), MNT_DETACH) or ctypes.get_errno() == errno.EINVAL

        wait_until(is_unmounted, f"{self.point} is unmounted")


if __name__ == "__main__":
    main()
