"""Which file systems lie where, and which of them may hang or keep changes of other machines to themselves."""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import NamedTuple

TABLE = Path("/proc/self/mountinfo")
"""proc_pid_mountinfo(5): number, parent, device, root, mount point, options, optional fields, "-", type, source, …"""
FRESH_S = 3.0
"""How long the table is believed before it is read again."""
DISTANT = frozenset({
    "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "glusterfs", "gpfs",
    "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs",
    "vboxsf", "virtiofs", "vmhgfs", "wekafs",
})  # fmt: skip
"""Types whose files others change without an event here (inotify(7), "Limitations and caveats"), and whose server may
stop to answer. What is mounted by FUSE is distant too, whatever its subtype, but for LOCAL."""
LOCAL = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs", "fuseblk"})
"""FUSE on top of a local disk: rootless containers, NTFS. Every change comes through the same mount and is told, as on
overlay."""
MOST_LINKS = 40
"""The kernel follows no more links in one path (path_resolution(7))."""


class Mount(NamedTuple):
    """A line of the table."""

    point: Path
    kind: str
    number: str
    """Of the mount and of its device: another mount on the same point has another one."""

    @property
    def distant(self) -> bool:
        """Events cannot be trusted, and it may stop to answer."""
        return self.kind in DISTANT or (self.kind.startswith("fuse.") and self.kind not in LOCAL)


def parse_table(text: str) -> list[Mount]:
    """The mounts of a mountinfo file, of several on one point the uppermost alone. Lines that are none are left out."""
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
    """The mount table, as far as it matters: which distant mount a path lies on, if any.

    Nothing on a distant mount is touched to find that out. Not known (another system, no /proc): everything is local.
    """

    def __init__(self, table: Path = TABLE) -> None:
        self._table = table
        self._read_at = float("-inf")
        self._text = ""
        self._distant: dict[str, Mount | None] = {}
        """Mount point -> the mount if it is distant, ``None`` for a local one."""
        self._any = False
        self._known: dict[Path, Mount | None] = {}

    def distant(self, path: Path) -> Mount | None:
        """The distant mount on which a path lies, or over which the way to it leads, links followed; ``None`` where
        all is local."""
        now = time.monotonic()
        if now - self._read_at >= FRESH_S:
            self._read_at = now
            self._renew()
        if not self._any:
            return None
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def there(self, mount: Mount) -> bool:
        """It is still mounted."""
        return self._distant.get(str(mount.point)) == mount

    def _renew(self) -> None:
        try:
            text = self._table.read_text("utf-8", "surrogateescape")
        except OSError:
            text = ""
        if text != self._text:
            self._text = text
            mounts = parse_table(text)
            self._distant = {str(mount.point): mount if mount.distant else None for mount in mounts}
            self._any = any(mount.distant for mount in mounts)
        # A link may lead elsewhere by now.
        self._known.clear()

    def _find(self, path: Path) -> Mount | None:
        left = list(reversed(path.parts[1:]))
        here, links = "", 0
        found = self._distant.get("/")
        while left and found is None:
            name = left.pop()
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            at = f"{here}/{name}"
            found = self._distant.get(at)
            target = self._link(at) if found is None and at not in self._distant and links < MOST_LINKS else None
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
        try:
            return str(Path(path).readlink())
        except OSError:
            # No link, or nothing at all.
            return None
