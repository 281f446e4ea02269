"""From paths to records: what one worker thread does for one batch, within its share of bytes in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from tracewatchd.edges.folder import Body, Folder, Reader, UnreadableError
from tracewatchd.ingest.inbox import Entry
from tracewatchd.model.decode import CLEAN_COST, decode, first_look
from tracewatchd.model.layout import RunPath
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import RULES, SETTLING, Reason, Rejection, Sanitize, TraceRecord
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRules:
    """What the operator chose about reading. Sizes in bytes."""

    max_file_bytes: int
    batch_bytes: int
    sanitize: Sanitize

    @property
    def max_file_setting(self) -> str:
        """How a quarantine row names the limit on a file's size."""
        return f"max_file_bytes={self.max_file_bytes}"

    def still_quarantined(self, row: LedgerRow) -> bool:
        """Whether what put a file into quarantine still holds."""
        in_force = {None, self.max_file_setting, f"sanitize={self.sanitize}"}
        return row.rules == RULES and row.setting in in_force

    def remembered(self, row: LedgerRow) -> Outcome | None:
        """What a file's ledger row, if it is about the file as it is now, makes of it; None where it must be read."""
        if row.state == "acknowledged":
            return Outcome.ALREADY_LOADED
        return Outcome.ALREADY_QUARANTINED if self.still_quarantined(row) else None


class Unsettled(NamedTuple):
    """A file that may still be written: what it would be rejected for if it stood still, if anything."""

    entry: Entry
    stamp: Stamp
    rejection: Rejection | None


@dataclass(slots=True)
class ReadBatch:
    """What reading a batch gave; every entry that was handed in is in exactly one of the fields.

    ``too_costly`` is an entry that needs more than the share, with the bytes that it needs; ``postponed`` are those
    that had no room in this batch any more.
    """

    records: list[TraceRecord] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unsettled: list[Unsettled] = field(default_factory=list)
    postponed: list[Entry] = field(default_factory=list)
    too_costly: tuple[Entry, int] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of JSON that storing the batch will send."""
        return sum(record.size_bytes for record in self.records)


class TooCostlyError(Exception):
    """A file does not fit into what is left of the share."""

    def __init__(self, cost_bytes: int) -> None:
        super().__init__(cost_bytes)
        self.cost_bytes = cost_bytes


def read_batch(
    folder: Folder, entries: Sequence[Entry], known: Mapping[str, LedgerRow], rules: ReadRules, share_bytes: int
) -> ReadBatch:
    """Look at each path, read what is not known already, and decode it.

    Reading stops when the batch holds ``rules.batch_bytes`` of JSON or the next file's cost exceeds what is left of
    ``share_bytes``.
    """
    batch = ReadBatch()
    with folder.reader() as reader:
        work = _Reading(reader, known, rules, batch, share_bytes)
        for position, entry in enumerate(entries):
            try:
                work.examine(entry)
            except TooCostlyError as error:
                rest = list(entries[position:])
                if work.spent_bytes == 0:
                    batch.too_costly = (rest.pop(0), error.cost_bytes)
                batch.postponed = rest
                break
    return batch


class _Reading:
    def __init__(
        self, reader: Reader, known: Mapping[str, LedgerRow], rules: ReadRules, batch: ReadBatch, share_bytes: int
    ) -> None:
        self._reader = reader
        self._known = known
        self._rules = rules
        self._batch = batch
        self._share_bytes = share_bytes
        self._read_bytes = 0
        self.spent_bytes = 0

    def examine(self, entry: Entry) -> None:
        path = RunPath.parse(entry.path)
        try:
            stamp = self._reader.stamp(entry.path) if path else None
            if path is None or stamp is None:
                self._batch.outcomes[entry.path] = Outcome.VANISHED
            elif outcome := self._remembered(entry, stamp):
                self._batch.outcomes[entry.path] = outcome
            elif stamp.size_bytes > self._rules.max_file_bytes:
                self._batch.rejections.append(self._too_large(entry.path, stamp))
            else:
                self._read(entry, path, stamp)
        except UnreadableError as error:
            self._batch.unreadable[entry.path] = error.cause

    def _remembered(self, entry: Entry, stamp: Stamp) -> Outcome | None:
        """What the ledger says of a file that need not be read."""
        row = self._known.get(entry.path)
        if row is None or row.stamp != stamp or entry.reread or entry.recheck:
            return None
        return self._rules.remembered(row)

    def _confirmed(self, entry: Entry, body: Body) -> Outcome | None:
        """What the ledger says of a file whose stamp alone was in doubt, now that its bytes are known."""
        row = self._known.get(entry.path)
        if row is None or row.stamp != body.stamp or entry.reread:
            return None
        return self._rules.remembered(row) if row.file_sha256 == sha256(body.content).digest() else None

    def _too_large(self, path: str, stamp: Stamp) -> Rejection:
        return Rejection(
            path=path,
            stamp=stamp,
            reason=Reason.TOO_LARGE,
            detail=f"{stamp.size_bytes} bytes; ingest.max_file_bytes allows {self._rules.max_file_bytes}",
            setting=self._rules.max_file_setting,
        )

    def _read(self, entry: Entry, path: RunPath, stamp: Stamp) -> None:
        if self._read_bytes >= self._rules.batch_bytes:
            raise TooCostlyError(0)
        self._require(stamp.size_bytes * CLEAN_COST)
        body = self._reader.read(entry.path, stamp.size_bytes)
        if body is None:
            self._batch.outcomes[entry.path] = Outcome.VANISHED
        elif not body.stable:
            self._batch.unsettled.append(Unsettled(entry, body.stamp, None))
        elif outcome := self._confirmed(entry, body):
            self._batch.outcomes[entry.path] = outcome
        else:
            self._decode(entry, path, body)

    def _require(self, cost_bytes: int) -> None:
        if self.spent_bytes + cost_bytes > self._share_bytes:
            raise TooCostlyError(cost_bytes)

    def _decode(self, entry: Entry, path: RunPath, body: Body) -> None:
        look = first_look(body.content)
        cost_bytes = len(body.content) * look.cost
        self._require(cost_bytes)
        decoded = decode(body.content, path, body.stamp, sanitize=self._rules.sanitize, look=look)
        self.spent_bytes += cost_bytes
        self._read_bytes += len(body.content)
        if isinstance(decoded, TraceRecord):
            self._batch.records.append(decoded)
        elif decoded.reason in SETTLING:
            self._batch.unsettled.append(Unsettled(entry, body.stamp, decoded))
        else:
            self._batch.rejections.append(decoded)
