"""How much room a directory's disk has, also of a directory that is not made yet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tracewatchd.model.errors import NotCheckedError


class Room(NamedTuple):
    """What is free for us on the disk under a directory; ``files_share`` is the free share of its inodes.

    A file system without a fixed number of inodes has all of them free.
    """

    path: Path
    free_bytes: int
    files_share: float


def existing(path: Path) -> Path:
    """The nearest of a path and the directories above it that is there."""
    return next((level for level in (path, *path.parents) if level.exists()), Path("/"))


def room_for(path: Path) -> Room:
    """The room under a path, or where it would be made.

    Raises:
        NotCheckedError: the disk does not say.
    """
    try:
        place = existing(path)
        found = os.statvfs(place)
    except OSError as error:
        raise NotCheckedError(
            f"the room under {path} is unknown: {error.strerror}", hint="run this as the user of the service"
        ) from error
    share = found.f_favail / found.f_files if found.f_files else 1.0
    return Room(place, found.f_bavail * found.f_frsize, share)
