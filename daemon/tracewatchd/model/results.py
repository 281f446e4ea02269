"""Outcomes of files, and the typed results that batches and commands end with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of one path that was offered to the line."""

    LOADED = "loaded"
    """The run was new: its row was inserted."""
    UPDATED = "updated"
    """An older version of the run was there: its row was replaced."""
    UNCHANGED = "unchanged"
    """The row already held these bytes; at most its mtime rose."""
    SUPERSEDED = "superseded"
    """The row holds a newer version of the run."""
    LEFT = "left"
    """The row holds an older version and only inserts were asked for: not acknowledged."""
    QUARANTINED = "quarantined"
    """The file cannot be stored, and the ledger says why."""
    ALREADY_LOADED = "already_loaded"
    """The ledger knew this very stamp: nothing was read."""
    ALREADY_QUARANTINED = "already_quarantined"
    """The ledger knew this very stamp, rules and setting as quarantined: nothing was read."""
    UNREADABLE = "unreadable"
    """The file could not be read right now (permissions, I/O error)."""
    PENDING = "pending"
    """Not decided: still being written when the waiting ended, or the line stopped."""
    VANISHED = "vanished"
    """There is no run file at the path."""


ACKNOWLEDGED = frozenset({Outcome.LOADED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one committed transaction did.

    ``retry`` holds the paths whose row was neither ours nor newer when it was read back (it was removed meanwhile):
    they are not acknowledged and must be offered again.
    """

    outcomes: Mapping[str, Outcome]
    retry: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Paths by outcome, only those that occurred."""
        return dict(sorted(Counter(map(str, self.outcomes.values())).items()))


@dataclass(slots=True)
class LoadResult:
    """What a loading command did, in files."""

    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    already_loaded: int = 0
    left: int = 0
    quarantined: int = 0
    already_quarantined: int = 0
    unreadable: int = 0
    pending: int = 0
    vanished: int = 0
    ignored: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)

    @property
    def files(self) -> int:
        """Run files that were offered."""
        return sum(getattr(self, outcome.value) for outcome in Outcome)
