"""Runs of LangSmith's answers: taken apart, compared across both generations of its API, put into run files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_texts import TEXTS
from langsmith_forms import V2_FIELDS, v2_form
from langsmith_runs import made_runs
from langsmith_upstream import Upstream
from tracewatchd.model.errors import PoisonError
from tracewatchd.model.upstream import (
    Draft,
    FeedbackState,
    bad_run,
    elements_of,
    fingerprint,
    list_of,
    members_of,
    object_of,
    read_run,
    run_file,
    same_feedback,
    stored_run,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 26, 12, tzinfo=UTC)
RUN_ID = "0198f3a1-0000-7000-8000-000000000001"
SIGNATURE = "X-Amz-Signature=0123456789abcdef"
RUN: dict[str, Any] = {
    "id": RUN_ID,
    "name": "step",
    "run_type": "chain",
    "status": "success",
    "start_time": "2026-11-20T23:59:58.250000+00:00",
    "end_time": "2026-11-21T00:00:03+00:00",
    "inputs": {"question": "größer?"},
    "total_cost": "0.00012300",
    "total_tokens": 12,
}


def body(**changes: Any) -> bytes:
    """The run with changes, as v1 answers it."""
    return json.dumps(RUN | changes).encode()


def stored(content: bytes | None) -> dict[str, Any]:
    """A run file's content, parsed."""
    assert content is not None
    document: dict[str, Any] = json.loads(content)
    return document


# ---------------------------------------------------------------------------------------------------------------------
# Taking apart


def test_a_run_of_the_first_generation() -> None:
    """Id, start, whether it has ended, whether it has feedback; its file is called by its start in UTC."""
    run = read_run(body(feedback_stats={"score": {"n": 1}}, start_time="2026-11-21T01:02:03+02:00"))
    assert (run.run_id, run.file_name) == (RUN_ID, f"{RUN_ID}_230203.json")
    assert (run.has_feedback, run.pending, run.attachments) == (True, False, {})


@pytest.mark.parametrize(
    ("changes", "pending"),
    [
        ({}, False),
        ({"status": "PENDING", "end_time": None}, True),
        ({"status": "pending"}, True),
        ({"status": None, "end_time": None}, True),
        ({"status": "error", "end_time": None}, False),
    ],
)
def test_which_runs_have_not_ended(changes: dict[str, Any], pending: bool) -> None:  # noqa: FBT001 - a column of the table
    """A run is pending when its status says so, and where no status says that it ended, when it has no end."""
    assert read_run(body(**changes)).pending is pending


@pytest.mark.parametrize("stats", [None, {}, "missing"])
def test_without_feedback_nothing_is_asked(stats: object) -> None:
    """Feedback stats that are null, empty or missing say that there is no feedback."""
    text = body() if stats == "missing" else body(feedback_stats=stats)
    assert not read_run(text).has_feedback


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"7", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"{oops", "no JSON at byte 1"),
        (body(id=None), "its id is no UUID"),
        (body(id="../../etc/passwd"), "its id is no UUID"),
        (body(start_time=None), "its start_time is missing or no time"),
        (body(start_time="soon"), "its start_time is missing or no time"),
        (body(start_time=True), "its start_time is missing or no time"),
        (body().replace(b"step", b"st\xffep"), "byte 58 is not valid UTF-8"),
    ],
)
def test_runs_that_cannot_become_files(text: bytes, sentence: str) -> None:
    """Each has its sentence, and the day's list names the run as far as it can be known."""
    with pytest.raises(PoisonError, match=sentence):
        read_run(text)
    bad = bad_run(text, sentence)
    assert (bad.error, bool(bad.run_id)) == (sentence, True)


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", "1" + "0" * 30, "[" * 3_000 + "]" * 3_000, '"\\ud800"'])
def test_odd_values_cost_nothing(odd: str) -> None:
    """What Python's writers and hostile ones put into a run is kept as it stands, and compared."""
    text = body(inputs="HERE").replace(b'"HERE"', odd.encode())
    run = read_run(text)
    assert run.body is text
    content = run_file(text, b"[]", FeedbackState.EMPTY, run_id=RUN_ID, project="bot", extracted_at=NOW)
    old = stored_run(content)
    assert (old.run, old.records, old.project) == (text, b"[]", "bot")
    assert Draft(RUN_ID, text, b"[]").content(old, project="bot", extracted_at=LATER) is None


@pytest.mark.parametrize(
    ("member", "value", "name"),
    [
        ("attachments", {"a.png": f"https://store/1?{SIGNATURE}"}, "a.png"),
        (
            "attachments",
            {"a.png": {"presigned_url": f"https://store/1?{SIGNATURE}", "mime_type": "image/png"}},
            "a.png",
        ),
        ("s3_urls", {"attachment.b": {"presigned_url": f"https://store/1?{SIGNATURE}"}, "other": None}, "b"),
        ("inputs_s3_urls", {"ROOT": {"presigned_url": f"https://store/1?{SIGNATURE}"}}, None),
        ("outputs_s3_urls", {"ROOT": [f"https://store/1#{SIGNATURE}"]}, None),
    ],
)
def test_signatures_stay_out_of_files(member: str, value: dict[str, Any], name: str | None) -> None:
    """A signed URL keeps its place and loses what lets anyone in; the URL to download from is whole."""
    run = read_run(body(**{member: value}))
    assert SIGNATURE.encode() not in bytes(run.body)
    assert "https://store/1" in json.dumps(json.loads(bytes(run.body))[member])
    assert json.loads(bytes(run.body)) | {member: 0} == RUN | {member: 0}
    assert dict(run.attachments) == ({name: f"https://store/1?{SIGNATURE}"} if name else {})
    bad = bad_run(body(**{member: value, "start_time": None}), "bad")
    assert "https://store/1" in bad.run
    assert SIGNATURE not in bad.run


def test_odd_values_hide_nothing() -> None:
    """Feedback stats with NaN say that there is feedback; a signed URL beside NaN is found, one too deep is dropped."""
    odd = body(feedback_stats="STATS", s3_urls="URLS").replace(b'"STATS"', b'{"score": {"avg": NaN}}')
    urls = b'{"attachment.a": {"presigned_url": "https://store/1?%b", "n": NaN}}' % SIGNATURE.encode()
    run = read_run(odd.replace(b'"URLS"', urls))
    assert run.has_feedback
    assert dict(run.attachments) == {"a": f"https://store/1?{SIGNATURE}"}
    assert SIGNATURE.encode() not in bytes(run.body)
    assert b'"n": NaN' in bytes(run.body)
    deep = b"[" * 100_000 + b'"https://store/1?%b"' % SIGNATURE.encode() + b"]" * 100_000
    assert SIGNATURE.encode() not in bytes(read_run(odd.replace(b'"URLS"', deep)).body)


def test_no_signature_is_shown_by_accident() -> None:
    """Neither the repr of a run nor that of its attachments holds a signature."""
    run = read_run(body(attachments={"a": f"https://store/1?{SIGNATURE}"}))
    assert SIGNATURE in run.attachments["a"]
    assert SIGNATURE not in repr(run) + repr(run.attachments)


def test_urls_elsewhere_are_the_applications_own() -> None:
    """What an application put into its inputs is not ours to change."""
    text = body(inputs={"url": f"https://store/1?{SIGNATURE}"})
    assert read_run(text).body is text


@given(st.lists(st.tuples(st.text(max_size=3), TEXTS), max_size=4))
def test_members_are_found_as_they_stand(pairs: list[tuple[str, bytes]]) -> None:
    """Every member's JSON comes back byte by byte, and an object made of them says the same."""
    values = dict(pairs)
    found = members_of(object_of(values))
    assert found == {name: value.strip(b" \n\t") for name, value in values.items()}


@given(st.lists(TEXTS, max_size=5))
def test_elements_are_found_as_they_stand(values: list[bytes]) -> None:
    """Every element's JSON comes back byte by byte; one that strict readers refuse changes nothing for the others."""
    plain = [value.strip(b" \n\t") for value in values]
    assert elements_of(list_of(values)) == plain
    assert elements_of(list_of([*values, b"NaN", b"[NaN]"])) == [*plain, b"NaN", b"[NaN]"]


@pytest.mark.parametrize("text", [b"{}", b"[1", b"[1}", b'"["'])
def test_what_is_no_list(text: bytes) -> None:
    """Anything else than a whole list is refused."""
    with pytest.raises(PoisonError):
        elements_of(text)


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def test_both_generations_say_the_same() -> None:
    """A run has one fingerprint, whichever generation of the API told it, and no two runs share one."""
    upstream = Upstream()
    upstream.add_runs("bot", made_runs(60, seed=5, pending=3))
    runs = upstream.runs("bot")
    first = [fingerprint(json.dumps(run).encode()) for run in runs]
    second = [fingerprint(msgspec.json.encode(v2_form(run, V2_FIELDS))) for run in runs]
    assert first == second
    assert len(set(first)) == len(runs)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"status": "error"},
        {"start_time": "2026-11-20T23:59:58.250001+00:00"},
        {"end_time": None},
        {"inputs": {"question": "größer"}},
        {"outputs": {"answer": None}},
        {"total_cost": "0.000124"},
        {"total_tokens": 13},
        {"tags": ["a"]},
        {"prompt_token_details": {"cached": 1}},
        {"events": [{"name": "start", "time": "2026-11-20T23:59:58.251Z"}]},
        {"attachments": {"a": "https://store/a"}},
        {"something": "that a later API tells"},
    ],
)
def test_what_counts_as_a_change(changes: dict[str, Any]) -> None:
    """Whatever a run says, also in a field that nobody knows yet, is part of its fingerprint."""
    assert fingerprint(body(**changes)) != fingerprint(body())


@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": "2026-11-20 23:59:58.250000"},
        {"start_time": "2026-11-20T23:59:58.25Z", "status": "SUCCESS", "run_type": "CHAIN"},
        {"total_cost": 0.000123, "prompt_cost": None, "completion_tokens": 0},
        {"tags": [], "extra": None, "error": ""},
        {"feedback_stats": {"score": {"n": 3}}, "feedback_records": [{"key": "score"}]},
        {"ttl_seconds": 5, "trace_tier": "shortlived", "last_queued_at": "2026-11-25T00:00:00Z", "latency": 2},
        {"s3_urls": {"ROOT": {"presigned_url": f"https://store/1?{SIGNATURE}"}}, "share_url": "https://x"},
    ],
)
def test_what_is_no_change(changes: dict[str, Any]) -> None:
    """Spelling, what follows from the rest, what changes by itself, and feedback, which is compared by its records."""
    assert fingerprint(body(**changes)) == fingerprint(body())


def test_attachments_count_by_their_names() -> None:
    """Another signature, or another generation's way to list them, is no change; another name is."""
    older = body(s3_urls={"attachment.a": {"presigned_url": "https://store/1?x=1"}})
    newer = body(attachments={"a": "https://other/2?x=2"})
    assert fingerprint(older) == fingerprint(newer) != fingerprint(body(attachments={"b": "https://other/2"}))


@pytest.mark.parametrize("odd", [b"[1]", b'"x"', b'{"a": [' + b"[" * 100_000, b"{"])
def test_anything_has_a_fingerprint(odd: bytes) -> None:
    """What is no run, or no JSON, is compared by its bytes or by its value, and raises nothing."""
    assert fingerprint(odd) == fingerprint(odd) != fingerprint(body())


@given(st.dictionaries(st.sampled_from([*RUN, "events", "parent_run_ids", "attachments", "s3_urls"]), TEXTS))
def test_a_run_may_say_anything(changes: dict[str, bytes]) -> None:
    """Members of any other type than usual are compared as they are; no value of any of them raises."""
    text = object_of(members_of(body()) | changes)
    assert fingerprint(text) == fingerprint(text)


@pytest.mark.parametrize("cost", ["sNaN", "1e999999999999999999", "free", True, [1], {"a": 1}])
def test_any_cost_is_compared(cost: object) -> None:
    """A cost that is no number, or none that anyone can pay, is compared as it stands."""
    assert fingerprint(body(total_cost=cost)) == fingerprint(body(total_cost=cost)) != fingerprint(body())


def test_feedback_is_the_same_in_any_order() -> None:
    """Order and spelling say nothing; one more, one less, or another value do."""
    assert same_feedback(b'[{"a": 1, "b": 2}, {"a": 3}]', b'[{"a":3},{"b":2,"a":1}]')
    assert not same_feedback(b'[{"a":1}]', b'[{"a":1},{"a":1}]')
    assert not same_feedback(b'[{"a":1}]', b'[{"a":2}]')
    assert same_feedback(b"null", b"[null]")


# ---------------------------------------------------------------------------------------------------------------------
# Run files


@pytest.mark.parametrize(
    ("records", "state", "enhanced"),
    [(b'[{"key":"score"}]', "fetched", True), (b"[]", "empty", True), (None, "not_fetched", False)],
)
def test_a_file_says_what_its_feedback_is_worth(
    records: bytes | None,
    state: str,
    enhanced: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Fetched, empty or not fetched; only a file whose feedback is known looks complete."""
    document = stored(Draft(RUN_ID, body(), records).content(None, project="the bot", extracted_at=NOW))
    told = {"extracted_at": "2026-11-25T12:00:00+00:00", "project_name": "the bot", "run_id": RUN_ID, "feedback": state}
    assert document["metadata"] == told | ({"enhanced_feedback": True} if enhanced else {})
    assert document["trace"] == RUN | ({} if records is None else {"feedback_records": json.loads(records)})


def test_the_bytes_of_the_answer_are_kept() -> None:
    """The run stands in its file byte by byte, numbers and escapes as they came."""
    odd = body(inputs="HERE").replace(b'"HERE"', b'{"n": 1.50e+02, "s": "\\u00e9\\/", "s": 1}')
    content = Draft(RUN_ID, odd, b"[]").content(None, project="bot", extracted_at=NOW)
    assert content is not None
    assert odd[:-1] in content
    assert stored_run(content).run == odd


SCORED, EMPTY, UNKNOWN = b'[{"key": "score"}]', b"[]", None
REPLACED, LEFT = True, False


@pytest.mark.parametrize(
    ("before", "now", "same_run", "what", "state"),
    [
        (SCORED, SCORED, True, LEFT, "fetched"),
        (SCORED, b'[{"key":"score"}]', True, LEFT, "fetched"),
        (EMPTY, EMPTY, True, LEFT, "empty"),
        (UNKNOWN, UNKNOWN, True, LEFT, "not_fetched"),
        (SCORED, UNKNOWN, True, LEFT, "fetched"),
        (SCORED, EMPTY, True, REPLACED, "empty"),
        (EMPTY, SCORED, True, REPLACED, "fetched"),
        (UNKNOWN, SCORED, True, REPLACED, "fetched"),
        (UNKNOWN, EMPTY, True, REPLACED, "empty"),
        (SCORED, SCORED, False, REPLACED, "fetched"),
        (SCORED, UNKNOWN, False, REPLACED, "not_fetched"),
        (EMPTY, UNKNOWN, False, REPLACED, "not_fetched"),
    ],
)
def test_when_a_file_is_replaced(
    before: bytes | None,
    now: bytes | None,
    same_run: bool,  # noqa: FBT001 - a column of the table
    what: bool,  # noqa: FBT001 - a column of the table
    state: str,
) -> None:
    """Only when the run or what is known of its feedback changed; feedback that did not come replaces none."""
    old = Draft(RUN_ID, body(), before).content(None, project="bot", extracted_at=NOW)
    assert old is not None
    changed = body() if same_run else body(name="other")
    content = Draft(RUN_ID, changed, now).content(stored_run(old), project="bot", extracted_at=LATER)
    assert (content is not None) is what
    document = stored(content or old)
    assert document["metadata"]["feedback"] == state
    assert ("enhanced_feedback" in document["metadata"]) is (state != "not_fetched")
    kept = before if now is None and what is REPLACED else (now if what is REPLACED else before)
    assert document["trace"].get("feedback_records") == (None if kept is None else json.loads(kept))


@pytest.mark.parametrize(
    ("content", "records", "what"),
    [
        (body(), b"[]", LEFT),
        (body(), SCORED, REPLACED),
        (body(name="other"), b"[]", REPLACED),
        (b'{"metadata": {"project_name": 7}, "trace": %b}' % body(), b"[]", LEFT),
        (b'{"trace": %b, "metadata": {"a": NaN}}' % body(feedback_records=[{"key": "score"}]), SCORED, LEFT),
        (b'{"metadata": {}, "trace": %b}' % body(feedback_records=[], total_tokens=None), b"[]", REPLACED),
        (b"[]", None, None),
        (b"{oops", None, None),
    ],
)
def test_files_of_other_writers(content: bytes, records: bytes, what: bool | None) -> None:  # noqa: FBT001 - as above
    """A bare run, an envelope of any other writer: left alone as long as it says the same; else no run file at all."""
    if what is None:
        with pytest.raises(PoisonError):
            stored_run(content)
        return
    draft = Draft(RUN_ID, body(), records)
    assert (draft.content(stored_run(content), project="bot", extracted_at=NOW) is not None) is what


@given(run=TEXTS, records=st.none() | st.lists(TEXTS, max_size=3))
def test_a_file_gives_back_what_was_put_into_it(run: bytes, records: list[bytes] | None) -> None:
    """Run and feedback come back byte by byte, and the file says the same as itself."""
    text = object_of(members_of(body()) | {"inputs": run.strip()})
    given_records = None if records is None else list_of([value.strip() for value in records])
    draft = Draft(RUN_ID, text, given_records)
    content = draft.content(None, project="bot", extracted_at=NOW)
    assert content is not None
    old = stored_run(content)
    assert (old.run, old.records, old.project) == (text, given_records, "bot")
    assert draft.content(old, project="bot", extracted_at=LATER) is None
