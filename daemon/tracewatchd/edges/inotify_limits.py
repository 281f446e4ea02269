"""How many watches and watchers the kernel grants this user, how many are taken, and how much its queue holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracewatchd.model.errors import NotCheckedError

PROC = Path("/proc")
_OURS = re.compile(rb"(^|/|\0)tracewatchd\0(.*\0)?run\0")
"""The arguments of a daemon of ours: what it watches is counted by what it has to watch."""


class Granted(NamedTuple):
    """How many there may be, and the name under which `sysctl` raises that."""

    number: int
    name: str


class InotifyLimits(NamedTuple):
    """Limits of one user; ``queue`` are the events that wait for one watcher."""

    watches: Granted
    instances: Granted
    queue: Granted


class InotifyUse(NamedTuple):
    """What other programs of this user take."""

    watches: int
    instances: int


def inotify_limits(proc: Path = PROC) -> InotifyLimits:
    """The limits that hold here: those of the machine, and where they are lower, those of our user namespace.

    Raises:
        NotCheckedError: they cannot be read.
    """
    return InotifyLimits(
        watches=min(_granted(proc, "fs.inotify.max_user_watches"), _granted(proc, "user.max_inotify_watches")),
        instances=min(_granted(proc, "fs.inotify.max_user_instances"), _granted(proc, "user.max_inotify_instances")),
        queue=_granted(proc, "fs.inotify.max_queued_events"),
    )


def inotify_use(proc: Path = PROC) -> InotifyUse:
    """Watches and watchers of this user's other programs, as far as we may look; our own daemons left out."""
    watches = instances = 0
    for process in _processes_of(os.geteuid(), proc):
        for info in _watchers(process):
            instances += 1
            watches += info.count(b"inotify wd:")
    return InotifyUse(watches, instances)


def _granted(proc: Path, name: str) -> Granted:
    path = proc / "sys" / name.replace(".", "/")
    try:
        return Granted(int(path.read_text(encoding="ascii")), name)
    except (OSError, ValueError) as error:
        raise NotCheckedError(
            f"the kernel's limits of inotify cannot be read: {error}",
            hint="run this where /proc/sys is to be seen (a unit with ProcSubset=pid hides it)",
        ) from error


def _processes_of(uid: int, proc: Path) -> Iterator[Path]:
    for process in proc.glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid and not _OURS.search((process / "cmdline").read_bytes()):
                yield process
        except OSError:  # it has just ended, or it is not for us to see
            continue


def _watchers(process: Path) -> Iterator[bytes]:
    try:
        for descriptor in (process / "fd").iterdir():
            if str(descriptor.readlink()) in {"anon_inode:inotify", "inotify"}:
                yield (process / "fdinfo" / descriptor.name).read_bytes()
    except OSError:  # as above
        return
