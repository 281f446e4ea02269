"""The Drive stand-in keeps Drive's rules: lists, shared drives, ids, properties, quota, upload sessions, downloads."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from drive_asking import FILES, UPLOAD, Asking
from drive_faults import GRAIN_BYTES
from drive_query import DISCOVERY
from drive_server import TOKEN, DriveServer, serving_drive
from drive_state import FOLDER, PROPERTY_BYTES, DriveState
from drive_uploads import LIFETIME_S
from running import eventually

TWO_GRAINS = bytes(range(256)) * (2 * GRAIN_BYTES // 256)
CONTENT = TWO_GRAINS + b"the end"
SHARED = {"supportsAllDrives": "true"}
EVERYWHERE = SHARED | {"includeItemsFromAllDrives": "true"}


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_756_425_600.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drive(clock: Clock) -> DriveState:
    return DriveState(clock=clock)


@pytest.fixture
def server(drive: DriveState) -> Iterator[DriveServer]:
    with serving_drive(drive) as running:
        yield running


@pytest.fixture
def ask(server: DriveServer) -> Asking:
    return Asking(server)


# ---------------------------------------------------------------------------------------------------------------------
# Lists


def test_a_list_comes_in_pages_of_a_hundred(drive: DriveState, ask: Asking) -> None:
    """Whoever does not follow nextPageToken sees 100 files of 250, without any error."""
    for number in range(250):
        drive.add_file(f"{number:03}.zip", b"")
    pages = [ask.listed().json]
    while token := pages[-1].get("nextPageToken"):
        pages.append(ask.listed(pageToken=token).json)
    assert [len(page["files"]) for page in pages] == [100, 100, 50]
    assert len({file["id"] for page in pages for file in page["files"]}) == 250
    assert len(ask.listed(pageSize=1000).json["files"]) == 250


def test_a_page_token_belongs_to_its_question(drive: DriveState, ask: Asking) -> None:
    """A token with another query, or one that Drive never gave, is refused, as are sizes out of bounds."""
    for number in range(3):
        drive.add_file(f"{number}", b"")
    token = ask.listed("trashed = false", pageSize=1).json["nextPageToken"]
    assert ask.listed("trashed = false", pageSize=1, pageToken=token).status == 200
    for bad in (
        ask.listed("trashed = true", pageSize=1, pageToken=token),
        ask.listed(pageToken="never given"),
        ask.listed(pageSize=0),
        ask.listed(pageSize=1001),
        ask.listed(orderBy="size"),
    ):
        assert (bad.status, bad.reason) == (400, "invalid")


def test_names_are_no_identity(drive: DriveState, ask: Asking) -> None:
    """Two files of one name in one folder are both there, and `=` does not mind upper and lower case."""
    for name in ("day.zip", "day.zip", "Day.ZIP", "other.zip"):
        drive.add_file(name, b"")
    assert ask.names("name = 'day.zip'") == ["Day.ZIP", "day.zip", "day.zip"]
    assert len(drive.named("day.zip")) == 2


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("name = 'it\\'s a \\\\ day.zip'", "day"),
        ("name contains 'day'", "day"),
        ("name contains 'ay'", ""),
        ("name != 'plain.zip' and mimeType = 'application/zip'", "bin day late"),
        (f"mimeType = '{FOLDER}'", "proj"),
        ("'root' in parents and trashed = false", "proj"),
        ("not trashed = false", "bin"),
        ("trashed != true and mimeType != 'application/zip'", "proj"),
        ("appProperties has { key='day' and value='o\\'clock' }", "day"),
        ("properties has {key='day' and value='o\\'clock'}", ""),
        ("appProperties has {key='day' and value='other'}", ""),
        ("name = 'proj' or name = 'plain.zip' and trashed = true", ""),
        ("name = 'proj' or (name = 'plain.zip' and trashed = true)", "proj"),
        ("modifiedTime > '2025-08-30T00:00:00Z'", "late"),
        ("createdTime <= '2025-08-29T00:00:00' and trashed = false", "day plain proj"),
        (" ", "bin day late plain proj"),
    ],
)
def test_queries(drive: DriveState, clock: Clock, ask: Asking, q: str, found: str) -> None:
    """The query language: operators, escapes, properties, and `and` and `or` from left to right."""
    proj = drive.add_folder("proj")
    day = drive.add_file("it's a \\ day.zip", b"", proj.id, app_properties={"day": "o'clock"})
    plain = drive.add_file("plain.zip", b"", proj.id)
    trashed = drive.add_file("bin.zip", b"", proj.id)
    trashed.trashed = True
    clock.now_s += 2 * 86_400
    late = drive.add_file("late.zip", b"", proj.id)
    words = {"proj": proj, "day": day, "plain": plain, "bin": trashed, "late": late}
    assert ask.names(q) == sorted(words[word].name for word in found.split())


@pytest.mark.parametrize(
    "q",
    [
        "name = 'it's'", "name is 'a'", "name < 'a'", "size = '3'", "name = ", "name = true", "name = 'a' 'b'", "#",
        "(name = 'a'", "'x' of parents", "appProperties has {key='a'}", "modifiedTime > 'yesterday'", "name = 'a' and",
    ],
)  # fmt: skip
def test_a_query_that_is_not_understood(ask: Asking, q: str) -> None:
    """What Drive does not understand is refused, an apostrophe that was not escaped above all."""
    answer = ask.listed(q)
    assert (answer.status, answer.reason) == (400, "invalid")
    assert answer.json["error"]["errors"][0]["location"] == "q"


def test_fields_are_honoured(drive: DriveState, ask: Asking) -> None:
    """Without `fields` neither size nor checksums are told; a name that Drive does not know is refused."""
    file = drive.add_file("day.zip", b"abc", app_properties={"day": "1"}).id
    assert ask.get(file).json == {
        "kind": "drive#file", "id": file, "name": "day.zip", "mimeType": "application/zip",
    }  # fmt: skip
    assert "nextPageToken" not in ask.listed(fields="files(id)", pageSize=1000).json
    assert ask.listed(fields="files(id, appProperties/day)").json == {
        "files": [{"id": file, "appProperties": {"day": "1"}}]
    }
    assert ask.listed(fields="files/id").json == {"files": [{"id": file}]}
    assert ask.listed(fields="files/capabilities/canEdit").json == {"files": [{"capabilities": {"canEdit": True}}]}
    whole = ask.get(file, fields="*").json
    assert (whole["size"], whole["sha256Checksum"]) == ("3", hashlib.sha256(b"abc").hexdigest())
    for bad in (
        "sha256",
        "files(id)",
        "id,",
        "id(",
        "id)",
        "capabilities(canEdit",
        "id name",
        "id;name",
        "capabilities/",
    ):
        answer = ask.get(file, fields=bad)
        assert (answer.status, answer.reason) == (400, "invalidParameter"), bad


def test_answers_are_what_the_discovery_document_says(drive: DriveState, ask: Asking) -> None:
    """Every property of every answer has the name and type of Google's own description of the interface."""
    shared = drive.add_shared_drive("team")
    file = drive.add_file("day.zip", b"abc", shared.id, app_properties={"day": "1"}).id
    drive.add_file("mine.zip", b"", checksums=())
    for schema, answer in (
        ("File", ask.get(file, fields="*", **SHARED)),
        ("FileList", ask.listed(fields="*", pageSize=1, **EVERYWHERE)),
        ("About", ask("GET", "/drive/v3/about", fields="*")),
        ("DriveList", ask("GET", "/drive/v3/drives")),
        ("Drive", ask("GET", f"/drive/v3/drives/{shared.id}")),
        ("GeneratedIds", ask("GET", f"{FILES}/generateIds", count=2)),
        ("RevisionList", ask("GET", f"{FILES}/{file}/revisions", **SHARED)),
    ):
        assert answer.status == 200, answer.body
        _fits(answer.json, {"$ref": schema}, schema)


def _fits(value: Any, schema: dict[str, Any], place: str) -> None:
    """Assert that a value has the type that a schema of the discovery document says."""
    schema = DISCOVERY["schemas"][schema["$ref"]] if "$ref" in schema else schema
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    assert isinstance(value, kinds[schema["type"]]), place
    if isinstance(value, list):
        for one in value:
            _fits(one, schema["items"], place)
    elif isinstance(value, dict):
        for name, one in value.items():
            below = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            assert below is not None, f"{place}.{name}"
            _fits(one, below, f"{place}.{name}")


# ---------------------------------------------------------------------------------------------------------------------
# Shared drives, accounts, ids, properties


def test_shared_drives_are_hidden_from_who_does_not_know_them(drive: DriveState, ask: Asking) -> None:
    """Without the flags a file of a shared drive is neither listed nor found, nor can anything be put there."""
    team = drive.add_shared_drive("team")
    file = drive.add_file("day.zip", b"", team.id).id
    assert ask.names() == []
    assert (ask.get(file).status, ask.get(file).reason) == (404, "notFound")
    assert ask.begin({"name": "x", "parents": [team.id]}).status == 404
    assert ask("DELETE", f"{FILES}/{file}").status == 404
    assert ask.names(**EVERYWHERE) == ["day.zip"]
    assert ask.get(file, **SHARED).status == 200
    assert ask.get(team.id, fields="name", **SHARED).json == {"name": "team"}
    assert ask.names(corpora="drive", driveId=team.id, **EVERYWHERE) == ["day.zip"]
    assert ask.names(f"'{team.id}' in parents", corpora="allDrives", **EVERYWHERE) == ["day.zip"]


def test_parameters_about_shared_drives_that_contradict_each_other(drive: DriveState, ask: Asking) -> None:
    """The flags come together; a drive is named when the corpora is one, and must be there."""
    team = drive.add_shared_drive("team").id
    for status, query in (
        (403, {"includeItemsFromAllDrives": "true"}),
        (403, {"corpora": "drive", "driveId": team}),
        (403, {"corpora": "drive", "driveId": team, **SHARED}),
        (400, {"corpora": "drive", **EVERYWHERE}),
        (400, {"driveId": team, **EVERYWHERE}),
        (400, {"corpora": "everything"}),
        (404, {"corpora": "drive", "driveId": "none", **EVERYWHERE}),
    ):
        assert ask.listed(**query).status == status, query
    assert ask("GET", "/drive/v3/drives/none").status == 404


def test_a_shared_drive_has_a_limit_of_files_and_costs_no_quota(clock: Clock) -> None:
    """What lies in a shared drive is not the user's, and one file too many is refused."""
    drive = DriveState(clock=clock, quota_bytes=10)
    team = drive.add_shared_drive("team", most_files=1)
    with serving_drive(drive) as server:
        ask = Asking(server)
        assert ask.begin({"name": "big", "parents": [team.id]}, 1_000_000, **SHARED).status == 200
        file = drive.add_file("day.zip", bytes(100), team.id).id
        answer = ask.begin({"name": "more", "parents": [team.id]}, 1, **SHARED)
        assert (answer.status, answer.reason) == (403, "teamDriveFileLimitExceeded")
        assert ask.begin({}, 1, file, **SHARED).status == 200
        assert ask("GET", "/drive/v3/about", fields="storageQuota").json == {
            "storageQuota": {"limit": "10", "usage": "0", "usageInDrive": "0", "usageInDriveTrash": "0"}
        }


def test_a_full_my_drive(clock: Clock) -> None:
    """An upload that does not fit is refused when it begins, and when it ends where its size was not said before."""
    drive = DriveState(clock=clock, quota_bytes=1000)
    file = drive.add_file("old.zip", bytes(600)).id
    with serving_drive(drive) as server:
        ask = Asking(server)
        answer = ask.begin({"name": "day.zip"}, 401)
        assert (answer.status, answer.reason) == (403, "storageQuotaExceeded")
        assert ask.begin({}, 401, file).reason == "storageQuotaExceeded"
        session = ask.session()
        assert ask.chunk(session, 0, bytes(401), 401).reason == "storageQuotaExceeded"
        assert ask.chunk(ask.session(400), 0, bytes(400), 400).status == 200
        assert drive.usage_bytes == 1000
        assert ask("GET", "/drive/v3/about").reason == "required"


def test_ids_in_advance(ask: Asking, drive: DriveState) -> None:
    """A create with an id of generateIds that is repeated answers 409 and makes no twin; invented ids are refused."""
    first, second = ask("GET", f"{FILES}/generateIds", count=2).json["ids"]
    assert ask.create({"id": first, "name": "a", "mimeType": FOLDER}).json["id"] == first
    again = ask.create({"id": first, "name": "a", "mimeType": FOLDER})
    assert (again.status, again.reason) == (409, "fileIdInUse")
    assert ask.begin({"id": first, "name": "a"}, 3).status == 409
    assert ask.create({"id": "invented", "name": "a"}).status == 400
    assert ask("GET", f"{FILES}/generateIds", count=1001).status == 400
    one, two = (urlsplit(ask.begin({"id": second, "name": "b"}, 3).headers["Location"]) for _ in "ab")
    assert ask.chunk(f"{one.path}?{one.query}", 0, b"abc", 3).json["id"] == second
    assert ask.chunk(f"{two.path}?{two.query}", 0, b"abc", 3).status == 409
    assert len(drive.named("b")) == 1


def test_metadata_is_merged(ask: Asking, drive: DriveState) -> None:
    """A PATCH changes what it names: properties are merged, null takes one away, a file can be moved and trashed."""
    one, other = drive.add_folder("one").id, drive.add_folder("other").id
    file = ask.create({"name": "a", "parents": [one], "appProperties": {"x": "1", "y": "2"}}).json["id"]
    told: dict[str, Any] = {"appProperties": {"x": None, "z": "3"}, "modifiedTime": "2025-08-29T06:44:12.622Z"}
    answer = ask("PATCH", f"{FILES}/{file}", told, addParents=other, removeParents=one, fields="*").json
    assert answer["appProperties"] == {"y": "2", "z": "3"}
    assert answer["parents"] == [other]
    assert answer["modifiedTime"] == "2025-08-29T06:44:12.622Z"
    assert (answer["size"], answer["mimeType"]) == ("0", "application/octet-stream")
    assert ask("PATCH", f"{FILES}/{file}", {"trashed": True}, fields="trashed").json == {"trashed": True}


def test_metadata_that_may_not_be_written(ask: Asking, drive: DriveState) -> None:
    """Parents and read-only fields are refused in a body, as are properties over the limit and broken JSON."""
    file = drive.add_file("a", b"").id
    for told in ({"parents": ["root"]}, {"md5Checksum": "0"}, {"size": "3"}, {"id": "x"}):
        answer = ask("PATCH", f"{FILES}/{file}", told)
        assert (answer.status, answer.reason) == (403, "fieldNotWritable")
    fits = {"appProperties": {"key": "ö" * ((PROPERTY_BYTES - 3) // 2)}}
    assert ask.create({"name": "b"} | fits).status == 200
    too_long = {"appProperties": {"key": "ö" * ((PROPERTY_BYTES - 3) // 2 + 1)}}
    assert ask.create({"name": "b"} | too_long).status == 400
    assert ask.create({"name": "b", "parents": ["root", "root"]}).status == 400
    assert ask.create({"name": "b", "parents": ["none"]}).status == 404
    assert ask("POST", FILES, b"{").reason == ask("POST", FILES, b"[]").reason == "parseError"


def test_a_folder_that_may_only_be_read(ask: Asking, drive: DriveState) -> None:
    """Nothing can be made in it, changed or deleted: insufficientFilePermissions."""
    folder = drive.add_folder("theirs", writable=False).id
    for answer in (
        ask.begin({"name": "a", "parents": [folder]}, 3),
        ask("PATCH", f"{FILES}/{folder}", {"name": "ours"}),
        ask("DELETE", f"{FILES}/{folder}"),
        ask("DELETE", f"{FILES}/root"),
    ):
        assert (answer.status, answer.reason) == (403, "insufficientFilePermissions")


def test_delete_takes_everything_below(ask: Asking, drive: DriveState) -> None:
    """A deleted folder is gone with what lies in it."""
    folder = drive.add_folder("proj").id
    file = drive.add_file("a", b"", drive.add_folder("deeper", folder).id).id
    assert ask("DELETE", f"{FILES}/{folder}").status == 204
    assert ask.get(file).status == ask.get(folder).status == 404
    assert ask.names() == []


# ---------------------------------------------------------------------------------------------------------------------
# Uploads


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_upload_in_chunks(ask: Asking, drive: DriveState, server: DriveServer, method: str) -> None:
    """Chunk by chunk, by PUT or by POST; 308 says what is stored; the file appears with the last byte, once."""
    session = ask.session(len(CONTENT), fields="id,size,sha256Checksum,md5Checksum,mimeType")
    nothing = ask.stored(session, len(CONTENT))
    assert nothing.status == 308
    assert "Range" not in nothing.headers
    first = ask.chunk(session, 0, CONTENT[:GRAIN_BYTES], len(CONTENT), method=method)
    assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{GRAIN_BYTES - 1}")
    second = ask.chunk(session, GRAIN_BYTES, CONTENT[GRAIN_BYTES : 2 * GRAIN_BYTES], len(CONTENT), method=method)
    assert second.headers["Range"] == ask.stored(session).headers["Range"] == f"bytes=0-{2 * GRAIN_BYTES - 1}"
    assert drive.named("day.zip") == []
    last = ask.chunk(session, 2 * GRAIN_BYTES, CONTENT[2 * GRAIN_BYTES :], len(CONTENT), method=method, token=False)
    assert last.status == 200
    [file] = drive.named("day.zip")
    assert last.json == {
        "id": file.id,
        "size": str(len(CONTENT)),
        "sha256Checksum": hashlib.sha256(CONTENT).hexdigest(),
        "md5Checksum": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        "mimeType": "application/zip",
    }
    assert drive.content(file.id) == CONTENT
    assert ask.stored(session, len(CONTENT)).json == last.json == ask.chunk(session, 0, b"late", 4).json
    assert len(drive.named("day.zip")) == 1
    assert list(server.uploaded_by_session.values()) == [len(CONTENT) + 4]
    assert server.uploaded_bytes == len(CONTENT) + 4


def test_chunks_that_drive_does_not_take(ask: Asking) -> None:
    """Odd sizes, gaps, contradictions and unreadable ranges are refused with 400, and nothing of them is stored."""
    session = ask.session(len(CONTENT))
    assert b"multiple of 262144" in ask.chunk(session, 0, CONTENT[:1000], len(CONTENT)).body
    gap = ask.chunk(session, GRAIN_BYTES, CONTENT[GRAIN_BYTES : 2 * GRAIN_BYTES], len(CONTENT))
    assert b"exceeds already uploaded size of 0 byte(s)" in gap.body
    bad = [
        gap,
        ask.chunk(session, 0, CONTENT[:GRAIN_BYTES], len(CONTENT) + 1),
        ask.stored(session, len(CONTENT) + 1),
        ask("PUT", session, b"abc", {"Content-Range": "octets 0-2/3"}),
        ask("PUT", session, b"abc", {"Content-Range": "bytes 2-0/3"}),
        ask("PUT", session, b"abc", {"Content-Range": f"bytes 0-9/{len(CONTENT)}"}),
        ask("PUT", session, b"abc", {"Content-Range": "bytes 0-3/3"}),
    ]
    assert [answer.status for answer in bad] == [400] * len(bad)
    assert "Range" not in ask.stored(session).headers


def test_bytes_that_are_stored_already_are_passed_over(ask: Asking, drive: DriveState) -> None:
    """A chunk that begins before what is stored adds only what is missing."""
    session = ask.session(len(CONTENT))
    ask.chunk(session, 0, CONTENT[:GRAIN_BYTES], len(CONTENT))
    assert ask.chunk(session, 0, CONTENT, len(CONTENT)).status == 200
    assert drive.named("day.zip")[0].content == CONTENT


@pytest.mark.parametrize("content", [b"", b"a", CONTENT])
def test_an_upload_in_one_piece(ask: Asking, drive: DriveState, content: bytes) -> None:
    """A body without Content-Range is the whole file, also of a size that nobody said, also of none."""
    assert ask("PUT", ask.session(), content).status == 200
    assert drive.named("day.zip")[0].content == content


def test_a_size_that_is_said_last(ask: Asking, drive: DriveState) -> None:
    """The total may be unknown until the last chunk."""
    session = ask.session()
    assert ask.chunk(session, 0, TWO_GRAINS, "*").headers["Range"] == f"bytes=0-{len(TWO_GRAINS) - 1}"
    assert ask.chunk(session, len(TWO_GRAINS), b"the end", len(CONTENT)).status == 200
    assert drive.named("day.zip")[0].content == CONTENT


def test_a_body_of_no_announced_length(ask: Asking, drive: DriveState) -> None:
    """A chunk may come without Content-Length; its range is believed, unless it is none."""
    session = ask.session(3)
    unknown = {"Transfer-Encoding": "chunked"}
    assert ask("PUT", session, b"0\r\n\r\n", unknown | {"Content-Range": "bytes 2-0/3"}).status == 400
    assert ask("PUT", session, b"3\r\nabc\r\n0\r\n\r\n", unknown | {"Content-Range": "bytes 0-2/3"}).status == 200
    assert drive.named("day.zip")[0].content == b"abc"


def test_sessions_end(ask: Asking, server: DriveServer, clock: Clock) -> None:
    """A session is over after a week, when it is cancelled, or when Drive lost it; an invented one never was."""
    session = ask.session(len(CONTENT))
    clock.now_s += LIFETIME_S - 1
    assert ask.stored(session).status == 308
    clock.now_s += 2
    assert ask.stored(session).status == ask.chunk(session, 0, TWO_GRAINS, len(CONTENT)).status == 404
    cancelled = ask.session(len(CONTENT))
    assert ask("DELETE", cancelled).status == ask.stored(cancelled).status == 499
    lost = ask.session(len(CONTENT))
    server.end_sessions(410)
    assert ask.stored(lost).status == 410
    assert ask.stored(f"{UPLOAD}?uploadType=resumable&upload_id=invented").status == 404


def test_an_upload_that_replaces(ask: Asking, drive: DriveState) -> None:
    """By PATCH the file keeps its id and gets a revision; a folder takes none, and a missing file is a 404."""
    file = drive.add_file("day.zip", b"old", app_properties={"day": "1"}).id
    answer = ask.begin({"appProperties": {"sha": "2"}}, 3, file, fields="id,headRevisionId,appProperties")
    place = urlsplit(answer.headers["Location"])
    done = ask.chunk(f"{place.path}?{place.query}", 0, b"new", 3).json
    old, new = drive.revisions(file)
    assert done == {"id": file, "headRevisionId": new.id, "appProperties": {"day": "1", "sha": "2"}}
    assert (old.content, new.content) == (b"old", b"new")
    assert drive.usage_bytes == 6
    revisions = ask("GET", f"{FILES}/{file}/revisions", fields="revisions(id)").json["revisions"]
    assert revisions == [{"id": old.id}, {"id": new.id}]
    assert ask.begin({}, 3, drive.add_folder("proj").id).status == 400
    assert ask.begin({}, 3, "none").status == 404


def test_small_uploads(ask: Asking, drive: DriveState) -> None:
    """Simple and multipart uploads; what is no multipart body is refused."""
    ask("POST", UPLOAD, b"simple", {"Content-Type": "text/plain"}, uploadType="media")
    assert drive.named("Untitled")[0].content == b"simple"
    kind = {"Content-Type": 'multipart/related; boundary="x"'}
    for end in (b"\r\n", b"\n"):
        parts = [b"--x", b"Content-Type: application/json", b"", b'{"name": "two"}', b"--x"]
        body = end.join([*parts, b"Content-Type: text/csv", b"", b"a\r\n,b\r", b"--x--"])
        answer = ask("POST", UPLOAD, body, kind, uploadType="multipart", fields="id,mimeType")
        assert answer.json["mimeType"] == "text/csv"
        assert drive.content(answer.json["id"]) == b"a\r\n,b\r"
    file = drive.named("two")[0].id
    assert ask("PATCH", f"{UPLOAD}/{file}", b"newer", uploadType="media").status == 200
    assert drive.content(file) == b"newer"
    assert ask("POST", UPLOAD, b"no parts", kind, uploadType="multipart").status == 400
    assert ask("POST", UPLOAD, b"--x", {"Content-Type": "text/plain"}, uploadType="multipart").status == 400


def _dies_sending(server: DriveServer, method: str, path: str, length: int) -> None:
    """Announce the whole content, send `length` bytes of it, and end the connection."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname or "", place.port or 0)) as dying:
        head = f"{method} {path} HTTP/1.1\r\nHost: drive\r\nAuthorization: Bearer {TOKEN}\r\n"
        dying.sendall(f"{head}Content-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:length])
        eventually(lambda: server.uploaded_bytes == length)


def test_a_client_that_dies_in_a_chunk(ask: Asking, server: DriveServer) -> None:
    """Of what arrived before the connection broke, whole grains are stored."""
    session = ask.session(len(CONTENT))
    _dies_sending(server, "PUT", session, GRAIN_BYTES + 1000)
    eventually(lambda: ask.stored(session).headers.get("Range") == f"bytes=0-{GRAIN_BYTES - 1}")
    assert server.asked("upload.chunk")[0].status is None


def test_a_client_that_dies_in_a_simple_upload(ask: Asking, drive: DriveState, server: DriveServer) -> None:
    """There is no half of a file."""
    _dies_sending(server, "POST", f"{UPLOAD}?uploadType=media", 1000)
    assert ask("POST", UPLOAD, b"whole", uploadType="media").status == 200
    assert [file.content for file in drive.named("Untitled")] == [b"whole"]


def test_a_body_that_never_comes(drive: DriveState) -> None:
    """Who announces a body and sends none is cut off, after `patience_s`."""
    with serving_drive(drive, patience_s=0.2) as server:
        ask = Asking(server)
        session = ask.session(3)
        with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
            ask("PUT", session, b"", {"Content-Range": "bytes 0-2/3", "Content-Length": "3"})
        assert ask.stored(session).status == 308


def test_no_more_than_a_limit_is_stored_of_a_chunk(drive: DriveState) -> None:
    """With a `chunk_limit` the 308 says less than was sent, and who believes it arrives all the same."""
    with serving_drive(drive, chunk_limit=GRAIN_BYTES) as server:
        ask = Asking(server)
        session = ask.session(len(CONTENT))
        first = ask.chunk(session, 0, CONTENT, len(CONTENT))
        assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{GRAIN_BYTES - 1}")
        ask.chunk(session, GRAIN_BYTES, CONTENT[GRAIN_BYTES:], len(CONTENT))
        assert ask.chunk(session, 2 * GRAIN_BYTES, CONTENT[2 * GRAIN_BYTES :], len(CONTENT)).status == 200


# ---------------------------------------------------------------------------------------------------------------------
# Downloads


@pytest.mark.parametrize(
    ("asked", "status", "told", "content"),
    [
        (None, 200, None, b"0123456789"),
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=8-", 206, "bytes 8-9/10", b"89"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("lines=1-2", 200, None, b"0123456789"),
    ],
)
def test_downloads(
    ask: Asking, drive: DriveState, asked: str | None, status: int, told: str | None, content: bytes
) -> None:
    """A file comes whole or in the range that was asked for; a range behind its end is 416."""
    answer = ask.download(drive.add_file("day.zip", b"0123456789").id, asked)
    assert (answer.status, answer.headers.get("Content-Range"), answer.body) == (status, told, content)


def test_what_cannot_be_downloaded(ask: Asking, drive: DriveState) -> None:
    """A folder has no content, and what is not there is 404."""
    assert ask.download(drive.add_folder("proj").id).reason == "fileNotDownloadable"
    assert ask.download("none").reason == "notFound"
    assert ask("GET", "/drive/v2/files").status == 404


@pytest.mark.parametrize("checksums", [("md5",), (), ("md5", "sha256")])
def test_old_files_lack_checksums(ask: Asking, drive: DriveState, checksums: tuple[str, ...]) -> None:
    """What Drive does not know of a file is absent from the answer, and not null."""
    file = drive.add_file("old.zip", b"abc", checksums=checksums).id
    told = ask.get(file, fields="md5Checksum,sha256Checksum").json
    assert set(told) == {f"{name}Checksum" for name in checksums}
