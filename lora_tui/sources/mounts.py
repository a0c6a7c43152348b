"""The mount table: find the paths on remote file systems, which may hang and report no changes of other machines."""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import NamedTuple

TABLE = Path("/proc/self/mountinfo")
"""The kernel's mount table (proc_pid_mountinfo(5)).

Fields: number, parent, device, root, mount point, options, optional fields, "-", type, source, …"""
REREAD_S = 3.0
"""Seconds after which the table is read again."""
REMOTE_TYPES = frozenset({
    "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "glusterfs", "gpfs",
    "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs",
    "vboxsf", "virtiofs", "vmhgfs", "wekafs",
})  # fmt: skip
"""Types of file systems that count as remote.

Other machines change their files without an event here (inotify(7), "Limitations and caveats"), and their server may
stop answering. FUSE mounts of all subtypes are remote too, except :data:`LOCAL_FUSE_TYPES`."""
LOCAL_FUSE_TYPES = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs", "fuseblk"})
"""Types of FUSE file systems on a local disk (rootless containers, NTFS), which count as local.

Every change goes through the same mount and causes an event, as on overlay."""
MAX_LINKS = 40
"""Maximum number of symbolic links that the kernel follows in one path (path_resolution(7))."""


class Mount(NamedTuple):
    """One line of the mount table."""

    point: Path
    kind: str
    """File system type."""
    number: str
    """Numbers of the mount and of its device, by which it differs from another mount on the same point."""

    @property
    def is_remote(self) -> bool:
        """Whether its events cannot be relied on and its server may stop answering."""
        return self.kind in REMOTE_TYPES or (self.kind.startswith("fuse.") and self.kind not in LOCAL_FUSE_TYPES)


def parse_table(text: str) -> list[Mount]:
    """Return the mounts in a mountinfo file, of several on one point only the uppermost; skip malformed lines."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        found[point] = Mount(Path(point), after.split(" ")[0], f"{fields[0]} {fields[2]}")
    return list(found.values())


class Mounts:
    """Finds the remote mount on which a path lies, without accessing anything on it.

    Where there is no mount table (another system, no /proc), everything counts as local.
    """

    def __init__(self, table: Path = TABLE) -> None:
        self._table = table
        self._read_at = float("-inf")
        self._text = ""
        self._mounts: dict[str, Mount | None] = {}
        """Mount point -> the mount if it is remote, None for a local one."""
        self._any_remote = False
        self._known: dict[Path, Mount | None] = {}
        """Cached results of :meth:`remote_mount`."""

    def remote_mount(self, path: Path) -> Mount | None:
        """Return the remote mount on which a path lies or through which it leads, None if all of it is local.

        Symbolic links are followed.
        """
        now = time.monotonic()
        if now - self._read_at >= REREAD_S:
            self._read_at = now
            self._reread()
        if not self._any_remote:
            return None
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def is_mounted(self, mount: Mount) -> bool:
        """Return whether a remote mount is still mounted."""
        return self._mounts.get(str(mount.point)) == mount

    def _reread(self) -> None:
        """Read the mount table again and clear the cached results."""
        try:
            text = self._table.read_text("utf-8", "surrogateescape")
        except OSError:
            text = ""
        if text != self._text:
            self._text = text
            mounts = parse_table(text)
            self._mounts = {str(mount.point): mount if mount.is_remote else None for mount in mounts}
            self._any_remote = any(mount.is_remote for mount in mounts)
        # A link may have another target by now.
        self._known.clear()

    def _find(self, path: Path) -> Mount | None:
        """Resolve a path part by part, without accessing a remote mount; return the first remote mount that is met."""
        left = list(reversed(path.parts[1:]))
        here, links = "", 0
        found = self._mounts.get("/")
        while left and found is None:
            name = left.pop()
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            at = f"{here}/{name}"
            found = self._mounts.get(at)
            target = self._link(at) if found is None and at not in self._mounts and links < MAX_LINKS else None
            if target is None:
                here = at
                continue
            links += 1
            goal = PurePosixPath(target)
            if goal.is_absolute():
                here = ""
            left.extend(reversed(goal.parts[1:] if goal.is_absolute() else goal.parts))
        return found

    def _link(self, path: str) -> str | None:
        """Return the target of a symbolic link, None for anything else."""
        try:
            return str(Path(path).readlink())
        except OSError:
            # Not a link, or it does not exist.
            return None
