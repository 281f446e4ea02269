"""Which level of a path is closed to us: the first one at which a walk from ``/`` would stop."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from tracewatchd.model.errors import NotCheckedError


class Closed(NamedTuple):
    """The first level that stops us, and what it lacks: ``r``, ``w``, ``x`` or several of them, or that it is missing.

    ``owner`` is ``user:group`` and ``mode`` as `chmod` takes it; both are empty where nothing is there.
    """

    path: Path
    lacks: str
    owner: str = ""
    mode: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing at all."""
        return not self.lacks


_BITS = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}


def closed_level(path: Path, wanted: str) -> Closed | None:
    """The first level of an absolute path that lacks what is needed, None where the path can be used.

    Every directory above needs ``x``; the path itself needs what is ``wanted``, letters of ``rwx``, of which ``x``
    counts for directories alone. Symlinks count as what they lead to.

    Raises:
        NotCheckedError: a level cannot be looked at for another reason than permissions.
    """
    for level in (*reversed(path.parents), path):
        lacking = _lacking(level, "x" if level != path else wanted)
        if lacking is not None:
            return lacking
    return None


def _lacking(level: Path, wanted: str) -> Closed | None:
    try:
        status = level.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Closed(level, "")
    except PermissionError as error:
        if level.is_symlink():  # every level above is open, so it is where the link leads that is closed
            return closed_level(_target(level), wanted)
        raise _unseen(level, error) from error
    except OSError as error:
        raise _unseen(level, error) from error
    if not stat.S_ISDIR(status.st_mode):
        wanted = wanted.replace("x", "")
    lacks = "".join(letter for letter in wanted if not os.access(level, _BITS[letter], effective_ids=True))
    if not lacks:
        return None
    return Closed(
        level, lacks, f"{_user(status.st_uid)}:{_group(status.st_gid)}", f"{stat.S_IMODE(status.st_mode):04o}"
    )


def _target(link: Path) -> Path:
    return Path(os.path.normpath(link.parent.resolve() / link.readlink()))


def _unseen(path: Path, error: OSError) -> NotCheckedError:
    return NotCheckedError(
        f"{path} cannot be looked at: {error.strerror}", hint="see whether its file system is well, and its log"
    )


def our_user() -> str:
    """The name of the user that we are, or its number where it has no name."""
    return _user(os.geteuid())


def is_open_to_all(path: Path) -> bool:
    """Whether everybody on this machine may read a file, as far as its own mode decides; a missing one is not.

    Raises:
        NotCheckedError: it cannot be looked at.
    """
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unseen(path, error) from error


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
