"""From a run file's bytes to a `TraceRecord` or a `Rejection`, and never to anything else.

msgspec checks the grammar and finds the few members that are interpreted, each of them tolerantly. It knows neither
invalid UTF-8 nor NUL in what it skips, and gives up at about a thousand levels: the bytes are checked beside it, and
where it refuses the text the scanner of `scan`, which does not recurse, has the last word.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw

from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import Reason, Rejection, Sanitize, TraceRecord
from tracewatchd.model.sanitize import Changes, may_need_sanitizing, without_unstorable
from tracewatchd.model.scan import JsonFaultError, members
from tracewatchd.model.stamp import NO_EXTRACTION, Stamp
from tracewatchd.model.times import compact_day, time_of_milliseconds, written_time

CLEAN_COST = 3
"""Bytes of memory per byte of a file, the file's own bytes included, that decoding takes where nothing is replaced."""

SANITIZE_COST = 20
"""The same where something may have to be replaced: 5 is usual, the rest is for objects made of changed keys alone."""

MAX_TEXT_BYTES = 1 << 20
"""A value whose JSON is longer does not go into a typed column."""

MAX_PROJECT_BYTES = 1_000
"""A longer project name gives way to the folder's: projects are indexed, and an index key holds 2,704 bytes."""

MAX_COST = Decimal(10) ** 15
"""A run's total cost lies below, in dollars."""

MAX_COST_DECIMALS = 30
"""Digits that a run's total cost may have after the point."""

_WHITE = b" \t\n\r"
_BLANK = re.compile(rb"[ \t\n\r]*+")
_UTF8_STEP_BYTES = 1 << 17
_ESCAPED_NUL = re.compile(rb"\\u0000")  # two to three times as fast as ``in``
_BIGINT_END = 1 << 63
_LONGEST_NUMBER = 1_000
_TOO_LONG = b"..."
_INTEGER = re.compile(rb"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_LAST_STRING = re.compile(rb'"([^"\\]*)"\s*\]\Z')
_EMPTY_LIST = re.compile(rb"\[\s*\]")
_DOTTED_PART = re.compile(r"(\d{8})T\d{6,}Z(.{36})", re.ASCII)
_PLACES_TOLD = 3
_KINDS = {
    b"": "missing",
    b"{": "an object",
    b"[": "a list",
    b'"': "a string",
    b"t": "true",
    b"f": "false",
    b"n": "null",
}

_T = TypeVar("_T")


class _Members(msgspec.Struct):
    """The members of an object that are ever interpreted, as they stand in the text; empty where missing."""

    metadata: Raw = Raw()
    trace: Raw = Raw()
    id: Raw = Raw()
    trace_id: Raw = Raw()
    parent_run_id: Raw = Raw()
    parent_run_ids: Raw = Raw()
    dotted_order: Raw = Raw()
    name: Raw = Raw()
    run_type: Raw = Raw()
    status: Raw = Raw()
    start_time: Raw = Raw()
    end_time: Raw = Raw()
    total_tokens: Raw = Raw()
    total_cost: Raw = Raw()
    project_name: Raw = Raw()
    run_id: Raw = Raw()
    extracted_at: Raw = Raw()

    @property
    def looks_like_a_run(self) -> bool:
        """Whether an object outside an envelope is meant as a run: one of these is in every run of either API."""
        return any((self.id, self.trace_id, self.dotted_order, self.run_type, self.start_time))


_MEMBERS = msgspec.json.Decoder(_Members)
_STRING = msgspec.json.Decoder(str)


class FirstLook(NamedTuple):
    """What is seen of a file's bytes in one fast pass: the members of its object, and whether more must be done."""

    members: _Members | None
    suspect: bool

    @property
    def cost(self) -> int:
        """Bytes of memory per byte of the file that `decode` will take, the file's own bytes included."""
        return SANITIZE_COST if self.suspect else CLEAN_COST


def first_look(body: bytes) -> FirstLook:
    """The fast pass; what msgspec accepts needs no replacing but of escaped NULs."""
    text = body.removeprefix(codecs.BOM_UTF8)
    members = _quick_members(text)
    suspect = may_need_sanitizing(text) if members is None else _ESCAPED_NUL.search(text) is not None
    return FirstLook(members, suspect)


class _RejectedError(Exception):
    def __init__(self, reason: Reason, detail: str, *, run_id: UUID | None = None, setting: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.run_id = run_id
        self.setting = setting


def decode(
    body: bytes, path: RunPath, stamp: Stamp, *, sanitize: Sanitize = "replace", look: FirstLook | None = None
) -> TraceRecord | Rejection:
    """The run that a file's bytes hold, or why they cannot be stored. Raises nothing, whatever the bytes are.

    An object is an envelope where its ``metadata`` and its ``trace`` both are objects; without an envelope it is a run
    where it has one of ``id``, ``trace_id``, ``dotted_order``, ``run_type``, ``start_time``. With ``sanitize="reject"``
    whatever would be listed in the record's ``sanitized`` is a reason to reject. ``look`` is the `first_look` at these
    bytes where one was taken already.
    """
    digest = sha256(body).digest()
    try:
        return _record(_document(body, look or first_look(body)), path, stamp, digest, sanitize)
    except _RejectedError as error:
        return Rejection(
            path=path.text,
            stamp=stamp,
            reason=error.reason,
            detail=error.detail,
            file_sha256=digest,
            run_id=error.run_id,
            setting=error.setting,
        )


class _Document(NamedTuple):
    """The parts of a file that are stored, already as jsonb can hold them."""

    data: bytes
    metadata: bytes | None
    changes: Changes


def _document(body: bytes, look: FirstLook) -> _Document:
    text = body.removeprefix(codecs.BOM_UTF8)
    offset = len(body) - len(text)
    if _BLANK.fullmatch(text):
        raise _RejectedError(Reason.EMPTY, f"the file holds no JSON in its {len(body)} bytes")
    _require_utf8(text, offset)
    try:
        data, metadata = _parts(text, look.members or _scanned_members(text))
    except JsonFaultError as fault:
        raise _malformed(fault, offset) from None
    return _sanitized(data, metadata) if look.suspect else _Document(data, metadata, Changes())


def _sanitized(data: bytes, metadata: bytes | None) -> _Document:
    changes = Changes()
    data = without_unstorable(data, "/data", changes)
    if metadata is not None:
        metadata = without_unstorable(metadata, "/metadata", changes)
    return _Document(data, metadata, changes)


def _require_utf8(text: bytes, offset: int) -> None:
    """Look at the text in steps, because what Python decodes can take four times the bytes."""
    if text.isascii():
        return
    at = 0
    while at < len(text):
        try:
            _, used = codecs.utf_8_decode(text[at : at + _UTF8_STEP_BYTES], "strict", False)  # noqa: FBT003  (no keyword)
        except UnicodeDecodeError as error:
            place = offset + at + error.start
            raise _RejectedError(Reason.INVALID_UTF8, f"byte {place} is not valid UTF-8") from None
        if used == 0:
            raise _RejectedError(Reason.TRUNCATED, f"the file ends inside a UTF-8 character, at byte {offset + at}")
        at += used


def _malformed(fault: JsonFaultError, offset: int) -> _RejectedError:
    place = offset + fault.offset
    if fault.truncated:
        return _RejectedError(Reason.TRUNCATED, f"the JSON is not finished where the file ends, at byte {place}")
    return _RejectedError(Reason.INVALID_JSON, f"byte {place} cannot stand where it stands in JSON")


def _quick_members(text: bytes) -> _Members | None:
    try:
        return _MEMBERS.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _scanned_members(text: bytes) -> _Members | None:
    spans = members(text, _Members.__struct_fields__)
    return None if spans is None else _Members(**{name: Raw(text[start:end]) for name, (start, end) in spans.items()})


def _members(text: bytes) -> _Members:
    """The members of what is known to be an object."""
    return _quick_members(text) or _scanned_members(text) or _Members()


def _parts(text: bytes, top: _Members | None) -> tuple[bytes, bytes | None]:
    """The run and the envelope's metadata, by the file's shape."""
    if top is None:
        found = _kind(text.lstrip(_WHITE))
    elif _is_object(top.metadata) and _is_object(top.trace):
        return bytes(top.trace), bytes(top.metadata)
    elif top.looks_like_a_run:
        return text, None
    else:
        found = f"an object whose metadata is {_kind(top.metadata)} and whose trace is {_kind(top.trace)}"
    raise _RejectedError(
        Reason.UNSUPPORTED_SHAPE,
        f"expected a run, or an envelope of metadata and trace, and found {found}",
    )


def _kind(value: bytes | Raw) -> str:
    return _KINDS.get(bytes(memoryview(value)[:1]), "a number")


def _is_object(value: Raw) -> bool:
    return memoryview(value)[:1].tobytes() == b"{"


def _given(value: Raw) -> bytes:
    """The JSON of a value, empty where it is missing or null; a very long one is given as what fits no column."""
    text = bytes(value) if len(value) <= MAX_TEXT_BYTES else _TOO_LONG
    return b"" if text == b"null" else text


def _run_id(run: _Members, envelope: _Members, path: RunPath) -> UUID:
    for value, place in ((run.id, "the run's id"), (envelope.run_id, "the run_id of the envelope's metadata")):
        if given := _given(value):
            if run_id := _uuid(given):
                return run_id
            raise _RejectedError(Reason.BAD_RUN_ID, f"{place} is no UUID")
    if run_id := _uuid_of(path.named_run_id):
        return run_id
    raise _RejectedError(Reason.NO_RUN_ID, "neither the run, nor its envelope, nor the file's name has a run id")


class _DottedOrder:
    """A ``dotted_order``: ``<start>Z<run id>`` of the root, of each ancestor and of the run itself, joined by dots."""

    def __init__(self, text: str | None) -> None:
        self._parts = [] if text is None else text.split(".")

    def day(self, position: int) -> date | None:
        """The UTC day in the part at this position."""
        part = self._part(position)
        return None if part is None else compact_day(part[1])

    def run_id(self, position: int) -> UUID | None:
        """The run id in the part at this position."""
        part = self._part(position)
        return None if part is None else _uuid_of(part[2])

    def _part(self, position: int) -> re.Match[str] | None:
        if not -len(self._parts) <= position < len(self._parts):
            return None
        return _DOTTED_PART.fullmatch(self._parts[position])


class _Columns:
    """Reads values into typed columns; ``unfit`` lists those that hold another value than the file, or none."""

    def __init__(self) -> None:
        self.unfit: list[str] = []

    def fit(self, column: str, value: Raw, read: Callable[[bytes], _T | None]) -> _T | None:
        """What ``read`` makes of a value; None, and listed, where it can make nothing of it."""
        given = _given(value)
        if not given:
            return None
        fitting = read(given)
        if fitting is None:
            self.unfit.append(f"/columns/{column}")
        return fitting

    def parent_run_id(self, run: _Members, dotted: _DottedOrder) -> UUID | None:
        """The run's parent as either API generation names it."""
        if _given(run.parent_run_id):
            return self.fit("parent_run_id", run.parent_run_id, _uuid)
        if run.parent_run_ids and not _EMPTY_LIST.fullmatch(_given(run.parent_run_ids)):
            return self.fit("parent_run_id", run.parent_run_ids, _last_uuid)
        return dotted.run_id(-2)

    def project(self, envelope: _Members, path: RunPath) -> str:
        """The project's raw name, or the folder's name."""
        return self.fit("project", envelope.project_name, _project) or path.project


def _record(document: _Document, path: RunPath, stamp: Stamp, digest: bytes, sanitize: Sanitize) -> TraceRecord:
    run = _members(document.data)
    envelope = _Members() if document.metadata is None else _members(document.metadata)
    run_id = _run_id(run, envelope, path)
    columns = _Columns()
    dotted = _DottedOrder(_text(_given(run.dotted_order)))
    start_time = columns.fit("start_time", run.start_time, _time)
    run_date = start_time.date() if start_time else dotted.day(-1) or path.day
    trace_id = columns.fit("trace_id", run.trace_id, _uuid) or dotted.run_id(0) or run_id
    parent_run_id = columns.parent_run_id(run, dotted)
    is_root = parent_run_id is None and trace_id == run_id
    record = TraceRecord(
        path=path.text,
        stamp=stamp,
        file_sha256=digest,
        run_id=run_id,
        trace_id=trace_id,
        parent_run_id=parent_run_id,
        project=columns.project(envelope, path),
        run_date=run_date,
        trace_date=dotted.day(0) or (run_date if is_root else None),
        name=columns.fit("name", run.name, _text),
        run_type=columns.fit("run_type", run.run_type, _lower),
        status=columns.fit("status", run.status, _lower),
        start_time=start_time,
        end_time=columns.fit("end_time", run.end_time, _time),
        total_tokens=columns.fit("total_tokens", run.total_tokens, _bigint),
        total_cost=columns.fit("total_cost", run.total_cost, _cost),
        data=document.data,
        metadata=document.metadata,
        extracted_at=columns.fit("extracted_at", envelope.extracted_at, _time) or NO_EXTRACTION,
        sanitized=(*columns.unfit, *document.changes.listed()) or None,
    )
    if record.sanitized and sanitize == "reject":
        raise _needs_sanitizing(record.sanitized, run_id)
    return record


def _needs_sanitizing(places: tuple[str, ...], run_id: UUID) -> _RejectedError:
    more = ", ..." if len(places) > _PLACES_TOLD else ""
    return _RejectedError(
        Reason.NEEDS_SANITIZING,
        f"the database cannot hold what stands at {', '.join(places[:_PLACES_TOLD])}{more}",
        run_id=run_id,
        setting="sanitize=reject",
    )


def _text(given: bytes) -> str | None:
    if not given.startswith(b'"'):
        return None
    return _STRING.decode(given) if b"\\" in given else given[1:-1].decode()


def _lower(given: bytes) -> str | None:
    text = _text(given)
    return None if text is None else text.lower()


def _project(given: bytes) -> str | None:
    """A name that can be indexed; an empty one is as good as none."""
    text = _text(given)
    return text if text is not None and len(text.encode()) <= MAX_PROJECT_BYTES else None


def _uuid(given: bytes) -> UUID | None:
    text = _text(given)
    return None if text is None else _uuid_of(text)


@lru_cache(4_096)
def _uuid_of(text: str) -> UUID | None:
    """Remembered, because the runs of a trace name each other."""
    return UUID(text) if _UUID.fullmatch(text) else None


def _last_uuid(given: bytes) -> UUID | None:
    found = _LAST_STRING.search(given)
    return None if found is None else _uuid_of(found[1].decode())


def _time(given: bytes) -> datetime | None:
    if text := _text(given):
        return written_time(text)
    return time_of_milliseconds(int(given)) if _INTEGER.fullmatch(given) else None


def _bigint(given: bytes) -> int | None:
    number = None if given.startswith(b'"') else _number(given.decode())
    if number is None or not -_BIGINT_END <= number < _BIGINT_END or number != number.to_integral_value():
        return None
    return int(number)


def _cost(given: bytes) -> Decimal | None:
    """Dollars, from a number or a numeric string, without a detour by binary fractions."""
    number = _number(_text(given) or given.decode())
    if number is None or not -MAX_COST < number < MAX_COST:
        return None
    exponent = number.as_tuple().exponent
    return number if isinstance(exponent, int) and -exponent <= MAX_COST_DECIMALS else None


def _number(text: str) -> Decimal | None:
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal knows
        return None
