"""Runs as LangSmith's answers hold them: taken apart, compared and put into run files, as the bytes that came.

LangSmith answers in one of two generations of names. A run file keeps the names of the answer that it was made of; only
to compare, both are mapped to the first generation's (`fingerprint`). Nothing here does any I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from tracewatchd.model.errors import PoisonError
from tracewatchd.model.fetching import BadRun
from tracewatchd.model.scan import JsonFaultError, members, tokens
from tracewatchd.model.times import time_of_milliseconds, written_time


class FeedbackState(StrEnum):
    """What a run file's feedback is worth; ``metadata.feedback`` says it, in the file and in the database."""

    FETCHED = "fetched"
    """``feedback_records`` holds all feedback of the run."""
    EMPTY = "empty"
    """The run has no feedback: ``feedback_records`` is an empty list."""
    NOT_FETCHED = "not_fetched"
    """There is feedback, but it could not be fetched: no ``feedback_records``, or those of an earlier fetch."""


_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_ATTACHMENT = "attachment."
_BAD_BYTES = 1 << 14
_BEYOND_READING = "?"
"""Stands for a value that cannot be read: something is there. Nothing of it is kept where it may be a signed URL."""
_SIGNED = ("attachments", "s3_urls", "inputs_s3_urls", "outputs_s3_urls", "share_url")
"""Members that hold URLs which let anyone in who knows them."""
_RECORDS = "feedback_records"
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class _EveryName(Collection[str]):
    """Holds every name."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_EVERY_NAME = _EveryName()


def members_of(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object as they stand in the text; also of one with NaN, or nested a thousand levels deep.

    Raises:
        PoisonError: the text is no JSON object.
    """
    try:
        return {name: bytes(value) for name, value in msgspec.json.decode(text, type=dict[str, Raw]).items()}
    except _UNREADABLE:
        pass
    try:
        spans = members(text, _EVERY_NAME)
    except JsonFaultError as fault:
        raise PoisonError(f"no JSON at byte {fault.offset}") from None
    if spans is None:
        raise PoisonError("no JSON object")
    return {name: text[start:end] for name, (start, end) in spans.items()}


def elements_of(text: bytes) -> list[bytes]:
    """The elements of a JSON list as they stand in the text.

    Raises:
        PoisonError: the text is no JSON list.
    """
    try:
        return [bytes(value) for value in msgspec.json.decode(text, type=list[Raw])]
    except _UNREADABLE:
        pass
    if not text.lstrip().startswith(b"["):
        raise PoisonError("no JSON list")
    try:
        return [text[start:end] for start, end in _element_spans(text)]
    except JsonFaultError as fault:
        raise PoisonError(f"no JSON at byte {fault.offset}") from None


def _element_spans(text: bytes) -> Iterator[tuple[int, int]]:
    depth = begin = 0
    for kind, start, end in tokens(text):
        depth -= kind == "close"
        if depth == 1 and kind == "open":
            begin = start
        elif depth == 1 and kind != "key":
            yield (begin if kind == "close" else start), end
        depth += kind == "open"


def object_of(values: Mapping[str, bytes]) -> bytes:
    """The JSON object that has these members; the inverse of `members_of`."""
    return b"{" + b",".join(json.dumps(name).encode() + b":" + value for name, value in values.items()) + b"}"


class _Told(msgspec.Struct):
    """The members of an answered run that are interpreted; empty where missing."""

    id: Raw = Raw()
    status: Raw = Raw()
    start_time: Raw = Raw()
    end_time: Raw = Raw()
    feedback_stats: Raw = Raw()
    attachments: Raw = Raw()
    s3_urls: Raw = Raw()
    inputs_s3_urls: Raw = Raw()
    outputs_s3_urls: Raw = Raw()
    share_url: Raw = Raw()


_TOLD = msgspec.json.Decoder(_Told)


class SignedUrl(str):
    """A URL that lets anyone in who knows it: nothing shows it by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SignedUrl('********')"


class UpstreamRun(NamedTuple):
    """One run of an answer. ``body`` is its JSON as it came, but for what stands behind the ``?`` of signed URLs.

    It stays a part of the answer where nothing had to go, so that a page is held once. ``attachments`` holds the URL of
    each by its name, signature included: never to be written or told.
    """

    run_id: str
    start: datetime
    pending: bool
    has_feedback: bool
    attachments: Mapping[str, SignedUrl]
    body: bytes | Raw

    @property
    def file_name(self) -> str:
        """``<run_id>_<HHMMSS>.json``, by the run's start in UTC."""
        return f"{self.run_id}_{self.start:%H%M%S}.json"


def read_run(body: bytes | Raw) -> UpstreamRun:
    """One run of an answer, taken apart.

    Raises:
        PoisonError: it cannot become a run file: no object, no id, no start, no UTF-8.
    """
    text = bytes(body)
    told = _told(text)
    plain = without_signatures(text, told)
    run_id, start = _plain(told.id), _moment(_plain(told.start_time))
    if not isinstance(run_id, str) or not _UUID.fullmatch(run_id):
        raise PoisonError("its id is no UUID")
    if start is None:
        raise PoisonError("its start_time is missing or no time")
    return UpstreamRun(
        run_id=str(UUID(run_id)),
        start=start,
        pending=_is_pending(str(_plain(told.status)).lower(), _plain(told.end_time)),
        has_feedback=bool(_plain(told.feedback_stats)),
        attachments=_attachments(told),
        body=body if plain is text else plain,
    )


def _is_pending(status: str, end_time: object) -> bool:
    """A run that ended by an error may have no end_time."""
    return status == "pending" or (not end_time and status not in {"success", "error"})


def bad_run(body: bytes, error: str) -> BadRun:
    """What the day's list of errors says of a run that `read_run` refused."""
    try:
        told = _told(body)
        plain = without_signatures(body, told)
    except PoisonError:
        told, plain = _Told(), b""  # what is no JSON object may hold a signature anywhere
    run_id = _plain(told.id)
    name = run_id if isinstance(run_id, str) else f"sha256:{sha256(body).hexdigest()}"
    return BadRun(name, error, plain[:_BAD_BYTES].decode("utf-8", "replace"))


def _told(body: bytes) -> _Told:
    try:
        body.decode()
        return _TOLD.decode(body)
    except UnicodeDecodeError as error:
        raise PoisonError(f"byte {error.start} is not valid UTF-8") from None
    except _UNREADABLE:
        values = members_of(body)
        return _Told(**{name: Raw(values.get(name, b"")) for name in _Told.__struct_fields__})


def _plain(value: Raw) -> object:
    """What a member says; None where it is missing, `_BEYOND_READING` where it is too deep for any reader."""
    try:
        return msgspec.json.decode(value) if value else None
    except _UNREADABLE:
        return _leniently(bytes(value))


def _leniently(text: bytes) -> object:
    """What only Python's own reader accepts (NaN, lone surrogates)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BEYOND_READING


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        return written_time(value)
    return time_of_milliseconds(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _attachments(told: _Told) -> dict[str, SignedUrl]:
    """The URLs of attachments by name, as either generation gives them."""
    found: dict[str, SignedUrl] = {}
    older, newer = _plain(told.s3_urls), _plain(told.attachments)
    for name, about in older.items() if isinstance(older, dict) else ():
        if name.startswith(_ATTACHMENT) and isinstance(about, dict) and isinstance(about.get("presigned_url"), str):
            found[name.removeprefix(_ATTACHMENT)] = SignedUrl(about["presigned_url"])
    for name, about in newer.items() if isinstance(newer, dict) else ():
        url = about.get("presigned_url") if isinstance(about, dict) else about
        if isinstance(url, str):
            found[name] = SignedUrl(url)
    return found


def without_signatures(body: bytes, told: _Told) -> bytes:
    """A run without what stands behind the ``?`` of its signed URLs; the very same bytes where it has none."""
    changed = {}
    for name in _SIGNED:
        value = _plain(getattr(told, name))
        plain = _without_queries(value)
        if plain != value:
            changed[name] = json.dumps(plain).encode()
    return object_of(members_of(body) | changed) if changed else body


def _without_queries(value: object) -> object:
    """A value whose texts end where a URL's query or fragment would begin."""
    match value:
        case str():
            return _QUERY.sub("", value)
        case dict():
            return {name: _without_queries(one) for name, one in value.items()}
        case list():
            return [_without_queries(one) for one in value]
        case _:
            return value


# ---------------------------------------------------------------------------------------------------------------------
# Run files


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run file as it lies there: its run without feedback, and what it says of its feedback.

    ``records`` is None where the file says nothing of feedback; ``project`` where it names no project.
    """

    run: bytes
    records: bytes | None
    state: FeedbackState | None
    project: str | None


class _Envelope(msgspec.Struct):
    metadata: Raw = Raw()
    trace: Raw = Raw()


class _Records(msgspec.Struct):
    feedback_records: Raw = Raw()


class _Metadata(msgspec.Struct):
    project_name: str | None = None
    feedback: str | None = None


def stored_run(content: bytes) -> StoredRun:
    """What a run file holds, whoever wrote it; a bare run has no envelope.

    Raises:
        PoisonError: it holds no JSON object.
    """
    envelope = _opened(content)
    if not envelope.trace:
        return StoredRun(content.strip(), None, None, None)
    run, records = _parted(bytes(envelope.trace))
    metadata = _metadata(bytes(envelope.metadata))
    state = None if records is None else FeedbackState.EMPTY if _is_empty(records) else FeedbackState.FETCHED
    if metadata.feedback == FeedbackState.NOT_FETCHED:
        state = FeedbackState.NOT_FETCHED
    return StoredRun(run, records, state, metadata.project_name)


def _parted(trace: bytes) -> tuple[bytes, bytes | None]:
    """A run, the very bytes where `run_file` wrote it, and its feedback."""
    try:
        records = bytes(msgspec.json.decode(trace, type=_Records).feedback_records)
    except _UNREADABLE:
        records = members_of(trace).get(_RECORDS, b"")
    if not records:
        return trace, None
    last = _last_member(records) + b"}"
    if trace.endswith(last):
        return trace.removesuffix(last) + b"}", records
    values = members_of(trace)
    del values[_RECORDS]
    return object_of(values), records


def _opened(content: bytes) -> _Envelope:
    try:
        return msgspec.json.decode(content, type=_Envelope)
    except _UNREADABLE:
        values = members_of(content)
        return _Envelope(Raw(values.get("metadata", b"")), Raw(values.get("trace", b"")))


def _metadata(text: bytes) -> _Metadata:
    try:
        return msgspec.json.decode(text, type=_Metadata)
    except _UNREADABLE:
        return _Metadata()


def _is_empty(records: bytes) -> bool:
    return records.strip(b"[] \t\r\n") == b""


def run_file(
    run: bytes, records: bytes | None, state: FeedbackState, *, run_id: str, project: str, extracted_at: datetime
) -> bytes:
    """The content of a run file: the run as it came, in an envelope.

    Only a file whose feedback is known says ``enhanced_feedback``, so that none looks complete which is not.
    """
    metadata: dict[str, object] = {
        "extracted_at": extracted_at.astimezone(UTC).isoformat(),
        "project_name": project,
        "run_id": run_id,
    }
    if state is not FeedbackState.NOT_FETCHED:
        metadata["enhanced_feedback"] = True
    metadata["feedback"] = state.value
    last = b"" if records is None else _last_member(records)
    return b'{"metadata":' + msgspec.json.encode(metadata) + b',"trace":' + run.rstrip()[:-1] + last + b"}}\n"


def _last_member(records: bytes) -> bytes:
    return b"," + json.dumps(_RECORDS).encode() + b":" + records


def list_of(records: Iterable[bytes]) -> bytes:
    """A JSON list of what stands there already as JSON."""
    return b"[" + b",".join(records) + b"]"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a run's file is to hold. ``records`` is None where feedback exists but was not fetched (yet)."""

    run_id: str
    run: bytes
    records: bytes | None

    def content(self, old: StoredRun | None, *, project: str, extracted_at: datetime) -> bytes | None:
        """The file's content; None where the old one says the same already.

        Feedback that was not fetched this time replaces none: what an earlier fetch brought stays in the file, which
        says that it is not up to date.
        """
        same_run = old is not None and (old.run == self.run or fingerprint(old.run) == fingerprint(self.run))
        if old is not None and same_run and self._knows_no_more_than(old):
            return None
        records = self.records
        if records is None:
            state = FeedbackState.NOT_FETCHED
            records = old.records if old else None
        else:
            state = FeedbackState.EMPTY if _is_empty(records) else FeedbackState.FETCHED
        return run_file(self.run, records, state, run_id=self.run_id, project=project, extracted_at=extracted_at)

    def _knows_no_more_than(self, old: StoredRun) -> bool:
        if self.records is None:
            return True
        if old.state is None:
            return _is_empty(self.records)
        known = old.state is not FeedbackState.NOT_FETCHED and old.records is not None
        return known and same_feedback(self.records, old.records or b"[]")


def same_feedback(one: bytes, other: bytes) -> bool:
    """Whether two lists of feedback say the same, in whatever order and format."""
    return one == other or sorted(map(_canonical, _list(one))) == sorted(map(_canonical, _list(other)))


def _list(text: bytes) -> list[Any]:
    value = json.loads(text)
    return value if isinstance(value, list) else [value]


# ---------------------------------------------------------------------------------------------------------------------
# What a run says, whichever generation of the API told it

_RENAMED = {"project_id": "session_id", "is_in_dataset": "in_dataset"}
_DERIVED = frozenset(
    (
        *("parent_run_ids", "child_run_ids", "direct_child_run_ids", "child_runs", "is_root", "execution_order"),
        *("latency", "latency_seconds", "serialized", "manifest", "manifest_id", "manifest_s3_id", "metadata"),
        *("thread_id", "thread_evaluation_time", "app_path", "messages", "ls_user_id"),
        *("share_url", "share_token", "s3_urls", "inputs_s3_urls", "outputs_s3_urls"),
        *("inputs_preview", "outputs_preview", "error_preview", "feedback_stats", "feedback_records"),
        *("last_queued_at", "inserted_at", "trace_tier", "trace_first_received_at", "ttl_seconds", "trace_upgrade"),
        *("trace_min_start_time", "trace_max_start_time"),
    )
)
"""Members that only one generation tells, that follow from others, or that change although the run does not."""


def fingerprint(run: bytes) -> bytes:
    """The sha256 of what a run says: equal for both generations of the API, whenever and however it was asked.

    Left out is what only one generation tells, what follows from the rest, signed URLs, feedback (which is compared by
    its records), and members that are null, empty or, where they count something, 0.
    """
    try:
        value = json.loads(run)
    except (ValueError, RecursionError):
        return sha256(run).digest()
    return sha256(_canonical(_mapped(value) if isinstance(value, dict) else value).encode()).digest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _mapped(run: dict[str, Any]) -> dict[str, Any]:
    mapped = {_RENAMED.get(name, name): value for name, value in run.items() if name not in _DERIVED}
    ancestors = run.get("parent_run_ids")
    if not mapped.get("parent_run_id") and ancestors and isinstance(ancestors, list):
        mapped["parent_run_id"] = ancestors[-1]
    mapped["attachments"] = sorted(_attachment_names(run))
    told = {name: _form(name)(value) for name, value in mapped.items()}
    return {name: value for name, value in told.items() if value not in (None, {}, [], "", False)}


def _attachment_names(run: Mapping[str, Any]) -> set[str]:
    older, newer = run.get("s3_urls"), run.get("attachments")
    names = [name for name in older if name.startswith(_ATTACHMENT)] if isinstance(older, dict) else []
    return {name.removeprefix(_ATTACHMENT) for name in names} | (set(newer) if isinstance(newer, dict) else set())


def _form(name: str) -> Callable[[Any], Any]:
    """How a member is brought into the one form in which it is compared."""
    if name in {"status", "run_type"}:
        return lambda value: value.lower() if isinstance(value, str) else value
    if name in {"start_time", "end_time", "first_token_time"}:
        return _time
    if name.endswith("_details"):
        return _details
    if name.endswith("_cost"):
        return _cost
    if name.endswith("_tokens"):
        return lambda value: value or None
    return _events if name == "events" else lambda value: value


def _time(value: object) -> object:
    moment = _moment(value)
    return value if moment is None else moment.isoformat()


def _events(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [_event(one) if isinstance(one, dict) else one for one in value]


def _event(event: dict[str, Any]) -> dict[str, Any]:
    """Name, time and the rest, which the second generation puts into ``kwargs``."""
    rest = {name: value for name, value in event.items() if name not in {"name", "time", "kwargs"}}
    more = event.get("kwargs")
    known = {"name": event.get("name"), "time": _event_time(event.get("time"))}
    return {**known, **rest, **more} if isinstance(more, dict) else {**known, **rest}


def _event_time(value: object) -> object:
    """Cut to milliseconds, which is all that the second generation tells of an event."""
    moment = _moment(value)
    return value if moment is None else moment.isoformat(timespec="milliseconds")


def _details(value: object) -> object:
    inner = value.get("raw", value) if isinstance(value, dict) else value
    return {name: _cost(one) for name, one in inner.items()} if isinstance(inner, dict) else inner


def _cost(value: object) -> object:
    """A number, or a text that is one, as that number's shortest text; nothing for 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = Decimal(str(value))
        return str(number.normalize()) if number else None
    except ArithmeticError:  # no number, or beyond what Decimal knows
        return value
