"""Which tests run one after the other in one worker: those of files that name the same `xdist_group`.

The mark is read from the file: pytest-xdist 3.8 writes groups into the names of tests, where pytest 9.2 no longer looks
(pytest-xdist's issue 1386).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def scope_of(test: str) -> str:
    """The group of a test's file where it names one, else the test alone, which may run anywhere."""
    return _group_of(test.partition("::")[0]) or test


@cache
def _group_of(file: str) -> str:
    path = REPOSITORY / file
    found = re.search(r'xdist_group\("([\w-]+)"\)', path.read_text()) if path.is_file() else None
    return found[1] if found else ""
