"""Becomes a Postgres program: as another user or in a user namespace where asked, and ended with its parent.

Run as a script of its own, ``PARENT_PID DEATH_SIGNAL UID:GID|- namespace|- PROGRAM ARGUMENT ...``, because what it does
must happen between fork and exec: in a process that has threads, Python code there may deadlock, while a fresh
interpreter with a single thread is sound, and lets the parent fork without a hook.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_CLONE_NEWUSER = 0x10000000
_NOBODY = 65534


def _checked(status: int) -> None:  # pragma: no cover - in a process that becomes another program
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _become_user(uid: int, gid: int) -> None:  # pragma: no cover - in a process that becomes another program
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _enter_namespace(libc: ctypes.CDLL) -> None:  # pragma: no cover - in a process that becomes another program
    """Stay who we are for the kernel, and be ``nobody`` for ourselves: Postgres only refuses to be called root."""
    uid, gid = os.geteuid(), os.getegid()
    _checked(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))  # a change of user took our own /proc files from us
    _checked(libc.unshare(_CLONE_NEWUSER))
    for name, text in ("setgroups", "deny"), ("uid_map", f"{_NOBODY} {uid} 1"), ("gid_map", f"{_NOBODY} {gid} 1"):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def main(
    parent: str, signal: str, user: str, namespace: str, *command: str
) -> None:  # pragma: no cover - in a process that becomes another program
    """Become the command.

    Raises:
        OSError: the kernel refused one of the steps.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if user != "-":
        uid, _, gid = user.partition(":")
        _become_user(int(uid), int(gid))
    if namespace != "-":
        _enter_namespace(libc)
    # Only now: the kernel forgets the signal whenever credentials change.
    _checked(libc.prctl(_PR_SET_PDEATHSIG, int(signal), 0, 0, 0))
    if os.getppid() != int(parent):
        sys.exit("the parent has ended already")
    os.execv(command[0], command)  # noqa: S606 - becoming another program without a shell is the purpose


if __name__ == "__main__":  # pragma: no cover - in a process that becomes another program
    main(*sys.argv[1:])
