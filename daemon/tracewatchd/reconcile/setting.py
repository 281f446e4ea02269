"""What a sweep works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from tracewatchd.edges.folder import Folder
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.line import Offload
from tracewatchd.model.findings import Difference
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.reconcile.ports import Offering, SweepStore

Explain: TypeAlias = Callable[[bytes, bytes, str, int], Sequence[Difference]]
"""Where two JSON texts differ: the file's, the row's, what their pointers begin with, how many are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """The sizes and waits of a sweep."""

    page_rows: int
    confirm_s: float
    grace_s: float
    findings_kept: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSetting:
    """What a sweep works with. ``offload`` is for walking and looking, ``read`` for reading and decoding."""

    folder: Folder
    store: SweepStore
    line: Offering
    limits: SweepLimits
    still_quarantined: Callable[[LedgerRow], bool]
    offload: Offload
    read: Offload
    budget: ByteBudget
    now: Callable[[], datetime]
    explain: Explain | None = None
