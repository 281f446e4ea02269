"""Checks that need a user without root's power over permissions."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

NOBODY = 65534


def as_nobody(check: Callable[[], None]) -> None:
    """Run a check in a child without root's power over permissions; it fails here if it fails there."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if not os.geteuid():
                os.setgroups([])
                os.setegid(NOBODY)
                os.seteuid(NOBODY)
            check()
            code = 0
        finally:
            if code:
                traceback.print_exc(file=sys.__stderr__)
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
