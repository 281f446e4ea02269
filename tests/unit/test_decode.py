from __future__ import annotations

import json
import tarfile
import tracemalloc
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewatchd.model.decode import CLEAN_COST, SANITIZE_COST, decode, first_look
from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import Reason, Rejection, Sanitize, TraceRecord
from tracewatchd.model.sanitize import may_need_sanitizing
from tracewatchd.model.stamp import NO_EXTRACTION, Stamp

ARCHIVE = Path(__file__).parents[1] / "data" / "sdk-runs.tar.gz"
RUN_ID = "01a2095a-3a98-7100-b85b-e3aa5549c695"
ROOT_ID = "01a2095a-3822-7457-b55f-38032b1fd0d0"
PARENT_ID = "01a2095a-3a10-71a2-a9fc-f8738b0f1f6b"
DOTTED = f"20261121T235959999999Z{ROOT_ID}.20261122T000000000001Z{PARENT_ID}.20261122T000001Z{RUN_ID}"
STAMP = Stamp(1, 2, 3)
NAMELESS = RunPath("deep%20research", date(2026, 11, 20), "run.json")
NAMED = NAMELESS._replace(name=f"{RUN_ID}_130037.json")
MOMENT = datetime(2025, 8, 29, 6, 44, 12, 622037, tzinfo=UTC)


def reading(body: bytes, path: RunPath = NAMELESS, sanitize: Sanitize = "replace") -> TraceRecord | Rejection:
    return decode(body, path, STAMP, sanitize=sanitize)


def record(body: bytes, path: RunPath = NAMELESS) -> TraceRecord:
    decoded = reading(body, path)
    assert isinstance(decoded, TraceRecord), decoded
    return decoded


def rejection(body: bytes, path: RunPath = NAMELESS, sanitize: Sanitize = "replace") -> Rejection:
    decoded = reading(body, path, sanitize)
    assert isinstance(decoded, Rejection), decoded
    return decoded


def run(**members: Any) -> bytes:
    return json.dumps({"id": RUN_ID, **members}).encode()


def raw_run(members: bytes) -> bytes:
    return b'{"id":"%s",%s}' % (RUN_ID.encode(), members)


def envelope(metadata: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"metadata": metadata, "trace": members}).encode()


@cache
def real_files() -> dict[str, bytes]:
    with tarfile.open(ARCHIVE) as archive:
        return {
            member.name.removeprefix("data/"): content.read()
            for member in archive
            if member.isfile() and (content := archive.extractfile(member)) is not None
        }


def test_all_real_files_decode_but_the_summaries() -> None:
    """Of 810 real files 12 are summaries by name and 798 are runs, one of which holds NULs."""
    outcomes: Counter[str] = Counter()
    for name, body in real_files().items():
        path = RunPath.parse(name)
        decoded = None if path is None else reading(body, path)
        assert decoded is None or isinstance(decoded, TraceRecord)
        outcomes["ignored" if decoded is None else "sanitized" if decoded.sanitized else "clean"] += 1
        if decoded is not None:
            assert first_look(body).suspect == (decoded.sanitized is not None)
            assert decoded.file_sha256 == sha256(body).digest()
    assert outcomes == {"ignored": 12, "clean": 797, "sanitized": 1}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_rejection(body: bytes) -> None:
    """Decoding raises nothing."""
    reading(body, NAMED)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_real_runs_are_records_or_rejections(data: st.DataObject) -> None:
    """A real run with bytes put in, taken out or cut off decodes to what jsonb can hold, or is rejected."""
    small = [body for body in real_files().values() if len(body) < 4_000]
    body = bytearray(data.draw(st.sampled_from(small)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        fragments = [rb"\u0000", rb"\ud800", b"NaN", b'"', b"\\", b"{", b"]", b",", b"\x00", b"\xff", b"\xe2", b"1e999"]
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(fragments))
    decoded = reading(bytes(body), NAMED)
    if isinstance(decoded, TraceRecord):
        said = json.dumps(json.loads(decoded.data, parse_constant=pytest.fail), ensure_ascii=False)
        said.encode()
        assert r"\u0000" not in said.replace("\\\\", "")


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.integers()))
def test_a_clean_run_goes_on_as_the_bytes_that_were_read(inputs: dict[str, int]) -> None:
    """The data of a clean run is a slice of the file, and nothing is listed."""
    inner = json.dumps({"id": RUN_ID, "inputs": inputs}, indent=1).encode()
    decoded = record(b' {"metadata" : {"a": 1} , "trace": ' + inner + b" }\n")
    assert (decoded.data, decoded.metadata, decoded.sanitized) == (inner, b'{"a": 1}', None)
    assert record(inner).data == inner


def test_an_envelope_fills_every_column() -> None:
    """Both parts of an envelope are read; status and run type are lower case; money is decimal."""
    metadata = {"project_name": "deep research", "run_id": PARENT_ID, "extracted_at": "2026-11-24T13:00:37.912492"}
    decoded = record(
        envelope(
            metadata | {"enhanced_feedback": True},
            id=RUN_ID.upper(),
            dotted_order=DOTTED,
            name="agent",
            run_type="CHAIN",
            status="SUCCESS",
            start_time="2025-08-29 06:44:12.622037",
            end_time=1_756_449_852_622,
            total_tokens=12,
            total_cost="0.10",
            feedback_records=[],
        )
    )
    assert (decoded.run_id, decoded.trace_id, decoded.parent_run_id) == (UUID(RUN_ID), UUID(ROOT_ID), UUID(PARENT_ID))
    assert (decoded.project, decoded.path) == ("deep research", NAMELESS.text)
    assert (decoded.run_date, decoded.trace_date) == (date(2025, 8, 29), date(2026, 11, 21))
    assert (decoded.name, decoded.run_type, decoded.status) == ("agent", "chain", "success")
    assert (decoded.start_time, decoded.end_time) == (MOMENT, MOMENT.replace(microsecond=622_000))
    assert (decoded.total_tokens, str(decoded.total_cost)) == (12, "0.10")
    assert decoded.extracted_at == datetime(2026, 11, 24, 13, 0, 37, 912492, tzinfo=UTC)
    assert decoded.sanitized is None


def test_an_empty_envelope_takes_all_from_its_path() -> None:
    """Id, project and day come from the file's path; it is a root, extracted never."""
    decoded = record(b'{"metadata": {}, "trace": {}}', NAMED)
    assert (decoded.run_id, decoded.trace_id, decoded.project) == (UUID(RUN_ID), UUID(RUN_ID), "deep research")
    assert (decoded.run_date, decoded.trace_date) == (NAMED.day, NAMED.day)
    assert (decoded.extracted_at, decoded.metadata, decoded.sanitized) == (NO_EXTRACTION, b"{}", None)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"parent_run_id": PARENT_ID}, (RUN_ID, PARENT_ID, date(2026, 11, 20), None)),
        ({"parent_run_ids": [ROOT_ID, PARENT_ID]}, (RUN_ID, PARENT_ID, date(2026, 11, 20), None)),
        ({"parent_run_ids": [], "trace_id": RUN_ID}, (RUN_ID, None, date(2026, 11, 20), date(2026, 11, 20))),
        ({"trace_id": ROOT_ID}, (ROOT_ID, None, date(2026, 11, 20), None)),
        ({"dotted_order": DOTTED}, (ROOT_ID, PARENT_ID, date(2026, 11, 22), date(2026, 11, 21))),
        ({"dotted_order": "nonsense"}, (RUN_ID, None, date(2026, 11, 20), date(2026, 11, 20))),
        ({"dotted_order": 7}, (RUN_ID, None, date(2026, 11, 20), date(2026, 11, 20))),
    ],
)
def test_relations_come_from_either_generation(
    members: dict[str, Any], expected: tuple[str, str | None, date, date | None]
) -> None:
    """Trace, parent and days come from whichever field has them, and never from today."""
    decoded = record(run(**members))
    parent = None if expected[1] is None else UUID(expected[1])
    assert (decoded.trace_id, decoded.parent_run_id) == (UUID(expected[0]), parent)
    assert (decoded.run_date, decoded.trace_date) == expected[2:]
    assert decoded.sanitized is None


@pytest.mark.parametrize(
    ("members", "column", "value"),
    [
        (b'"start_time":"soon"', "start_time", None),
        (b'"start_time":1e3', "start_time", None),
        (b'"end_time":99999999999999999', "end_time", None),
        (b'"total_tokens":1208925819614629174706176', "total_tokens", None),
        (b'"total_tokens":9223372036854775808', "total_tokens", None),
        (b'"total_tokens":1.5', "total_tokens", None),
        (b'"total_tokens":1e-9999999', "total_tokens", None),
        (b'"total_tokens":"12"', "total_tokens", None),
        (b'"total_cost":1e999', "total_cost", None),
        (b'"total_cost":1e15', "total_cost", None),
        (b'"total_cost":1e-31', "total_cost", None),
        (b'"total_cost":1e99999999999999999999', "total_cost", None),
        (b'"total_cost":"NaN"', "total_cost", None),
        (b'"total_cost":' + b"1" * 2_000, "total_cost", None),
        (b'"name":5', "name", None),
        (b'"status":[]', "status", None),
        (b'"name":"' + b"n" * 1_100_000 + b'"', "name", None),
        (b'"trace_id":"x"', "trace_id", UUID(RUN_ID)),
        (b'"parent_run_id":"x"', "parent_run_id", None),
        (b'"parent_run_ids":{}', "parent_run_id", None),
    ],
)
def test_what_does_not_fit_a_column_is_listed_and_no_poison(members: bytes, column: str, value: Any) -> None:
    """A typed value that does not fit is NULL (or derived otherwise) and listed; the data keeps it."""
    decoded = record(raw_run(members))
    assert getattr(decoded, column) == value
    assert decoded.sanitized == (f"/columns/{column}",)
    assert members in decoded.data


@pytest.mark.parametrize(
    ("members", "column", "value"),
    [
        (b'"total_tokens":-9223372036854775808', "total_tokens", -(2**63)),
        (b'"total_tokens":1e3', "total_tokens", 1_000),
        (b'"total_cost":0.1', "total_cost", Decimal("0.1")),
        (b'"total_cost":999999999999999.999999999999999999999999999999', "total_cost", Decimal("1e15") - 1),
        (b'"total_cost":null', "total_cost", None),
        (b'"start_time":1756449852622', "start_time", MOMENT.replace(microsecond=622_000)),
        (b'"name":"a","name":"b"', "name", "b"),
        (b'"inputs":[1e400,1208925819614629174706176]', "name", None),
    ],
)
def test_what_fits_is_exact(members: bytes, column: str, value: Any) -> None:
    """The ends of the ranges are inside; money makes no detour by floats; of equal keys the last one counts."""
    found = getattr(record(raw_run(members)), column)
    assert int(found) == int(value) if isinstance(value, Decimal) and value > 1 else found == value
    assert record(raw_run(members)).sanitized is None


def test_the_envelope_is_read_as_tolerantly_as_the_run() -> None:
    """A project that cannot be indexed gives way to the folder's and is listed, as an extraction that is no time."""
    decoded = record(envelope({"project_name": "p" * 1_001, "extracted_at": "once"}, id=RUN_ID))
    assert (decoded.project, decoded.extracted_at) == ("deep research", NO_EXTRACTION)
    assert decoded.sanitized == ("/columns/project", "/columns/extracted_at")
    assert record(envelope({"project_name": ""}, id=RUN_ID)).sanitized is None


def test_replacements_are_listed_by_part() -> None:
    """NUL, lone surrogates and NaN are replaced in run and metadata, columns included, and listed by pointer."""
    body = rb'{"x": NaN, "metadata": {"project_name": "p\ud800"}, "trace": {"name": "a\u0000", "n": [1, -Infinity]}}'
    decoded = record(body, NAMED)
    assert decoded.data == rb'{"name": "a\ufffd", "n": [1, null]}'
    assert decoded.metadata == rb'{"project_name": "p\ufffd"}'
    assert (decoded.name, decoded.project) == ("a\ufffd", "p\ufffd")
    assert decoded.sanitized == ("/data/name", "/data/n/1", "/metadata/project_name")


def test_rejecting_names_places_and_setting() -> None:
    """With sanitize=reject what would be listed is refused, by places and not by content; clean files load."""
    refused = rejection(raw_run(rb'"a":"secret\u0000","b":NaN,"c":NaN,"d":NaN'), sanitize="reject")
    assert (refused.reason, refused.setting, refused.run_id) == (
        Reason.NEEDS_SANITIZING,
        "sanitize=reject",
        UUID(RUN_ID),
    )
    assert "/data/a, /data/b, /data/c, ..." in refused.detail
    assert "secret" not in refused.detail
    assert isinstance(reading(run(), sanitize="reject"), TraceRecord)


@pytest.mark.parametrize(
    ("body", "reason", "told"),
    [
        (b"", Reason.EMPTY, "0 bytes"),
        (b"\xef\xbb\xbf \n", Reason.EMPTY, "5 bytes"),
        (b'{"id": "\xff"}', Reason.INVALID_UTF8, "byte 8"),
        (b'\xef\xbb\xbf{"id": "\xed\xa0\x80"}', Reason.INVALID_UTF8, "byte 11"),
        (b'{"id": "\xe2\x82', Reason.TRUNCATED, "byte 8"),
        (b'{"id": "', Reason.TRUNCATED, "byte 8"),
        (b'\xef\xbb\xbf{"a":1', Reason.TRUNCATED, "byte 9"),
        (rb'{"id": "\ud83d', Reason.TRUNCATED, "byte 14"),
        (b'{"a": tru', Reason.TRUNCATED, "byte 6"),
        (b"[" * 20_000, Reason.TRUNCATED, "byte 20000"),
        (b'{"a":1} x', Reason.INVALID_JSON, "byte 8"),
        (b'\xef\xbb\xbf{"a":1} x', Reason.INVALID_JSON, "byte 11"),
        (b'{"a":"\n"}', Reason.INVALID_JSON, "byte 6"),
        (b"\x00\x00\x00", Reason.INVALID_JSON, "byte 0"),
        (b"[1]", Reason.UNSUPPORTED_SHAPE, "a list"),
        (b" 12 ", Reason.UNSUPPORTED_SHAPE, "a number"),
        (b"NaN", Reason.UNSUPPORTED_SHAPE, "a number"),
        (b"null", Reason.UNSUPPORTED_SHAPE, "null"),
        (b'"x"', Reason.UNSUPPORTED_SHAPE, "a string"),
        (b'{"metadata": {}}', Reason.UNSUPPORTED_SHAPE, "trace is missing"),
        (b'{"metadata": {}, "trace": [NaN]}', Reason.UNSUPPORTED_SHAPE, "trace is a list"),
        (b'{"runs": 3}', Reason.UNSUPPORTED_SHAPE, "metadata is missing"),
        (b'{"run_type": "llm"}', Reason.NO_RUN_ID, "file's name"),
        (b'{"id": null}', Reason.NO_RUN_ID, "file's name"),
        (b'{"metadata": {}, "trace": {}}', Reason.NO_RUN_ID, "file's name"),
        (b'{"id": "abc"}', Reason.BAD_RUN_ID, "run's id"),
        (b'{"id": 5}', Reason.BAD_RUN_ID, "run's id"),
        (b'{"metadata": {"run_id": "abc"}, "trace": {}}', Reason.BAD_RUN_ID, "run_id"),
    ],
)
def test_what_cannot_be_stored_is_rejected_with_a_reason(body: bytes, reason: Reason, told: str) -> None:
    """Each kind of bad file has its reason, a detail with the place, and its sha256."""
    refused = rejection(body)
    assert refused.reason is reason
    assert told in refused.detail
    assert (refused.file_sha256, refused.path, refused.stamp) == (sha256(body).digest(), NAMELESS.text, STAMP)


@pytest.mark.parametrize(
    "body",
    [b'{"metadata": {"run_id": "%s"}, "trace": {}}' % RUN_ID.encode(), b'\xef\xbb\xbf{"id": "%s"}' % RUN_ID.encode()],
)
def test_an_id_is_found_in_envelope_or_behind_a_byte_order_mark(body: bytes) -> None:
    """The envelope's run_id stands in for a missing id, and a BOM is no part of the data."""
    decoded = record(body)
    assert decoded.run_id == UUID(RUN_ID)
    assert decoded.data.startswith(b"{")


@pytest.mark.parametrize("depth", [5_000, 20_000, 300_000])
@pytest.mark.parametrize("leaf", [b"", rb'"\u0000"'])
def test_depth_is_no_limit(depth: int, leaf: bytes) -> None:
    """Any depth decodes, in the run and in a value that is read, clean or not; its limit is the database's."""
    deep = b"[" * depth + leaf + b"]" * depth
    decoded = record(
        b'{"metadata":{"d":%s},"trace":{"name":%s,"status":"OK","\\u0069d":"%s"}}' % (deep, deep, RUN_ID.encode())
    )
    assert (decoded.status, decoded.name, decoded.run_id) == ("ok", None, UUID(RUN_ID))
    assert len(decoded.sanitized or ()) == (3 if leaf else 1)


@pytest.mark.parametrize(
    ("body", "factor"),
    [
        (raw_run(b'"x":"' + b"a" * 400_000 + b'"'), CLEAN_COST),
        (raw_run(b'"x":"' + "\N{ROCKET}".encode() * 100_000 + b'"'), CLEAN_COST),
        (raw_run(b'"x":' + b"[" * 200_000 + b"]" * 200_000), CLEAN_COST),
        (raw_run(b'"x":"' + rb"\u0000" * 60_000 + b'"'), SANITIZE_COST),
        (raw_run(b'"x":' + b"[" * 100_000 + b"NaN" + b"]" * 100_000), SANITIZE_COST),
        (raw_run(b",".join(b'"%x\\u0000":NaN' % i for i in range(25_000))), SANITIZE_COST),
    ],
)
def test_memory_stays_within_what_is_charged(body: bytes, factor: int) -> None:
    """The stated costs, the file's own bytes included, hold for long, deep and hostile files."""
    assert first_look(body).cost == factor
    tracemalloc.start()
    try:
        reading(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) + peak_bytes <= factor * len(body) + 200_000


@pytest.mark.parametrize(
    ("text", "suspect"),
    [
        (json.dumps({"a": "\N{ROCKET}\N{CJK UNIFIED IDEOGRAPH-4E00}"}).encode(), False),
        (b'{"a": "NaN", "b": "is NaN or Infinity."}', False),
        (rb'{"a": "\ud83d"}', True),
        (rb'{"a": "\uDE00"}', True),
        (rb'{"a": "\\u0000"}', True),
        (b'{"a": -Infinity}', True),
        (b'{"a":[NaN,1]}', True),
    ],
)
def test_the_quick_look_is_precise_where_it_matters(text: bytes, suspect: bool) -> None:  # noqa: FBT001  (a table)
    """Emoji as pairs and words in prose raise no alarm; what must be replaced always does."""
    assert may_need_sanitizing(text) == suspect
    assert first_look(text).suspect == suspect
