"""Google's own client for Python and rclone take the stand-in for Drive: they upload, list, download and check."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.oauth2 import credentials as user_accounts
from google.oauth2 import service_account as service_accounts
from googleapiclient.discovery import build_from_document  # type: ignore[import-untyped]  # it ships no types
from googleapiclient.errors import HttpError  # type: ignore[import-untyped]  # as above
from googleapiclient.http import (  # type: ignore[import-untyped]  # as above
    MediaIoBaseDownload,
    MediaIoBaseUpload,
    MediaUpload,
)

from connect_proxy import ConnectProxy, certificate, connect_proxy
from drive_faults import (
    GRAIN_BYTES,
    Fault,
    internal_error,
    lost_answer,
    rate_limited,
    refused,
    reset,
    session_gone,
    short_range,
    too_many,
    unauthorized,
    unavailable,
)
from drive_oauth import FULL_SCOPE
from drive_query import DISCOVERY
from drive_server import TOKEN, DriveServer, serving_drive
from drive_state import FOLDER, DriveState

CONTENT = random.Random(4).randbytes(5 * GRAIN_BYTES + 12_345)
_CALLS_MOST = 20
Credentials: Any = user_accounts.Credentials
ServiceCredentials: Any = service_accounts.Credentials
HOST = "www.googleapis.com"


class Content(MediaUpload):  # type: ignore[misc]  # its base has no types
    """A content that the client asks for in pieces again and again, so that it can send one twice."""

    def chunksize(self) -> int:
        return GRAIN_BYTES

    def mimetype(self) -> str:
        return "application/zip"

    def size(self) -> int:
        return len(CONTENT)

    def resumable(self) -> bool:
        return True

    def getbytes(self, begin: int, length: int) -> bytes:
        return CONTENT[begin : begin + length]


@contextmanager
def google_client(server: DriveServer, credentials: Any) -> Iterator[Any]:
    """Google's client, whose description of the interface names our server in the place of theirs."""
    client = build_from_document(DISCOVERY | {"rootUrl": f"{server.url}/"}, credentials=credentials)
    try:
        yield client
    finally:
        client.close()


def user(server: DriveServer) -> Any:
    """Credentials that get their first access token from the server."""
    kept = server.oauth.user_credentials()
    names = ("refresh_token", "token_uri", "client_id", "client_secret")
    return Credentials(None, **{name: kept[name] for name in names})


def sent(request: Any, retries: int = 3) -> Any:
    """Send an upload to its end, without the client's pauses; it wants to be called again after a reset."""
    request._sleep = request._rand = lambda *_: 0
    for _ in range(_CALLS_MOST):
        with suppress(ConnectionError):
            _, answer = request.next_chunk(num_retries=retries)
            if answer is not None:
                return answer
    raise AssertionError("the upload did not end")


# ---------------------------------------------------------------------------------------------------------------------
# google-api-python-client


def test_google_s_client_tells_a_whole_story() -> None:
    """It refreshes its token, makes a folder, uploads in chunks, finds by appProperties, replaces and deletes."""
    with serving_drive(token=None) as server, google_client(server, user(server)) as client:
        files = client.files()
        folder = files.create(body={"name": "proj", "mimeType": FOLDER}, fields="id").execute()["id"]
        media = MediaIoBaseUpload(io.BytesIO(CONTENT), "application/zip", chunksize=GRAIN_BYTES, resumable=True)
        told = {"name": "day.zip", "parents": [folder], "appProperties": {"project": "it's"}}
        file = sent(files.create(body=told, media_body=media, fields="id,size,md5Checksum,sha256Checksum"))
        assert file["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()
        assert (file["size"], len(server.asked("upload.chunk"))) == (str(len(CONTENT)), 6)

        q = f"appProperties has {{ key='project' and value='it\\'s' }} and '{folder}' in parents and trashed = false"
        assert files.list(q=q, fields="files(id)").execute() == {"files": [{"id": file["id"]}]}

        small = MediaIoBaseUpload(io.BytesIO(b"a\r\nb\r"), "application/zip")
        replaced = files.update(fileId=file["id"], media_body=small, fields="id,size").execute()
        assert replaced == {"id": file["id"], "size": "5"}
        again = files.update(fileId=file["id"], body={"description": "d"}, media_body=small, fields="size").execute()
        assert again == {"size": "5"}
        assert [one.content for one in server.drive.revisions(file["id"])] == [CONTENT, b"a\r\nb\r", b"a\r\nb\r"]

        files.delete(fileId=folder).execute()
        assert server.drive.named("day.zip") == []


def test_google_s_client_downloads_in_ranges() -> None:
    """What it reads in pieces is the file."""
    drive = DriveState()
    file = drive.add_file("day.zip", CONTENT).id
    with serving_drive(drive) as server, google_client(server, Credentials(TOKEN)) as client:
        target = io.BytesIO()
        download = MediaIoBaseDownload(target, client.files().get_media(fileId=file), chunksize=GRAIN_BYTES)
        while not download.next_chunk()[1]:
            pass
        assert target.getvalue() == CONTENT
        assert len(server.asked("files.download")) == 6


def test_google_s_client_turns_pages() -> None:
    """Its `list_next` follows our page tokens to the end."""
    drive = DriveState()
    for number in range(250):
        drive.add_file(f"{number}.zip", b"")
    with serving_drive(drive) as server, google_client(server, Credentials(TOKEN)) as client:
        request, sizes = client.files().list(), []
        while request is not None:
            page = request.execute()
            sizes.append(len(page["files"]))
            request = client.files().list_next(request, page)
    assert sizes == [100, 100, 50]


def test_google_s_service_account_uses_a_shared_drive() -> None:
    """Its signed claim is taken; its own Drive has no room, a shared drive has."""
    with serving_drive(token=None) as server:
        team = server.drive.add_shared_drive("team").id
        key = server.oauth.service_account()
        credentials = ServiceCredentials.from_service_account_info(key, scopes=[FULL_SCOPE])
        with google_client(server, credentials) as client:
            with pytest.raises(HttpError) as error:
                client.files().create(body={"name": "day.zip"}, media_body=Content()).next_chunk()
            assert error.value.error_details[0]["reason"] == "storageQuotaExceeded"
            told = {"name": "day.zip", "parents": [team]}
            file = sent(client.files().create(body=told, media_body=Content(), supportsAllDrives=True))
            assert server.drive.content(file["id"]) == CONTENT
            assert client.drives().list().execute()["drives"][0]["name"] == "team"


@pytest.mark.parametrize(
    "fault",
    [
        unavailable(on="upload.chunk", skip=2),
        rate_limited(on="upload.chunk", skip=2),
        too_many(on="upload.last"),
        internal_error(on="upload.start"),
        reset(1000, on="upload.chunk", skip=2),
        short_range(GRAIN_BYTES // 2, on="upload.chunk", skip=2),
        lost_answer(),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_google_s_client_comes_through(fault: Fault) -> None:
    """With a content that it can read twice, the client recovers from each fault; the file is there once, and right."""
    with serving_drive(faults=[fault]) as server, google_client(server, Credentials(TOKEN)) as client:
        sent(client.files().create(body={"name": "day.zip"}, media_body=Content()))
        assert [file.content for file in server.drive.named("day.zip")] == [CONTENT]
        assert server.faults.left == []


def test_google_s_client_refreshes_after_a_401() -> None:
    """A token that is over is refreshed once, and the request is repeated."""
    with serving_drive(token=None, faults=[unauthorized(on="files.list")]) as server:
        with google_client(server, user(server)) as client:
            assert client.files().list().execute()["files"] == []
        assert server.oauth.issued == 2


def test_google_s_client_reads_our_errors() -> None:
    """It finds status, reason and sentence where it looks for them."""
    with (
        serving_drive(faults=[refused("teamDriveFileLimitExceeded")]) as server,
        google_client(server, Credentials(TOKEN)) as client,
    ):
        with pytest.raises(HttpError) as error:
            client.files().list().execute()
        assert (error.value.status_code, error.value.reason) == (
            403,
            "The file limit for this shared drive has been exceeded.",
        )
        assert error.value.error_details[0]["reason"] == "teamDriveFileLimitExceeded"


@pytest.mark.parametrize("fault", [unavailable(on="upload.last"), unauthorized(on="upload.last")])
def test_google_s_client_forgets_what_it_sent(fault: Fault) -> None:
    """Its known defect shows here as it does at Drive: after a 503 or 401 it sends a stream again that is used up."""
    with (
        serving_drive(token=None, faults=[fault], patience_s=0.2) as server,
        google_client(server, user(server)) as client,
    ):
        media = MediaIoBaseUpload(io.BytesIO(CONTENT[:GRAIN_BYTES]), "application/zip", resumable=True)
        request = client.files().create(body={"name": "day.zip"}, media_body=media)
        request._sleep = lambda _: None
        with pytest.raises(ConnectionError):
            request.next_chunk(num_retries=1)
        again = server.asked("upload.last")[1]
        assert (again.headers["Content-Length"], again.body_bytes, again.status) == (str(GRAIN_BYTES), 0, None)


def test_google_s_client_never_leaves_a_session_that_is_gone() -> None:
    """Its other defect: the 404 comes back as often as it is called, until the caller begins anew."""
    with (
        serving_drive(faults=[session_gone(on="upload.chunk", skip=1)]) as server,
        google_client(server, Credentials(TOKEN)) as client,
    ):
        request = client.files().create(body={"name": "day.zip"}, media_body=Content())
        request.next_chunk()
        for _ in range(3):
            with pytest.raises(HttpError) as error:
                request.next_chunk()
            assert error.value.status_code == 404
        assert (len(server.asked("upload.start")), len(server.asked("upload.query"))) == (1, 2)
        sent(client.files().create(body={"name": "day.zip"}, media_body=Content()))
        assert len(server.drive.named("day.zip")) == 1


# ---------------------------------------------------------------------------------------------------------------------
# rclone

Rclone = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("authority") / "authority.pem", HOST)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files as an archive has them: a zip of several chunks, a small one, an empty one, a name with an apostrophe."""
    root = tmp_path / "tree"
    for name, content in (
        ("proj/2025-08-29.zip", CONTENT),
        ("proj/2025-08-30.zip", b"small"),
        ("it's here/2025-08-29.zip", b""),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@contextmanager
def rclone_for(
    server: DriveServer, authority: Path, place: Path, **settings: str
) -> Iterator[tuple[Rclone, ConnectProxy]]:
    """rclone, which takes our server for www.googleapis.com: a proxy leads it there, and it trusts our certificate."""
    if shutil.which("rclone") is None:
        pytest.skip("no rclone is installed (tests/system-packages installs one)")
    configuration = place / "rclone.conf"
    chosen = {"type": "drive", "scope": "drive", "chunk_size": "256k", "upload_cutoff": "256k"} | settings
    configuration.write_text("[drive]\n" + "".join(f"{name} = {value}\n" for name, value in chosen.items()))
    with connect_proxy(HOST, urlsplit(server.url).port or 0, authority) as proxy:
        environment = {"PATH": os.environ["PATH"], "HOME": str(place), "HTTPS_PROXY": proxy.url}
        options = ["--config", str(configuration), "--ca-cert", str(authority), "--drive-pacer-min-sleep", "1ms"]

        def rclone(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = ["rclone", *options, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

        yield rclone, proxy


def consented(server: DriveServer) -> dict[str, str]:
    """The settings of a user whose access token is over, so that it must be refreshed first."""
    kept = server.oauth.user_credentials()
    over = {"access_token": "over", "token_type": "Bearer", "refresh_token": kept["refresh_token"]}
    return {
        "client_id": kept["client_id"],
        "client_secret": kept["client_secret"],
        "token_url": kept["token_uri"],
        "token": json.dumps(over | {"expiry": "2020-01-01T00:00:00Z"}),
    }


def test_rclone_uploads_and_checks(tmp_path: Path, authority: Path, tree: Path) -> None:
    """It copies a tree, finds no difference by checksum nor by content, and a second copy sends nothing."""
    with (
        serving_drive(token=None) as server,
        rclone_for(server, authority, tmp_path, **consented(server)) as (rclone, proxy),
    ):
        copied = rclone("copy", str(tree), "drive:archive")
        assert copied.returncode == 0, copied.stderr
        for check in (("check",), ("check", "--download")):
            checked = rclone(*check, str(tree), "drive:archive")
            assert (checked.returncode, "0 differences found" in checked.stderr) == (0, True), checked.stderr
            assert "3 matching files" in checked.stderr
        sums = {line[34:]: line[:32] for line in rclone("md5sum", "drive:archive").stdout.splitlines()}
        assert sums == {
            str(path.relative_to(tree)): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in tree.rglob("*.zip")
        }
        methods = {one.method for one in server.asked("upload.chunk")}
        assert (methods, len(server.asked("upload.chunk"))) == ({"POST"}, 6)
        sent_bytes = server.uploaded_bytes
        assert rclone("copy", str(tree), "drive:archive").returncode == 0
        assert server.uploaded_bytes == sent_bytes
        assert proxy.refused == []


def test_rclone_sees_what_is_wrong(tmp_path: Path, authority: Path, tree: Path) -> None:
    """A file that differs and one that is missing are what its check reports."""
    with serving_drive() as server, rclone_for(server, authority, tmp_path, **consented(server)) as (rclone, _):
        assert rclone("copy", str(tree), "drive:archive").returncode == 0
        [zipped, _empty] = sorted(server.drive.named("2025-08-29.zip"), key=lambda file: -len(file.content))
        server.drive.update(zipped, {}, CONTENT[:-1] + b"?")
        server.drive.delete(server.drive.named("2025-08-30.zip")[0])
        checked = rclone("check", str(tree), "drive:archive")
        assert (checked.returncode, "2 differences found" in checked.stderr) == (1, True), checked.stderr


def test_rclone_comes_through(tmp_path: Path, authority: Path, tree: Path) -> None:
    """Refusals, resets and lost answers cost it retries, and its check finds no difference afterwards."""
    faults = [
        rate_limited(on="files.list"),
        unavailable(on="upload.chunk", skip=1),
        reset(1000, on="upload.chunk", skip=3),
        lost_answer(),
    ]
    with (
        serving_drive(faults=faults) as server,
        rclone_for(server, authority, tmp_path, **consented(server)) as (rclone, _),
    ):
        copied = rclone("copy", str(tree), "drive:archive")
        assert copied.returncode == 0, copied.stderr
        assert server.faults.left == []
        assert rclone("check", str(tree), "drive:archive").returncode == 0


def test_rclone_as_a_service_account_in_a_shared_drive(tmp_path: Path, authority: Path, tree: Path) -> None:
    """Another implementation signs claims that are taken, and finds its files in a shared drive again."""
    with serving_drive(token=None) as server:
        team = server.drive.add_shared_drive("team").id
        key = tmp_path / "key.json"
        key.write_text(json.dumps(server.oauth.service_account()))
        settings = {"service_account_file": str(key), "team_drive": team}
        with rclone_for(server, authority, tmp_path, **settings) as (rclone, proxy):
            copied = rclone("copy", str(tree), "drive:archive")
            assert copied.returncode == 0, copied.stderr
            assert rclone("check", str(tree), "drive:archive").returncode == 0
            assert {file.drive_id for file in server.drive.named("2025-08-29.zip")} == {team}
            assert proxy.refused == []


def test_the_proxy_leads_nowhere_else(tmp_path: Path, authority: Path) -> None:
    """A host that is not ours is refused, so that no test leaves loopback."""
    with serving_drive() as server, connect_proxy(HOST, urlsplit(server.url).port or 0, authority) as proxy:
        place = urlsplit(proxy.url)
        tried = subprocess.run(
            ["openssl", "s_client", "-proxy", f"{place.hostname}:{place.port}", "-connect", "example.com:443"],
            capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert tried.returncode != 0
        assert proxy.refused == ["example.com"]
        assert server.requests == []
