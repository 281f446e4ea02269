"""What a repair is: which findings it may touch, and the journal that can undo it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from tracewatchd.model.findings import Kind


class FixKind(StrEnum):
    """What ``--fix`` takes. All but ``gone-rows`` are named like the kind of finding that they put right."""

    MISSING = "missing"
    STALE = "stale"
    ORPHAN = "orphan"
    ALTERED = "altered"
    MISMATCH = "mismatch"
    OUTDATED = "outdated"
    GONE = "gone"
    GONE_ROWS = "gone-rows"


BY_THE_LINE = frozenset({FixKind.MISSING, FixKind.STALE, FixKind.ORPHAN, FixKind.OUTDATED})
"""Reading the file again puts these right."""

FORCED = frozenset({FixKind.ALTERED, FixKind.MISMATCH})
"""These replace a row that the guarded upsert would keep: the row leaves, then every file of the run is written."""

DESTRUCTIVE = frozenset({FixKind.ALTERED, FixKind.MISMATCH, FixKind.GONE_ROWS})
"""These take something out of the database that no file holds: they ask first, or need ``--yes``."""

BY_DEFAULT = frozenset({FixKind.MISSING, FixKind.STALE, FixKind.ORPHAN})
"""What ``reconcile --once`` repairs unless told otherwise."""

FINDINGS_OF: Mapping[FixKind, frozenset[Kind]] = {
    FixKind.MISSING: frozenset({Kind.MISSING}),
    FixKind.STALE: frozenset({Kind.STALE}),
    FixKind.ORPHAN: frozenset({Kind.ORPHAN}),
    FixKind.ALTERED: frozenset({Kind.ALTERED}),
    FixKind.MISMATCH: frozenset({Kind.MISMATCH}),
    FixKind.OUTDATED: frozenset({Kind.OUTDATED}),
    FixKind.GONE: frozenset({Kind.GONE}),
    FixKind.GONE_ROWS: frozenset({Kind.GONE, Kind.LOST}),
}
"""The kinds of finding that each fix puts right."""

FixState = Literal["applied", "rolled_back", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Asks a commit to keep before-images: ``repair_id`` is the command or sweep that repairs.

    ``kinds`` says what each path's fix is called (``default`` where a path is not in it). With ``forced`` the rows of
    the batch's runs leave first, so that what is written wins whatever its version.
    """

    repair_id: UUID
    default: FixKind
    kinds: Mapping[str, FixKind] = field(default_factory=dict)
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One entry of the journal, without its before-images."""

    fix_id: UUID
    number: int
    repair_id: UUID
    source: str
    kind: FixKind
    run_id: UUID | None
    paths: tuple[str, ...]
    state: FixState
    had_row: bool
    applied_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FixImages:
    """What a fix keeps, as JSON text: the row before it, if it wrote over one, and the ledger rows before and after."""

    run_before: bytes | None
    ledger_before: bytes
    ledger_after: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What became of rolling back one fix: ``refused`` is the sentence that says what changed since, if anything.

    ``already`` says that it had been rolled back before, so that there was nothing to do.
    """

    fix: Fix
    refused: str | None = None
    already: bool = False
