"""What kind of file system a root lies on: whether it sends events, and how fine its clock is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

_MOUNTS = Path("/proc/self/mountinfo")
_SILENT = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "glusterfs", "lustre"})
# Kernel 6.13 gave these file systems stamps that differ after every look (multigrain timestamps).
_FINE = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})
_FINE_SINCE = (6, 13)
_COARSE_GRAIN_S = 2.0


class FileSystem(NamedTuple):
    """The file system under a path. ``stamp_grain_s`` is how long two writes may share one mtime, in seconds."""

    kind: str
    sends_events: bool
    stamp_grain_s: float


def file_system_of(path: Path, *, mounts: str | None = None, release: str | None = None) -> FileSystem:
    """The file system that holds this path, from the kernel's list of mounts; ``unknown`` where that cannot be read."""
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            mounts = ""
    kind = _kind_of(os.path.realpath(path), mounts)
    fine = kind in _FINE and _kernel(release or platform.release()) >= _FINE_SINCE
    return FileSystem(kind, not _is_silent(kind), 0.0 if fine else _COARSE_GRAIN_S)


def _kind_of(path: str, mounts: str) -> str:
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) > 4 and right:  # noqa: PLR2004 - the mount point is the fifth field (proc_pid_mountinfo(5))
            point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
            if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
                best, kind = point, right.split()[0]
    return kind


def _is_silent(kind: str) -> bool:
    return kind in _SILENT or kind.startswith("fuse")


def _kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
