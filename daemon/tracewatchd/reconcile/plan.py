"""What one sweep is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tracewatchd.model.findings import Depth
from tracewatchd.model.fixes import FixKind
from tracewatchd.model.selection import EVERYTHING, Selection

Each: TypeAlias = Callable[[str, str], None]
"""Is given every path with a sigil: ``=`` the same, ``+`` only a file, ``-`` only in the database, ``*`` they differ,
``!`` could not be read. A row that no file explains is given by its run id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """How deep a sweep looks, at what, and what it may put right.

    ``accept_gone`` holds directories (``folder/day``, ``folder``, or the empty text for the root itself) whose missing
    files are believed to be gone. A rolling sweep takes the project-days that were verified at this depth the longest
    time ago first (``oldest_first``) and begins no other one when its budget of seconds or read bytes is spent.
    Rows that no file explains belong to no source: of the sweeps of several sources, one has ``foreign``, and looks for
    them everywhere. Any sweep looks for them in the project-days that it was asked for.
    """

    depth: Depth = "quick"
    selection: Selection = EVERYTHING
    fixes: frozenset[FixKind] = frozenset()
    dry_run: bool = False
    detailed: bool = False
    accept_gone: frozenset[str] = frozenset()
    budget_s: float | None = None
    budget_bytes: int | None = None
    oldest_first: bool = False
    foreign: bool = True
