"""The comparison itself: what a file's stamp, its ledger row and its run's row say together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from tracewatchd.model.findings import FileState, Kind
from tracewatchd.model.ledger import LedgerRow, RowVersion
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Seen, Version

WORK = frozenset({Kind.MISSING, Kind.STALE, Kind.ORPHAN})
"""What the line puts right: offered to it before it is called a finding."""

STATE_AFTER: Mapping[Outcome, FileState] = {
    Outcome.LOADED: FileState.LOADED,
    Outcome.UPDATED: FileState.LOADED,
    Outcome.UNCHANGED: FileState.LOADED,
    Outcome.ALREADY_LOADED: FileState.LOADED,
    Outcome.SUPERSEDED: FileState.SUPERSEDED,
    Outcome.QUARANTINED: FileState.QUARANTINED,
    Outcome.ALREADY_QUARANTINED: FileState.QUARANTINED,
    Outcome.UNREADABLE: FileState.UNREADABLE,
    Outcome.LEFT: FileState.PENDING,
    Outcome.PENDING: FileState.PENDING,
}
"""A file's state by what the line said of it; a file that vanished has none."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the database and a look at the disk say of some runs: their rows, and who holds which bytes of them."""

    versions: Mapping[UUID, RowVersion]
    acknowledged: Collection[tuple[UUID, bytes]] = frozenset()
    """Run and sha256 of ledger rows, of any source."""
    live: Collection[tuple[UUID, bytes]] = frozenset()
    """Those of this source whose file is there and is still what the ledger says."""


def doubtful(
    rows: Iterable[LedgerRow], versions: Mapping[UUID, RowVersion], on_disk: Callable[[str], bool]
) -> set[UUID]:
    """Runs of which more must be asked: their row came from other bytes, or their file is not there."""
    runs: set[UUID] = set()
    for row in rows:
        version = versions.get(row.run_id) if row.run_id else None
        if version and (not on_disk(row.path) or version.version.sha256 != row.file_sha256):
            runs.add(version.run_id)
    return runs


def judge(
    seen: Seen | None, row: LedgerRow | None, known: Known, applies: Callable[[LedgerRow], bool]
) -> Kind | FileState | None:
    """Where one path stands: a state, a possible finding, or None where there is nothing to say any more.

    ``applies`` says of a quarantine row whether its cause still holds.
    """
    if seen is None:
        return _without_file(row, known)
    if row is None:
        return Kind.MISSING
    if is_touched(seen, row):
        seen = Seen(row.stamp, seen.sha256)
    if row.stamp != seen.stamp:
        return Kind.STALE
    if seen.sha256 and row.file_sha256 and seen.sha256 != row.file_sha256:
        return Kind.ALTERED
    if row.state == "quarantined":
        return FileState.QUARANTINED if applies(row) else Kind.STALE
    return _acknowledged(row, known)


def is_touched(seen: Seen, row: LedgerRow) -> bool:
    """Whether a file is known to hold what the ledger says under another stamp: a matter for the line, no finding."""
    return row.stamp != seen.stamp and seen.sha256 is not None and seen.sha256 == row.file_sha256


def is_set_back(row: RowVersion, file: Version) -> bool:
    """Whether a row is older than a file of its run: it should have been replaced by it."""
    return row.version < file


def _without_file(row: LedgerRow | None, known: Known) -> Kind | None:
    if row is None:
        return None
    if row.run_id is None or row.state == "quarantined":
        return Kind.GONE
    version = known.versions.get(row.run_id)
    if version is None:
        return Kind.LOST
    return Kind.MOVED if (version.run_id, version.version.sha256) in known.live else Kind.GONE


def _acknowledged(row: LedgerRow, known: Known) -> Kind | FileState:
    version = known.versions.get(row.run_id) if row.run_id else None
    if version is None:
        return Kind.ORPHAN
    if version.version.sha256 == row.file_sha256:
        return FileState.LOADED
    explained = (version.run_id, version.version.sha256) in known.acknowledged
    return FileState.SUPERSEDED if explained else Kind.MISMATCH
