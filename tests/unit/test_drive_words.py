"""What is found on Drive and how, as far as no network is needed for it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.edges.drive_auth import Client, Login, Token
from tracewatchd.edges.drive_calls import Question
from tracewatchd.edges.drive_http import (
    Answer,
    BusyError,
    Patience,
    RefusedError,
    accepted,
    is_trustworthy,
    reason_of,
    same_origin,
)
from tracewatchd.edges.drive_login import consent_url, new_question
from tracewatchd.edges.transfer import Hint
from tracewatchd.model.drive import (
    Content,
    DriveFile,
    day_of_file,
    day_properties,
    fitting,
    folder_id,
    query,
    stored_bytes,
)
from tracewatchd.model.errors import ConfigError, TransientError
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.settings import load


@given(st.text(), st.text())
def test_properties_fit(key: str, value: str) -> None:
    """Key and value are within Drive's limit, what is short stays as it is, and what is long is told apart."""
    key = key[:16].encode("utf-8", "replace").decode()
    value = value.encode("utf-8", "replace").decode()
    fits = fitting(key, value)
    assert len(key.encode()) + len(fits.encode()) <= max(124, len(key.encode()) + 71)
    assert (fits == value) == (len(key.encode()) + len(value.encode()) <= 124)
    assert fitting(key, "x" * 125 + value) != fitting(key, "y" * 125 + value)


def test_the_properties_of_a_day() -> None:
    """A zip carries what it is found by and what is in it, all within the limit, whatever the project is called."""
    digest = "f" * 64
    for folder in ("bot", "é" * 200):
        properties = day_properties("A" * 33, ProjectDay(folder, date(2026, 11, 20)), digest, digest)
        assert list(properties) == ["archive", "kind", "project", "day", "day_digest", "zip_sha256"]
        assert all(len((key + value).encode()) <= 124 for key, value in properties.items())


def test_a_search_escapes_what_it_looks_for() -> None:
    """Quotes and backslashes of a value end no text of the query."""
    assert query({"k'": "a\\'b"}) == "appProperties has { key='k\\'' and value='a\\\\\\'b' } and trashed = false"


@pytest.mark.parametrize(
    "text",
    [
        "1AbC-_9",
        " 1AbC-_9 ",
        "https://drive.google.com/drive/folders/1AbC-_9",
        "https://drive.google.com/drive/u/0/folders/1AbC-_9?resourcekey=x",
        "https://drive.google.com/open?id=1AbC-_9",
    ],
)
def test_a_folder_by_its_id_or_url(text: str) -> None:
    """An id stays, and of a URL it is taken out."""
    assert folder_id(text) == "1AbC-_9"


@pytest.mark.parametrize("text", ["", "a b", "https://example.org/", "https://drive.google.com/drive/folders/", "a/b"])
def test_no_folder(text: str) -> None:
    """What holds no id is refused with what is allowed."""
    with pytest.raises(ValueError, match=r"https://drive\.google\.com/drive/folders/ID"):
        folder_id(text)


@pytest.mark.parametrize(("header", "stored"), [("", 0), ("bytes=0-0", 1), ("bytes=0-262143", 262_144)])
def test_how_much_is_stored(header: str, stored: int) -> None:
    """A range from the start says how much, none says nothing."""
    assert stored_bytes(header) == stored


@pytest.mark.parametrize("header", ["bytes=1-2", "bytes=0-", "0-5", "bytes=0-5,7-8", "bytes=0-x", "bytes=0-٣"])
def test_a_range_that_says_something_else(header: str) -> None:
    """Anything but a range from the start is not guessed at."""
    with pytest.raises(ValueError, match="range from the start"):
        stored_bytes(header)


def test_whether_drive_holds_the_bytes() -> None:
    """Size and sha256 decide, md5 where Drive keeps no sha256, and nothing at all means no."""
    content = Content(3, "a", "b")
    held = [
        DriveFile(id="1", size=3, sha256_checksum="a"),
        DriveFile(id="1", size=3, md5_checksum="b"),
    ]
    others = [
        DriveFile(id="1", size=4, sha256_checksum="a"),
        DriveFile(id="1", size=3, sha256_checksum="x", md5_checksum="b"),
        DriveFile(id="1", size=3, md5_checksum="x"),
        DriveFile(id="1", size=3),
        DriveFile(id="1", sha256_checksum="a"),
    ]
    assert all(map(content.is_in, held))
    assert not any(map(content.is_in, others))


def test_the_day_of_a_file() -> None:
    """A file's day is what its properties say, and None where they say no day."""
    assert day_of_file(DriveFile(id="1", app_properties={"day": "2026-11-20"})) == date(2026, 11, 20)
    assert day_of_file(DriveFile(id="1", app_properties={"day": "soon"})) is None
    assert day_of_file(DriveFile(id="1")) is None


def answer(status: int, reason: str = "", **headers: str) -> Answer:
    body = f'{{"error": {{"errors": [{{"reason": "{reason}"}}]}}}}' if reason else "<html>"
    return Answer(status, headers, body.encode())


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "rateLimitExceeded", BusyError),
        (403, "userRateLimitExceeded", BusyError),
        (403, "rate_limit_exceeded", BusyError),
        (403, "storageQuotaExceeded", RefusedError),
        (403, "insufficientFilePermissions", RefusedError),
        (403, "teamDriveFileLimitExceeded", RefusedError),
        (403, "somethingNew", RefusedError),
        (403, "", RefusedError),
        (400, "badRequest", RefusedError),
        (401, "authError", RefusedError),
        (404, "notFound", RefusedError),
        (302, "", RefusedError),
        (408, "", BusyError),
        (429, "", BusyError),
        (500, "backendError", BusyError),
        (502, "", BusyError),
        (503, "", BusyError),
        (504, "", BusyError),
    ],
)
def test_what_heals(status: int, reason: str, kind: type[BusyError | RefusedError]) -> None:
    """Rates and faults of the server are tried again, everything else is not; each has a sentence and a hint."""
    with pytest.raises(kind, match=rf"did not list: {reason or 'no reason given'} \(status {status}\)") as failed:
        accepted(answer(status, reason), "list", 200)
    assert failed.value.hint.endswith((".", "it may."))


def test_google_says_how_long() -> None:
    """Retry-After in seconds is taken, anything else is as if nothing was said."""
    for text, wait_s in (("7", 7.0), ("soon", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-1", 0.0)):
        with pytest.raises(BusyError) as failed:
            accepted(answer(429, **{"Retry-After": text}), "list", 200)
        assert failed.value.wait_s == wait_s


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "invalid_grant", "error_description": "x"}', "invalid_grant"),
        (b'{"error": {"code": 403, "status": "PERMISSION_DENIED"}}', "PERMISSION_DENIED"),
        (b'{"error": {"errors": [{"reason": "Bearer ya29.secret"}]}}', ""),
        (b"[]", ""),
        (b"\xff", ""),
    ],
)
def test_googles_word(body: bytes, reason: str) -> None:
    """The cause is a word of Drive's or of the token endpoint's form; what is no word is not repeated."""
    assert reason_of(Answer(400, {}, body)) == reason


async def test_patience_runs_out() -> None:
    """Waits are at least what Google asks for, and where they would end too late nobody waits at all."""
    waits: list[float] = []
    tries = 0

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise BusyError("busy", wait_s=5 if tries < 3 else 500)

    with pytest.raises(TransientError, match="busy"):
        await Patience(patience_s=100, sleep=sleep).over(fail)
    assert tries == 3
    assert all(5 <= wait_s <= 7 for wait_s in waits)
    assert len(waits) == 2


def test_where_secrets_may_go() -> None:
    """Encrypted, or to this machine; and a session has to be where Drive is."""
    assert all(map(is_trustworthy, ["https://a.example/x", "http://127.0.0.1:8/x", "http://[::1]/"]))
    assert not any(map(is_trustworthy, ["http://a.example", "ftp://127.0.0.1", "https://", "x", "http://[", ""]))
    assert same_origin("https://a/x?y", "https://a")
    assert not any(same_origin(other, "https://a") for other in ("http://a", "https://a.b", "https://a:1", "http://["))


def test_no_secret_is_shown() -> None:
    """What holds a secret does not show it when it is printed."""
    client = Client("me", "SECRET")
    hint = Hint(session="SECRET", endpoint="e", file_id="f", is_update=False, zip_sha256="s", size=1)
    held = [client, Login(client, "SECRET"), Token("SECRET", 5, "SECRET"), hint, Question("see", "GET", "SECRET")]
    assert [text for text in map(repr, held) if "SECRET" in text] == []


def test_the_address_of_consent() -> None:
    """Each question has its own state and verifier, the verifier stays here, and a query is continued."""
    first, second = new_question(), new_question()
    assert first.state != second.state
    assert first.verifier != second.verifier
    url = consent_url(Client("me", "s", auth_uri="https://a/b?c=d"), first, "http://127.0.0.1:1/")
    assert url.startswith("https://a/b?c=d&client_id=me&")
    assert first.challenge in url
    assert first.verifier not in url


@pytest.mark.parametrize("variables", [{}, {"TRACEWATCHD_DRIVE__FOLDER": "ours"}])
def test_the_variables_of_google(variables: dict[str, str], tmp_path: Path) -> None:
    """Google's own variables set folder and credentials, and anything that is set for us alone is stronger."""
    environ = {
        "GOOGLE_DRIVE_FOLDER_URL": "https://drive.google.com/drive/folders/theirs",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        "TRACEWATCHD_SECRETS_DIR": str(tmp_path),
    }
    found = load(None, {}, environ | variables)
    assert found.settings.drive.folder == ("ours" if variables else "theirs")
    assert found.settings.drive.credentials_file == tmp_path / "key.json"
    assert found.origins["drive.credentials_file"] == "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("FOLDER", "https://drive.google.com/", "must be a folder's id, or its URL"),
        ("ENDPOINT", "http://www.googleapis.com", "must be an https address, or http on 127.0.0.1"),
        ("ENDPOINT", "https://user@host", "must be an https address, or http on 127.0.0.1"),
        ("ENDPOINT", "https://", "must be an https address, or http on 127.0.0.1"),
        ("CHUNK_BYTES", "1000", "must be a whole number from 262144 to 268435456 bytes"),
    ],
)
def test_settings_that_cannot_be(key: str, value: str, told: str, tmp_path: Path) -> None:
    """No token goes to an address that is not encrypted, and each fault says what is allowed."""
    with pytest.raises(ConfigError) as failed:
        load(None, {}, {f"TRACEWATCHD_DRIVE__{key}": value, "TRACEWATCHD_SECRETS_DIR": str(tmp_path)})
    assert failed.value.faults[0].startswith(f"TRACEWATCHD_DRIVE__{key}: {told}")
