"""Each fault of the Drive stand-in, as a client meets it and as it leaves the upload, the file and the download."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from typing import Any

import pytest

from drive_answers import KNOWN
from drive_asking import FILES, Asking
from drive_faults import (
    GRAIN_BYTES,
    Fault,
    corrupted,
    internal_error,
    lost_answer,
    rate_limited,
    refused,
    reset,
    session_gone,
    short_range,
    stall,
    too_many,
    unauthorized,
    unavailable,
)
from drive_server import TOKEN, DriveServer, serving_drive
from drive_state import DriveState
from running import eventually

CONTENT = bytes(range(256)) * (2 * GRAIN_BYTES // 256) + b"the end"
TOTAL = len(CONTENT)
BROKEN = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, http.client.RemoteDisconnected)


@pytest.mark.parametrize(
    ("fault", "status", "reason", "retry_after"),
    [
        (rate_limited(), 403, "userRateLimitExceeded", None),
        (rate_limited(user=False), 403, "rateLimitExceeded", None),
        (too_many(retry_after_s=7), 429, "rateLimitExceeded", "7"),
        (internal_error(), 500, "internalError", None),
        (unauthorized(), 401, "authError", None),
        (refused("storageQuotaExceeded"), 403, "storageQuotaExceeded", None),
        (refused("insufficientFilePermissions"), 403, "insufficientFilePermissions", None),
        (refused("teamDriveFileLimitExceeded"), 403, "teamDriveFileLimitExceeded", None),
        (refused("notFound"), 404, "notFound", None),
    ],
)
def test_errors_have_google_s_shape(fault: Fault, status: int, reason: str, retry_after: str | None) -> None:
    """Code, message, reason and domain in JSON, Retry-After where Drive sends it; only a 401 asks to authenticate."""
    with serving_drive(faults=[fault]) as server:
        answer = Asking(server).listed()
        assert (answer.status, answer.reason, answer.headers.get("Retry-After")) == (status, reason, retry_after)
        assert answer.json["error"]["errors"][0]["domain"] == KNOWN[reason].domain
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert server.requests[0].status == status


def test_a_503_is_no_json() -> None:
    """What the layer in front of Drive says is plain text: whoever parses it without looking fails."""
    with serving_drive(faults=[unavailable()]) as server:
        answer = Asking(server).listed()
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (503, "text/plain", b"Backend Error")


def test_a_fault_strikes_where_and_as_often_as_it_is_told() -> None:
    """`on`, `where`, `skip` and `times` choose the requests; a request meets one, and `left` tells the rest."""
    about = internal_error(on="about.get")
    listed = unavailable(on="files.list", skip=1, times=2, where=lambda request: request.query.get("q") == "x = 'y'")
    with serving_drive(faults=[about, listed]) as server:
        ask = Asking(server)
        assert [ask.listed().status for _ in range(3)] == [200] * 3
        assert [ask.listed("x = 'y'").status for _ in range(4)] == [400, 503, 503, 400]
        assert server.faults.left == [about]
        assert server.faults.happened == 2
        server.faults.add(rate_limited(on="files.list"))
        assert ask.listed().status == 403
        assert len(server.asked("files.list")) == 8


# ---------------------------------------------------------------------------------------------------------------------
# In mid upload


def _second(ask: Asking, session: str) -> Any:
    """Send the second and last chunk of the upload, whose first is stored."""
    return ask.chunk(session, GRAIN_BYTES, CONTENT[GRAIN_BYTES:], TOTAL)


def _begun(server: DriveServer) -> tuple[Asking, str]:
    ask = Asking(server)
    session = ask.session(TOTAL)
    assert ask.chunk(session, 0, CONTENT[:GRAIN_BYTES], TOTAL).status == 308
    return ask, session


def _stored_bytes(ask: Asking, session: str) -> int:
    """How much of the upload is stored, as its session says."""
    answer = ask.stored(session, TOTAL)
    assert answer.status == 308, answer.body
    return int(answer.headers.get("Range", "bytes=0--1").removeprefix("bytes=0-")) + 1


def _resumed(ask: Asking, session: str) -> Any:
    first = _stored_bytes(ask, session)
    return ask.chunk(session, first, CONTENT[first:], TOTAL)


def _whole(server: DriveServer) -> bool:
    """Whether the upload made exactly one file, with what was sent."""
    return [file.content for file in server.drive.named("day.zip")] == [CONTENT]


@pytest.mark.parametrize(
    ("fault", "status", "more_bytes"),
    [
        (unavailable(on="upload.last"), 503, 0),
        (unavailable(on="upload.last", keep_bytes=1000), 503, 1000),
        (unavailable(on="upload.last", keep_bytes=GRAIN_BYTES), 503, GRAIN_BYTES),
        (internal_error(on="upload.last"), 500, 0),
        (rate_limited(on="upload.last"), 403, 0),
        (too_many(on="upload.last"), 429, 0),
        (refused("storageQuotaExceeded", on="upload.last"), 403, 0),
    ],
)
def test_a_chunk_that_is_refused(fault: Fault, status: int, more_bytes: int) -> None:
    """The session lives on; nothing of the chunk is stored, or the part that the fault names."""
    with serving_drive(faults=[fault]) as server:
        ask, session = _begun(server)
        assert _second(ask, session).status == status
        assert _stored_bytes(ask, session) == GRAIN_BYTES + more_bytes
        assert _resumed(ask, session).status == 200
        assert _whole(server)
        assert server.faults.left == []


@pytest.mark.parametrize(
    ("fault", "more_bytes"),
    [
        (reset(0, on="upload.last"), 0),
        (reset(GRAIN_BYTES - 1, on="upload.last"), 0),
        (reset(GRAIN_BYTES + 3, on="upload.last"), GRAIN_BYTES),
        (reset(GRAIN_BYTES + 3, keep_bytes=0, on="upload.last"), 0),
        (reset(on="upload.last"), 0),
        (stall(GRAIN_BYTES, on="upload.last"), GRAIN_BYTES),
    ],
)
def test_a_chunk_that_breaks_off(fault: Fault, more_bytes: int) -> None:
    """The connection is reset, or silent for ever; whole grains are stored of what arrived, or what the fault names."""
    with serving_drive(faults=[fault]) as server:
        ask, session = _begun(server)
        with pytest.raises((*BROKEN, TimeoutError)):
            _second(Asking(server, patience_s=0.3), session)
        assert server.asked("upload.last")[0].status is None
        assert _stored_bytes(ask, session) == GRAIN_BYTES + more_bytes
        assert _resumed(ask, session).status == 200
        assert _whole(server)


def test_an_answer_that_is_lost() -> None:
    """The last chunk is stored and the file is made; the state query tells it, and the file is there once."""
    with serving_drive(faults=[lost_answer()]) as server:
        ask, session = _begun(server)
        with pytest.raises(BROKEN):
            _second(ask, session)
        [file] = server.drive.named("day.zip")
        assert ask.stored(session, TOTAL).json["id"] == _second(ask, session).json["id"] == file.id
        assert _whole(server)


def test_a_create_whose_answer_is_lost_makes_a_twin() -> None:
    """Without an id of generateIds a repeated create makes a second folder of the same name."""
    with serving_drive(faults=[lost_answer(on="files.create")]) as server:
        ask = Asking(server)
        with pytest.raises(BROKEN):
            ask.create({"name": "proj"})
        assert ask.create({"name": "proj"}).status == 200
        assert len(server.drive.named("proj")) == 2


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("on", ["upload.last", "upload.query"])
def test_a_session_that_is_gone(status: int, on: str) -> None:
    """It stays gone, whatever is asked of it; an upload begun anew succeeds."""
    with serving_drive(faults=[session_gone(status=status, on=on)]) as server:
        ask, session = _begun(server)
        first = _second(ask, session) if on == "upload.last" else ask.stored(session)
        assert {first.status, _second(ask, session).status, ask.stored(session).status} == {status}
        ask, session = _begun(server)
        assert _second(ask, session).status == 200
        assert _whole(server)


def test_a_token_that_expires_in_mid_upload() -> None:
    """The chunk is answered 401 and not stored; the token stays over; with another the same session goes on."""
    with serving_drive(faults=[unauthorized(on="upload.last")]) as server:
        ask, session = _begun(server)
        assert _second(ask, session).reason == "authError"
        assert _second(ask, session).status == 401
        credentials = server.oauth.user_credentials()
        fresh = server.oauth.token("&".join(f"{k}={v}" for k, v in credentials.items()) + "&grant_type=refresh_token")
        again = Asking(server, fresh["access_token"])
        assert _stored_bytes(again, session) == GRAIN_BYTES
        assert _second(again, session).status == 200
        assert _whole(server)


def test_content_that_is_stored_wrong() -> None:
    """The checksums are those of what is stored, so that they differ from what was sent; the size is the same."""
    with serving_drive(faults=[corrupted(on="upload.last")]) as server:
        ask, session = _begun(server)
        file = _second(ask, session).json["id"]
        told = ask.get(file, fields="size,sha256Checksum").json
        assert told["size"] == str(TOTAL)
        assert told["sha256Checksum"] == hashlib.sha256(server.drive.content(file)).hexdigest()
        assert told["sha256Checksum"] != hashlib.sha256(CONTENT).hexdigest()


def test_a_small_upload_that_is_stored_wrong() -> None:
    """A simple upload can be damaged as well."""
    with serving_drive(faults=[corrupted(on="upload.whole")]) as server:
        ask = Asking(server)
        file = ask("POST", f"/upload{FILES}", b"abc", uploadType="media").json["id"]
        assert server.drive.content(file) == b"`bc"


def test_a_308_that_says_less_than_was_sent() -> None:
    """Only a part of the chunk is stored, and the Range says so; who goes on behind what was sent is refused."""
    with serving_drive(faults=[short_range(GRAIN_BYTES, on="upload.chunk")]) as server:
        ask = Asking(server)
        session = ask.session(TOTAL)
        answer = ask.chunk(session, 0, CONTENT[: 2 * GRAIN_BYTES], TOTAL)
        assert (answer.status, answer.headers["Range"]) == (308, f"bytes=0-{GRAIN_BYTES - 1}")
        assert ask.chunk(session, 2 * GRAIN_BYTES, CONTENT[2 * GRAIN_BYTES :], TOTAL).status == 400
        assert _resumed(ask, session).status == 200
        assert _whole(server)


def test_bytes_are_counted_as_often_as_they_arrive() -> None:
    """`uploaded_bytes` counts what was sent in vain too, and `uploaded_by_session` tells the sessions apart."""
    with serving_drive(faults=[unavailable(on="upload.last")]) as server:
        ask, session = _begun(server)
        _second(ask, session)
        _second(ask, session)
        ask.chunk(ask.session(3), 0, b"abc", 3)
        session = ask.session(TOTAL)
        assert ask.chunk(session, 0, CONTENT[:1000], TOTAL).status == 400
        assert Asking(server, "over").chunk(session, 0, CONTENT, TOTAL).status == 401
        assert list(server.uploaded_by_session.values()) == [2 * TOTAL - GRAIN_BYTES, 3, TOTAL + 1000]
        assert server.uploaded_bytes == 3 * TOTAL - GRAIN_BYTES + 1003


# ---------------------------------------------------------------------------------------------------------------------
# Elsewhere


def test_a_download_that_breaks_off() -> None:
    """The connection is reset after so many bytes of the answer, and a Range gets the rest."""
    drive = DriveState()
    file = drive.add_file("day.zip", CONTENT).id
    with serving_drive(drive, faults=[reset(GRAIN_BYTES, on="files.download")]) as server:
        ask = Asking(server)
        with pytest.raises((*BROKEN, http.client.IncompleteRead)):
            ask.download(file)
        assert ask.download(file, f"bytes={GRAIN_BYTES}-").body == CONTENT[GRAIN_BYTES:]


def test_a_download_that_stalls() -> None:
    """Half of the answer comes, then nothing."""
    drive = DriveState()
    file = drive.add_file("day.zip", CONTENT).id
    with serving_drive(drive, faults=[stall(on="files.download")]) as server:
        with pytest.raises(TimeoutError):
            Asking(server, patience_s=0.3).download(file)
        assert Asking(server).download(file).body == CONTENT


def test_downloads_that_are_damaged_refused_or_lost() -> None:
    """A bit differs and the size is right; 404 and 503 as elsewhere; a lost answer is a reset."""
    drive = DriveState()
    file = drive.add_file("day.zip", b"abc").id
    faults = [
        corrupted(on="files.download", times=2),
        refused("notFound"),
        unavailable(),
        lost_answer(on="files.download"),
    ]
    with serving_drive(drive, faults=faults) as server:
        ask = Asking(server)
        assert (ask.download(file).body, ask.download(file, "bytes=1-").body) == (b"`bc", b"cc")
        assert [ask.download(file).status for _ in range(2)] == [404, 503]
        with pytest.raises(BROKEN):
            ask.download(file)
        assert drive.content(file) == ask.download(file).body == b"abc"


@pytest.mark.parametrize("fault", [reset(on="files.list"), stall(on="files.list")])
def test_a_request_that_is_never_answered(fault: Fault) -> None:
    """A reset or a silence instead of an answer, once."""
    with serving_drive(faults=[fault]) as server:
        with pytest.raises((*BROKEN, TimeoutError)):
            Asking(server, patience_s=0.3).listed()
        assert Asking(server).listed().status == 200
        assert [request.status for request in server.requests] == [None, 200]


def test_the_server_ends_while_a_request_stalls() -> None:
    """A client that waits for ever is cut off when the block ends, and the end does not wait for it."""
    errors: list[BaseException] = []

    def wait(server: DriveServer) -> None:
        try:
            Asking(server).listed()
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)

    with serving_drive(faults=[stall()]) as server:
        waiting = threading.Thread(target=wait, args=(server,))
        waiting.start()
        eventually(lambda: server.requests)
        began = time.monotonic()
    waiting.join()
    assert time.monotonic() - began < 5
    assert isinstance(errors[0], BROKEN)


@pytest.mark.parametrize("token", [None, "wrong", TOKEN])
def test_nothing_without_a_token(token: str | None) -> None:
    """Without a good access token every request is a 401, and no fault is used up for it."""
    with serving_drive(faults=[unavailable()]) as server:
        assert Asking(server, token).listed().status == (503 if token == TOKEN else 401)
        assert len(server.faults.left) == (token != TOKEN)
